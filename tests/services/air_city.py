"""A made-up city of air stations: its plan, and its weather and air as rows of ten minutes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.services.air.network import Network, watches
from gateway.services.memory import recall, remember
from gateway.services.watch import Finding
from gateway.site.compile import load_plan
from gateway.site.plan import Plan

DAY = 144
STEP_S = 600.0
START_S = 1_704_067_200.0  # 2024-01-01
POINTS = {"pm25": "ug/m3", "pm10": "ug/m3", "humidity": "%RH", "temperature": "Cel", "no2": "ug/m3", "o3": "ug/m3"}
PM25, PM10, RH, T, NO2, O3 = range(6)
Air = NDArray[np.float64]  # [rows, stations, 6]
SITE = """schema = 1
[gateway]
id = "city"
name = { en = "The city", ko = "도시" }
timezone = "Etc/GMT-9"
profiles = ["profiles"]
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
"""
PROFILE = """schema = 1
[device]
family = "air"
vendor = "made-up"
model = "station"
name = { en = "A station" }
protocol = "modbus"
source = "none"
period_s = 600.0
[modbus]
"""


def plan_of(folder: Path, stations: int, more: str = "") -> Plan:
    """A site of `stations` stations s0, s1 ... Its TOML lies in `folder`."""
    points = [
        f'[[points]]\nname = "{role}"\nunit = "{unit}"\nrole = "{role}"\nfunction = 4\n'
        f'address = {2 * at}\ntype = "float32"'
        for at, (role, unit) in enumerate(POINTS.items())
    ]
    file = folder / "profiles" / "air" / "made-up-station.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join((PROFILE, *points)), encoding="utf-8")
    devices = [
        f'[[devices]]\nname = "s{n}"\nprofile = "air/made-up-station"\nlink = "bus"\nunit = {n + 1}'
        for n in range(stations)
    ]
    site = folder / "site.toml"
    site.write_text("\n".join((SITE, *devices, more)), encoding="utf-8")
    return load_plan(site)


def air(days: float, stations: int = 5, seed: int = 1, pm25: float = 18.0) -> Air:
    """Weather and air of some days: a daily course, habits of the stations, noise. 18 ug/m3 of PM2.5 in the mean."""
    rng = np.random.default_rng(seed)
    rows = round(days * DAY)
    hour = (np.arange(rows) / 6.0 + 9.0)[:, None] % 24.0
    wave = np.cos(2 * np.pi * (hour - 15.0) / 24.0)
    slow = np.cos(2 * np.pi * np.arange(rows) / (2.7 * DAY))[:, None]

    def noise(size: float) -> Air:
        return rng.normal(0.0, size, (rows, stations))

    def habit(size: float) -> Air:
        return rng.normal(0.0, size, (1, stations))

    fine = pm25 * np.exp(0.3 * slow + habit(0.08) + noise(0.06))
    coarse = 0.6 * pm25 * np.exp(0.2 * wave - 0.2 * slow + habit(0.08) + noise(0.06))
    humid = np.clip(60.0 - 14.0 * wave + 5.0 * slow + habit(1.0) + noise(0.8), 5.0, 100.0)
    warm = 12.0 + 5.0 * wave - 2.0 * slow + habit(0.4) + noise(0.2)
    no2 = 20.0 * np.exp(0.5 * np.cos(4 * np.pi * (hour - 8.0) / 24.0) + habit(0.1) + noise(0.08))
    o3 = np.maximum(0.0, 60.0 + 35.0 * wave + habit(3.0) + noise(3.0))
    return np.stack([fine, fine + coarse, humid, warm, no2, o3], axis=2).round(1)


def network(plan: Plan) -> Network:
    """The watch over its stations."""
    (watch,) = watches(plan)
    assert isinstance(watch, Network)
    return watch


class City:
    """A watch and what it says about rows, one every `step_s`."""

    def __init__(self, plan: Plan, stations: int = 5, step_s: float = STEP_S) -> None:
        self.watch = network(plan)
        self.step_s = step_s
        self.plan = plan
        self.stations = stations
        self.row = 0
        place = {(int(c.device[1:]), c.point): at for at, c in enumerate(plan.channels[i] for i in self.watch.channels)}
        self._columns = [place[s, role] for s in range(stations) for role in POINTS]

    def hear(self, air: Air) -> list[tuple[int, Finding]]:
        """(row since the first one heard, finding) of every row of `air`."""
        said = []
        for one in air:
            values = np.full(len(self._columns), np.nan)
            values[self._columns] = one.reshape(-1)
            said += [(self.row, finding) for finding in self.watch.row(START_S + self.row * self.step_s, values)]
            self.row += 1
        return said

    def again(self) -> City:
        """Another one that has learnt the same."""
        other = copy.copy(self)
        other.watch = network(self.plan)
        assert recall(other.watch, remember(self.watch))
        return other


def told(said: list[tuple[int, Finding]]) -> list[tuple[str, str, str]]:
    """(code, phase, subject) in order."""
    return [(finding.code, finding.phase.name, finding.subject) for _, finding in said]


def onsets(said: list[tuple[int, Finding]]) -> list[tuple[str, str]]:
    return [(code, subject) for code, phase, subject in told(said) if phase == "ONSET"]
