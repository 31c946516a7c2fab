"""All air stations of a gateway judged together. In: a row of their readings every ten minutes or slower. Out: what
is wrong with a sensor, what is in the air over one station, and the ordinance levels of the city.

A value that cannot be trusted takes no part in what the others are compared with, nor in the city value. Raw values
are left as they are; what is corrected for humidity stays in here.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

import numpy as np

from gateway.services.air.city import CityValue, Level, Standing
from gateway.services.air.faults import NOISY, Diagnosis
from gateway.services.air.humidity import dried, swelling
from gateway.services.air.neighbours import Habits, Mask, Values, middle, others
from gateway.services.air.past import STATION, Fault, Past, Place, Spans
from gateway.services.air.plumes import Plume, Plumes
from gateway.services.air.quantities import HUMIDITY, PM10, PM25, QUANTITIES
from gateway.services.air.stations import Columns, columns
from gateway.services.sentence import duration
from gateway.services.watch import Finding, Row, Watch
from gateway.site.plan import Plan
from gateway.spool.records import Phase

DUST = [PM25, PM10]
LEVELS = tuple((role, level) for role in ("pm25", "pm10") for level in ("advisory", "warning"))
DOUBT = 0.5  # of the logarithm of what is corrected for humidity: so much may be left of it
ODD = 4.0  # scatters: such a humidity is not used to correct dust
SURGE = 0.7  # ln by which the city's PM10 rises within hours when stations may differ for a while
LEAST_DUST = 0.1  # ug/m3: of less no share is taken
UNUSUAL = 2.0  # scatters over six hours: such a time is not learnt from


class Network:
    """A `Watch` over the stations of `plan`."""

    LEARNT: ClassVar[tuple[str, ...]] = (
        "habits",
        "past",
        "known",
        "missing",
        "plumes",
        "standing",
        "humid",
        "pairs",
        "dry",
        "city",
        "last_s",
    )
    PARTS: ClassVar[tuple[type, ...]] = (Habits, Past, Fault, Plume, Standing)

    def __init__(self, plan: Plan, where: Columns) -> None:
        settings = plan.services.air
        self._where = where
        self._present = where.present
        self._zone = ZoneInfo(plan.timezone)
        self._place = plan.place
        self._subject = plan.gateway
        self._names = tuple(plan.channels[channel].name for channel in where.channels)
        self.channels: Sequence[int] = where.channels
        self.step_s: float = max(settings.step_s, *(plan.channels[channel].period_s for channel in where.channels))
        layout = zlib.crc32(f"{self._names} {self.step_s}".encode())
        self.name = f"air/{layout:08x}"
        self._spans = Spans.of(self.step_s)
        self._learn_rows = settings.learn_days * self._spans.day
        growth = settings.humidity_growth
        self._growth = np.array([one.options.get("humidity_growth", growth) for one in where.devices], np.float64)
        self._least = np.array([one.least_scatter for one in QUANTITIES])
        stations = len(where.devices)
        levels = tuple(
            Level(
                f"air.{role}_{level}",
                PM25 if role == "pm25" else PM10,
                getattr(settings, f"{role}_{level}"),
                getattr(settings, f"{role}_{level}_clear"),
            )
            for role, level in (LEVELS if stations > 1 else ())  # a lone station: ordinance.py
        )
        self._hold_s = settings.hold_s
        self._city = CityValue(levels, max(1, round(settings.hold_s / self.step_s)), self._spans.hour)
        self._diagnosis = Diagnosis(self._spans, self._present, where.mistakes)
        self._plumes = Plumes(self._spans)
        self.habits = Habits.new(stations, np.array([one.scatter for one in QUANTITIES]))
        self.past = Past.new(self._spans, stations, len(QUANTITIES))
        self.known: dict[Place, Fault] = {}
        self.missing: dict[Place, Fault] = {}
        self.plumes: dict[int, Plume] = {}
        self.standing = [Standing() for _ in levels]
        self.humid = np.full((max(1, self._spans.hour // 2), stations), np.nan)
        self.pairs = np.full((*self.humid.shape, 2), np.nan)
        self.dry = np.full((self._spans.hour, stations, 2), np.nan)
        self.city = np.full((self._spans.six_hours + 1, 2), np.nan)
        self.last_s = -1.0

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        """f64[columns] of the step at `utc_s`. Steps in which nothing came count as missing values."""
        found: list[Finding] = []
        if self.last_s > 0:
            lost = min(round((utc_s - self.last_s) / self.step_s) - 1, self._spans.kept)
            empty = np.full(len(self.channels), np.nan)
            for back in range(lost, 0, -1):
                found += self._row(utc_s - back * self.step_s, empty)
        self.last_s = utc_s
        return found + self._row(utc_s, values)

    def _row(self, utc_s: float, values: Row) -> list[Finding]:
        hour = self._local_hour(utc_s)
        table, habit = self._where.table(values), self.habits.of(hour)
        faulty = self._faulty()
        blown = np.zeros(len(table), bool)
        blown[[s for s, plume in self.plumes.items() if plume.kind or plume.fringe]] = True
        dry, factor = self._dried(table, habit, faulty)
        scaled = np.column_stack([one.scaled(column) for one, column in zip(QUANTITIES, dry.T, strict=True)])
        trusted = self._present & ~faulty
        trusted[:, DUST] &= ~blown[:, None]
        reference = others(scaled - habit, trusted)
        residual = scaled - habit - reference
        doubt = np.log(factor)  # in damp air the correction itself is uncertain
        rise = residual[:, DUST]
        residual[:, DUST] = rise / (1.0 + doubt)[:, None]
        base = middle(self.past.residual[-self._spans.six_hours :], 2)
        before = middle(self.past.residual[-3:, :, :2])
        self.past.push(table, residual, reference, self.habits.step, blown, self._rise() > SURGE)
        learnt = self.habits.seen >= self._learn_rows
        healthy = trusted & ~(learnt & (np.abs(base) > UNUSUAL * self.habits.scatter))
        self.habits.learn(hour, residual, healthy, self._least, float(self._spans.day), self._learn_rows)
        found = self._plumes_of(utc_s, dry, reference + habit, rise, base[:, :2], before, doubt, faulty)
        found += self._sensors(utc_s, reference + habit, faulty, learnt)
        return found + self._ordinance(utc_s, dry)

    def _local_hour(self, utc_s: float) -> float:
        there = datetime.fromtimestamp(utc_s, UTC).astimezone(self._zone)
        return there.hour + there.minute / 60.0 + there.second / 3600.0

    def _faulty(self) -> Mask:
        mask = np.zeros_like(self._present)
        for fault in self.known.values():
            mask[fault.station, fault.columns] = True
        return mask

    def _dried(self, table: Values, habit: Values, faulty: Mask) -> tuple[Values, Values]:
        """(`table` with its dust values dry, the factor by which fine dust was too high). A station whose humidity is
        missing or odd takes what its neighbours make expect."""
        self.humid[:-1] = self.humid[1:]
        self.humid[-1] = np.where(faulty[:, HUMIDITY], np.nan, table[:, HUMIDITY])
        count = np.isfinite(self.humid).sum(axis=0)
        mean = np.where(count > 0, np.nansum(self.humid, axis=0) / np.maximum(count, 1), np.nan)
        expected = middle(mean - habit[:, HUMIDITY]) + habit[:, HUMIDITY]
        near = np.abs(mean - expected) < ODD * self.habits.scatter[:, HUMIDITY]
        humidity = np.where(near, mean, expected)
        factor = swelling(humidity, self._growth)
        dust = np.where(faulty[:, DUST], np.nan, table[:, DUST])
        self.pairs[:-1] = self.pairs[1:]
        self.pairs[-1] = np.where(np.isfinite(dust[:, :1] + dust[:, 1:]), dust, np.nan)
        fine, coarse = np.nansum(self.pairs, axis=0).T
        share = np.where(coarse > LEAST_DUST, fine / np.maximum(coarse, LEAST_DUST), np.nan)
        dry = table.copy()
        dry[:, PM25], dry[:, PM10] = dried(table[:, PM25], table[:, PM10], factor, share)
        return dry, factor

    def _plumes_of(
        self,
        utc_s: float,
        dry: Values,
        scaled: Values,
        residual: Values,
        base: Values,
        before: Values,
        doubt: Values,
        faulty: Mask,
    ) -> list[Finding]:
        expected = np.column_stack([np.exp(scaled[:, k]) - QUANTITIES[k].offset for k in DUST])
        self.city[:-1] = self.city[1:]
        self.city[-1] = middle(scaled[:, :2])
        rise = self._rise()
        usable, steady = self._present & ~faulty, np.ones_like(faulty)
        for fault in self.known.values():
            if fault.kind in ("clogged", "drift"):  # it still sees what comes and goes
                usable[fault.station, fault.columns] = True
                steady[fault.station, fault.columns] = fault.kind != "drift"
        row = self.past.rows
        begun, over = self._plumes.judge(
            self.plumes,
            row,
            dry[:, :2],
            expected,
            residual,
            base,
            before,
            self.habits.scatter[:, :2],
            usable[:, :2],
            steady[:, :2],
            self._diagnosis.noise(self.past, self.habits)[0][:, :2] < NOISY,
            0.5 * rise + DOUBT * doubt,
        )
        found = [self._plume(utc_s, plume, Phase.CLEAR) for plume in over if plume not in begun]
        found += [self._plume(utc_s, plume, Phase.ONSET) for plume in begun]
        return found + [self._plume(utc_s, plume, Phase.CLEAR) for plume in over if plume in begun]

    def _rise(self) -> float:
        """ln by which the city's PM10 rose within six hours."""
        known = self.city[np.isfinite(self.city[:, PM10]), PM10]
        return float(known[-1]) - float(known.min()) if len(known) else 0.0

    def _plume(self, utc_s: float, plume: Plume, phase: Phase) -> Finding:
        device = self._where.devices[plume.station]
        rows = max(1, plume.rows)
        numbers: dict[str, float | str] = {
            "pm10": float(plume.coarse) / rows,
            "pm25": float(plume.fine) / max(1, plume.fines),
            "hours": duration(rows * self.step_s),
        }
        return Finding(
            f"air.{plume.kind}",
            phase,
            device.name,
            device.place,
            self._then(utc_s, plume.first),
            float(plume.strength),
            numbers,
            self._evidence(plume.station, DUST),
        )

    def _sensors(self, utc_s: float, expected: Values, faulty: Mask, learnt: Mask) -> list[Finding]:
        past, found = self.past, []
        begun, over = self._diagnosis.dropouts(past, self.missing)
        if past.rows % self._spans.hour == 0:
            for place, fault in list(self.known.items()):
                if self._diagnosis.well(past, self.habits, fault):
                    over.append(self.known.pop(place))
                    self._diagnosis.forget(past, fault)
        fresh = self._diagnosis.faults(past, self.habits, expected, faulty, learnt)
        for fault in fresh:
            self.known[fault.station, fault.quantity] = fault
        found += [self._fault(utc_s, fault, Phase.CLEAR) for fault in over]
        return found + [self._fault(utc_s, fault, Phase.ONSET) for fault in begun + fresh]

    def _fault(self, utc_s: float, fault: Fault, phase: Phase) -> Finding:
        device = self._where.devices[fault.station]
        evidence = self._evidence(fault.station, fault.columns)
        whole = fault.quantity == STATION
        subject = device.name if whole else self._names[evidence[0]]
        log = not whole and QUANTITIES[fault.quantity].log
        numbers: dict[str, float | str] = {
            "hours": duration((self.past.rows - fault.first) * self.step_s),
            "size": abs(fault.size),
            "value": fault.size,
            "percent": 100.0 * float(np.exp(fault.size)) if fault.kind == "clogged" else 0.0,
            "shift": f"{100.0 * np.expm1(min(fault.size, 7.0)):+.0f} %" if log else f"{fault.size:+.1f}",
            "unit": fault.unit,
        }
        return Finding(
            f"air.{fault.kind}", phase, subject, device.place, self._then(utc_s, fault.first), 1.0, numbers, evidence
        )

    def _ordinance(self, utc_s: float, dry: Values) -> list[Finding]:
        self.dry[:-1] = self.dry[1:]
        self.dry[-1] = dry[:, :2]
        value = self._city.value(self.dry, (self._present & ~self._faulty())[:, :2])
        return [
            self._level(utc_s, self._city.levels[index], reached, first, value)
            for index, reached, first in self._city.judge(self.standing, self.past.rows, value)
        ]

    def _level(self, utc_s: float, level: Level, reached: bool, first: int, value: Values) -> Finding:
        numbers: dict[str, float | str] = {
            "value": float(value[level.column]),
            "limit": level.limit,
            "hours": duration(self._hold_s),
        }
        phase = Phase.ONSET if reached else Phase.CLEAR
        columns = np.flatnonzero(self._where.quantity == level.column)
        since_s = self._then(utc_s, first)
        return Finding(level.code, phase, self._subject, self._place, since_s, 1.0, numbers, tuple(columns.tolist()))

    def _then(self, utc_s: float, row: int) -> float:
        return utc_s - max(0, self.past.rows - row) * self.step_s

    def _evidence(self, station: int, quantities: Sequence[int]) -> tuple[int, ...]:
        return tuple(self._where.column(station, k) for k in quantities if self._present[station, k])


def watches(plan: Plan) -> Sequence[Watch]:
    """One watch over all stations; none without any."""
    where = columns(plan)
    return (Network(plan, where),) if where.devices else ()
