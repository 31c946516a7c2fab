"""The serial driver: devices that send frames by themselves, or answer a fixed request with one frame.

In: a stream and the layout from the profile. Out: batches, rows in time order. A frame's time is the
arrival of the bytes it came with, less what the bytes behind it took on the wire. Input is taken off the
line whether or not anybody reads; what nobody reads in time is dropped, oldest first, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.api import Batch, Device, Driver, Link, PlanError, Point, Quality, Reader
from protocols.serial.codec import COUNTERS, Decoder, decode, parser
from protocols.serial.points import Field, Options, check, unhex
from protocols.streams import Chunk, Stream, char_s, open_stream, scheme

LINGER_S = 0.010  # fast lines are handed over so long after the first arrival: a batch of 5, not of 1, at 500 Hz
_FAST_HZ = 100.0
_SILENCE_S = 0.005  # between an answer and the next request
_ACKNOWLEDGE_S = 0.1
_MAX_STRAYS = 100  # a line that never falls silent is asked all the same


@dataclass(frozen=True, slots=True, eq=False)
class Listen:
    """All points of a device whose frames are read (`request` empty) or asked for."""

    device: Device
    channels: tuple[int, ...]
    period_s: float
    request: bytes
    decoder: Decoder = field(repr=False)
    column: NDArray[np.int32] = field(repr=False)

    @property
    def options(self) -> Options:
        return self.device.options  # type: ignore[no-any-return]

    def wire_s(self, link: Link) -> float:
        if scheme(link) != "serial" or not self.request:
            return 0.0
        return (len(self.request) + (self.options.length or 0)) * char_s(link) + _SILENCE_S

    def describe(self) -> str:
        what = f"{self.options.length} bytes" if self.options.frame == "binary" else f"lines of {self.options.fields}"
        return f"ask {self.request.hex(' ')} for {what}" if self.request else f"listen for {what}"

    def batch(self, frames: Sequence[bytes], times_ns: NDArray[np.int64]) -> tuple[Batch, int]:
        """Rows frame by frame, and how many frames held no numbers."""
        columns = self.decoder.decode(frames)
        n = len(columns.kept)
        quality = np.where(columns.absent, np.uint8(Quality.SENTINEL), np.uint8(Quality.GOOD))
        return (
            Batch(
                np.tile(self.column, n),
                np.repeat(times_ns[list(columns.kept)], len(self.column)),
                np.ascontiguousarray(columns.value).reshape(-1),
                quality.reshape(-1),
            ),
            len(frames) - n,
        )


def plan(points: Sequence[Point]) -> tuple[Listen, ...]:
    """One operation a streaming device, one a (device, period) that is asked. Raises PlanError."""
    groups: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        streams = point.device.options.mode == "stream"
        groups.setdefault((point.device.name, 0.0 if streams else point.period_s), []).append(point)
    names = {name for name, _ in groups}
    speaks = [group[0].device.name for group in groups.values() if group[0].device.options.mode == "stream"]
    if speaks and len(names) > 1:
        raise PlanError("", f'"{speaks[0]}" speaks by itself: it cannot share its line with other devices')
    return tuple(_listen(group) for group in groups.values())


def _listen(points: list[Point]) -> Listen:
    channels = tuple(point.channel for point in points)
    device = points[0].device
    request = (unhex(device.options.request) or b"") if device.options.mode == "request" else b""
    period_s = min(point.period_s for point in points)
    return Listen(device, channels, period_s, request, Decoder(points), np.array(channels, np.int32))


class StreamReader:
    """A device that speaks by itself."""

    def __init__(self, stream: Stream, link: Link, op: Listen) -> None:
        self._stream, self._op = stream, op
        self._char_ns = char_s(link) * 1e9 if scheme(link) == "serial" else 0.0
        rate_hz = op.options.rate_hz or 0.0
        self._sample_ns = 1e9 / rate_hz if rate_hz else 0.0
        self._linger_s = LINGER_S if rate_hz > _FAST_HZ else 0.0
        self._parser = parser(op.options)
        self._frames: list[bytes] = []  # verified, not yet handed over
        self._times: list[int] = []
        self._last_ns = 0

    @property
    def counters(self) -> Mapping[str, int]:
        return {**self._parser.counters, "dropped": self._stream.dropped}

    async def read(self, ops: Sequence[Listen], timeout_s: float) -> Batch:
        until_ns = self._stream.now_ns() + int(timeout_s * 1e9)
        while True:
            left_s = max(0.0, (until_ns - self._stream.now_ns()) / 1e9)
            if not self._frames:
                self._parse(await self._stream.chunks(left_s))
            if self._linger_s and self._frames:
                await asyncio.sleep(self._linger_s)
                self._parse(await self._stream.chunks(0.0))
            batch = self._hand_over()
            if len(batch.channel) or not left_s:
                return batch

    def _parse(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            if chunk.gap:
                self._parser.reset()
            burst = self._parser.push(chunk.data)
            behind = len(burst.frames)
            for frame, end in zip(burst.frames, burst.ends, strict=True):
                behind -= 1
                back_ns = max((self._parser.taken - end) * self._char_ns, behind * self._sample_ns)
                self._last_ns = max(self._last_ns, chunk.time_ns - int(back_ns))
                self._frames.append(frame)
                self._times.append(self._last_ns)

    def _hand_over(self) -> Batch:
        if not self._frames:
            return Batch.empty()
        batch, malformed = self._op.batch(self._frames, np.array(self._times, np.int64))
        self._parser.counters["malformed"] += malformed
        self._frames, self._times = [], []
        return batch


class RequestReader:
    """Devices that are asked, one after the other."""

    def __init__(self, stream: Stream, link: Link) -> None:
        self._stream = stream
        self._char_ns = int(char_s(link) * 1e9)
        self._quiet_until = 0
        self._counters = dict.fromkeys((*COUNTERS, "requests", "replies", "timeouts", "bad_replies"), 0)

    @property
    def counters(self) -> Mapping[str, int]:
        return {**self._counters, "dropped": self._stream.dropped}

    async def read(self, ops: Sequence[Listen], timeout_s: float) -> Batch:
        return Batch.join([await self._ask(op, timeout_s) for op in ops])

    async def _ask(self, op: Listen, timeout_s: float) -> Batch:
        stream, options = self._stream, op.options
        own_s = timeout_s if options.timeout_ms is None else options.timeout_ms / 1000
        await self._silence()
        self._counters["requests"] += 1
        wire_ns = (len(op.request) + (options.length or 0)) * self._char_ns
        deadline_ns = stream.now_ns() + int(own_s * 1e9) + wire_ns
        frames = parser(options, synchronised=True)
        try:
            await stream.write(op.request)
            while (left_ns := deadline_ns - stream.now_ns()) > 0:
                if found := frames.push(await stream.read(left_ns / 1e9)).frames:
                    return self._answer(op, found[0])
        finally:
            self._quiet_until = stream.now_ns() + int(max(_SILENCE_S, options.pause_ms / 1000) * 1e9)
            for name, count in frames.counters.items():
                self._counters[name] += count
        return self._failed(op, Quality.BAD_REPLY if frames.taken else Quality.NO_REPLY)

    def _answer(self, op: Listen, frame: bytes) -> Batch:
        batch, malformed = op.batch([frame], np.array([self._stream.last_byte_ns], np.int64))
        if malformed:
            self._counters["malformed"] += malformed
            return self._failed(op, Quality.BAD_REPLY)
        self._counters["replies"] += 1
        return batch

    def _failed(self, op: Listen, quality: Quality) -> Batch:
        self._counters["timeouts" if quality == Quality.NO_REPLY else "bad_replies"] += 1
        return Batch.failed(op.channels, self._stream.now_ns(), quality)

    async def _silence(self) -> None:
        """What still comes in belongs to nobody."""
        for _ in range(_MAX_STRAYS):
            strays = self._stream.take()
            if not strays and self._stream.now_ns() >= self._quiet_until:
                return
            if strays:
                self._quiet_until = max(self._quiet_until, self._stream.now_ns() + int(_SILENCE_S * 1e9))
            await self._stream.wait_until(self._quiet_until)


@asynccontextmanager
async def connect(link: Link, ops: Sequence[Listen]) -> AsyncIterator[Reader[Listen]]:
    """Raises LinkDown."""
    async with open_stream(link) as stream:
        await _start(stream, ops)
        listening = [op for op in ops if not op.request]
        yield StreamReader(stream, link, listening[0]) if listening else RequestReader(stream, link)


async def _start(stream: Stream, ops: Sequence[Listen]) -> None:
    """The devices' `on_start` commands, each with a moment for its acknowledgement, which is not looked
    at."""
    for options in {op.device.name: op.options for op in ops}.values():
        for command in options.on_start:
            await stream.write(unhex(command) or b"")
            await stream.read(_ACKNOWLEDGE_S)


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
)
