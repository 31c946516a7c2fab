"""The serial driver: devices that send frames by themselves, or answer a request with one frame.

In: a stream and the layout from the profile. Out: batches, rows in time order. A frame's time is the
arrival of the bytes it came with, less what the bytes behind it took on the wire; a point that is of a time by the
device's clock has that. Input is taken off the line whether or not anybody reads; what nobody reads in time is dropped,
oldest first, and counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from protocols.api import Batch, Driver, Link, Quality, Reader
from protocols.serial.codec import COUNTERS, decode, parser
from protocols.serial.faults import check, check_link
from protocols.serial.operations import SILENCE_S, Listen, Told, plan
from protocols.serial.points import Field, Options
from protocols.serial.times import FrameTimes
from protocols.streams import Chunk, OnStream, Stream, char_s, open_stream, scheme

SETTLE_S = 0.020  # samples of fast devices are taken together: 50 wake-ups a second and not 2,000
_FAST_HZ = 100.0
_QUIET_S = 5.0  # a device that speaks by itself and was told to is told again after so long, or ten periods
_MAX_STRAYS = 100  # a line that never falls silent is asked all the same


async def start(stream: Stream, commands: Sequence[Told], timeout_s: float, heard: Callable[[Chunk], object]) -> bool:
    """Send a device's `on_start`, each with its answer and rest. False where an answer did not come: what follows it is
    not sent then. `heard` gets all input meanwhile."""
    for command in commands:
        await stream.write(command.send)
        if command.answer and not await _answered(stream, command.answer, timeout_s, heard):
            return False
        until_ns = stream.now_ns() + round(command.pause_s * 1e9)
        while (left_ns := until_ns - stream.now_ns()) > 0:
            for chunk in await stream.chunks(left_ns / 1e9):
                heard(chunk)
    return True


async def _answered(stream: Stream, answer: bytes, timeout_s: float, heard: Callable[[Chunk], object]) -> bool:
    deadline_ns = stream.now_ns() + round(timeout_s * 1e9)
    got = b""
    while (left_ns := deadline_ns - stream.now_ns()) > 0:
        for chunk in await stream.chunks(left_ns / 1e9):
            heard(chunk)
            got = (got + chunk.data)[-8192:]
        if answer in got:
            return True
    return False


class StreamReader(OnStream):
    """A device that speaks by itself."""

    def __init__(self, stream: Stream, link: Link, op: Listen) -> None:
        self._stream, self._op = stream, op
        self._char_ns = char_s(link) * 1e9 if scheme(link) == "serial" else 0.0
        rate_hz = op.options.rate_hz or 0.0
        self._sample_ns = 1e9 / rate_hz if rate_hz else 0.0
        self._parser = parser(op.options, unit=op.device.unit)
        self._clock = FrameTimes(op.options)
        self._frames: list[bytes] = []  # verified, not yet handed over
        self._times: list[NDArray[np.int64]] = []
        self._last_ns = 0
        self._quiet_ns = round(max(_QUIET_S, 10 * op.period_s) * 1e9)
        self._is_told = not op.start
        self._told_ns = stream.now_ns()
        self._starts = 0

    @property
    def counters(self) -> Mapping[str, int]:
        return {
            **self._parser.counters,
            "starts": self._starts,
            "time_jumps": self._clock.jumps,
            "dropped": self._stream.dropped,
        }

    async def read(self, ops: Sequence[Listen], timeout_s: float) -> Batch:
        until_ns = self._stream.now_ns() + int(timeout_s * 1e9)
        await self._tell()
        while True:
            left_s = max(0.0, (until_ns - self._stream.now_ns()) / 1e9)
            if not self._frames:
                for chunk in await self._stream.chunks(left_s):
                    self._parse(chunk)
            batch = self._hand_over()
            if len(batch.channel) or not left_s:
                return batch

    async def _tell(self) -> None:
        """The `on_start` commands at first, and again when nothing has come for long: it may have been restarted."""
        now_ns = self._stream.now_ns()
        is_quiet = now_ns - max(self._last_ns, self._told_ns) > self._quiet_ns
        if not self._op.start or (self._is_told and not is_quiet):
            return
        self._is_told, self._told_ns = True, now_ns
        self._starts += 1
        await start(self._stream, self._op.start, _QUIET_S / 10, self._parse)

    def _parse(self, chunk: Chunk) -> None:
        if chunk.gap:
            self._parser.reset()
        burst = self._parser.push(chunk.data)
        n = len(burst.frames)
        if not n:
            return
        behind = (self._parser.taken - np.array(burst.ends)) * self._char_ns
        back_ns = np.maximum(behind, np.arange(n - 1, -1, -1) * self._sample_ns)
        times = np.maximum.accumulate(chunk.time_ns - back_ns.astype(np.int64))
        times = np.maximum(times, self._last_ns)
        self._last_ns = int(times[-1])
        self._frames += burst.frames
        self._times.append(times)

    def _hand_over(self) -> Batch:
        if not self._frames:
            return Batch.empty()
        jumps = self._clock.jumps
        batch, rejected = self._op.batch(self._frames, np.concatenate(self._times), self._clock)
        self._parser.counters["malformed"] += rejected - (self._clock.jumps - jumps)
        self._frames, self._times = [], []
        return batch


class RequestReader(OnStream):
    """Devices that are asked, one after the other."""

    def __init__(self, stream: Stream, link: Link) -> None:
        self._stream = stream
        self._char_ns = int(char_s(link) * 1e9)
        self._quiet_until = 0
        self._started: set[str] = set()  # devices that have had their `on_start` and have answered since
        self._clocks: dict[str, FrameTimes] = {}
        names = (*COUNTERS, "requests", "replies", "timeouts", "bad_replies", "starts")
        self._counters = dict.fromkeys(names, 0)

    @property
    def counters(self) -> Mapping[str, int]:
        jumps = sum(clock.jumps for clock in self._clocks.values())
        return {**self._counters, "time_jumps": jumps, "dropped": self._stream.dropped}

    async def read(self, ops: Sequence[Listen], timeout_s: float) -> Batch:
        return Batch.join([await self._ask(op, timeout_s) for op in ops])

    async def _ask(self, op: Listen, timeout_s: float) -> Batch:
        """One exchange; a device that failed has its `on_start` again before it is asked the next time."""
        own_s = timeout_s if op.options.timeout_ms is None else op.options.timeout_ms / 1000
        await self._silence()
        if op.start and op.device.name not in self._started:
            self._counters["starts"] += 1
            if not await start(self._stream, op.start, own_s, lambda chunk: None):
                self._rest(op)
                return self._failed(op, Quality.NO_REPLY)
            await self._silence()
        self._started.add(op.device.name)
        return await self._exchange(op, own_s)

    async def _exchange(self, op: Listen, own_s: float) -> Batch:
        stream = self._stream
        self._counters["requests"] += 1
        wire_ns = (len(op.request) + op.reply_bytes) * self._char_ns
        deadline_ns = stream.now_ns() + int(own_s * 1e9) + wire_ns
        frames = parser(op.options, synchronised=True, unit=op.device.unit)
        head, echo = b"", op.request if op.is_unmarked else b""
        try:
            await stream.write(op.request)
            while (left_ns := deadline_ns - stream.now_ns()) > 0:
                head += await stream.read(left_ns / 1e9)
                if echo and len(head) < len(echo) and echo.startswith(head):
                    continue
                data, head, echo = head.removeprefix(echo) if echo else head, b"", b""
                if found := frames.push(data).frames:
                    return self._answer(op, found[0])
        finally:
            self._rest(op)
            for name, count in frames.counters.items():
                self._counters[name] += count
        return self._failed(op, Quality.BAD_REPLY if frames.taken else Quality.NO_REPLY)

    def _rest(self, op: Listen) -> None:
        self._quiet_until = self._stream.now_ns() + int(max(SILENCE_S, op.options.pause_ms / 1000) * 1e9)

    def _answer(self, op: Listen, frame: bytes) -> Batch:
        clock = self._clocks.setdefault(op.device.name, FrameTimes(op.options))
        jumps = clock.jumps
        batch, rejected = op.batch([frame], np.array([self._stream.last_byte_ns], np.int64), clock)
        if rejected:
            self._counters["malformed"] += rejected - (clock.jumps - jumps)
            return self._failed(op, Quality.BAD_REPLY)
        self._counters["replies"] += 1
        return batch

    def _failed(self, op: Listen, quality: Quality) -> Batch:
        self._started.discard(op.device.name)
        self._counters["timeouts" if quality == Quality.NO_REPLY else "bad_replies"] += 1
        return Batch.failed(op.channels, self._stream.now_ns(), quality)

    async def _silence(self) -> None:
        """What still comes in belongs to nobody."""
        for _ in range(_MAX_STRAYS):
            strays = self._stream.take()
            if not strays and self._stream.now_ns() >= self._quiet_until:
                return
            if strays:
                self._quiet_until = max(self._quiet_until, self._stream.now_ns() + int(SILENCE_S * 1e9))
            await self._stream.wait_until(self._quiet_until)


@asynccontextmanager
async def connect(link: Link, ops: Sequence[Listen]) -> AsyncIterator[Reader[Listen]]:
    """Raises LinkDown."""
    listening = [op for op in ops if not op.request]
    fast = any((op.options.rate_hz or 0.0) > _FAST_HZ for op in listening)
    async with open_stream(link, settle_s=SETTLE_S if fast else 0.0) as stream:
        yield StreamReader(stream, link, listening[0]) if listening else RequestReader(stream, link)


DRIVER: Driver[Listen] = Driver(
    name="serial",
    point=Field,
    device=Options,
    plan=plan,
    connect=connect,
    listens=lambda device: device.options.mode == "stream",
    urls=("serial", "tcp"),
    decode=decode,
    check=check,
    check_link=check_link,
)
