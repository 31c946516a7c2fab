"""Readings of many channels to the rows of one watch. In: batches. Out: whole rows. It knows no clock and no device.

A row covers one step of the UTC grid: the mean of a gauge's good readings, the last one of a state or counter, NaN
where none came. It is whole when every column has had as many readings, good or bad, as its period promises, when a
reading of a later step arrives, or when the step is over; whichever comes first, and once. What comes later is left
out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.api import Batch, Quality

SETTLE_NS = 2_000_000_000  # after its end a step waits so long for answers that are on their way


class RowBoard:
    """The row being assembled. `averaged` bool[columns]: a gauge; `period_s`: seconds between readings."""

    def __init__(
        self,
        channels: Sequence[int],
        total: int,
        *,
        averaged: Sequence[bool],
        period_s: Sequence[float],
        step_s: float,
        align_ns: int,
    ) -> None:
        columns = len(channels)
        self._column = np.full(total, -1, np.int64)
        self._column[list(channels)] = np.arange(columns)
        self._averaged = np.array(averaged, bool)
        self._step_ns = max(1, round(step_s * 1e9))
        self.align_ns = align_ns
        self._due = np.array([max(1, int(step_s / one + 1e-9)) if one > 0 else 1 for one in period_s], np.int64)
        self._begun = False
        self._number = 0  # of the open step, on the UTC grid
        self._start_ns = 0
        self._end_ns = 0
        self._last_ns = 0
        self._closed = False
        self._good = np.zeros(columns, np.int64)
        self._came = np.zeros(columns, np.int64)
        self._value = np.full(columns, np.nan)

    def push(self, batch: Batch) -> list[tuple[int, int, NDArray[np.float64]]]:
        """[(start_ns, known_ns, f64[columns])] of the rows that became whole. `known_ns` is the reading that did it."""
        column = self._column[batch.channel]
        mine = column >= 0
        if not mine.any():
            return []
        rows: list[tuple[int, int, NDArray[np.float64]]] = []
        column, time_ns, value = column[mine], batch.time_ns[mine], batch.value[mine]
        good = (batch.quality[mine] < Quality.SENTINEL) & np.isfinite(value)
        at = 0
        while at < len(column):
            first_ns = int(time_ns[at])
            if not self._begun or first_ns >= self._end_ns:
                rows += self._close(first_ns)
                self._open(first_ns)
            later = np.flatnonzero(time_ns[at:] >= self._end_ns)
            end = at + int(later[0]) if len(later) else len(column)
            if not self._closed:
                self._take(column[at:end], time_ns[at:end], value[at:end], good[at:end])
                if (self._came >= self._due).all():
                    rows += self._close(self._last_ns)
            at = end
        return rows

    def close_due(self, now_ns: int) -> list[tuple[int, int, NDArray[np.float64]]]:
        """The row whose step is over."""
        return self._close(now_ns) if self._begun and now_ns >= self._end_ns + SETTLE_NS else []

    def _open(self, time_ns: int) -> None:
        number = (time_ns + self.align_ns) // self._step_ns
        again = self._begun and number == self._number  # the clock was set back a little: this step has had its row
        self._begun, self._number = True, number
        self._start_ns = number * self._step_ns - self.align_ns
        self._end_ns = self._start_ns + self._step_ns
        self._closed = again
        self._good[:] = self._came[:] = 0
        self._value[:] = np.nan

    def _take(
        self,
        column: NDArray[np.int64],
        time_ns: NDArray[np.int64],
        value: NDArray[np.float64],
        good: NDArray[np.bool_],
    ) -> None:
        fresh = time_ns >= self._start_ns  # an older one belongs to a row that is gone
        if not fresh.all():
            column, time_ns, value, good = column[fresh], time_ns[fresh], value[fresh], good[fresh]
        if not len(column):
            return
        np.add.at(self._came, column, 1)
        for one, number in zip(column[good].tolist(), value[good].tolist(), strict=True):
            count = self._good[one] = self._good[one] + 1
            if count > 1 and self._averaged[one]:
                number = self._value[one] + (number / count - self._value[one] / count)
            self._value[one] = number
        self._last_ns = int(time_ns.max())

    def _close(self, known_ns: int) -> list[tuple[int, int, NDArray[np.float64]]]:
        if not self._begun or self._closed:
            return []
        self._closed = True
        return [(self._start_ns, known_ns, self._value.copy())]
