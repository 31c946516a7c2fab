"""The scheduler on virtual time: absolute schedule, overruns, quarantine, reconnection. No device is real here."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gateway.field import scheduler
from gateway.field.scheduler import LinkRunner
from gateway.site.plan import LinkPlan
from protocols import registry
from protocols.api import Batch, Device, Driver, Link, LinkDown, Quality

LINK = Link("bus", "serial:/dev/none")


@dataclass(frozen=True)
class Op:
    device: Device
    channels: tuple[int, ...]
    period_s: float
    line_s: float = 0.0

    def wire_s(self, link: Link) -> float:
        return self.line_s

    def describe(self) -> str:
        return "op"


class Line:
    """A driver whose devices answer after `takes_s`, or never (`dead`, after the time-out), or whose port is gone."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.takes_s = 0.0
        self.dead: set[str] = set()
        self.refuses = 0
        self.listens = False
        self.connects: list[float] = []
        self.asked: list[tuple[float, str]] = []
        self.counters: Mapping[str, int] = {}

    @asynccontextmanager
    async def connect(self, link: Link, ops: Sequence[Op]) -> AsyncIterator[Line]:
        self.connects.append(self.loop.time())
        if self.refuses:
            self.refuses -= 1
            raise LinkDown("refused", code="CG-3005")
        yield self

    async def read(self, ops: Sequence[Op], timeout_s: float) -> Batch:
        parts = []
        for op in ops:
            self.asked.append((self.loop.time(), op.device.name))
            dead = op.device.name in self.dead
            await asyncio.sleep(timeout_s if dead else self.takes_s)
            quality = Quality.NO_REPLY if dead else Quality.GOOD
            batch = Batch.failed(op.channels, self.loop.time_ns(), quality)
            parts.append(batch if dead else batch._replace(value=np.ones(len(op.channels))))
        return Batch.join(parts)


@pytest.fixture
def play(run_virtually: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Line, list[Batch], LinkRunner]]:
    """Run ops for some seconds; `before(line)` sets the scene, `at` maps seconds to changes."""

    def run(
        ops: Sequence[Op], seconds: float, before: Callable[[Line], None] = lambda line: None,
        at: Mapping[float, Callable[[Line], None]] | None = None,
    ) -> tuple[Line, list[Batch], LinkRunner]:  # fmt: skip
        async def main(loop: Any) -> tuple[Line, list[Batch], LinkRunner]:
            line, batches = Line(loop), []
            before(line)
            driver = Driver(
                "fake", Op, Op, tuple, line.connect, lambda device: line.listens, ("serial:",), lambda *a: {}
            )
            monkeypatch.setattr(registry, "driver", lambda name: driver)
            monkeypatch.setattr(scheduler, "boottime_ns", loop.time_ns)
            monkeypatch.setattr(scheduler.random, "uniform", lambda low, high: 1.0)
            runner = LinkRunner(LinkPlan(LINK, "fake", 0.1, (), tuple(ops)), batches.append)
            stop = asyncio.Event()
            task = asyncio.create_task(runner.run(stop))
            for when, change in sorted((at or {}).items()):
                await asyncio.sleep(when - loop.time())
                change(line)
            await asyncio.sleep(seconds - loop.time())
            stop.set()
            await task
            return line, batches, runner

        return run_virtually(main)

    return run


def op(name: str, channel: int, period_s: float = 1.0, line_s: float = 0.0) -> Op:
    return Op(Device(name, channel, None), (channel,), period_s, line_s)


def test_polls_keep_an_absolute_schedule(play: Callable[..., Any]) -> None:
    line, batches, runner = play([op("a", 0, 1.0)], 9.5, lambda line: setattr(line, "takes_s", 0.3))
    assert [round(t, 6) for t, _ in line.asked] == [float(i) for i in range(10)]
    assert len(batches) == 10
    assert runner.overruns == 0


def test_an_overrun_is_skipped_and_counted_never_piled_up(play: Callable[..., Any]) -> None:
    line, _, runner = play([op("a", 0, 1.0)], 20.5, lambda line: setattr(line, "takes_s", 2.5))
    assert len(line.asked) <= 9
    assert len(line.asked) + runner.overruns in (18, 19)


def test_a_dead_device_is_asked_less_and_less_and_its_neighbour_is_not(play: Callable[..., Any]) -> None:
    ops = [op("dead", 0, 1.0, 0.01), op("live", 1, 1.0, 0.01)]
    line, batches, _ = play(ops, 60.5, lambda line: line.dead.add("dead"))
    asked = [t for t, name in line.asked if name == "dead"]
    pauses = [round(b - a) for a, b in itertools.pairwise(asked[2:])]
    assert pauses == [2, 3, 5, 9, 17]  # the first poll after 1, 2, 4, 8, 16 s
    assert sum(name == "live" for _, name in line.asked) == 61
    rows = {int(q) for batch in batches for c, q in zip(batch.channel, batch.quality, strict=True) if c == 0}
    assert rows == {int(Quality.NO_REPLY), int(Quality.NOT_POLLED)}


def test_a_device_that_returns_is_polled_at_its_period_again(play: Callable[..., Any]) -> None:
    line, _, runner = play(
        [op("a", 0)], 40.5, lambda line: line.dead.add("a"), {9.9: lambda line: line.dead.discard("a")}
    )
    last = [t for t, _ in line.asked][-10:]
    assert [round(b - a, 6) for a, b in itertools.pairwise(last)] == [1.0] * 9
    assert runner.quarantined == []


def test_input_that_a_listener_dropped_unread_is_said_in_rows_before_what_came_after(
    play: Callable[..., Any],
) -> None:
    def listening(line: Line) -> None:
        line.takes_s = 1.0
        line.listens = True

    _, batches, _ = play([op("a", 0)], 5.5, listening, {2.5: lambda line: setattr(line, "counters", {"dropped": 64})})
    qualities = [int(batch.quality[0]) for batch in batches]
    assert qualities == [0, 0, int(Quality.NOT_POLLED), 0, 0, 0, 0]


def test_a_link_that_is_down_is_opened_again_with_growing_pauses_and_says_so_in_rows(play: Callable[..., Any]) -> None:
    line, batches, runner = play([op("a", 0), op("b", 1)], 30.0, lambda line: setattr(line, "refuses", 4))
    pauses = [round(b - a, 3) for a, b in zip(line.connects, line.connects[1:], strict=False)]
    assert pauses == [0.2, 0.4, 0.8, 1.6]
    assert {int(q) for q in batches[0].quality} == {int(Quality.LINK_DOWN)}
    assert sorted(batches[0].channel.tolist()) == [0, 1]
    assert runner.reconnects == 1
    assert not runner.up  # stopped


def test_a_shared_line_is_given_one_request_at_a_time(play: Callable[..., Any]) -> None:
    _, batches, _ = play([op("a", 0, 1.0, 0.01), op("b", 1, 1.0, 0.01)], 0.5)
    assert [len(batch.channel) for batch in batches] == [1, 1]
    _, batches, _ = play([op("a", 0), op("b", 1)], 0.5)
    assert [len(batch.channel) for batch in batches] == [2]
