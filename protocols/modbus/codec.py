"""Modbus on the wire: requests and replies as bytes, register blocks as columns. No sockets, no clocks.

    RTU   unit | PDU | CRC-16 (low byte first)
    TCP   transaction u16 | 0 u16 | length u16 | unit | PDU       (MBAP; length counts unit and PDU)

    PDU of a read     function | address u16 | count u16
    of its reply      function | byte count u8 | data          (registers big-endian; coils least bit first)
    of a refusal      function + 0x80 | exception u8

The decoder assumes a little-endian host (x86-64, aarch64).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.api import Point
from protocols.modbus.crc import crc16
from protocols.modbus.points import BYTES, COILS, Register

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not answer",
}
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
LATER = (5, 6)  # the device is at work on something else: no fault
MOST_POWER = 10  # of ten, either way, in a scale factor (SunSpec Device Information Model Specification, sunssf)
NOT_THERE = (10, 11)  # a gateway's word for "no reply"

_READ = struct.Struct(">BHH")
_MBAP = struct.Struct(">HHHB")
_MBAP_READ = struct.Struct(">HHHBBHH")


class BadReply(ValueError):
    """A reply that does not fit its request."""


class Refused(ValueError):
    """The device answered with an exception."""

    def __init__(self, exception: int) -> None:
        super().__init__(f"exception {exception} ({EXCEPTIONS.get(exception, 'unknown')})")
        self.exception = exception


# ---- frames


def byte_count(function: int, count: int) -> int:
    """Data bytes in the reply to a read of `count`."""
    return (count + 7) // 8 if function in COILS else 2 * count


def read_request(function: int, address: int, count: int) -> bytes:
    return _READ.pack(function, address, count)


def rtu_request(unit: int, function: int, address: int, count: int) -> bytes:
    return rtu_frame(unit, _READ.pack(function, address, count))


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def mbap_request(transaction: int, unit: int, function: int, address: int, count: int) -> bytes:
    return _MBAP_READ.pack(transaction, 0, 6, unit, function, address, count)


def mbap_frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    return _MBAP.pack(transaction, 0, len(pdu) + 1, unit) + pdu


def reply_data(pdu: bytes, function: int, count: int) -> bytes:
    """The data of a reply to a read of `count`. Raises Refused or BadReply."""
    if len(pdu) == 2 and pdu[0] == function | 0x80:
        raise Refused(pdu[1])
    expected = byte_count(function, count)
    if not pdu or pdu[0] != function:
        raise BadReply(f"function {pdu[0] if pdu else 'none'} instead of {function}")
    if len(pdu) != expected + 2 or pdu[1] != expected:
        raise BadReply(f"{len(pdu) - 2} data bytes instead of {expected}")
    return pdu[2:]


class Mbap(NamedTuple):
    transaction: int
    unit: int
    pdu: bytes


def mbap(frame: bytes) -> Mbap:
    """The parts of a whole frame."""
    return Mbap(int.from_bytes(frame[:2], "big"), frame[6], frame[7:])


def mbap_request_tail(unit: int, function: int, address: int, count: int) -> bytes:
    """What follows the transaction id in a read of `count`."""
    return mbap_request(0, unit, function, address, count)[2:]


def mbap_reply_head(unit: int, function: int, count: int) -> bytes:
    """What follows the transaction id, up to the data, in the reply to a read of `count`."""
    size = byte_count(function, count)
    return struct.pack(">HHBBB", 0, size + 3, unit, function, size)


class MbapParser:
    """TCP bytes in, whole frames out."""

    def __init__(self) -> None:
        self.rest = b""  # of a frame that is not whole yet

    def push(self, data: bytes) -> list[Mbap]:
        """`frames`, taken apart."""
        return [mbap(frame) for frame in self.frames(data)]

    def frames(self, data: bytes) -> list[bytes]:
        """Raises BadReply where no frame can begin: a TCP stream has nothing to find the next one by."""
        buffer = self.rest + data if self.rest else data
        frames: list[bytes] = []
        at, size = 0, len(buffer)
        while size - at >= 8:
            _, protocol, length, _ = _MBAP.unpack_from(buffer, at)
            if protocol != 0 or not 3 <= length <= 254:
                raise BadReply(f"not a Modbus TCP frame: {buffer[at : at + 8].hex(' ')}")
            end = at + 6 + length
            if end > size:
                break
            frames.append(buffer[at:end])
            at = end
        self.rest = buffer[at:]
        return frames


class Found(NamedTuple):
    """A PDU and where its frame ended on the line."""

    pdu: bytes
    end: int


def find_frame(line: bytes, head: bytes, size: int) -> int | None:
    """Where the first frame of `size` bytes that begins with `head` and has a right CRC begins."""
    at = line.find(head)
    while at >= 0 and at + size <= len(line):
        if crc16(line[at : at + size]) == 0:  # a frame with its own CRC appended leaves 0
            return at
        at = line.find(head, at + 1)
    return None


# ---- values

_DTYPES = {
    "uint8": "u1",
    "int8": "i1",
    "date48": "u1",
    "date64": "u1",
    "uint16": "<u2",
    "int16": "<i2",
    "float16": "<f2",
    "bcd16": "<u2",
    "uint32": "<u4",
    "int32": "<i4",
    "float32": "<f4",
    "bcd32": "<u4",
    "mod10k32": "<u4",
    "uint64": "<u8",
    "int64": "<i8",
    "float64": "<f8",
    "mod10k64": "<u8",
}


def byte_indices(start: int, words: int, order: str) -> list[int]:
    """Where the bytes of the value from register `start` lie in a block, least significant first."""
    places = range(words) if order in ("CDAB", "DCBA") else range(words - 1, -1, -1)
    pair = (0, 1) if order in ("BADC", "DCBA") else (1, 0)
    return [2 * (start + word) + byte for word in places for byte in pair]


class _Group(NamedTuple):
    """Values of one type, a slice of the columns."""

    dtype: np.dtype[np.generic]
    rows: slice
    byte_rows: slice
    type: str
    shift: NDArray[Any] | None  # for bits and shifted masks
    mask: NDArray[Any] | None
    nan_rows: NDArray[np.intp]  # which of the group's rows ...
    nan_raw: NDArray[np.generic]  # ... equal to what


class Decoder:
    """One block read, compiled: `decode(data)` turns the reply's bytes into columns.

    `order[i]` is the position, among the points given, of row i: rows are grouped by type.
    """

    __slots__ = ("_coils", "_finite", "_groups", "_linear", "_offset", "_powers", "_scale", "_take", "order")

    def __init__(self, points: Sequence[Point], function: int, address: int) -> None:
        specs: list[Register] = [point.spec for point in points]
        rows = sorted(range(len(specs)), key=lambda i: _kind(specs[i]))
        self.order = tuple(rows)
        self._coils = function in COILS
        ordered = [specs[i] for i in rows]
        self._groups: list[_Group] = []
        if self._coils:
            self._take = np.array([spec.address - address for spec in ordered], np.intp)
        else:
            self._take = self._compile(ordered, address)
        self._finite = self._coils or not any(spec.type.startswith("float") for spec in ordered)
        self._scale = np.array([points[i].scale for i in rows])
        self._offset = np.array([points[i].offset for i in rows])
        self._powers = None if self._coils else _powers(ordered, address)
        self._linear = bool((self._scale != 1.0).any() or (self._offset != 0.0).any())

    def _compile(self, ordered: Sequence[Register], address: int) -> NDArray[np.intp]:
        take: list[int] = []
        first = 0
        while first < len(ordered):
            last, start = first, len(take)
            while last < len(ordered) and _kind(ordered[last]) == _kind(ordered[first]):
                one = ordered[last]
                take += byte_indices(one.address - address, one.span, one.order)[: BYTES.get(one.type)]
                last += 1
            self._groups.append(_group(ordered[first:last], first, start, len(take)))
            first = last
        return np.array(take, np.intp)

    def decode(self, data: bytes) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """(values f64[n] scaled, sentinels bool[n] or None where there is none). Sentinels are NaN.

        `data` may be longer than the block."""
        value, absent = self.decode_blocks(data, 1)
        return value[0], None if absent is None else absent[0]

    def decode_blocks(self, data: bytes, blocks: int) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """The same for `blocks` equal reads at once, a row each; their data stand one behind the other."""
        raw = np.frombuffer(data, np.uint8).reshape(blocks, -1)
        value = np.empty((blocks, len(self.order)))
        absent: NDArray[np.bool_] | None = None
        if self._coils:
            value[:] = np.unpackbits(raw, axis=1, bitorder="little")[:, self._take]
        else:
            taken = raw.take(self._take, axis=1)
            for group in self._groups:
                hits = _fill(group, taken[:, group.byte_rows].view(group.dtype), value)
                if hits is not None:
                    absent = np.zeros(value.shape, np.bool_) if absent is None else absent
                    absent[:, group.rows] |= hits
        if self._powers is not None:
            unknown = self._powers.apply(raw, value)
            if unknown.any():
                absent = np.zeros(value.shape, np.bool_) if absent is None else absent
                absent[:, self._powers.rows] |= unknown
        if self._linear:
            with np.errstate(invalid="ignore", over="ignore"):
                value *= self._scale
                value += self._offset
        if not self._finite:
            bad = ~np.isfinite(value)
            if bad.any():
                absent = bad if absent is None else absent | bad
        if absent is not None:
            value[absent] = np.nan
        return value, absent


class _Powers(NamedTuple):
    """Values whose power of ten stands in a register of its own."""

    rows: NDArray[np.intp]
    take: NDArray[np.intp]  # high and low byte of each one's register

    def apply(self, raw: NDArray[np.uint8], value: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Scale the rows of f64[blocks, n] in place; bool[blocks, rows] of those whose power is none."""
        power = raw.take(self.take, axis=1).view(">i2").astype(np.int64)
        unknown: NDArray[np.bool_] = np.abs(power) > MOST_POWER
        power[unknown] = 0
        value[:, self.rows] = value[:, self.rows] * 10.0 ** np.maximum(power, 0) / 10.0 ** np.maximum(-power, 0)
        return unknown


