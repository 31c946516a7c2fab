"""Several gauges of one machine judged together: one row in, a score and an onset or clear out.

Each column learns its habits from its first readings (`habits`): level, scale, how far its moving averages stray, and
what share of its variance is slow. From then on a row gives each column a deviation z: the moving average (SHORT and
LONG rows) of its distance from the level, in units of how far that average strays by itself. What a deviation is worth
is the log likelihood ratio of a Student t, (f + 1)/2 ln(1 + z^2/f), with as many degrees of freedom f as the column has
shown independent positions: a flow that returns to its level all the time counts in full, a water temperature that
wanders for minutes counts little however far it goes (K. Lange, R. Little, J. Taylor, JASA 84, 1989). The score is the
sum over columns, less what each is worth by chance. For the same reason the level follows a wandering column in
a minute and a steady one in a quarter of an hour, and more slowly while an alarm stands.

An onset is a score of `onset`. It is over when for `calm` rows the score stays below `clear`, or the deviation is
a fraction of its height or has left its direction: a machine seldom returns exactly to where it was, and what remains
then becomes the new level. What stands for `patience` rows is given up: the caller lets the columns learn again.

NaN is no reading: the column is left out of the row. Beyond FAR is taken for NaN.

State: f64[columns, COLUMNS] and f64[WHOLE]. Nothing is a power of a reading, so 1e150 and denormals are safe.
"""

from __future__ import annotations

import math

import numpy as np

from fastpath.columns import F8
from fastpath.jit import inner, kernel

SHORT = 8.0  # rows of the moving averages
LONG = 32.0
BLOCKS = 8  # of the reference, whose means tell slow variance from fast
CLIP = 6.0  # scales a single reading may move an average
WHOLE_DEVIATION = 1e3  # scales that a deviation may grow to
CHANCE = 0.5  # of a column, what it is worth by chance: half the mean square of z
LEAST_STRAY = 0.2  # scales: smaller shifts of an average are every sensor's own
LEAST_SLOW = 0.05  # share of slow variance that is believed of any column
FREEDOM = 2.0  # degrees of freedom at equal shares of slow and fast variance
MOST_FREEDOM = 100.0
LEAST_FREEDOM = 0.5
STANDING_MEMORY = 0.2  # how much slower levels follow while an alarm stands
REMAINS = 0.4  # of the height of a deviation: what is over
ASIDE = 0.5  # of the height: more than this in another direction is not over
STEADY = 5.0  # degrees of freedom of a column that has half a say about how large a deviation is
FAR = 1e150

LEVEL, SCALE, FREE, MEMORY, STRAY_SHORT, STRAY_LONG, WEIGHT = range(7)  # habits
SHIFT_SHORT, SHIFT_LONG, DEVIATION, BEFORE, BEFORE2, HEIGHT, WORTH = range(7, 14)
COLUMNS = 14
SCORE, ACTIVE, QUIET, AGE, PEAK = range(5)
WHOLE = 5

NOTHING = 0
ONSET = 1
CLEAR = 2
GIVEN_UP = 3


def empty(columns: int) -> tuple[F8, F8]:
    """State of `columns` columns that know nothing yet: a column without SCALE is not judged."""
    return np.zeros((columns, COLUMNS)), np.zeros(WHOLE)


