"""What a profile says of a serial device (`[serial]`) and of each of its points: no code, only layout.

Data only; what can be wrong with it is in faults.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from protocols.serial.checks import SUMS, Kind

Mode = Literal["stream", "request"]
FrameKind = Literal["binary", "stuffed", "lines"]
ByteOrder = Literal["big", "little"]
Form = Literal["bytes", "hex"]
Type = Literal[
    "uint8", "int8", "uint16", "int16", "uint24", "int24", "uint32", "int32", "uint64", "int64", "float32", "float64"
]

SIZES: dict[str, int] = {
    "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint24": 3, "int24": 3, "uint32": 4, "int32": 4,
    "uint64": 8, "int64": 8, "float32": 4, "float64": 8,
}  # fmt: skip
MAX_FRAME = 4096
ACKNOWLEDGE_MS = 100.0  # what a command of which nothing is said gets for its acknowledgement
STUFFING = 0x20  # what an escaped byte is xored with: RFC 1662, SHDLC
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bytes that are the same in every frame (a length field, a device type): hex `bytes` from offset
    `at`."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    at: int
    bytes: str


@dataclass(frozen=True, slots=True)
class Length:
    """Where a frame says how long it is: a whole number at `at`, and `plus` what it does not count; `min` to `max`
    bytes in all. `form` "hex": digits in ASCII."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    at: int
    min: int
    max: int
    plus: int = 0
    type: Literal["uint8", "uint16"] = "uint8"
    order: ByteOrder = "big"
    form: Form = "bytes"

    @property
    def size(self) -> int:
        return SIZES[self.type] * (2 if self.form == "hex" else 1)

    def of(self, frame: bytes, begin: int) -> int | None:
        """The length of the frame that begins at `begin`; 0 where it cannot be one, None where more is needed."""
        raw = frame[begin + self.at : begin + self.at + self.size]
        if len(raw) < self.size:
            return None
        if self.form == "hex":
            if not _HEX.fullmatch(raw):
                return 0
            raw = bytes.fromhex(raw.decode("ascii"))
        length = int.from_bytes(raw, self.order) + self.plus
        return length if self.min <= length <= self.max else 0


@dataclass(frozen=True, slots=True)
class Check:
    """Computed over the bytes from `start` up to but not including `end`, found at `at`; `end` and `at` below 0 count
    from the frame's end. In lines: from `start` up to the text `after`, behind which its hexadecimal digits stand.

    "sum8-inverted" is 0xFF - sum (SHDLC), "sum8-negated" is 0x100 - sum (MH-Z19B). `order` matters for two bytes and
    more: `crc16-modbus` is "little" on most lines. `form` "hex": two digits in ASCII for each byte.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    kind: Kind
    start: int = 0
    end: int | None = None
    at: int | None = None
    order: ByteOrder = "big"
    form: Form = "bytes"
    after: str = ""

    @property
    def size(self) -> int:
        """Bytes that it takes in a frame."""
        return SUMS[self.kind].size * (2 if self.form == "hex" or self.after else 1)

    def place(self, length: int) -> tuple[int, int, int]:
        """(start, end, at) in a frame of `length` bytes."""
        end, at = self.end or 0, self.at or 0
        return self.start, end if end >= 0 else length + end, at if at >= 0 else length + at


@dataclass(frozen=True, slots=True)
class RequestCheck:
    """What stands for `{check}` in a request: computed over its bytes from `start` up to the placeholder."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    kind: Kind
    start: int = 0
    order: ByteOrder = "big"
    form: Form = "bytes"


