"""The universal default detector, for a gauge nobody has tuned: one reading in, a score and an onset or
clear out.

One step ahead: the next reading is predicted from a slow level and the lag-one correlation around it. What
is left, in units of its own robust scale, is judged twice: alone (a spike, a jump), and as a short moving
average (a lasting shift). The score is -log10 of the chance of such a value in this channel, so ONSET_SCORE
6 means one false onset in a million readings if the channel keeps its habits. The tail beyond TAIL scales
is not taken for Gaussian: how often and how far readings pass it is learnt (a power tail beyond a
threshold; B. M. Hill, Ann. Statist. 3, 1975).

Self-starting, O(1), no training phase. Onset and clear have hysteresis; a new level is accepted after a
while, so an onset always clears. The first reading after a gap or a clock step is taken without being
judged.

State a channel: f64[n, COLUMNS].
"""

from __future__ import annotations

import math
from typing import Any

from fastpath.columns import F8
from fastpath.jit import inner

ONSET_SCORE = 6.0
CLEAR_SCORE = 3.0
CALM = 16  # readings below CLEAR_SCORE until clear
REFRACTORY = 64  # readings after a clear without a new onset
ENOUGH = 64  # readings before the first onset
GAP_PERIODS = 8  # silence longer than this is a gap

SLOW = 1.0 / 512.0  # memory of level, correlation and scale
SHORT = 1.0 / 16.0  # memory of the moving average
UNCLIPPED = 8.0  # the first readings teach without being clipped
CLIP = 4.0  # readings further out teach scale and level no more than this
SHIFT_CLIP = 3.0
SHIFT_SD = math.sqrt(SHORT / (2.0 - SHORT))  # of the moving average of unit white noise
TAIL = 3.0
TAIL_CHANCE = 0.0027  # of a Gaussian, where learning begins
TAIL_MEMORY = 1.0 / 2048.0
LOG_EXCESS = 0.085  # mean of ln(size / TAIL) of a Gaussian beyond TAIL
LOG_EXCESS_MEMORY = 1.0 / 128.0  # faster is calmer on heavy tails but half blind on recorded traffic
STICKY = 0.98  # largest lag-one correlation believed
LONG_RUN = 48  # readings all on one side and out of scale, after which the level is taken anew
MAX_SCORE = 99.0
FAR = 1e150

COUNT, BEFORE, LEVEL, POWER, PRODUCT, SCALE, EXPECTED, QUANTUM = range(8)
CHANCE, MEAN_LOG, SHIFT, SHIFT_POWER, RUN, ACTIVE, QUIET = range(8, 15)
COLUMNS = 15

NOTHING = 0
ONSET = 1
CLEAR = 2


@inner
def begin(state: F8, c: int, x: float) -> None:
    """The first reading of a channel."""
    state[c, COUNT] = 1.0
    state[c, BEFORE] = x
    state[c, LEVEL] = x
    state[c, CHANCE] = TAIL_CHANCE
    state[c, MEAN_LOG] = LOG_EXCESS
    state[c, SHIFT_POWER] = SHIFT_SD * SHIFT_SD
    state[c, EXPECTED] = x


@inner
def gaussian_score(z: float) -> float:
    """-log10 of the two-sided tail of a unit Gaussian, from Mills' ratio: within 0.02 beyond z = 2."""
    density = (0.5 * z * z + 0.9189385332046727) * 0.4342944819032518
    return density + math.log10((z + 1.0 / (z + 2.0 / (z + 3.0 / z))) * 0.5)


@inner
def tail_score(size: float, chance: float, excess: float) -> float:
    """-log10 of the chance of a residual this many scales out; below TAIL linear in between."""
    if size <= TAIL:
        return -math.log10(chance) * size / TAIL
    return math.log10(size / TAIL) / excess - math.log10(chance)


@inner
def score_of(state: F8, c: int, size: float) -> Any:
    shift = abs(state[c, SHIFT]) / math.sqrt(max(state[c, SHIFT_POWER], SHIFT_SD * SHIFT_SD))
    best = tail_score(size, state[c, CHANCE], state[c, MEAN_LOG])
    if shift > TAIL:
        best = max(best, gaussian_score(shift))
    return min(max(best, 0.0), MAX_SCORE)


