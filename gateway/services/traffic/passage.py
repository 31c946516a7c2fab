"""Vehicles from the signals of single loops: which two signals are one vehicle over the two loops of a lane, how fast
and how long it was, and which signals are no vehicle of their own lane.

In: rows of a LoopBank. Out: vehicles, each as soon as it is known: when it has left, and the other loop of its lane has
seen it too or cannot any more. Times are samples since the start; it knows no clock and no channel.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastpath.loop import LoopBank, LoopRows
from fastpath.loop_state import CHATTER_CLEAR, CHATTER_ON, OPEN_CLEAR, OPEN_ON, STUCK_CLEAR, STUCK_ON, VEHICLE

FASTEST_MPS = 70.0
SHORTEST_M = 1.5
RISE_DEPTH = 0.28  # of the loop's length: how far a nose is inside when the signal crosses EDGE_SHARE of its hump, and
FALL_DEPTH = 0.33  # a tail, whose end is rounder
KEEP_S = 30.0  # vehicles and faults of so long ago still explain others
NOSE_S = 2.0  # how closely a nose is timed before its vehicle has left
WAIT_OPEN_S = 10.0  # a vehicle that stands on the other loop is known by its nose after so long
CROSS_SHARE = 0.2  # a weaker signal of one shape with a neighbour's is crosstalk below this share, else a straddler's
CROSS_FIT = 0.95
STRADDLE_MISFIT = 0.0015  # of two lanes' signals of one vehicle, besides noise; two cars side by side differ more
STRADDLE_SURE = 0.0005
STRADDLE_TIME = 0.03  # of its duration: how closely both lanes see a straddler come and go
WRONG_WAY_FIT = 0.95
PIECE = 0.8  # of the other loop's duration: it may be a part
SAME_FIT = 0.97
SAME_DURATION = 0.2
STRONGEST_PCT = 7.0  # no vehicle shows more; and while it is not learnt how much of it a neighbour shows:
WEAK_PCT = 0.5


@dataclass(frozen=True, slots=True)
class Pair:
    """Two loops of one lane, the leading one first. Leading edge to leading edge in metres."""

    lead: int
    trail: int
    spacing_m: float


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One vehicle over one loop, in samples. km/h, negative against the lane's direction; metres; NaN where unknown."""

    loop: int
    on: float
    off: float
    speed_kmh: float
    length_m: float


@dataclass(slots=True)
class _Signal:
    loop: int
    on: float
    off: float  # inf while it lasts
    rise: float
    steep: float
    fall: float
    peak: float
    speed_kmh: float = math.nan  # known beforehand, from the nose

    @property
    def duration(self) -> float:
        return self.off - self.on


@dataclass(slots=True)
class _Fault:
    since: float
    until: float = math.inf


@dataclass(slots=True)
class _Loop:
    """What is known of one loop: signals that wait, signals that were settled, faults, the nose it is told to
    expect."""

    waiting: deque[_Signal] = field(default_factory=deque)
    settled: deque[_Signal] = field(default_factory=deque)
    faults: dict[int, deque[_Fault]] = field(default_factory=dict)
    foretold: tuple[float, float] | None = None  # (on, km/h) of a vehicle that stands on it


