"""A city's air stations judged together: every kind of broken sensor, every kind of bad air, and what is neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from air_city import (
    DAY,
    NO2,
    O3,
    PM10,
    PM25,
    RH,
    START_S,
    STEP_S,
    Air,
    City,
    T,
    air,
    onsets,
    plan_of,
    told,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gateway.services.air.network import watches
from gateway.services.sentence import say
from gateway.services.words import WORDS
from gateway.spool.records import Phase

LEARN = 6  # days
SEEN = 12  # days heard in all


@pytest.fixture(scope="module")
def plain() -> Air:
    return air(SEEN)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory, plain: Air) -> City:
    city = City(plan_of(tmp_path_factory.mktemp("city"), 5))
    assert city.hear(plain[: LEARN * DAY]) == []
    return city


@pytest.fixture
def city(learnt: City) -> City:
    return learnt.again()


def part(plain: Air, days: float) -> Air:
    return plain[LEARN * DAY : round((LEARN + days) * DAY)].copy()


def test_a_healthy_city_says_nothing(city: City, plain: Air) -> None:
    assert city.hear(part(plain, 3)) == []


@pytest.mark.parametrize("column", range(6))
def test_a_value_that_stands_still_is_stuck(city: City, plain: Air, column: int) -> None:
    rows = part(plain, 2)
    rows[30:200, 2, column] = rows[30, 2, column]
    role = ("pm25", "pm10", "humidity", "temperature", "no2", "o3")[column]
    said = told(city.hear(rows))
    assert said == [("air.stuck", "ONSET", f"s2.{role}"), ("air.stuck", "CLEAR", f"s2.{role}")]


def test_a_station_that_stands_still_is_stuck_once(city: City, plain: Air) -> None:
    rows = part(plain, 1)
    rows[30:, 2] = rows[30, 2]
    assert onsets(city.hear(rows)) == [("air.stuck", "s2")]


def test_saturated_air_is_not_a_stuck_humidity_sensor(city: City, plain: Air) -> None:
    rows = part(plain, 1)
    rows[20:80, :, RH] = 100.0
    assert city.hear(rows) == []


def test_missing_values_are_a_dropout_after_six_hours(city: City, plain: Air) -> None:
    rows = part(plain, 1)
    rows[10:40, 1, O3] = np.nan  # five hours: a pause
    rows[60:100, 3, NO2] = np.nan
    said = city.hear(rows)
    assert told(said) == [("air.dropout", "ONSET", "s3.no2"), ("air.dropout", "CLEAR", "s3.no2")]
    assert said[0][0] - LEARN * DAY == 60 + 36


def test_a_silent_station_is_one_dropout(city: City, plain: Air) -> None:
    rows = part(plain, 1)
    rows[50:110, 4] = np.nan
    assert told(city.hear(rows)) == [("air.dropout", "ONSET", "s4"), ("air.dropout", "CLEAR", "s4")]


def test_steps_without_any_reading_count_as_missing(city: City, plain: Air) -> None:
    rows = part(plain, 1)
    city.hear(rows[:10])
    city.row += 50
    assert len(onsets(city.hear(rows[60:61]))) == 5  # every station was away


@pytest.mark.parametrize(
    ("column", "scatter", "role"), [(T, 3.0, "temperature"), (O3, 25.0, "o3"), (PM10, 25.0, "pm10")]
)
def test_scatter_far_above_the_usual_is_noise(city: City, plain: Air, column: int, scatter: float, role: str) -> None:
    rows = part(plain, 1.5)
    rows[20:, 1, column] += np.random.default_rng(3).normal(0.0, scatter, len(rows) - 20)
    rows[:, :, [PM10, O3]] = np.maximum(rows[:, :, [PM10, O3]], 0.0)
    assert onsets(city.hear(rows)) == [("air.noisy", f"s1.{role}")]


@pytest.mark.parametrize(("column", "role"), [(PM25, "pm25"), (NO2, "no2")])
def test_many_single_values_far_off_are_spikes(city: City, plain: Air, column: int, role: str) -> None:
    rows = part(plain, 1.5)
    rows[20::11, 0, column] += 300.0
    assert onsets(city.hear(rows)) == [("air.spikes", f"s0.{role}")]


@pytest.mark.parametrize(
    ("column", "by", "role"),
    [(T, -6.0, "temperature"), (RH, -30.0, "humidity"), (PM25, 60.0, "pm25"), (NO2, 40.0, "no2")],
)
def test_a_sudden_lasting_shift_is_an_offset(city: City, plain: Air, column: int, by: float, role: str) -> None:
    rows = part(plain, 2)
    rows[30:, 2, column] += by
    assert onsets(city.hear(rows)) == [("air.offset", f"s2.{role}")]


@pytest.mark.parametrize("every", [2, 3, 6])
def test_slower_stations_are_judged_as_well(tmp_path: Path, plain: Air, every: int) -> None:
    """Every 20 and 30 minutes and every hour: nothing of the plain air, and what is wrong by its name."""
    step_s = every * STEP_S
    city = City(plan_of(tmp_path, 5, f"[services.air]\nstep_s = {step_s}"), step_s=step_s)
    rows = plain.copy()
    rows[6 * DAY : 7 * DAY, 0, RH] = rows[6 * DAY, 0, RH]
    rows[7 * DAY :, 2, T] -= 6.0
    rows[8 * DAY :, 4, NO2] += np.random.default_rng(2).normal(0.0, 30.0, (len(rows) - 8 * DAY))
    said = onsets(city.hear(rows[::every]))
    assert said == [("air.stuck", "s0.humidity"), ("air.offset", "s2.temperature"), ("air.noisy", "s4.no2")]


@pytest.mark.parametrize(
    ("column", "unit", "role"),
    [
        (T, "degF", "temperature"),
        (RH, "0..1", "humidity"),
        (PM10, "mg/m3", "pm10"),
        (NO2, "ppb", "no2"),
        (O3, "ppb", "o3"),
    ],
)
def test_a_shift_that_a_conversion_undoes_is_a_swapped_unit(
    city: City, plain: Air, column: int, unit: str, role: str
) -> None:
    rows = part(plain, 3)
    turn = {"degF": lambda v: 1.8 * v + 32, "0..1": lambda v: v / 100, "mg/m3": lambda v: v / 1000}
    rows[30:, 2, column] = turn.get(unit, lambda v: v / (1.88 if column == NO2 else 1.96))(rows[30:, 2, column])
    said = city.hear(rows)
    assert onsets(said) == [("air.swapped_units", f"s2.{role}")]
    assert said[0][1].numbers["unit"] == unit


@pytest.mark.parametrize(
    ("column", "whole", "role"), [(PM25, 1.2, "pm25"), (NO2, -1.0, "no2"), (T, 6.0, "temperature")]
)
def test_creeping_away_from_the_neighbours_is_drift(
    city: City, plain: Air, column: int, whole: float, role: str
) -> None:
    rows = part(plain, 6)
    way = np.linspace(0.0, whole, len(rows))
    rows[:, 3, column] = rows[:, 3, column] + way if column == T else rows[:, 3, column] * np.exp(way)
    assert onsets(city.hear(rows)) == [("air.drift", f"s3.{role}")]


def test_both_dust_values_sinking_together_is_a_clogged_unit_once(city: City, plain: Air) -> None:
    rows = part(plain, 2)
    flow = np.clip(1.0 - np.arange(len(rows) - 30) / 60.0, 0.25, 1.0)
    rows[30:, 1, PM25] *= flow
    rows[30:, 1, PM10] *= flow
    assert onsets(city.hear(rows)) == [("air.clogged", "s1")]


def blow(rows: Air, station: int, fine: float, coarse: float, *, at: int = 40, length: int = 18) -> None:
    """A plume over one station, and its fringe over the next; `fine` of its mass is PM2.5."""
    jitter = np.exp(0.15 * np.random.default_rng(5).normal(size=length))
    jitter[0] *= 0.5
    for share, there in ((1.0, station), (0.15, (station + 1) % rows.shape[1])):
        rows[at : at + length, there, PM25] += share * fine * jitter
        rows[at : at + length, there, PM10] += share * (fine + coarse) * jitter


@pytest.mark.parametrize(("fine", "coarse", "kind"), [(150.0, 15.0, "fire"), (8.0, 90.0, "dust")])
def test_a_plume_is_told_within_the_hour_and_by_its_strongest_station(
    city: City, plain: Air, fine: float, coarse: float, kind: str
) -> None:
    rows = part(plain, 1)
    blow(rows, 2, fine, coarse)
    said = city.hear(rows)
    assert told(said) == [(f"air.{kind}", "ONSET", "s2"), (f"air.{kind}", "CLEAR", "s2")]
    assert said[0][0] - LEARN * DAY <= 40 + 5


def test_a_pm10_that_rises_quite_alone_is_not_called_dust(city: City, plain: Air) -> None:
    rows = part(plain, 1)
    rows[40:, 2, PM10] += 90.0
    assert onsets(city.hear(rows)) == [("air.offset", "s2.pm10")]


def test_fireworks_over_the_whole_city_are_neither_fire_nor_fault(city: City, plain: Air) -> None:
    rows = part(plain, 1)
    course = 120.0 * np.exp(-np.arange(30) / 8.0)[:, None] * np.array([0.8, 1.0, 1.2, 0.9, 1.1])
    rows[40:70, :, PM25] += course
    rows[40:70, :, PM10] += 1.1 * course
    assert city.hear(rows) == []


def test_the_city_value_is_the_median_and_a_level_takes_two_hours(city: City, plain: Air) -> None:
    rows = part(plain, 1)
    rows[30:60, :3, PM25] = 90.0  # three of five stations
    rows[30:60, :3, PM10] = 110.0
    rows[30:60, 3:, PM25] = 70.0
    rows[30:60, 3:, PM10] = 85.0
    said = [(row - LEARN * DAY, finding) for row, finding in city.hear(rows) if "pm" in finding.code]
    assert [(f.code, f.phase.name, f.subject) for _, f in said] == [
        ("air.pm25_advisory", "ONSET", "city"),
        ("air.pm25_advisory", "CLEAR", "city"),
    ]
    assert 30 + 11 <= said[0][0] <= 30 + 18
    assert 60 <= said[1][0] <= 66


def test_a_broken_sensor_takes_no_part_in_the_city_value(city: City, plain: Air) -> None:
    rows = part(plain, 3)
    rows[20:, 0, PM25] += 400.0
    rows[20:, 1, PM25] += 500.0
    assert [one for one in onsets(city.hear(rows)) if "advisory" in one[0] or "warning" in one[0]] == []


def test_damp_air_is_not_taken_for_dust(city: City, plain: Air) -> None:
    """Fine dust that swells fourfold in fog would be an advisory if it were believed."""
    rows = part(plain, 1)
    rows[:, :, PM10] += 22.0
    rows[:, :, PM25] += 22.0
    fine = rows[40:100, :, PM25].copy()
    rows[40:100, :, RH] = 95.0
    rows[40:100, :, PM25] = fine * (1.0 + 0.1 * 0.95**2 / 0.05)
    rows[40:100, :, PM10] += rows[40:100, :, PM25] - fine
    assert np.median(rows[40:100, :, PM25]) > 75.0
    assert city.hear(rows) == []


def test_a_meter_with_a_dryer_is_not_corrected(tmp_path: Path) -> None:
    city = City(plan_of(tmp_path, 5, "[services.air]\nhumidity_growth = 0.0"))
    rows = air(1)
    rows[:, :, PM25] = 80.0
    rows[:, :, PM10] = 90.0
    rows[:, :, RH] = 95.0
    assert onsets(city.hear(rows)) == [("air.pm25_advisory", "city")]


def test_what_is_learnt_survives_a_restart(city: City, plain: Air) -> None:
    rows = part(plain, 2)
    rows[30:, 2, T] -= 6.0
    whole = city.again()
    said = city.hear(rows[:100])
    assert told(said + city.again().hear(rows[100:])) == told(whole.hear(rows))


def test_a_prefix_says_the_same(city: City, plain: Air) -> None:
    rows = part(plain, 2)
    blow(rows, 0, 150.0, 15.0)
    rows[150:, 3, NO2] += 40.0
    whole = city.again().hear(rows)
    half = city.hear(rows[:160])
    assert told(half) == told([one for one in whole if one[0] < (LEARN * DAY) + 160])


@pytest.mark.parametrize("code", sorted(code for code in WORDS if code.startswith("air.")))
def test_every_finding_fills_its_sentence(city: City, plain: Air, code: str) -> None:
    from gateway.services.air.past import STATION, Fault
    from gateway.services.air.plumes import Plume

    kind = code.removeprefix("air.")
    if kind in ("fire", "dust"):
        found = city.watch._plume(START_S, Plume(1, 0, PM10, 0.0, 0.0, rows=3, kind=kind), Phase.ONSET)
    elif kind.startswith("pm"):
        level = next(one for one in city.watch._city.levels if one.code == code)
        found = city.watch._level(START_S, level, True, 0, np.array([80.0, 200.0]))
    else:
        found = city.watch._fault(
            START_S, Fault(kind, 1, STATION if kind == "clogged" else T, 0, -1.0, "ppb", [T]), Phase.ONSET
        )
    english, korean = say(WORDS[code], Phase.ONSET, found.subject, found.numbers)
    assert "{" not in english + korean
    assert WORDS[code].cause == ("city" if kind in ("fire", "dust") or kind.startswith("pm") else "sensor")


WILD = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64), st.sampled_from([0.0, -1.0, 1e308, -1e308, 5e-324, 99.9])
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays(np.float64, (6, 30), elements=WILD), st.lists(st.floats(-1e6, 1e9), min_size=6, max_size=6))
def test_wild_values_and_times_leave_it_finite(learnt: City, values: Air, jumps: list[float]) -> None:
    watch = learnt.again().watch
    now = START_S + LEARN * DAY * STEP_S
    for one, jump in zip(values, jumps, strict=True):
        now += jump
        watch.row(now, one)
    for name in ("constant", "course", "own", "scatter", "step"):
        assert np.isfinite(getattr(watch.habits, name)).all()


def test_two_stations_are_watched_for_what_shows_without_neighbours(tmp_path: Path) -> None:
    city = City(plan_of(tmp_path, 2), 2)
    rows = air(7, 2)
    rows[900:, 1, T] = rows[900, 1, T]
    rows[950:, 0, O3] = np.nan
    assert onsets(city.hear(rows)) == [("air.stuck", "s1.temperature"), ("air.dropout", "s0.o3")]


def test_no_station_no_watch(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('schema = 1\n[gateway]\nid = "g"\n', encoding="utf-8")
    from gateway.site.compile import load_plan

    assert watches(load_plan(site)) == ()
