"""Frames of a serial device: any bytes in, verified frames out, decoded as columns. No sockets, no clocks.

    binary    start | ... fixed bytes ... | values | check        `length` bytes in all
    lines     prefix | field separator field ... | terminator

After a frame that fails, the search for the next start goes on one byte further, inside the rejected bytes: a
truncated frame never costs the one behind it. No value of an unverified frame ever comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.api import Point
from protocols.modbus.crc import crc16
from protocols.serial.points import MAX_FRAME, SIZES, Check, Field, Options, unhex

COUNTERS = ("frames", "resyncs", "check_errors", "truncated", "malformed", "other_lines")


class Burst(NamedTuple):
    """Frames that became whole together. `ends` are offsets behind each frame, in bytes since the parser
    began."""

    frames: list[bytes]
    ends: list[int]


class Parser(Protocol):
    counters: dict[str, int]

    @property
    def taken(self) -> int:
        """Bytes pushed so far."""
        ...

    def push(self, data: bytes) -> Burst: ...
    def reset(self) -> None:
        """Forget what is unfinished: bytes have been lost."""
        ...


def parser(options: Options, synchronised: bool = False) -> Parser:
    """`synchronised`: the first byte begins a frame (a reply, a capture), not somewhere inside one."""
    return BinaryParser(options) if options.frame == "binary" else LineParser(options, synchronised)


# ---- binary frames

_SUMS: dict[str, Callable[[bytes], int]] = {
    "sum8": lambda data: sum(data) & 0xFF,
    "sum16": lambda data: sum(data) & 0xFFFF,
    "xor8": lambda data: _xor(data),
    "crc16-modbus": crc16,
    "sum8-inverted": lambda data: ~sum(data) & 0xFF,
    "sum8-negated": lambda data: -sum(data) & 0xFF,
}


def _xor(data: bytes) -> int:
    result = 0
    for byte in data:
        result ^= byte
    return result


class BinaryParser:
    """Frames of constant length. `counters`: resyncs count runs of skipped bytes; `truncated` are those of
    the `check_errors` in whose bytes a good frame began."""

    def __init__(self, options: Options) -> None:
        self._start = unhex(options.start) or b""
        self._length = options.length or 0
        self._fixed = [(fixed.at, unhex(fixed.bytes) or b"") for fixed in options.fixed]
        self._check = options.check if isinstance(options.check, Check) else None
        self._rest = b""
        self._failed_at = -MAX_FRAME  # where the last frame that failed its check began
        self._skipping = False
        self.taken = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def reset(self) -> None:
        self._rest = b""
        self._skip()

    def push(self, data: bytes) -> Burst:
        buffer = self._rest + data
        base = self.taken - len(self._rest)
        self.taken += len(data)
        burst = Burst([], [])
        at = 0
        while True:
            found = self._find_start(buffer, at)
            if found > at:
                self._skip()
            at = found
            if at + self._length > len(buffer):
                break
            frame = buffer[at : at + self._length]
            if self._is_whole(frame, base + at):
                self._accept(base + at)
                burst.frames.append(frame)
                at += self._length
                burst.ends.append(base + at)
            else:
                self._skip()
                at += 1
        self._rest = buffer[at:]
        return burst

    def _find_start(self, buffer: bytes, at: int) -> int:
        """The next place a frame may begin, be it with the first bytes of its start only."""
        found = buffer.find(self._start, at)
        if found >= 0:
            return found
        for tail in range(min(len(self._start) - 1, len(buffer) - at), 0, -1):
            if buffer.endswith(self._start[:tail]):
                return len(buffer) - tail
        return len(buffer)

    def _is_whole(self, frame: bytes, at: int) -> bool:
        if any(frame[place : place + len(constant)] != constant for place, constant in self._fixed):
            return False
        if self._check is None:
            return True
        sum_ = self._check
        found = int.from_bytes(frame[sum_.at : sum_.at + sum_.size], sum_.order)
        if found == _SUMS[sum_.kind](frame[sum_.start : sum_.end]):
            return True
        self.counters["check_errors"] += 1
        self._failed_at = at
        return False

    def _accept(self, at: int) -> None:
        self.counters["frames"] += 1
        self.counters["truncated"] += at - self._failed_at < self._length
        self._failed_at = -MAX_FRAME
        self._skipping = False

    def _skip(self) -> None:
        self.counters["resyncs"] += not self._skipping
        self._skipping = True


# ---- lines


class LineParser:
    """Lines with the right prefix and number of fields; what their fields hold is the decoder's business.

    Without a prefix the first line is dropped unless `synchronised`: its head may be missing.
    """

    def __init__(self, options: Options, synchronised: bool) -> None:
        self._prefix, self._terminator, self._separator = (
            text.encode("ascii", "replace") for text in (options.prefix, options.terminator, options.separator)
        )
        self._separators = (options.fields or 1) - 1
        self._rest = b""
        self._whole = synchronised  # whether the line under way was seen from its beginning
        self.taken = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def reset(self) -> None:
        self._rest = b""
        self._whole = False
        self.counters["resyncs"] += 1

    def push(self, data: bytes) -> Burst:
        buffer = self._rest + data
        end = self.taken - len(self._rest)
        self.taken += len(data)
        *lines, self._rest = buffer.split(self._terminator)
        burst = Burst([], [])
        for line in lines:
            end += len(line) + len(self._terminator)
            if self._accepts(line):
                burst.frames.append(line)
                burst.ends.append(end)
        if len(self._rest) > MAX_FRAME:  # no line is so long: wait for the next terminator
            self.reset()
        return burst

    def _accepts(self, line: bytes) -> bool:
        whole, self._whole = self._whole, True
        if not line.startswith(self._prefix):
            self.counters["other_lines"] += whole
            return False
        if not whole and not self._prefix:
            return False
        if line.count(self._separator, len(self._prefix)) != self._separators:
            self.counters["malformed"] += 1
            return False
        self.counters["frames"] += 1
        return True


# ---- values


class Columns(NamedTuple):
    """value f64[n, points] scaled; absent bool[n, points]; `kept`: which frames the n rows are."""

    value: NDArray[np.float64]
    absent: NDArray[np.bool_]
    kept: Sequence[int]


class Decoder:
    """The points of one device, compiled: frames in, columns out. Rows keep the points' order."""

    def __init__(self, points: Sequence[Point]) -> None:
        options: Options = points[0].device.options
        self._specs: list[Field] = [point.spec for point in points]
        self._scale = np.array([point.scale for point in points])
        self._offset = np.array([point.offset for point in points])
        self._read = self._binary if options.frame == "binary" else self._lines
        self._prefix = len(options.prefix)
        self._separator = options.separator.encode("ascii", "replace")
        self._nan = [
            (column, float(raw) if options.frame == "lines" else _as_value(raw, spec.type))
            for column, spec in enumerate(self._specs)
            for raw in spec.nan
        ]

    def decode(self, frames: Sequence[bytes]) -> Columns:
        """Lines whose fields are no numbers are left out (`kept` names the others)."""
        raw, kept = self._read(frames)
        with np.errstate(invalid="ignore", over="ignore"):
            value = raw * self._scale + self._offset
        absent = ~np.isfinite(value)
        for column, sentinel in self._nan:
            absent[:, column] |= raw[:, column] == sentinel
        value[absent] = np.nan
        return Columns(value, absent, kept)

    def _binary(self, frames: Sequence[bytes]) -> tuple[NDArray[np.float64], Sequence[int]]:
        raw = np.empty((len(frames), len(self._specs)))
        if frames:
            table = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1)
            for column, spec in enumerate(self._specs):
                at = spec.offset or 0
                part = np.ascontiguousarray(table[:, at : at + SIZES[spec.type]])
                with np.errstate(invalid="ignore"):  # a signalling NaN is data here
                    raw[:, column] = part.view(_dtype(spec))[:, 0]
        return raw, range(len(frames))

    def _lines(self, frames: Sequence[bytes]) -> tuple[NDArray[np.float64], Sequence[int]]:
        table = [frame[self._prefix :].split(self._separator) for frame in frames]
        try:
            rows = [self._numbers(fields) for fields in table]
            kept: Sequence[int] = range(len(frames))
        except ValueError:
            kept = [i for i, fields in enumerate(table) if self._are_numbers(fields)]
            rows = [self._numbers(table[i]) for i in kept]
        return np.array(rows, np.float64).reshape(len(kept), len(self._specs)), kept

    def _numbers(self, fields: Sequence[bytes]) -> list[float]:
        return [_number(fields[spec.field or 0]) for spec in self._specs]

    def _are_numbers(self, fields: Sequence[bytes]) -> bool:
        try:
            self._numbers(fields)
        except ValueError:
            return False
        return True


