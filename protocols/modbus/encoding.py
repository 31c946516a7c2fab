"""Writes as bytes: a value to the registers that a read would decode to it, and the PDUs around them. No I/O.

FC5   address u16 | FF00 or 0000                                     answered by its echo
FC6   address u16 | register                                         answered by its echo
FC15  address u16 | count u16 | byte count u8 | coils, least first   answered by address and count
FC16  address u16 | count u16 | byte count u8 | registers            answered by address and count
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from protocols.api import Point
from protocols.modbus.codec import byte_indices
from protocols.modbus.points import WORDS, Register

ONE = {1: 5, 3: 6}  # function that reads -> function that writes one
SEVERAL = {1: 15, 3: 16}

_INTEGERS = {"uint16": (2, False), "int16": (2, True), "uint32": (4, False), "int32": (4, True)} | {
    "uint64": (8, False),
    "int64": (8, True),
}
_FLOATS = {"float16": ("<e", 2.0**-11), "float32": ("<f", 2.0**-24), "float64": ("<d", 2.0**-53)}
_DIGITS = {"bcd16": 4, "bcd32": 8}
_MOD10K = {"mod10k32": 2, "mod10k64": 4}


class WriteRequest(NamedTuple):
    """A PDU, and what its good reply begins with; that reply is always 5 bytes long."""

    pdu: bytes
    reply: bytes


REPLY_SIZE = 5


def encode(point: Point, value: float) -> bytes:
    """The data bytes that decode to `value` (a coil: one byte, 0 or 1). Raises ValueError with the reason."""
    spec: Register = point.spec
    if not math.isfinite(value):
        raise ValueError("not a number")
    raw = (value - point.offset) / point.scale
    if spec.is_coil:
        if raw not in (0.0, 1.0):
            raise ValueError("a coil is 0 or 1")
        return bytes((int(raw),))
    least_first = _least_first(spec, raw)
    data = bytearray(len(least_first))
    for place, byte in zip(byte_indices(0, WORDS[spec.type], spec.order), least_first, strict=True):
        data[place] = byte
    return bytes(data)


def tolerance(point: Point, value: float) -> float:
    """How far the value read back may be from `value`: half a step of the encoding."""
    if point.spec.type in _FLOATS:
        raw = abs((value - point.offset) / point.scale)
        least = 2.0**-25 if point.spec.type == "float16" else 2.0**-150
        spread = max(raw * _FLOATS[point.spec.type][1], least) * abs(point.scale)
    else:
        spread = abs(point.scale) / 2
    # the arithmetic of scale and offset rounds as well
    return spread + 4 * 2.0**-53 * (abs(value) + abs(point.offset))


def write_request(point: Point, data: bytes, *, several: bool) -> WriteRequest:
    """The request that writes `data` (of `encode`) to the point, as FC15 or FC16 where `several`."""
    spec: Register = point.spec
    if several or spec.span > 1:
        head = struct.pack(">BHH", SEVERAL[spec.function], spec.address, spec.span)
        return WriteRequest(head + bytes((len(data),)) + data, head)
    if spec.is_coil:
        data = b"\xff\x00" if data[0] else b"\x00\x00"
    pdu = struct.pack(">BH", ONE[spec.function], spec.address) + data
    return WriteRequest(pdu, pdu)


def _least_first(spec: Register, raw: float) -> bytes:
    """The raw number's bytes, least significant first."""
    if spec.type in _FLOATS:
        try:
            data = struct.pack(_FLOATS[spec.type][0], raw)
        except OverflowError:
            raise ValueError(f"beyond {spec.type}") from None
        if raw in [float(one) for one in spec.nan]:
            raise ValueError("the device would take it for its word for 'not available'")
        return data
    whole = round(raw)
    if spec.type in _DIGITS:
        if not 0 <= whole < 10 ** _DIGITS[spec.type]:
            raise ValueError(f"beyond {spec.type}")
        data = bytes.fromhex(f"{whole:0{_DIGITS[spec.type]}d}")[::-1]
    elif spec.type in _MOD10K:
        if abs(whole) >= 10_000 ** _MOD10K[spec.type]:
            raise ValueError(f"beyond {spec.type}")
        sign, words = (-1 if whole < 0 else 1), range(_MOD10K[spec.type])
        data = b"".join(struct.pack("<h", sign * (abs(whole) // 10_000**word % 10_000)) for word in words)
    elif spec.type in _INTEGERS:
        size, signed = _INTEGERS[spec.type]
        try:
            data = whole.to_bytes(size, "little", signed=signed)
        except OverflowError:
            raise ValueError(f"beyond {spec.type}") from None
    else:
        raise ValueError(f"{spec.type} cannot be written")
    if int.from_bytes(data, "little") in [one & (1 << 8 * len(data)) - 1 for one in spec.nan]:
        raise ValueError("the device would take it for its word for 'not available'")
    return data
