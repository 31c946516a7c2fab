"""Gates and the Hampel filter: one reading in, mark bits out. Values are never changed.

Gate: RANGE outside [low, high], STEP when further than `step` from the last believable reading. Hampel:
SPIKE when further than 3 x 1.4826 x MAD from the median of the last eleven readings, itself among them (F.
R. Hampel, JASA 69, 1974). Eleven readings know their scale badly and a quantised series has MAD 0, so the
limit is at least 3 times the long-run deviation of this channel and at least two of its smallest steps ever
seen.

State a channel: gate f64[n] last believable value (NaN: none yet); hampel f64[n, COLUMNS]; count i64[n].
"""

from __future__ import annotations

import math

from fastpath.columns import F8, I8
from fastpath.jit import inner
from fastpath.marks import RANGE, SPIKE, STEP

SPAN = 11
MEDIAN = SPAN // 2
ENOUGH = 7  # readings before the first verdict
LIMIT = 3.0
GAUSSIAN = 1.4826  # MAD to standard deviation
MEMORY = 1.0 / 128.0  # of the long-run deviation
TOO_LARGE = 1e150  # whose square is not finite

# columns: 0..10 readings in order of arrival, 11..21 the same sorted, then
SORTED = SPAN
POWER = 2 * SPAN  # long-run mean square deviation from the median
QUANTUM = 2 * SPAN + 1  # smallest non-zero step seen, 0: none yet
COLUMNS = 2 * SPAN + 2


@inner
def gate(last: F8, c: int, counts: bool, x: float, low: float, high: float, step: float) -> int:
    """RANGE or STEP bits of x; a believable x becomes the one that the next is compared with. What `counts`
    may fall by any amount: it has rolled over or was reset."""
    if x < low or x > high:
        return RANGE
    before = last[c]
    last[c] = x
    if counts and x < before:
        return 0
    return STEP if abs(x - before) > step else 0


@inner
def hampel(state: F8, count: I8, c: int, x: float) -> int:
    """Take x into the ring of channel c and say whether it is a SPIKE."""
    n = count[c]
    count[c] = n + 1
    held = min(n, SPAN)
    slot = n % SPAN
    quantum = state[c, QUANTUM]
    if n > 0:
        step = abs(x - state[c, (n - 1) % SPAN])
        if step > 0.0 and (quantum == 0.0 or step < quantum):
            state[c, QUANTUM] = min(step, TOO_LARGE)

    # sorted copy: the oldest leaves, x enters at its place
    place = held
    if n >= SPAN:
        oldest = state[c, slot]
        place = SPAN - 1
        while state[c, SORTED + place] != oldest:
            place -= 1
        while place < SPAN - 1 and state[c, SORTED + place + 1] < x:
            state[c, SORTED + place] = state[c, SORTED + place + 1]
            place += 1
    while place > 0 and state[c, SORTED + place - 1] > x:
        state[c, SORTED + place] = state[c, SORTED + place - 1]
        place -= 1
    state[c, SORTED + place] = x
    state[c, slot] = x
    held = min(n + 1, SPAN)

    middle = held // 2
    median = state[c, SORTED + middle]
    deviation = abs(x - median)
    if held < ENOUGH:
        return 0

    # MAD: walk outwards from the median until half of the readings are passed
    left = middle - 1
    right = middle + 1
    mad = 0.0
    for _ in range(middle):
        below = median - state[c, SORTED + left] if left >= 0 else math.inf
        above = state[c, SORTED + right] - median if right < held else math.inf
        if below <= above:
            mad = below
            left -= 1
        else:
            mad = above
            right += 1

    power = state[c, POWER]
    limit = max(LIMIT * GAUSSIAN * mad, LIMIT * math.sqrt(power), 2.0 * quantum)
    spike = deviation > limit
    counted = limit if spike and limit > 0.0 else deviation
    if counted < TOO_LARGE:
        state[c, POWER] = power + MEMORY * (counted * counted - power)
    return SPIKE if spike else 0
