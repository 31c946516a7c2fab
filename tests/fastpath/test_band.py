"""The band that is shown to people against what the detectors say of readings within and beyond it."""

from __future__ import annotations

import numpy as np
import pytest
from test_chain import S, channels, conditions, push

from fastpath.chain import Chain

MINUTE = 60 * S
READINGS = 1500


def taught(detector, *, level=20.0, seed=1):
    chain = Chain(channels(detector=[detector], period_ns=[MINUTE]), conditions(), start_ns=0)
    values = level + np.round(np.random.default_rng(seed).normal(size=READINGS), 2)
    push(chain, MINUTE * np.arange(READINGS), values)
    return chain


@pytest.mark.parametrize("detector", [1, 2, 3])  # default, level, spike
@pytest.mark.parametrize("level", [20.0, -3000.0])
def test_a_reading_within_the_band_is_nothing_new_and_one_far_beyond_is(detector, level):
    chain = taught(detector, level=level)
    (low,), (high,) = chain.band()
    assert level - 15 < low < level - 3
    assert level + 3 < high < level + 15
    inside = push(chain, [MINUTE * READINGS], [high - 0.01 * (high - low)])
    assert not len(inside.alerts.channel)
    for value in (level + 4 * (high - level), level - 4 * (level - low)):
        beyond = push(taught(detector, level=level), [MINUTE * READINGS], [value])
        if detector != 2:  # a shift of level takes more than one reading
            assert beyond.score[0] > inside.score[0]
            assert beyond.alerts.onset.tolist() == [1]


def test_nothing_is_shown_of_a_channel_that_is_not_known():
    chain = Chain(channels(detector=[1, 0, 6]), conditions(), start_ns=0)
    push(chain, [S, 2 * S], [1.0, 2.0])
    assert all(np.isnan(bound).all() for bound in chain.band())


def test_kept_is_the_value_behind_the_filter():
    chain = Chain(channels(filter=[2]), conditions(), start_ns=0)  # Hampel that replaces
    push(chain, S * np.arange(1, 14), [5.0, 5.1] * 6 + [500.0])
    assert chain.kept()[0] in (5.0, 5.1)
