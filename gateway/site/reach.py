"""How far the raw number behind a point can go, from the words its driver uses for encodings. Pure."""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Reach(NamedTuple):
    """Smallest and largest raw number of an integer encoding."""

    name: str
    least: float
    most: float


_INTEGER = re.compile(r"(u?)int(8|16|24|32|48|64)(?:[lb]e)?|([ui])(8|16|24|32|48|64)(?:[lb]e)?")
_BCD = re.compile(r"bcd(\d+)")
_MOD10K = re.compile(r"mod10k(32|64)")  # four digits for each 16 bits, of one sign


def reach(spec: Any) -> Reach | None:
    """The reach of a driver's point by its `bit`, `mask` and `type`; None for floats and what is not known."""
    if getattr(spec, "is_coil", False) or getattr(spec, "bit", None) is not None:
        return Reach("a bit", 0, 1)
    if getattr(spec, "scale_factor", None) is not None:
        return None  # as far as the device likes
    name = str(getattr(spec, "type", ""))
    if getattr(spec, "mask", None) is not None:
        return Reach(f"{name} with this mask", 0, spec.mask >> getattr(spec, "shift", 0))
    if match := _BCD.fullmatch(name):
        return Reach(name, 0, 10 ** (int(match[1]) // 4) - 1)
    if match := _MOD10K.fullmatch(name):
        most = 10_000 ** (int(match[1]) // 16) - 1
        return Reach(name, -most, most)
    if match := _INTEGER.fullmatch(name):
        bits, is_signed = int(match[2] or match[4]), not name.startswith("u")
        return Reach(name, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else Reach(name, 0, 2**bits - 1)
    return None
