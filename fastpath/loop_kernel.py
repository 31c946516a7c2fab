"""Samples of several loops in, rows of what happened out: the streaming kernel of fastpath.loop, which says what it
does and why. State as in loop_state. One sample after the other, in constant time each."""

from __future__ import annotations

import math

from fastpath import loop_state as its
from fastpath.columns import F8, I8, U1
from fastpath.jit import inner, kernel
from fastpath.loop_shape import EDGE_SHARE, STEEP_SHARE, crossing, hump

OPEN_PCT = -5.0  # below the baseline: an open circuit, far from any drift
LARGEST_PCT = 1e6
JUMP_PCT = 0.3  # smallest jump that counts
JUMP_NEIGHBOURS = 0.2  # of the jump: the samples beside it must move less. A nose needs several samples to cross
CHATTER_JUMPS = 8
SLOPE_GAIN = 0.25  # base and slope settle together, without a swing
NOISES = 6.0  # standard deviations of the empty loop: a vehicle is at least so high
OFF_SHARE = 0.6  # of the threshold, and
OFF_PEAK_SHARE = 0.025  # of the vehicle's own peak: whichever is larger ends it
REARM = 1.5  # times the end of the vehicle before: the next may begin there, or once the loop was nearly free
LONG_SHARE = 0.25  # of the peak: what may be left of a vehicle that has stood long and gone
LONG_DRIFT_S = 0.0015  # percent a second that the empty loop may have drifted meanwhile, and
LONG_DRIFT_PCT = 0.5  # at most
MOST_DIPS = 4  # a lorry with a trailer has two or three
UNSEEN_DRIFT_S = 0.02  # the same while there were no samples
FLAT_PCT = 0.03
CROSS_PCT = 1.0  # a vehicle so high teaches what neighbours show of it
CROSS_LARGEST = 0.15  # believable share
CROSS_LIKE = 0.95  # a signal on the neighbour so like it is no vehicle of its own
CROSS_STEP = 0.002  # by which a share moves a vehicle, once learnt: a running median
SHOWN_PCT = 0.02  # of passing neighbours: too much to judge the empty loop
STANDING_S = 5.0
ROWS_A_SAMPLE = 6


@inner
def put(out_whole: I8, out_number: F8, rows: int, kind: int, c: int, on: float, off: float) -> int:
    """One more row; the number of rows."""
    out_whole[rows, 0] = kind
    out_whole[rows, 1] = c
    for k in range(out_number.shape[1]):
        out_number[rows, k] = math.nan
    out_number[rows, its.OUT_ON] = on
    out_number[rows, its.OUT_OFF] = off
    out_number[rows, its.OUT_PEAK] = 0.0
    return rows + 1


@inner
def jumped(c: int, x: float, number: F8) -> bool:
    """Whether the sample before this one stands a jump above or below the one before it."""
    p1 = number[c, its.BEFORE1]
    p2 = number[c, its.BEFORE2]
    size = abs(p1 - p2)
    beside = max(abs(p2 - number[c, its.BEFORE3]), abs(x - p1))
    return bool(size >= JUMP_PCT and beside <= JUMP_NEIGHBOURS * size)