def habits(reference: F8, resolution: float) -> F8 | None:
    """f64[COLUMNS] of a column from its first readings, f64[n], finite and within FAR; n >= 8 BLOCKS. None for
    a constant one: it has shown nothing to measure by. `resolution`: its smallest step, 0 if unknown."""
    middle = float(np.median(reference))
    scale = _scale(reference, middle)
    if scale == 0.0:
        return None
    scale = max(scale, resolution, 1e-12 * abs(middle), 1e-300)
    unit = np.clip((reference - middle) / scale, -4.0, 4.0)
    block = len(unit) // BLOCKS
    means = unit[: block * BLOCKS].reshape(BLOCKS, block).mean(axis=1)
    power = max(float(unit.var()), 1e-12)
    slow = min(max((float(means.var(ddof=1)) - power / block) / power, 0.0), 1.0)

    column = np.zeros(COLUMNS)
    column[SCALE] = scale
    column[FREE] = min(max(FREEDOM * (1.0 - slow) / max(slow, 1e-3), LEAST_FREEDOM), MOST_FREEDOM)
    column[MEMORY] = max(slow, LEAST_SLOW) / block
    column[STRAY_SHORT] = _stray(unit, SHORT)
    column[STRAY_LONG] = _stray(unit, LONG)
    column[WEIGHT] = column[FREE] / (column[FREE] + STEADY)
    level = 0.0  # of a column that wanders, where it is and not where it was
    for one in unit.tolist():
        level += column[MEMORY] * (one - level)
    column[LEVEL] = middle + level * scale
    column[BEFORE], column[BEFORE2] = reference[-1], reference[-2]
    return column


def _scale(reference: F8, middle: float) -> float:
    """Standard deviation without the outer twentieths, and at least half of the whole one; of a quantised column,
    too, whose median absolute deviation is 0."""
    low, high = np.quantile(reference, (0.05, 0.95))
    parts = []
    for part in (np.clip(reference, low, high), reference):
        reach = float(np.abs(part - middle).max())
        parts.append(reach * float(((part - middle) / reach).std()) if reach > 0.0 else 0.0)
    return max(1.12 * parts[0], 0.5 * parts[1])


