"""What a UART puts on a wire and what another makes of it, bit by bit. Pure.

    idle 1 | start 0 | data bits, least first | parity | stop 1 ...

Two drivers at once are taken for a wired AND, the nearest that logic comes to two RS-485 drivers at odds. A receiver
looks at the middle of each bit after a falling edge, whatever rate the sender had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Setting(NamedTuple):
    """How a port is set. Parity N, E or O; "" where it is not known, which matches any."""

    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1

    @property
    def bits(self) -> int:
        """Of one character."""
        return 9 + (self.parity in ("E", "O")) + self.stop_bits

    @property
    def char_s(self) -> float:
        return self.bits / self.baud


class Wave(NamedTuple):
    """Levels from `start_s` on, each `bit_s` long."""

    start_s: float
    bit_s: float
    levels: bytes

    @property
    def end_s(self) -> float:
        return self.start_s + self.bit_s * len(self.levels)


class Char(NamedTuple):
    """A character as received: when its stop bit was looked at, and whether parity and stop bit were right."""

    time_s: float
    byte: int
    is_clean: bool


def wave(data: bytes, setting: Setting, start_s: float) -> Wave:
    """`data` without gaps."""
    levels = bytearray()
    for byte in data:
        bits = [byte >> i & 1 for i in range(8)]
        levels += bytes((0, *bits))
        if setting.parity in ("E", "O"):
            levels.append(sum(bits) % 2 ^ (setting.parity == "O"))
        levels += b"\1" * setting.stop_bits
    return Wave(start_s, 1 / setting.baud, bytes(levels))


def heard(waves: Sequence[Wave], setting: Setting) -> list[Char]:
    """What a receiver with `setting` makes of all waves together."""
    bit_s, has_parity = 1 / setting.baud, setting.parity in ("E", "O")
    found: list[Char] = []
    free_s = float("-inf")
    for edge_s in sorted(edge for one in waves for edge in _falls(one)):
        if edge_s < free_s or _level(waves, edge_s + bit_s / 2):
            continue
        bits = [_level(waves, edge_s + (1.5 + i) * bit_s) for i in range(8)]
        parity = _level(waves, edge_s + 9.5 * bit_s) if has_parity else 0
        free_s = edge_s + (9.5 + has_parity) * bit_s
        is_clean = _level(waves, free_s) == 1
        if has_parity:
            is_clean &= parity == sum(bits) % 2 ^ (setting.parity == "O")
        found.append(Char(free_s, sum(bit << i for i, bit in enumerate(bits)), is_clean))
    return found


def _falls(one: Wave) -> list[float]:
    before = b"\1" + one.levels
    return [one.start_s + i * one.bit_s for i in range(len(one.levels)) if before[i] and not one.levels[i]]


def _level(waves: Sequence[Wave], time_s: float) -> int:
    for one in waves:
        at = int((time_s - one.start_s) / one.bit_s) if time_s >= one.start_s else -1
        if 0 <= at < len(one.levels) and not one.levels[at]:
            return 0
    return 1
