"""What a profile says of a Modbus device (`[modbus]`) and of each of its points: data, and its faults in
words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from protocols.api import Device, Link, Point

Function = Literal[1, 2, 3, 4]
Type = Literal[
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64", "bcd16", "bcd32", "mod10k32", "mod10k64", "date48", "date64",
]  # fmt: skip
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]

WORDS: dict[str, int] = {
    "uint8": 1,
    "int8": 1,
    "date48": 3,
    "date64": 4,
    "uint16": 1,
    "int16": 1,
    "float16": 1,
    "bcd16": 1,
    "uint32": 2,
    "int32": 2,
    "float32": 2,
    "bcd32": 2,
    "mod10k32": 2,
    "uint64": 4,
    "int64": 4,
    "float64": 4,
    "mod10k64": 4,
}
BYTES = {"uint8": 1, "int8": 1}  # types narrower than their registers
COILS = (1, 2)  # functions that read single bits


@dataclass(frozen=True, slots=True)
class Register:
    """Keys of one point.

    `function` 1 coil, 2 discrete input, 3 holding, 4 input register; `address` zero-based, as on the wire.
    `order` is the order of bytes as they arrive: ABCD high word first (Modbus's own), CDAB low word first,
    BADC and DCBA the same with the bytes of each word swapped; for 64 bits the same rules over four words.
    `uint8` and `int8` are the low byte of a register, with order BADC the high one. `date48` is six BCD bytes (year,
    month, day, hour, minute, second), `date64` the four registers of IEC 60870-5's CP56; both come as unix seconds.
    `mod10k32` and `mod10k64` are registers of four decimal digits each (power meters' "modulo 10000", "Mod10"): high *
    10000 + low, all of one sign.
    `bit` 0..15 picks one bit of a register (0 is the least); `mask` keeps bits in place, `shift` then moves them down;
    `nan` lists raw values, before mask and scale, by which the device says "not available". `scale_factor` is the
    address of a register beside it, int16, with the power of ten of the value (SunSpec's `sunssf`): read in the same
    request, -10 to 10, anything else (0x8000 above all) is "not available".
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    function: Function
    address: int
    type: Type = "uint16"
    order: Order = "ABCD"
    bit: int | None = None
    mask: int | None = None
    shift: int = 0
    nan: tuple[int, ...] = ()
    scale_factor: int | None = None

    @property
    def is_coil(self) -> bool:
        return self.function in COILS

    @property
    def span(self) -> int:
        """Registers (or coils) this value takes."""
        return 1 if self.is_coil else WORDS[self.type]

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.address + self.span

    @property
    def first(self) -> int:
        """The first address that must be read for it."""
        return self.address if self.scale_factor is None else min(self.address, self.scale_factor)

    @property
    def beyond(self) -> int:
        """The first address after all that must be read for it."""
        return self.end if self.scale_factor is None else max(self.end, self.scale_factor + 1)


@dataclass(frozen=True, slots=True)
class Text:
    """A text a device keeps in `registers` registers from `address`, two characters each: read once, as identity.
    `order` BADC where the low byte comes first."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    address: int
    registers: int
    function: Literal[3, 4] = 3
    order: Literal["ABCD", "BADC"] = "ABCD"


@dataclass(frozen=True, slots=True)
class Options:
    """Keys of `[modbus]`.

    `max_registers` a request (coils: sixteen times as many, at most 2000); `max_gap` registers worth
    reading through to merge two requests; `forbidden` inclusive address ranges never to be touched;
    `pause_ms` between an answer and the next request to this device; `depth` requests in flight on TCP, 1
    unless the device is known to queue them; `timeout_ms` in place of the link's; `delay_ms` is the device's own
    time before it answers, for reckoning a line's load; `identity` texts and `device_id` (function 43/14) say who it
    is.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_registers: int = 125
    max_gap: int = 8
    forbidden: tuple[tuple[int, int], ...] = ()
    pause_ms: float = 0.0
    depth: int = 1
    timeout_ms: int | None = None
    delay_ms: float = 0.0
    identity: tuple[Text, ...] = ()
    device_id: bool = False

    def limit(self, function: int) -> int:
        """Registers or coils one request may ask for."""
        return min(2000, self.max_registers * 16) if function in COILS else self.max_registers

    def gap(self, function: int) -> int:
        return self.max_gap * 16 if function in COILS else self.max_gap

    def forbids(self, start: int, end: int) -> tuple[int, int] | None:
        """The first forbidden range that [start, end) touches."""
        return next(((low, high) for low, high in self.forbidden if start <= high and low < end), None)


Fault = tuple[str, str, str]  # point name, key, words


def check(device: Device, points: Sequence[Point]) -> tuple[Fault, ...]:
    """Everything types cannot say: (point name or "", key, words)."""
    faults = list(_device_faults(device))
    for point in points:
        faults += ((point.name, key, words) for key, words in _point_faults(point.spec, device.options))
        if point.writable is not None and (words := why_not_writable(point.spec)):
            faults.append((point.name, "writable", words))
    return (*faults, *_overlaps(points))


def check_link(link: Link, device: Device) -> str:
    """Why `device` cannot be on `link`, or ""."""
    if not link.url.startswith("tcp:") and not 1 <= device.unit <= 247:
        return f"unit {device.unit} cannot answer on a serial line: 1 to 247 (0 is the broadcast)"
    return _unit_fault(device)


def _unit_fault(device: Device) -> str:
    if 0 <= device.unit <= 255:
        return ""
    return f"unit {device.unit} does not exist: 0 to 255 on TCP, 1 to 247 on a serial line"


def _device_faults(device: Device) -> list[Fault]:
    """The kind of link is not known here, so any unit of TCP's passes: `check_link` is stricter."""
    options: Options = device.options
    checks = (
        (bool(_unit_fault(device)), "unit", _unit_fault(device)),
        (not 1 <= options.max_registers <= 125, "max_registers", "1 to 125 registers a request"),
        (options.max_gap < 0, "max_gap", "cannot be negative"),
        (not 1 <= options.depth <= 16, "depth", "1 to 16 requests in flight"),
        (options.pause_ms < 0, "pause_ms", "cannot be negative"),
        (options.delay_ms < 0, "delay_ms", "cannot be negative"),
        (
            any(not 0 <= t.address <= t.address + t.registers <= 65_536 for t in options.identity),
            "identity",
            "a text lies within 0..65535",
        ),
        (
            any(not 1 <= t.registers <= options.max_registers for t in options.identity),
            "identity",
            "a text has 1 register at least and no more than max_registers",
        ),
        (options.timeout_ms is not None and options.timeout_ms <= 0, "timeout_ms", "must be positive"),
        (
            any(not 0 <= low <= high <= 65_535 for low, high in options.forbidden),
            "forbidden",
            "each range is [first, last], first <= last, within 0..65535",
        ),
    )
    return [("", key, words) for bad, key, words in checks if bad]


def _point_faults(spec: Register, options: Options) -> list[tuple[str, str]]:
    banned = options.forbids(spec.first, spec.beyond)
    plain = (spec.type, spec.bit, spec.mask, spec.shift, spec.nan, spec.scale_factor) == (
        "uint16", None, None, 0, (), None
    )  # fmt: skip
    factor = spec.scale_factor
    bits = 8 * BYTES.get(spec.type, 2 * spec.span)
    checks = (
        (not 0 <= spec.address <= 65_535, "address", "0 to 65535, zero-based (the manual's 40001 is 0)"),
        (
            0 <= spec.address <= 65_535 < spec.end - 1,
            "address",
            f"{spec.type} at {spec.address} ends beyond 65535",
        ),
        (banned is not None, "address", f"inside the forbidden range {banned}"),
        (spec.span > options.max_registers, "type", f"wider than max_registers = {options.max_registers}"),
        (
            spec.is_coil and not plain,
            "type",
            "a coil is one bit: leave type, bit, mask, shift, nan and scale_factor out (function 1 or 2)",
        ),
        (spec.bit is not None and not 0 <= spec.bit <= 15, "bit", "0 (least) to 15"),
        (
            spec.bit is not None and spec.type != "uint16",
            "bit",
            f'a bit is taken of one register: type "uint16", not "{spec.type}"',
        ),
        (spec.bit is not None and spec.mask is not None, "mask", "bit and mask exclude each other"),
        (
            spec.mask is not None and "int" not in spec.type,
            "mask",
            f"a mask needs an integer type, not {spec.type}",
        ),
        (spec.mask is not None and not 0 < spec.mask < 1 << bits, "mask", f"1 to {(1 << bits) - 1:#x}"),
        (spec.shift != 0 and spec.mask is None, "shift", "goes with a mask"),
        (not 0 <= spec.shift < bits, "shift", f"0 to {bits - 1}"),
        (
            "int" in spec.type and any(not -(1 << (bits - 1)) <= raw < 1 << bits for raw in spec.nan),
            "nan",
            f"a raw value that {spec.type} cannot hold",
        ),
        (factor is not None and not 0 <= factor <= 65_535, "scale_factor", "0 to 65535, zero-based"),
        (
            factor is not None and spec.address <= factor < spec.end,
            "scale_factor",
            "is a register beside the value, not one of its own",
        ),
        (
            factor is not None and spec.beyond - spec.first > options.max_registers,
            "scale_factor",
            f"one request must read both: at most max_registers = {options.max_registers} from one end to the other",
        ),
        (
            factor is not None and not spec.is_coil and ("int" not in spec.type or spec.bit is not None),
            "scale_factor",
            "goes with a whole number: a float has its own exponent, a bit has none",
        ),
    )
    return [(key, words) for bad, key, words in checks if bad]


def why_not_writable(spec: Register) -> str:
    """Why a point cannot be written by itself, or ""."""
    if spec.function not in (1, 3):
        return f"function {spec.function} only reads: coils (1) and holding registers (3) can be written"
    if spec.scale_factor is not None:
        return "its scale factor may be another one when the value arrives"
    if spec.bit is not None or spec.mask is not None or spec.type in BYTES:
        return "part of a register cannot be written by itself"
    if spec.type.startswith("date"):
        return f"{spec.type} cannot be written"
    return ""


def _overlaps(points: Sequence[Point]) -> list[Fault]:
    """Two views of one register are meant (bits, masks); half of a value inside another is a slip of the
    pen."""
    faults: list[Fault] = []
    registers = sorted(
        (p for p in points if not p.spec.is_coil), key=lambda p: (p.spec.function, p.spec.address, p.spec.end)
    )
    widest: Point | None = None
    for point in registers:
        if widest is not None and _clash(widest.spec, point.spec):
            words = f'overlaps "{widest.name}" ({widest.spec.type} at {widest.spec.address})'
            faults.append((point.name, "address", words))
        if widest is None or (point.spec.function, point.spec.end) > (widest.spec.function, widest.spec.end):
            widest = point
    return faults


def _clash(one: Register, other: Register) -> bool:
    shared = one.function == other.function and other.address < one.end and one.address < other.end
    wide = max(one.span, other.span) > 1
    same = (one.address, one.span, one.type) == (other.address, other.span, other.type)
    return shared and wide and not same
