"""Verified frames of a serial device to columns of values. No sockets, no clocks.

A burst is decoded as one array, column by column. A frame in which a value is implausible is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.api import Point
from protocols.serial.frames import parser
from protocols.serial.parsing import COUNTERS, Burst, Parser
from protocols.serial.points import SIZES, Check, Field, Options, Time, fill, names_unit, unhex


class Columns(NamedTuple):
    """value f64[n, points] scaled; absent bool[n, points]; `kept`: which frames the n rows are; time f64[n, times]:
    what the device's clock showed, in seconds, NaN for none."""

    value: NDArray[np.float64]
    absent: NDArray[np.bool_]
    kept: Sequence[int]
    time: NDArray[np.float64]


class Decoder:
    """The points of one device, compiled: frames in, columns out. Rows keep the points' order."""

    def __init__(self, points: Sequence[Point]) -> None:
        options: Options = points[0].device.options
        self._options = options
        self._specs: list[Field | Time] = [*(point.spec for point in points), *options.times]
        self._points = len(points)
        self._scale = np.array([*(point.scale for point in points), *(time.scale for time in options.times)])
        self._offset = np.array([*(point.offset for point in points), *(0.0 for _ in options.times)])
        self._fields = [spec.field or 0 for spec in self._specs]
        self._is_lines = options.frame == "lines"
        self._prefix = len(options.prefix)
        self._separator = options.separator.encode("ascii", "replace")
        self._nan = [
            (column, float(raw) if self._is_lines else _as_value(raw, spec.type))
            for column, spec in enumerate(self._specs)
            for raw in spec.nan
        ]
        self._plausible = [
            (column, *point.spec.plausible) for column, point in enumerate(points) if point.spec.plausible
        ]
        names = [time.name for time in options.times]
        self.time_of = np.array([names.index(p.spec.time) if p.spec.time else -1 for p in points], np.intp)
        """Which column of `time` each point is of, -1 for none."""

    def decode(self, frames: Sequence[bytes]) -> Columns:
        """Lines whose fields are no numbers and frames that are not plausible are left out (`kept` names the
        others)."""
        raw, kept = self._lines(frames) if self._is_lines else self._binary(frames)
        for column, low, high in self._plausible:
            good = ~((raw[:, column] < low) | (raw[:, column] > high))
            if not good.all():
                raw, kept = raw[good], [index for index, one in zip(kept, good.tolist(), strict=True) if one]
        with np.errstate(invalid="ignore", over="ignore"):
            value = raw * self._scale + self._offset
        absent = ~np.isfinite(value)
        for column, sentinel in self._nan:
            absent[:, column] |= raw[:, column] == sentinel
        value[absent] = np.nan
        return Columns(value[:, : self._points], absent[:, : self._points], kept, value[:, self._points :])

    def _binary(self, frames: Sequence[bytes]) -> tuple[NDArray[np.float64], Sequence[int]]:
        raw = np.full((len(frames), len(self._specs)), np.nan)
        lengths = {len(frame) for frame in frames}
        for length in lengths:  # nearly always one
            same = (
                [row for row, frame in enumerate(frames) if len(frame) == length] if len(lengths) > 1 else slice(None)
            )
            chosen = [frames[row] for row in same] if isinstance(same, list) else frames
            table = np.frombuffer(b"".join(chosen), np.uint8).reshape(len(chosen), length)
            end = self._data_end(length)
            for column, spec in enumerate(self._specs):
                at = spec.offset or 0
                if at + SIZES[spec.type] <= end:
                    raw[same, column] = _numbers(table[:, at : at + SIZES[spec.type]], spec)
        return raw, range(len(frames))

    def _data_end(self, length: int) -> int:
        """Where the values of a frame of any length end: a shorter one has none of the last points."""
        check = self._options.check
        if isinstance(self._options.length, int) or not isinstance(check, Check):
            return length
        return check.place(length)[2]

    def _lines(self, frames: Sequence[bytes]) -> tuple[NDArray[np.float64], Sequence[int]]:
        if not frames:
            return np.empty((0, len(self._specs))), ()
        joined = self._separator.join([frame[self._prefix :] for frame in frames])
        if b"_" not in joined:  # Python reads 1_0 as 10
            try:
                table = np.array(list(map(float, joined.split(self._separator)))).reshape(len(frames), -1)
                return table[:, self._fields], range(len(frames))
            except ValueError:
                pass  # some field is no number, and perhaps one that nobody wants
        rows, kept = [], []
        for number, frame in enumerate(frames):
            fields = frame[self._prefix :].split(self._separator)
            try:
                rows.append([_number(fields[field]) for field in self._fields])
            except ValueError:
                continue
            kept.append(number)
        return np.array(rows, np.float64).reshape(len(kept), len(self._specs)), kept


