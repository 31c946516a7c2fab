"""A cabinet as a watch: its meter, instruments, feeders and lamps, row by row. In: rows of one cabinet. Out: findings.

Feeders are judged before their lamps, and hold them back: what concerns a feeder is one alarm. Announced work silences
the door, feeders and lamps; what is still wrong when it is over counts from its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from gateway.services.streetlight import feeder, lamp, meter, photocell
from gateway.services.streetlight.claim import Claim
from gateway.services.streetlight.feeder import CURRENT_NOISE_A, FeederState
from gateway.services.streetlight.lamp import LampState
from gateway.services.streetlight.layout import Feeder, Lamp, Layout, Signal, layouts
from gateway.services.streetlight.meter import MeterState
from gateway.services.streetlight.photocell import SATURATED_LUX, PhotocellState, limits
from gateway.services.streetlight.schedule import PlannedWork, Schedule
from gateway.services.streetlight.sun import clear_lux, elevation_at
from gateway.services.watch import Finding, Row
from gateway.site.plan import Place, Plan
from gateway.spool.records import Phase

STEP_S = 60.0
MAINS_V = 230.0
LEAK_BASE = 2.0  # times the dry leakage, on top of the limit: long feeders leak more
DRY_FALL, DRY_RISE = 0.02, 0.0002  # a row's weight in the dry leakage: rain must not teach it
OUT_STEPS = 2  # a lamp seen dark twice may have been lit between
CLOSED_S = 60.0
DRY_S = 1800.0
ABSURD = 1e9  # in any unit of a cabinet; a float that was read askew
PAUSE_S = 6 * 3600.0  # claims do not outlive so long without any row


class Cabinet:
    """One cabinet of the site."""

    LEARNT: ClassVar[tuple[str, ...]] = (
        "lamps", "feeders", "meter", "photocell", "door", "leakage", "dry_ma", "volts", "last_s",
    )  # fmt: skip
    PARTS: ClassVar[tuple[type, ...]] = (*lamp.PARTS, *feeder.PARTS, *meter.PARTS, *photocell.PARTS)

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self._layout = layout
        self._settings = plan.services.streetlight
        self._schedule = Schedule(self._settings.dim_schedule, plan.timezone)
        self._work = PlannedWork(self._settings.planned_work)
        place = layout.place
        known = place.latitude is not None and place.longitude is not None
        self._sun = elevation_at(place.latitude or 0.0, place.longitude or 0.0) if known else None
        self.step_s = max(STEP_S, layout.period_s)
        self.lamps = {one.name: LampState() for one in layout.lamps}
        self.feeders = {one.name: FeederState() for one in layout.feeders}
        self.meter = MeterState()
        self.photocell = PhotocellState()
        self.door = Claim()
        self.leakage = Claim()
        self.dry_ma: float | None = None
        self.volts = MAINS_V
        self.last_s = -math.inf
        self._derived = _derived(plan, layout)

    @property
    def name(self) -> str:
        return f"streetlight/{self._layout.name}"

    @property
    def channels(self) -> Sequence[int]:
        return self._layout.channels

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        since_last_s = utc_s - self.last_s
        if not math.isfinite(utc_s) or -PAUSE_S < since_last_s <= 0 or not _any_heard(values):
            return ()
        if abs(since_last_s) > PAUSE_S:  # backwards, too: the clock had run astray
            self._forget()
        passed_s = min(since_last_s, 2 * self.step_s) if since_last_s > 0 else self.step_s
        self.last_s = utc_s
        work = self._work.at(utc_s)
        elevation = self._sun(utc_s) if self._sun else math.nan
        volts = _read(self._layout.voltage, values)
        if 50 < volts < 1000:
            self.volts = volts
        found = [
            *self._photocell(utc_s, passed_s, values, elevation),
            *self._door(utc_s, values, work),
            *self._leakage(utc_s, values),
        ]
        expected = self._expected(utc_s, elevation, values)
        for one in self._layout.lamps:
            level = _read(one.level, values) if one.level else expected
            self._lamp_state(one).observe(one, utc_s, passed_s, level, _read(one.power, values))
        total_va = 0.0
        for feeder_facts in self._layout.feeders:
            va = _read(feeder_facts.current, values) * self.volts
            total_va += va
            found += self._feeder(feeder_facts, utc_s, va, work)
        for one in self._layout.lamps:
            found += self._lamp(one, utc_s, passed_s, self.feeders.get(one.feeder), work)
        found += self._meter(utc_s, passed_s, values, total_va)
        return found

    def _lamp_state(self, facts: Lamp) -> LampState:
        """What was learnt before may know less, or other, lamps than the site."""
        state = self.lamps.get(facts.name)
        if state is None:
            state = self.lamps[facts.name] = LampState()
        return state

    def _forget(self) -> None:
        claims = [self.door, self.leakage]
        claims += [claim for fed in self.feeders.values() for claim in (fed.outage, fed.theft, fed.stuck)]
        claims += [claim for one in self.lamps.values() for claim in (one.out, one.burner)]
        for claim in claims:
            claim.forget()

    def _expected(self, utc_s: float, elevation: float, values: Row) -> float:
        """Level of lamps that do not tell theirs."""
        if all(one.level for one in self._layout.lamps):
            return math.nan
        lux = _read(self._layout.lux, values) if self.photocell.trusted else math.nan
        return self._schedule.expected(utc_s, elevation, lux)

    def _photocell(self, now_s: float, passed_s: float, values: Row, elevation: float) -> list[Finding]:
        signal = self._layout.lux
        lux = _read(signal, values)
        saturated = signal.high if signal and math.isfinite(signal.high) else SATURATED_LUX
        phase = self.photocell.row(passed_s, elevation, lux, min(saturated, SATURATED_LUX))
        if phase is None:
            return []
        least, most = limits(clear_lux(elevation), saturated)
        numbers = {"lux": lux, "least": least, "most": most, "elevation": elevation}
        since_s = now_s - max(self.photocell.day.bad_s, self.photocell.night.bad_s)
        return [self._own("photocell_fault", phase, since_s, numbers, (signal,))]

    def _door(self, now_s: float, values: Row, work: bool) -> list[Finding]:
        position = _read(self._layout.door, values)
        if work and not self.door.standing:
            self.door.forget()
            return []
        since_s = self.door.began_s(now_s)
        verdict = None if math.isnan(position) else position > 0.5
        phase = self.door.say(now_s, verdict, self._settings.door_hold_s, CLOSED_S)
        if phase is None:
            return []
        return [self._own("door_open", phase, since_s, {"minutes": (now_s - since_s) / 60}, (self._layout.door,))]

    def _leakage(self, now_s: float, values: Row) -> list[Finding]:
        leak_ma = _read(self._layout.leakage, values)
        if math.isnan(leak_ma):
            return []
        if self.dry_ma is None:
            self.dry_ma = min(leak_ma, self._settings.leakage_ma / 4)
        limit_ma = self._settings.leakage_ma + LEAK_BASE * self.dry_ma
        above = leak_ma > limit_ma
        if not above:
            pace = DRY_FALL if leak_ma < self.dry_ma else DRY_RISE
            self.dry_ma += pace * (leak_ma - self.dry_ma)
        since_s = self.leakage.began_s(now_s)
        phase = self.leakage.say(now_s, above, self._settings.leakage_hold_s, DRY_S)
        if phase is None:
            return []
        numbers = {"leak_ma": leak_ma, "limit_ma": limit_ma, "minutes": (now_s - since_s) / 60}
        return [self._own("earth_leakage", phase, since_s, numbers, (self._layout.leakage,))]

    def _meter(self, now_s: float, passed_s: float, values: Row, total_va: float) -> list[Finding]:
        facts, check = self._layout, self.meter
        watts, kwh = _read(facts.power, values), _read(facts.energy, values)
        if facts.energy:
            check.energy.row(now_s, self.step_s, watts, kwh, facts.energy.rollover)
        level = sum(one.level for one in self.lamps.values() if one.level > 0) / max(1, len(self.lamps))
        if facts.feeders and math.isfinite(watts) and math.isfinite(total_va):
            check.power.row(passed_s, watts, total_va, level)
        phase = check.judge()
        if phase is None:
            return []
        counted, drawn = check.energy.judged
        evidence = f"{counted:.2f} kWh / {drawn:.2f} kWh"
        if not check.energy.bad and math.isfinite(watts) and math.isfinite(total_va):
            evidence = f"{watts:.0f} W / {sum(check.power.span(total_va, level)) / 2:.0f} W"
        since_s = now_s - check.power.bad_s if not check.energy.bad else now_s
        return [self._own("meter_fault", phase, since_s, {"evidence": evidence}, (facts.power, facts.energy))]

    def _feeder(self, facts: Feeder, now_s: float, va: float, work: bool) -> list[Finding]:
        fed = self.feeders.get(facts.name)
        if fed is None:
            fed = self.feeders[facts.name] = FeederState()
        lamps = [self._layout.lamps[row] for row in facts.lamps]
        states = [self._lamp_state(one) for one in lamps]
        noise_a = max(CURRENT_NOISE_A, facts.current.resolution if facts.current else 0.0)
        began = fed.outage.began_s(now_s), fed.theft.began_s(now_s), fed.stuck.began_s(now_s)
        stuck = fed.contactor(now_s, states, work)
        outage, theft = fed.supply(now_s, lamps, states, va, noise_a * self.volts, work)
        fed.learn(states, va)
        numbers: dict[str, float | str] = {
            "failed": len(fed.cut) or sum(one.silent_rows > 0 for one in states),
            "lamps": len(states),
            "evidence": f"{va / self.volts:.2f} A" if math.isfinite(va) else "- A",
            "lit": sum(one.light > 0 for one in states),
            "commanded": sum(one.level > 0 for one in states),
        }
        columns = _columns((facts.current, *(one.power for one in lamps[:2])))
        phases = zip(("group_outage", "cable_theft", "contactor_stuck"), (outage, theft, stuck), began, strict=True)
        return [
            _finding(kind, phase, facts.name, facts.place, since_s, numbers, columns)
            for kind, phase, since_s in phases
            if phase is not None
        ]

    def _lamp(self, facts: Lamp, now_s: float, passed_s: float, fed: FeederState | None, work: bool) -> list[Finding]:
        one = self._lamp_state(facts)
        unfed = fed is not None and (fed.outage.standing or (fed.theft.standing and one.silent_rows > 0))
        stuck = fed is not None and fed.stuck.standing
        dark = work or unfed or stuck or (fed is not None and fed.dark)
        lit = work or stuck or (fed is not None and fed.lit)
        hold_s = max(self._settings.dark_hold_s, OUT_STEPS * self.step_s)
        out_s, burner_s = one.out.began_s(now_s), one.burner.began_s(now_s)
        phases = (
            ("lamp_out", one.judge_out(now_s, hold_s, dark), out_s),
            ("day_burner", one.judge_burner(now_s, lit), burner_s),
            ("cycling", one.judge_cycling(now_s, passed_s, dark), min([*one.restarts, now_s])),
            ("power_drift", one.judge_drift(facts, now_s, passed_s), one.drift.off_since_s or now_s),
        )
        one.count(passed_s)
        columns = _columns((facts.power, facts.level))
        return [
            _finding(kind, phase, facts.name, facts.place, since_s, _told(facts, one), columns)
            for kind, phase, since_s in phases
            if phase is not None
        ]

    def derived(self) -> Sequence[tuple[int, float]]:
        """Burning hours and Wh of the lamps whose profile asks for them, since each was first seen."""
        told: list[tuple[int, float]] = []
        for channel, what, name in self._derived:
            if name in self.lamps:
                one = self.lamps[name]
                told.append((channel, one.burnt_s / 3600 if what == "burn_hours" else one.energy_wh))
        return told

    def _own(
        self,
        kind: str,
        phase: Phase,
        since_s: float,
        numbers: Mapping[str, float | str],
        signals: Sequence[Signal | None],
    ) -> Finding:
        return _finding(kind, phase, self._layout.name, self._layout.place, since_s, numbers, _columns(signals))


def _derived(plan: Plan, layout: Layout) -> list[tuple[int, str, str]]:
    """(channel, what, lamp) of the derived points that count what a lamp of this cabinet has done."""
    lamp_of = {layout.channels[one.power.column]: one.name for one in layout.lamps}
    rows = {channel.name: channel.index for channel in plan.channels}
    return [
        (channel.index, channel.derived, lamp_of[power])
        for channel in plan.channels
        if channel.derived in ("burn_hours", "energy")
        and (power := rows.get(f"{channel.device}.{channel.source[0]}")) in lamp_of
    ]


def cabinets(plan: Plan) -> Sequence[Cabinet]:
    return [Cabinet(plan, layout) for layout in layouts(plan)]


def _finding(
    kind: str,
    phase: Phase,
    subject: str,
    place: Place,
    since_s: float,
    numbers: Mapping[str, float | str],
    columns: tuple[int, ...],
) -> Finding:
    return Finding(f"streetlight.{kind}", phase, subject, place, since_s, 1.0, numbers, columns)


def _told(facts: Lamp, one: LampState) -> dict[str, float | str]:
    expected = one.expected_w(facts, one.level)
    burnt_h = one.burnt_s / 3600
    return {
        "evidence": f"{one.watts:.1f} W / {expected:.1f} W @ {one.level:.0f} %, {burnt_h:.0f} h",
        "watts": one.watts,
        "level": one.level,
        "restarts": len(one.restarts),
        "change": 100 * one.drift.change,
        "burnt_h": burnt_h,
    }


def _columns(signals: Sequence[Signal | None]) -> tuple[int, ...]:
    return tuple(one.column for one in signals if one is not None)


def _read(signal: Signal | None, values: Row) -> float:
    """NaN where there is no such signal, or nothing came that a cabinet can show."""
    if signal is None:
        return math.nan
    value = float(values[signal.column]) * signal.scale
    return value if abs(value) < ABSURD else math.nan


def _any_heard(values: Row) -> bool:
    return any(math.isfinite(value) for value in values.tolist())
