"""The universal default detector, for a gauge nobody has tuned: one reading and its time in, a score and an onset or
clear out.

Eleven features look at a channel in ways that complete each other: the step from the short mean, the distance from
the slow mean, shifts over 16 and 64 readings, a hump, the residual of the hour (alone, lasting, and in units of what
is usual at that hour), roughness, quiet and flatness. Each is compared with its own record so far
(`fastpath.novelty`). The score is the largest ratio, raised where several features agree and lowered while little is
known and just after an onset: 1 is "as far out as this channel ever was", ONSET_SCORE a tenth beyond. A channel that
keeps its habits passes it a few times in its first 10,000 readings and about once in 30,000 from then on (a
month at one reading a minute is 43,000). A channel that is read more often makes records more often: its score counts
OFTEN less for every ten times as many readings, and it is known later.

Self-starting, O(1), no training phase. A value teaches means and spreads no more than CLIP scales, so one glitch does
not spoil them. The first readings after a gap are not judged. An onset clears when the channel is back or has been
found to stay (ACCEPTED readings).

State a channel: f64[n, COLUMNS].
"""

from __future__ import annotations

import math

from fastpath import novelty, season
from fastpath.columns import F8
from fastpath.jit import inner

ONSET_SCORE = 1.1
CLEAR_SCORE = 0.7
CALM = 16  # readings below CLEAR_SCORE until clear
ACCEPTED = 1000  # readings after which what stays is no alarm any more
REFRACTORY = 60.0  # readings in which the score comes back after an onset
GAP_PERIODS = 8  # silence longer than this is a gap
BACK = 4.0  # readings after the first one that pass unjudged then

SLOW = 2.0 / 501.0  # shares of one reading in the means
SHORT = 2.0 / 5.0
MIDDLE = 2.0 / 17.0
LONG = 2.0 / 65.0
FLOOR = 0.05  # of the standard deviation: records below are none
QUANTA = 2.0  # smallest steps that a single reading must be off
UNIT_FLOOR = 0.5  # the same for features without a unit
FLAT_FLOOR = 16.0  # and for a count of equal readings
LITTLE_KNOWN = 25.0  # readings at which the score counts half
AGREEMENT = 0.2  # a feature at its record adds this share of what it has beyond NEAR
NEAR = 0.9
MOST_AGREEMENT = 4.0
CLIP = 64.0
PERIOD_SHARE = 0.02
OFTEN = 0.1
OFTEN_BELOW_S = 60.0
MAX_SCORE = 99.0
FAR = 1e150
LONG_AGO = 1e6  # readings

COUNT, BEFORE, EXPECTED, LAST_S, PERIOD_S = range(novelty.FIRST + novelty.COLUMNS, novelty.FIRST + novelty.COLUMNS + 5)
MEAN, VARIANCE, MOVES, QUANTUM, RUN, SINCE, ACTIVE, CALMED, SETTLING = range(PERIOD_S + 1, PERIOD_S + 10)
MEAN_SHORT, MEAN_MIDDLE, MEAN_LONG, LEFT_LONG, STRANGE_LONG, MOVES_SHORT, MOVES_LONG = range(SETTLING + 1, SETTLING + 8)
COLUMNS = MOVES_LONG + 1

NOTHING = 0
ONSET = 1
CLEAR = 2


@inner
def begin(row: F8, t_s: float, x: float) -> None:
    """The first reading of a channel."""
    season.begin(row)
    row[COUNT] = 1.0
    row[BEFORE] = x
    row[EXPECTED] = x
    row[LAST_S] = t_s
    row[MEAN] = x
    row[MEAN_SHORT] = x
    row[MEAN_MIDDLE] = x
    row[MEAN_LONG] = x
    row[SINCE] = LONG_AGO


@inner
def step(state: F8, c: int, t_ns: int, x: float, gap: bool, align_ns: int, onset: float) -> tuple[int, float]:
    """Take x, read at `t_ns` (`t_ns + align_ns` is UTC); (ONSET | CLEAR | NOTHING, score). An onset is raised from a
    score of `onset` on, at least ONSET_SCORE. EXPECTED then holds what had been predicted."""
    row = state[c]
    n = row[COUNT]
    t_s = 1e-9 * t_ns
    if n == 0.0 or abs(x) > FAR:
        if n == 0.0 and abs(x) <= FAR:
            begin(row, t_s, x)
        return NOTHING, 0.0
    elapsed = t_s - row[LAST_S]
    row[LAST_S] = t_s
    if gap:
        row[BEFORE] = x
        row[RUN] = 0.0
        row[SETTLING] = BACK
        return NOTHING, 0.0
    row[COUNT] = n + 1.0
    learn_period(row, n, elapsed)
    hour = season.hour_of(t_ns + align_ns)
    look(row, n, x, hour)
    verdict, score = decide(row, judge(row, n), onset)
    return verdict, score


@inner
def learn_period(row: F8, n: float, elapsed: float) -> None:
    period = row[PERIOD_S]
    if elapsed > 0.0:
        seen = min(elapsed, 4.0 * period) if period > 0.0 else elapsed
        row[PERIOD_S] = period + max(PERIOD_SHARE, 1.0 / n) * (seen - period)


