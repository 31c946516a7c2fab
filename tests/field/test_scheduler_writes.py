"""Writes, identities and phases of a link's task, on virtual time."""

from __future__ import annotations

import asyncio
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
from protocols.api import Batch, Device, Driver, Link, LinkDown, Point, Quality, Written


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
    """Answers after `takes_s`; notes what is done when."""

    def __init__(self, loop: Any, ops: Sequence[Op]) -> None:
        self.loop, self.takes_s, self.is_gone = loop, 0.02, False
        self.done: list[tuple[float, str]] = []
        self.counters: Mapping[str, int] = {}

    @asynccontextmanager
    async def connect(self, link: Link, ops: Sequence[Op]) -> AsyncIterator[Line]:
        if self.is_gone:
            raise LinkDown("gone", code="CG-3005")
        yield self

    async def _take(self, what: str) -> None:
        self.done.append((round(self.loop.time(), 6), what))
        await asyncio.sleep(self.takes_s)
        if self.is_gone:
            raise LinkDown("gone", code="CG-3007")

    async def read(self, ops: Sequence[Op], timeout_s: float) -> Batch:
        await self._take("+".join(op.device.name for op in ops))
        channels = [channel for op in ops for channel in op.channels]
        return Batch.failed(channels, self.loop.time_ns(), Quality.GOOD)._replace(value=np.ones(len(channels)))


class Writable(Line):
    async def write(self, point: Point, value: float, timeout_s: float) -> Written:
        await self._take(f"write {value:g}")
        return Written(Quality.GOOD, value, self.loop.time_ns())

    async def identify(self, device: Device, timeout_s: float) -> Mapping[str, str]:
        return {"vendor": "Acme"} if device.name == "a" else {}

    def learned(self) -> Mapping[str, Mapping[str, Any]]:
        return {"a": {"holes": []}}


def op(name: str, channel: int, period_s: float = 1.0, line_s: float = 0.0) -> Op:
    return Op(Device(name, channel, None), (channel,), period_s, line_s)


Scene = Callable[[Any, LinkRunner], Any]


@pytest.fixture
def play(run_virtually: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, LinkRunner]]:
    def run(
        ops: Sequence[Op], seconds: float, scene: Scene | None = None, kind: type[Line] = Writable, phase: float = 0.0
    ) -> tuple[Any, LinkRunner]:
        async def main(loop: Any) -> tuple[Any, LinkRunner]:
            line = kind(loop, ops)
            driver = Driver("fake", Op, Op, tuple, line.connect, lambda device: False, ("serial:",), lambda *a: {})
            monkeypatch.setattr(registry, "driver", lambda name: driver)
            monkeypatch.setattr(scheduler, "boottime_ns", loop.time_ns)
            points = tuple(Point(o.channels[0], o.device.name, o.device, None, 1.0) for o in ops)
            runner = LinkRunner(LinkPlan(Link("bus", "serial:/x"), "fake", 0.1, points, tuple(ops)), bool, phase)
            stop = asyncio.Event()
            task = asyncio.create_task(runner.run(stop))
            if scene is not None:
                await scene(line, runner)
            await asyncio.sleep(seconds - loop.time())
            stop.set()
            await task
            return line, runner

        return run_virtually(main)

    return run


def test_a_write_goes_ahead_of_the_polls(play: Callable[..., Any]) -> None:
    outcomes: list[Written] = []

    async def scene(line: Line, runner: LinkRunner) -> None:
        await asyncio.sleep(0.01)  # the first poll is under way, three more are due
        outcomes.extend(await asyncio.gather(runner.write(1, 5.0), runner.write(1, 6.0)))

    line, _ = play([op(name, i, 1.0, 0.01) for i, name in enumerate("abcd")], 0.12, scene)
    assert [what for _, what in line.done] == ["a", "write 5", "write 6", "b", "c", "d"]
    assert [(o.quality, o.value) for o in outcomes] == [(0, 5.0), (0, 6.0)]


def test_a_write_does_not_wait_for_the_next_poll(play: Callable[..., Any]) -> None:
    async def scene(line: Line, runner: LinkRunner) -> None:
        await asyncio.sleep(0.3)
        await runner.write(0, 5.0)

    line, _ = play([op("a", 0)], 0.6, scene)
    assert line.done == [(0.0, "a"), (0.3, "write 5")]


def test_a_write_that_cannot_be_done_says_why(play: Callable[..., Any]) -> None:
    outcomes: list[Written] = []

    async def scene(line: Line, runner: LinkRunner) -> None:
        outcomes.append(await runner.write(0, 1.0))  # not open yet
        await asyncio.sleep(0.1)
        outcomes.append(await runner.write(77, 1.0))
        line.is_gone = True
        outcomes.extend(await asyncio.gather(runner.write(0, 1.0), runner.write(0, 2.0)))

    play([op("a", 0)], 5.0, scene)
    assert [o.quality for o in outcomes] == [
        Quality.LINK_DOWN,
        Quality.REFUSED,
        Quality.LINK_DOWN,
        Quality.LINK_DOWN,
    ]


def test_what_only_reads_refuses_writes(play: Callable[..., Any]) -> None:
    outcomes: list[Written] = []

    async def scene(line: Line, runner: LinkRunner) -> None:
        await asyncio.sleep(0.1)
        outcomes.append(await runner.write(0, 1.0))

    _, runner = play([op("a", 0)], 1.0, scene, Line)
    assert [o.quality for o in outcomes] == [Quality.REFUSED]
    assert (runner.learned(), runner.identity) == ({}, {})


def test_devices_say_once_who_they_are(play: Callable[..., Any]) -> None:
    _, runner = play([op("a", 0), op("b", 1)], 3.0)
    assert runner.identity == {"a": {"vendor": "Acme"}}
    assert runner.learned() == {"a": {"holes": []}}


def test_phases_are_spread_after_the_first_poll(play: Callable[..., Any]) -> None:
    line, runner = play([op(name, i, 1.0, 0.02) for i, name in enumerate("abcd")], 3.2)
    when = {name: [at for at, what in line.done if what == name] for name in "abcd"}
    assert {name: at[1:] for name, at in when.items()} == {
        "a": [1.0, 2.0, 3.0],
        "b": [1.25, 2.25],
        "c": [0.5, 1.5, 2.5],
        "d": [0.75, 1.75, 2.75],
    }
    assert runner.planned == pytest.approx(0.08)
    assert 0.06 < runner.used < 0.11
    line, _ = play([op("a", 0)], 2.0, phase=0.3)
    assert [at for at, _ in line.done] == [0.0, 1.3]


def test_an_errand_has_the_link_to_itself_and_its_mistakes_are_its_own(play: Callable[..., Any]) -> None:
    results: list[object] = []

    async def scene(line: Line, runner: LinkRunner) -> None:
        async def look(reader: Any) -> str:
            await reader._take("look")
            return "seen"

        async def stumble(reader: Any) -> None:
            raise KeyError("no such point")

        await asyncio.sleep(0.3)
        results.append(await runner.errand(look))
        with pytest.raises(KeyError):
            await runner.errand(stumble)
        line.is_gone = True
        with pytest.raises(LinkDown):
            await runner.errand(look)

    line, runner = play([op("a", 0)], 1.5, scene)
    assert results == ["seen"]
    assert [what for _, what in line.done][:2] == ["a", "look"]
    assert runner.fault is not None