@inner
def step(state: F8, c: int, x: float, gap: bool) -> tuple[int, float]:
    """Take x; (ONSET | CLEAR | NOTHING, score). EXPECTED then holds what had been predicted."""
    n = state[c, COUNT]
    if n == 0.0 or abs(x) > FAR:
        if n == 0.0 and abs(x) <= FAR:
            begin(state, c, x)
        return NOTHING, 0.0
    before = state[c, BEFORE]
    state[c, BEFORE] = x
    if gap:
        return NOTHING, 0.0
    state[c, COUNT] = n + 1.0
    memory = max(SLOW, 1.0 / (n + 1.0))

    jump = abs(x - before)
    if jump > 0.0 and (state[c, QUANTUM] == 0.0 or jump < state[c, QUANTUM]):
        state[c, QUANTUM] = jump

    level = state[c, LEVEL]
    phi = 0.0
    if state[c, POWER] > 0.0:
        phi = min(max(state[c, PRODUCT] / state[c, POWER], 0.0), STICKY) * (1.0 - 8.0 / (n + 8.0))
    expected = level + phi * (before - level)
    state[c, EXPECTED] = expected
    residual = x - expected
    # a series that was constant or moves in steps has no scale below its smallest step
    floor = max(state[c, QUANTUM], 1e-12 * abs(level), 1e-300)
    scale = max(state[c, SCALE] * (1.0 + 8.0 / n), floor)
    z = residual / scale
    size = abs(z)

    score = 0.0
    if n >= ENOUGH:
        state[c, SHIFT] += SHORT * (min(max(z, -SHIFT_CLIP), SHIFT_CLIP) - state[c, SHIFT])
        score = score_of(state, c, size)
        learn_tail(state, c, size)
    learn(state, c, before, residual, scale, memory, n)
    return decide(state, c, score, z), score


@inner
def learn_tail(state: F8, c: int, size: float) -> None:
    """How often, and how far, this channel passes TAIL."""
    beyond = 1.0 if size > TAIL else 0.0
    state[c, CHANCE] = max(state[c, CHANCE] + TAIL_MEMORY * (beyond - state[c, CHANCE]), 1e-4)
    if beyond > 0.0:
        excess = state[c, MEAN_LOG]
        seen = min(math.log(size / TAIL), 8.0 * excess)
        state[c, MEAN_LOG] = max(excess + LOG_EXCESS_MEMORY * (seen - excess), LOG_EXCESS)
    shift = min(state[c, SHIFT] * state[c, SHIFT], 16.0 * state[c, SHIFT_POWER])
    state[c, SHIFT_POWER] += SLOW * 0.25 * (shift - state[c, SHIFT_POWER])


@inner
def learn(state: F8, c: int, before: float, residual: float, scale: float, memory: float, n: float) -> None:
    """Level, correlation and scale, each moved no further than a clipped reading may move it."""
    reach = CLIP * scale if n >= UNCLIPPED else math.inf
    clipped = min(max(residual, -reach), reach)
    state[c, SCALE] += memory * (1.2533 * abs(clipped) - state[c, SCALE])
    level = state[c, LEVEL]
    a = before - level
    b = state[c, EXPECTED] + clipped - level
    if abs(a) < FAR and abs(b) < FAR:
        state[c, PRODUCT] += memory * (a * b - state[c, PRODUCT])
        state[c, POWER] += memory * (a * a - state[c, POWER])
    state[c, LEVEL] = level + memory * b


@inner
def decide(state: F8, c: int, score: float, z: float) -> int:
    """Onset, clear and the acceptance of a new level."""
    side = 1.0 if z > TAIL else (-1.0 if z < -TAIL else 0.0)
    run = state[c, RUN]
    state[c, RUN] = run + side if side * run >= 0.0 and side != 0.0 else side
    if abs(state[c, RUN]) >= LONG_RUN:
        state[c, RUN] = 0.0
        state[c, LEVEL] = state[c, BEFORE]
        state[c, SHIFT] = 0.0
    if state[c, ACTIVE] == 0.0:
        state[c, QUIET] += 1.0
        if score >= ONSET_SCORE and (state[c, QUIET] > REFRACTORY):
            state[c, ACTIVE] = 1.0
            state[c, QUIET] = 0.0
            return ONSET
        return NOTHING
    state[c, QUIET] = state[c, QUIET] + 1.0 if score < CLEAR_SCORE else 0.0
    if state[c, QUIET] >= CALM:
        state[c, ACTIVE] = 0.0
        state[c, QUIET] = 0.0
        return CLEAR
    return NOTHING
