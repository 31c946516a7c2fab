"""Derived indices of a station: hourly, and only when what they need is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateway.field.judge import Judge
from gateway.services.air.index import cai
from gateway.site.compile import load_plan
from gateway.site.plan import Plan
from protocols.api import Batch

S = 1_000_000_000
GASES = ("no2", "o3")
PROFILE = """
schema = 1
[device]
family = "air"
vendor = "test"
model = "station"
name = { en = "Station", ko = "측정소" }
protocol = "modbus"
source = "made for this test"
period_s = 600
"""
POINT = """
[[points]]
name = "{role}"
unit = "{unit}"
role = "{role}"
function = 3
address = {address}
type = "float32"
"""
DERIVED = """
[[points]]
name = "{what}"
derived = {{ what = "{what}", from = {source} }}
"""
SITE = """
schema = 1
[gateway]
id = "air"
profiles = ["profiles"]
[[links]]
name = "l"
url = "tcp://127.0.0.1:502"
[[devices]]
name = "s"
profile = "air/test-station"
link = "l"
unit = 1
"""


@pytest.fixture
def station(tmp_path: Path) -> Callable[[tuple[str, ...]], Plan]:
    def make(roles: tuple[str, ...]) -> Plan:
        points = [
            POINT.format(role=role, unit="ppb" if role in GASES else "ug/m3", address=2 * i)
            for i, role in enumerate(roles)
        ]
        source = "[" + ", ".join(f'"{role}"' for role in roles) + "]"
        path = tmp_path / "profiles" / "air" / "test-station.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            PROFILE + "".join(points) + "".join(DERIVED.format(what=w, source=source) for w in ("cai", "aqi"))
        )
        (tmp_path / "site.toml").write_text(SITE)
        return load_plan(tmp_path / "site.toml")

    return make


def after(plan: Plan, hours: int, values: dict[str, float]) -> dict[str, list[float]]:
    """Everything that was derived, by name, when `values` stay for so many hours."""
    judge = Judge(plan, 0, 0, [])
    rows = {c.point: c.index for c in plan.channels if not c.derived}
    channel = np.array([rows[name] for name in values], np.int32)
    told: dict[str, list[float]] = {"cai": [], "aqi": []}
    for step in range(hours * 6 + 1):
        times = np.full(len(channel), step * 600 * S, np.int64)
        quality = np.zeros(len(channel), np.uint8)
        for index, _, value in judge.push(Batch(channel, times, np.array(list(values.values())), quality)).derived:
            told[plan.channels[index].point].append(value)
    return told


def test_cai_needs_all_four_pollutants(station: Callable[[tuple[str, ...]], Plan]) -> None:
    told = after(station(("pm25", "pm10", "no2", "o3")), 12, {"pm25": 40.0, "pm10": 60.0, "no2": 30.0, "o3": 40.0})
    assert set(told["cai"]) == {cai({"pm25": 40.0, "pm10": 60.0, "no2": 0.03, "o3": 0.04})}
    assert len(told["cai"]) == 12 - 9 + 1  # three quarters of twelve hours must be there
    told = after(station(("pm25", "pm10")), 24, {"pm25": 40.0, "pm10": 60.0})
    assert told["cai"] == []
    assert told["aqi"][-1] == 112.0  # EPA 2024: 40.0 ug/m3 lies between 35.5 (101) and 55.4 (150)
