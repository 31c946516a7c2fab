"""Inductive loops from the raw waveform: samples of -dL/L in percent in (positive = metal above), vehicles
out.

Every loop keeps its own baseline: it follows drift while the loop is free and stands still while it is
occupied. A vehicle begins above the threshold and ends below a share of its own peak, each for a few
milliseconds on end. A loop occupied for `stuck_s` is reported stuck, and clears when it comes free. NaN and
an open circuit (far below any drift) are no samples: they count in time, but change nothing.

Row: kind, loop, on_index, off_index (samples since the start, [on, off)), peak. A stuck row has off_index =
the sample at which it was known. No clocks, no lanes, no speeds here.

The field of a vehicle also reaches the neighbouring lane's loop, weaker than a motorcycle of its own but
not always below the threshold. The share of loop b that shows on loop a is learnt (a running median, while
b is strongly covered and a shows little) and taken off, so only what is left can be a vehicle.

State a loop: number f64[n, 5], whole i64[n, 8]; and the shares f64[n, n].
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpath.columns import F8, I4, I8, U1
from fastpath.jit import inner, kernel

VEHICLE = 0
STUCK = 1
STUCK_CLEAR = 2

THRESHOLD_PCT = 0.12
STUCK_S = 120.0
OFF_SHARE = 0.5  # of the threshold, and
OFF_PEAK_SHARE = 0.06  # of the vehicle's own peak: whichever is larger ends it
REARM = 1.5  # times the end of the vehicle before: the next may begin there, or once the loop was nearly free
CROSS_PCT = 1.0  # a loop so strongly covered shows on others
CROSS_LARGEST = 0.15  # believable share
CROSS_STEP_S = 10.0  # covered time in which a share moves by 1
STANDING_S = 5.0  # covered for longer: it stands
SMOOTH_S = 0.008  # low-pass against mains pickup
ON_S = 0.040  # debounce
OFF_S = 0.020
FOLLOW_S = 2.0  # baseline of a free loop
OPEN_PCT = -5.0  # below the baseline: an open circuit

BASE, LEVEL, PEAK, RUN_PEAK, AGAIN = range(5)
STARTED, OCCUPIED, RUN, ON, STANDS, SAMPLES, VEHICLES, RUN_START = range(8)
SMOOTH, FOLLOW, CROSS, THRESHOLD = range(4)
ON_RUN, OFF_RUN, STANDING_RUN, STUCK_RUN = range(4)
ROWS_A_SAMPLE = 2


class LoopRows(NamedTuple):
    """What happened, in order. peak in percent above the baseline."""

    kind: U1
    loop: I4
    on_index: I8
    off_index: I8
    peak: F8


@inner
def shown_by_others(number: F8, whole: I8, cross: F8, runs: I8, c: int, now: int, step: float) -> tuple[float, bool]:
    """(What a strongly covered loop shows on loop c, whether c's baseline may move meanwhile); learns the
    shares.

    The largest contribution counts: both loops of the neighbouring lane see one vehicle. A standing vehicle
    teaches nothing, for then drift of c would be taken for its share; and with shares unlearnt, the
    baseline waits.
    """
    shown = 0.0
    moving = 0
    source = -1
    for b in range(number.shape[0]):
        there = number[b, LEVEL] - number[b, BASE]
        if b == c or there < CROSS_PCT:
            continue
        shown = max(shown, cross[c, b] * there)
        if whole[b, OCCUPIED] == 0 or now - whole[b, ON] < runs[STANDING_RUN]:
            moving += 1
            source = b
    if moving == 1:
        share = (number[c, LEVEL] - number[c, BASE]) / (number[source, LEVEL] - number[source, BASE])
        if share < CROSS_LARGEST:
            more = step if share > cross[c, source] else -step
            cross[c, source] = min(max(cross[c, source] + more, 0.0), CROSS_LARGEST)
    return shown, moving == 0


@kernel
def push_samples(
    start: int, clock: int, samples: F8, number: F8, whole: I8, cross: F8, rates: F8, runs: I8,
    out_whole: I8, out_peak: F8, used: I8,
) -> int:  # fmt: skip
    """Samples f64[k, loops] from row `start` on, `clock` being the index of row 0; gives the first row not
    taken."""
    loops = number.shape[0]
    threshold = rates[THRESHOLD]
    rows = 0
    i = start
    while i < samples.shape[0]:
        if rows + ROWS_A_SAMPLE * loops > out_peak.size:
            break
        now = clock + i
        for c in range(loops):
            x = samples[i, c]
            occupied = whole[c, OCCUPIED] != 0
            counted = occupied and whole[c, RUN] == 0  # a run below the end counts once it turns out to be none
            if math.isfinite(x) and abs(x) < 1e6:
                if whole[c, STARTED] == 0:
                    whole[c, STARTED] = 1
                    number[c, BASE] = x
                    number[c, LEVEL] = x
                if x - number[c, BASE] > OPEN_PCT:
                    number[c, LEVEL] += rates[SMOOTH] * (x - number[c, LEVEL])
                    shown, settled = shown_by_others(number, whole, cross, runs, c, now, rates[CROSS])
                    height = number[c, LEVEL] - number[c, BASE] - shown
                    if occupied:
                        number[c, PEAK] = max(number[c, PEAK], height)
                        end = max(OFF_SHARE * threshold, OFF_PEAK_SHARE * number[c, PEAK])
                        if height >= end:
                            if whole[c, RUN] > 0:
                                whole[c, SAMPLES] += now + 1 - whole[c, RUN_START]
                                whole[c, RUN] = 0
                        else:
                            if whole[c, RUN] == 0:
                                whole[c, RUN_START] = now
                                counted = False
                            whole[c, RUN] += 1
                            if whole[c, RUN] >= runs[OFF_RUN]:
                                off = whole[c, RUN_START]
                                if whole[c, STANDS] != 0:
                                    out_whole[rows, 0] = STUCK_CLEAR
                                    out_whole[rows, 1] = c
                                    out_whole[rows, 2] = whole[c, ON]
                                    out_whole[rows, 3] = off
                                    out_peak[rows] = number[c, PEAK]
                                    rows += 1
                                out_whole[rows, 0] = VEHICLE
                                out_whole[rows, 1] = c
                                out_whole[rows, 2] = whole[c, ON]
                                out_whole[rows, 3] = off
                                out_peak[rows] = number[c, PEAK]
                                rows += 1
                                whole[c, VEHICLES] += 1
                                number[c, AGAIN] = REARM * end
                                whole[c, OCCUPIED] = 0
                                whole[c, STANDS] = 0
                                whole[c, RUN] = 0
                                occupied = False
                    else:
                        if height < 0.5 * threshold:
                            number[c, AGAIN] = 0.0
                        if height < max(threshold, number[c, AGAIN]):
                            whole[c, RUN] = 0
                            number[c, RUN_PEAK] = 0.0
                            if settled:
                                number[c, BASE] += rates[FOLLOW] * height
                        else:
                            if whole[c, RUN] == 0:
                                whole[c, RUN_START] = now
                            whole[c, RUN] += 1
                            number[c, RUN_PEAK] = max(number[c, RUN_PEAK], height)
                            if whole[c, RUN] >= runs[ON_RUN]:
                                whole[c, OCCUPIED] = 1
                                whole[c, ON] = whole[c, RUN_START]
                                whole[c, SAMPLES] += now + 1 - whole[c, RUN_START]
                                number[c, PEAK] = number[c, RUN_PEAK]
                                whole[c, RUN] = 0
                                occupied = True
            if counted:
                whole[c, SAMPLES] += 1
            if occupied and whole[c, STANDS] == 0 and now + 1 - whole[c, ON] >= runs[STUCK_RUN]:
                whole[c, STANDS] = 1
                out_whole[rows, 0] = STUCK
                out_whole[rows, 1] = c
                out_whole[rows, 2] = whole[c, ON]
                out_whole[rows, 3] = now
                out_peak[rows] = number[c, PEAK]
                rows += 1
        i += 1
    used[0] = rows
    return i


def _rows(whole: I8, peak: F8) -> LoopRows:
    w = whole.T.copy()
    return LoopRows(w[0].astype(np.uint8), w[1].astype(np.int32), w[2], w[3], peak.copy())


NO_ROWS = _rows(np.empty((0, 4), np.int64), np.empty(0))


class LoopBank:
    """`loops` loops sampled together at `rate_hz`. Raises ValueError for a rate or threshold that is not
    positive."""

    def __init__(
        self, loops: int, rate_hz: float, threshold_pct: float = THRESHOLD_PCT, stuck_s: float = STUCK_S
    ) -> None:
        if not (rate_hz > 0 and threshold_pct > 0 and stuck_s > 0 and loops >= 0):
            raise ValueError("loops need a positive rate, threshold and stuck time")
        self.loops = loops
        self.rate_hz = float(rate_hz)
        self.threshold = float(threshold_pct)
        self.samples = 0  # rows seen since the start
        self._number = np.zeros((loops, 5))
        self._cross = np.zeros((loops, loops))
        self._whole = np.zeros((loops, 8), np.int64)
        share = [1.0 - math.exp(-1.0 / (rate_hz * s)) for s in (SMOOTH_S, FOLLOW_S, CROSS_STEP_S)]
        self._rates = np.array([*share, threshold_pct])
        self._runs = np.array([max(1, round(s * rate_hz)) for s in (ON_S, OFF_S, STANDING_S, stuck_s)], np.int64)
        room = max(64, ROWS_A_SAMPLE * loops)
        self._out_whole = np.zeros((room, 4), np.int64)
        self._out_peak = np.zeros(room)
        self._used = np.zeros(1, np.int64)

    @property
    def baselines(self) -> list[float]:
        """Of each loop, NaN before its first sample."""
        return np.where(self._whole[:, STARTED] != 0, self._number[:, BASE], np.nan).tolist()  # type: ignore[no-any-return]

    def restore(self, loop: int, baseline: float) -> None:
        """Start with the baseline of a moment ago: a loop that is covered right now does not take that for free."""
        self._number[loop, BASE] = self._number[loop, LEVEL] = baseline
        self._whole[loop, STARTED] = 1

    def push(self, samples: NDArray[Any]) -> LoopRows:
        """Samples f64[k, loops], or flat with the loops of one instant side by side."""
        block = np.require(samples, np.float64, ("C", "W"))
        if self.loops == 0 or block.size % self.loops or block.ndim > 2:
            raise ValueError(f"{block.shape} samples do not divide among {self.loops} loops")
        block = block.reshape(-1, self.loops)
        parts: list[LoopRows] = []
        at = 0
        while at < len(block):
            at = push_samples(
                at, self.samples, block, self._number, self._whole, self._cross, self._rates, self._runs,
                self._out_whole, self._out_peak, self._used,
            )  # fmt: skip
            if rows := int(self._used[0]):
                parts.append(_rows(self._out_whole[:rows], self._out_peak[:rows]))
        self.samples += len(block)
        if len(parts) < 2:
            return parts[0] if parts else NO_ROWS
        return LoopRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    @property
    def occupied(self) -> U1:
        """u8[loops]: 1 while a vehicle is above."""
        return self._whole[:, OCCUPIED].astype(np.uint8)

    @property
    def occupied_samples(self) -> I8:
        """i64[loops]: samples under a vehicle since the start, the present one included."""
        return self._whole[:, SAMPLES].copy()

    @property
    def vehicles(self) -> I8:
        """i64[loops]: vehicles that have left since the start."""
        return self._whole[:, VEHICLES].copy()

    @property
    def nbytes(self) -> int:
        """Bytes of state."""
        return self._number.nbytes + self._whole.nbytes