@dataclass(frozen=True, slots=True)
class Command:
    """One of `on_start`: hex `send`; hex `answer` must be part of what comes back, where it is given; then a rest of
    `pause_ms`."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    send: str
    answer: str = ""
    pause_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Time:
    """A time by the device's own clock, in every frame: `scale` seconds a count, from 0 again after `rollover` counts;
    `nan` lists raw values that are no time. Its place is that of a point."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    name: str
    scale: float = 1.0
    rollover: float | None = None
    offset: int | None = None
    type: Type = "uint32"
    order: ByteOrder = "big"
    field: int | None = None
    nan: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """Keys of `[serial]`.

    `mode` "stream": the device speaks by itself; "request": hex `request` is sent every period, the reply
    is one frame. `frame` "binary": hex `start`, `length` in all, `fixed` bytes, `check` (or "none", said
    openly). `frame` "stuffed": the same for what stands between two `flag` bytes once `escape` is undone. `frame`
    "lines": `prefix`, then `fields` fields between `separator`s, `check`, then `terminator`.
    `rate_hz`: every line or frame is one sample of each point, so many a second. `times`: what a device says of the
    time by its own clock. `on_start`: commands sent after opening, and again when a device comes back. `pause_ms`
    before the next request on the line; `timeout_ms` in place of the link's.

    `{unit}` (one byte) and `{unit:hex}` (two digits) in `request`, `start`, `fixed` and `on_start` stand for the
    device's address, `{check}` in `request` and `on_start` for `request_check`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    frame: FrameKind
    mode: Mode = "stream"
    start: str = ""
    length: int | Length | None = None
    fixed: tuple[Fixed, ...] = ()
    check: Check | Literal["none"] | None = None
    flag: str = "7E"
    escape: str = "7D"
    prefix: str = ""
    separator: str = ","
    fields: int | None = None
    terminator: str = "\n"
    rate_hz: float | None = None
    times: tuple[Time, ...] = ()
    request: str = ""
    request_check: RequestCheck | None = None
    on_start: tuple[str | Command, ...] = ()
    pause_ms: float = 0.0
    timeout_ms: int | None = None

    @property
    def longest(self) -> int:
        """Bytes of a frame at most, as far as declared."""
        return self.length.max if isinstance(self.length, Length) else self.length or 0

    @property
    def commands(self) -> tuple[Command, ...]:
        return tuple(
            one if isinstance(one, Command) else Command(one, pause_ms=ACKNOWLEDGE_MS) for one in self.on_start
        )


@dataclass(frozen=True, slots=True)
class Field:
    """Keys of one point: `offset`, `type` and `order` in a binary frame, `field` (from 0) in a line.

    `nan` lists raw values, before the scale, by which the device says "not available". `plausible`: a frame whose raw
    value is not from the first to the second is no frame. `time`: which of `times` it is of.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    offset: int | None = None
    type: Type = "uint16"
    order: ByteOrder = "big"
    field: int | None = None
    nan: tuple[int, ...] = ()
    plausible: tuple[float, float] | None = None
    time: str = ""


_HEX = re.compile(rb"[0-9A-Fa-f]+")
_PLACEHOLDER = re.compile(r"\{(unit:hex|unit|check)\}")


def unhex(text: str) -> bytes | None:
    """Bytes of "42 4D", or None where it is no hex."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def blank(text: str, check: RequestCheck | None = None) -> bytes | None:
    """As `unhex`, with zeros for its placeholders: as long as what will be sent."""
    digits = 0 if check is None else 2 * SUMS[check.kind].size * (2 if check.form == "hex" else 1)
    sizes = {"unit": 2, "unit:hex": 4, "check": digits}
    return unhex(_PLACEHOLDER.sub(lambda found: f" {'0' * sizes[found[1]]} ", text))


def names_unit(text: str) -> bool:
    return "{unit" in text


def fill(text: str, unit: int, options: Options) -> bytes:
    """The bytes of a template for the device at `unit`. In stuffed frames what is filled in is escaped, and the check
    is that of the bytes before escaping. Raises ValueError where it is no hex."""
    plain, sent = b"", b""
    escape, flag = (unhex(options.escape), unhex(options.flag)) if options.frame == "stuffed" else (None, None)
    for number, part in enumerate(_PLACEHOLDER.split(text)):
        if number % 2 == 0:
            given = bytes.fromhex(part)
            sent += given
            plain += unstuff(given, escape) or b"" if escape else given
            continue
        added = _filled(part, unit, plain, options.request_check)
        plain += added
        sent += stuff(added, flag, escape) if escape and flag else added
    return sent


def _filled(part: str, unit: int, before: bytes, check: RequestCheck | None) -> bytes:
    if part == "unit":
        return unit.to_bytes(1, "big")
    if part == "unit:hex":
        return f"{unit:02X}".encode("ascii")
    if check is None:
        raise ValueError("{check} without a request_check")
    kind = SUMS[check.kind]
    sum_ = kind.of(before[check.start :]).to_bytes(kind.size, check.order)
    return sum_.hex().upper().encode("ascii") if check.form == "hex" else sum_


_CONTROL = (0x11, 0x13)  # XON and XOFF, which SHDLC escapes too


def stuff(data: bytes, flag: bytes, escape: bytes) -> bytes:
    """`data` with every flag, escape, XON and XOFF escaped."""
    special = {*flag, *escape, *_CONTROL}
    return b"".join(bytes((escape[0], byte ^ STUFFING)) if byte in special else bytes((byte,)) for byte in data)


def unstuff(data: bytes, escape: bytes) -> bytes | None:
    """In one pass from the left, so that `7D 5D 31` is `7D 31` and not `11`; None where an escape is the last byte."""
    if escape not in data:
        return data
    if _ends_escaped(data, escape):
        return None
    pattern = re.escape(escape) + b"(.)"
    return re.sub(pattern, lambda found: bytes((found[1][0] ^ STUFFING,)), data, flags=re.DOTALL)


def _ends_escaped(data: bytes, escape: bytes) -> bool:
    """An odd run of escapes at the end: the last one escapes nothing."""
    return (len(data) - len(data.rstrip(escape))) % 2 == 1
