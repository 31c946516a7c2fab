"""A photocell against the sun. In: the sun's elevation and lux, row by row. Out: onset and clear of a contradiction.

By day it must see a twentieth of a clear sky (clouds and dirt take less), by night no more than four times one and the
light of the street. Day and night are counted apart: a cell that is dead agrees with every night.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gateway.services.streetlight.sun import clear_lux
from gateway.spool.records import Phase

SATURATED_LUX = 2000.0  # where the site does not say more
DIMMEST = 1 / 20
BRIGHTEST = 4.0
STRAY_LUX = 20.0
DAY_LUX = 5.0  # a limit below this tells nothing about the day: twilight
NIGHT_SHARE = 0.5  # of saturation: a limit above this tells nothing about the night
CONTRADICTED_S = 5400.0  # a lorry shades for minutes
AGREED_S = 1800.0
MOVED = 3.0  # times


@dataclass(slots=True)
class Regime:
    """Day or night: seconds in contradiction, and in agreement since. `lux`: of what contradicted, the value nearest to
    the truth. Only a cell that has moved well beyond it agrees: one that is stuck looks right at every dusk."""

    bad_s: float = 0.0
    good_s: float = 0.0
    lux: float | None = None
    bad: bool = False

    def contradicts(self, step_s: float, nearest_lux: float) -> None:
        self.bad_s += step_s
        self.good_s = 0.0
        self.lux = nearest_lux
        self.bad = self.bad or self.bad_s >= CONTRADICTED_S

    def agrees(self, step_s: float) -> None:
        self.good_s += step_s
        if self.good_s >= AGREED_S:
            self.bad_s = 0.0
            self.lux = None
            self.bad = False


@dataclass(slots=True)
class PhotocellState:
    day: Regime = field(default_factory=Regime)
    night: Regime = field(default_factory=Regime)
    standing: bool = False

    def row(self, step_s: float, elevation: float, lux: float, saturated: float) -> Phase | None:
        """`saturated`: the most it can show."""
        if math.isnan(lux) or math.isnan(elevation):
            return None
        clear = clear_lux(elevation)
        least, most = limits(clear, saturated)
        day, night = self.day, self.night
        if least > DAY_LUX:
            if lux < least:
                day.contradicts(step_s, lux if day.lux is None else max(lux, day.lux))
            elif day.lux is None or lux > MOVED * day.lux:
                day.agrees(step_s)
        if most < NIGHT_SHARE * saturated:
            if lux > most:
                night.contradicts(step_s, lux if night.lux is None else min(lux, night.lux))
            elif night.lux is None or lux * MOVED < night.lux:
                night.agrees(step_s)
        bad = self.day.bad or self.night.bad
        if bad == self.standing:
            return None
        self.standing = bad
        return Phase.ONSET if bad else Phase.CLEAR

    @property
    def trusted(self) -> bool:
        """Whether lamps may be judged by it: it stands in no contradiction, nor seems about to."""
        return not (self.standing or self.day.bad_s or self.night.bad_s)


def limits(clear: float, saturated: float) -> tuple[float, float]:
    """(least, most) lux believable under a sky that gives `clear` when it is clear."""
    return min(clear, saturated) * DIMMEST, clear * BRIGHTEST + STRAY_LUX


PARTS = (PhotocellState, Regime)
