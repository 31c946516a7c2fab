"""What a site makes of cabinets, and the pieces that a cabinet is judged with."""

from __future__ import annotations

import csv
import json
import math
from argparse import Namespace
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from street_cabinet import FEEDERS, LATITUDE, LONGITUDE, NOON, WATTS, Street, plan_at

from benchmarks.detect import street as bench
from gateway.services.streetlight.claim import Claim
from gateway.services.streetlight.drift import Drift
from gateway.services.streetlight.lamps import Lamps
from gateway.services.streetlight.layout import layouts, stem_of
from gateway.services.streetlight.meter import EnergyCheck
from gateway.services.streetlight.schedule import PlannedWork, Schedule
from gateway.services.streetlight.sun import clear_lux, elevation_at
from gateway.site.compile import load_plan
from gateway.site.settings import DimStep, WorkPeriod
from gateway.spool.records import Phase

NODES = """schema = 1
[gateway]
id = "g"
asset = "CAB-9"
profiles = ["profiles"]
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
"""
NODE = """schema = 1
[device]
family = "streetlight"
vendor = "test"
model = "node"
name = { en = "Lamp node" }
protocol = "modbus"
source = "tests"
[modbus]
[[points]]
name = "power"
unit = "W"
role = "lamp_power"
function = 4
address = 0
type = "float32"
[[points]]
name = "level"
unit = "/100"
role = "lamp_level"
function = 4
address = 2
[[points]]
name = "lamp_failure"
role = "lamp_failure"
kind = "state"
function = 4
address = 3
"""


def device(name: str, unit: int, position: int, zone: str) -> str:
    return (
        f'[[devices]]\nname = "{name}"\nprofile = "streetlight/node"\nlink = "bus"\nunit = {unit}\ngroup = "F1"\n'
        f'zone = "{zone}"\noptions = {{ nominal_w = 75, position = {position} }}\n'
    )


def test_a_cabinet_is_a_zone_and_a_feeder_its_lamps_in_order(tmp_path: Path) -> None:
    (tmp_path / "profiles/streetlight").mkdir(parents=True)
    (tmp_path / "profiles/streetlight/node.toml").write_text(NODE)
    site = tmp_path / "site.toml"
    site.write_text(NODES + device("n1", 1, 2, "") + device("n2", 2, 1, "") + device("n3", 3, 1, "other"))
    plan = load_plan(site)
    first, other = layouts(plan)
    assert (first.name, other.name) == ("CAB-9", "other")
    [feeder] = first.feeders
    assert [first.lamps[row].name for row in feeder.lamps] == ["n2", "n1"]
    assert feeder.current is None
    assert all(lamp.nominal_w == 75 and lamp.level is not None for lamp in first.lamps)


def test_currents_belong_to_their_feeders_and_the_rest_to_the_meter(tmp_path: Path) -> None:
    plan = plan_at(tmp_path)
    [layout] = layouts(plan)
    assert layout.name == "z1"
    names = [plan.channels[index].point for index in layout.channels]
    assert [names[one.current.column] for one in layout.feeders if one.current] == ["f1_current", "f2_current"]
    assert layout.energy is not None
    assert layout.energy.rollover == 100.0
    assert [lamp.position for lamp in layout.lamps[:5]] == [1, 2, 3, 4, 5]


def test_a_lamp_with_its_own_power_is_not_judged_a_second_time_by_its_failure_bit(tmp_path: Path) -> None:
    plan = plan_at(tmp_path)
    assert list(Lamps(plan).conditions) == []


@pytest.mark.parametrize(("point", "stem"), [("lamp3_power", "lamp3"), ("power", ""), ("level", ""), ("L1_W", "L1")])
def test_a_lamp_is_named_by_what_its_points_share(point: str, stem: str) -> None:
    assert stem_of(point) == stem


def test_a_later_row_of_the_schedule_overrides_and_rows_reach_over_midnight() -> None:
    schedule = Schedule((DimStep(time(22, 30), time(5), 60), DimStep(time(0), time(4), 40)), "Asia/Seoul")
    local = {hour: datetime(2024, 6, 1, hour, 45, tzinfo=UTC).timestamp() - 9 * 3600 for hour in (21, 22, 23, 1, 4, 5)}
    assert [schedule.level(local[hour]) for hour in (21, 22, 23, 1, 4, 5)] == [100, 60, 60, 40, 60, 100]
    assert schedule.expected(local[23], 60.0, 3.0) == 60  # the photocell comes first
    assert schedule.expected(local[23], -20.0, math.nan) == 60
    assert schedule.expected(local[23], 20.0, math.nan) == 0
    assert math.isnan(schedule.expected(local[23], -1.0, math.nan))


def test_planned_work_ends_when_it_says() -> None:
    begin, end = datetime(2024, 6, 1, 9, tzinfo=UTC), datetime(2024, 6, 1, 11, tzinfo=UTC)
    work = PlannedWork((WorkPeriod(begin, end),))
    assert [work.at(begin.timestamp() + hours * 3600) for hours in (-1, 0, 1.9, 2)] == [False, True, True, False]


