"""Values to what a device would show: registers and coils of a Modbus device, fields of a serial frame. struct only.

In: a profile's points and their values. Out: raw integers, register words, frame bytes, and the value that these
really carry (a device with a scale of 0.1 cannot say 3.14).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

from protocols.api import Point

Value = Callable[[Point], float]

_INTEGERS = {
    "uint8": (0, 0xFF), "int8": (-0x80, 0x7F), "uint16": (0, 0xFFFF), "int16": (-0x8000, 0x7FFF),
    "uint24": (0, 0xFFFFFF), "int24": (-0x800000, 0x7FFFFF), "uint32": (0, 0xFFFFFFFF),
    "int32": (-0x80000000, 0x7FFFFFFF), "uint64": (0, 2**64 - 1), "int64": (-(2**63), 2**63 - 1),
}  # fmt: skip
_CODES = {
    "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q",
    "int64": "q", "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip
_BCD_DIGITS = {"bcd16": 4, "bcd32": 8}
_MOD10K_WORDS = {"mod10k32": 2, "mod10k64": 4}
FINEST, COARSEST = -3, 10  # powers of ten that a device with scale factors shows its values by


def raw(point: Point, value: float, power: int = 0) -> tuple[int | float, float]:
    """(what the device stores, the value that it means); `power` of ten where a scale factor says so."""
    kind = point.spec.type
    scale = point.scale * 10.0**power if power >= 0 else point.scale / 10.0**-power
    unscaled = (value - point.offset) / scale
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        stored = min(high, max(low, round(unscaled)))
        return stored, stored * scale + point.offset
    if kind in _BCD_DIGITS:
        stored = min(10 ** _BCD_DIGITS[kind] - 1, max(0, round(unscaled)))
        return stored, stored * point.scale + point.offset
    if kind in _MOD10K_WORDS:
        most = 10_000 ** _MOD10K_WORDS[kind] - 1
        stored = min(most, max(-most, round(unscaled)))
        return stored, stored * point.scale + point.offset
    narrow = float(struct.unpack(">" + _CODES[kind], struct.pack(">" + _CODES[kind], unscaled))[0])
    return narrow, narrow * point.scale + point.offset


def to_bytes(kind: str, stored: int | float) -> bytes:
    """Big-endian bytes of a stored value."""
    if kind in _BCD_DIGITS:
        return bytes.fromhex(f"{stored:0{_BCD_DIGITS[kind]}d}")
    if kind in _MOD10K_WORDS:
        sign = -1 if stored < 0 else 1
        words = [sign * (abs(int(stored)) // 10_000**place % 10_000) for place in reversed(range(_MOD10K_WORDS[kind]))]
        return struct.pack(f">{len(words)}h", *words)
    if kind in ("uint24", "int24"):
        return int(stored).to_bytes(3, "big", signed=kind == "int24")
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
            factor = spec.scale_factor
            power = 0 if factor is None else self._power(function, factor, value)
            stored, told[point.name] = raw(point, value(point), power)
            if factor is not None:
                words[factor - address] = power & 0xFFFF
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

    def _power(self, function: int, factor: int, value: Value) -> int:
        """The finest by which all that share the register at `factor` can be said."""
        sharing = [one for one in self._points if (one.spec.function, one.spec.scale_factor) == (function, factor)]
        for power in range(FINEST, COARSEST):
            if all(_says(one, value(one), power) for one in sharing):
                return power
        return COARSEST

    def _inside(self, function: int, address: int, count: int) -> list[Point]:
        return [
            point
            for point in self._points
            if point.spec.function == function
            and address <= point.spec.first
            and max(point.spec.address + _words(point.spec), point.spec.beyond) <= address + count
        ]


def _says(point: Point, value: float, power: int) -> bool:
    stored, meant = raw(point, value, power)
    return stored not in point.spec.nan and abs(meant - value) <= abs(point.scale) * 10.0**power


def _words(spec: Any) -> int:
    if spec.function in (1, 2) or spec.bit is not None:
        return 1
    return max(1, len(to_bytes(spec.type, 0)) // 2)


class Frame:
    """A frame as a profile's `[serial]` table declares it: binary, stuffed, or a line."""

    def __init__(self, options: Any, points: Sequence[Point], unit: int = 0) -> None:
        self._options = options
        self._points = list(points)
        self._unit = unit

    def build(self, value: Value, clock_s: float = 0.0) -> tuple[bytes, dict[str, float]]:
        """One frame and the values it carries; `clock_s`: what the device's own clock shows."""
        return self._line(value, clock_s) if self._options.frame == "lines" else self._binary(value, clock_s)

    def _binary(self, value: Value, clock_s: float) -> tuple[bytes, dict[str, float]]:
        options = self._options
        length = options.longest
        frame = bytearray(length)
        start = _with_unit(options.start, self._unit)
        frame[: len(start)] = start
        for fixed in options.fixed:
            data = _with_unit(fixed.bytes, self._unit)
            frame[fixed.at : fixed.at + len(data)] = data
        if not isinstance(options.length, int):
            field = options.length
            digits = (length - field.plus).to_bytes(_SIZES[field.type], field.order)
            data = digits.hex().upper().encode() if field.form == "hex" else digits
            frame[field.at : field.at + len(data)] = data
        for time in options.times:
            _put(frame, time, round(clock_s / time.scale) % round(time.rollover or 2**32))
        told: dict[str, float] = {}
        for point in self._points:
            stored, told[point.name] = raw(point, value(point))
            _put(frame, point.spec, stored)
        if options.check is not None and options.check != "none":
            _seal(frame, options.check)
        if options.frame == "stuffed":
            return _stuffed(bytes(frame), bytes.fromhex(options.flag), bytes.fromhex(options.escape)), told
        return bytes(frame), told

    def _line(self, value: Value, clock_s: float) -> tuple[bytes, dict[str, float]]:
        options = self._options
        fields = ["0"] * options.fields
        for time in options.times:
            fields[time.field] = str(round(clock_s / time.scale) % round(time.rollover or 2**53))
        told: dict[str, float] = {}
        for point in self._points:
            fields[point.spec.field] = f"{(value(point) - point.offset) / point.scale:.6f}"
            told[point.name] = float(fields[point.spec.field]) * point.scale + point.offset
        line = (options.prefix + options.separator.join(fields)).encode("ascii")
        if options.check is not None and options.check != "none":
            check = options.check
            size = _CHECK_SIZES.get(check.kind, 1)
            digits = check_value(check.kind, line[check.start :]).to_bytes(size, check.order).hex().upper()
            line += check.after.encode("ascii") + digits.encode("ascii")
        return line + options.terminator.encode("ascii"), told


