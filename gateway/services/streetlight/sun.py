"""Where the sun stands and what light it gives. In: a place and UTC seconds. Out: degrees, lux. No clock, no file.

The library astral is imported by the first cabinet that knows its place, and by nobody else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import exp, log

Elevation = Callable[[float], float]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_S, LAST_S = -62_000_000_000.0, 250_000_000_000.0  # years 5 to 9892: what datetime can hold with a day to spare

# illuminance on the ground under a clear sky, lux (after Schlyter, "Radiometry and photometry in astronomy", and
# Seidelmann, Explanatory Supplement to the Astronomical Almanac, 1992): half a decade is its own uncertainty
_CLEAR = (
    (-18.0, 6e-4),
    (-12.0, 8e-3),
    (-9.0, 0.15),
    (-6.0, 3.4),
    (-5.0, 11.0),
    (-4.0, 25.0),
    (-3.0, 55.0),
    (-2.0, 115.0),
    (-1.0, 225.0),
    (0.0, 420.0),
    (2.0, 1_100.0),
    (5.0, 3_500.0),
    (10.0, 11_000.0),
    (20.0, 30_000.0),
    (45.0, 80_000.0),
    (90.0, 120_000.0),
)


def elevation_at(latitude: float, longitude: float) -> Elevation:
    """UTC seconds -> degrees of the sun's centre above the horizon, refraction included; NaN beyond the calendar."""
    from astral import Observer  # here: a site without lamps never loads it
    from astral.sun import elevation

    observer = Observer(max(-90.0, min(90.0, latitude)), longitude)

    def at(utc_s: float) -> float:
        if not FIRST_S < utc_s < LAST_S:
            return float("nan")
        return float(elevation(observer, EPOCH + timedelta(seconds=utc_s)))

    return at


def clear_lux(elevation: float) -> float:
    """Lux under a clear sky, interpolated in its logarithm."""
    at = bisect_right(_CLEAR, (elevation, 0.0))
    if at == 0:
        return _CLEAR[0][1]
    if at == len(_CLEAR):
        return _CLEAR[-1][1]
    (low, dim), (high, bright) = _CLEAR[at - 1], _CLEAR[at]
    share = (elevation - low) / (high - low)
    return exp(log(dim) + share * (log(bright) - log(dim)))
