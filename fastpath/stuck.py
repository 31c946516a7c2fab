"""Stuck: readings that do not change for much longer than they ever did.

With runs of mean length L (weighted by length, so that long ones count), a run of r readings has about the chance
exp(-r / L). A channel that has hardly ever changed is not stuck; one with a `span` is stuck whenever it has not changed
for so long. Silence does not count.
"""

from __future__ import annotations

from fastpath.columns import F8
from fastpath.habit import BEFORE, EXPECTED, MAX_SCORE, OWN
from fastpath.jit import inner

RUN, SQUARES, LENGTHS, CHANGES, SINCE_S = OWN, OWN + 1, OWN + 2, OWN + 3, OWN + 4

ENOUGH = 32  # changes before the first verdict
MEMORY = 1.0 / 64.0  # of run lengths
LONGEST = 14.0  # mean lengths that one run may teach
LOG_E = 0.4342944819032518


@inner
def begin(d: F8, c: int, now_s: float) -> None:
    d[c, RUN] = 1.0
    d[c, SINCE_S] = now_s


@inner
def score(d: F8, c: int, now_s: float, x: float, gap: bool, size: float, span_s: float, onset: float) -> float:
    """BEFORE holds the value the run began with; moves of no more than `size` (NaN: 0) are none."""
    d[c, EXPECTED] = d[c, BEFORE]
    still = x == d[c, BEFORE] or abs(x - d[c, BEFORE]) <= size
    if gap or not still or now_s < d[c, SINCE_S]:
        if not gap and not still:
            change(d, c)
        d[c, BEFORE] = x
        d[c, RUN] = 1.0
        d[c, SINCE_S] = now_s
    else:
        d[c, RUN] += 1.0
    if span_s > 0.0:
        return float(min(onset * (now_s - d[c, SINCE_S]) / span_s, MAX_SCORE))
    if d[c, CHANGES] < ENOUGH:
        return 0.0
    return float(min(LOG_E * (d[c, RUN] - 1.0) / (d[c, SQUARES] / d[c, LENGTHS]), MAX_SCORE))


@inner
def change(d: F8, c: int) -> None:
    """A run is over: learn its length."""
    d[c, CHANGES] += 1.0
    memory = max(MEMORY, 1.0 / d[c, CHANGES])
    run = d[c, RUN]
    if d[c, CHANGES] > ENOUGH:
        run = min(run, LONGEST * d[c, SQUARES] / d[c, LENGTHS])
    d[c, SQUARES] += memory * (run * run - d[c, SQUARES])
    d[c, LENGTHS] += memory * (run - d[c, LENGTHS])