def test_the_sun_of_seoul() -> None:
    at = elevation_at(LATITUDE, LONGITUDE)
    assert at(NOON) == pytest.approx(46.9, abs=1.0)
    assert at(NOON + 12 * 3600) < -40
    assert math.isnan(at(1e300))


@given(st.floats(-90, 90), st.floats(0, 20))
def test_more_sun_is_more_light(elevation: float, more: float) -> None:
    assert 0 < clear_lux(elevation) <= clear_lux(elevation + more) * (1 + 1e-9)


@given(st.lists(st.tuples(st.floats(0, 600), st.sampled_from([True, False, None])), max_size=40))
def test_a_claim_speaks_in_turns(rows: list[tuple[float, bool | None]]) -> None:
    claim, now_s, said = Claim(), 0.0, []
    for passed_s, verdict in rows:
        now_s += passed_s
        phase = claim.say(now_s, verdict, 900.0, 300.0)
        if phase is not None:
            said.append(phase)
    assert said == [Phase.ONSET if at % 2 == 0 else Phase.CLEAR for at in range(len(said))]
    assert claim.standing == (len(said) % 2 == 1)


def test_the_energy_counter_may_wrap_and_be_read_seldom() -> None:
    check, kwh = EnergyCheck(), 99.3
    for row in range(200):
        kwh = (kwh + 1500 * 300 / 3.6e6) % 100
        check.row(300.0 * row, 300.0, 1500.0, round(kwh, 2), 100.0)
    assert not check.bad
    assert check.judged[0] == pytest.approx(check.judged[1], rel=0.05)
    for row in range(200, 240):
        check.row(300.0 * row, 300.0, 1500.0, round(kwh, 2), 100.0)
    assert check.bad


@given(st.lists(st.tuples(st.sampled_from([20, 50, 100]), st.floats(0.2, 3.0)), max_size=60))
def test_a_drift_begins_before_it_ends(blocks: list[tuple[int, float]]) -> None:
    drift, said = Drift(), []
    for at, (level, ratio) in enumerate(blocks):
        phase = drift.push(3600.0 * at, 3600.0, level, ratio, 0.01)
        if phase is not None:
            said.append(phase)
    assert said == [Phase.ONSET if at % 2 == 0 else Phase.CLEAR for at in range(len(said))]
    assert math.isfinite(drift.change)


def test_the_benchmark_writes_what_the_production_judge_says(tmp_path: Path) -> None:
    """A set as the hand-out's: a stolen cable at night, one alarm, and the same from a prefix."""
    street = Street(plan_at(tmp_path))
    lamps = {
        f"L{feeder[1]}{at + 1}": {"feeder": feeder, "position": at + 1, "nominal_w": WATTS[at]}
        for feeder, count in FEEDERS.items()
        for at in range(count)
    }
    points = {"voltage": "V", "current": "A", "power": "W", "energy": "kWh", "leakage": "leak_mA", "door": "door"}
    columns = [f"CAB1_{name}" for name in points.values()] + ["CAB1_photo_lux", "F1_A", "F2_A"]
    columns += [f"{lamp}_{what}" for lamp in lamps for what in ("level", "W")]
    sources = [*points, "lux", "f1_current", "f2_current"]
    sources += [f"f{lamp[1]}l{lamp[2]}_{what}" for lamp in lamps for what in ("level", "power")]
    rows = []
    for at in range(216):
        street.faults.unfed = {"f2l4", "f2l5"} if at >= 120 else set()
        row = street.values()
        rows.append([row[name] for name in sources])
        street.now_s += 300
    np.savez(
        tmp_path / "telemetry.npz",
        columns=np.array(columns),
        start=datetime.fromtimestamp(NOON, UTC).isoformat(),
        step_s=300,
        values=np.array(rows, np.float32),
    )
    meta = {
        "cabinet": "CAB1",
        "latitude": LATITUDE,
        "longitude": LONGITUDE,
        "timezone": "Asia/Seoul",
        "feeders": list(FEEDERS),
        "lamps": lamps,
        "dim_schedule": [{"from_local": 22.5, "to_local": 5.0, "level": 60}],
        "kwh_rollover": 100.0,
        "planned_work": [["2024-10-11T09:30:00Z", "2024-10-11T11:30:00Z"]],
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    figures = bench.run(Namespace(set=tmp_path, out=tmp_path / "alarms.csv", json=True))
    assert figures["prefix_unchanged"]
    with open(tmp_path / "alarms.csv", newline="", encoding="utf-8") as file:
        [alarm] = csv.DictReader(file)
    assert (alarm["kind"], alarm["subject"]) == ("cable_theft", "F2")
    assert 120 < int(alarm["idx"]) < 132
