"""What a profile says of a serial device (`[serial]`) and of each of its points: no code, only layout.

Data only, and its faults in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from protocols.api import Device, Point

Mode = Literal["stream", "request"]
FrameKind = Literal["binary", "lines"]
ByteOrder = Literal["big", "little"]
Type = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"]
CheckKind = Literal["sum8", "sum16", "xor8", "crc16-modbus", "sum8-inverted", "sum8-negated"]

SIZES: dict[str, int] = {
    "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "float32": 4,
}  # fmt: skip
CHECK_SIZES: dict[str, int] = {
    "sum8": 1, "sum16": 2, "xor8": 1, "crc16-modbus": 2, "sum8-inverted": 1, "sum8-negated": 1,
}  # fmt: skip
MAX_FRAME = 4096
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bytes that are the same in every frame (a length field, a device type): hex `bytes` from offset
    `at`."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    at: int
    bytes: str


@dataclass(frozen=True, slots=True)
class Check:
    """Computed over the bytes from `start` up to but not including `end`, found at `at`.

    "sum8-inverted" is 0xFF - sum (SHDLC), "sum8-negated" is 0x100 - sum (MH-Z19B). `order` matters for two bytes:
    `crc16-modbus` is "little" on most lines.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    kind: CheckKind
    start: int
    end: int
    at: int
    order: ByteOrder = "big"

    @property
    def size(self) -> int:
        return CHECK_SIZES[self.kind]


@dataclass(frozen=True, slots=True)
class Options:
    """Keys of `[serial]`.

    `mode` "stream": the device speaks by itself; "request": hex `request` is sent every period, the reply
    is one frame. `frame` "binary": hex `start`, `length` in all, `fixed` bytes, `check` (or "none", said
    openly). `frame` "lines": `prefix`, then `fields` fields between `separator`s, then `terminator`.
    `rate_hz`: every line is one sample of each point, so many a second. `on_start`: hex commands sent after
    opening. `pause_ms` before the next request on the line; `timeout_ms` in place of the link's.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    frame: FrameKind
    mode: Mode = "stream"
    start: str = ""
    length: int | None = None
    fixed: tuple[Fixed, ...] = ()
    check: Check | Literal["none"] | None = None
    prefix: str = ""
    separator: str = ","
    fields: int | None = None
    terminator: str = "\n"
    rate_hz: float | None = None
    request: str = ""
    on_start: tuple[str, ...] = ()
    pause_ms: float = 0.0
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """Keys of one point: `offset`, `type` and `order` in a binary frame, `field` (from 0) in a line.

    `nan` lists raw values, before the scale, by which the device says "not available".
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    offset: int | None = None
    type: Type = "uint16"
    order: ByteOrder = "big"
    field: int | None = None
    nan: tuple[int, ...] = ()