def _powers(specs: Sequence[Register], address: int) -> _Powers | None:
    places = [(row, spec.scale_factor - address) for row, spec in enumerate(specs) if spec.scale_factor is not None]
    if not places:
        return None
    take = [byte for _, at in places for byte in (2 * at, 2 * at + 1)]
    return _Powers(np.array([row for row, _ in places], np.intp), np.array(take, np.intp))


def _kind(spec: Register) -> tuple[str, bool, bool]:
    """What is decoded together."""
    return spec.type, spec.bit is None, spec.mask is None


def _group(specs: Sequence[Register], first: int, start: int, end: int) -> _Group:
    dtype = np.dtype(_DTYPES[specs[0].type])
    unsigned = np.dtype(f"<u{dtype.itemsize}")
    shift = mask = None
    if specs[0].bit is not None:
        shift = np.array([spec.bit or 0 for spec in specs], dtype)
        mask = np.ones(len(specs), dtype)
    elif specs[0].mask is not None:
        mask = np.array([spec.mask or 0 for spec in specs], unsigned).view(dtype)
        if any(spec.shift for spec in specs):
            shift = np.array([spec.shift for spec in specs], unsigned).view(dtype)
            mask = (mask.view(unsigned) >> shift.view(unsigned)).view(dtype)
    sentinels = [(row, raw) for row, spec in enumerate(specs) for raw in spec.nan]
    if dtype.kind == "f":
        nan_raw = np.array([float(raw) for _, raw in sentinels], dtype)
    else:
        wrapped = [raw & ((1 << (8 * dtype.itemsize)) - 1) for _, raw in sentinels]
        nan_raw = np.array(wrapped, unsigned).view(dtype)
    return _Group(
        dtype,
        slice(first, first + len(specs)),
        slice(start, end),
        specs[0].type,
        shift,
        mask,
        np.array([row for row, _ in sentinels], np.intp),
        nan_raw,
    )