def request_bytes(options: Any, unit: int) -> bytes:
    """What the gateway sends to the device at `unit`."""
    head, mark, tail = options.request.partition("{check}")
    data = _with_unit(head, unit)
    if mark:
        check = options.request_check
        sum_ = check_value(check.kind, data[check.start :]).to_bytes(_CHECK_SIZES.get(check.kind, 1), check.order)
        data += sum_.hex().upper().encode() if check.form == "hex" else sum_
    return data + _with_unit(tail, unit)


def _with_unit(text: str, unit: int) -> bytes:
    return bytes.fromhex(text.replace("{unit:hex}", f"{unit:02X}".encode().hex()).replace("{unit}", f"{unit:02X}"))


_SIZES = {"uint8": 1, "uint16": 2}
_CHECK_SIZES = {"sum16": 2, "sum16-inverted": 2, "sum16-negated": 2, "crc32": 4} | {
    f"crc16-{name}": 2 for name in ("modbus", "ccitt", "xmodem", "kermit", "x25")
}


def _put(frame: bytearray, spec: Any, stored: int | float) -> None:
    data = to_bytes(spec.type, stored)
    frame[spec.offset : spec.offset + len(data)] = data[::-1] if spec.order == "little" else data


def _stuffed(frame: bytes, flag: bytes, escape: bytes) -> bytes:
    body = frame.replace(escape, escape + bytes((escape[0] ^ 0x20,)))
    for special in (flag, b"\x11", b"\x13"):
        body = body.replace(special, escape + bytes((special[0] ^ 0x20,)))
    return flag + body + flag


def check_value(kind: str, data: bytes) -> int:
    """The check of `data`, bit by bit from its definition."""
    if kind == "xor8":
        value = 0
        for byte in data:
            value ^= byte
        return value
    if kind.startswith("sum"):
        bits = 16 if kind.startswith("sum16") else 8
        total, most = sum(data), (1 << bits) - 1
        if kind.endswith("inverted"):
            return ~total & most
        return (-total if kind.endswith("negated") else total) & most
    if kind == "crc32":
        return zlib.crc32(data)
    width, poly, value, is_reflected, out = _CRCS[kind]
    for byte in data:
        for bit in range(8) if is_reflected else range(7, -1, -1):
            carry = (value >> (width - 1)) ^ (byte >> bit & 1)
            value = (value << 1) % 2**width ^ (poly if carry else 0)
    if is_reflected:
        value = int(f"{value:0{width}b}"[::-1], 2)
    return value ^ out


_CRCS = {
    "crc8": (8, 0x07, 0, False, 0), "crc8-maxim": (8, 0x31, 0, True, 0), "crc8-sensirion": (8, 0x31, 0xFF, False, 0),
    "crc16-modbus": (16, 0x8005, 0xFFFF, True, 0), "crc16-ccitt": (16, 0x1021, 0xFFFF, False, 0),
    "crc16-xmodem": (16, 0x1021, 0, False, 0), "crc16-kermit": (16, 0x1021, 0, True, 0),
    "crc16-x25": (16, 0x1021, 0xFFFF, True, 0xFFFF),
}  # fmt: skip


def _seal(frame: bytearray, check: Any) -> None:
    """The check's bytes, put where they belong; places below 0 count from the end."""
    length = len(frame)
    end = check.end if check.end >= 0 else length + check.end
    at = check.at if check.at >= 0 else length + check.at
    order: Literal["big", "little"] = "little" if check.order == "little" else "big"
    data = check_value(check.kind, bytes(frame[check.start : end])).to_bytes(_CHECK_SIZES.get(check.kind, 1), order)
    if check.form == "hex":
        data = data.hex().upper().encode()
    frame[at : at + len(data)] = data
