"""How much a decoded value speaks for a profile, in bits. Pure.

A value within the range that the profile believes in says the more, the less likely random bytes would fall there:
log2(reach of the encoding / width of the range). One beyond it speaks against the profile, as do denormal floats; one
that reads zero or all ones says next to nothing, as any unused register does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gateway.site.plan import Kind
from gateway.site.profile import ProfilePoint
from gateway.site.reach import reach

MOST = 8.0  # of one value: no single one decides
AGAINST = -8.0
FLOAT_EXPONENTS = 254.0  # of float32: as many decades of two as random bytes fall into
BELIEVABLE = (1e-4, 1e9)  # magnitudes that sensors show where a profile gives no range


def bits(point: ProfilePoint, value: float) -> float:
    """Evidence of one value. NaN is a sentinel of the profile's own, which is a weak sign."""
    if math.isnan(value):
        return -1.0
    if not point.low <= value <= point.high:
        return AGAINST
    if value == 0.0:
        return 0.25
    span = reach(point.spec)
    if point.words:
        return 2.0 if round(value) in dict(point.words) else -3.0
    if span is None or not math.isfinite(span.least) or not math.isfinite(span.most):
        return _float_bits(point, value)
    ends = sorted((span.least * point.scale + point.offset, span.most * point.scale + point.offset))
    if value in (ends[0], ends[1]) and span.most > 1:
        return -1.0  # all ones: nothing is there
    width = min(point.high, ends[1]) - max(point.low, ends[0])
    whole = ends[1] - ends[0]
    if width <= 0 or whole <= 0:
        return 0.0
    return min(MOST, math.log2(whole / width)) + 0.25


def _float_bits(point: ProfilePoint, value: float) -> float:
    magnitude = abs(value)
    low, high = BELIEVABLE
    if math.isfinite(point.low) and math.isfinite(point.high):
        high = max(abs(point.low), abs(point.high))
        low = min(BELIEVABLE[0], high * 1e-4)
    if magnitude < low * 1e-2 or magnitude > high:
        return AGAINST
    if magnitude < low:
        return -2.0
    return min(MOST, math.log2(FLOAT_EXPONENTS / max(1.0, math.log2(high / low))))


def moved(point: ProfilePoint, first: float, second: float, seconds: float) -> float:
    """Evidence of two readings one after the other: a counter does not fall, a gauge does not jump."""
    if math.isnan(first) or math.isnan(second) or first == second:
        return 0.0
    if point.kind is Kind.COUNTER:
        return 1.0 if second > first else -4.0
    if abs(second - first) > point.step or abs(second - first) > point.rate * max(seconds, 1.0):
        return -4.0
    return 0.5


def nothing_there(values: Sequence[float]) -> bool:
    """Whether all values are zero or absent: a device whose registers are all unused."""
    return all(value == 0.0 or math.isnan(value) for value in values)
