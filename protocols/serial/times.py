"""What a device's own clock says in its frames, on the gateway's clock. No I/O.

A frame whose time does not follow from what the clock showed before is not believed at once: a check of one byte lets
through what was shifted by a lost byte, and its times are then far off. Only if the next frame goes on from there has
the clock really been set or restarted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.clock import JUMP_S, MAX_S, DeviceClock
from protocols.serial.points import Options


class FrameTimes:
    """The clock of one device. `jumps`: frames that were not believed."""

    def __init__(self, options: Options) -> None:
        wraps_s = [time.rollover * time.scale for time in options.times if time.rollover]
        self._clock = DeviceClock(wraps_s[0] if wraps_s else math.inf)
        self._doubted: tuple[float, int] | None = None
        self._last = np.zeros(len(options.times), np.int64)
        self.jumps = 0

    def place(self, times_s: NDArray[np.float64], arrival_ns: int) -> NDArray[np.int64] | None:
        """CLOCK_BOOTTIME i64[times] of a frame's times f64[times], none of them before the one of the frame before;
        `arrival_ns` for those that are none. None where the frame is not to be believed."""
        told = times_s[np.abs(times_s) < MAX_S]
        if len(told) and not self._is_believed(float(told.max()), arrival_ns):
            self.jumps += 1
            return None
        self._last = np.maximum(self._last, self._clock.times_ns(times_s, arrival_ns))
        return self._last

    def _is_believed(self, newest_s: float, arrival_ns: int) -> bool:
        if self._clock.fits(newest_s, arrival_ns):
            self._doubted = None
            return True
        before, self._doubted = self._doubted, (newest_s, arrival_ns)
        if before is None:
            return False
        return 0.0 <= newest_s - before[0] <= (arrival_ns - before[1]) / 1e9 + JUMP_S
