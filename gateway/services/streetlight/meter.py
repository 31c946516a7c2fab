"""The cabinet's meter against itself and against its feeders. In: watts, counted energy, the feeders' apparent power,
row by row. Out: onset and clear of a contradiction, and which one.

Power: what the cabinet takes must be what its feeders take plus its own consumption, at a ratio that is learnt.
Energy: what the counter adds over a window must be the integral of the power, within what a step can hide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gateway.spool.records import Phase

OWN_W = 25.0  # controller, modem, meter: what a cabinet takes for itself, until it has been seen
STANDBY_RATIO = 0.6  # W per VA of drivers in standby
ANY_RATIO = (0.5, 1.15)  # W per VA that can be: drivers' power factors, losses, errors of transformers
RATIO_LIMIT = 0.12
ENERGY_LIMIT = 0.2
CONTRADICTED_S = 2 * 3600.0
AGREED_S = 3600.0
LEARN_S = 2 * 3600.0
WINDOW_S = 3600.0  # of energy, at least
COUNTS = 20  # of the counter's resolution, at least
WINDOWS = 2  # in a row
GAP_STEPS = 3.5  # a longer pause cuts a window


@dataclass(slots=True)
class PowerHabit:
    """W per VA at one mean level of the lamps, and the seconds this rests on."""

    ratio: float = 0.0
    learnt_s: float = 0.0


@dataclass(slots=True)
class PowerCheck:
    """Seconds in contradiction and in agreement, of rows in which something is drawn. Habits by tenth of level:
    dimmed drivers have a poorer power factor."""

    own_w: float = OWN_W
    habits: dict[int, PowerHabit] = field(default_factory=dict)
    bad_s: float = 0.0
    good_s: float = 0.0
    bad: bool = False

    def row(self, step_s: float, watts: float, va: float, level: float) -> None:
        """`level`: percent, the mean over the lamps as commanded."""
        habit = self.habits.setdefault(round(level / 10), PowerHabit())
        least, most = self.span(va, level)
        if max(abs(watts), least) < 3 * max(self.own_w, OWN_W):
            if least <= watts <= most and level <= 0:
                self.own_w += 0.01 * (max(0.0, watts - STANDBY_RATIO * va) - self.own_w)
            return
        if not least <= watts <= most:
            self.bad_s += step_s
            self.good_s = 0.0
            self.bad = self.bad or self.bad_s >= CONTRADICTED_S
            return
        if self._known(habit, level):
            self.good_s += step_s
            if self.good_s >= AGREED_S / 2:
                self.bad_s = 0.0
            if self.good_s >= AGREED_S:
                self.bad = False
        if level > 0 and va > 0 and not self.bad_s:
            pace = max(step_s / (habit.learnt_s + step_s), 0.001) if habit.learnt_s < LEARN_S else 0.001
            habit.ratio += pace * ((watts - self.own_w) / va - habit.ratio)
            habit.learnt_s += step_s

    def span(self, va: float, level: float) -> tuple[float, float]:
        """(least, most) watts that the meter may show. Of lamps that burn though commanded off, and until there is a
        habit, only what physics says is known."""
        habit = self.habits.get(round(level / 10))
        low, high = ANY_RATIO
        if habit is not None and self._known(habit, level):
            low, high = habit.ratio * (1 - RATIO_LIMIT), habit.ratio * (1 + RATIO_LIMIT)
        doubt_w = 0.5 * max(self.own_w, OWN_W)
        return self.own_w + low * va - doubt_w, self.own_w + high * va + doubt_w

    def _known(self, habit: PowerHabit, level: float) -> bool:
        return level > 0 and habit.learnt_s >= LEARN_S


@dataclass(slots=True)
class EnergyCheck:
    """A window since (`begun_s`, `begun_kwh`): `drawn_kwh` integrated, `doubt_kwh` what switching between two rows may
    hide."""

    begun_s: float | None = None
    begun_kwh: float = 0.0
    last_s: float = 0.0
    last_w: float = 0.0
    last_kwh: float = 0.0
    counted_kwh: float = 0.0
    drawn_kwh: float = 0.0
    doubt_kwh: float = 0.0
    resolution_kwh: float = 0.01
    judged: tuple[float, float] = (0.0, 0.0)  # counted and drawn kWh of the last window
    wrong: int = 0
    right: int = 0
    bad: bool = False

    def row(self, now_s: float, step_s: float, watts: float, kwh: float, rollover: float) -> None:
        """One reading of both; either may be NaN."""
        if math.isnan(watts) or math.isnan(kwh):
            return
        pause_s = now_s - self.last_s
        if self.begun_s is None or not 0 < pause_s <= GAP_STEPS * step_s:
            self._begin(now_s, watts, kwh)
            return
        added = kwh - self.last_kwh
        if added < 0 and math.isfinite(rollover):
            added += rollover
        if added < 0 or added > 100 * (abs(self.last_w) + abs(watts) + 1000) / 1000 * pause_s / 3600 + 1:
            self._begin(now_s, watts, kwh)  # set back, or another meter
            return
        if 0 < added < self.resolution_kwh:
            self.resolution_kwh = max(added, 1e-4)
        self.counted_kwh += added
        self.drawn_kwh += (self.last_w + watts) / 2 * pause_s / 3.6e6
        self.doubt_kwh += abs(watts - self.last_w) / 2 * pause_s / 3.6e6
        self.last_s, self.last_w, self.last_kwh = now_s, watts, kwh
        enough = max(abs(self.drawn_kwh), self.counted_kwh) >= COUNTS * self.resolution_kwh
        if now_s - self.begun_s >= WINDOW_S and enough:
            self._judge()
            self._begin(now_s, watts, kwh)

    def _begin(self, now_s: float, watts: float, kwh: float) -> None:
        self.begun_s = self.last_s = now_s
        self.begun_kwh = self.last_kwh = kwh
        self.last_w = watts
        self.counted_kwh = self.drawn_kwh = self.doubt_kwh = 0.0

    def _judge(self) -> None:
        self.judged = (self.counted_kwh, self.drawn_kwh)
        off = abs(self.counted_kwh - self.drawn_kwh)
        allowed = ENERGY_LIMIT * max(abs(self.drawn_kwh), self.counted_kwh)
        doubt = self.doubt_kwh + 2 * self.resolution_kwh
        if off > allowed + doubt:
            self.wrong += 1
            self.right = 0
            self.bad = self.bad or self.wrong >= WINDOWS
        elif off < allowed - doubt:
            self.right += 1
            if self.right >= WINDOWS:
                self.wrong = 0
                self.bad = False


@dataclass(slots=True)
class MeterState:
    power: PowerCheck = field(default_factory=PowerCheck)
    energy: EnergyCheck = field(default_factory=EnergyCheck)
    standing: bool = False

    def judge(self) -> Phase | None:
        bad = self.power.bad or self.energy.bad
        if bad == self.standing:
            return None
        self.standing = bad
        return Phase.ONSET if bad else Phase.CLEAR


PARTS = (MeterState, PowerCheck, PowerHabit, EnergyCheck)
