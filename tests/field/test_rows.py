"""Rows of a watch: each step once, as soon as it can be whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.rows import SETTLE_NS, RowBoard
from protocols.api import Batch, Quality

S = 1_000_000_000


def batch(rows: Sequence[tuple[int, float, float]]) -> Batch:
    """(channel, seconds, value); NaN is no answer."""
    channel, seconds, value = zip(*rows, strict=True)
    numbers = np.array(value, np.float64)
    return Batch(
        np.array(channel, np.int32),
        np.array([round(s * S) for s in seconds], np.int64),
        numbers,
        np.where(np.isnan(numbers), int(Quality.NO_REPLY), 0).astype(np.uint8),
    )


def board(*, period_s: float = 60.0, averaged: bool = True, align_s: int = 0) -> RowBoard:
    return RowBoard([2, 0], 3, averaged=[averaged] * 2, period_s=[period_s] * 2, step_s=60.0, align_ns=align_s * S)


def test_a_row_is_whole_with_its_last_column() -> None:
    it = board()
    assert it.push(batch([(0, 60.0, 1.0), (1, 60.0, 9.0)])) == []
    ((start, known, values),) = it.push(batch([(2, 61.0, 2.0)]))
    assert (start, known, values.tolist()) == (60 * S, 61 * S, [2.0, 1.0])


def test_a_column_that_did_not_answer_completes_a_row_too() -> None:
    ((_, _, values),) = board().push(batch([(0, 0.0, 1.0), (2, 0.5, np.nan)]))
    assert np.isnan(values[0])
    assert values[1] == 1.0


def test_gauges_are_averaged_and_states_are_not() -> None:
    rows = [(c, s, float(s)) for s in range(0, 60, 20) for c in (0, 2)]
    ((_, _, mean),) = board(period_s=20.0).push(batch(rows))
    ((_, _, last),) = board(period_s=20.0, averaged=False).push(batch(rows))
    assert mean.tolist() == [20.0, 20.0]
    assert last.tolist() == [40.0, 40.0]


def test_the_next_step_closes_a_row_that_lacks_a_column() -> None:
    it = board()
    assert it.push(batch([(0, 1.0, 1.0)])) == []
    ((start, known, values),) = it.push(batch([(0, 125.0, 3.0)]))
    assert (start, known) == (0, 125 * S)
    assert np.isnan(values[0])
    ((start, _, values),) = it.push(batch([(2, 126.0, 4.0)]))
    assert (start, values.tolist()) == (120 * S, [4.0, 3.0])


def test_time_closes_a_row_once() -> None:
    it = board()
    it.push(batch([(0, 1.0, 1.0)]))
    assert it.close_due(60 * S) == []
    assert len(it.close_due(60 * S + SETTLE_NS)) == 1
    assert it.close_due(90 * S) == []
    assert it.push(batch([(2, 59.0, 1.0)])) == []  # too late


def test_steps_lie_on_the_grid_of_utc() -> None:
    ((start, _, _),) = board(align_s=50).push(batch([(0, 15.0, 1.0), (2, 15.0, 1.0)]))
    assert start == 10 * S


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(-100, 1000), st.floats(allow_nan=True, allow_infinity=True)),
        min_size=1,
        max_size=60,
    )
)
def test_any_readings_give_rows_in_order_and_no_step_twice(rows: list[tuple[int, int, float]]) -> None:
    it = board()
    whole = [row for reading in rows for row in it.push(batch([reading]))]
    starts = [start for start, _, _ in whole]
    assert starts == sorted(set(starts))
    assert all(np.isfinite(values[~np.isnan(values)]).all() for _, _, values in whole)


def test_a_clock_set_back_a_little_gives_no_step_twice() -> None:
    it = board()
    assert len(it.push(batch([(0, 1.0, 1.0), (2, 1.0, 1.0)]))) == 1
    it.align_ns = -5 * S
    assert it.push(batch([(0, 61.0, 1.0), (2, 61.0, 1.0)])) == []
    assert len(it.push(batch([(0, 66.0, 1.0), (2, 66.0, 1.0)]))) == 1
