"""Incidents between two stations of one road: the California algorithm (Payne and Tignor 1978). One watch a pair.

Occupancy upstream rises and downstream falls where the road between is blocked. With OCC in percent, the mean over a
station's lanes, each the mean of a minute: OCCDF = up - down, OCCRDF = OCCDF / up, DOCCTD = (down two minutes ago -
down) / down two minutes ago. All three at their thresholds, and OCCRDF still a minute later, is an incident; it lasts
while OCCRDF holds. A lane that reports 100 % is left out: a detector does that sooner than a road."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from gateway.services.watch import Finding, Row
from gateway.site.plan import Plan, SiteDevice
from gateway.spool.records import Phase

MINUTE_S = 60.0
AGO = 2  # rows: DOCCTD looks back two minutes
FULL_PCT = 99.5
HOLE_S = 300.0


class Incidents:
    """The watch of the road from one station to the next."""

    LEARNT: ClassVar[tuple[str, ...]] = ("down", "suspect_s", "standing", "last_s")
    PARTS: ClassVar[tuple[type, ...]] = ()

    def __init__(self, plan: Plan, upstream: SiteDevice, downstream: SiteDevice) -> None:
        self._settings = plan.services.traffic
        self._place = upstream.place
        self._names = (upstream.name, downstream.name)
        up, down = (occupancies(plan, device) for device in (upstream, downstream))
        self.name = f"traffic/{upstream.name}-{downstream.name}"
        self.channels = (*up, *down)
        self._lanes = len(up)
        self.step_s = max(MINUTE_S, *(plan.channels[i].period_s for i in self.channels))
        self.down: deque[float] = deque(maxlen=AGO + 1)
        self.suspect_s = math.nan
        self.standing = False
        self.last_s = math.nan

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        if not utc_s - self.last_s <= HOLE_S:
            self.down.clear()
            self.suspect_s = math.nan
        self.last_s = utc_s
        up, down = station(values[: self._lanes]), station(values[self._lanes :])
        if math.isnan(up) or math.isnan(down):
            return []
        self.down.append(down)
        apart = up - down
        share = apart / up if up > 0.0 else 0.0
        if self.standing:
            if share < self._settings.occrdf:
                self.standing = False
                return [self._finding(Phase.CLEAR, utc_s, up, down, 0.0)]
            return []
        before = self.down[0]
        fall = (before - down) / before if len(self.down) > AGO and before > 0.0 else 0.0
        if not math.isnan(self.suspect_s) and share >= self._settings.occrdf:
            since, self.suspect_s, self.standing = self.suspect_s, math.nan, True
            return [self._finding(Phase.ONSET, since, up, down, apart)]
        met = apart >= self._settings.occdf_pct and share >= self._settings.occrdf and fall >= self._settings.docctd
        self.suspect_s = utc_s if met else math.nan
        return []

    def _finding(self, phase: Phase, since_s: float, up: float, down: float, apart: float) -> Finding:
        numbers: dict[str, float | str] = {
            "up": up,
            "down": down,
            "apart": apart,
            "upstream": self._names[0],
            "downstream": self._names[1],
        }
        columns = tuple(range(len(self.channels)))
        return Finding("traffic.incident", phase, "-".join(self._names), self._place, since_s, 1.0, numbers, columns)


def station(lanes: Row) -> float:
    """Mean occupancy of the lanes that answer and are not full; NaN without one."""
    told = lanes[np.isfinite(lanes)]
    told = told[told < FULL_PCT]
    return float(told.mean()) if len(told) else math.nan


def occupancies(plan: Plan, device: SiteDevice) -> tuple[int, ...]:
    """Channel rows of a device's occupancies."""
    return tuple(i for i in device.channels if plan.channels[i].role == "occupancy")


def roads(plan: Plan) -> list[Incidents]:
    """One watch for each (upstream, downstream) of `services.traffic.adjacent` that this gateway has whole."""
    devices = {device.name: device for device in plan.devices}
    return [
        Incidents(plan, devices[up], devices[down])
        for up, down in plan.services.traffic.adjacent
        if up in devices and down in devices and occupancies(plan, devices[up]) and occupancies(plan, devices[down])
    ]
