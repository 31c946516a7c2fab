"""The statistics of one window as a short CBOR value, and back. Pure.

    constant (all statistics equal, no change)   n   or   [n, *tail]
    varying, on the channel's decimal grid       [n, e, min, max-min, p50-min, p95-min, last-min, sd, *tail]
    varying, off any grid (e = null)             [n, null, min, max, p50, p95, last, sd, *tail]
    tail                                         quality, expected - n, duration ms; cut after the last that is not
                                                 the default (0, 0, the pack's duration)

On the grid every number is an integer in units of 10^e, the largest power of ten not above the resolution, so it is
within half a resolution. null stands for NaN. The mean travels outside, in the record that every SenML reader knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gateway.spool.records import Window
from gateway.wire import senml

Stats = tuple[int, int, float, float, float, float, float, float, int, int]
STATE = 2  # gateway.site.plan.Kind.STATE, which this half does not import


def tolerance(resolution: float, kind: int, value: float) -> float:
    """How far `value` may be off on the wire: half a resolution, float32 where none is known."""
    if kind == STATE:
        return 0.0005  # a share of time, not a state
    return resolution / 2 if 0 < resolution < math.inf else abs(value) * 2.0**-24


def encode(row: Window, resolution: float, kind: int, common_ms: int, duration_ms: int) -> Any:
    """The row's value in `w`. The caller sends the mean."""
    tail = [row.quality, row.expected - row.n, duration_ms]
    defaults = [0, 0, common_ms]
    while tail and tail[-1] == defaults[len(tail) - 1]:
        tail.pop()
    if _constant(row):
        return [row.n, *tail] if tail else row.n
    stats = (row.min, row.max, row.p50, row.p95, row.last, row.sd)
    return [row.n, *_grid(stats, resolution), *tail]


def decode(value: Any, mean: float, common_ms: int) -> Stats:
    """(n, expected, min, max, sd, last, p50, p95, quality, duration_ms). Raises ValueError."""
    parts = value if isinstance(value, list) else [value]
    n = _count(parts[0] if parts else None)
    if len(parts) <= 4:
        lo = hi = p50 = p95 = last = mean
        sd, tail = 0.0, parts[1:]
    elif 8 <= len(parts) <= 11:
        lo, hi, p50, p95, last, sd = _ungrid(parts[1], parts[2:8])
        tail = parts[8:]
    else:
        raise ValueError("a window has 1 to 4 or 8 to 11 numbers")
    full = [*tail, *[0, 0, common_ms][len(tail) :]]
    quality, missing, duration_ms = full
    if not isinstance(missing, int) or not -(1 << 31) < missing < 1 << 31:
        raise ValueError("the readings missing are no whole number")
    return n, n + missing, lo, hi, sd, last, p50, p95, _count(quality), _count(duration_ms)


def _constant(row: Window) -> bool:
    slack = 1e-9 * abs(row.min)
    return row.sd == 0 and all(abs(x - row.min) <= slack for x in (row.max, row.mean, row.last, row.p50, row.p95))


def _grid(stats: Sequence[float], resolution: float) -> list[Any]:
    if 0 < resolution < math.inf and math.isfinite(stats[0]):
        exponent = max(-18, math.floor(math.log10(resolution) + 1e-9))
        steps = [x * 10.0**-exponent if math.isfinite(x) else None for x in stats]
        if all(x is None or abs(x) < senml.EXACT for x in steps):
            low, *rest, sd = (None if x is None else round(x) for x in steps)
            assert low is not None
            return [exponent, low, *(None if x is None else x - low for x in rest), sd]
    return [None, *(senml.single(x) if math.isfinite(x) else None for x in stats)]


def _ungrid(exponent: Any, numbers: Sequence[Any]) -> list[float]:
    for x in numbers:
        if x is not None and (isinstance(x, bool) or not isinstance(x, (int, float)) or abs(x) > 1e300):
            raise ValueError("a statistic is no number")
    if exponent is None:
        return [math.nan if x is None else float(x) for x in numbers]
    low, *rest, sd = numbers
    if not isinstance(exponent, int) or not -18 <= exponent <= 18 or low is None:
        raise ValueError("the grid is not a power of ten")
    scaled = [low, *(None if x is None else x + low for x in rest), sd]
    return [math.nan if x is None else on_grid(x, exponent) for x in scaled]


def on_grid(steps: int | float, exponent: int) -> float:
    """steps x 10^exponent, as the decimal number a person would write."""
    return steps / 10**-exponent if exponent < 0 else float(steps * 10**exponent)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise ValueError("a count is no whole number")
    return value
