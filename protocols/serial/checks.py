"""Check sums of serial frames, for one frame and for many at once. Bytes in, numbers out.

CRCs by the parameters of Ross Williams' model; the names of the "catalogue of parametrised CRC algorithms" that
differ from ours: crc8 is CRC-8/SMBUS, crc8-maxim CRC-8/MAXIM-DOW, crc8-sensirion CRC-8/NRSC-5, crc16-ccitt
CRC-16/IBM-3740 (also "CCITT-FALSE"), crc16-x25 CRC-16/IBM-SDLC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal[
    "sum8", "sum8-inverted", "sum8-negated", "sum16", "sum16-inverted", "sum16-negated", "xor8",
    "crc8", "crc8-maxim", "crc8-sensirion", "crc16-modbus", "crc16-ccitt", "crc16-xmodem", "crc16-kermit", "crc16-x25",
    "crc32",
]  # fmt: skip


class _Crc(NamedTuple):
    width: int
    poly: int
    init: int
    reflected: bool
    xor_out: int


_CRCS = {
    "crc8": _Crc(8, 0x07, 0, False, 0),
    "crc8-maxim": _Crc(8, 0x31, 0, True, 0),
    "crc8-sensirion": _Crc(8, 0x31, 0xFF, False, 0),
    "crc16-modbus": _Crc(16, 0x8005, 0xFFFF, True, 0),
    "crc16-ccitt": _Crc(16, 0x1021, 0xFFFF, False, 0),
    "crc16-xmodem": _Crc(16, 0x1021, 0, False, 0),
    "crc16-kermit": _Crc(16, 0x1021, 0, True, 0),
    "crc16-x25": _Crc(16, 0x1021, 0xFFFF, True, 0xFFFF),
    "crc32": _Crc(32, 0x04C11DB7, 0xFFFFFFFF, True, 0xFFFFFFFF),
}


class Sum(NamedTuple):
    """`size` in bytes. of(data) -> int; of_rows(u8[n, m]) -> i64[n], row by row the same."""

    size: int
    of: Callable[[bytes], int]
    of_rows: Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def _crc(crc: _Crc) -> Sum:
    table = [_entry(crc, byte) for byte in range(256)]
    column = np.array(table, np.int64)
    mask, top = (1 << crc.width) - 1, crc.width - 8

    def of(data: bytes) -> int:
        value = crc.init
        if crc.reflected:
            for byte in data:
                value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
        else:
            for byte in data:
                value = ((value << 8) & mask) ^ table[(value >> top) ^ byte]
        return value ^ crc.xor_out

    def of_rows(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
        value = np.full(len(rows), crc.init, np.int64)
        for byte in rows.T:
            if crc.reflected:
                value = (value >> 8) ^ column[(value ^ byte) & 0xFF]
            else:
                value = ((value << 8) & mask) ^ column[(value >> top) ^ byte]
        return value ^ crc.xor_out

    return Sum(crc.width // 8, of, of_rows)


def _entry(crc: _Crc, byte: int) -> int:
    if crc.reflected:
        poly = int(f"{crc.poly:0{crc.width}b}"[::-1], 2)
        for _ in range(8):
            byte = (byte >> 1) ^ (poly if byte & 1 else 0)
        return byte
    value = byte << (crc.width - 8)
    for _ in range(8):
        value = (value << 1) ^ (crc.poly if value >> (crc.width - 1) else 0)
        value &= (1 << crc.width) - 1
    return value


def _total(size: int, sign: int, plus: int) -> Sum:
    """(plus + sign * sum of all bytes), the lowest `size` bytes of it."""
    mask = (1 << 8 * size) - 1
    return Sum(
        size,
        lambda data: (plus + sign * sum(data)) & mask,
        lambda rows: (plus + sign * rows.sum(axis=1, dtype=np.int64)) & mask,
    )


def _xor(data: bytes) -> int:
    result = 0
    for byte in data:
        result ^= byte
    return result


def _xor_rows(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    total: NDArray[np.uint8] = np.bitwise_xor.reduce(rows, axis=1)
    return total.astype(np.int64)


SUMS: dict[str, Sum] = {
    "sum8": _total(1, 1, 0),
    "sum8-inverted": _total(1, -1, 0xFF),
    "sum8-negated": _total(1, -1, 0),
    "sum16": _total(2, 1, 0),
    "sum16-inverted": _total(2, -1, 0xFFFF),
    "sum16-negated": _total(2, -1, 0),
    "xor8": Sum(1, _xor, _xor_rows),
    **{name: _crc(crc) for name, crc in _CRCS.items()},
}
assert set(SUMS) == set(get_args(Kind)), "a kind without a sum"
