"""A cabinet's alarms: one test a kind, one a normal event; and what may come in without harm."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from street_cabinet import NOON, Faults, Street, all_lamps, plan_at

from gateway.services.memory import recall, remember
from gateway.services.sentence import say
from gateway.services.streetlight.cabinet import cabinets
from gateway.services.words import WORDS
from gateway.spool.records import Phase

Said = list[tuple[str, str, str]]
F1 = {f"f1l{at}" for at in range(1, 6)}
FAR = {"f1l3", "f1l4", "f1l5"}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Street:
    """Two days of normal service behind it, at noon."""
    street = Street(plan_at(tmp_path_factory.mktemp("cabinet")))
    assert street.run(48) == []
    return street


@pytest.fixture
def street(learnt: Street) -> Street:
    one = copy.deepcopy(learnt)
    one.findings = []
    return one


def onsets(said: Said) -> Said:
    return [one for one in said if one[1] == "ONSET"]


def test_a_dark_lamp_is_out_within_the_hour_once_and_comes_back(street: Street) -> None:
    street.until_night()
    street.faults.dark = {"f1l2"}
    assert street.run(1) == [("lamp_out", "ONSET", "c.f1l2")]
    assert street.run(30) == []
    street.until_night()
    street.faults.dark = set()
    assert street.run(1) == [("lamp_out", "CLEAR", "c.f1l2")]


def test_a_lamp_is_out_at_its_dim_level_too(street: Street) -> None:
    street.until_night()
    street.run(5)
    assert street.commanded() == 50.0
    street.faults.dark = {"f2l3"}
    assert street.run(1) == [("lamp_out", "ONSET", "c.f2l3")]
    [finding] = street.findings
    english, korean = say(WORDS[finding.code], finding.phase, finding.subject, finding.numbers)
    assert "0.5 W / 18.0 W @ 50 %" in english
    assert "0.5 W / 18.0 W @ 50 %" in korean


def test_a_blip_is_no_alarm(street: Street) -> None:
    street.until_night()
    street.faults.dark = {"f1l2"}
    street.run(0.15)
    street.faults.dark = set()
    assert street.run(12) == []


def test_a_lamp_that_burns_by_day_is_a_day_burner_once(street: Street) -> None:
    street.until_night()
    street.faults.burning = {"f2l1"}
    assert street.until_day() == [("day_burner", "ONSET", "c.f2l1")]
    assert street.run(40) == []  # through another night
    street.faults.burning = set()
    street.until_day()
    assert ("day_burner", "CLEAR", "c.f2l1") in [(a.code[12:], a.phase.name, a.subject) for a in street.findings]


def test_a_lamp_that_keeps_restarting_cycles_and_is_not_out(street: Street) -> None:
    street.until_night()
    said: Said = []
    for at in range(24):
        street.faults.dark = {"f1l4"} if at % 2 else set()
        said += street.run(0.25)
    assert said == [("cycling", "ONSET", "c.f1l4")]
    street.faults.dark = set()
    street.until_day()
    street.until_night()
    assert street.run(6) == [("cycling", "CLEAR", "c.f1l4")]


@pytest.mark.parametrize("rate", [-0.05, 0.04])
def test_power_that_creeps_is_a_drift_and_a_new_driver_ends_it(street: Street, rate: float) -> None:
    said: Said = []
    for day in range(7):
        street.faults.gain = {"f2l4": 1 + rate * day}
        said += street.run(24)
    assert said == [("power_drift", "ONSET", "c.f2l4")]
    street.faults.gain = {}
    assert street.run(24) == [("power_drift", "CLEAR", "c.f2l4")]


@pytest.mark.parametrize("by_night", [True, False])
def test_a_replaced_driver_is_no_drift(street: Street, by_night: bool) -> None:
    if by_night:
        street.until_night()
    street.faults.gain = {"f2l4": 1.09, "f1l1": 0.92}
    assert street.run(24 * 5) == []


@pytest.mark.parametrize("by_night", [True, False])
def test_a_feeder_without_supply_is_one_alarm(street: Street, by_night: bool) -> None:
    if by_night:
        street.until_night()
    street.faults.unfed = set(F1)
    assert street.run(3) == [("group_outage", "ONSET", "F1")]
    assert street.run(24) == []
    street.faults.unfed = set()
    assert street.run(24) == [("group_outage", "CLEAR", "F1")]


def test_a_feeder_that_dies_without_a_last_word_shows_in_its_current(street: Street) -> None:
    street.faults.silent = set(F1)
    assert street.run(3) == []  # by day, out of reach: the drivers' standby is still drawn
    street.faults = Faults(unfed=set(F1), silent=set(F1))
    assert onsets(street.run(12)) == [("group_outage", "ONSET", "F1")]


@pytest.mark.parametrize("by_night", [True, False])
def test_a_cable_cut_on_the_way_is_a_theft_and_one_alarm(street: Street, by_night: bool) -> None:
    if by_night:
        street.until_night()
    street.faults.unfed = set(FAR)
    assert street.run(24) == [("cable_theft", "ONSET", "F1")]
    [finding] = street.findings
    assert finding.numbers["failed"] == 3
    assert finding.numbers["lamps"] == 5
    street.faults.unfed = set()
    assert street.run(24) == [("cable_theft", "CLEAR", "F1")]


def test_the_last_lamp_alone_may_be_stolen_and_not_only_out_of_reach(street: Street) -> None:
    street.until_night()
    street.faults.silent = {"f1l5"}
    assert street.run(4) == []
    street.faults = Faults()
    street.run(1)
    street.faults.unfed = {"f2l5"}
    assert street.run(4) == [("cable_theft", "ONSET", "F2")]


def test_lamps_out_of_reach_are_no_alarm_whatever_their_number(street: Street) -> None:
    for silent in (F1, FAR, {"f1l5"}, set(all_lamps())):
        street.faults.silent = set(silent)
        assert street.run(14) == []
        street.faults.silent = set()
        assert street.run(10) == []


def test_a_lamp_that_was_out_before_it_fell_silent_is_not_stolen(street: Street) -> None:
    street.until_night()
    street.faults.dark = {"f1l5"}
    assert street.run(1) == [("lamp_out", "ONSET", "c.f1l5")]
    street.faults.silent = {"f1l5"}
    assert street.run(30) == []


def test_a_feeder_that_burns_though_commanded_off_is_its_contactor(street: Street) -> None:
    street.until_night()
    street.faults.burning = set(F1)
    assert street.until_day() == [("contactor_stuck", "ONSET", "F1")]
    street.faults.burning = set()
    assert street.run(2) == [("contactor_stuck", "CLEAR", "F1")]


def test_a_feeder_that_stays_dark_though_heard_is_its_contactor(street: Street) -> None:
    street.faults.dark = set(F1)
    assert street.until_night() == [("contactor_stuck", "ONSET", "F1")]
    street.faults.dark = set()
    assert street.run(2) == [("contactor_stuck", "CLEAR", "F1")]


def test_a_door_open_for_long_is_an_alarm_and_a_bounce_is_none(street: Street) -> None:
    street.faults.door = 1.0
    street.run(0.15)
    street.faults.door = 0.0
    assert street.run(1) == []
    street.faults.door = 1.0
    assert street.run(0.5) == [("door_open", "ONSET", "z1")]
    assert street.run(5) == []
    street.faults.door = 0.0
    assert street.run(1) == [("door_open", "CLEAR", "z1")]


def test_planned_work_silences_the_door_until_its_end(tmp_path: Path) -> None:
    begin = datetime.fromtimestamp(NOON, UTC) + timedelta(hours=1)
    end = begin + timedelta(hours=2)
    work = f'planned_work = [{{ start = "{begin.isoformat()}", end = "{end.isoformat()}" }}]'
    street = Street(plan_at(tmp_path, services=work))
    street.run(1.25)
    street.faults = Faults(door=1.0, level=100.0)
    assert street.run(0.5) == []
    street.faults.level = 0.0
    assert street.run(1.25) == []
    assert street.run(0.5) == [("door_open", "ONSET", "z1")]
    assert street.findings[0].since_s == NOON + 3 * 3600


def test_leakage_that_lasts_is_an_alarm_rain_and_surges_are_none(street: Street) -> None:
    for rise in (6.0, 12.0, 18.0):
        street.faults.leak_ma = rise
        assert street.run(2) == []
    street.faults.leak_ma = 180.0
    street.run(0.1)
    street.faults.leak_ma = 0.0
    assert street.run(2) == []
    street.faults.leak_ma = 70.0
    assert street.run(1) == [("earth_leakage", "ONSET", "z1")]
    street.faults.leak_ma = 0.0
    assert street.run(1) == [("earth_leakage", "CLEAR", "z1")]


@pytest.mark.parametrize("lux", [1.4, 2000.0, 560.0])
def test_a_photocell_that_contradicts_the_sun_is_broken(street: Street, lux: float) -> None:
    street.faults.lux = lux
    assert street.run(30) == [("photocell_fault", "ONSET", "z1")]
    street.faults.lux = None
    assert street.run(24) == [("photocell_fault", "CLEAR", "z1")]


def test_shade_and_clouds_do_not_break_a_photocell(street: Street) -> None:
    street.faults.shade = 0.15
    assert street.run(24) == []


@pytest.mark.parametrize(("latitude", "month"), [(65.0, 6), (-54.8, 12), (65.0, 12), (1.3, 3)])
def test_white_nights_and_short_days_are_no_fault(tmp_path: Path, latitude: float, month: int) -> None:
    start_s = datetime(2024, month, 20, 3, tzinfo=UTC).timestamp()
    street = Street(plan_at(tmp_path, latitude=latitude), latitude=latitude, start_s=start_s)
    assert street.run(72) == []


@pytest.mark.parametrize(("metered", "counted"), [(2 / 3, 1.0), (1.0, 0.0), (1.0, 0.6), (1.4, 1.0)])
def test_a_meter_that_contradicts_feeders_or_itself_is_broken(street: Street, metered: float, counted: float) -> None:
    street.faults = Faults(metered=metered, counted=counted)
    assert street.run(30) == [("meter_fault", "ONSET", "z1")]
    street.faults = Faults()
    assert street.run(24) == [("meter_fault", "CLEAR", "z1")]


def test_swings_and_sags_of_the_voltage_are_no_alarm(street: Street) -> None:
    street.until_night()
    for volts in (216.0, 246.0, 231.0, 165.0, 231.0):
        street.faults.volts = volts
        assert street.run(3) == []


@pytest.mark.parametrize("level", [100.0, 0.0, 30.0])
def test_a_festival_is_commanded(street: Street, level: float) -> None:
    street.faults.level = level
    assert street.run(30) == []
    street.faults.level = None
    assert street.run(24) == []


def test_a_cabinet_out_of_reach_is_no_alarm(street: Street) -> None:
    street.until_night()
    street.faults.absent = True
    assert street.run(5) == []
    street.faults.absent = False
    assert street.run(24) == []


def test_lamps_without_a_level_are_judged_by_photocell_and_schedule(tmp_path: Path) -> None:
    schedule = 'dim_schedule = [{ start = "23:00", end = "05:00", level = 50 }]'
    street = Street(plan_at(tmp_path, levels=False, services=schedule))
    assert street.run(48) == []
    street.until_night()
    street.faults.dark = {"f1l2"}
    assert street.run(1) == [("lamp_out", "ONSET", "c.f1l2")]
    street.faults.burning = {"f2l2"}
    assert street.until_day() == [("day_burner", "ONSET", "c.f2l2")]


def test_without_a_photocell_the_sun_tells(tmp_path: Path) -> None:
    street = Street(
        plan_at(tmp_path, levels=False, services='dim_schedule = [{ start = "23:00", end = "05:00", level = 50 }]')
    )
    street.faults.missing = {"lux"}
    assert street.run(30) == []
    street.until_night()
    street.faults = Faults(dark={"f1l2"}, missing={"lux"})
    assert street.run(1.5) == [("lamp_out", "ONSET", "c.f1l2")]


@pytest.mark.parametrize("step_s", [60.0, 900.0])
def test_other_steps_know_the_same(tmp_path: Path, step_s: float) -> None:
    street = Street(plan_at(tmp_path, step_s=step_s))
    assert street.run(30) == []
    street.until_night()
    street.faults.dark = {"f1l2"}
    assert street.run(1) == [("lamp_out", "ONSET", "c.f1l2")]
    street.faults.unfed = set(F1)
    assert onsets(street.run(3)) == [("group_outage", "ONSET", "F1")]


def test_what_is_learnt_survives_a_restart_and_nothing_is_said_twice(street: Street) -> None:
    street.until_night()
    street.faults.dark = {"f1l2"}
    street.run(1)
    [after] = cabinets(street.plan)
    assert recall(after, remember(street.watch))
    street.watch = after
    assert street.run(8) == []
    street.faults.dark = set()
    street.until_night()
    assert ("lamp_out", "CLEAR", "c.f1l2") in [(a.code[12:], a.phase.name, a.subject) for a in street.findings]


def test_energy_and_hours_of_burning_are_counted(street: Street) -> None:
    one = street.watch.lamps["c.f1l1"]
    burnt_s, energy_wh = one.burnt_s, one.energy_wh
    street.run(24)
    assert 11 * 3600 < one.burnt_s - burnt_s < 13 * 3600
    assert 75 * 7 < one.energy_wh - energy_wh < 75 * 13


def test_every_alarm_has_words_in_both_languages_for_its_numbers(street: Street) -> None:
    breakages: list[Callable[[], object]] = [
        lambda: setattr(street.faults, "dark", {"f1l2"}),
        lambda: setattr(street.faults, "unfed", {"f2l4", "f2l5"}),
        lambda: setattr(street.faults, "door", 1.0),
        lambda: setattr(street.faults, "leak_ma", 90.0),
        lambda: setattr(street.faults, "lux", 1500.0),
        lambda: setattr(street.faults, "counted", 0.0),
        lambda: setattr(street.faults, "burning", {"f1l3"}),
    ]
    street.until_night()
    for breakage in breakages:
        breakage()
    street.run(24)
    street.faults = Faults()
    street.run(48)
    seen = {(one.code, one.phase) for one in street.findings}
    assert {phase for _, phase in seen} == {Phase.ONSET, Phase.CLEAR}
    assert len(seen) == 14
    for one in street.findings:
        english, korean = say(WORDS[one.code], one.phase, one.subject, one.numbers)
        assert "nan" not in english + korean
        assert one.subject in english
        assert one.subject in korean


def test_a_clock_that_ran_astray_and_came_back_does_not_deafen(street: Street) -> None:
    row = np.array([street.values()[street.plan.channels[index].point] for index in street.watch.channels])
    street.watch.row(street.now_s + 4e8, row)
    assert street.run(12) == []
    street.until_night()
    street.faults.dark = {"f1l2"}
    assert street.run(1) == [("lamp_out", "ONSET", "c.f1l2")]


VALUES = st.one_of(st.floats(width=64), st.sampled_from([0.0, -0.0, 1e308, 5e-324, 100.0, 231.0]))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.lists(VALUES, min_size=29, max_size=29), max_size=12),
    jumps=st.lists(
        st.one_of(st.floats(-1e6, 1e9), st.sampled_from([0.0, 3.2e7, math.inf, math.nan])), min_size=12, max_size=12
    ),
)
def test_anything_may_come_in(learnt: Street, rows: list[list[float]], jumps: list[float]) -> None:
    """Infinities, huge numbers, time back, twice and years on: no exception, and what is kept can be kept."""
    street = copy.deepcopy(learnt)
    for row, jump in zip(rows, jumps, strict=False):
        street.watch.row(street.now_s + jump, np.array(row))
    remember(street.watch)


@settings(max_examples=25, deadline=None)
@given(lost=st.floats(0.0, 0.6), seed=st.integers(0, 9))
def test_missing_readings_are_never_an_alarm(learnt: Street, lost: float, seed: int) -> None:
    street = copy.deepcopy(learnt)
    noise = np.random.default_rng(seed)
    names = [street.plan.channels[index].point for index in street.watch.channels]
    street.until_night()
    for _ in range(60):
        street.faults.missing = {name for name in names if noise.random() < lost}
        assert street.step() == []
