"""Air quality indices from concentrations: the Korean CAI and the US AQI. In: means over the hours that an index asks
for. Out: the index, or None where what it needs is missing. No state.

CAI: Ministry of Environment (AirKorea), bands 50/100/250/500, the worst pollutant counts, plus 50 where two and 75
where three or more are "bad" or worse. It needs PM10, PM2.5, NO2 and O3: a station that lacks one has no CAI. Its dust
values are predicted daily means, `predicted`. AQI: EPA 454/B-24-002 (May 2024), with the PM2.5 breakpoints of 2024.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

CAI_BANDS = (0.0, 50.0, 100.0, 250.0, 500.0)
CAI = {  # upper ends of the bands; ug/m3, gases in ppm
    "pm25": (15.0, 35.0, 75.0, 500.0),
    "pm10": (30.0, 80.0, 150.0, 600.0),
    "o3": (0.03, 0.09, 0.15, 0.6),
    "no2": (0.03, 0.06, 0.2, 2.0),
    "co": (2.0, 9.0, 15.0, 50.0),
    "so2": (0.02, 0.05, 0.15, 1.0),
}
CAI_NEEDS = ("pm10", "pm25", "no2", "o3")
BAD = 100.0
MORE = {2: 50.0, 3: 75.0}  # added where so many pollutants are bad


@dataclass(frozen=True, slots=True)
class Scale:
    """Upper ends of the bands of one pollutant, and the step to which a concentration is truncated."""

    ends: tuple[float, ...]
    step: str


AQI_BANDS = ((0, 50), (51, 100), (101, 150), (151, 200), (201, 300), (301, 500))
AQI = {  # PM: 24 h mean, ug/m3; O3: 8 h, ppm; CO: 8 h, ppm; NO2 and SO2: 1 h, ppb
    "pm25": Scale((9.0, 35.4, 55.4, 125.4, 225.4, 325.4), "0.1"),
    "pm10": Scale((54.0, 154.0, 254.0, 354.0, 424.0, 604.0), "1"),
    "o3": Scale((0.054, 0.070, 0.085, 0.105, 0.200), "0.001"),
    "co": Scale((4.4, 9.4, 12.4, 15.4, 30.4, 50.4), "0.1"),
    "no2": Scale((53.0, 100.0, 360.0, 649.0, 1249.0, 2049.0), "1"),
    "so2": Scale((35.0, 75.0, 185.0, 304.0, 604.0, 1004.0), "1"),
}


def predicted(mean_12h: float, mean_4h: float) -> float:
    """The daily mean of dust that CAI uses, ug/m3: the last twelve hours, and the last four for the next twelve."""
    return (mean_12h * 12.0 + mean_4h * 12.0) / 24.0


def cai_of(role: str, value: float) -> float:
    """CAI of one pollutant (unrounded); beyond the last band 500. `value`: ug/m3 of dust, ppm of a gas."""
    low, low_index = 0.0, 0.0
    for end, index in zip(CAI[role], CAI_BANDS[1:], strict=True):
        if value <= end:
            return low_index + (index - low_index) * (max(value, 0.0) - low) / (end - low)
        low, low_index = end, index
    return CAI_BANDS[-1]


def cai(values: Mapping[str, float]) -> float | None:
    """The CAI of a station, a whole number; None unless PM10, PM2.5, NO2 and O3 are all there. `values`: role ->
    predicted daily mean of dust (ug/m3), hourly mean of a gas (ppm). NaN is not there."""
    known = {role: value for role, value in values.items() if role in CAI and math.isfinite(value)}
    if not all(role in known for role in CAI_NEEDS):
        return None
    single = [cai_of(role, value) for role, value in known.items()]
    bad = min(3, sum(one > BAD for one in single))
    return min(CAI_BANDS[-1], float(round(max(single) + MORE.get(bad, 0.0))))


def aqi_of(role: str, value: float) -> float:
    """AQI of one pollutant, a whole number; above the last band 500 (ozone over 8 h has none above 300)."""
    scale = AQI[role]
    step = Decimal(scale.step)
    there = Decimal(str(max(value, 0.0))).quantize(step, ROUND_FLOOR)
    low = Decimal(0)
    for end, (first, last) in zip(scale.ends, AQI_BANDS, strict=False):
        high = Decimal(str(end))
        if there <= high:
            share = (there - low) / (high - low)
            return float(round(first + (last - first) * share))
        low = high + step
    return float(AQI_BANDS[len(scale.ends) - 1][1])


def aqi(values: Mapping[str, float]) -> float | None:
    """The AQI of a station: the worst pollutant's. None without any. `values`: role -> mean over the hours and in the
    unit of `AQI`. NaN is not there."""
    known = [aqi_of(role, value) for role, value in values.items() if role in AQI and math.isfinite(value)]
    return max(known, default=None)
