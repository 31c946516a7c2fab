"""What proves a driver: a fake stream with a virtual clock, and the rules every driver keeps (`conform`).

In: a `DriverCase`, the driver with a peer of its own to talk to. Out: nothing, or AssertionError naming the rule
that was broken.
Used by tests, and by whoever writes a driver elsewhere; never by the running gateway.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.api import Batch, Driver, Link, LinkDown, Point, Quality, Reader, Tap
from protocols.streams import Chunk, link_down

Peer = Callable[[bytes], Iterable[tuple[float, bytes]]]
"""What the far end does with the bytes of one write: (seconds later, bytes), any number of times."""


class FakeStream:
    """A stream whose far end is a function and whose clock moves only when somebody waits."""

    def __init__(self, peer: Peer = lambda data: (), start_ns: int = 1_000_000_000) -> None:
        self.peer = peer
        self.sent: list[tuple[int, bytes]] = []  # (time_ns, bytes) of every write
        self.last_byte_ns = 0
        self.dropped = 0
        self.tap: Tap | None = None
        self._now_ns = start_ns
        self._order = count()
        self._coming: list[tuple[int, int, bytes]] = []
        self._here: list[Chunk] = []
        self._unplugged_ns: int | None = None

    def now_ns(self) -> int:
        return self._now_ns

    def arrive(self, data: bytes, delay_s: float = 0.0) -> None:
        """Let `data` arrive after `delay_s`."""
        heapq.heappush(self._coming, (self._now_ns + int(delay_s * 1e9), next(self._order), data))

    def unplug(self, delay_s: float = 0.0) -> None:
        self._unplugged_ns = self._now_ns + int(delay_s * 1e9)

    async def wait_until(self, time_ns: int) -> None:
        await asyncio.sleep(0)
        self._advance(time_ns)

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)
        self._check()
        self.sent.append((self._now_ns, data))
        if self.tap is not None:
            self.tap(True, data, self._now_ns)
        for delay_s, answer in self.peer(data):
            self.arrive(answer, delay_s)

    async def read(self, timeout_s: float) -> bytes:
        return b"".join(chunk.data for chunk in await self.chunks(timeout_s))

    async def chunks(self, timeout_s: float) -> list[Chunk]:
        await asyncio.sleep(0)
        self._advance(self._now_ns)
        if not self._here:
            until_ns = self._now_ns + max(0, int(timeout_s * 1e9))
            self._advance(min([until_ns, *(at for at, _, _ in self._coming[:1])]))
        if not self._here:
            self._check()
        here, self._here = self._here, []
        return here

    def take(self) -> bytes:
        self._advance(self._now_ns)
        here, self._here = self._here, []
        return b"".join(chunk.data for chunk in here)

    def flush(self) -> None:
        self.take()

    def _advance(self, time_ns: int) -> None:
        self._now_ns = max(self._now_ns, time_ns)
        while self._coming and self._coming[0][0] <= self._now_ns:
            at, _, data = heapq.heappop(self._coming)
            self.last_byte_ns = at
            if self.tap is not None:
                self.tap(False, data, at)
            self._here.append(Chunk(data, at, False))

    def _check(self) -> None:
        if self._unplugged_ns is not None and self._unplugged_ns <= self._now_ns:
            raise link_down("CG-3007", "fake: unplugged")


# ---- conformance


@dataclass(slots=True)
class Rig:
    """A peer at work behind `link`. `mute(True)`: it says nothing more, the link stays. `cut()`: the link dies."""

    link: Link
    mute: Callable[[bool], None]
    cut: Callable[[], None]


@dataclass(frozen=True, slots=True)
class DriverCase:
    """A driver, points to read and what they must read; `rig` opens the peer. `timeout_s` suits the peer."""

    name: str
    driver: Driver[Any]
    points: tuple[Point, ...]
    expected: Mapping[int, float]  # channel -> value
    rig: Callable[[], AbstractAsyncContextManager[Rig]]
    timeout_s: float = 0.05
    patience: int = field(default=100)  # reads until something must have happened

    @property
    def channels(self) -> set[int]:
        return {point.channel for point in self.points}

    @property
    def listens(self) -> bool:
        return self.driver.listens(self.points[0].device)


async def conform(case: DriverCase) -> None:
    """All rules, each with a fresh peer. Raises AssertionError."""
    for rule in RULES:
        await rule(case)


async def plans_every_channel_once(case: DriverCase) -> None:
    """`plan` alters nothing, serves each channel once, and says in one line what it will do."""
    given = list(case.points)
    ops = case.driver.plan(given)
    assert given == list(case.points), "plan altered its points"
    served = sorted(channel for op in ops for channel in op.channels)
    assert served == sorted(case.channels), f"plan serves {served}"
    async with case.rig() as rig:
        for op in ops:
            text = op.describe()
            assert text, "an operation needs a description"
            assert "\n" not in text, "a description is one line"
            assert op.wire_s(rig.link) >= 0.0
            assert op.period_s > 0.0
            assert op.device in {point.device for point in case.points}


async def reads_every_channel(case: DriverCase) -> None:
    """Good values, one row a channel and read where the driver polls."""
    async with case.rig() as rig, _open(case, rig) as (reader, ops):
        batch = await _until_good(case, reader, ops)
        for channel, value in zip(batch.channel, batch.value, strict=True):
            expected = case.expected[int(channel)]
            assert np.isclose(value, expected, rtol=1e-6), f"channel {channel}: {value}, expected {expected}"
        assert set(batch.channel.tolist()) == case.channels, "a channel is missing"
        if not case.listens:
            assert len(batch.channel) == len(case.channels), "a polled channel came more than once"


async def returns_owned_columns(case: DriverCase) -> None:
    """Right dtypes, contiguous, writable; writing into one batch does not reach the next."""
    async with case.rig() as rig, _open(case, rig) as (reader, ops):
        first = await _until_good(case, reader, ops)
        for column in first:
            column[...] = 77
        second = await _until_good(case, reader, ops)
        assert set(second.channel.tolist()) == case.channels
        assert not np.any(second.value == 77)


async def stamps_in_order(case: DriverCase) -> None:
    """Times are CLOCK_BOOTTIME, about now, and never run backwards on a channel."""
    async with case.rig() as rig, _open(case, rig) as (reader, ops):
        begun_ns = _now_ns() - 1_000_000_000
        latest: dict[int, int] = {}
        for _ in range(3):
            batch = await _until_good(case, reader, ops)
            for channel, time_ns in zip(batch.channel.tolist(), batch.time_ns.tolist(), strict=True):
                assert latest.get(channel, begun_ns) <= time_ns <= _now_ns(), f"channel {channel}: {time_ns}"
                latest[channel] = time_ns


async def failure_is_data(case: DriverCase) -> None:
    """A silent device is NaN with a quality where the driver polls, and no rows where it listens; then it returns."""
    async with case.rig() as rig, _open(case, rig) as (reader, ops):
        await _until_good(case, reader, ops)
        rig.mute(True)
        for _ in range(case.patience):
            batch = _checked(await reader.read(ops, case.timeout_s))
            if not len(batch.channel) or not np.any(batch.quality < Quality.SENTINEL):
                break
        else:
            raise AssertionError("a muted peer still delivers values")
        if not case.listens:
            assert sorted(batch.channel.tolist()) == sorted(case.channels), "a failed channel must come back too"
            assert set(batch.quality.tolist()) <= {Quality.NO_REPLY, Quality.BAD_REPLY, Quality.REFUSED}
        rig.mute(False)
        await _until_good(case, reader, ops)


async def only_a_dead_link_raises(case: DriverCase) -> None:
    """LinkDown, with a code and a hint, once the link is gone."""
    async with case.rig() as rig:
        with suppress(LinkDown):  # closing a dead link may say so again
            async with _open(case, rig) as (reader, ops):
                await _until_good(case, reader, ops)
                rig.cut()
                down = await _until_down(case, reader, ops)
                assert down.code.startswith("CG-3"), f"code {down.code}"
                assert down.hint, "a hint says what to do next"


async def survives_cancellation(case: DriverCase) -> None:
    """A read cancelled at any moment leaves the reader usable, or the link down."""
    async with case.rig() as rig:
        with suppress(LinkDown):
            async with _open(case, rig) as (reader, ops):
                for steps in range(1, 8):
                    task = asyncio.ensure_future(reader.read(ops, case.timeout_s))
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                batch = await _until_good(case, reader, ops)
                for channel, value in zip(batch.channel.tolist(), batch.value.tolist(), strict=True):
                    assert np.isclose(value, case.expected[channel], rtol=1e-6), f"channel {channel}: {value}"


async def counts_upwards(case: DriverCase) -> None:
    """Counters keep their names and never fall."""
    async with case.rig() as rig, _open(case, rig) as (reader, ops):
        before = dict(reader.counters)
        assert before, "a reader counts something"
        for muted in (False, True, False):
            rig.mute(muted)
            for _ in range(3):
                _checked(await reader.read(ops, case.timeout_s))
            after = dict(reader.counters)
            fallen = [name for name, value in before.items() if after.get(name, -1) < value]
            assert not fallen, f"counters fell: {fallen}"
            before = after


Rule = Callable[[DriverCase], Awaitable[None]]
RULES: tuple[Rule, ...] = (
    plans_every_channel_once,
    reads_every_channel,
    returns_owned_columns,
    stamps_in_order,
    failure_is_data,
    only_a_dead_link_raises,
    survives_cancellation,
    counts_upwards,
)
"""For `pytest.mark.parametrize`, one rule a test."""


class _open:  # noqa: N801 reads as the function it is
    """The case's reader and operations, connected to the rig."""

    def __init__(self, case: DriverCase, rig: Rig) -> None:
        self._ops: Sequence[Any] = case.driver.plan(case.points)
        self._connection = case.driver.connect(rig.link, self._ops)

    async def __aenter__(self) -> tuple[Reader[Any], Sequence[Any]]:
        return await self._connection.__aenter__(), self._ops

    async def __aexit__(self, *failure: Any) -> bool | None:
        return await self._connection.__aexit__(*failure)


