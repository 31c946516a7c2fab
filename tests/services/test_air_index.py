"""CAI and AQI against the published tables, and the humidity correction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.air.humidity import dried, swelling
from gateway.services.air.index import AQI, CAI, aqi, aqi_of, cai, cai_of, predicted

GOOD = {"pm10": 30.0, "pm25": 15.0, "no2": 0.03, "o3": 0.03}


@pytest.mark.parametrize(
    ("role", "value", "index"),
    [
        ("pm25", 0.0, 0), ("pm25", 15.0, 50), ("pm25", 35.0, 100), ("pm25", 75.0, 250), ("pm25", 500.0, 500),
        ("pm10", 55.0, 75), ("pm10", 150.0, 250), ("pm10", 9000.0, 500),
        ("o3", 0.06, 75), ("no2", 0.13, 175), ("co", 9.0, 100), ("so2", 0.15, 250),
    ],
)  # fmt: skip
def test_cai_of_one_pollutant(role: str, value: float, index: float) -> None:
    assert cai_of(role, value) == pytest.approx(index)


def test_a_station_without_all_four_pollutants_has_no_cai() -> None:
    assert cai(GOOD) == 50.0
    for missing in GOOD:
        assert cai({role: value for role, value in GOOD.items() if role != missing}) is None
        assert cai({**GOOD, missing: math.nan}) is None
    assert cai({"pm25": 80.0, "pm10": 200.0}) is None  # a dust meter publishes none


def test_several_bad_pollutants_add_to_the_cai() -> None:
    assert cai({**GOOD, "pm25": 55.0}) == 175.0
    assert cai({**GOOD, "pm25": 55.0, "pm10": 81.0}) == 225.0
    assert cai({**GOOD, "pm25": 55.0, "pm10": 81.0, "o3": 0.1}) == 250.0
    assert cai({**GOOD, "pm25": 500.0, "pm10": 600.0, "o3": 0.6}) == 500.0


def test_the_predicted_daily_mean_weighs_the_last_hours() -> None:
    assert predicted(20.0, 40.0) == 30.0


@pytest.mark.parametrize(
    ("role", "value", "index"),
    [
        ("pm25", 9.0, 50), ("pm25", 9.09, 50), ("pm25", 9.1, 51), ("pm25", 35.4, 100), ("pm25", 35.5, 101),
        ("pm25", 55.4, 150), ("pm25", 125.4, 200), ("pm25", 225.4, 300), ("pm25", 325.4, 500), ("pm25", 900.0, 500),
        ("pm10", 54.9, 50), ("pm10", 155.0, 101), ("o3", 0.070, 100), ("o3", 0.3, 300), ("no2", 100.0, 100),
        ("co", 9.5, 101), ("so2", 36.0, 51), ("pm25", -3.0, 0),
    ],
)  # fmt: skip
def test_aqi_with_the_breakpoints_of_2024(role: str, value: float, index: float) -> None:
    assert aqi_of(role, value) == index


def test_the_worst_pollutant_is_the_aqi() -> None:
    assert aqi({"pm25": 20.0, "pm10": 160.0, "o3": math.nan}) == aqi_of("pm10", 160.0)
    assert aqi({}) is None


@given(st.sampled_from(sorted(CAI)), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_is_never_better(role: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= cai_of(role, low) <= cai_of(role, high) <= 500
    if role in AQI:
        assert 0 <= aqi_of(role, low) <= aqi_of(role, high) <= 500


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 0.5))
def test_damper_air_swells_more(one: float, other: float, growth: float) -> None:
    low, high = sorted((one, other))
    factors = swelling(np.array([low, high, np.nan]), growth)
    assert 1.0 <= factors[0] <= factors[1]
    assert factors[2] == 1.0


def test_drying_undoes_the_swelling_of_fine_dust_only() -> None:
    fine, coarse, factor = np.array([20.0, 20.0]), 12.0, np.array([2.5, 2.5])
    wet25, wet10 = fine * factor, fine * factor + coarse
    share = wet25 / wet10
    dry25, dry10 = dried(wet25, wet10, factor, share)
    np.testing.assert_allclose(dry25, fine)
    np.testing.assert_allclose(dry10, fine + coarse)
    _, alone = dried(np.full(2, np.nan), wet10, factor, np.full(2, np.nan))
    np.testing.assert_allclose(alone, wet10 / (1 + 0.6 * 1.5))