@inner
def take_sample(
    c: int, now: int, x: float, number: F8, whole: I8, runs: I8, out_whole: I8, out_number: F8, rows: int
) -> int:
    """Open circuits and jumps; what is left goes into the step that is being filled, one sample late."""
    if not (math.isfinite(x) and abs(x) < LARGEST_PCT):
        whole[c, its.VALID] = 0
        return rows
    if x < number[c, its.BASE] + OPEN_PCT:  # BASE is 0 before the first sample
        whole[c, its.VALID] = 0
        whole[c, its.OPEN_RUN] += 1
        whole[c, its.OPEN_LAST] = now
        if whole[c, its.OPEN_RUN] >= runs[its.OPEN_RUN_MIN] and whole[c, its.OPEN_SINCE] < 0:
            whole[c, its.OPEN_SINCE] = now + 1 - whole[c, its.OPEN_RUN]
            rows = put(out_whole, out_number, rows, its.OPEN_ON, c, whole[c, its.OPEN_SINCE], now)
        return rows
    whole[c, its.OPEN_RUN] = 0
    if whole[c, its.OPEN_SINCE] >= 0 and now - whole[c, its.OPEN_LAST] > runs[its.OPEN_GAP]:
        rows = put(
            out_whole, out_number, rows, its.OPEN_CLEAR, c, whole[c, its.OPEN_SINCE], whole[c, its.OPEN_LAST] + 1
        )
        whole[c, its.OPEN_SINCE] = -1
    whole[c, its.VALID] += 1
    valid = whole[c, its.VALID]
    if valid >= 4 and jumped(c, x, number):
        at = now - 1
        if whole[c, its.JUMPS] == 0 or at - whole[c, its.JUMP_LAST] > runs[its.JUMP_GAP]:
            whole[c, its.JUMPS] = 0
            whole[c, its.JUMP_FIRST] = at
        whole[c, its.JUMPS] += 1
        whole[c, its.JUMP_LAST] = at
        whole[c, its.OWN_JUMPS] += 1
        jump = number[c, its.BEFORE1] - number[c, its.BEFORE2]
        number[c, its.JUMP] = max(number[c, its.JUMP], abs(jump))
        if whole[c, its.STUCK] != 0:
            rows = put(out_whole, out_number, rows, its.STUCK_CLEAR, c, whole[c, its.WATCH], at)
            whole[c, its.STUCK] = 0
            whole[c, its.WATCH] = -1
            whole[c, its.JUMPS] = 0
            whole[c, its.OWN_JUMPS] = 0
            number[c, its.JUMP] = 0.0
            whole[c, its.OCCUPIED] = 0
            whole[c, its.RUN] = 0
            whole[c, its.FREE_FROM] = now // runs[its.STEP_SAMPLES] + runs[its.SETTLE]
            whole[c, its.BLIND] = whole[c, its.FREE_FROM]
            whole[c, its.UNSEEN] = whole[c, its.FREE_FROM] - whole[c, its.TAKEN]
            whole[c, its.WEIGHT] = 0
        elif whole[c, its.JUMPS] == 1 or (jump > 0.0 and whole[c, its.JUMPS] < 3):
            whole[c, its.WATCH] = at
            whole[c, its.HOLDS] = 0
        else:
            whole[c, its.WATCH] = -1
        if whole[c, its.JUMPS] >= CHATTER_JUMPS and whole[c, its.CHATTERS] == 0:
            whole[c, its.CHATTERS] = 1
            rows = put(out_whole, out_number, rows, its.CHATTER_ON, c, whole[c, its.JUMP_FIRST], at)
    if whole[c, its.CHATTERS] != 0 and now - whole[c, its.JUMP_LAST] > runs[its.JUMP_GAP]:
        whole[c, its.CHATTERS] = 0
        rows = put(out_whole, out_number, rows, its.CHATTER_CLEAR, c, whole[c, its.JUMP_FIRST], whole[c, its.JUMP_LAST])
    if valid >= 2:
        mid = number[c, its.BEFORE1]
        if valid >= 3:
            last = number[c, its.BEFORE2]
            up = mid - last
            down = mid - x
            if up * down > 0.0 and min(abs(up), abs(down)) > JUMP_PCT:
                mid = last  # one sample alone: a disturbance
        number[c, its.SUM] += mid
        whole[c, its.COUNT] += 1
    number[c, its.BEFORE3] = number[c, its.BEFORE2]
    number[c, its.BEFORE2] = number[c, its.BEFORE1]
    number[c, its.BEFORE1] = x
    return rows


@inner
def smooth(c: int, m: int, number: F8, whole: I8, cells: F8, weights: F8) -> bool:
    """Close step m: its mean, and the level around it. False while the loop has had no sample at all."""
    taps = weights.size
    if whole[c, its.COUNT] > 0:
        number[c, its.CELL] = number[c, its.SUM] / whole[c, its.COUNT]
        number[c, its.SUM] = 0.0
        whole[c, its.COUNT] = 0
        if whole[c, its.STARTED] == 0:
            whole[c, its.STARTED] = 1
            if whole[c, its.WEIGHT] == 0:
                number[c, its.BASE] = number[c, its.CELL]
            for k in range(taps):
                cells[c, k] = number[c, its.CELL]
            whole[c, its.TAKEN] = m
            whole[c, its.FREE_FROM] = m
    if whole[c, its.STARTED] == 0:
        return False
    cells[c, m % taps] = number[c, its.CELL]
    level = 0.0
    for k in range(taps):
        level += weights[k] * cells[c, (m - k) % taps]
    number[c, its.LEVEL] = level
    return True


