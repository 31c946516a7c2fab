"""Which detectors there are, which channels they fit, and one step of any but the universal one.

Each takes one reading of one channel and gives a verdict, a score and what it had expected. Their scores are -log10 of
the chance of such a reading on a channel that keeps its habits: 6 is one in a million. What lasts becomes the habit
after a while, so onsets clear, but for a CUSUM with a target, a stuck or a missing channel: these clear when it is well
again.
"""

from __future__ import annotations

import math

import numpy as np

from fastpath import course, cusum, detect, drift, habit, level, missing, spike, stuck, variance
from fastpath.columns import F8, U1
from fastpath.habit import CLEAR, NOTHING, ONSET, ONSET_SCORE
from fastpath.jit import inner, outlined
from fastpath.layout import DETECTOR, PERIOD, SIZE, SPAN, TARGET, Settings, State
from fastpath.layout import ONSET as ONSET_WORD

__all__ = ["CLEAR", "COLUMNS", "NOTHING", "ONSET", "ONSET_SCORE", "fitting", "stand", "step"]

NONE, DEFAULT, LEVEL, SPIKE, DRIFT, VARIANCE, STUCK, MISSING, SEASONAL, CUSUM, PAGE_HINKLEY = range(11)
COLUMNS = max(detect.COLUMNS, course.COLUMNS, drift.END)


def fitting(kind: U1, detector: U1) -> U1:
    """The detectors asked for; NONE where a channel of this kind has no use for one."""
    for_all = detector == MISSING
    for_counters = (detector == STUCK) & (kind == 1)
    return np.where((kind == 0) | for_all | for_counters, detector, NONE).astype(np.uint8)


def stand(settings: Settings, state: State, channel: int) -> None:
    """Start the detector of `channel` within an onset."""
    universal = settings.whole[channel, DETECTOR] == DEFAULT
    state.detector[channel, detect.ACTIVE if universal else habit.ACTIVE] = 1.0


@outlined
def step(settings: Settings, state: State, c: int, t: int, x: float, gap: bool, align: int) -> tuple[int, float, float]:
    """Take x, read at `t` ns (`t + align` is UTC); (verdict, score, expected value). NaN is for MISSING only."""
    d = state.detector
    which = settings.whole[c, DETECTOR]
    now_s = (t + align) * 1e-9
    span_s = settings.tuning[c, SPAN] * 1e-9
    onset = settings.tuning[c, ONSET_WORD]
    if which != MISSING and not abs(x) <= habit.FAR:
        return NOTHING, 0.0, math.nan
    if which == DRIFT and span_s == 0.0:
        span_s = drift.DAY_S
    if which in (CUSUM, PAGE_HINKLEY):
        x = cusum.pooled(d, c, x, settings.whole[c, PERIOD], gap)
        if math.isnan(x):
            return NOTHING, 0.0, math.nan
    if d[c, habit.COUNT] == 0.0:
        begin(d, c, which, now_s, x, span_s)
        return NOTHING, 0.0, math.nan
    size = settings.tuning[c, SIZE]
    if which == MISSING:
        score = missing.score(d, c, now_s, x, settings.whole[c, PERIOD] * 1e-9)
        if d[c, habit.COUNT] < habit.ENOUGH:
            score = 0.0
        return habit.decide(d, c, score, onset), score, math.nan
    if which == STUCK:
        score = stuck.score(d, c, now_s, x, gap, size, span_s, onset)
        return habit.decide(d, c, score, onset), score, d[c, habit.EXPECTED]
    if which == DRIFT:
        score = drift.score(d, c, now_s, x, size, span_s)
        return habit.decide(d, c, score, onset), score, d[c, drift.SLOW]
    usual = 0.0
    moved = abs(x - d[c, course.READ if which == SEASONAL else habit.BEFORE])
    if which == SEASONAL:
        usual = course.usual(d, c, now_s)
        course.learn(d, c, now_s, x)
    if gap:
        d[c, habit.BEFORE] = x - usual
        return NOTHING, 0.0, math.nan
    target = settings.tuning[c, TARGET] if which == CUSUM else math.nan
    score = surprise(d, c, which, x - usual, moved, target, size, onset)
    verdict = habit.decide(d, c, score, onset)
    if math.isnan(target) and (verdict == CLEAR or d[c, habit.AGE] >= habit.ACCEPTED):
        accept(d, c, which, verdict == CLEAR)
    return verdict, score, usual + d[c, habit.EXPECTED]


@inner
def begin(d: F8, c: int, which: int, now_s: float, x: float, span_s: float) -> None:
    """The first reading of a channel."""
    habit.begin(d, c, x if math.isfinite(x) else 0.0)
    if which == DRIFT:
        drift.begin(d, c, now_s, span_s)
    elif which == VARIANCE:
        variance.begin(d, c)
    elif which == STUCK:
        stuck.begin(d, c, now_s)
    elif which == MISSING:
        missing.begin(d, c, now_s)
    elif which == SEASONAL:
        course.begin(d, c, now_s, x)
        spike.begin(d, c)
        habit.begin(d, c, 0.0)
    elif which == SPIKE:
        spike.begin(d, c)
    elif which in (CUSUM, PAGE_HINKLEY):
        cusum.begin(d, c)


@inner
def surprise(d: F8, c: int, which: int, x: float, moved: float, target: float, size: float, onset: float) -> float:
    """The score of x by what could not be predicted of it; x is learnt."""
    residual, scale, phi = habit.look(d, c, x, moved)
    predicted = d[c, habit.EXPECTED]
    shown = predicted
    z = min(max(residual / scale, -1e9), 1e9)
    score = 0.0
    if d[c, habit.COUNT] >= habit.ENOUGH and not (which == SEASONAL and d[c, course.VISITS] < course.ENOUGH):
        if which == LEVEL:
            score = level.score(d, c, z, scale, phi, size)
        elif which == SPIKE:
            score = spike.score(d, c, z, scale, size)
        elif which == SEASONAL:
            score = max(level.score(d, c, z, scale, phi, size), spike.score(d, c, z, scale, size))
        elif which == VARIANCE:
            score = variance.score(d, c, z, scale)
        else:
            centre = d[c, habit.LEVEL]
            if which == PAGE_HINKLEY:
                centre = cusum.mean(d, c, x)
            elif not math.isnan(target):
                centre = target
            offset = (1.0 - phi) * (d[c, habit.LEVEL] - centre) / scale
            summed = z + min(max(offset, -1e9), 1e9)
            allowance = cusum.allowance(size, scale, phi)
            if math.isnan(target):
                allowance = max(allowance, cusum.WANDERS * cusum.wandering(d, c, summed))
            score = cusum.score(d, c, summed, allowance, onset)
            cusum.moments(d, c, z)
            if which == PAGE_HINKLEY or not math.isnan(target):
                shown = predicted + (1.0 - phi) * (centre - d[c, habit.LEVEL])
    habit.learn(d, c, x, residual, scale)
    d[c, habit.EXPECTED] = shown
    return score


@inner
def accept(d: F8, c: int, which: int, cleared: bool) -> None:
    """An onset is over, or has lasted so long that what was new is the habit."""
    d[c, habit.AGE] = 0.0
    if which == VARIANCE:
        variance.accept(d, c)
    elif which in (CUSUM, PAGE_HINKLEY):
        if not cleared or which == PAGE_HINKLEY:
            cusum.accept(d, c, d[c, habit.NEAR])
        if not cleared and which == CUSUM:
            d[c, habit.LEVEL] = d[c, habit.NEAR]
    else:
        level.accept(d, c)
        if not cleared:
            d[c, habit.LEVEL] = d[c, habit.NEAR]
