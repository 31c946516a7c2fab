"""The engine between links and spool: what a listening device said while nobody could hear it is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from gateway.field.coverage import Coverage
from gateway.field.engine import Engine
from gateway.site.plan import Plan
from gateway.spool.records import Draft, Event, Gap, Item, Values
from protocols.api import Batch, Quality

S = 1_000_000_000
SITE = """
[[links]]
name = "p"
url = "serial:/dev/ttyUSB0"
[[devices]]
name = "air"
profile = "air/plantower-pms5003"
link = "p"
period_s = 2.0
"""


class Paper:
    """What would be written."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.coverage: dict[str, int] = {}

    def submit(
        self,
        items: Sequence[tuple[str, Item]],
        *,
        events: Sequence[Event] = (),
        coverage: Mapping[str, int] | None = None,
        draft: Draft | None = None,
    ) -> None:
        self.items += [item for _, item in items]
        self.coverage.update(coverage or {})

    @property
    def gaps(self) -> list[tuple[str, int, int]]:
        found = [item for item in self.items if isinstance(item, Gap)]
        return [(gap.reason, low, high) for gap in found for _, low, high in gap.entries]


@pytest.fixture
def started(make_plan: Callable[[str], Plan]) -> tuple[Engine, Paper, tuple[int, ...]]:
    plan, paper = make_plan(SITE), Paper()
    channels = plan.devices[0].channels
    coverage = Coverage(
        plan.channels, {}, boot="b", covered_boot="", clean=True, started_ns=10 * S, listens=set(channels)
    )
    engine = Engine(plan, paper, coverage, (), 10 * S)  # type: ignore[arg-type]
    engine.begin()
    return engine, paper, channels


def frame(channels: Sequence[int], at_s: float) -> Batch:
    n = len(channels)
    return Batch(np.array(channels, np.int32), np.full(n, round(at_s * S)), np.ones(n), np.zeros(n, np.uint8))


def test_the_coverage_of_a_first_start_is_written_before_anything_is_heard(started: Any) -> None:
    _, paper, _ = started
    assert set(paper.coverage.values()) == {10 * S}


@pytest.mark.parametrize(("quality", "reason"), [(Quality.LINK_DOWN, "link"), (Quality.NOT_POLLED, "overrun")])
def test_what_was_said_to_a_closed_port_or_dropped_unread_is_a_gap(started: Any, quality: Quality, reason: str) -> None:
    engine, paper, channels = started
    engine.take(frame(channels, 12))
    engine.take(frame(channels, 14))
    for at_s in (15, 16, 17):
        engine.take(Batch.failed(channels, at_s * S, quality))
    engine.take(frame(channels, 31))
    engine.take(frame(channels, 33))
    before = dict(paper.coverage)
    engine.tick(34 * S)
    assert paper.gaps == [("start", 10 * S, 11 * S), (reason, 14 * S, 30 * S)]
    assert paper.coverage == before, "what was heard before the hole may still be in an open window only"
    assert sum(isinstance(item, Values) for item in paper.items) == 1, "first values are sent once"


def test_a_port_still_closed_at_the_stop_is_a_gap_up_to_it(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, paper, channels = started
    engine.take(frame(channels, 12))
    engine.take(Batch.failed(channels, 15 * S, Quality.LINK_DOWN))
    monkeypatch.setattr("gateway.field.engine.boottime_ns", lambda: 40 * S)
    engine.close()
    assert ("link", 12 * S, 40 * S) in paper.gaps
