"""Threshold conditions with hysteresis and durations: readings in, met / cleared out. Nothing else is
judged here.

A condition is met once it has been true, without a reading in between that says otherwise, for hold_ns; it
is cleared once its clear condition has been true for clear_hold_ns. A reading without a number is no
reading.

State a condition: i64[m, COLUMNS].
"""

from __future__ import annotations

from fastpath.columns import I8
from fastpath.jit import inner

GE = 0
LE = 1
MASK = 2
EQ = 3
NE = 4

MET = 0
RUNNING = 1  # its present run (towards met, or towards cleared) has begun
SINCE = 2  # time of the first reading of that run
COLUMNS = 3

NOTHING = 0
ONSET = 1
CLEAR = 2

EXACT = 9007199254740992.0  # 2**53: above it a double is no bit field


@inner
def true_of(op: int, x: float, threshold: float) -> bool:
    if op == GE:
        return x >= threshold
    if op == LE:
        return x <= threshold
    if op == MASK:
        return abs(x) < EXACT and abs(threshold) < EXACT and (int(x) & int(threshold)) != 0
    if op == EQ:
        return x == threshold
    return x != threshold


@inner
def clear_of(op: int, x: float, threshold: float, clear: float) -> bool:
    if op == GE:
        return x < clear
    if op == LE:
        return x > clear
    return not true_of(op, x, threshold)


@inner
def judge(
    state: I8, j: int, t: int, x: float, op: int, threshold: float, clear: float, hold: int, clear_hold: int
) -> int:
    """Condition j sees reading (t, x): ONSET, CLEAR or NOTHING. SINCE then holds the first reading of the
    run."""
    met = state[j, MET] != 0
    wanted = clear_of(op, x, threshold, clear) if met else true_of(op, x, threshold)
    if not wanted:
        state[j, RUNNING] = 0
        return NOTHING
    if state[j, RUNNING] == 0 or t < state[j, SINCE]:  # a clock that stepped back must not hold a run for ever
        state[j, RUNNING] = 1
        state[j, SINCE] = t
    if t - state[j, SINCE] < (clear_hold if met else hold):
        return NOTHING
    state[j, MET] = 0 if met else 1
    state[j, RUNNING] = 0
    return CLEAR if met else ONSET
