"""The hours of a zone: which of them count how much, and which are learnt from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gateway.services.water.history import FRESH_H, KEPT_H, History, average
from gateway.services.water.residual import Terms, fit, weigh
from gateway.services.water.sensors import HIGH, Habits, usual_scatter

F64 = NDArray[np.float64]

HOURS, SENSORS = 480, 6
LEAST_H = 168


def busy_zone(seed: int) -> tuple[F64, F64]:
    """f64[hours, terms], f64[hours, sensors]: pressures whose scatter grows with the square of the one flow."""
    random = np.random.default_rng(seed)
    flow = 60.0 + 45.0 * np.sin(np.arange(HOURS) * 2.0 * np.pi / 24.0) + random.normal(0.0, 2.0, HOURS)
    terms = np.array([Terms.of(1, 0).values(np.array([one])) for one in flow])
    scatter = 0.005 + 0.05 * (flow / 100.0) ** 2
    return terms, 50.0 - 1e-4 * terms[:, 1:2] + scatter[:, None] * random.normal(0.0, 1.0, (HOURS, SENSORS))


def test_hours_of_little_demand_count_more() -> None:
    terms, pressures = busy_zone(1)
    model = fit(terms, pressures, np.ones(2, bool))
    assert model is not None
    weight = model.weight(terms)
    night, noon = terms[:, 0] < 30.0, terms[:, 0] > 90.0
    assert weight[night].mean() > 3.0 * weight[noon].mean()
    assert model.weight(np.array([[np.nan, 1.0]])).tolist() == [0.0]


def test_a_weighted_mean_scatters_less_than_a_plain_one() -> None:
    terms, pressures = busy_zone(2)
    model = fit(terms, pressures, np.ones(2, bool))
    assert model is not None
    later_terms, later = busy_zone(3)
    residual, weight = model.residual(later_terms, later), model.weight(later_terms)
    days = [slice(at, at + 24) for at in range(0, HOURS, 24)]
    weighted = np.array([average(residual[day], weight[day]) for day in days])
    plain = np.array([average(residual[day]) for day in days])
    assert weighted.std() < 0.7 * plain.std()


def test_what_all_sensors_share_hides_no_difference_between_two() -> None:
    """As where a flow is not measured: all pressures move with it, by far more than they differ."""
    random = np.random.default_rng(4)
    terms, _ = busy_zone(5)
    way = np.linspace(0.8, 1.2, SENSORS)
    shared = random.normal(0.0, 1.0, (HOURS, 1)) * way
    model = fit(terms, 50.0 + shared + random.normal(0.0, 0.02, (HOURS, SENSORS)), np.ones(2, bool))
    assert model is not None
    covariance = model.mean_covariance(terms[:24])
    assert weigh(0.2 * way, covariance)[0].rest < 2.0
    assert weigh(np.array([0.05, -0.05, 0.05, -0.05, 0.05, -0.05]), covariance)[0].rest > 20.0


def test_the_latest_hours_are_not_learnt_from() -> None:
    history = History.new(2, SENSORS)
    every = np.ones(2, bool), np.ones(SENSORS, bool)
    for hour in range(KEPT_H + 100):
        history.push(np.full(2, hour), np.full(SENSORS, hour), np.zeros(SENSORS), float(hour), every)
    history.usable[history.recent(KEPT_H)[:10]] = False
    learnt = history.terms[history.learnt_from(history.hour, LEAST_H), 0]
    assert learnt.min() == 110
    assert learnt.max() == KEPT_H + 99 - FRESH_H
    assert len(History.new(2, SENSORS).learnt_from(LEAST_H, LEAST_H)) == 0


def test_too_few_known_hours_say_nothing() -> None:
    terms, pressures = busy_zone(4)
    model = fit(terms, pressures, np.ones(2, bool))
    assert model is not None
    history = History.new(2, SENSORS)
    every = np.ones(2, bool), np.ones(SENSORS, bool)
    for hour in range(24):
        row = pressures[hour].copy()
        row[0] = np.nan if hour % 2 else row[0]
        flows = np.full(2, np.nan) if hour in (20, 21) else terms[hour]
        history.push(flows, row, np.zeros(SENSORS), float(terms[hour, 0]), every)
    found = history.residual(model, 24)
    assert found is not None
    assert np.isnan(found[0][0])
    assert np.isfinite(found[0][1:]).all()
    assert len(found[1]) == 22
    for _ in range(12):
        history.push(np.full(2, np.nan), pressures[0], np.zeros(SENSORS), np.nan, every)
    assert history.residual(model, 24) is None


def test_usual_scatter_is_that_of_each_column() -> None:
    random = np.random.default_rng(5)
    habits = Habits.new(5)
    habits.hours = 100
    habits.scatter[:100], habits.jump[:100] = random.gamma(2.0, 1.0, (2, 100, 5))
    habits.scatter[random.random(habits.scatter.shape) < 0.3] = np.nan
    habits.jump[:, 3] = np.nan
    usual, high, highest = usual_scatter(habits)
    for column in (0, 1, 2, 4):
        scatter = np.sort(habits.scatter[:, column][np.isfinite(habits.scatter[:, column])])
        jump = np.sort(habits.jump[:100, column])
        assert usual[column] == np.median(scatter)
        assert high[column] == scatter[int(HIGH * len(scatter))]
        assert highest[column] == jump[int(HIGH * 100)]
    assert np.isnan([usual[3], high[3], highest[3]]).all()
    assert np.isnan(usual_scatter(Habits.new(5))).all()