def _number(text: bytes) -> float:
    if b"_" in text:
        raise ValueError(text)
    return float(text)


def _numbers(part: NDArray[np.uint8], spec: Field | Time) -> NDArray[np.float64]:
    """Raw values f64[n] of bytes u8[n, size]."""
    size, big = SIZES[spec.type], spec.order == "big"
    if size != 3:
        kind = {"u": "u", "i": "i", "f": "f"}[spec.type[0]]
        dtype = np.dtype(f"{'>' if big else '<'}{kind}{size}")
        with np.errstate(invalid="ignore"):  # a signalling NaN is data here
            return np.ascontiguousarray(part).view(dtype)[:, 0].astype(np.float64)
    high, middle, low = (part[:, i].astype(np.int64) for i in ((0, 1, 2) if big else (2, 1, 0)))
    whole = (high << 16) | (middle << 8) | low
    if spec.type == "int24":
        whole = np.where(high >= 0x80, whole - (1 << 24), whole)
    return whole.astype(np.float64)


def _as_value(sentinel: int, type_: str) -> float:
    """0xFFFF and -1 are the same int16."""
    bits = 8 * SIZES[type_]
    if type_.startswith("int") and sentinel >= 1 << (bits - 1):
        return float(sentinel - (1 << bits))
    if type_.startswith("uint") and sentinel < 0:
        return float(sentinel + (1 << bits))
    return float(sentinel)


def decode(points: Sequence[Point], request: bytes, reply: bytes) -> dict[str, float]:
    """The values in the first frame of a capture. Raises ValueError with the reason where it holds none."""
    if not points:
        return {}
    device = points[0].device
    options: Options = device.options
    unit = device.unit if not request else _unit_asked(options, device.unit, request)
    frames = parser(options, synchronised=True, unit=unit)
    whole = reply
    if options.frame == "lines" and not reply.endswith(options.terminator.encode()):
        whole = reply + options.terminator.encode()
    found = frames.push(whole).frames
    if not found:
        raise ValueError(_why_none(reply, options, frames.counters))
    columns = Decoder(points).decode(found[:1])
    if not len(columns.kept):
        what = "fields that are no numbers" if options.frame == "lines" else "a value that is not plausible"
        raise ValueError(f"{what}: {found[0]!r}")
    return {point.name: float(value) for point, value in zip(points, columns.value[0], strict=True)}


def _unit_asked(options: Options, unit: int, request: bytes) -> int:
    """The address that a captured request is for."""
    units = range(256) if names_unit(options.request) else (unit,)
    asked = next((one for one in units if options.request and fill(options.request, one, options) == request), None)
    if asked is None:
        wanted = fill(options.request, unit, options) if options.request else b""
        raise ValueError(f"request is {request.hex(' ')}, the profile sends {wanted.hex(' ') or 'none'}")
    return asked


def _why_none(reply: bytes, options: Options, counters: dict[str, int]) -> str:
    if counters["check_errors"] and isinstance(options.check, Check):
        return f"check {options.check.kind} fails: {reply.hex(' ')}"
    if options.frame == "lines":
        return f'no line with prefix "{options.prefix}" and {options.fields} fields in {reply!r}'
    if options.frame == "stuffed":
        flag = unhex(options.flag) or b""
        if reply.count(flag) < 2:
            return f"no frame between two {options.flag}: {reply.hex(' ')}"
        return f"no frame of the right length that starts with {options.start}: {reply.hex(' ')}"
    if isinstance(options.length, int) and len(reply) < options.length:
        return f"{len(reply)} bytes, a frame has {options.length}: {reply.hex(' ')}"
    return f"no frame that starts with {options.start} and has the fixed bytes: {reply.hex(' ')}"


__all__ = ["COUNTERS", "Burst", "Columns", "Decoder", "Parser", "decode", "parser"]
