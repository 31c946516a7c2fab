"""Values to what a device would show: registers and coils of a Modbus device, fields of a serial frame. struct only.

In: a profile's points and their values. Out: raw integers, register words, frame bytes, and the value that these
really carry (a device with a scale of 0.1 cannot say 3.14).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from protocols.api import Point

Value = Callable[[Point], float]

_INTEGERS = {
    "uint8": (0, 0xFF), "int8": (-0x80, 0x7F), "uint16": (0, 0xFFFF), "int16": (-0x8000, 0x7FFF),
    "uint32": (0, 0xFFFFFFFF), "int32": (-0x80000000, 0x7FFFFFFF),
    "uint64": (0, 2**64 - 1), "int64": (-(2**63), 2**63 - 1),
}  # fmt: skip
_CODES = {
    "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q",
    "int64": "q", "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip
_BCD_DIGITS = {"bcd16": 4, "bcd32": 8}


def raw(point: Point, value: float) -> tuple[int | float, float]:
    """(what the device stores, the value that it means)."""
    kind = point.spec.type
    unscaled = (value - point.offset) / point.scale
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        stored = min(high, max(low, round(unscaled)))
        return stored, stored * point.scale + point.offset
    if kind in _BCD_DIGITS:
        stored = min(10 ** _BCD_DIGITS[kind] - 1, max(0, round(unscaled)))
        return stored, stored * point.scale + point.offset
    narrow = float(struct.unpack(">" + _CODES[kind], struct.pack(">" + _CODES[kind], unscaled))[0])
    return narrow, narrow * point.scale + point.offset


def to_bytes(kind: str, stored: int | float) -> bytes:
    """Big-endian bytes of a stored value."""
    if kind in _BCD_DIGITS:
        return bytes.fromhex(f"{stored:0{_BCD_DIGITS[kind]}d}")
    return struct.pack(">" + _CODES[kind], stored)


def reorder(data: bytes, order: str) -> bytes:
    """Big-endian bytes in the device's own order: ABCD, CDAB (low word first), BADC (bytes swapped), DCBA."""
    if order in ("CDAB", "DCBA"):
        data = b"".join(data[i : i + 2] for i in range(len(data) - 2, -2, -2))
    if order in ("BADC", "DCBA"):
        data = b"".join(data[i : i + 2][::-1] for i in range(0, len(data), 2))
    return data


class ModbusImage:
    """The tables of one Modbus device, computed anew for every request."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = list(points)

    def registers(self, function: int, address: int, count: int, value: Value) -> tuple[list[int], dict[str, float]]:
        """`count` registers (functions 3, 4) from `address`, holes 0, and the values wholly inside."""
        words = [0] * count
        told: dict[str, float] = {}
        for point in self._inside(function, address, count):
            spec = point.spec
            at = spec.address - address
            if spec.bit is not None:
                bit = int(value(point) != 0)
                words[at] |= bit << spec.bit
                told[point.name] = float(bit)
                continue
            stored, told[point.name] = raw(point, value(point))
            if spec.shift:
                stored = int(stored) << spec.shift
            data = reorder(to_bytes(spec.type, stored).rjust(2, b"\0"), spec.order)
            for i in range(0, len(data), 2):
                words[at + i // 2] |= int.from_bytes(data[i : i + 2], "big")
        return words, told

    def bits(self, function: int, address: int, count: int, value: Value) -> tuple[list[bool], dict[str, float]]:
        """`count` coils or discrete inputs (functions 1, 2)."""
        bits = [False] * count
        told: dict[str, float] = {}
        for point in self._inside(function, address, count):
            bits[point.spec.address - address] = value(point) != 0
            told[point.name] = float(bits[point.spec.address - address])
        return bits, told

    def _inside(self, function: int, address: int, count: int) -> list[Point]:
        return [
            point
            for point in self._points
            if point.spec.function == function
            and address <= point.spec.address
            and point.spec.address + _words(point.spec) <= address + count
        ]


def _words(spec: Any) -> int:
    if spec.function in (1, 2) or spec.bit is not None:
        return 1
    return max(1, len(to_bytes(spec.type, 0)) // 2)


class Frame:
    """A binary frame as a profile's `[serial]` table declares it."""

    def __init__(self, options: Any, points: Sequence[Point]) -> None:
        self._options = options
        self._points = list(points)

    def build(self, value: Value) -> tuple[bytes, dict[str, float]]:
        """One frame and the values it carries."""
        options = self._options
        frame = bytearray(options.length)
        start = bytes.fromhex(options.start)
        frame[: len(start)] = start
        for fixed in options.fixed:
            data = bytes.fromhex(_get(fixed, "bytes"))
            at = _get(fixed, "at")
            frame[at : at + len(data)] = data
        told: dict[str, float] = {}
        for point in self._points:
            stored, told[point.name] = raw(point, value(point))
            data = to_bytes(point.spec.type, stored)
            if point.spec.order == "little":
                data = data[::-1]
            frame[point.spec.offset : point.spec.offset + len(data)] = data
        if options.check is not None and options.check != "none":
            _seal(frame, options.check)
        return bytes(frame), told


def _get(table: Any, key: str) -> Any:
    return table[key] if isinstance(table, Mapping) else getattr(table, key)


def _seal(frame: bytearray, check: Any) -> None:
    covered = frame[_get(check, "start") : _get(check, "end")]
    kind, at = _get(check, "kind"), _get(check, "at")
    order: Literal["big", "little"] = "little" if _get(check, "order") == "little" else "big"
    if kind == "xor8":
        value, size = 0, 1
        for byte in covered:
            value ^= byte
    elif kind == "sum8":
        value, size = sum(covered) & 0xFF, 1
    elif kind == "sum8-inverted":
        value, size = ~sum(covered) & 0xFF, 1
    elif kind == "sum8-negated":
        value, size = -sum(covered) & 0xFF, 1
    elif kind == "sum16":
        value, size = sum(covered) & 0xFFFF, 2
    else:
        raise ValueError(f"a simulated device cannot compute the check {kind!r}")
    frame[at : at + size] = value.to_bytes(size, order)
