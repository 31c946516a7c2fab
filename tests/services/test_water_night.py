"""A zone with one flow: its nights, and water that flows backwards."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.detect.feed import compiled
from gateway.services.memory import recall, remember
from gateway.services.water import watches
from gateway.services.water.night import NightWatch
from gateway.site.plan import Plan
from gateway.spool.records import Phase

STEP_S = 600.0
DAY = int(86400 / STEP_S)
MIDNIGHT_S = 1_700_006_400.0 - 9 * 3600.0  # in Seoul
PROFILE = """schema = 1
[device]
family = "water"
vendor = "test"
model = "meter"
name = { en = "A meter" }
protocol = "modbus"
source = "none"
period_s = 600.0
[modbus]
[[points]]
name = "flow"
role = "flow"
unit = "m3/h"
function = 4
address = 0
type = "float32"
range = [-100.0, 100.0]
"""
SITE = """schema = 1
[gateway]
id = "test"
zone = "west"
profiles = ["profiles"]
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
[[devices]]
name = "m"
profile = "water/test-meter"
link = "bus"
unit = 1
"""


def meter() -> Plan:
    return compiled(SITE, {"water/test-meter": PROFILE})


def told(watch: NightWatch, flow: list[float], start: int = 0) -> list[tuple[str, str, int]]:
    return [
        (one.code, one.phase.name, (start + at) // DAY)
        for at, value in enumerate(flow)
        for one in watch.row(MIDNIGHT_S + (start + at) * STEP_S, np.array([value]))
    ]


def flows(days: int, first_leaking: int, leak: float) -> list[float]:
    rng = np.random.default_rng(1)
    hours = 24.0 * (np.arange(days * DAY) % DAY) / DAY
    demand = 10.0 + 8.0 * np.sin((hours - 9.0) * math.pi / 12.0) + rng.normal(0.0, 0.3, len(hours))
    demand[first_leaking * DAY :] += leak
    return [float(one) for one in demand]


def night(plan: Plan) -> NightWatch:
    watch = watches(plan)[0]
    assert isinstance(watch, NightWatch)
    return watch


def test_ordinary_nights_say_nothing() -> None:
    assert told(night(meter()), flows(40, 40, 0.0)) == []


def test_a_leak_shows_within_nights_and_once_and_its_repair() -> None:
    flow = flows(20, 12, 1.5) + flows(6, 6, 0.0)
    found = told(night(meter()), flow)
    assert [one[:2] for one in found] == [("water.night_flow", "ONSET"), ("water.night_flow", "CLEAR")]
    assert 12 <= found[0][2] <= 15
    assert found[1][2] >= 20


def test_a_stuck_meter_is_named_and_its_nights_are_not_judged() -> None:
    flow = flows(20, 20, 0.0)
    stuck_at = 12 * DAY + 40
    flow[stuck_at : stuck_at + 4 * DAY] = [flow[stuck_at]] * 4 * DAY
    found = told(night(meter()), flow)
    assert found == [("water.sensor_stuck", "ONSET", 12), ("water.sensor_stuck", "CLEAR", 16)]


def test_a_meter_that_throws_spikes_is_named() -> None:
    flow = flows(20, 20, 0.0)
    for at in (20, 50, 90, 130):
        flow[12 * DAY + at] += 60.0
    assert ("water.sensor_spikes", "ONSET", 12) in told(night(meter()), flow)


def test_backflow_is_told_while_it_lasts() -> None:
    flow = flows(1, 1, 0.0)
    flow[100:110] = [-5.0] * 10
    found = told(night(meter()), flow)
    assert [one[:2] for one in found] == [("water.backflow", "ONSET"), ("water.backflow", "CLEAR")]


def test_what_was_learnt_goes_on_after_a_restart() -> None:
    plan, flow = meter(), flows(20, 12, 1.5)
    first, second = night(plan), night(plan)
    assert told(first, flow[: 9 * DAY]) == []
    assert recall(second, remember(first))
    assert told(second, flow[9 * DAY :], 9 * DAY) == told(night(plan), flow)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=300))
def test_odd_flows_are_survived(odd: list[float]) -> None:
    watch = night(meter())
    told(watch, odd)
    assert math.isfinite(watch.total)
    assert not np.isinf(watch.nights).any()
    assert all(phase in {Phase.ONSET.name, Phase.CLEAR.name} for _, phase, _ in told(watch, flows(2, 2, 0.0)))
