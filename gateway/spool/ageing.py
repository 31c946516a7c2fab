"""Windows into coarser ones: many windows of one channel in, one out. Pure; no SQLite, no clock.

n, expected, min, max, mean and sd come out as if the coarse window had been kept from the first (Chan, Golub & LeVeque
1979 for the second moments); first, last and the worst quality too. Quantiles come from the mixture of what each window
knows of its distribution: min, p05, p25, p50, p75, p95 and max as the knots of a piecewise linear one, weighted by n.
Their rank is within about 0.02 of the readings' own.

Counters add their deltas and rollovers (`mean`, `sd`), states weigh their share of time by the length of the window
and add their changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

from gateway.spool.records import Window

GAUGE, COUNTER = 0, 1  # Kind in gateway.site.plan, which loads numpy
STEPS_S = (600, 3600)  # what summaries are thinned to, one after the other
PROBABILITIES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
Shape = tuple[Sequence[float], Sequence[float]]  # knots, and the share of readings at or below each


def span_of(window: Window, step_ns: int, offset_ns: int) -> int:
    """Number of the step on the UTC grid that the window begins in."""
    return (window.start_ns + offset_ns) // step_ns


def is_fine(window: Window, step_ns: int) -> bool:
    """Whether thinning to this step would make anything of it."""
    return window.end_ns - window.start_ns < step_ns


def merged(windows: Sequence[Window], kind: int) -> Window:
    """One window over windows of one channel, in any order; they do not overlap. Raises ValueError for none."""
    if not windows:
        raise ValueError("no windows to merge")
    ordered = sorted(windows, key=lambda one: one.start_ns)
    heard = [one for one in ordered if one.n]
    n = sum(one.n for one in heard)
    mean, sd = _moments(heard, n, kind)
    p50 = p95 = math.nan
    inner: tuple[float, ...] = ()
    if kind == GAUGE and heard:
        p05, p25, p50, p75, p95 = _quantiles(heard, n)
        inner = (p05, p25, p75)
    return Window(
        channel=ordered[0].channel,
        start_ns=ordered[0].start_ns,
        end_ns=max(one.end_ns for one in ordered),
        n=n,
        expected=sum(one.expected for one in ordered),
        min=min((one.min for one in heard), default=math.nan),
        max=max((one.max for one in heard), default=math.nan),
        mean=mean,
        sd=sd,
        first=heard[0].first if heard else math.nan,
        last=heard[-1].last if heard else math.nan,
        last_ns=heard[-1].last_ns if heard else ordered[-1].last_ns,
        p50=p50,
        p95=p95,
        quality=max(one.quality for one in ordered),
        inner=inner,
    )


def _moments(heard: Sequence[Window], n: int, kind: int) -> tuple[float, float]:
    """mean and sd in the sense of the kind."""
    if not heard:
        return math.nan, math.nan
    if kind == COUNTER:
        return sum(one.mean for one in heard), sum(one.sd for one in heard)
    if kind != GAUGE:
        length = sum(one.end_ns - one.start_ns for one in heard)
        share = sum(one.mean * (one.end_ns - one.start_ns) for one in heard) / length if length else heard[-1].mean
        return share, sum(one.sd for one in heard)
    mean = math.fsum(one.mean * (one.n / n) for one in heard)
    power = math.fsum((one.sd**2 + (one.mean - mean) ** 2) * (one.n / n) for one in heard)
    return min(max(mean, min(one.min for one in heard)), max(one.max for one in heard)), math.sqrt(power)


def _quantiles(heard: Sequence[Window], n: int) -> tuple[float, ...]:
    """Where the mixture of the windows' distributions reaches each inner probability: one sweep over all knots, at
    which its density changes (a rising piece begins or ends) or its share jumps (readings that are all alike)."""
    slopes: dict[float, float] = {}
    jumps: dict[float, float] = {}
    for one in heard:
        knots, shares = _shape(one)
        jumps.setdefault(knots[0], 0.0)
        for low, high, share in zip(knots, knots[1:], _steps(shares), strict=False):
            weight = share * one.n / n
            slope = weight / (high - low) if high > low else math.inf
            if math.isfinite(slope):
                slopes[low] = slopes.get(low, 0.0) + slope
                slopes[high] = slopes.get(high, 0.0) - slope
            else:
                jumps[high] = jumps.get(high, 0.0) + weight
    wanted = list(PROBABILITIES[-2:0:-1])
    found: list[float] = []
    total = slope = 0.0
    before = math.nan
    for x in sorted({*slopes, *jumps}):
        reached = total + slope * (x - before) if slope > 0.0 else total
        while wanted and wanted[-1] <= reached and reached > total:
            found.append(before + (x - before) * max(wanted.pop() - total, 0.0) / (reached - total))
        total = reached + jumps.get(x, 0.0)
        while wanted and wanted[-1] <= total:
            found.append(x)
            wanted.pop()
        slope += slopes.get(x, 0.0)
        before = x
    return (*found, *(before for _ in wanted))


def _steps(shares: Sequence[float]) -> Sequence[float]:
    return [high - low for low, high in pairwise(shares)]


def _shape(window: Window) -> Shape:
    """Knots made to rise: what a sketch estimated may stand a little beyond an extreme. Where the inner ones are
    missing, four knots serve."""
    known: Sequence[float] = (window.min, window.p50, window.p95, window.max)
    shares: Sequence[float] = (0.0, 0.5, 0.95, 1.0)
    if len(window.inner) == 3:
        p05, p25, p75 = window.inner
        known, shares = (window.min, p05, p25, window.p50, p75, window.p95, window.max), PROBABILITIES
    return tuple(min(knot, window.max) for knot in accumulate(known, max)), shares
