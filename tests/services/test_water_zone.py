"""A small water network, linear but for noise: what its zone watch says of leaks, of sensors, and of neither."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.detect.feed import compiled
from gateway.services.memory import recall, remember
from gateway.services.sentence import say
from gateway.services.watch import Finding
from gateway.services.water import watches
from gateway.services.water.night import NightWatch
from gateway.services.water.residual import Terms, fit, weigh
from gateway.services.water.zone import ZoneWatch
from gateway.services.words import WORDS
from gateway.site.plan import Plan
from gateway.spool.records import Phase

F64 = NDArray[np.float64]
STEP_S = 600.0
DAY = int(86400 / STEP_S)
SENSORS = 8
START_S = 1_700_006_400.0
MIXES = np.random.default_rng(3).uniform(0.2, 1.0, (SENSORS, 2))
PLACE = np.random.default_rng(4).normal(0.0, 1.0, SENSORS)
PROFILE = """schema = 1
[device]
family = "water"
vendor = "test"
model = "zone"
name = { en = "A zone" }
protocol = "modbus"
source = "none"
period_s = 600.0
[modbus]
"""
SITE = """schema = 1
[gateway]
id = "test"
zone = "east"
profiles = ["profiles"]
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
[[devices]]
name = "z"
profile = "water/test-zone"
link = "bus"
unit = 1
"""


def zone_plan(flows: int = 2, pressures: int = SENSORS) -> Plan:
    names = [(f"q{k}", "flow", "m3/h") for k in range(flows)] + [(f"p{k}", "pressure", "m") for k in range(pressures)]
    points = [
        f'[[points]]\nname = "{name}"\nrole = "{role}"\nunit = "{unit}"\nfunction = 4\naddress = {2 * k}\n'
        'type = "float32"'
        for k, (name, role, unit) in enumerate(names)
    ]
    return compiled(SITE, {"water/test-zone": "\n".join((PROFILE, *points))})


@pytest.fixture(scope="module")
def plan() -> Plan:
    return zone_plan()


def network(days: int, leak: Callable[[int], float] = lambda _: 0.0, seed: int = 1) -> F64:
    """f64[rows, 2 flows + 8 pressures]: two mains share a demand that has its day, week and moods."""
    rng = np.random.default_rng(seed)
    rows = np.arange(days * DAY)
    hour = 24.0 * (rows % DAY) / DAY
    weekend = (rows // DAY) % 7 >= 5
    mood = np.repeat(rng.normal(1.0, 0.05, days * 24), DAY // 24)
    demand = 60.0 * mood * (1.0 + 0.5 * np.sin((hour - 8.0) * math.pi / 12.0)) * np.where(weekend, 0.9, 1.0)
    lost = np.array([leak(row) for row in range(len(rows))])
    share = np.repeat(rng.uniform(0.4, 0.6, days * 24), DAY // 24)
    flows = np.column_stack([share * (demand + lost), (1.0 - share) * (demand + lost)])
    head = 50.0 - 1e-3 * (flows**2) @ MIXES.T + 0.02 * lost[:, None] * PLACE
    noise = rng.normal(0.0, 0.06, head.shape)
    result: F64 = 0.01 * np.rint(100.0 * np.column_stack([flows + rng.normal(0.0, 0.2, flows.shape), head + noise]))
    return result


def judged(plan: Plan, rows: F64) -> list[tuple[int, Finding]]:
    watch = watches(plan)[0]
    return [(at, one) for at, row in enumerate(rows) for one in watch.row(START_S + at * STEP_S, row)]


def onsets(found: Sequence[tuple[int, Finding]]) -> list[tuple[str, str]]:
    return [(one.code.removeprefix("water."), one.subject) for _, one in found if one.phase is Phase.ONSET]


def test_a_quiet_network_with_weekends_and_a_flushing_is_quiet(plan: Plan) -> None:
    flushing = range(12 * DAY + 60, 12 * DAY + 67)
    assert onsets(judged(plan, network(16, lambda row: 8.0 if row in flushing else 0.0))) == []


def test_a_holiday_is_demand_and_no_leak(plan: Plan) -> None:
    rows = network(14, lambda row: 0.0, seed=2)
    holiday = slice(10 * DAY, 11 * DAY)
    flows = 0.8 * rows[holiday, :2]
    rows[holiday, 2:] += 1e-3 * (rows[holiday, :2] ** 2 - flows**2) @ MIXES.T
    rows[holiday, :2] = flows
    assert onsets(judged(plan, np.round(rows, 2))) == []


def test_a_leak_is_reported_once_and_its_repair_clears_it(plan: Plan) -> None:
    found = judged(plan, network(20, lambda row: 4.0 if 10 * DAY <= row < 14 * DAY else 0.0))
    assert [(code, name) for code, name in onsets(found)] == [("burst_suspected", "east")]
    at, onset = found[0]
    assert 10 * DAY <= at < 12 * DAY
    assert [one.phase for _, one in found] == [Phase.ONSET, Phase.CLEAR]
    assert 14 * DAY <= found[1][0] < 17 * DAY
    english, korean = say(WORDS[onset.code], onset.phase, onset.subject, onset.numbers)
    assert "m3/h" in english
    assert " m" in english
    assert "east" in korean


def test_what_was_never_reported_is_no_leak_when_it_ends(plan: Plan) -> None:
    """A leak that went into what is usual by now: the zone is again as it was when it was learnt."""
    rows = network(20, lambda row: 4.0 if 10 * DAY <= row < 14 * DAY else 0.0)
    watch = watches(plan)[0]
    assert isinstance(watch, ZoneWatch)
    for at in range(13 * DAY):
        watch.row(START_S + at * STEP_S, rows[at])
    leaks = watch.leaks
    assert leaks.active.sum() == 1
    leaks.baseline = leaks.baseline + leaks.amount @ leaks.patterns
    leaks.patterns[:], leaks.amount[:], leaks.active[:] = 0.0, 0.0, False
    found = [one for at in range(13 * DAY, len(rows)) for one in watch.row(START_S + at * STEP_S, rows[at])]
    assert [one.code for one in found if one.phase is Phase.ONSET] == []


def test_a_leak_that_grows_is_one_leak(plan: Plan) -> None:
    found = judged(plan, network(24, lambda row: min(6.0, max(0.0, (row - 9 * DAY) / DAY))))
    assert len(onsets(found)) == 1
    assert 9 * DAY < found[0][0] < 18 * DAY


def test_a_burst_where_a_leak_is_known_is_another(plan: Plan) -> None:
    found = judged(plan, network(22, lambda row: 4.0 * (row >= 9 * DAY) + 6.0 * (row >= 15 * DAY)))
    assert [at // DAY for at, one in found if one.phase is Phase.ONSET] in ([9, 15], [9, 16])


def test_a_leak_that_began_while_a_meter_was_silent_is_told(plan: Plan) -> None:
    rows = network(16, lambda row: 5.0 if row >= 11 * DAY else 0.0)
    rows[10 * DAY : 11 * DAY + 36, 0] = np.nan
    codes = [code for code, _ in onsets(judged(plan, rows))]
    assert codes[0] == "sensor_dropout"
    assert len(codes) == 2
    assert codes[1] in ("leak_candidate", "burst_suspected")


def test_what_a_stuck_meter_said_before_it_was_told_is_not_judged(plan: Plan) -> None:
    rows = network(10)
    rows[9 * DAY :, 0] = rows[9 * DAY, 0]
    watch = watches(plan)[0]
    assert isinstance(watch, ZoneWatch)
    for at in range(9 * DAY + DAY // 2):
        told = watch.row(START_S + at * STEP_S, rows[at])
        if told:
            break
    assert [one.code for one in told] == ["water.sensor_stuck"]
    stuck_h = math.ceil((at - 9 * DAY) * STEP_S / 3600.0)
    assert np.isnan(watch.history.terms[watch.history.recent(stuck_h), 0]).all()


def stuck(column: F64) -> F64:
    return np.full_like(column, column[0])


def noisy(column: F64) -> F64:
    return column + np.random.default_rng(5).normal(0.0, 0.5, len(column))


def spiky(column: F64) -> F64:
    column = column.copy()
    column[::20] += 3.0
    return column


@pytest.mark.parametrize(
    ("kinds", "broken"),
    [
        ({"stuck"}, stuck),
        ({"dropout"}, lambda column: np.full_like(column, np.nan)),
        ({"noisy"}, noisy),
        ({"spikes"}, spiky),
        ({"offset"}, lambda column: column - 0.8),
        ({"drift", "offset"}, lambda column: column + np.linspace(0.0, 1.0, len(column))),
    ],
)
def test_a_sensor_at_fault_is_named_and_is_no_leak(plan: Plan, kinds: set[str], broken: Callable[[F64], F64]) -> None:
    rows = network(13)
    rows[9 * DAY : 12 * DAY, 5] = np.round(broken(rows[9 * DAY : 12 * DAY, 5]), 2)
    found = judged(plan, rows)
    assert len(onsets(found)) == 1
    kind, name = onsets(found)[0]
    assert kind.removeprefix("sensor_") in kinds
    assert name == "z.p3"
    assert found[-1][1].phase is Phase.CLEAR


def test_a_flow_meter_that_goes_wrong_is_no_leak(plan: Plan) -> None:
    rows = network(12)
    rows[9 * DAY :, 0] += 15.0
    assert onsets(judged(plan, rows)) == [("sensor_drift", "z.q0")]


def test_what_was_learnt_goes_on_after_a_restart(plan: Plan) -> None:
    rows = network(11, lambda row: 5.0 if row >= 9 * DAY else 0.0)
    whole = judged(plan, rows)
    first = watches(plan)[0]
    half = 8 * DAY + 3
    for at, row in enumerate(rows[:half]):
        assert not first.row(START_S + at * STEP_S, row)
    second = watches(plan)[0]
    assert recall(second, remember(first))
    later = [
        (half + k, one) for k, row in enumerate(rows[half:]) for one in second.row(START_S + (half + k) * STEP_S, row)
    ]
    assert onsets(later) == onsets(whole) != []


def test_a_zone_needs_a_flow_and_three_pressures() -> None:
    assert len(watches(zone_plan(1, 3))) == 1
    assert watches(zone_plan(0, 5)) == []
    assert isinstance(watches(zone_plan(1, 2))[0], NightWatch)


ODD = st.sampled_from([0.0, -0.0, 1.0, 50.0, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan])


@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(ODD, min_size=10, max_size=10), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_odd_rows_are_survived_and_what_is_learnt_stays_finite(odd: list[list[float]], seed: int) -> None:
    plan = zone_plan()
    watch = ZoneWatch(plan, watches(plan)[0]._zone)  # type: ignore[attr-defined]
    rng = np.random.default_rng(seed)
    rows = network(9, seed=2)
    at = rng.integers(0, len(rows), len(odd))
    rows[at] = np.array(odd)
    utc_s = START_S
    for k, row in enumerate(rows):
        utc_s += STEP_S * (1.0 if k % 97 else float(rng.integers(1, 30)))
        watch.row(utc_s, row)
    assert np.isfinite(watch.leaks.expected_means()).all()


def test_constant_columns_are_survived(plan: Plan) -> None:
    rows = network(10)
    rows[:, [0, 4]] = 7.0
    assert all("leak" not in code for code, _ in onsets(judged(plan, rows)))


def test_least_squares_find_known_coefficients() -> None:
    rng = np.random.default_rng(1)
    terms = Terms.of(2, 1)
    drivers = rng.uniform(1.0, 5.0, (300, 3))
    table = np.array([terms.values(row) for row in drivers])
    slope = rng.normal(0.0, 1.0, (len(terms), 4))
    model = fit(table, 3.0 + table @ slope, np.ones(len(terms), bool))
    assert model is not None
    assert np.abs(model.residual(table, 3.0 + table @ slope)).max() < 0.3
    unusual, _ = weigh(np.array([0.0, 1.0, np.nan, 0.0]), np.eye(4) * 0.01)
    assert (unusual.sensor, round(unusual.alone), unusual.rest) == (1, 10, 0.0)
