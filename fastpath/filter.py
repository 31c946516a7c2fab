"""Gates and filters: one reading in, mark bits and the value to go on with out. Evidence keeps what was read.

Gate: RANGE outside [low, high]; STEP when further than `step` from the last believable reading, or further than
`rate` a second since then.

Filters, one a channel, chosen by its profile:

- hampel: SPIKE when further than 3 x 1.4826 x MAD from the median of the last eleven readings, itself among them (F.
  R. Hampel, JASA 69, 1974). Eleven readings know their scale badly and a quantised series has MAD 0, so the limit is
  at least 3 times the long-run deviation of this channel and at least two of its smallest steps ever seen. The value
  is not touched; `hampel_replace` goes on with the median in place of a spike.
- median: the median of the last eleven readings.
- ewma: exponentially weighted by age, with time constant `settle`.
- deadband: the value last taken, until a reading is further than `band` from it.
- debounce (states): the state last taken, until another has been read without a break for `settle`.

State a channel: FILTER_WORDS words of its row; the filters share them.
"""

from __future__ import annotations

import math

from fastpath.columns import LARGEST
from fastpath.jit import inner, outlined
from fastpath.layout import BAND, FILTER, HIGH, LAST, LAST_NS, LOW, RATE, SETTLE, STEP, Settings, State
from fastpath.marks import RANGE, SPIKE
from fastpath.marks import STEP as STEP_MARK

NONE, HAMPEL, HAMPEL_REPLACE, MEDIAN, EWMA, DEADBAND, DEBOUNCE = range(7)

SPAN = 11
HALF = SPAN // 2
LIMIT = 3.0
GAUSSIAN = 1.4826  # MAD to standard deviation
MEMORY = 1.0 / 128.0  # of the long-run deviation
TOO_LARGE = 1e150  # whose square is not finite

# words: eleven readings in order of arrival, the same sorted, then
SORTED = FILTER + SPAN
POWER = FILTER + 2 * SPAN  # number: long-run mean square deviation from the median
QUANTUM = POWER + 1  # number: smallest non-zero step seen, 0: none yet
COUNT = POWER + 2  # whole: readings taken
# of the small filters
TAKEN = FILTER  # number: value last taken
OTHER = FILTER + 1  # number: debounce: the state that may take its place
OTHER_NS = FILTER + 2  # whole: since when it is read without a break


@inner
def gate(settings: Settings, state: State, c: int, counts: bool, t: int, x: float) -> int:
    """RANGE or STEP bits of x; a believable x becomes the one that the next is compared with. What `counts`
    may fall by any amount: it has rolled over or was reset."""
    if x < settings.number[c, LOW] or x > settings.number[c, HIGH]:
        return RANGE
    before = state.number[c, LAST]
    elapsed = t - state.whole[c, LAST_NS]
    state.number[c, LAST] = x
    state.whole[c, LAST_NS] = t
    if counts and x < before:
        return 0
    moved = abs(x - before)
    if moved > settings.number[c, STEP]:
        return STEP_MARK
    rate = settings.number[c, RATE]
    return STEP_MARK if rate < math.inf and elapsed > 0 and moved > rate * (elapsed * 1e-9) else 0


@inner
def hampel(state: State, c: int, x: float) -> int:
    """Take x into the window of channel c and say whether it is a SPIKE. Rows begin full of LARGEST."""
    number = state.number
    n = state.whole[c, COUNT]
    state.whole[c, COUNT] = n + 1
    slot = FILTER + n % SPAN
    before = number[c, FILTER + (n + SPAN - 1) % SPAN]
    oldest = number[c, slot]
    number[c, slot] = x
    quantum = number[c, QUANTUM]
    moved = abs(x - before)
    if n > 0 and moved > 0.0 and (quantum == 0.0 or moved < quantum):
        number[c, QUANTUM] = min(moved, TOO_LARGE)

    # the oldest leaves the sorted copy, x enters at its place: no branch depends on the values
    left = -math.inf
    for k in range(SPAN - 1):
        here = number[c, SORTED + k]
        kept = here if here < oldest else number[c, SORTED + k + 1]
        number[c, SORTED + k] = max(left, min(x, kept))
        left = kept
    number[c, SORTED + SPAN - 1] = max(left, x)
    if n + 1 < SPAN:
        return 0

    # MAD: the HALF-th smallest of the deviations to the left and to the right, which are sorted already
    median = number[c, SORTED + HALF]
    mad = min(number[c, SORTED + SPAN - 1] - median, median - number[c, SORTED])
    for k in range(1, HALF):
        mad = min(mad, max(median - number[c, SORTED + HALF - k], number[c, SORTED + SPAN - 1 - k] - median))

    power = number[c, POWER]
    deviation = abs(x - median)
    limit = max(LIMIT * GAUSSIAN * mad, LIMIT * math.sqrt(power), 2.0 * quantum)
    spike = deviation > limit
    counted = limit if spike and limit > 0.0 else deviation
    if counted < TOO_LARGE:
        number[c, POWER] = power + MEMORY * (counted * counted - power)
    return SPIKE if spike else 0


@inner
def median(state: State, c: int) -> float:
    """Of the readings that `hampel` holds: the lower of the middle two while they are few."""
    held = min(state.whole[c, COUNT], SPAN)
    middle: float = state.number[c, SORTED + (held - 1) // 2]
    return middle


@outlined
def ewma(settings: Settings, state: State, c: int, x: float, elapsed: int) -> float:
    """Moves towards x by the share 1 - exp(-elapsed / settle)."""
    if state.whole[c, COUNT] == 0:
        state.whole[c, COUNT] = 1
        state.number[c, TAKEN] = x
    else:
        share = math.exp(-elapsed / max(settings.whole[c, SETTLE], 1))
        state.number[c, TAKEN] = share * state.number[c, TAKEN] + (1.0 - share) * x
    taken: float = state.number[c, TAKEN]
    return taken


@outlined
def deadband(settings: Settings, state: State, c: int, x: float) -> float:
    if state.whole[c, COUNT] == 0 or abs(x - state.number[c, TAKEN]) > settings.number[c, BAND]:
        state.whole[c, COUNT] = 1
        state.number[c, TAKEN] = x
    taken: float = state.number[c, TAKEN]
    return taken


@outlined
def debounce(settings: Settings, state: State, c: int, t: int, x: float) -> float:
    if state.whole[c, COUNT] == 0:
        state.whole[c, COUNT] = 1
        state.number[c, TAKEN] = x
        state.number[c, OTHER] = x
    if x == state.number[c, TAKEN]:
        state.number[c, OTHER] = x
    else:
        if x != state.number[c, OTHER] or t < state.whole[c, OTHER_NS]:
            state.number[c, OTHER] = x
            state.whole[c, OTHER_NS] = t
        if t - state.whole[c, OTHER_NS] >= settings.whole[c, SETTLE]:
            state.number[c, TAKEN] = x
    taken: float = state.number[c, TAKEN]
    return taken


def begin(state: State) -> None:
    """Rows of channels that have read nothing yet."""
    state.number[:, FILTER:POWER] = LARGEST
    state.number[:, POWER : QUANTUM + 1] = 0.0
    state.whole[:, COUNT] = 0
