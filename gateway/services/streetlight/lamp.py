"""One lamp by its node's own readings. In: commanded level and watts, row by row. Out: onset and clear of out, day
burner, cycling and power drift; burning hours and energy.

A node without a reading is silent, never dark. What its whole feeder does is not the lamp's: the feeder says when.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.services.streetlight.claim import Claim
from gateway.services.streetlight.drift import Drift, Habit
from gateway.services.streetlight.layout import Lamp
from gateway.spool.records import Phase

STANDBY_W = 0.5  # a lamp node and its driver at level 0, until it has been seen
STANDBY_MOST_W = 3.0
BURNING_W = 1.5
BURNER_HOLD_S = 1200.0
BACK_S = 1200.0
CYCLES = 3
CYCLES_WITHIN_S = 3 * 3600.0
CYCLES_WITHIN_STEPS = 12  # what restarts within minutes is seen seldom where steps are long
CYCLING_OVER_S = 6 * 3600.0  # lit so long without going out
OUT_WHILE_CYCLING_S = 2 * 3600.0
FORGET_S = 1800.0  # a claim does not outlive so long a silence
SILENT_ROWS = 2  # one lost answer is not silence


class Light(IntEnum):
    UNKNOWN = -1
    DARK = 0
    LIT = 1


@dataclass(slots=True)
class LampState:
    """What a lamp does and has done. `burnt_s` and `energy_wh` count from when it was first seen."""

    out: Claim = field(default_factory=Claim)
    burner: Claim = field(default_factory=Claim)
    drift: Drift = field(default_factory=Drift)
    cycling: bool = False
    level: float = math.nan  # commanded, as of the last row that told
    steady: bool = False  # the row before had the same level
    light: int = Light.UNKNOWN  # of this row
    watts: float = math.nan  # the last heard
    heard_s: float = -math.inf
    silent_rows: int = 0
    died: bool = False  # its last reading before the silence was near nothing
    standby_w: float = STANDBY_W
    standby_known: bool = False
    full_w: float = 0.0  # at full level, learnt where the site does not say
    was_lit: bool = False  # since it was last commanded on
    dark_since_s: float | None = None
    restarts: list[float] = field(default_factory=list)
    quiet_s: float = 0.0
    burnt_s: float = 0.0
    energy_wh: float = 0.0

    def expected_w(self, lamp: Lamp, level: float) -> float:
        """Watts that a healthy lamp draws at `level` percent; NaN where neither the site nor experience tells."""
        full = lamp.nominal_w or self.full_w
        return max(full * level / 100, self.standby_w) if full > 0 else math.nan

    def observe(self, lamp: Lamp, now_s: float, step_s: float, level: float, watts: float) -> None:
        """Take in a row. `level` NaN: not known what it should do; `watts` NaN: not heard."""
        self.steady = level == self.level
        if not math.isnan(level):
            if not level > 0 or not self.level > 0:
                self.was_lit = False
                self.dark_since_s = None
            self.level = level
        self.light = Light.UNKNOWN
        if math.isnan(watts):
            self.silent_rows += 1
            if self.silent_rows == SILENT_ROWS:
                self.died = self.standby_known and self.watts < 0.5 * self.standby_w
            if now_s - self.heard_s > FORGET_S:
                self._interrupted()
            return
        if self.silent_rows >= SILENT_ROWS and self.died:
            self._interrupted()
        self.silent_rows = 0
        self.died = False
        self.watts = watts
        self.heard_s = now_s
        self.energy_wh += max(0.0, watts) * step_s / 3600
        if self.steady and not math.isnan(level):
            self.light = self._light(lamp, watts)
            self._learn(lamp, watts)

    def _interrupted(self) -> None:
        """Whatever was going on has been cut: pending claims begin anew."""
        self.out.forget()
        self.burner.forget()
        self.dark_since_s = None
        self.was_lit = False

    def _light(self, lamp: Lamp, watts: float) -> Light:
        if self.level <= 0:
            enough = self.standby_w + max(BURNING_W, 0.1 * (lamp.nominal_w or self.full_w))
            return Light.LIT if watts > enough else Light.DARK
        expected = self.expected_w(lamp, self.level)
        if math.isnan(expected) or expected < 2 * self.standby_w + 0.5:
            return Light.UNKNOWN
        dark = watts < self.standby_w + 0.3 * (expected - self.standby_w)
        return Light.DARK if dark else Light.LIT

    def _learn(self, lamp: Lamp, watts: float) -> None:
        if self.level <= 0 and 0.1 < watts < STANDBY_MOST_W:
            self.standby_w += (watts - self.standby_w) * 0.05
            self.standby_known = True
        if not lamp.nominal_w and self.level >= 10 and watts > 2 * STANDBY_MOST_W:
            self.full_w = max(self.full_w, watts * 100 / self.level)

    def judge_out(self, now_s: float, hold_s: float, held: bool) -> Phase | None:
        """`held`: what its light does is its feeder's doing, or announced work's."""
        if held:
            self.out.forget()
            return None
        verdict = None if self.level <= 0 or self.light == Light.UNKNOWN else self.light == Light.DARK
        if self.level <= 0:
            self.out.forget()
        hold_s = max(hold_s, OUT_WHILE_CYCLING_S) if self.cycling else hold_s
        return self.out.say(now_s, verdict, hold_s, BACK_S)

    def judge_burner(self, now_s: float, held: bool) -> Phase | None:
        if held:
            self.burner.forget()
            return None
        verdict = None if self.level > 0 or self.light == Light.UNKNOWN else self.light == Light.LIT
        if self.level > 0:
            self.burner.forget()
        return self.burner.say(now_s, verdict, BURNER_HOLD_S, 0.0)

    def judge_cycling(self, now_s: float, step_s: float, held: bool) -> Phase | None:
        """Counts returns to light within one commanded burning; where its feeder dips, nothing counts."""
        if held or self.level <= 0 or math.isnan(self.level):
            self.was_lit = False if held else self.was_lit
            self.dark_since_s = None
            return None
        if self.light == Light.DARK and self.was_lit and self.dark_since_s is None:
            self.dark_since_s = now_s
        if self.light != Light.LIT:
            return None
        self.was_lit = True
        self.quiet_s += step_s
        if self.dark_since_s is not None:
            self.dark_since_s = None
            self.quiet_s = 0.0
            within_s = max(CYCLES_WITHIN_S, CYCLES_WITHIN_STEPS * step_s)
            self.restarts = [one for one in self.restarts if 0 < now_s - one < within_s] + [now_s]
            if len(self.restarts) >= CYCLES and not self.cycling:
                self.cycling = True
                return Phase.ONSET
        if self.cycling and self.quiet_s >= CYCLING_OVER_S:
            self.cycling = False
            self.restarts = []
            return Phase.CLEAR
        return None

    def judge_drift(self, lamp: Lamp, now_s: float, step_s: float) -> Phase | None:
        if self.light != Light.LIT or self.level <= 0:
            return None
        expected = self.expected_w(lamp, self.level)
        if not expected > 0:
            return None
        tolerance = 0.5 * max(lamp.power.resolution, 0.5) / expected
        return self.drift.push(now_s, step_s, self.level, self.watts / expected, tolerance)

    def count(self, step_s: float) -> None:
        if self.light == Light.LIT:
            self.burnt_s += step_s


PARTS = (LampState, Claim, Drift, Habit)
