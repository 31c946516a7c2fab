"""A water zone: its flows, levels and pressures judged together. In: a row every few minutes. Out: leaks, and sensors
at fault.

An hour of rows is one hour of the regression (`residual`); seven days teach it, later quiet hours keep it fresh. Before
a leak is reported, a single sensor that explains it alone is: first by what it says itself (`sensors`), then because
only it moved, or because without this flow or level nothing is unusual.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gateway.services.watch import Finding, Row
from gateway.services.water import network, sensors, told
from gateway.services.water.history import KEPT_H, RECENT_H, History, average
from gateway.services.water.leak import QUIET, SETTLED_H, Change, Leaks
from gateway.services.water.plateau import Plateaus
from gateway.services.water.residual import Model, Terms, fit, weigh
from gateway.services.water.sensors import KINDS, Fault, Habits
from gateway.site.plan import Plan
from gateway.spool.records import Phase

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

HOUR_S = 3600.0
REFIT_H = 24
LONE = 8.0  # scatters: so far a sensor alone has to be off what the others say
LONE_SIZE = 3.0  # of its scatter from row to row
DRIVER = 3.0  # mean squares: from here on a flow or level may be what is wrong
DRIVER_SIZE = 0.3  # of its own standard deviation
CANDIDATES = 4
UNEXPLAINED = 1.0  # mean squares left without it, at most, and the same as a share of all
UNEXPLAINED_SHARE = 0.25
WAIT_H = 24  # a fault of a flow or level that grows has shown by then
WELL_H = 6
WELL_SHARE = 0.25  # of how wrong it was
UNLIKE_H = 3
RETURNED_H = 24  # a pressure that was at fault may have come back with another offset
ANEW_H = 12  # of them the last, which show it


@dataclass(slots=True)
class Wrong:
    """A sensor fault that only the others can tell."""

    kind: str
    since: int  # hour
    size: float
    well: int  # hours that it has been all right again
    pump: bool  # known from what the pump delivers


class ZoneWatch:
    """A `Watch` over one zone."""

    LEARNT: ClassVar[tuple[str, ...]] = (
        "habits",
        "plateaus",
        "unlike",
        "faulty",
        "wrong",
        "leaks",
        "standing",
        "history",
        "returned",
        "absent",
        "waited",
        "learnt_h",
        "rows",
        "filled",
        "block",
    )
    PARTS: ClassVar[tuple[type, ...]] = (Habits, Plateaus, Wrong, Leaks, History)

    def __init__(self, plan: Plan, zone: network.Zone) -> None:
        settings = plan.services.water
        self._zone = zone
        self.channels: Sequence[int] = zone.channels
        self.step_s = max(settings.step_s, zone.period_s)
        layout = zlib.crc32(f"{zone.names} {self.step_s}".encode())
        self.name = f"water/{zone.name}/{layout:08x}"
        self._learn_h = max(72, round(settings.learn_days * 24.0))
        self._rows = max(1, round(HOUR_S / self.step_s))
        self._terms = Terms.of(zone.flows, zone.levels)
        columns, terms, pressures = len(zone.channels), len(self._terms), zone.pressures
        self.habits = Habits.new(columns)
        self.plateaus = Plateaus.new(zone.flows)
        self.unlike = np.zeros(zone.flows)
        self.faulty = np.zeros((len(KINDS), columns), bool)
        self.wrong: dict[int, Wrong] = {}
        self.leaks = Leaks.new(1 + terms + pressures)
        self.standing: dict[int, str] = {}
        self.history = History.new(terms, pressures)
        self.returned = np.zeros(pressures)
        self.absent = np.zeros(zone.drivers, bool)
        self.waited = 0
        self.learnt_h = -1  # the hour up to which the models have learnt; -1: none yet
        self.rows = np.full((self._rows, columns), np.nan)
        self.filled = 0
        self.block = -1
        self._models: dict[tuple[int, tuple[bool, ...]], Model | None] = {}

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        """f64[columns] of the step at `utc_s`. Hours in which nothing came count as missing."""
        found: list[Finding] = []
        block = int(utc_s // HOUR_S)
        if self.block >= 0 and block > self.block:
            found += self._hour(self.block * HOUR_S)
            for _ in range(min(block - self.block - 1, RECENT_H)):
                found += self._hour((block - 1) * HOUR_S)
        if block < self.block:  # the clock was set back: this hour has been judged
            return found
        self.block = block
        if self.filled < self._rows:
            sane = np.where(np.abs(values) < 1e9, values, np.nan)
            self.rows[self.filled] = sane
            self.filled += 1
        if (utc_s + self.step_s) // HOUR_S > block:
            found += self._hour(utc_s)
            self.block = block + 1
        return found

    def _hour(self, utc_s: float) -> list[Finding]:
        rows = self.rows[: self.filled] if self.filled else np.full((1, len(self.channels)), np.nan)
        before = self.faulty
        self.faulty, spiky = sensors.judge(self.habits, rows, before, self.learnt_h < 0, self._rows)
        found = self._said(utc_s, before)
        clean = np.where(spiky, np.nan, rows)
        off = self.plateaus.off(clean[:, : self._zone.flows], ~self._out()[: self._zone.flows])
        found += self._pumps(utc_s, off)
        self._push(clean)
        self.rows[:] = np.nan
        self.filled = 0
        if self.history.hour >= self._learn_h and self._zone.pressures:
            if self.learnt_h < 0 or self.history.hour - self.learnt_h >= REFIT_H:
                self.learnt_h = self.history.hour
                self._models.clear()
            found += self._together(utc_s)
        return found

    def _said(self, utc_s: float, before: Mask) -> list[Finding]:
        found = []
        for kind, column in np.argwhere(self.faulty != before).tolist():
            phase = Phase.ONSET if self.faulty[kind, column] else Phase.CLEAR
            if phase is Phase.CLEAR and column >= self._zone.drivers:
                self.returned[column - self._zone.drivers] = RETURNED_H
            if phase is Phase.ONSET:
                self._forget(column, sensors.shown_for(self.habits, KINDS[kind], column, self._rows))
            found.append(told.sensor(self._zone, utc_s, KINDS[kind], phase, column, 1, 0.0))
        return found

    def _pumps(self, utc_s: float, off: F64) -> list[Finding]:
        """Flows that a running pump does not deliver."""
        found = []
        running = np.isfinite(off)
        wrong = running & (off != 0.0)
        self.unlike = np.where(wrong, self.unlike + 1.0, np.where(running, 0.0, self.unlike))
        for flow in np.flatnonzero(running).tolist():
            fault = self.wrong.get(flow)
            if self.unlike[flow] >= UNLIKE_H and fault is None and not self.faulty[:, flow].any():
                found.append(self._begin(utc_s, flow, Fault.DRIFT, float(off[flow]), UNLIKE_H))
                self.wrong[flow].pump = True
            elif fault is not None and fault.pump:
                fault.well = 0 if wrong[flow] else fault.well + 1
        return found

    def _out(self) -> Mask:
        """bool[columns] that are not to be trusted."""
        out: Mask = np.asarray(self.faulty[:3].any(axis=0))  # spikes are taken out one by one
        out[list(self.wrong)] = True
        return out

    def _push(self, rows: F64) -> None:
        zone, out = self._zone, self._out()
        terms = average(np.array([self._terms.values(row) for row in rows[:, : zone.drivers]]))
        trusted = self._terms.without(out[: zone.drivers]), ~(out[zone.drivers :] | (self.returned > 0))
        model = self._model(out[: zone.drivers]) if self.learnt_h >= 0 else None
        shift = self.leaks.expected(model) if model is not None else np.zeros(zone.pressures)
        inflow = float(zone.inflow @ np.where(out[: zone.flows], np.nan, terms[: zone.flows]))
        self.history.push(terms, average(rows[:, zone.drivers :]), shift, inflow, trusted)

    def _model(self, absent: Mask) -> Model | None:
        key = (self.learnt_h, tuple(absent.tolist()))
        if key not in self._models:
            past = self.history
            at = past.learnt_from(self.learnt_h, self._learn_h)
            self._models[key] = fit(past.terms[at], past.pressures[at] - past.shift[at], self._terms.without(absent))
        return self._models[key]

    def _window(self, model: Model, hours: int) -> tuple[F64 | None, F64 | None]:
        """(mean residual of the last `hours` less what is no news, its covariance)."""
        found = self.history.residual(model, hours)
        if found is None:
            return None, None
        news = np.where(self.returned > 0, np.nan, found[0] - self.leaks.expected(model))
        return news, model.mean_covariance(found[1], self.leaks.unknown())

    def _together(self, utc_s: float) -> list[Finding]:
        found = self._recovered(utc_s)
        out = self._out()
        absent = out[: self._zone.drivers]
        model = self._model(absent)
        if model is None:
            return found
        if absent.tolist() != self.absent.tolist():
            if self.absent[~absent].any():
                self.leaks.begin_anew()
            self.absent = absent
        self._settle_returned(model)
        windows = [self._window(model, one.hours) for one in Leaks.WINDOWS]
        lone = self._lone(utc_s, windows)
        if lone:
            return found + lone
        rest = max((weigh(m, c)[0].rest for m, c in windows if m is not None and c is not None), default=0.0)
        if rest > QUIET:
            self.history.usable[self.history.recent(1)] = False
        if rest <= QUIET:
            self.waited = 0
        else:
            driver = self._driver(utc_s, absent)
            if driver is not None:
                return found + driver
        if self.leaks.settling > 0:
            self.history.usable[self.history.recent(1)] = False
            self.leaks.settling -= 1
            if self.leaks.settling == 0:
                shown = self.history.means(model, SETTLED_H)
                if shown is not None:
                    for change in self.leaks.settle(model, shown, SETTLED_H):
                        found.append(self._leak(utc_s, change))
                else:
                    self.leaks.settling = SETTLED_H
            return found
        if rest < QUIET and self.history.hour % REFIT_H == 0 and self.leaks.age >= REFIT_H:
            day = self.history.means(model, REFIT_H)
            if day is not None:
                self.leaks.refine(model, day, REFIT_H)
        course = self.history.course(model, RECENT_H) - self.leaks.expected(model)
        means, covariances = [m for m, _ in windows], [c for _, c in windows]
        changes = self.leaks.judge(model, means, covariances, course, self.history.falling())
        for change in changes:
            self.history.usable[self.history.recent(RECENT_H)] = False
            found.append(self._leak(utc_s, change))
        return found

    def _lone(self, utc_s: float, windows: Sequence[tuple[F64 | None, F64 | None]]) -> list[Finding]:
        """A pressure that moved alone."""
        usual, _, _ = sensors.usual_scatter(self.habits)
        for window, (mean, covariance) in zip(Leaks.WINDOWS, windows, strict=True):
            if mean is None or covariance is None:
                continue
            unusual, _ = weigh(mean, covariance)
            if unusual.sensor < 0 or unusual.alone < LONE or unusual.rest > max(QUIET, 0.1 * unusual.all):
                continue
            column = self._zone.drivers + unusual.sensor
            size = float(mean[unusual.sensor])
            scatter = usual[column] if np.isfinite(usual[column]) else 0.0
            if abs(size) < LONE_SIZE * scatter:
                continue
            kind = Fault.OFFSET if window.hours <= 6 and not self._crept(unusual.sensor, size) else Fault.DRIFT
            return [self._begin(utc_s, column, kind, size, window.hours)]
        return []

    def _crept(self, sensor: int, size: float) -> bool:
        """Whether a pressure was already on its way a day ago."""
        at = (np.arange(self.history.hour - 30, self.history.hour - 12)) % KEPT_H
        model = self._model(self._out()[: self._zone.drivers])
        if model is None or self.history.hour < 30:
            return False
        residual = model.residual(self.history.terms[at], self.history.pressures[at])
        before = average(residual)[sensor] - self.leaks.expected(model)[sensor]
        return bool(before / size > 0.25)

    def _begin(self, utc_s: float, column: int, kind: Fault, size: float, hours: int) -> Finding:
        self.wrong[column] = Wrong(kind, self.history.hour - hours, size, 0, False)
        self._forget(column, RECENT_H)
        self.leaks.held[:] = 0.0
        return told.sensor(self._zone, utc_s, kind, Phase.ONSET, column, hours, size)

    def _forget(self, column: int, hours: int) -> None:
        """The last `hours` of a column were not to be trusted."""
        at = self.history.recent(hours)
        if column >= self._zone.drivers:
            self.history.pressures[at, column - self._zone.drivers] = np.nan
        else:
            absent = np.zeros(self._zone.drivers, bool)
            absent[column] = True
            self.history.terms[np.ix_(at, ~self._terms.without(absent))] = np.nan

    def _driver(self, utc_s: float, absent: Mask) -> list[Finding] | None:
        """A flow or level without which nothing is unusual. Empty: perhaps, wait; None: none is."""
        model = self._model(absent)
        assert model is not None
        hours = 24
        mean, covariance = self._window(model, Leaks.WINDOWS[0].hours)
        if mean is not None and covariance is not None and weigh(mean, covariance)[0].rest > Leaks.WINDOWS[0].limit:
            hours = Leaks.WINDOWS[0].hours
        mean, covariance = self._window(model, hours)
        if mean is None or covariance is None:
            return None
        full = self.leaks.news(model, mean, covariance, hours)
        if full < QUIET:
            return None
        found: tuple[float, int, float] | None = None
        terms = self.history.terms[self.history.recent(hours)]
        sizes = {k: self._off(model, mean, covariance, k, terms) for k in np.flatnonzero(~absent).tolist()}
        far = sorted((k for k in sizes if abs(sizes[k]) >= DRIVER_SIZE / 2), key=lambda k: -abs(sizes[k]))
        for driver in far[:CANDIDATES]:
            size = sizes[driver]
            without = absent.copy()
            without[driver] = True
            other = self._model(without)
            if other is None:
                continue
            less, its = self._window(other, hours)
            if less is None or its is None:
                continue
            left = self.leaks.news(other, less, its, hours)
            if left < max(UNEXPLAINED, UNEXPLAINED_SHARE * full) and (found is None or left < found[0]):
                found = left, driver, size
        if found is None:
            return None
        if full >= DRIVER and abs(found[2]) >= DRIVER_SIZE:
            return [self._begin(utc_s, found[1], Fault.DRIFT, found[2] * self.history.spread(found[1]), hours)]
        self.waited += 1
        return [] if self.waited <= WAIT_H else None

    def _off(self, model: Model, mean: F64, covariance: F64, driver: int, terms: F64) -> float:
        """By how many of its usual standard deviations `driver` would have to be wrong to explain `mean`, besides known
        patterns. `terms` f64[hours, terms]."""
        middle = average(terms)[: self._zone.drivers]
        slope = np.zeros(1 + len(self._terms) + self._zone.pressures)
        slope[1 : 1 + len(self._terms)] = self._terms.slope(middle, driver)
        known = self.leaks.patterns[self.leaks.patterns.any(axis=1)]
        _, amounts = weigh(mean, covariance, model.of_means(np.vstack([slope, known])).T)
        return float(amounts[0]) / self.history.spread(driver)

    def _recovered(self, utc_s: float) -> list[Finding]:
        found = []
        for column, wrong in list(self.wrong.items()):
            pressure = column - self._zone.drivers
            absent = self._out()[: self._zone.drivers]
            if pressure < 0:
                absent[column] = False
            model = self._model(absent)
            if model is None:
                continue
            hours = 6 if pressure >= 0 else 24
            trusted = ~self._out()[self._zone.drivers :]
            if pressure >= 0:
                trusted[pressure] = True
            mean, terms = self.history.raw_residual(model, hours, trusted)
            mean = mean - self.leaks.expected(model)
            if not np.isfinite(mean).any():
                continue
            if pressure >= 0:
                usual, _, _ = sensors.usual_scatter(self.habits)
                near = max(WELL_SHARE * abs(wrong.size), 2.0 * float(np.nan_to_num(usual[column])))
                wrong.size = float(mean[pressure]) if abs(mean[pressure]) > abs(wrong.size) else wrong.size
                well = bool(abs(mean[pressure]) < near)
            else:
                known = np.isfinite(terms).all(axis=1)
                well = bool(known.any()) and (
                    abs(self._off(model, mean, model.mean_covariance(terms[known]), column, terms))
                    < max(DRIVER_SIZE / 2, WELL_SHARE * abs(wrong.size) / self.history.spread(column))
                )
            if not wrong.pump:
                wrong.well = wrong.well + 1 if well else 0
            if wrong.well >= WELL_H:
                del self.wrong[column]
                if pressure >= 0:
                    self.returned[pressure] = RETURNED_H
                stood = self.history.hour - wrong.since
                found.append(told.sensor(self._zone, utc_s, Fault(wrong.kind), Phase.CLEAR, column, stood, 0.0))
        return found

    def _settle_returned(self, model: Model) -> None:
        """A pressure that came back is compared with what it shows in its first day."""
        ending = self.returned == 1
        if ending.any():
            every = np.ones(self._zone.pressures, bool)
            mean = self.history.raw_residual(model, ANEW_H, every)[0] - self.leaks.expected(model)
            usual, _, _ = sensors.usual_scatter(self.habits)
            fresh = ending & (np.abs(mean) > usual[self._zone.drivers :])
            self.leaks.baseline[1 + len(self._terms) :][fresh] += mean[fresh]
            self.history.pressures[np.ix_(self.history.recent(RECENT_H), ending)] = np.nan
        self.returned = np.maximum(self.returned - 1.0, 0.0)

    def _leak(self, utc_s: float, change: Change) -> Finding:
        if change.begins:
            code = "water.burst_suspected" if change.abrupt else "water.leak_candidate"
            self.standing[change.pattern] = code
        else:
            code = self.standing.pop(change.pattern, "water.leak_candidate")
        return told.leak(self._zone, utc_s, change, code, self.history.rise())