@inner
def look(row: F8, n: float, x: float, hour: int) -> None:
    """The features of x, and what it teaches."""
    jump = abs(x - row[BEFORE])
    if jump > 0.0 and (row[QUANTUM] == 0.0 or jump < row[QUANTUM]):
        row[QUANTUM] = jump
    row[RUN] = 0.0 if jump > 0.0 else row[RUN] + 1.0
    row[BEFORE] = x
    mean = row[MEAN]
    tiny = max(row[QUANTUM], 1e-12 * abs(mean), 1e-300)
    reach = CLIP * (math.sqrt(row[VARIANCE]) + tiny)
    x = mean + min(max(x - mean, -reach), reach)
    jump = min(jump, 2.0 * reach)

    first = 1.0 / (n + 1.0)
    slow, short, middle, long = max(SLOW, first), max(SHORT, first), max(MIDDLE, first), max(LONG, first)
    off = x - mean
    row[VARIANCE] = (1.0 - slow) * (row[VARIANCE] + slow * off * off)
    mean += slow * off
    row[MEAN] = mean
    stepped = x - row[MEAN_SHORT]
    row[MEAN_SHORT] += short * stepped
    row[MEAN_MIDDLE] += middle * (x - row[MEAN_MIDDLE])
    row[MEAN_LONG] += long * (x - row[MEAN_LONG])

    left = season.residual(row, hour, x)
    known = left if left != season.UNSEEN else 0.0
    strange = season.standard(row, hour, known, tiny)
    row[EXPECTED] = x - known if row[season.TYPICAL] < row[MOVES] and known != 0.0 else x - stepped
    season.learn(row, hour, x, row[MEAN_SHORT], left, row[PERIOD_S], SLOW)
    row[LEFT_LONG] += long * (known - row[LEFT_LONG])
    row[STRANGE_LONG] += long * (strange - row[STRANGE_LONG])

    row[MOVES] += slow * (jump - row[MOVES])
    row[MOVES_SHORT] += short * (jump - row[MOVES_SHORT])
    row[MOVES_LONG] += long * (jump - row[MOVES_LONG])
    moves = row[MOVES]
    still = 0.03 * moves + 1e-6 * tiny

    at = novelty.VALUE
    row[at + novelty.STEP] = stepped
    row[at + novelty.DISTANCE] = x - mean
    row[at + novelty.SHIFT] = row[MEAN_MIDDLE] - mean
    row[at + novelty.LASTING_SHIFT] = row[MEAN_LONG] - mean
    row[at + novelty.HUMP] = row[MEAN_SHORT] - row[MEAN_LONG]
    row[at + novelty.UNSEASONAL] = known
    row[at + novelty.LASTING_UNSEASONAL] = row[LEFT_LONG]
    row[at + novelty.STRANGE] = row[STRANGE_LONG]
    row[at + novelty.ROUGH] = row[MOVES_SHORT] - moves
    row[at + novelty.QUIET] = max(0.0, math.log((moves + still) / (row[MOVES_LONG] + still)))
    row[at + novelty.FLAT] = row[RUN]


@inner
def judge(row: F8, n: float) -> float:
    """The largest ratio to a record, with what agrees with it and what is known so far."""
    reading = int(n)
    if n > novelty.EARLY:
        novelty.fade(row, reading, row[PERIOD_S])
    share = max(novelty.SIZE_SHARE, 1.0 / (n + 1.0))
    unjudged = n < novelty.EARLY or row[SETTLING] > 0.0
    accept = unjudged or row[ACTIVE] > 0.0 or row[SINCE] < REFRACTORY
    row[SETTLING] = max(0.0, row[SETTLING] - 1.0)
    spread = FLOOR * math.sqrt(row[VARIANCE]) + 1e-12 * abs(row[MEAN]) + 1e-300
    steps = QUANTA * row[QUANTUM]
    best = 0.0
    agreeing = 0.0
    for j in range(novelty.FEATURES):
        floor = spread
        if j == novelty.FLAT:
            floor = FLAT_FLOOR
        elif j >= novelty.STRANGE:
            floor = UNIT_FLOOR
        ratio = novelty.ratio(row, j, reading, share, steps if j <= novelty.HUMP else 0.0, floor, accept)
        best = max(best, ratio)
        agreeing += max(0.0, ratio - NEAR)
    score = best * (1.0 + AGREEMENT * min(agreeing, MOST_AGREEMENT)) * n / (n + LITTLE_KNOWN)
    return 0.0 if unjudged else min(score, MAX_SCORE)


@inner
def often(score: float, n: float, times: float) -> float:
    """The score of a channel that is read `times` as often: it makes more records, and readings so near to each other
    teach less."""
    known = (n + LITTLE_KNOWN) / (n + LITTLE_KNOWN * math.sqrt(times))
    return score * known / (1.0 + OFTEN * math.log10(times))


@inner
def decide(row: F8, score: float, onset: float) -> tuple[int, float]:
    """Onset and clear; the score that is told is below ONSET_SCORE wherever no onset is possible by itself."""
    since = row[SINCE] + 1.0
    row[SINCE] = since
    if row[ACTIVE] == 0.0:
        if since < 16.0 * REFRACTORY:
            score *= 1.0 - math.exp(-since / REFRACTORY)
        if score >= ONSET_SCORE and 0.0 < row[PERIOD_S] < OFTEN_BELOW_S:
            score = often(score, row[COUNT], OFTEN_BELOW_S / row[PERIOD_S])
        if score < max(ONSET_SCORE, onset):
            return NOTHING, score
        row[ACTIVE] = 1.0
        row[SINCE] = 0.0
        row[CALMED] = 0.0
        novelty.settle(row)
        return ONSET, score
    row[CALMED] = row[CALMED] + 1.0 if score < CLEAR_SCORE else 0.0
    told = min(score, CLEAR_SCORE)
    if row[CALMED] < CALM and since < ACCEPTED:
        return NOTHING, told
    row[ACTIVE] = 0.0
    return CLEAR, told
