"""Whole numbers as a string of bits, most significant first, and back. Bytes in, bytes out; no meaning.

Counts use exponential Golomb codes of order k (Teuhola 1978): k low bits as they are, what lies above as its length in
unary and its bits. Signed numbers are zigzagged first: 0, -1, 1, -2, 2 ...
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

ORDERS = 32  # k in five bits
LONGEST = 96  # bits of a count
PEEK = 8  # bits


class Bits:
    """Written front to back."""

    def __init__(self) -> None:
        self._value = 0
        self._length = 0

    def put(self, value: int, width: int) -> None:
        """`value` in 0 .. 2**width - 1."""
        self._value = self._value << width | value
        self._length += width

    def put_count(self, value: int, order: int = 0) -> None:
        """value >= 0."""
        above = (value >> order) + 1
        extra = above.bit_length() - 1
        self.put((1 << extra) - 1 << 1, extra + 1)
        self.put(above & (1 << extra) - 1, extra)
        self.put(value & (1 << order) - 1, order)

    def put_counts(self, values: Sequence[int]) -> None:
        """A column: the order that makes it shortest, then the numbers."""
        if values:
            orders = range(min(ORDERS, max(values).bit_length() + 1))
            order = min(orders, key=lambda k: sum(_width(value, k) for value in values))
            self.put(order, 5)
            for value in values:
                self.put_count(value, order)

    def put_float(self, value: float, form: str) -> None:
        """`form`: ">f" or ">d"."""
        raw = struct.pack(form, value)
        self.put(int.from_bytes(raw), 8 * len(raw))

    def done(self) -> bytes:
        """Filled up with zeros to whole bytes."""
        size = -(-self._length // 8)
        return (self._value << 8 * size - self._length).to_bytes(size)


class BitReader:
    """The inverse of `Bits`. Raises ValueError past the end, and for a count of more than LONGEST bits."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, width: int) -> int:
        first, end = self._at, self._at + width
        if end > 8 * len(self._data):
            raise ValueError("cut off")
        self._at = end
        last = -(-end // 8)
        return int.from_bytes(self._data[first // 8 : last]) >> 8 * last - end & (1 << width) - 1

    def take_count(self, order: int = 0) -> int:
        extra = 0
        while (ones := self._ones()) == PEEK:
            extra += ones
            if extra > LONGEST:
                raise ValueError("a number without end")
        extra += ones
        self.take(1)
        above = (1 << extra | self.take(extra)) - 1
        return above << order | self.take(order)

    def _ones(self) -> int:
        """Ones from here on, at most PEEK; they are taken."""
        byte = self._at // 8
        ahead = int.from_bytes(self._data[byte : byte + 3].ljust(3, b"\0"))
        seen = ahead >> 16 - self._at % 8 & 0xFF
        ones = PEEK - (seen ^ 0xFF).bit_length()
        self._at += ones
        return ones

    def take_counts(self, many: int) -> list[int]:
        if not many:
            return []
        order = self.take(5)
        return [self.take_count(order) for _ in range(many)]

    def take_float(self, form: str) -> float:
        size = struct.calcsize(form)
        return float(struct.unpack(form, self.take(8 * size).to_bytes(size))[0])

    def end(self) -> None:
        """Nothing but filling is left. Raises ValueError."""
        left = 8 * len(self._data) - self._at
        if left > 7 or self.take(left):
            raise ValueError("more than was announced")


def zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(count: int) -> int:
    return -(count + 1 >> 1) if count & 1 else count >> 1


def _width(value: int, order: int) -> int:
    return 2 * ((value >> order) + 1).bit_length() - 1 + order
