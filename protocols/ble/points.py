"""What a profile says of a BLE device (`[ble]`) and of its points: the schema of the driver's own keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from protocols.api import Device, Link, Point
from protocols.ble.bthome import KEY_BYTES, OBJECTS, PACKET_ID

_UUID = re.compile(r"[0-9a-f]{4}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BASE = "0000{}-0000-1000-8000-00805f9b34fb"  # Bluetooth base UUID (Core specification, vol 3, part B, 2.5.1)
SIZES = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int24": 3, "uint24": 3, "int32": 4, "uint32": 4}
_FORBID = {"extra": "forbid"}
Data = bytes  # a key of `fixed` has the name, too
Byte = Annotated[int, Field(ge=0, le=511)]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bytes that a payload of this device has at a place."""

    __pydantic_config__ = _FORBID
    at: Byte
    bytes: str = Field(pattern=r"^([0-9A-Fa-f]{2} ?)+$")

    @property
    def data(self) -> Data:
        return Data.fromhex(self.bytes)


@dataclass(frozen=True, slots=True)
class Options:
    """`[ble]`: where the values are. `bthome`; `manufacturer` data of a `company`; `service` data of a `uuid`; `gatt`
    read every period or notified. `length`: the exact number of bytes, 0 for any. `fixed`: what tells its payloads
    from others."""

    __pydantic_config__ = _FORBID
    format: Literal["bthome", "manufacturer", "service", "gatt"]
    company: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None
    uuid: str = ""
    length: Byte = 0
    fixed: tuple[Fixed, ...] = ()
    mode: Literal["read", "notify"] = "read"


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit of a payload byte, 0 the lowest."""

    __pydantic_config__ = _FORBID
    at: Byte
    bit: Annotated[int, Field(ge=0, le=7)]


@dataclass(frozen=True, slots=True)
class Value:
    """A point. BTHome: the `object` id, the `index`-th of its kind. Else: `type` at byte `at`, `order` of the bytes,
    `mask` and `shift`, a `low_bit` kept elsewhere, raw numbers that mean `none`, and the `growth` g of a logarithmic
    scale (value = exp(raw * g) - 1). GATT: the `characteristic`."""

    __pydantic_config__ = _FORBID
    object: Annotated[int, Field(ge=0, le=0xFF)] | None = None
    index: Annotated[int, Field(ge=0, le=31)] = 0
    characteristic: str = ""
    at: Byte = 0
    type: Literal["", "int8", "uint8", "int16", "uint16", "int24", "uint24", "int32", "uint32"] = ""
    order: Literal["big", "little"] = "big"
    mask: Annotated[int, Field(gt=0, le=0xFFFFFFFF)] | None = None
    shift: Annotated[int, Field(ge=0, le=31)] = 0
    low_bit: Bit | None = None
    none: tuple[int, ...] = ()
    growth: Annotated[float, Field(gt=0, le=1)] | None = None

    @property
    def end(self) -> int:
        """The payload's least length."""
        return max(self.at + SIZES.get(self.type, 0), self.low_bit.at + 1 if self.low_bit else 0)


def full_uuid(uuid: str) -> str:
    """The 128 bits of a UUID, lower case, as bleak writes it."""
    return _BASE.format(uuid.lower()) if len(uuid) == 4 else uuid.lower()


def check(device: Device, points: Sequence[Point]) -> Sequence[tuple[str, str, str]]:
    """Faults of a profile beyond types: (point, key, words)."""
    options: Options = device.options
    faults = list(_options(options))
    for point in points:
        faults += [(point.name, key, words) for key, words in _point(options, point.spec)]
    return faults


def _options(options: Options) -> Iterator[tuple[str, str, str]]:
    if (options.format == "manufacturer") != (options.company is not None):
        yield "", "company", 'is needed with format "manufacturer", and with no other'
    if (options.format == "service") != bool(options.uuid):
        yield "", "uuid", 'is needed with format "service", and with no other'
    elif options.uuid and not _UUID.fullmatch(options.uuid.lower()):
        yield "", "uuid", "is no UUID of 4 hexadecimal digits or of 36 characters"
    taken: set[int] = set()
    for one in options.fixed:
        span = set(range(one.at, one.at + len(one.data)))
        if span & taken:
            yield "", "fixed", f"says byte {min(span & taken)} twice"
        if options.length and max(span) >= options.length:
            yield "", "fixed", f"byte {max(span)} is beyond the length {options.length}"
        taken |= span
    if options.format == "bthome" and (options.fixed or options.length):
        yield "", "fixed" if options.fixed else "length", "a BTHome message describes itself"


def _point(options: Options, spec: Value) -> Iterator[tuple[str, str]]:
    if options.format == "bthome":
        if spec.object is None:
            yield "object", "a BTHome point names the id of its object"
        elif spec.object not in OBJECTS or spec.object == PACKET_ID:
            yield "object", f"0x{spec.object:02X} is no measurement of BTHome v2"
        if spec.type or spec.characteristic:
            yield "type" if spec.type else "characteristic", "a BTHome object describes itself"
        return
    if spec.object is not None:
        yield "object", 'is for format "bthome"'
    if not spec.type:
        yield "type", "is needed: " + ", ".join(SIZES)
    if options.length and spec.end > options.length:
        yield "at", f"ends at byte {spec.end}, beyond the length {options.length}"
    if (options.format == "gatt") != bool(spec.characteristic):
        yield "characteristic", 'is needed with format "gatt", and with no other'
    elif spec.characteristic and not _UUID.fullmatch(spec.characteristic.lower()):
        yield "characteristic", "is no UUID of 4 hexadecimal digits or of 36 characters"


def check_link(link: Link, device: Device) -> str:
    """Why `device` cannot be heard, or "". Its address is the site's affair."""
    options: Options = device.options
    if device.secret and options.format != "bthome":
        return "only BTHome messages are encrypted with a key (key `secret`)"
    if device.secret and len(device.secret) != KEY_BYTES:
        return f"the key of BTHome has {KEY_BYTES} bytes, not {len(device.secret)} (key `secret`)"
    return ""
