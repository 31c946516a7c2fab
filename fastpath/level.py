"""Level shift: a short moving average of what could not be predicted, against how far such averages usually go."""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.habit import OWN, SHORT, SLOW, score_of
from fastpath.jit import inner

SHIFT, SHIFT_POWER = OWN, OWN + 1
NEXT = OWN + 2  # free for a detector that contains this one

CLIP = 3.0
POWER_OF_WHITE = SHORT / (2.0 - SHORT)  # of the moving average of unit white noise


@inner
def score(d: F8, c: int, z: float, scale: float, phi: float, size: float) -> float:
    """Of a lasting shift; 0 while it is estimated to be smaller than `size` (NaN: any)."""
    d[c, SHIFT] += SHORT * (min(max(z, -CLIP), CLIP) - d[c, SHIFT])
    power = max(d[c, SHIFT_POWER], POWER_OF_WHITE)
    found = score_of(abs(d[c, SHIFT]) / math.sqrt(power))
    square = d[c, SHIFT] * d[c, SHIFT]
    d[c, SHIFT_POWER] = power + 0.25 * SLOW * (min(square, 16.0 * power) - power)
    return 0.0 if abs(d[c, SHIFT]) * scale < size * (1.0 - phi) else found


@inner
def accept(d: F8, c: int) -> None:
    d[c, SHIFT] = 0.0