class Passages:
    """The signals of all loops of one station. `lane` and `loop_len_m` by loop; lanes that differ by 1 are
    neighbours."""

    def __init__(self, bank: LoopBank, pairs: Sequence[Pair], lane: Sequence[int], loop_len_m: Sequence[float]) -> None:
        self._bank = bank
        self._rate = bank.rate_hz
        self._pair = {loop: pair for pair in pairs for loop in (pair.lead, pair.trail)}
        self._lane = tuple(lane)
        self._length = tuple(loop_len_m)
        self._loops = [_Loop() for _ in lane]
        self._near: list[list[int]] = [np.flatnonzero(row).tolist() for row in neighbours(lane)]

    def take(self, rows: LoopRows) -> list[Vehicle]:
        """What the bank just gave, to the vehicles that are known by now."""
        for kind, loop, on, off, rise, steep, fall, peak in zip(*(column.tolist() for column in rows), strict=True):
            if kind == VEHICLE:
                self._loops[loop].waiting.append(self._as_foretold(_Signal(loop, on, off, rise, steep, fall, peak)))
            elif kind in _ENDS:
                self._fault_ends(loop, _ENDS[kind], on, off)
            elif kind in (STUCK_ON, CHATTER_ON, OPEN_ON):
                self._loops[loop].faults.setdefault(kind, deque(maxlen=16)).append(_Fault(on))
        found: list[Vehicle] = []
        if any(loop.waiting for loop in self._loops):
            self._forget()
            while (more := self._settle_one()) is not None:
                found += more
        return found

    def _as_foretold(self, signal: _Signal) -> _Signal:
        """With its speed, where that is known from a nose that came before it stood."""
        told = self._loops[signal.loop].foretold
        if told is not None and abs(told[0] - signal.on) < NOSE_S * self._rate:
            signal.speed_kmh = told[1]
        return signal

    def _fault_ends(self, loop: int, kind: int, on: float, off: float) -> None:
        faults = self._loops[loop].faults.setdefault(kind, deque(maxlen=16))
        if not faults or faults[-1].until < math.inf:
            faults.append(_Fault(on))
        faults[-1].until = off

    def _forget(self) -> None:
        horizon = self._bank.samples - KEEP_S * self._rate
        for loop in self._loops:
            while loop.settled and loop.settled[0].off < horizon:
                loop.settled.popleft()

    def _settle_one(self) -> list[Vehicle] | None:
        """Settle the first signal that can be, in order within a lane; None when all that wait must wait on."""
        firsts = sorted((loop.waiting[0] for loop in self._loops if loop.waiting), key=lambda signal: signal.on)
        held: set[Pair | None] = set()
        for signal in firsts:
            pair = self._pair.get(signal.loop)
            if pair is not None and pair in held:
                continue
            if (found := self._settle(signal)) is not None:
                return found
            held.add(pair)
        return None

    def _settle(self, first: _Signal) -> list[Vehicle] | None:
        """The vehicles that `first` turns out to be part of; None if that is not known yet."""
        if self._out_of_order(first.loop, first, margin_s=0.0) or self._crosstalk(first):
            return self._done(first)
        pair = self._pair.get(first.loop)
        if pair is None:
            return self._alone(first)
        other = pair.trail if first.loop == pair.lead else pair.lead
        if math.isfinite(first.speed_kmh):
            return self._told(pair, first)
        second, wait = self._second(pair, first, other)
        if wait:
            return None
        if second is None:
            return self._alone(first)
        if not math.isfinite(second.off):
            return self._nose_only(pair, first, second)
        if (repaired := self._one_in_pieces(first, second)) is None:
            return None
        return self._together(pair, *repaired)

    # --- which signals belong together

    def _second(self, pair: Pair, first: _Signal, other: int) -> tuple[_Signal | None, bool]:
        """(The same vehicle on the other loop, whether to wait for it)."""
        length = self._length[first.loop]
        between = max(0.0, (pair.spacing_m - length - SHORTEST_M) / (SHORTEST_M + length))
        latest = first.off + first.duration * between + 0.2 * self._rate
        least = 0.8 * pair.spacing_m / FASTEST_MPS * self._rate
        for signal in self._loops[other].waiting:
            if signal.on < first.on + least:
                if signal.on >= first.on:
                    continue
                return None, False
            if signal.on > latest:
                return None, False
            if self._crosstalk(signal) or self._out_of_order(other, signal, 0.0):
                continue
            if first.loop == pair.trail:
                return self._wrong_way(pair, first, signal)
            return signal, False
        present = self._present(other)
        if present is not None and first.off - WAIT_OPEN_S * self._rate < present.on < first.on:
            # perhaps it came over that loop first, is still there, and shows here in pieces
            return None, self._bank.samples < first.off + WAIT_OPEN_S * self._rate
        if present is not None and first.on + least <= present.on <= latest:
            if self._bank.samples < max(first.off, present.on) + WAIT_OPEN_S * self._rate:
                return None, True
            return (present if first.loop == pair.lead else None), False
        return None, self._bank.samples < latest + self._lag

    def _one_in_pieces(self, first: _Signal, second: _Signal) -> tuple[_Signal, _Signal] | None:
        """A vehicle that one loop saw whole and the other as two, because it hardly shows in the middle: both loops'
        signals, whole. None while a second piece may still come."""
        short, whole = sorted((first, second), key=lambda signal: signal.duration)
        if short.duration > PIECE * whole.duration:
            return first, second
        latest = short.on + (1.0 + SAME_DURATION) * whole.duration
        later = [signal for signal in self._loops[short.loop].waiting if signal.on > short.off and signal.off < latest]
        for piece in later:
            both = _Signal(
                short.loop, short.on, piece.off, short.rise, short.steep, piece.fall, max(short.peak, piece.peak)
            )
            pair = (both, whole) if short is first else (whole, both)
            if abs(math.log(both.duration / whole.duration)) < SAME_DURATION and self._delay(*pair)[1] > SAME_FIT:
                self._done(piece)
                short.off, short.fall, short.peak = both.off, both.fall, both.peak
                return first, second
        present = self._present(short.loop)
        coming = present is not None and short.off < present.on < latest
        return None if coming and self._bank.samples < latest + self._lag else (first, second)

    @property
    def _lag(self) -> float:
        """How long after it began a signal may become known."""
        return 0.25 * self._rate

    def _wrong_way(self, pair: Pair, first: _Signal, second: _Signal) -> tuple[_Signal | None, bool]:
        """A vehicle seen by the trailing loop first came the wrong way, unless the leading loop missed it and this is
        the next one: then its own second signal follows."""
        if abs(math.log(second.duration / first.duration)) > SAME_DURATION:
            return None, False
        _, fit = self._delay(first, second)
        if fit < WRONG_WAY_FIT:
            return None, False
        for later in self._loops[first.loop].waiting:
            follows = later is not first and second.on < later.on < second.off
            if follows and self._delay(second, later)[1] >= fit:
                return None, False
        present = self._present(first.loop)
        if present is not None and second.on < present.on < second.off:
            return None, True
        return second, False

    def _present(self, loop: int) -> _Signal | None:
        on = self._bank.present(loop)
        return None if on is None else _Signal(loop, on, math.inf, on, on, math.nan, math.nan)

    def _delay(self, first: _Signal, second: _Signal) -> tuple[float, float]:
        """(Samples from the signal `first` to `second`, how well their shapes agree)."""
        about = 0.5 * (second.rise - first.rise + second.fall - first.fall)
        if not math.isfinite(about):
            return math.nan, 0.0
        slack = 0.15 * first.duration + 2 * self._bank.step
        margin = 0.02 * self._rate
        return self._bank.delay(
            first.loop, second.loop, first.on - margin, first.off + margin, about - slack, about + slack
        )

    # --- which signals are no vehicle

    def _out_of_order(self, loop: int, signal: _Signal, margin_s: float) -> bool:
        margin = margin_s * self._rate
        so_far = {OPEN_ON: self._bank.last_open(loop), CHATTER_ON: self._bank.last_jump(loop)}
        return any(
            signal.on <= min(fault.until, so_far.get(kind, math.inf)) + margin and signal.off >= fault.since - margin
            for kind, faults in self._loops[loop].faults.items()
            for fault in faults
        )

    def _beside(self, signal: _Signal) -> list[_Signal]:
        """Signals of the neighbouring lanes at the same time."""
        found: list[_Signal] = []
        for b in self._near[signal.loop]:
            loop = self._loops[b]
            found += [s for s in (*loop.settled, *loop.waiting) if s.on < signal.off and s.off > signal.on]
            if (present := self._present(b)) is not None and present.on < signal.off:
                found.append(present)
        return found

    def _crosstalk(self, signal: _Signal) -> bool:
        """Whether it is but the shadow of a stronger vehicle on the next lane."""
        for strong in self._beside(signal):
            share, fit = self._bank.likeness(strong.loop, signal.loop, signal.on, signal.off)
            if 0.0 < share < CROSS_SHARE and fit > CROSS_FIT:
                return True
        return False

    def _straddles(self, signal: _Signal) -> tuple[float, float, bool]:
        """(Share of a neighbour's signal of the same shape, 0 without one; how much the shapes differ; whether more may
        be known later). A weak straddler may come in pieces where the strong one only dips."""
        slack = STRADDLE_TIME * signal.duration + 1.5 * self._bank.step
        noise = self._bank.noise(signal.loop) / signal.peak
        limit = STRADDLE_MISFIT + 4.0 * noise * noise
        for strong in self._beside(signal):
            lasts = not math.isfinite(strong.off)
            if strong.on > signal.on + slack or not (lasts or strong.off >= signal.off - slack):
                continue
            share, fit = self._bank.likeness(strong.loop, signal.loop, signal.on, signal.off)
            if not 1.0 - fit < limit:
                continue
            if lasts:
                if self._bank.samples < signal.off + 3.0 * signal.duration + self._lag:
                    return 0.0, 1.0, True
                continue
            if signal.on > strong.on + slack or signal.off < strong.off - slack:
                if strong.duration < (1.0 + 5.0 * STRADDLE_TIME) * signal.duration:
                    continue  # as long, but not at the same time: two vehicles
                share, fit = self._bank.likeness(strong.loop, signal.loop, strong.on, strong.off)
                if not 1.0 - fit < limit:
                    continue
            return share, 1.0 - fit, False
        return 0.0, 1.0, False

    @staticmethod
    def _weaker_half(seen: Sequence[tuple[float, float, bool]]) -> bool:
        """Whether what the loops of a lane saw is the weaker half of a straddler: all of them say so, or one surely."""
        shares = [share for share, misfit, _ in seen if share > 0.0]
        sure = any(share > 0.0 and misfit < STRADDLE_SURE for share, misfit, _ in seen)
        return (sure or len(shares) == len(seen)) and math.prod(shares) < 1.0

    def _unseen_neighbour(self, signal: _Signal) -> bool:
        """Whether it may be the shadow of a vehicle that a neighbour out of order did not report."""
        for b in self._near[signal.loop]:
            if self._bank.jumped_and_stands(b) or self._out_of_order(b, signal, 2.0):
                share = self._bank.shares[signal.loop, b]
                if signal.peak < (share * STRONGEST_PCT if share > 0.0 else WEAK_PCT):
                    return True
        return False

    # --- what comes out

    def _done(self, *signals: _Signal) -> list[Vehicle]:
        for signal in signals:
            loop = self._loops[signal.loop]
            loop.waiting.remove(signal)
            loop.settled.append(signal)
        return []

    def _alone(self, signal: _Signal) -> list[Vehicle] | None:
        *_, wait = seen = self._straddles(signal)
        if wait:
            return None
        self._done(signal)
        if self._weaker_half([seen]) or self._unseen_neighbour(signal):
            return []
        return [Vehicle(signal.loop, signal.on, signal.off, math.nan, math.nan)]

    def _nose_only(self, pair: Pair, first: _Signal, present: _Signal) -> list[Vehicle] | None:
        """The vehicle still stands on the other loop: its nose tells the speed of both."""
        speed = pair.spacing_m * self._rate / (present.on - first.on) * 3.6
        self._loops[present.loop].foretold = (present.on, speed)
        self._done(first)
        return [Vehicle(first.loop, first.on, first.off, speed, math.nan)]

    def _told(self, pair: Pair, signal: _Signal) -> list[Vehicle]:
        self._done(signal)
        return [Vehicle(signal.loop, signal.on, signal.off, signal.speed_kmh, math.nan)]

    def _together(self, pair: Pair, first: _Signal, second: _Signal) -> list[Vehicle] | None:
        seen = [self._straddles(signal) for signal in (first, second)]
        if any(wait for *_, wait in seen):
            return None
        self._done(first, second)
        if self._weaker_half(seen):
            return []
        delay = 0.5 * (second.rise - first.rise + second.steep - first.steep)
        if not delay > 0.0:
            delay = second.on - first.on
        steady = abs(math.log(second.duration / first.duration)) < SAME_DURATION
        speed = pair.spacing_m * self._rate / delay  # m/s
        timed = [self._timed(signal, speed) if steady else (signal.on, signal.off) for signal in (first, second)]
        length = float(np.mean([(off - on) / self._rate * speed - self._length[first.loop] for on, off in timed]))
        sign = 3.6 if first.loop == pair.lead else -3.6
        return [
            Vehicle(signal.loop, on, off, sign * speed, max(length, 0.0))
            for signal, (on, off) in zip((first, second), timed, strict=True)
        ]

    def _timed(self, signal: _Signal, speed: float) -> tuple[float, float]:
        """When nose and tail crossed the edges of the loop's area, at this speed."""
        length = self._length[signal.loop]
        on = signal.rise - RISE_DEPTH * length / speed * self._rate
        off = signal.fall + FALL_DEPTH * length / speed * self._rate
        return (on if math.isfinite(on) else signal.on), (off if math.isfinite(off) else signal.off)


_ENDS = {STUCK_CLEAR: STUCK_ON, CHATTER_CLEAR: CHATTER_ON, OPEN_CLEAR: OPEN_ON}


def neighbours(lane: Sequence[int]) -> NDArray[np.bool_]:
    """bool[loops, loops]: loops of lanes whose numbers differ by 1."""
    lanes = np.asarray(lane)
    return np.abs(lanes[:, None] - lanes[None, :]) == 1  # type: ignore[no-any-return]
