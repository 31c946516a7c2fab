"""What lamps should do where nobody tells: sun, photocell, dim schedule; and when work on the cabinet was announced.

In: UTC seconds, the sun's elevation, lux. Out: a level in percent, NaN where it is anybody's guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import time, timedelta
from zoneinfo import ZoneInfo

from gateway.services.streetlight.sun import EPOCH, FIRST_S, LAST_S
from gateway.site.settings import DimStep, WorkPeriod

DARK_LUX, BRIGHT_LUX = 35.0, 100.0  # switching levels of photocells in use lie between; there it is anybody's guess
NIGHT_DEG, DAY_DEG = -4.0, 3.0


class Schedule:
    """Level by local time of day. A later row overrides an earlier one; full level where none applies."""

    def __init__(self, steps: Sequence[DimStep], timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._steps = [(_hours(one.start), _hours(one.end), one.level) for one in steps]

    def level(self, utc_s: float) -> float:
        """Percent while the lamps burn at all."""
        level = 100.0
        if not FIRST_S < utc_s < LAST_S:
            return level
        local = (EPOCH + timedelta(seconds=utc_s)).astimezone(self._zone)
        hour = local.hour + local.minute / 60 + local.second / 3600
        for start, end, dimmed in self._steps:
            inside = start <= hour < end if start <= end else (hour >= start or hour < end)
            if inside:
                level = dimmed
        return level

    def expected(self, utc_s: float, elevation: float, lux: float) -> float:
        """Percent by the photocell where there is one that is trusted (`lux` not NaN), else by the sun."""
        if math.isfinite(lux):
            dark, bright = lux < DARK_LUX, lux > BRIGHT_LUX
        else:
            dark, bright = elevation < NIGHT_DEG, elevation > DAY_DEG
        if bright:
            return 0.0
        return self.level(utc_s) if dark else math.nan


class PlannedWork:
    """Announced work: [begin, end) in UTC seconds."""

    def __init__(self, periods: Sequence[WorkPeriod]) -> None:
        self._periods = sorted((one.start.timestamp(), one.end.timestamp()) for one in periods)

    def at(self, utc_s: float) -> bool:
        return any(begin <= utc_s < end for begin, end in self._periods)


def _hours(clock: time) -> float:
    return clock.hour + clock.minute / 60 + clock.second / 3600
