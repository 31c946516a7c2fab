"""A line of the last values as characters, for a terminal. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

BARS, PLAIN = "▁▂▃▄▅▆▇█", "_.-~=+*#"


def sparkline(values: Sequence[float], width: int, plain: bool = False) -> str:
    """The last `width` values between their smallest and largest; a gap where there is none. `plain`: ASCII only."""
    bars = PLAIN if plain else BARS
    last = list(values)[-width:]
    good = [value for value in last if math.isfinite(value)]
    if not good:
        return " " * len(last)
    low, high = min(good), max(good)
    return "".join(" " if not math.isfinite(value) else bars[_step(value, low, high, len(bars))] for value in last)


def _step(value: float, low: float, high: float, steps: int) -> int:
    return min(steps - 1, int((value - low) / (high - low) * steps)) if high > low else steps // 2
