"""Times told by a device's own clock to CLOCK_BOOTTIME. No I/O, no clock of its own.

In: what the device's clock showed, in seconds from any epoch, and when the message arrived. Out: when that was by
CLOCK_BOOTTIME, never after the arrival. Never invents: after a jump of the device's clock nothing is known of it any
more, and the arrival stands in for the time.

A message takes some time to arrive, never less than none: the least seen difference of arrival and device time is
nearest to the true offset of the clocks. It may grow by `drift`, the most by which two crystals part:

    offset(now) = min over messages of  arrival - device time + drift * (now - arrival)
    time        = device time + offset  <=  arrival

Of a clock that is set, restarted or wraps, three things are noticed: it shows less than before, it is ahead of what it
can show by more than `jump_s`, or its newest time was long past at the message before. A clock with `rollover_s` that
shows less is first taken to have wrapped.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRIFT = 200e-6  # two crystals of 100 ppm
JUMP_S = 2.0  # what a device may be off by without having jumped
MAX_S = 4e9  # more than any clock shows (unix time until 2096): what is beyond is no time
LATE_S = 600.0  # a moment is told so late at the most: a vehicle parked on its loop, a batch of records


class DeviceClock:
    """The clock of one device.

    reconcile(device_time_s, arrival_ns) -> time_ns          one time
    times_ns(device_times_s, arrival_ns) -> i64[n]           all times of one message; the newest sets the clock
    fits(device_time_s, arrival_ns) -> bool                  whether the newest time of a message agrees with all before

    Device times are seconds (float; unix times resolve to 0.3 us) from the device's own epoch, be it unix
    time or its start. `restarts` counts jumps. A message whose times are not to be believed at once can be tried with
    `fits` first, which changes nothing.
    """

    def __init__(
        self,
        rollover_s: float = math.inf,
        drift: float = DRIFT,
        jump_s: float = JUMP_S,
        late_s: float = LATE_S,
    ) -> None:
        """`rollover_s`: what the device's clock counts up to before it begins at 0 again. Raises ValueError for
        what cannot be."""
        if not (rollover_s > 0 and drift >= 0 and jump_s > 0 and late_s > 0):
            raise ValueError(f"rollover {rollover_s} s, drift {drift}, jump {jump_s} s, late {late_s} s")
        self._rollover, self._drift, self._jump, self._late = rollover_s, drift, jump_s, late_s
        self._offset_ns = math.inf  # arrival - device time at best, at `_arrival_ns`
        self._arrival_ns = 0  # of the latest message
        self._newest_s = -math.inf  # unwrapped: the latest moment that the device told
        self._moments = 0  # different ones told since the clock was last set: the first may have been long past
        self.restarts = 0

    @property
    def offset_ns(self) -> float:
        """CLOCK_BOOTTIME less device time (unwrapped), an upper bound; inf before the first message."""
        return self._offset_ns

    def fits(self, device_time_s: float, arrival_ns: int) -> bool:
        """Whether the newest time of a message agrees with what is known. Always before the first message; never for
        what is no time (`MAX_S`)."""
        if not abs(device_time_s) < MAX_S:
            return False
        return math.isinf(self._offset_ns) or self._agrees(self._unwrap(device_time_s, arrival_ns), arrival_ns)

    def reconcile(self, device_time_s: float, arrival_ns: int) -> int:
        """CLOCK_BOOTTIME ns of a device time that arrived at `arrival_ns`; `arrival_ns` where it is no number."""
        return int(self.times_ns([device_time_s], arrival_ns)[0])

    def times_ns(self, device_times_s: ArrayLike, arrival_ns: int) -> NDArray[np.int64]:
        """i64[n] CLOCK_BOOTTIME ns of all times of one message (f64[n] s); those that are no times get
        `arrival_ns`."""
        times = np.atleast_1d(np.asarray(device_times_s, np.float64))
        told = np.abs(times) < MAX_S  # False for NaN
        if not told.any():
            return np.full(len(times), arrival_ns, np.int64)
        newest = float(times[told].max())
        if math.isfinite(self._rollover) and math.isfinite(self._offset_ns):
            times = np.array([self._unwrap(t, arrival_ns) if ok else t for t, ok in zip(times, told, strict=True)])
            newest = float(times[told].max())
        if math.isfinite(self._offset_ns) and not self._agrees(newest, arrival_ns):
            times = times % self._rollover if math.isfinite(self._rollover) else times
            newest = float(times[told].max())
            self._restart()
        self._observe(newest, arrival_ns)
        placed = np.full(len(times), arrival_ns, np.int64)
        # relative to the newest, so that nothing of a unix time's digits is lost
        newest_ns = min(arrival_ns, round(newest * 1e9 + self._offset_ns))
        back_s = np.clip(newest - times[told], 0.0, None)
        placed[told] = newest_ns - np.round(back_s * 1e9).astype(np.int64)
        return placed

    def _restart(self) -> None:
        self.restarts += 1
        self._offset_ns, self._newest_s, self._moments = math.inf, -math.inf, 0

    def _observe(self, newest_s: float, arrival_ns: int) -> None:
        self._offset_ns = min(self._bound_ns(arrival_ns), arrival_ns - newest_s * 1e9)
        self._moments += newest_s > self._newest_s
        self._newest_s = max(self._newest_s, newest_s)
        self._arrival_ns = max(self._arrival_ns, arrival_ns)

    def _bound_ns(self, now_ns: int) -> float:
        """The offset at most, by what is known."""
        return self._offset_ns + self._drift * max(0, now_ns - self._arrival_ns)

    def _agrees(self, newest_s: float, arrival_ns: int) -> bool:
        if newest_s < self._newest_s - self._jump:
            return False
        bound_ns = self._bound_ns(arrival_ns)
        ahead_s = (newest_s * 1e9 + bound_ns - arrival_ns) / 1e9
        if ahead_s > self._jump and self._moments > 1:
            return False
        is_new = newest_s > self._newest_s + self._jump
        told_late_s = (self._arrival_ns - newest_s * 1e9 - bound_ns) / 1e9
        return not (is_new and told_late_s > self._late)

    def _unwrap(self, time_s: float, arrival_ns: int) -> float:
        """The latest moment with this reading that the device can have reached; the newest told again stays itself."""
        if math.isinf(self._rollover) or math.isinf(self._newest_s):
            return time_s
        if math.isclose((self._newest_s - time_s) % self._rollover, 0.0, abs_tol=1e-9):
            return self._newest_s
        now_s = (arrival_ns - self._bound_ns(arrival_ns)) / 1e9
        wraps = max(0.0, math.floor((now_s + self._jump - time_s) / self._rollover))
        return time_s + wraps * self._rollover