def _number(text: bytes) -> float:
    if b"_" in text:  # Python reads 1_0 as 10
        raise ValueError(text)
    return float(text)


def _dtype(spec: Field) -> np.dtype[np.generic]:
    kind = {"u": "u", "i": "i", "f": "f"}[spec.type[0]]
    return np.dtype(f"{'>' if spec.order == 'big' else '<'}{kind}{SIZES[spec.type]}")


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
    options: Options = points[0].device.options
    wanted = unhex(options.request) or b""
    if request and request != wanted:
        raise ValueError(f"request is {request.hex(' ')}, the profile sends {wanted.hex(' ') or 'none'}")
    frames = parser(options, synchronised=True)
    whole = reply
    if options.frame == "lines" and not reply.endswith(options.terminator.encode()):
        whole = reply + options.terminator.encode()
    found = frames.push(whole).frames
    if not found:
        raise ValueError(_why_none(reply, options, frames.counters))
    columns = Decoder(points).decode(found[:1])
    if not len(columns.kept):
        raise ValueError(f"fields that are no numbers: {found[0]!r}")
    return {point.name: float(value) for point, value in zip(points, columns.value[0], strict=True)}


def _why_none(reply: bytes, options: Options, counters: dict[str, int]) -> str:
    if options.frame == "lines":
        return f'no line with prefix "{options.prefix}" and {options.fields} fields in {reply!r}'
    if counters["check_errors"] and isinstance(options.check, Check):
        return f"check {options.check.kind} fails: {reply.hex(' ')}"
    if options.length is not None and len(reply) < options.length:
        return f"{len(reply)} bytes, a frame has {options.length}: {reply.hex(' ')}"
    return f"no frame that starts with {options.start} and has the fixed bytes: {reply.hex(' ')}"