async def _until_good(case: DriverCase, reader: Reader[Any], ops: Sequence[Any]) -> Batch:
    """The first batch of which every row is good and every channel there."""
    for _ in range(case.patience):
        batch = _checked(await reader.read(ops, case.timeout_s))
        if set(batch.channel.tolist()) == case.channels and not batch.quality.any():
            return batch
    raise AssertionError(f"no good batch in {case.patience} reads: {dict(reader.counters)}")


async def _until_down(case: DriverCase, reader: Reader[Any], ops: Sequence[Any]) -> LinkDown:
    for _ in range(case.patience):
        try:
            _checked(await reader.read(ops, case.timeout_s))
        except LinkDown as down:
            return down
    raise AssertionError("the link is cut, yet reads go on")


def _checked(batch: Batch) -> Batch:
    dtypes = (np.int32, np.int64, np.float64, np.uint8)
    columns: tuple[NDArray[Any], ...] = tuple(batch)
    for name, column, dtype in zip(Batch._fields, columns, dtypes, strict=True):
        assert column.dtype == dtype, f"{name} is {column.dtype}"
        assert column.shape == batch.channel.shape, f"{name} has shape {column.shape}"
        assert column.flags.c_contiguous, f"{name} is not contiguous"
        assert column.flags.writeable, f"{name} is not writable"
    nan = np.isnan(batch.value)
    assert np.array_equal(nan, batch.quality >= Quality.SENTINEL), "NaN and quality disagree"
    return batch


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
