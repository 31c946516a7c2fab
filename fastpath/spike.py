"""Spike: one reading that could not be predicted. How often and how far a channel passes TAIL scales is learnt (a power
tail beyond a threshold; B. M. Hill, Ann. Statist. 3, 1975): heavy tails are a habit, too.
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.habit import MAX_SCORE, TAIL
from fastpath.jit import inner
from fastpath.level import NEXT

CHANCE, EXCESS = NEXT, NEXT + 1
END = NEXT + 2

GAUSSIAN_CHANCE = 0.0027  # of passing TAIL
GAUSSIAN_EXCESS = 0.085  # mean of ln(size / TAIL) beyond it
CHANCE_MEMORY = 1.0 / 2048.0
EXCESS_MEMORY = 1.0 / 128.0
LEAST_CHANCE = 1e-4


@inner
def begin(d: F8, c: int) -> None:
    d[c, CHANCE] = GAUSSIAN_CHANCE
    d[c, EXCESS] = GAUSSIAN_EXCESS


@inner
def score(d: F8, c: int, z: float, scale: float, size: float) -> float:
    """Of this reading; 0 while it is off by less than `size` (NaN: anything)."""
    off = abs(z)
    rare = -math.log10(d[c, CHANCE])
    found = rare * off / TAIL if off <= TAIL else rare + math.log10(off / TAIL) / d[c, EXCESS]
    beyond = 1.0 if off > TAIL else 0.0
    d[c, CHANCE] = max(d[c, CHANCE] + CHANCE_MEMORY * (beyond - d[c, CHANCE]), LEAST_CHANCE)
    if off > TAIL:
        seen = min(math.log(off / TAIL), 8.0 * d[c, EXCESS])
        d[c, EXCESS] = max(d[c, EXCESS] + EXCESS_MEMORY * (seen - d[c, EXCESS]), GAUSSIAN_EXCESS)
    return 0.0 if off * scale < size else min(found, MAX_SCORE)
