"""What several sensors of a zone show in the same row is the water, not a sensor at fault."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.services.water import sensors
from gateway.services.water.sensors import KINDS, Fault, Habits

COLUMNS, ROWS = 20, 12


def judged(moved: list[int], how: str) -> np.ndarray:
    """bool[kinds, columns] that were ever at fault when the columns `moved` do so together on the third day."""
    rng = np.random.default_rng(3)
    habits, faulty = Habits.new(COLUMNS), np.zeros((len(KINDS), COLUMNS), bool)
    ever = faulty.copy()
    for hour in range(96):
        rows = 50.0 + 0.05 * rng.normal(size=(ROWS, COLUMNS))
        if how == "spikes" and hour >= 72 and hour % 3 == 0:
            rows[5, moved] += 6.0
        if how == "noisy" and hour >= 72:
            rows[:, moved] += rng.normal(size=(ROWS, 1))
        faulty, _ = sensors.judge(habits, rows, faulty, hour < 48, ROWS)
        ever |= faulty
    return ever


@pytest.mark.parametrize("how", ["spikes", "noisy"])
def test_what_two_sensors_show_at_once_is_no_fault(how: str) -> None:
    assert not judged([4, 11], how)[KINDS.index(Fault(how))].any()


@pytest.mark.parametrize("how", ["spikes", "noisy"])
def test_what_one_sensor_shows_is_its_fault(how: str) -> None:
    assert np.argwhere(judged([4], how)).tolist() == [[KINDS.index(Fault(how)), 4]]