@inner
def shown_on(c: int, m: int, number: F8, whole: I8, cross: F8, held: F8, near: U1, rates: F8) -> tuple[float, float]:
    """(What the neighbours' vehicles show on loop c, the part of it that moves). What a neighbour showed when it went
    out of order stays in c's level, for the vehicle is still there: it becomes part of the baseline."""
    shown = 0.0
    moving = 0.0
    for b in range(number.shape[0]):
        if near[c, b] == 0 or whole[b, its.STARTED] == 0:
            continue
        if whole[b, its.VALID] == 0 or whole[b, its.WATCH] >= 0:
            number[c, its.BASE] += held[c, b]
            held[c, b] = 0.0
            continue
        part = cross[c, b] * max(number[b, its.LEVEL] - number[b, its.BASE], 0.0)
        held[c, b] = part
        shown += part
        if (
            whole[b, its.OCCUPIED] == 0
            or whole[b, its.CHATTERS] != 0
            or (m - whole[b, its.ON]) * rates[its.STEP_S] < STANDING_S
        ):
            moving += part
    return shown, moving


@inner
def follow(c: int, m: int, upto: int, number: F8, whole: I8, rings: F8, rates: F8, threshold: float) -> None:
    """Take steps up to and including `upto` into the baseline of step m and into its slope, once each."""
    steps = rings.shape[2]
    q = max(whole[c, its.TAKEN] + 1, whole[c, its.FREE_FROM])
    while q <= upto:
        off = rings[its.CLEAN, c, q % steps] - (number[c, its.BASE] - number[c, its.SLOPE] * (m - q))
        if abs(off) < threshold:
            whole[c, its.WEIGHT] += 1
            number[c, its.BASE] += max(rates[its.SMOOTH], 1.0 / (whole[c, its.WEIGHT] + 1.0)) * off
            if whole[c, its.WEIGHT] * rates[its.SMOOTH] > 1.0:
                whole[c, its.UNSEEN] = 0
                slope = number[c, its.SLOPE] + SLOPE_GAIN * rates[its.SMOOTH] * rates[its.SMOOTH] * off
                number[c, its.SLOPE] = min(max(slope, -rates[its.STEEPEST]), rates[its.STEEPEST])
            number[c, its.SPREAD] += rates[its.SMOOTH] * (
                min(off * off, 9.0 * number[c, its.SPREAD] + 1e-6) - number[c, its.SPREAD]
            )
        whole[c, its.TAKEN] = q
        q += 1


