"""PASS and FAIL against what is done to a sensor; the course of values as characters."""

from __future__ import annotations

import math

import pytest

from gateway.bench.expect import Expectation, State, Trial, Way, expected
from gateway.bench.sparkline import sparkline

POINTS = [
    {"point": "leak", "role": "leak"},
    {"point": "far", "role": "leak_distance"},
    {"point": "lux", "role": "illuminance"},
]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("leak", Expectation("leak", Way.EQUALS, 1)),
        ("dark", Expectation("lux", Way.FALL, 0.5, True)),
        ("far>2.5", Expectation("far", Way.ABOVE, 2.5)),
        ("lux - 100", Expectation("lux", Way.FALL, 100)),
    ],
)
def test_words_and_rules(text: str, wanted: Expectation) -> None:
    assert expected(text, POINTS) == wanted


@pytest.mark.parametrize("text", ["vehicle", "nothing", "flow>1", "leak>", ">3"])
def test_what_this_device_cannot_show_is_refused_with_what_it_can(text: str) -> None:
    with pytest.raises(ValueError, match=r"leak|role"):
        expected(text, POINTS)


def states(expectation: Expectation, values: list[float]) -> list[State]:
    trial = Trial(expectation)
    return [trial.take(value) for value in values]


def test_a_rope_that_is_wet_already_proves_nothing_until_it_was_dry() -> None:
    found = states(Expectation("leak", Way.EQUALS, 1), [1, 1, 0, 0, 1, 0])
    assert found == [State.ALREADY, State.ALREADY, State.WAITING, State.WAITING, State.PASS, State.PASS]


def test_a_covered_photocell_falls_by_half_from_where_it_was() -> None:
    found = states(Expectation("lux", Way.FALL, 0.5, True), [800, 790, 810, 500, math.nan, 390])
    assert found[-3:] == [State.WAITING, State.WAITING, State.PASS]


def test_a_rise_does_not_pass_for_a_fall() -> None:
    assert states(Expectation("lux", Way.FALL, 10), [100, 100, 100, 150, 200])[-1] is State.WAITING


def test_noise_below_what_was_asked_for_is_no_pass() -> None:
    assert states(Expectation("flow", Way.MOVE, 0.1, True), [10, 10.1, 9.95, 10.3, 9.8])[-1] is State.WAITING


def test_a_line_of_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, math.nan, 7], 8, plain=True) == "_ #"
    assert sparkline([5, 5], 8) == "▅▅"
    assert sparkline([math.nan], 8) == " "
    assert len(sparkline(range(100), 8)) == 8
