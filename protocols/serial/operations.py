"""What is done on a line: one operation a device that speaks, one a (device, period) that is asked. Pure.

In: points of one link. Out: operations, compiled: what is sent, how replies become rows. No streams, no waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.api import Batch, Device, Link, PlanError, Point, Quality
from protocols.serial.codec import Decoder
from protocols.serial.points import Options, fill
from protocols.serial.times import FrameTimes
from protocols.streams import char_s, scheme

SILENCE_S = 0.005  # between an answer and the next request
_FIELD_BYTES = 8  # what a field of a line takes, about


@dataclass(frozen=True, slots=True)
class Told:
    """A command after opening: what is sent, what must come back (b"" for nothing), and how long to rest then."""

    send: bytes
    answer: bytes
    pause_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Listen:
    """All points of a device whose frames are read (`request` empty) or asked for."""

    device: Device
    channels: tuple[int, ...]
    period_s: float
    request: bytes
    start: tuple[Told, ...]
    decoder: Decoder = field(repr=False)
    column: NDArray[np.int32] = field(repr=False)

    @property
    def options(self) -> Options:
        return self.device.options  # type: ignore[no-any-return]

    @property
    def is_unmarked(self) -> bool:
        """Nothing tells the beginning of a reply from an echo of the request, which some RS-485 adapters give."""
        return self.options.frame == "binary" and not self.options.start

    @property
    def reply_bytes(self) -> int:
        """About so many, at most."""
        options = self.options
        if options.frame == "lines":
            return len(options.prefix) + _FIELD_BYTES * (options.fields or 1)
        return options.longest + (2 if options.frame == "stuffed" else 0)

    def wire_s(self, link: Link) -> float:
        if scheme(link) != "serial" or not self.request:
            return 0.0
        return (len(self.request) + self.reply_bytes) * char_s(link) + SILENCE_S

    def describe(self) -> str:
        options = self.options
        what = f"lines of {options.fields}"
        if options.frame != "lines":
            what = f"{options.longest} bytes" if isinstance(options.length, int) else f"up to {options.longest} bytes"
        return f"ask {self.request.hex(' ')} for {what}" if self.request else f"listen for {what}"

    def batch(self, frames: Sequence[bytes], times_ns: NDArray[np.int64], clock: FrameTimes) -> tuple[Batch, int]:
        """Rows frame by frame, and how many frames held no numbers or nothing plausible."""
        columns = self.decoder.decode(frames)
        value, absent = columns.value, columns.absent
        arrived = times_ns[list(columns.kept)]
        moments = np.repeat(arrived, len(self.column)).reshape(-1, len(self.column))
        if self.options.times:
            good = _by_device_time(moments, columns.time, self.decoder.time_of, clock)
            value, absent, moments = value[good], absent[good], moments[good]
        quality = np.where(absent, np.uint8(Quality.SENTINEL), np.uint8(Quality.GOOD))
        return (
            Batch(
                np.tile(self.column, len(value)),
                np.ascontiguousarray(moments).reshape(-1),
                np.ascontiguousarray(value).reshape(-1),
                quality.reshape(-1),
            ),
            len(frames) - len(value),
        )


def _by_device_time(
    moments: NDArray[np.int64], times_s: NDArray[np.float64], time_of: NDArray[np.intp], clock: FrameTimes
) -> NDArray[np.bool_]:
    """Put the times of the device's clock into `moments` i64[n, points]; which rows are believed."""
    good = np.ones(len(moments), bool)
    timed = np.flatnonzero(time_of >= 0)
    for row, arrived in enumerate(moments[:, 0].tolist()):
        placed = clock.place(times_s[row], arrived)
        if placed is None:
            good[row] = False
        else:
            moments[row, timed] = placed[time_of[timed]]
    return good


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
    ops = tuple(_listen(group) for group in groups.values())
    _check_requests(ops)
    return ops


def _check_requests(ops: Sequence[Listen]) -> None:
    asked: dict[bytes, str] = {}
    for op in ops:
        other = asked.setdefault(op.request, op.device.name)
        if op.request and other != op.device.name:
            raise PlanError("", f'"{other}" and "{op.device.name}" answer to the same request: give each its own line')


def _listen(points: list[Point]) -> Listen:
    # those of the device's own time go first: the last row of a batch tells when the device was heard
    points = sorted(points, key=lambda point: not point.spec.time)
    channels = tuple(point.channel for point in points)
    device = points[0].device
    options: Options = device.options
    try:
        request = fill(options.request, device.unit, options) if options.mode == "request" else b""
        start = tuple(
            Told(
                fill(command.send, device.unit, options),
                fill(command.answer, device.unit, options),
                command.pause_ms / 1000,
            )
            for command in options.commands
        )
    except (ValueError, OverflowError) as bad:
        raise PlanError("", str(bad)) from bad
    period_s = min(point.period_s for point in points)
    return Listen(device, channels, period_s, request, start, Decoder(points), np.array(channels, np.int32))
