"""The city's own value and the ordinance alarms. In: dry dust of the stations. Out: levels reached or left.

The city value is the median over the healthy stations of their mean over the last 60 minutes. A level is reached after
`hold` rows at or above its limit without a break, and left with the first row below its clear level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.services.air.neighbours import Mask, Values, middle


@dataclass(frozen=True, slots=True)
class Level:
    """`code` of its sentences; `column` of the dust values; ug/m3."""

    code: str
    column: int
    limit: float
    clear: float


@dataclass(slots=True)
class Standing:
    """How far a level is: rows at or above its limit, whether it stands, and since which row."""

    run: int = 0
    on: bool = False
    first: int = 0


class CityValue:
    def __init__(self, levels: tuple[Level, ...], hold: int, hour: int) -> None:
        """`hold` and `hour`: rows."""
        self.levels = levels
        self._hold = hold
        self._hour = hour

    def value(self, hour: Values, healthy: Mask) -> Values:
        """f64[2] (PM2.5, PM10) from f64[rows, stations, 2] of the last hour; NaN where no station says."""
        recent = hour[-self._hour :]
        count = np.isfinite(recent).sum(axis=0)
        total = np.where(np.isfinite(recent), recent, 0.0).sum(axis=0)
        mean = np.where((2 * count >= self._hour) & healthy, total / np.maximum(count, 1), np.nan)
        return middle(mean)

    def judge(self, standing: list[Standing], row: int, value: Values) -> list[tuple[int, bool, int]]:
        """[(level, reached or left, first row)] of the levels that change."""
        found: list[tuple[int, bool, int]] = []
        for index, (level, state) in enumerate(zip(self.levels, standing, strict=True)):
            now = float(value[level.column])
            if not np.isfinite(now):
                continue
            if state.on:
                if now < level.clear:
                    state.on, state.run = False, 0
                    found.append((index, False, state.first))
                continue
            state.run = state.run + 1 if now >= level.limit else 0
            if state.run >= self._hold:
                state.on, state.first = True, row - state.run + 1
                found.append((index, True, state.first))
        return found
