"""What a pump delivers when it runs. In: an hour of a flow's rows. Out: how far off its own habit that is. A fixed
speed pump runs or does not; what it delivers hardly changes, and neither leaks nor demand move it as a bad meter does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

KEPT = 72  # hours of running that are remembered
LEAST = 24
TIGHT = 0.03  # scatter of the hours over their median: of more it is no fixed-speed pump
OFF = 0.05  # of its usual flow
SCATTERS = 8.0
ROWS = 4


@dataclass(slots=True)
class Plateaus:
    """`usual` f64[KEPT, flows]: what was delivered in hours of running; `count` f64[flows] of them so far."""

    usual: F64
    count: F64

    @staticmethod
    def new(flows: int) -> Plateaus:
        return Plateaus(np.full((KEPT, flows), np.nan), np.zeros(flows))

    def off(self, rows: F64, learn: NDArray[np.bool_]) -> F64:
        """f64[rows, flows] of one hour to f64[flows]: what is more than usual, NaN where the pump did not run all the
        hour, 0 while it is ordinary. `learn` bool[flows]: whose hour may be remembered."""
        result = np.full(rows.shape[1], np.nan)
        for flow in range(rows.shape[1]):
            hour = np.abs(rows[:, flow])
            hour = hour[np.isfinite(hour)]
            if len(hour) < ROWS or hour.min() < 0.7 * hour.max() or hour.max() <= 0.0:
                continue
            now = float(np.median(hour))
            known = self.usual[np.isfinite(self.usual[:, flow]), flow]
            if len(known) >= LEAST:
                middle = float(np.median(known))
                scatter = 1.4826 * float(np.median(np.abs(known - middle)))
                spread = float(np.sort(known)[int(0.95 * len(known))] - np.sort(known)[int(0.05 * len(known))])
                if now < 0.5 * middle:
                    continue  # not running
                if spread < 2.0 * TIGHT * middle:
                    far = abs(now - middle) > max(OFF * middle, SCATTERS * scatter)
                    result[flow] = now - middle if far else 0.0
            if learn[flow] and not (np.isfinite(result[flow]) and result[flow] != 0.0):
                self.usual[int(self.count[flow]) % KEPT, flow] = now
                self.count[flow] += 1
        return result
