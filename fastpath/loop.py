"""Inductive loops from the raw waveform: samples of -dL/L in percent in (positive = metal above), vehicles and faults
out.

Samples are averaged to about 250 steps a second and smoothed over one period of 50 and one of 60 Hz, so that mains
pickup vanishes. Every loop keeps its own baseline: it rests on what was seen up to half a second ago, so the nose of
a creeping vehicle is not yet in it; under a standing vehicle only slow drift moves it. A vehicle begins above the
noise of the empty loop and ends below a share of its own peak, however long it stands. Its on and off are where the
body reaches and leaves the loop's area, from the steepness of the first and the last rise.

What a neighbouring lane's vehicle shows on a loop is learnt from vehicles that pass alone, and taken off.

No vehicle makes an edge within one sample. What begins with such a jump is doubtful and does not count; a level that
stands still after a jump for `stuck_s` is a stuck loop, jump upon jump is chatter, and far below the baseline the
circuit is open. NaN is no sample: it counts in time, but changes nothing.

Row: kind, loop, on, off (samples since the start, with fraction), rise and fall (when the edges cross EDGE_SHARE of
their hump; NaN where unknown), peak. A fault's row has on = where it began and, at its end, off = where that was. No
clocks, no lanes, no speeds here."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpath import loop_state as its
from fastpath.columns import F8, I4, U1
from fastpath.loop_kernel import ROWS_A_SAMPLE, push_samples
from fastpath.loop_shape import delay, likeness

STEPS_HZ = 250.0
MAINS_HZ = (50.0, 60.0)
RING_S = 16.0
THRESHOLD_PCT = 0.05
STUCK_S = 10.0
ON_S = 0.025
OFF_S = 0.045
FOLLOW_S = 1.0  # baseline of a free loop, and
LAG_S = 0.5  # how far it stays behind
GUARD_S = 0.1  # before a nose nothing counts as empty, nor
SETTLE_S = 0.1  # after a tail
BELOW_S = 0.3  # below the baseline for so long: the baseline was wrong
DRIFT_S = 2.0
SLOPE_S = 5.0
DRIFT_PCT_S = 0.01  # fastest believable drift
LONG_S = 10.0
FLAT_S = 0.5
LOW_S = 120.0  # far below its peak for so long: gone
BACK_S = 3.0
AHEAD_S = 10.0  # for so long drift is taken to go on under a vehicle
STEEPEST_PCT_S = 0.05
JUMP_GAP_S = 5.0
OPEN_S = 0.005
OPEN_GAP_S = 30.0  # an intermittent open circuit is one


class LoopRows(NamedTuple):
    """What happened, in order. kind u8 and loop i32; on, off, rise, steep and fall in samples; peak in percent."""

    kind: U1
    loop: I4
    on: F8
    off: F8
    rise: F8
    steep: F8
    fall: F8
    peak: F8


NO_ROWS = LoopRows(np.empty(0, np.uint8), np.empty(0, np.int32), *(np.empty(0) for _ in range(6)))


class LoopBank:
    """`loops` loops sampled together at `rate_hz`. `near[a, b]` where loop a may show vehicles of loop b; all, if None.
    Raises ValueError for a rate or threshold that is not positive."""

    def __init__(
        self,
        loops: int,
        rate_hz: float,
        threshold_pct: float = THRESHOLD_PCT,
        stuck_s: float = STUCK_S,
        near: NDArray[np.bool_] | None = None,
    ) -> None:
        if not (rate_hz > 0 and threshold_pct > 0 and stuck_s > 0 and loops >= 0):
            raise ValueError("loops need a positive rate, threshold and stuck time")
        self.loops = loops
        self.rate_hz = float(rate_hz)
        self.threshold = float(threshold_pct)
        self.samples = 0  # rows seen since the start
        self.step = max(1, round(rate_hz / STEPS_HZ))  # samples
        self.steps_hz = rate_hz / self.step
        weights = np.ones(1)
        for mains in MAINS_HZ:
            taps = max(1, round(self.steps_hz / mains))
            weights = np.convolve(weights, np.full(taps, 1.0 / taps))
        self._weights = weights
        self.delay_steps = (len(weights) - 1) / 2 - (self.step - 1) / (2 * self.step)
        self._number = np.zeros((loops, its.NUMBERS))
        self._whole = np.zeros((loops, its.WHOLES), np.int64)
        self._whole[:, [its.OPEN_SINCE, its.WATCH]] = -1
        self._cells = np.zeros((loops, len(weights)))
        self._rings = np.zeros((3, loops, max(64, math.ceil(RING_S * self.steps_hz))))
        self._cross = np.zeros((loops, loops))
        self._held = np.zeros((loops, loops))
        self._taught = np.zeros((loops, loops), np.int64)
        everywhere = ~np.eye(loops, dtype=bool)
        self._near = (everywhere if near is None else everywhere & near).astype(np.uint8)
        self._rates = np.array(
            [
                1.0 - math.exp(-1.0 / (self.steps_hz * FOLLOW_S)),
                1.0 / (self.steps_hz * SLOPE_S),
                1.0 / self.steps_hz,
                threshold_pct,
                DRIFT_PCT_S * DRIFT_S,
                float(self.step),
                self.delay_steps,
                STEEPEST_PCT_S / self.steps_hz,
            ]
        )
        in_steps = (ON_S, OFF_S, LAG_S, GUARD_S, SETTLE_S, BELOW_S, DRIFT_S, LONG_S, FLAT_S, LOW_S, BACK_S, AHEAD_S)
        in_samples = (JUMP_GAP_S, stuck_s, OPEN_S, OPEN_GAP_S)
        self._runs = np.array(
            [
                self.step,
                *(max(1, round(s * self.steps_hz)) for s in in_steps),
                *(max(1, round(s * rate_hz)) for s in in_samples),
                len(weights) * self.step + self.step,
            ],
            np.int64,
        )
        assert self._runs.size == its.RUNS
        room = max(64, ROWS_A_SAMPLE * loops)
        self._out_whole = np.zeros((room, 4), np.int64)
        self._out_number = np.zeros((room, its.OUT_WIDTH))
        self._used = np.zeros(1, np.int64)

    @property
    def baselines(self) -> list[float]:
        """Of each loop, NaN before its first sample."""
        return np.where(self._whole[:, 0] != 0, self._number[:, its.BASE], np.nan).tolist()  # type: ignore[no-any-return]

    def restore(self, loop: int, baseline: float) -> None:
        """Start with the baseline of a moment ago: a loop that is covered right now does not take that for free."""
        self._number[loop, its.BASE] = baseline
        self._whole[loop, its.WEIGHT] = 1

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
                at, self.samples, block, self._number, self._whole, self._cells, self._rings, self._cross, self._held,
                self._taught, self._near, self._weights, self._rates, self._runs, self._out_whole, self._out_number,
                self._used,
            )  # fmt: skip
            if rows := int(self._used[0]):
                whole = self._out_whole[:rows]
                parts.append(
                    LoopRows(
                        whole[:, 0].astype(np.uint8), whole[:, 1].astype(np.int32), *self._out_number[:rows].T.copy()
                    )
                )
        self.samples += len(block)
        if len(parts) < 2:
            return parts[0] if parts else NO_ROWS
        return LoopRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _steps(self, sample: float) -> int:
        return int(sample / self.step + self.delay_steps)

    def delay(self, lead: int, trail: int, on: float, off: float, least: float, most: float) -> tuple[float, float]:
        """(Samples by which the signal of loop `trail` follows that of `lead`, correlation) for what `lead` saw in
        [on, off); delays from `least` to `most`. (nan, 0) where the ring does not reach back."""
        first, last = self._steps(on), self._steps(off) + 1
        low, high = math.floor(least / self.step), math.ceil(most / self.step)
        now = self.samples // self.step - 1
        last = min(last, now - high - 1)
        if last <= first or min(first, first + low - 1) <= max(now - self._rings.shape[2], 0):
            return math.nan, 0.0
        height = self._rings[its.HEIGHT]
        lag, fit = delay(height[lead], height[trail], first, last, low, high)
        return float(lag) * self.step, float(fit)

    def noise(self, loop: int) -> float:
        """Standard deviation of the smoothed signal of the empty loop, percent."""
        return math.sqrt(self._number[loop, its.SPREAD])

    def last_open(self, loop: int) -> int:
        """The last sample at which the circuit was open; 0 if never."""
        return int(self._whole[loop, its.OPEN_LAST])

    def last_jump(self, loop: int) -> int:
        """The last sample at which the signal jumped; 0 if never."""
        return int(self._whole[loop, its.JUMP_LAST])

    def jumped_and_stands(self, loop: int) -> bool:
        """Whether the signal has not moved since a jump: stuck, or soon to be found so."""
        return bool(self._whole[loop, its.WATCH] >= 0)

    def present(self, loop: int) -> float | None:
        """The sample at which the vehicle that is on `loop` came; None without one."""
        if not self._whole[loop, its.OCCUPIED]:
            return None
        return (float(self._whole[loop, its.ON]) - self.delay_steps) * self.step

    def likeness(self, strong: int, weak: int, on: float, off: float) -> tuple[float, float]:
        """(Share of loop `strong` that loop `weak` shows in [on, off), correlation). (nan, 0) out of the ring."""
        first, last = self._steps(on), self._steps(off) + 1
        if first <= self.samples // self.step - 1 - self._rings.shape[2] or last <= first:
            return math.nan, 0.0
        share, fit = likeness(self._rings[its.HEIGHT, strong], self._rings[its.HEIGHT, weak], first, last)
        return float(share), float(fit)

    @property
    def occupied(self) -> U1:
        """u8[loops]: 1 while a vehicle is above."""
        return self._whole[:, its.OCCUPIED].astype(np.uint8)

    @property
    def occupied_samples(self) -> NDArray[np.int64]:
        """i64[loops]: samples under a vehicle since the start, the present one included."""
        return self._whole[:, its.OCCUPIED_STEPS] * self.step

    @property
    def vehicles(self) -> NDArray[np.int64]:
        """i64[loops]: vehicles that have left since the start."""
        return self._whole[:, its.VEHICLES].copy()

    @property
    def shares(self) -> F8:
        """f64[loops, loops]: what loop a shows of a vehicle over loop b, as far as it is learnt."""
        return self._cross.copy()

    @property
    def crosstalk(self) -> F8:
        """f64[2, loops, loops]: the shares, and from how many vehicles each was learnt."""
        return np.stack([self._cross, self._taught.astype(np.float64)])

    @crosstalk.setter
    def crosstalk(self, learnt: F8) -> None:
        """Go on from what was learnt before a restart. Raises ValueError for another number of loops."""
        if learnt.shape != (2, self.loops, self.loops):
            raise ValueError(f"crosstalk of {learnt.shape} is not of {self.loops} loops")
        sane = np.nan_to_num(learnt, nan=0.0, posinf=0.0, neginf=0.0)
        self._cross = np.clip(sane[0], 0.0, 1.0)
        self._taught = np.clip(sane[1], 0.0, 1e9).astype(np.int64)

    def warm(self) -> None:
        """Load the kernels that only a vehicle needs."""
        ring = np.zeros(8)
        delay(ring, ring, 2, 4, 0, 1)
        likeness(ring, ring, 2, 4)

    @property
    def nbytes(self) -> int:
        """Bytes of state."""
        return self._number.nbytes + self._whole.nbytes + self._cells.nbytes + self._rings.nbytes
