"""Drift: a slow trend in the means of blocks of equal length (a day by default, so that the day's course cancels out).

A fast and a slow moving average of the means; their difference, in units of how much neighbouring means differ, against
what such differences usually are. Parts of a block (the first, and what silence cut short) are not compared.
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.habit import EXPECTED, OWN, QUANTUM, score_of
from fastpath.jit import inner

BLOCK, SUM, HELD, TYPICAL, BLOCKS, BEFORE, FAST, SLOW, SIGMA, POWER, SCORE = range(OWN, OWN + 11)
END = OWN + 11

DAY_S = 86400.0
FAST_MEMORY = 1.0 / 4.0
SLOW_MEMORY = 1.0 / 32.0
ENOUGH = 8  # blocks before the first verdict
# of the difference of the two averages of white noise of unit variance
POWER_OF_WHITE = (
    FAST_MEMORY / (2.0 - FAST_MEMORY)
    + SLOW_MEMORY / (2.0 - SLOW_MEMORY)
    - 2.0 * FAST_MEMORY * SLOW_MEMORY / (FAST_MEMORY + SLOW_MEMORY - FAST_MEMORY * SLOW_MEMORY)
)
WHOLE = 0.75  # of the readings of a usual block make a block
STEPS_OF_WHITE = 1.1284  # mean difference of neighbours


@inner
def begin(d: F8, c: int, now_s: float, span_s: float) -> None:
    d[c, BLOCK] = math.floor(now_s / span_s)
    d[c, BLOCKS] = -1.0  # the first is a part


@inner
def score(d: F8, c: int, now_s: float, x: float, size: float, span_s: float) -> float:
    """Of the trend as of the last whole block; 0 while it has led less far than `size` (NaN: any way)."""
    block = math.floor(now_s / span_s)
    moved = abs(x - d[c, EXPECTED])
    if moved > 0.0 and (d[c, QUANTUM] == 0.0 or moved < d[c, QUANTUM]):
        d[c, QUANTUM] = moved
    d[c, EXPECTED] = x
    if block != d[c, BLOCK]:
        d[c, BLOCK] = block
        if d[c, BLOCKS] < 0.0:
            d[c, BLOCKS] = 0.0
        elif d[c, HELD] >= WHOLE * d[c, TYPICAL] and d[c, HELD] > 0.0:
            close(d, c, d[c, SUM] / d[c, HELD], size)
        d[c, TYPICAL] = max(d[c, HELD], 0.9 * d[c, TYPICAL])
        d[c, SUM] = 0.0
        d[c, HELD] = 0.0
    d[c, SUM] += x
    d[c, HELD] += 1.0
    found: float = d[c, SCORE]
    return found


@inner
def close(d: F8, c: int, mean: float, size: float) -> None:
    """A block is over: learn its mean and judge the trend."""
    n = d[c, BLOCKS] + 1.0
    d[c, BLOCKS] = n
    if n == 1.0:
        d[c, BEFORE] = mean
        d[c, FAST] = mean
        d[c, SLOW] = mean
        return
    step = abs(mean - d[c, BEFORE]) / STEPS_OF_WHITE
    if n > 4.0:
        step = min(step, 4.0 * max(d[c, SIGMA], d[c, QUANTUM]))
    d[c, BEFORE] = mean
    d[c, SIGMA] += max(SLOW_MEMORY, 1.0 / (n - 1.0)) * (step - d[c, SIGMA])
    d[c, FAST] += max(FAST_MEMORY, 1.0 / n) * (mean - d[c, FAST])
    d[c, SLOW] += max(SLOW_MEMORY, 1.0 / n) * (mean - d[c, SLOW])
    off = abs(d[c, FAST] - d[c, SLOW])
    sigma = max(d[c, SIGMA] * (1.0 + 8.0 / n), 0.5 * d[c, QUANTUM], 1e-12 * abs(mean), 1e-300)
    ratio = min(off / sigma, 1e6)
    power = max(d[c, POWER], POWER_OF_WHITE)
    d[c, SCORE] = 0.0 if n < ENOUGH or off < size else score_of(ratio / math.sqrt(power))
    d[c, POWER] = power + SLOW_MEMORY * (min(ratio * ratio, 4.0 * power) - power)
