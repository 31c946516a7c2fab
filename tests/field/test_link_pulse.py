"""What a link tells the watchdog: dead devices, closed ports and long pauses are progress, a hung driver is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from test_scheduler import Line, op
from test_scheduler import play as play

from gateway.field.watchdog import Watchdog
from protocols.api import Batch


@pytest.fixture
def stuck(play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """Run ops with a look at the pulse each second: the seconds at which the link was found stuck."""
    from gateway.field.scheduler import LinkRunner

    def run(ops: Sequence[Any], seconds: float, before: Callable[[Line], None] = lambda line: None) -> list[float]:
        found: list[float] = []
        began = LinkRunner.run

        async def watched(self: LinkRunner, stop: asyncio.Event) -> None:
            dog, loop = Watchdog(), asyncio.get_running_loop()

            async def look() -> None:
                while True:
                    await asyncio.sleep(1.0)
                    if dog.stuck([self.pulse()], loop.time_ns()):  # type: ignore[attr-defined]
                        found.append(loop.time())
                        stop.set()
                        hung.cancel()

            looking = asyncio.create_task(look())
            hung = asyncio.create_task(began(self, stop))
            await asyncio.wait([hung])
            looking.cancel()

        monkeypatch.setattr(LinkRunner, "run", watched)
        play(ops, seconds, before)
        return found

    return run


def test_devices_that_never_answer_are_progress(stuck: Callable[..., list[float]]) -> None:
    assert stuck([op("a", 0), op("b", 1)], 900, lambda line: line.dead.update("ab")) == []


def test_a_port_that_never_opens_is_progress(stuck: Callable[..., list[float]]) -> None:
    assert stuck([op("a", 0)], 900, lambda line: setattr(line, "refuses", 10_000)) == []


def test_a_poll_an_hour_is_enough(stuck: Callable[..., list[float]]) -> None:
    assert stuck([op("a", 0, period_s=3600)], 4 * 3600) == []


def test_a_read_that_never_ends_is_found(stuck: Callable[..., list[float]]) -> None:
    def hang(line: Line) -> None:
        async def never(ops: Sequence[Any], timeout_s: float) -> Batch:
            await asyncio.Event().wait()
            raise AssertionError

        line.read = never  # type: ignore[method-assign]

    found = stuck([op("a", 0)], 300, hang)
    assert len(found) >= 1
    assert 60 < found[0] < 65
