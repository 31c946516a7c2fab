"""Which encoding gives the number on a device's display: types, word orders, the addresses beside it, scales. Pure.

In: registers around a place as they were read, up to three times, and what the display showed each time, as it was
typed ("23.4"). Out: encodings that give every one of them, the simplest first, and the profile's TOML for one.

A display rounds or cuts off: a value fits where it is within one unit of the last digit typed. A number fits the
better, the more digits agree; an encoding is the simpler, the nearer it is to the place and the type that was thought
of, and the fewer registers it takes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols.modbus.points import WORDS

SCALES = (1.0, 0.1, 0.01, 0.001, 0.0001, 10.0, 100.0, 1000.0)
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
REACH = 1  # addresses before and behind
WIDEST = 4  # registers
TYPES = ("uint16", "int16", "uint32", "int32", "float32", "uint8", "int8", "bcd16", "bcd32", "float16", "uint64",
         "int64", "float64")  # fmt: skip
_CODES = {
    "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "float32": "f", "float16": "e", "uint64": "Q",
    "int64": "q", "float64": "d", "uint8": "B", "int8": "b",
}  # fmt: skip


class Look(NamedTuple):
    """Registers from `address` on, two bytes each, and what the display showed at that moment."""

    address: int
    data: bytes
    shown: float
    digits: int  # behind the decimal point, as typed

    @property
    def tolerance(self) -> float:
        """One unit of the last digit, a little more for its own rounding."""
        return 10.0**-self.digits * 1.000001


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a value is kept. `misses` is how far it is from what was shown at worst, in units of the last digit."""

    function: int
    address: int
    type: str
    order: str
    scale: float
    misses: float = 0.0

    def value(self, address: int, data: bytes) -> float:
        """The value in registers from `address` on; NaN where it lies beyond them or is no number."""
        at, span = 2 * (self.address - address), 2 * WORDS[self.type]
        if at < 0 or at + span > len(data):
            return math.nan
        return _number(self.type, self.order, data[at : at + span]) * self.scale

    def toml(self, name: str) -> str:
        """The lines of a point."""
        lines = [
            "[[points]]",
            f'name = "{name}"',
            f"function = {self.function}",
            f"address = {self.address}",
            f'type = "{self.type}"',
        ]
        lines += [f'order = "{self.order}"'] if self.order != "ABCD" else []
        lines += [f"scale = {self.scale:g}"] if self.scale != 1.0 else []
        return "\n".join(lines)


def typed(text: str) -> tuple[float, int]:
    """ "23.40" to (23.4, 2). Raises ValueError for what is no decimal number."""
    cleaned = text.strip().replace(",", ".")
    number = float(cleaned)
    if not math.isfinite(number) or "e" in cleaned.lower():
        raise ValueError(f"{text}: write it as the display shows it, as 23.4")
    return number, len(cleaned.partition(".")[2])


def suggest(
    looks: Sequence[Look],
    function: int,
    address: int,
    kind: str = "uint16",
    order: str = "ABCD",
    scale: float = 1.0,
    reach: int = REACH,
) -> list[Encoding]:
    """Encodings that fit all looks, the likeliest first. `kind`, `order`, `scale`: what was thought so far."""
    fits = [
        one
        for candidate in _candidates(function, address, reach, scale)
        if (one := _fitted(candidate, looks)) is not None
    ]
    thought = (address, kind, order, scale)
    return _distinct(sorted(fits, key=lambda one: _unlikely(one, thought, looks)), looks)


def _candidates(function: int, address: int, reach: int, scale: float) -> Iterator[Encoding]:
    scales = (scale, *(s for s in SCALES if s != scale))
    for at in range(max(0, address - reach), min(65_535, address + reach) + 1):
        for kind in TYPES:
            for order in _orders(kind):
                for one in scales:
                    yield Encoding(function, at, kind, order, one)


def _orders(kind: str) -> tuple[str, ...]:
    """Orders that differ for a type: one register has two."""
    return ORDERS if WORDS[kind] > 1 else ("ABCD", "BADC")


def _fitted(one: Encoding, looks: Sequence[Look]) -> Encoding | None:
    worst = 0.0
    for look in looks:
        off = abs(one.value(look.address, look.data) - look.shown)
        if not off <= look.tolerance:
            return None
        worst = max(worst, off / look.tolerance)
    return Encoding(one.function, one.address, one.type, one.order, one.scale, round(worst, 6))


def _unlikely(one: Encoding, thought: tuple[int, str, str, float], looks: Sequence[Look]) -> tuple[float, ...]:
    """Smaller is likelier. A scale that leaves more digits than the display has, or an odd order, costs; so does a
    wide type of which the upper registers are all zero, as a narrower one says the same."""
    address, kind, order, scale = thought
    cost = 2.0 * abs(one.address - address)
    cost += 0.0 if one.type == kind else 1.0 + 0.2 * TYPES.index(one.type)
    cost += 0.0 if one.order == order else 1.0 * ORDERS.index(one.order)
    cost += 0.0 if one.scale == scale else 1.0 + 0.25 * SCALES.index(one.scale)
    digits = max(look.digits for look in looks)
    if "float" not in one.type and not math.isclose(one.scale, 10.0**-digits):
        cost += 2.0
    if one.type in ("float32", "float64") and len({look.shown for look in looks}) > 1:
        cost -= 1.0  # a random pattern that is a float of the right size, more than once, is hardly chance
    cost += 4.0 * _idle(one, looks)
    return (round(cost + one.misses, 6), one.address, TYPES.index(one.type))


def _idle(one: Encoding, looks: Sequence[Look]) -> bool:
    """Whether half of the value's registers are zero in all looks."""
    span = WORDS[one.type]
    if span < 2 or "float" in one.type:
        return False
    for look in looks:
        at = 2 * (one.address - look.address)
        words = [look.data[at + 2 * i : at + 2 * i + 2] for i in range(span)]
        if sum(word == b"\0\0" for word in words) * 2 < span:
            return False
    return True


def _distinct(encodings: Sequence[Encoding], looks: Sequence[Look]) -> list[Encoding]:
    """Without those that a better one already says in the same place with the same scale."""
    kept: list[Encoding] = []
    for one in encodings:
        values = [one.value(look.address, look.data) for look in looks]
        alike = any(
            (k.address, k.scale) == (one.address, one.scale)
            and [k.value(look.address, look.data) for look in looks] == values
            for k in kept
        )
        if not alike:
            kept.append(one)
    return kept


def _number(kind: str, order: str, data: bytes) -> float:
    """The raw number in its registers, as the profile's words for type and order mean it; NaN where it is none."""
    if kind in ("uint8", "int8"):
        byte = data[:1] if order == "BADC" else data[1:2]
        return float(struct.unpack(">" + _CODES[kind], byte)[0])
    if order in ("CDAB", "DCBA"):
        data = b"".join(data[i : i + 2] for i in range(len(data) - 2, -2, -2))
    if order in ("BADC", "DCBA"):
        data = b"".join(data[i : i + 2][::-1] for i in range(0, len(data), 2))
    if kind.startswith("bcd"):
        digits = data.hex()
        return float(digits) if digits.isdecimal() else math.nan
    return float(struct.unpack(">" + _CODES[kind], data)[0])


__all__ = ["Encoding", "Look", "suggest", "typed"]
