"""Device times on the gateway's clock: never after their arrival, never invented, whatever the device's clock does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.clock import DRIFT, DeviceClock

S = 1_000_000_000
BOOT = 5_000 * S


def test_the_fastest_message_sets_the_offset() -> None:
    clock = DeviceClock()
    assert clock.reconcile(10.0, BOOT + 300_000_000) == BOOT + 300_000_000  # all that is known
    assert clock.reconcile(11.0, BOOT + S + 50_000_000) == BOOT + S + 50_000_000
    late = clock.reconcile(12.0, BOOT + 2 * S + 900_000_000)
    assert late == pytest.approx(BOOT + 2 * S + 50_000_000, abs=2 * DRIFT * S)
    assert clock.restarts == 0


def test_unix_time_keeps_its_milliseconds() -> None:
    clock = DeviceClock()
    begun = 1_790_000_000.0
    clock.reconcile(begun, BOOT)
    assert clock.reconcile(begun + 1.234, BOOT + 2 * S) == pytest.approx(BOOT + 1_234_000_000, abs=2 * DRIFT * S)


def test_a_vehicle_told_again_and_again_keeps_its_time() -> None:
    clock = DeviceClock(rollover_s=2**32 / 1000)
    clock.reconcile(100.0, BOOT)
    first = clock.reconcile(160.0, BOOT + 60 * S)
    again = [clock.reconcile(160.0, BOOT + (60 + i) * S) for i in range(1, 300)]
    assert max(again) - first <= DRIFT * 300 * S
    assert clock.restarts == 0


def test_the_first_moment_may_be_long_past() -> None:
    clock = DeviceClock()
    clock.reconcile(10.0, BOOT)  # an event of ten minutes ago
    assert clock.fits(610.0, BOOT + S)
    assert clock.reconcile(610.0, BOOT + S) == BOOT + S
    assert clock.restarts == 0


@pytest.mark.parametrize("wrap_s", [65.536, 2**32 / 1000])
def test_a_counter_that_wraps_goes_on(wrap_s: float) -> None:
    clock = DeviceClock(rollover_s=wrap_s)
    for i in range(400):
        device_s = (wrap_s - 100.0 + i) % wrap_s
        got = clock.reconcile(device_s, BOOT + i * S + 20_000_000)
        assert got == pytest.approx(BOOT + i * S + 20_000_000, abs=1000)
    assert clock.restarts == 0


@pytest.mark.parametrize(("device_s", "why"), [(3.0, "restarted"), (90_000.0, "set forward"), (-50.0, "set back")])
def test_a_clock_that_jumped_is_learnt_anew(device_s: float, why: str) -> None:
    clock = DeviceClock()
    for i in range(10):
        clock.reconcile(1000.0 + i, BOOT + i * S + 10_000_000)
    at = BOOT + 20 * S
    assert not clock.fits(device_s, at)
    assert clock.reconcile(device_s, at) == at, why
    assert clock.restarts == 1
    assert clock.fits(device_s + 1.0, at + S)
    assert clock.reconcile(device_s + 1.0, at + S) == pytest.approx(at + S, abs=DRIFT * S)


def test_a_restarted_clock_that_ran_past_where_it_was_is_noticed() -> None:
    """Off for an hour, then on for longer than it had been before: no time went backwards."""
    clock = DeviceClock()
    clock.reconcile(100.0, BOOT)
    clock.reconcile(101.0, BOOT + S)
    clock.reconcile(101.0, BOOT + 3000 * S)  # told again: its time is not new
    assert not clock.fits(200.0, BOOT + 3600 * S)
    assert clock.reconcile(200.0, BOOT + 3600 * S) == BOOT + 3600 * S


def test_times_of_one_message_keep_their_distances() -> None:
    clock = DeviceClock()
    times = clock.times_ns([7.0, 9.5, math.nan, 8.25], BOOT)
    assert times.tolist() == [BOOT - 2_500_000_000, BOOT, BOOT, BOOT - 1_250_000_000]


def test_no_number_is_the_arrival() -> None:
    clock = DeviceClock()
    assert clock.reconcile(math.nan, BOOT) == BOOT
    assert clock.reconcile(math.inf, BOOT) == BOOT
    assert not clock.fits(math.nan, BOOT)
    assert clock.offset_ns == math.inf


@pytest.mark.parametrize("keys", [{"rollover_s": 0.0}, {"jump_s": -1.0}, {"drift": -1e-6}, {"late_s": 0.0}])
def test_bounds_that_cannot_be(keys: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="drift"):
        DeviceClock(**keys)


MESSAGES = st.lists(
    st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 5.0) | st.just(0.0), st.sampled_from([0.0, 0.0, 0.0, -1e4, 1e6])),
    max_size=60,
)


@given(MESSAGES, st.sampled_from([math.inf, 4294967.296, 65.536]))
def test_no_time_is_after_its_arrival(messages: list[tuple[float, float, float]], rollover_s: float) -> None:
    clock, now_s, shift = DeviceClock(rollover_s), 0.0, 0.0
    for step_s, delay_s, jump_s in messages:
        now_s += step_s
        shift += jump_s
        arrival = BOOT + round((now_s + delay_s) * S)
        device_s = now_s + shift
        device_s = device_s % rollover_s if math.isfinite(rollover_s) else device_s
        assert clock.reconcile(device_s, arrival) <= arrival


@given(st.lists(st.tuples(st.floats(0.01, 30.0), st.floats(0.0, 1.5)), min_size=2, max_size=80), st.floats(-1e-4, 1e-4))
def test_an_honest_clock_is_never_early_and_at_most_as_late_as_the_fastest_message(
    messages: list[tuple[float, float]], skew: float
) -> None:
    clock, now_s, best = DeviceClock(), 0.0, math.inf
    for step_s, delay_s in messages:
        now_s += step_s
        best = min(best + 2 * DRIFT * step_s, delay_s)
        true = BOOT + round(now_s * S)
        got = clock.reconcile(77.0 + now_s * (1 + skew), true + round(delay_s * S))
        assert got >= true - 1000
        assert got <= true + round((best + 2 * DRIFT * 2.0 + 1e-6) * S)
    assert clock.restarts == 0


def test_arrays_of_any_shape_of_list() -> None:
    assert DeviceClock().times_ns(np.empty(0), BOOT).shape == (0,)