def _fill(group: _Group, raw: NDArray[Any], out: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Write the group's values, a block a row; returns which of them are sentinels, if any."""
    absent: NDArray[np.bool_] | None = None
    if group.nan_rows.size:
        block, hit = np.nonzero(raw[:, group.nan_rows] == group.nan_raw)
        if hit.size:
            absent = np.zeros(raw.shape, np.bool_)
            absent[block, group.nan_rows[hit]] = True
    if group.type in _UNUSUAL:
        numbers, invalid = _UNUSUAL[group.type](raw)
        out[:, group.rows] = numbers
        if invalid.any():
            absent = invalid if absent is None else absent | invalid
        return absent
    if group.mask is not None:
        raw = (raw if group.shift is None else raw >> group.shift) & group.mask
    if group.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # a signalling NaN is data here
            out[:, group.rows] = raw
    else:
        out[:, group.rows] = raw
    return absent


def _bcd(raw: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Four bits a decimal digit. A digit above 9 is no number: devices fill with F to say "none"."""
    shifts = np.arange(0, 8 * raw.dtype.itemsize, 4, dtype=raw.dtype)
    nibbles = (raw[..., None] >> shifts) & np.array(15, raw.dtype)
    return nibbles @ (10.0 ** np.arange(len(shifts))), (nibbles > 9).any(axis=-1)


def _mod10k(raw: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Four decimal digits a register, each as a signed number. Beyond 9999, or with two signs, it is no number."""
    words = np.ascontiguousarray(raw).view("<i2").reshape(*raw.shape, -1).astype(np.int64)
    least, most = words.min(axis=-1), words.max(axis=-1)
    wrong: NDArray[np.bool_] = (least < -9999) | (most > 9999) | ((least < 0) & (most > 0))
    return (words @ 10_000 ** np.arange(words.shape[-1])).astype(np.float64), wrong


def _date48(raw: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Two decimal digits each of seconds, minutes, hours, day, month and year since 2000, to unix seconds."""
    values, invalid = _bcd(raw.reshape(len(raw), -1, 6))
    second, minute, hour, day, month, year = np.moveaxis(values.astype(np.int64), -1, 0)
    seconds, wrong = _unix(year, month, day, hour, minute, second)
    return seconds, wrong | invalid.any(axis=-1)


def _date64(raw: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """IEC 60870-5 CP56 as meters keep it in four registers: year | month, day | hour, minute | ms; to unix seconds."""
    words = np.ascontiguousarray(raw).view("<u2").reshape(len(raw), -1, 4).astype(np.int64)
    ms, hour_minute, month_day, year = np.moveaxis(words, -1, 0)
    invalid = (hour_minute & 0x80) != 0
    seconds, wrong = _unix(
        year & 0x7F, month_day >> 8 & 15, month_day & 31, hour_minute >> 8 & 31, hour_minute & 63, ms // 1000
    )
    return seconds + ms % 1000 / 1000, wrong | invalid


def _unix(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64], *clock: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Unix seconds of a date since 2000, as if the device's clock showed UTC; and where there is no such date."""
    hour, minute, second = clock
    months = (year + 30) * 12 + month - 1
    first, following = (
        m.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) for m in (months, months + 1)
    )
    wrong = (month < 1) | (month > 12) | (day < 1) | (day > following - first)
    wrong |= (hour > 23) | (minute > 59) | (second > 59)
    return ((first + day - 1) * 86_400 + hour * 3600 + minute * 60 + second).astype(np.float64), wrong


_UNUSUAL = {
    "bcd16": _bcd,
    "bcd32": _bcd,
    "mod10k32": _mod10k,
    "mod10k64": _mod10k,
    "date48": _date48,
    "date64": _date64,
}


# ---- captures


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a capture asked for and got."""

    function: int
    address: int
    count: int
    data: bytes


def parse_exchange(request: bytes, reply: bytes) -> Exchange:
    """A captured request and reply, RTU with CRC or MBAP. Raises ValueError with the reason."""
    unit, asked, transaction = _unframe(request, "request")
    other, answered, same = _unframe(reply, "reply")
    if transaction != same:
        raise BadReply(f"reply to transaction {same}, request was {transaction}")
    if unit != other:
        raise BadReply(f"reply of unit {other} to a request to unit {unit}")
    if len(asked) != 5 or asked[0] not in (1, 2, 3, 4):
        raise BadReply(f"request is not a read of function 1 to 4: {asked.hex(' ')}")
    function, address, count = _READ.unpack(asked)
    return Exchange(function, address, count, reply_data(answered, function, count))


def _unframe(adu: bytes, what: str) -> tuple[int, bytes, int | None]:
    """(unit, PDU, transaction or None for RTU)."""
    if len(adu) >= 4 and crc16(adu) == 0:
        return adu[0], adu[1:-2], None
    if len(adu) >= 8:
        transaction, protocol, length, unit = _MBAP.unpack_from(adu)
        if protocol == 0 and length == len(adu) - 6:
            return unit, adu[7:], transaction
    if len(adu) < 4:
        raise BadReply(f"{what} is too short: {adu.hex(' ')}")
    right = crc16(adu[:-2]).to_bytes(2, "little").hex(" ")
    raise BadReply(f"{what} is neither RTU (its CRC would be {right}, found {adu[-2:].hex(' ')}) nor TCP")


def decode(points: Sequence[Point], request: bytes, reply: bytes) -> dict[str, float]:
    """The values of all points that the request covers whole. Raises ValueError with the reason."""
    got = parse_exchange(request, reply)
    covered = [
        p
        for p in points
        if p.spec.function == got.function and got.address <= p.spec.first and p.spec.beyond <= got.address + got.count
    ]
    if not covered:
        return {}
    decoder = Decoder(covered, got.function, got.address)
    value, _ = decoder.decode(got.data)
    return {covered[i].name: float(v) for i, v in zip(decoder.order, value, strict=True)}


__all__ = [
    "NOT_THERE",
    "BadReply",
    "Decoder",
    "Exchange",
    "Found",
    "MbapParser",
    "Refused",
    "byte_count",
    "decode",
    "find_frame",
    "mbap",
    "mbap_frame",
    "mbap_reply_head",
    "mbap_request",
    "mbap_request_tail",
    "parse_exchange",
    "read_request",
    "reply_data",
    "rtu_frame",
    "rtu_request",
]
