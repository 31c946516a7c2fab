"""A street cabinet for tests: two feeders of five lamps under a real sun, driven row by row. Everything in it works
until a test breaks it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from gateway.services.streetlight.cabinet import Cabinet, cabinets
from gateway.services.streetlight.sun import clear_lux, elevation_at
from gateway.services.watch import Finding
from gateway.site.compile import load_plan
from gateway.site.plan import Plan

LATITUDE, LONGITUDE = 37.5, 127.0
NOON = datetime(2024, 10, 5, 3, 0, tzinfo=UTC).timestamp()  # local noon
FEEDERS = {"F1": 5, "F2": 5}
WATTS = (75.0, 52.0, 36.0, 75.0, 52.0)
POINTS = (
    ("voltage", "V", "voltage", "gauge"),
    ("current", "A", "current", "gauge"),
    ("power", "W", "power", "gauge"),
    ("energy", "kWh", "energy", "counter"),
    ("leakage", "mA", "leakage", "gauge"),
    ("door", "", "door", "state"),
    ("lux", "lx", "illuminance", "gauge"),
    ("f1_current", "A", "current", "gauge"),
    ("f2_current", "A", "current", "gauge"),
)


def plan_at(
    folder: Path, *, step_s: float = 300.0, latitude: float = LATITUDE, services: str = "", levels: bool = True
) -> Plan:
    """A site with one cabinet `z1` and its profile, compiled."""
    points = list(POINTS)
    site = ['points.f1_current = { group = "F1" }', 'points.f2_current = { group = "F2" }']
    for feeder, count in FEEDERS.items():
        for at in range(count):
            name = f"{feeder.lower()}l{at + 1}"
            points.append((f"{name}_power", "W", "lamp_power", "gauge"))
            if levels:
                points.append((f"{name}_level", "/100", "lamp_level", "state"))
            options = f"{{ nominal_w = {WATTS[at]}, position = {at + 1} }}"
            site.append(f'points.{name}_power = {{ group = "{feeder}", options = {options} }}')
    tables = []
    for row, (name, unit, role, kind) in enumerate(points):
        extra = "rollover = 100.0\n" if role == "energy" else ""
        tables.append(
            f'[[points]]\nname = "{name}"\nunit = "{unit}"\nrole = "{role}"\nkind = "{kind}"\n{extra}'
            f'function = 4\naddress = {2 * row}\ntype = "float32"\n'
        )
    profile = folder / "profiles" / "streetlight" / "test-cabinet.toml"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text(
        'schema = 1\n[device]\nfamily = "streetlight"\nvendor = "test"\nmodel = "cabinet"\n'
        f'name = {{ en = "Cabinet" }}\nprotocol = "modbus"\nsource = "tests"\nperiod_s = {step_s}\n[modbus]\n'
        + "".join(tables),
        encoding="utf-8",
    )
    file = folder / "site.toml"
    file.write_text(
        f'schema = 1\n[gateway]\nid = "g"\nzone = "z1"\nlatitude = {latitude}\nlongitude = {LONGITUDE}\n'
        'timezone = "Asia/Seoul"\nprofiles = ["profiles"]\n[[links]]\nname = "bus"\nurl = "tcp://127.0.0.1:502"\n'
        '[[devices]]\nname = "c"\nprofile = "streetlight/test-cabinet"\nlink = "bus"\nunit = 1\n'
        + "\n".join(site)
        + "\n[services.streetlight]\n"
        + services,
        encoding="utf-8",
    )
    return load_plan(file)


def all_lamps() -> list[str]:
    return [f"{feeder.lower()}l{at + 1}" for feeder, count in FEEDERS.items() for at in range(count)]


@dataclass
class Faults:
    """What is wrong at the moment. Names are lamps (`f1l3`)."""

    dark: set[str] = field(default_factory=set)
    burning: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)  # out of reach
    unfed: set[str] = field(default_factory=set)  # without supply, hence silent
    gain: dict[str, float] = field(default_factory=dict)
    level: float | None = None
    door: float = 0.0
    leak_ma: float = 0.0
    lux: float | None = None
    shade: float = 1.0
    volts: float = 231.0
    metered: float = 1.0  # what the meter shows of the power
    counted: float = 1.0  # what the counter counts of what the meter shows
    absent: bool = False  # nothing at all answers
    missing: set[str] = field(default_factory=set)  # points that do not answer


class Street:
    """The cabinet in time. `run` gives what it said as (kind, phase, subject)."""

    def __init__(self, plan: Plan, *, latitude: float = LATITUDE, start_s: float = NOON, seed: int = 1) -> None:
        self.plan = plan
        [watch] = cabinets(plan)
        self.watch: Cabinet = watch
        self.now_s = start_s
        self.faults = Faults()
        self.findings: list[Finding] = []
        self._names = [plan.channels[index].point for index in watch.channels]
        self._sun = elevation_at(latitude, LONGITUDE)
        self._noise = np.random.default_rng(seed)
        self._kwh = 99.5
        self._fed_before: set[str] = set()

    def commanded(self) -> float:
        if self.faults.level is not None:
            return self.faults.level
        if clear_lux(self._sun(self.now_s)) * 0.6 > 50:
            return 0.0
        hour = (self.now_s / 3600 + 9) % 24
        return 50.0 if hour >= 23 or hour < 5 else 100.0

    def values(self) -> dict[str, float]:
        bad, level = self.faults, self.commanded()
        lux = min(2000.0, clear_lux(self._sun(self.now_s)) * 0.6 * bad.shade + 0.2) if bad.lux is None else bad.lux
        row = {
            "voltage": bad.volts + self._noise.normal(0, 0.5),
            "leakage": round(6.0 + bad.leak_ma + self._noise.normal(0, 0.5)),
            "door": bad.door,
            "lux": lux,
        }
        drawn_w = 24.0
        for feeder, count in FEEDERS.items():
            amps = 0.0
            for at in range(count):
                name = f"{feeder.lower()}l{at + 1}"
                lit = (level > 0 or name in bad.burning) and name not in bad.dark
                watts = WATTS[at] * bad.gain.get(name, 1.0) * (level or 100.0) / 100 if lit else 0.45
                watts = 0.0 if name in bad.unfed else watts
                drawn_w += watts
                amps += watts / (0.95 if level > 0 or name in bad.burning else 0.6) / row["voltage"]
                shown = round(watts * 2) / 2 if watts > 2 else round(watts, 1)
                gone = name in bad.silent or name in self._fed_before & bad.unfed
                row[f"{name}_power"] = math.nan if gone else shown
                row[f"{name}_level"] = level
            row[f"{feeder.lower()}_current"] = round(abs(amps + self._noise.normal(0, 0.005)), 2)
        self._fed_before = set(bad.unfed)
        shown_w = drawn_w * bad.metered
        self._kwh = (self._kwh + shown_w * bad.counted * self.watch.step_s / 3.6e6) % 100.0
        row |= {"power": round(shown_w), "current": shown_w / 0.95 / row["voltage"], "energy": round(self._kwh, 2)}
        for name in bad.missing:
            row[name] = math.nan
        return row

    def step(self) -> Sequence[Finding]:
        row = self.values()
        found: Sequence[Finding] = ()
        if not self.faults.absent:
            found = self.watch.row(self.now_s, np.array([row[name] for name in self._names]))
        self.now_s += self.watch.step_s
        self.findings += found
        return found

    def run(self, hours: float) -> list[tuple[str, str, str]]:
        said = []
        for _ in range(round(hours * 3600 / self.watch.step_s)):
            said += [(one.code.removeprefix("streetlight."), one.phase.name, one.subject) for one in self.step()]
        return said

    def until_night(self) -> list[tuple[str, str, str]]:
        """To two hours after the lamps went on."""
        said = []
        while self.commanded() <= 0:
            said += self.run(self.watch.step_s / 3600)
        return said + self.run(2)

    def until_day(self) -> list[tuple[str, str, str]]:
        """To two hours after they went off."""
        said = []
        while self.commanded() > 0:
            said += self.run(self.watch.step_s / 3600)
        return said + self.run(2)