@inner
def drift_under(c: int, m: int, number: F8, whole: I8, rings: F8, runs: I8, rates: F8) -> bool:
    """Under a vehicle that stands, what moves no faster than drift is the empty loop. Whether it stands."""
    steps = rings.shape[2]
    run = runs[its.DRIFT_RUN]
    moved = rings[its.OWN, c, m % steps] - rings[its.OWN, c, (m - run) % steps]
    half = rings[its.OWN, c, (m - run // 2) % steps] - rings[its.OWN, c, (m - run) % steps]
    expected = number[c, its.SLOPE] * run
    if abs(moved - expected) < rates[its.DRIFT_STEP] and abs(half - 0.5 * expected) < rates[its.DRIFT_STEP]:
        number[c, its.BASE] += moved / run
        number[c, its.SLOPE] += rates[its.SLOPE_STEP] * (moved / run - number[c, its.SLOPE])
        whole[c, its.TRACKED] = m
        return True
    return False


@inner
def gone_unseen(c: int, m: int, h: float, number: F8, whole: I8, rings: F8, runs: I8, rates: F8) -> bool:
    """A vehicle stood long, and what is left is flat and no more than drift may have brought: it has gone. And what
    has been low for minutes, or rises again and again, is no vehicle but a baseline that was lost."""
    if h > LONG_SHARE * number[c, its.PEAK]:
        if m - whole[c, its.HIGH] > 1:
            whole[c, its.DIPS] += 1
        whole[c, its.HIGH] = m
        return False
    if m - whole[c, its.HIGH] > runs[its.LOW_RUN] or whole[c, its.DIPS] >= MOST_DIPS:
        return bool(flat(c, m, rings, runs))
    stood = whole[c, its.HIGH] - whole[c, its.ON]
    if stood < runs[its.LONG_RUN] or h > min(LONG_DRIFT_S * stood * rates[its.STEP_S], LONG_DRIFT_PCT):
        return False
    return bool(flat(c, m, rings, runs))


@inner
def found_empty(c: int, m: int, h: float, number: F8, whole: I8, rings: F8, runs: I8, rates: F8) -> bool:
    """After a time without samples: the level is flat and within what drift may have brought meanwhile."""
    if abs(h) > min(UNSEEN_DRIFT_S * whole[c, its.UNSEEN] * rates[its.STEP_S], LONG_DRIFT_PCT):
        return False
    if whole[c, its.VALID] < runs[its.FLAT_RUN] * runs[its.STEP_SAMPLES]:
        return False
    return bool(flat(c, m, rings, runs))


@inner
def flat(c: int, m: int, rings: F8, runs: I8) -> bool:
    """Whether the level has not moved for FLAT_RUN steps, and no neighbour shows."""
    steps = rings.shape[2]
    level = rings[its.CLEAN, c, m % steps]
    for k in range(1, 5):
        if not abs(rings[its.CLEAN, c, (m - k * runs[its.FLAT_RUN] // 4) % steps] - level) <= FLAT_PCT:
            return False
    return True


@inner
def rest(c: int, m: int, clean: float, number: F8, whole: I8) -> float:
    """The loop is empty at this level. The height that is left: none."""
    number[c, its.BASE] = clean
    number[c, its.SLOPE] = 0.0
    number[c, its.AGAIN] = 0.0
    for k in (its.OCCUPIED, its.RUN, its.WEIGHT, its.BELOW, its.UNSEEN):
        whole[c, k] = 0
    whole[c, its.FREE_FROM] = m
    whole[c, its.TAKEN] = m
    return 0.0


@inner
def begins(c: int, m: int, whole: I8, rings: F8, runs: I8, end: float) -> int:
    """The step at which the signal came up, looking back from where it was high enough."""
    steps = rings.shape[2]
    k = whole[c, its.RUN_START]
    first = max(whole[c, its.FREE_FROM], k - runs[its.BACK_RUN], m - steps + 2)
    while k > first and rings[its.HEIGHT, c, (k - 1) % steps] > end:
        k -= 1
    return int(k)


@inner
def learn_shares(c: int, on: int, off: int, number: F8, whole: I8, rings: F8, cross: F8, taught: I8, near: U1) -> None:
    """What each neighbour showed of the vehicle that just left loop c."""
    steps = rings.shape[2]
    if off - on >= steps - 2:
        return
    for b in range(number.shape[0]):
        if near[b, c] == 0 or whole[b, its.STARTED] == 0 or whole[b, its.OWN_JUMPS] != 0 or whole[b, its.VALID] == 0:
            continue
        dot = a2 = b2 = 0.0
        for k in range(on, off):
            a = rings[its.HEIGHT, c, k % steps]
            y = rings[its.HEIGHT, b, k % steps] + cross[b, c] * a
            dot += a * y
            a2 += a * a
            b2 += y * y
        if a2 <= 0.0 or b2 <= 0.0:
            continue
        share = dot / a2
        quiet = whole[b, its.OCCUPIED] == 0 and whole[b, its.RUN] == 0 and whole[b, its.LAST_OFF] < on
        if share < CROSS_LARGEST and (quiet or dot > CROSS_LIKE * math.sqrt(a2 * b2)):
            taught[b, c] += 1
            most = max(CROSS_STEP, CROSS_LARGEST / taught[b, c])
            cross[b, c] += min(max(max(share, 0.0) - cross[b, c], -most), most)


@kernel
def push_samples(
    start: int, clock: int, samples: F8, number: F8, whole: I8, cells: F8, rings: F8, cross: F8, held: F8, taught: I8,
    near: U1, weights: F8, rates: F8, runs: I8, out_whole: I8, out_number: F8, used: I8,
) -> int:  # fmt: skip
    """Samples f64[k, loops] from row `start` on, `clock` being the index of row 0; gives the first row not taken."""
    loops = number.shape[0]
    steps = rings.shape[2]
    size = runs[its.STEP_SAMPLES]
    rows = 0
    i = start
    while i < samples.shape[0]:
        if rows + ROWS_A_SAMPLE * loops > out_whole.shape[0]:
            break
        now = clock + i
        for c in range(loops):
            rows = take_sample(c, now, samples[i, c], number, whole, runs, out_whole, out_number, rows)
        i += 1
        if now == 0 or now % size != 0:
            continue
        m = now // size - 1
        for c in range(loops):
            smooth(c, m, number, whole, cells, weights)
        for c in range(loops):
            if whole[c, its.STARTED] == 0:
                continue
            shown, moving = shown_on(c, m, number, whole, cross, held, near, rates)
            clean = number[c, its.LEVEL] - shown
            h = clean - number[c, its.BASE]
            rings[its.OWN, c, m % steps] = clean
            rings[its.CLEAN, c, m % steps] = clean if moving < SHOWN_PCT else math.nan
            rings[its.HEIGHT, c, m % steps] = h
            if whole[c, its.VALID] == 0:
                whole[c, its.UNSEEN] += 1
                whole[c, its.WEIGHT] = 0
                rings[its.CLEAN, c, m % steps] = math.nan
                continue  # nothing is known: open, or no samples
            stands = (
                whole[c, its.OCCUPIED] != 0
                and m - whole[c, its.ON] > runs[its.DRIFT_RUN]
                and drift_under(c, m, number, whole, rings, runs, rates)
            )
            if not stands and (
                m - whole[c, its.TAKEN] < runs[its.AHEAD_RUN] or m - whole[c, its.TRACKED] < runs[its.DRIFT_RUN]
            ):
                number[c, its.BASE] += number[c, its.SLOPE]
            if whole[c, its.OCCUPIED] != 0:
                before = number[c, its.BASE_ON]
                number[c, its.BASE] = min(max(number[c, its.BASE], before - LONG_DRIFT_PCT), before + LONG_DRIFT_PCT)
            threshold = max(rates[its.THRESHOLD], NOISES * math.sqrt(number[c, its.SPREAD]))
            if whole[c, its.UNSEEN] > 0 and found_empty(c, m, h, number, whole, rings, runs, rates):
                h = rest(c, m, clean, number, whole)
            if whole[c, its.WATCH] >= 0 and now - whole[c, its.WATCH] > runs[its.WATCH_SETTLE]:
                if whole[c, its.HOLDS] == 0:
                    whole[c, its.HOLDS] = 1
                    number[c, its.HELD] = number[
                        c, its.LEVEL
                    ]  # what neighbours show does not reach a stuck loop's output
                moved = number[c, its.LEVEL] - number[c, its.HELD]
                number[c, its.HELD] += rates[its.SMOOTH] * moved
                if whole[c, its.STUCK] == 0 and (abs(moved) > threshold or h < threshold):
                    whole[c, its.WATCH] = -1
                elif whole[c, its.STUCK] == 0 and now - whole[c, its.WATCH] >= runs[its.STUCK_RUN]:
                    whole[c, its.STUCK] = 1
                    rows = put(out_whole, out_number, rows, its.STUCK_ON, c, whole[c, its.WATCH], now)
                elif whole[c, its.STUCK] != 0 and (abs(moved) > JUMP_PCT or h < threshold):
                    rows = put(out_whole, out_number, rows, its.STUCK_CLEAR, c, whole[c, its.WATCH], now)
                    whole[c, its.STUCK] = 0
                    whole[c, its.WATCH] = -1
            if whole[c, its.OCCUPIED] == 0:
                if h < OFF_SHARE * threshold:
                    number[c, its.AGAIN] = 0.0
                if h >= max(threshold, number[c, its.AGAIN]) and m > whole[c, its.BLIND]:
                    if whole[c, its.RUN] == 0:
                        whole[c, its.RUN_START] = m
                        number[c, its.PEAK] = 0.0
                    whole[c, its.RUN] += 1
                    number[c, its.PEAK] = max(number[c, its.PEAK], h)
                    if whole[c, its.RUN] >= runs[its.ON_RUN]:
                        whole[c, its.ON] = begins(c, m, whole, rings, runs, OFF_SHARE * threshold)
                        follow(
                            c, m, min(whole[c, its.ON] - runs[its.GUARD], m - 1), number, whole, rings, rates, threshold
                        )
                        whole[c, its.OCCUPIED] = 1
                        whole[c, its.HIGH] = m
                        whole[c, its.DIPS] = 0
                        number[c, its.BASE_ON] = number[c, its.BASE]
                        whole[c, its.OCCUPIED_STEPS] += m + 1 - whole[c, its.ON]
                        whole[c, its.RUN] = 0
                elif h >= threshold and flat(c, m, rings, runs):
                    rest(c, m, clean, number, whole)  # what the last vehicle left behind is no tail
                else:
                    whole[c, its.RUN] = 0
                    follow(c, m, m - runs[its.LAG], number, whole, rings, rates, threshold)
                    if whole[c, its.JUMP_LAST] < now - 2 * size * weights.size:
                        whole[c, its.OWN_JUMPS] = 0
                        number[c, its.JUMP] = 0.0
                whole[c, its.BELOW] = whole[c, its.BELOW] + 1 if h < -threshold and moving < SHOWN_PCT else 0
                if whole[c, its.BELOW] >= runs[its.BELOW_RUN]:
                    rest(c, m, clean, number, whole)
                continue
            number[c, its.PEAK] = max(number[c, its.PEAK], h)
            end = max(OFF_SHARE * threshold, OFF_PEAK_SHARE * number[c, its.PEAK])
            left = False
            if h >= end:
                whole[c, its.OCCUPIED_STEPS] += 1 + whole[c, its.RUN]
                whole[c, its.RUN] = 0
                if gone_unseen(c, m, h, number, whole, rings, runs, rates):
                    left = True
                    number[c, its.BASE] = clean
                    number[c, its.SLOPE] = 0.0
                    whole[c, its.RUN_START] = max(whole[c, its.HIGH], whole[c, its.ON]) + 1
            else:
                if whole[c, its.RUN] == 0:
                    whole[c, its.RUN_START] = m
                whole[c, its.RUN] += 1
                left = whole[c, its.RUN] >= runs[its.OFF_RUN]
            if left:
                on = whole[c, its.ON]
                off = whole[c, its.RUN_START]
                jumps = whole[c, its.OWN_JUMPS]
                lost = whole[c, its.DIPS] >= MOST_DIPS
                doubtful = (
                    lost
                    or whole[c, its.STUCK] != 0
                    or jumps > 2
                    or (jumps > 0 and 2 * number[c, its.JUMP] > number[c, its.PEAK])
                )
                rows = put(out_whole, out_number, rows, its.DOUBTFUL if doubtful else its.VEHICLE, c, on, off)
                out_whole[rows - 1, 2] = on
                out_whole[rows - 1, 3] = off
                time_edges(c, m, on, off, rings, rates, out_number, rows - 1)
                out_number[rows - 1, its.OUT_PEAK] = number[c, its.PEAK]
                if not doubtful:
                    whole[c, its.VEHICLES] += 1
                    if number[c, its.PEAK] > CROSS_PCT:
                        learn_shares(c, on, off, number, whole, rings, cross, taught, near)
                if off - on > runs[its.LONG_RUN]:
                    whole[c, its.WEIGHT] = 0
                whole[c, its.OCCUPIED] = 0
                whole[c, its.RUN] = 0
                whole[c, its.LAST_OFF] = off
                number[c, its.AGAIN] = REARM * end
                whole[c, its.FREE_FROM] = off + runs[its.SETTLE]
                whole[c, its.OWN_JUMPS] = 0
                number[c, its.JUMP] = 0.0
    used[0] = rows
    return i


@inner
def time_edges(c: int, m: int, on: int, off: int, rings: F8, rates: F8, out_number: F8, row: int) -> None:
    """On, off and the times of both edges as samples since the start. A nose that has left the ring is timed by the
    threshold alone."""
    steps = rings.shape[2]
    height = rings[its.HEIGHT, c]
    first = on
    if m - on < steps - 2:
        most, top = hump(height, on, off, 1)
        first = max(on - 1, m - steps + 2)
        rise = crossing(height, first, top, 1, EDGE_SHARE * most)
        steep = crossing(height, first, top, 1, STEEP_SHARE * most)
        out_number[row, its.OUT_ON] = rise - (steep - rise)
        out_number[row, its.OUT_RISE] = rise
        out_number[row, its.OUT_STEEP] = steep
    if m - off < steps - 2:
        most, top = hump(height, off, max(on, m - steps + 2), -1)
        fall = crossing(height, off, top, -1, EDGE_SHARE * most)
        steep = crossing(height, off, top, -1, STEEP_SHARE * most)
        out_number[row, its.OUT_OFF] = fall + (fall - steep)
        out_number[row, its.OUT_FALL] = fall
    if out_number[row, its.OUT_OFF] <= out_number[row, its.OUT_ON]:
        out_number[row, its.OUT_ON] = on
        out_number[row, its.OUT_OFF] = off
    for k in (its.OUT_ON, its.OUT_OFF, its.OUT_RISE, its.OUT_STEEP, its.OUT_FALL):
        out_number[row, k] = (out_number[row, k] - rates[its.DELAY]) * rates[its.SCALE]