def unhex(text: str) -> bytes | None:
    """Bytes of "42 4D", or None where it is no hex."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


Fault = tuple[str, str, str]  # point name, key, words


def check(device: Device, points: Sequence[Point]) -> tuple[Fault, ...]:
    """Everything types cannot say: (point name or "", key, words)."""
    options: Options = device.options
    layout = _binary_faults if options.frame == "binary" else _line_faults
    faults = [("", key, words) for key, words in (*_common_faults(options), *layout(options))]
    for point in points:
        faults += ((point.name, key, words) for key, words in _point_faults(point.spec, options))
        if point.writable is not None:
            faults.append((point.name, "writable", "serial devices are only read"))
    return tuple(faults)


def _common_faults(options: Options) -> Iterator[tuple[str, str]]:
    for key, text in (("start", options.start), ("request", options.request), *_commands(options)):
        if unhex(text) is None:
            yield key, f'"{text}" is not hex: write it like "42 4D"'
    if options.mode == "request" and not options.request:
        yield "request", 'mode "request" needs the bytes to send'
    if options.mode == "stream" and options.request:
        yield "request", 'only sent in mode = "request"'
    if options.mode == "request" and options.rate_hz is not None:
        yield "rate_hz", 'only in mode = "stream"'
    if options.rate_hz is not None and options.rate_hz <= 0:
        yield "rate_hz", "must be positive"
    if options.pause_ms < 0:
        yield "pause_ms", "cannot be negative"
    if options.timeout_ms is not None and options.timeout_ms <= 0:
        yield "timeout_ms", "must be positive"


def _commands(options: Options) -> list[tuple[str, str]]:
    return [("on_start", command) for command in options.on_start]


def _binary_faults(options: Options) -> Iterator[tuple[str, str]]:
    start, length = unhex(options.start) or b"", options.length
    if not options.start:
        yield "start", "a binary frame needs the bytes it starts with"
    if length is None or not max(1, len(start)) <= length <= MAX_FRAME:
        yield "length", f"a binary frame needs its whole length in bytes, {max(1, len(start))} to {MAX_FRAME}"
        return
    if options.prefix or options.fields is not None:
        yield "fields" if options.fields is not None else "prefix", 'only in frame = "lines"'
    for fixed in options.fixed:
        constant = unhex(fixed.bytes)
        if not constant:
            yield "fixed", f'"{fixed.bytes}" is not hex: write it like "00 1C"'
        elif fixed.at < 0 or fixed.at + len(constant) > length:
            yield "fixed", f"{len(constant)} bytes at {fixed.at} do not fit into {length}"
    if options.check is None:
        yield "check", 'a frame without a check delivers noise as values: give one, or write check = "none"'
    elif isinstance(options.check, Check):
        yield from _check_faults(options.check, length)


def _check_faults(sum_: Check, length: int) -> Iterator[tuple[str, str]]:
    if not 0 <= sum_.start < sum_.end <= length:
        yield "check.start", f"start {sum_.start} to end {sum_.end} is not a part of {length} bytes"
    if not 0 <= sum_.at <= length - sum_.size:
        yield "check.at", f"{sum_.size} bytes at {sum_.at} do not fit into {length}"
    if sum_.start < sum_.at + sum_.size and sum_.at < sum_.end:
        yield "check.at", f"the check cannot lie within what it checks ({sum_.start} up to {sum_.end})"


def _line_faults(options: Options) -> Iterator[tuple[str, str]]:
    if options.fields is None or not 1 <= options.fields <= 1024:
        yield "fields", "how many fields a line has, 1 to 1024"
    if not options.separator or not options.terminator:
        yield "separator" if not options.separator else "terminator", "cannot be empty"
    if options.separator in options.terminator or options.terminator in options.separator:
        yield "separator", "separator and terminator must differ"
    for key in ("separator", "terminator", "prefix"):
        if not getattr(options, key).isascii():
            yield key, "ASCII only"
    for key, given in (("start", options.start), ("length", options.length), ("fixed", options.fixed)):
        if given:
            yield key, 'only in frame = "binary"'
    if isinstance(options.check, Check):
        yield "check", 'only in frame = "binary"'


def _point_faults(spec: Field, options: Options) -> Iterator[tuple[str, str]]:
    if options.frame == "lines":
        if spec.field is None:
            yield "field", "which field of the line, from 0"
        elif options.fields is not None and not 0 <= spec.field < options.fields:
            yield "field", f"0 to {options.fields - 1}: a line has {options.fields} fields"
        if spec.offset is not None:
            yield "offset", 'only in frame = "binary"'
        return
    if spec.field is not None:
        yield "field", 'only in frame = "lines"'
    if spec.offset is None:
        yield "offset", "where in the frame the value begins, from 0"
        return
    end = spec.offset + SIZES[spec.type]
    if spec.offset < 0 or (options.length is not None and end > options.length):
        yield "offset", f"{spec.type} at {spec.offset} does not fit into {options.length} bytes"
    sum_ = options.check
    if isinstance(sum_, Check) and spec.offset < sum_.at + sum_.size and sum_.at < end:
        yield "offset", f"overlaps the check at {sum_.at}"
    bits = 8 * SIZES[spec.type]
    if spec.type != "float32" and any(not -(1 << (bits - 1)) <= raw < 1 << bits for raw in spec.nan):
        yield "nan", f"a raw value that {spec.type} cannot hold"


__all__ = ["Check", "Field", "Fixed", "Options", "check", "unhex"]
