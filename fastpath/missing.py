"""Missing: more readings without a number, or not read at all, than this channel usually misses.

The recent share f of missing readings against the usual share p. The chance of such a share among the last M readings
is exp(-M (f ln(f/p) + (1 - f) ln((1 - f)/(1 - p)))) (H. Chernoff, Ann. Math. Stat. 23, 1952), that of a run of r is
p^r.
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.habit import COUNT, MAX_SCORE, OWN
from fastpath.jit import inner

RECENT, USUAL, RUN, LAST_S = OWN, OWN + 1, OWN + 2, OWN + 3

MEMORY = 1.0 / 32.0
READINGS = (2.0 - MEMORY) / MEMORY  # that the recent share rests on
USUAL_MEMORY = 1.0 / 1024.0
FIRST_SHARE = 0.02  # believed before anything is known
LEAST_SHARE = 0.002
MOST = 256.0  # missing readings one silence can stand for
LOG_E = 0.4342944819032518


@inner
def begin(d: F8, c: int, now_s: float) -> None:
    d[c, USUAL] = FIRST_SHARE
    d[c, RECENT] = FIRST_SHARE
    d[c, LAST_S] = now_s


@inner
def score(d: F8, c: int, now_s: float, x: float, period_s: float) -> float:
    silent = 0.0
    if period_s > 0.0:
        silent = min(max(math.floor((now_s - d[c, LAST_S]) / period_s + 0.5) - 1.0, 0.0), MOST)
    d[c, LAST_S] = now_s
    d[c, COUNT] += 1.0
    here = 0.0 if math.isfinite(x) else 1.0
    lost = silent + here
    usual = d[c, USUAL]
    if lost > 0.0:
        kept = math.pow(1.0 - MEMORY, lost)
        d[c, RECENT] = 1.0 - kept * (1.0 - d[c, RECENT])
        d[c, RUN] += lost
        longest = d[c, RUN]
    else:
        longest = 0.0
    if here == 0.0:
        d[c, RECENT] -= MEMORY * d[c, RECENT]
        d[c, RUN] = 0.0
    memory = max(USUAL_MEMORY, 1.0 / (d[c, COUNT] + 64.0))
    d[c, USUAL] = max(usual + memory * ((1.0 if lost > 0.0 else 0.0) - usual), LEAST_SHARE)
    found = -longest * math.log10(usual)
    f = min(d[c, RECENT], 1.0 - 1e-9)
    if f > usual:
        chance = f * math.log(f / usual) + (1.0 - f) * math.log((1.0 - f) / (1.0 - usual))
        found = max(found, LOG_E * READINGS * chance)
    return float(min(found, MAX_SCORE))
