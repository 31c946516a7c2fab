"""What a channel usually does: the next reading is predicted, what is left is measured in the channel's own scale.

Shared by the detectors that are chosen by name. A slow level, the lag-one correlation around it and a robust scale of
what remains, each learnt from the first reading on and moved by no reading further than CLIP scales. A series that is
constant or moves in steps has no scale below its smallest step. Onset and clear have hysteresis and a refractory rule.

State: the first OWN columns of a channel's row in the detectors' table; the detector's own follow.
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.jit import inner

COUNT, BEFORE, LEVEL, POWER, PRODUCT, SCALE, QUANTUM, EXPECTED, ACTIVE, QUIET, AGE, NEAR = range(12)
OWN = 12

NOTHING = 0
ONSET = 1
CLEAR = 2

ONSET_SCORE = 6.0  # one false onset in a million readings
CALM = 16  # readings below half the onset's score until clear
REFRACTORY = 64  # readings after a clear without a new onset
ENOUGH = 64  # readings before the first verdict
ACCEPTED = 256  # readings of an onset after which what was new is the habit

SLOW = 1.0 / 512.0
SHORT = 1.0 / 16.0
CLIP = 4.0
UNCLIPPED = 8.0  # the first readings teach without being clipped
STICKY = 0.98  # largest lag-one correlation believed
TAIL = 3.0
MAX_SCORE = 99.0
FAR = 1e150  # whose square is not finite


@inner
def begin(d: F8, c: int, x: float) -> None:
    """The first reading of a channel."""
    d[c, COUNT] = 1.0
    d[c, BEFORE] = x
    d[c, LEVEL] = x
    d[c, NEAR] = x
    d[c, EXPECTED] = x


@inner
def look(d: F8, c: int, x: float, moved: float) -> tuple[float, float, float]:
    """(what x differs from what was predicted, its scale, the lag-one correlation). EXPECTED then holds what was
    predicted. `moved` is the size of the step that was read; no more is learnt than the smallest of these."""
    n = d[c, COUNT]
    if moved > 0.0 and (d[c, QUANTUM] == 0.0 or moved < d[c, QUANTUM]):
        d[c, QUANTUM] = moved
    phi = 0.0
    if d[c, POWER] > 0.0:
        phi = min(max(d[c, PRODUCT] / d[c, POWER], 0.0), STICKY) * n / (n + 8.0)
    level = d[c, LEVEL]
    d[c, EXPECTED] = level + phi * (d[c, BEFORE] - level)
    floor = max(d[c, QUANTUM], 1e-12 * abs(level), 1e-300)
    return x - d[c, EXPECTED], max(d[c, SCALE] * (1.0 + 8.0 / n), floor), phi


@inner
def learn(d: F8, c: int, x: float, residual: float, scale: float) -> None:
    """Take x into level, correlation and scale."""
    n = d[c, COUNT]
    memory = max(SLOW, 1.0 / (n + 1.0))
    reach = CLIP * scale if n >= UNCLIPPED else math.inf
    clipped = min(max(residual, -reach), reach)
    d[c, SCALE] += memory * (1.2533 * abs(clipped) - d[c, SCALE])
    level = d[c, LEVEL]
    a = d[c, BEFORE] - level
    b = d[c, EXPECTED] + clipped - level
    if abs(a) < FAR and abs(b) < FAR:
        d[c, PRODUCT] += memory * (a * b - d[c, PRODUCT])
        d[c, POWER] += memory * (a * a - d[c, POWER])
    d[c, LEVEL] = level + memory * b
    d[c, NEAR] += SHORT * (x - d[c, NEAR])
    d[c, BEFORE] = x
    d[c, COUNT] = n + 1.0


@inner
def score_of(z: float) -> float:
    """-log10 of the two-sided tail of a unit Gaussian from Mills' ratio, within 0.02 beyond TAIL; linear below."""
    if z <= TAIL:
        return 2.5687 * z / TAIL
    density = (0.5 * z * z + 0.9189385332046727) * 0.4342944819032518
    return min(density + math.log10((z + 1.0 / (z + 2.0 / (z + 3.0 / z))) * 0.5), MAX_SCORE)


@inner
def decide(d: F8, c: int, score: float, onset: float) -> int:
    """Onset at a score of `onset`, clear after CALM readings below half of it."""
    d[c, QUIET] += 1.0
    if d[c, ACTIVE] == 0.0:
        if score >= onset and d[c, QUIET] > REFRACTORY:
            d[c, ACTIVE] = 1.0
            d[c, QUIET] = 0.0
            d[c, AGE] = 0.0
            return ONSET
        return NOTHING
    d[c, AGE] += 1.0
    if score >= 0.5 * onset:
        d[c, QUIET] = 0.0
    if d[c, QUIET] >= CALM:
        d[c, ACTIVE] = 0.0
        d[c, QUIET] = 0.0
        return CLEAR
    return NOTHING
