"""A zone with too few pressures for `zone`: what its flow says alone. In: a row every few minutes. Out: a leak that
shows in the minimum night flow, water that flows backwards, a meter that is stuck, noisy, throws spikes or is silent.

Between two and four at night a zone draws the least, and what rises night by night is leakage. The night flow is the
lowest hour of those two; its rise over the usual night is added up (CUSUM, Page 1954) in units of their scatter.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from gateway.services.sentence import duration
from gateway.services.watch import Finding, Row
from gateway.services.water import sensors, told
from gateway.services.water.network import Zone
from gateway.services.water.sensors import KINDS, Habits
from gateway.site.plan import Plan
from gateway.spool.records import Phase

F64 = NDArray[np.float64]

NIGHT = (2, 4)  # local hours
HOUR_S = 3600.0
LEARN_H = 72  # hours in which it is learnt how long a meter rests
USUAL_NIGHTS = 28
LEAST_NIGHTS = 7
SLACK = 0.75  # scatters that a night may be above the usual one for nothing
DECISION = 5.0  # scatters added up
LEAST_SCATTER = 0.03  # of the usual night flow
BACKFLOW_S = 600.0
BACKFLOW = 0.02  # of the usual night flow, and so much more than nothing


class NightWatch:
    """A `Watch` over the net inflow of one zone."""

    LEARNT: ClassVar[tuple[str, ...]] = (
        "nights",
        "lines",
        "sums",
        "count",
        "low",
        "day",
        "total",
        "leaking",
        "back_s",
        "back",
        "habits",
        "faulty",
        "rows",
        "block",
    )
    PARTS: ClassVar[tuple[type, ...]] = (Habits,)

    def __init__(self, plan: Plan, zone: Zone) -> None:
        settings = plan.services.water
        self._zone = zone
        self._clock = ZoneInfo(plan.timezone)
        self.channels: Sequence[int] = zone.channels[: zone.flows]
        self.step_s = max(settings.step_s, zone.period_s)
        self.name = f"water/night/{zone.name}/{zlib.crc32(f'{zone.names} {self.step_s}'.encode()):08x}"
        self.nights = np.full(USUAL_NIGHTS, np.nan)
        self.lines = 0  # nights so far
        self.sums = np.zeros(2)  # of the open hour
        self.count = 0
        self.low = np.inf  # lowest hour of the open night
        self.day = -1
        self.total = 0.0  # the CUSUM
        self.leaking = False
        self.back_s = np.zeros(zone.flows)
        self.back = np.zeros(zone.flows, bool)
        self._rows = max(1, round(HOUR_S / self.step_s))
        self.habits = Habits.new(zone.flows)
        self.faulty = np.zeros((len(KINDS), zone.flows), bool)
        self.rows: list[F64] = []  # of the open hour
        self.block = -1  # the open hour

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        """f64[flows] of the step at `utc_s`."""
        sane = np.where(np.abs(values) < 1e9, values, np.nan)
        found = self._meters(utc_s, sane) + self._backflow(utc_s, sane)
        there = datetime.fromtimestamp(utc_s, UTC).astimezone(self._clock)
        inflow = float(self._zone.inflow @ np.where(self.faulty.any(axis=0), np.nan, sane))
        if NIGHT[0] <= there.hour < NIGHT[1]:
            if there.toordinal() != self.day:
                self.day, self.low, self.count = there.toordinal(), np.inf, 0
                self.sums[:] = 0.0
            if np.isfinite(inflow):
                self.sums[0] += inflow
                self.count += 1
            if self.count * self.step_s >= HOUR_S:
                self.low = min(self.low, float(self.sums[0]) / self.count)
                self.sums[:], self.count = 0.0, 0
        elif self.day >= 0 and there.toordinal() == self.day:
            if np.isfinite(self.low):
                found += self._night(utc_s, self.low)
            self.day, self.low = -1, np.inf
        return found

    def _meters(self, utc_s: float, flows: F64) -> list[Finding]:
        """Meters that are at fault by what they say themselves, judged hour by hour."""
        block = int(utc_s // HOUR_S)
        found: list[Finding] = []
        if block > self.block and self.rows:
            before = self.faulty
            learning = self.habits.hours < LEARN_H
            self.faulty, _ = sensors.judge(self.habits, np.array(self.rows), before, learning, self._rows)
            for kind, flow in np.argwhere(self.faulty != before).tolist():
                phase = Phase.ONSET if self.faulty[kind, flow] else Phase.CLEAR
                found.append(told.sensor(self._zone, utc_s, KINDS[kind], phase, flow, 1, 0.0))
            self.rows = []
        if block >= self.block:  # else the clock was set back: this hour has been judged
            self.block = block
            if len(self.rows) < self._rows:
                self.rows.append(flows)
        return found

    def _night(self, utc_s: float, low: float) -> list[Finding]:
        known = self.nights[np.isfinite(self.nights)]
        found: list[Finding] = []
        ordinary = True
        if len(known) >= LEAST_NIGHTS:
            usual = float(np.median(known))
            scatter = max(1.4826 * float(np.median(np.abs(known - usual))), LEAST_SCATTER * abs(usual), 1e-6)
            above = (low - usual) / scatter
            self.total = min(max(0.0, self.total + above - SLACK), 4.0 * DECISION)
            ordinary = above < 2.0 and self.total < DECISION / 2.0
            leaking = self.total >= DECISION if not self.leaking else self.total > 0.0 and above > SLACK
            if leaking != self.leaking:
                self.leaking = leaking
                self.total = self.total if leaking else 0.0
                found.append(self._leak(utc_s, Phase.ONSET if leaking else Phase.CLEAR, low, usual))
        if ordinary:
            self.nights[self.lines % USUAL_NIGHTS] = low
            self.lines += 1
        return found

    def _leak(self, utc_s: float, phase: Phase, low: float, usual: float) -> Finding:
        zone = self._zone
        numbers: dict[str, float | str] = {
            "night": f"{low:.2f} {zone.flow_unit}",
            "usual": f"{usual:.2f} {zone.flow_unit}",
            "rise": f"{low - usual:+.2f} {zone.flow_unit}",
        }
        columns = tuple(range(zone.flows))
        return Finding("water.night_flow", phase, zone.name, zone.place, utc_s - 86_400.0, 1.0, numbers, columns)

    def _backflow(self, utc_s: float, flows: F64) -> list[Finding]:
        """Flows below 0 where the point's range says that they may be: others cannot show it."""
        zone = self._zone
        usual = float(np.nanmedian(self.nights)) if np.isfinite(self.nights).any() else 0.0
        backwards = np.array(zone.may_reverse) & (zone.inflow > 0.0) & (flows < -BACKFLOW * abs(usual))
        self.back_s = np.where(backwards, self.back_s + self.step_s, np.where(flows >= 0.0, 0.0, self.back_s))
        now = self.back_s >= BACKFLOW_S
        found = []
        for flow in np.flatnonzero(now != self.back).tolist():
            numbers: dict[str, float | str] = {
                "flow": f"{flows[flow]:+.2f} {zone.flow_unit}",
                "hours": duration(float(self.back_s[flow])),
            }
            phase = Phase.ONSET if now[flow] else Phase.CLEAR
            since_s = utc_s - float(self.back_s[flow])
            found.append(Finding("water.backflow", phase, zone.names[flow], zone.place, since_s, 1.0, numbers, (flow,)))
        self.back = now
        return found
