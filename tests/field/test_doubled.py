"""A silent device is one alarm: services that miss its values later are held back, unless it speaks without them."""

from __future__ import annotations

import pytest

from gateway.field.doubled import WAIT_NS, Doubled
from gateway.services.rules import event
from gateway.site.plan import Place
from gateway.spool.records import Event, Phase

HOUR = 3600 * 1_000_000_000


def dropout(phase: Phase, code: str = "air.dropout") -> Event:
    numbers = {"hours": "6 h", "size": 5.0, "value": 0.0}
    return event(
        code, phase, "S1", Place("", "", "", "", None, None), time_ns=0, onset_ns=0, numbers=numbers, channels=(0, 1)
    )


@pytest.fixture
def silent() -> set[int]:
    return set()


@pytest.fixture
def doubled(silent: set[int]) -> Doubled:
    return Doubled(lambda channels: all(channel in silent for channel in channels))


def test_values_missed_by_a_device_that_speaks_are_told(doubled: Doubled, silent: set[int]) -> None:
    silent.add(0)
    assert [one.phase for one in doubled.passing([dropout(Phase.ONSET)])] == [Phase.ONSET]


@pytest.mark.parametrize("code", ["air.dropout", "water.sensor_dropout"])
def test_a_silence_is_not_told_twice(doubled: Doubled, silent: set[int], code: str) -> None:
    silent |= {0, 1}
    assert doubled.passing([dropout(Phase.ONSET, code)]) == []
    assert doubled.due(9 * HOUR) == []
    silent.clear()
    assert doubled.due(10 * HOUR) == []
    assert len(doubled.passing([dropout(Phase.CLEAR, code)])) == 1  # the engine knows that it never stood
    assert doubled.due(20 * HOUR) == []


def test_other_alarms_of_a_silent_device_pass(doubled: Doubled, silent: set[int]) -> None:
    silent |= {0, 1}
    assert len(doubled.passing([dropout(Phase.ONSET, "air.noisy")])) == 1


def test_a_device_that_is_back_without_these_values_is_told_of(doubled: Doubled, silent: set[int]) -> None:
    silent |= {0, 1}
    doubled.passing([dropout(Phase.ONSET)])
    silent.clear()
    assert doubled.due(HOUR) == []
    assert doubled.due(HOUR + WAIT_NS - 1) == []
    assert [one.code for one in doubled.due(HOUR + WAIT_NS)] == ["air.dropout"]
    assert doubled.due(9 * HOUR) == []