def _stray(unit: F8, rows: float) -> float:
    """How far the moving average over `rows` strays in a column of unit scale."""
    average = weight = 0.0
    averages = []
    for one in unit.tolist():
        average += (one - average) / rows
        weight += (1.0 - weight) / rows
        averages.append(average / weight)
    settled = np.array(averages[min(2 * int(rows), len(averages) // 2) :])
    low, middle, high = np.quantile(settled, (0.05, 0.5, 0.95))
    seen = max(1.4826 * float(np.median(np.abs(settled - middle))), float(high - low) / 3.29)
    return math.sqrt(max(seen * seen, 1.0 / (2.0 * rows - 1.0)) + LEAST_STRAY * LEAST_STRAY)


@inner
def middle_of(a: float, b: float, c: float) -> float:
    return max(min(a, b), min(max(a, b), c))


@inner
def worth_of(z: float, freedom: float) -> float:
    """Log likelihood ratio of a deviation z, less what it is by chance. Lange, Little and Taylor 1989."""
    return 0.5 * (freedom + 1.0) * math.log1p(z * z / freedom) - CHANCE


@inner
def bounded(x: float, most: float) -> float:
    return min(max(x, -most), most)


@inner
def take(columns: F8, values: F8) -> float:
    """Move the averages of every column by its reading; the score of the row."""
    short = 0.0
    long = 0.0
    for c in range(len(values)):
        x = values[c]
        columns[c, WORTH] = 0.0
        if columns[c, SCALE] == 0.0 or not abs(x) <= FAR:
            continue
        level, scale = columns[c, LEVEL], columns[c, SCALE]
        calm = middle_of(x, columns[c, BEFORE], columns[c, BEFORE2])
        columns[c, BEFORE2] = columns[c, BEFORE]
        columns[c, BEFORE] = x
        away = bounded((x - level) / scale, CLIP)
        columns[c, DEVIATION] += (bounded((calm - level) / scale, WHOLE_DEVIATION) - columns[c, DEVIATION]) / SHORT
        columns[c, SHIFT_SHORT] += (away - columns[c, SHIFT_SHORT]) / SHORT
        columns[c, SHIFT_LONG] += (away - columns[c, SHIFT_LONG]) / LONG
        a = worth_of(columns[c, SHIFT_SHORT] / columns[c, STRAY_SHORT], columns[c, FREE])
        b = worth_of(columns[c, SHIFT_LONG] / columns[c, STRAY_LONG], columns[c, FREE])
        columns[c, WORTH] = max(a, b)
        short += a
        long += b
    return max(short, long)


@inner
def follow(columns: F8, values: F8, pace: float) -> None:
    """Levels towards the readings."""
    for c in range(len(values)):
        x = values[c]
        if columns[c, SCALE] > 0.0 and abs(x) <= FAR:
            away = bounded((x - columns[c, LEVEL]) / columns[c, SCALE], CLIP)
            columns[c, LEVEL] += pace * columns[c, MEMORY] * away * columns[c, SCALE]


@inner
def size_of(columns: F8) -> float:
    """Length of the deviation, columns that wander counting less."""
    total = 0.0
    for c in range(len(columns)):
        total += columns[c, WEIGHT] * columns[c, DEVIATION] * columns[c, DEVIATION]
    return math.sqrt(total)


@inner
def along(columns: F8) -> float:
    """Length of the deviation in the direction that it had at its height."""
    product = 0.0
    power = 0.0
    for c in range(len(columns)):
        height = columns[c, WEIGHT] * columns[c, HEIGHT]
        product += height * columns[c, DEVIATION]
        power += height * columns[c, HEIGHT]
    return product / math.sqrt(power) if power > 0.0 else 0.0


@inner
def crest(columns: F8, whole: F8, size: float) -> None:
    whole[PEAK] = size
    for c in range(len(columns)):
        columns[c, HEIGHT] = columns[c, DEVIATION]


@inner
def settle(columns: F8) -> None:
    """What remains of a deviation becomes the level."""
    for c in range(len(columns)):
        columns[c, LEVEL] += columns[c, SHIFT_SHORT] * columns[c, SCALE]
        columns[c, DEVIATION] = columns[c, SHIFT_SHORT] = columns[c, SHIFT_LONG] = columns[c, HEIGHT] = 0.0


@inner
def decide(columns: F8, whole: F8, onset: float, clear: float, calm: float, patience: float) -> int:
    score = whole[SCORE]
    size = size_of(columns)
    if whole[ACTIVE] == 0.0:
        if score < onset:
            return NOTHING
        whole[ACTIVE] = 1.0
        whole[QUIET] = whole[AGE] = 0.0
        crest(columns, whole, size)
        return ONSET
    whole[AGE] += 1.0
    if size >= whole[PEAK]:
        crest(columns, whole, size)
    least = REMAINS * whole[PEAK]
    over = score < clear or size < least or (along(columns) < least and size < ASIDE * whole[PEAK])
    whole[QUIET] = whole[QUIET] + 1.0 if over else 0.0
    if whole[QUIET] < calm and whole[AGE] < patience:
        return NOTHING
    code = CLEAR if whole[QUIET] >= calm else GIVEN_UP
    whole[ACTIVE] = 0.0
    settle(columns)
    return code


@kernel
def step(columns: F8, whole: F8, values: F8, onset: float, clear: float, calm: float, patience: float) -> int:
    """Take one row, f64[columns]; NOTHING, ONSET, CLEAR or GIVEN_UP. whole[SCORE] and columns[:, WORTH] then say why.
    A row without a single reading of a judged column changes nothing."""
    readings = 0
    for c in range(len(values)):
        if columns[c, SCALE] > 0.0 and abs(values[c]) <= FAR:
            readings += 1
    if readings == 0:
        return NOTHING
    whole[SCORE] = take(columns, values)
    code: int = decide(columns, whole, onset, clear, calm, patience)
    follow(columns, values, STANDING_MEMORY if whole[ACTIVE] > 0.0 else 1.0)
    return code


def warm() -> None:
    """Compile or load the kernel."""
    columns, whole = empty(1)
    step(columns, whole, np.zeros(1), 1.0, 1.0, 1.0, 1.0)
