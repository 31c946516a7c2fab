"""The shape of a vehicle's signal: when its edges cross a share of their own hump, how far two loops' signals lie
apart, how alike two signals are. Heights in percent, in rings by step; nothing is stored here.

How fast the signal rises depends on the loop: the nose is inside the field for about a loop's length before the hump is
reached. The share of that hump crossed at a given depth is nearly the same for cars, vans and lorries (EDGE_DEPTH).
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.jit import inner, kernel

HUMP_FALL = 0.85  # a hump is over when the signal falls below this share of it
EDGE_SHARE = 0.2  # of the hump: where an edge is timed
STEEP_SHARE = 0.5  # second crossing, to extrapolate where no speed is known


@inner
def hump(height: F8, first: int, last: int, way: int) -> tuple[float, int]:
    """(Largest height of the first hump from step `first` towards `last`, its step); `way` is +1 or -1."""
    steps = height.size
    most = 0.0
    at = first
    k = first
    while k != last + way:
        h = height[k % steps]
        if h > most:
            most = h
            at = k
        elif h < HUMP_FALL * most - 0.02:
            break
        k += way
    return most, at


@inner
def crossing(height: F8, first: int, top: int, way: int, level: float) -> float:
    """Step, with fraction, at which the signal last rises through `level` on its way from `first` to its hump at
    `top`."""
    steps = height.size
    k = top
    while k != first and height[(k - way) % steps] >= level:
        k -= way
    inside = height[k % steps]
    outside = height[(k - way) % steps]
    if inside - outside > 1e-12 and outside < level:
        return float(k - way * (inside - level) / (inside - outside))
    return float(k)


@kernel
def delay(lead: F8, trail: F8, first: int, last: int, least: int, most: int) -> tuple[float, float]:
    """(Steps by which `trail` follows `lead`, their correlation there) for the signal in [first, last) of `lead`; whole
    lags from `least` to `most` are tried and the best is refined by a parabola. (nan, 0) where nothing fits."""
    steps = lead.size
    best = -2.0
    at = least
    before = after = -2.0
    previous = -2.0
    wanted = False
    for lag in range(least - 1, most + 2):
        dot = a2 = b2 = 0.0
        for k in range(first, last):
            a = lead[k % steps]
            b = trail[(k + lag) % steps]
            dot += a * b
            a2 += a * a
            b2 += b * b
        fit = dot / math.sqrt(a2 * b2) if a2 > 0.0 and b2 > 0.0 else -2.0
        if wanted:
            after = fit
            wanted = False
        if fit > best and least <= lag <= most:
            best = fit
            before = previous
            at = lag
            wanted = True
        previous = fit
    if best < -1.0:
        return math.nan, 0.0
    bend = before - 2.0 * best + after
    if before > -1.0 and after > -1.0 and bend < 0.0:
        return at + 0.5 * (before - after) / bend, best
    return float(at), best


@kernel
def likeness(strong: F8, weak: F8, first: int, last: int) -> tuple[float, float]:
    """(Share of `strong` that `weak` shows over [first, last), their correlation through the origin)."""
    steps = strong.size
    dot = a2 = b2 = 0.0
    for k in range(first, last):
        a = strong[k % steps]
        b = weak[k % steps]
        dot += a * b
        a2 += a * a
        b2 += b * b
    if a2 <= 0.0 or b2 <= 0.0:
        return 0.0, 0.0
    return dot / a2, dot / math.sqrt(a2 * b2)
