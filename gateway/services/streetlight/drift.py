"""A lamp's power at the same level, over weeks. In: ratios of drawn to nominal power while it burns. Out: onset and
clear of a creep; one step (a replaced driver, another lamp) is taken as the new habit.

Lit time is cut into blocks of an hour at one level. A block is compared with what this lamp drew at this level before;
between two blocks of a level a creep moves by little, a replaced driver by much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gateway.spool.records import Phase

BLOCK_S = 3600.0
BLOCK_LEAST_S = 1200.0
LEARN_S = 7200.0  # lit time until a level has its reference
LIMIT = 0.15  # replaced drivers differ by up to a tenth, temperature makes a few percent
BACK = 0.07
STEP = 0.03  # between two blocks without a pause: ten times what the fastest creep does in an hour
STEP_PER_H = 0.004  # a tenth a day is a fast creep
PAUSE_MOST_H = 24.0
NEW_LAMP = 0.10
FRESH_S = 36 * 3600.0


@dataclass(slots=True)
class Habit:
    """What is drawn at one level, relative to nominal, and the lit seconds this rests on; `change` of its last block,
    which ended at `ended_s`."""

    ratio: float = 0.0
    lit_s: float = 0.0
    change: float = 0.0
    ended_s: float = -math.inf


@dataclass(slots=True)
class Drift:
    """The open block, and `change` of the last one against the lamp's habit; `off_since_s` where it left the habit for
    good."""

    habits: dict[int, Habit] = field(default_factory=dict)
    level: int = -1
    sum_s: float = 0.0
    lit_s: float = 0.0
    begun_s: float = 0.0
    last_s: float = -math.inf
    tolerance: float = 0.0
    change: float = 0.0
    off_since_s: float = 0.0
    beyond: int = 0
    standing: bool = False

    def push(self, now_s: float, lit_s: float, level: float, ratio: float, tolerance: float) -> Phase | None:
        """`ratio` held for `lit_s` seconds at `level` percent; `tolerance`: what rounding may make of it."""
        before = after = None
        if round(level) != self.level or now_s - self.last_s > BLOCK_LEAST_S + lit_s:
            before = self._close(self.last_s)
            self.level = round(level)
        if self.lit_s == 0.0:
            self.begun_s = now_s
        self.sum_s += ratio * lit_s
        self.lit_s += lit_s
        self.last_s = now_s
        self.tolerance = tolerance
        if self.lit_s >= BLOCK_S:
            after = self._close(now_s)
        return before if after is None else after

    def _close(self, now_s: float) -> Phase | None:
        lit_s, total = self.lit_s, self.sum_s
        self.lit_s = self.sum_s = 0.0
        if lit_s < BLOCK_LEAST_S:
            return None
        ratio = total / lit_s
        habit = self.habits.setdefault(self.level, Habit())
        if habit.lit_s < LEARN_S:
            usual = ratio / (1 + self.change)
            habit.ratio += (usual - habit.ratio) * lit_s / (habit.lit_s + lit_s)
            habit.lit_s += lit_s
            return None
        change = ratio / habit.ratio - 1 if habit.ratio > 0 else 0.0
        fresh = self.begun_s - habit.ended_s < FRESH_S
        last = habit.change if fresh else self.change  # a level long unused knows nothing of the creep since
        jump = (1 + change) / (1 + last) - 1 if last > -1 else 0.0
        pause_h = min(max(0.0, (self.begun_s - habit.ended_s) / 3600), PAUSE_MOST_H)
        stepped = abs(jump) > STEP + STEP_PER_H * pause_h + 2 * self.tolerance
        habit.ended_s = now_s
        found = self._judge(now_s, change, jump, stepped)
        habit.change = self.change
        return found

    def _judge(self, now_s: float, change: float, jump: float, stepped: bool) -> Phase | None:
        renewed = stepped and abs(jump) > NEW_LAMP
        if self.standing:
            crept_up, self.change = self.change > 0, change
            if abs(change) < BACK or (renewed and crept_up == (jump < 0)):
                self._renew(change)
                self.standing = False
                return Phase.CLEAR
            return None
        if renewed:
            self._renew(change)
            return None
        if stepped and abs(change) > BACK / 2:  # a step back to the habit needs no new one
            for habit in self.habits.values():
                habit.ratio *= 1 + jump
            return None
        self.change = change
        if abs(change) < BACK / 2:
            self.off_since_s = now_s
        self.beyond = self.beyond + 1 if abs(change) >= LIMIT + 2 * self.tolerance else 0
        if self.beyond >= 2:
            self.standing = True
            self.beyond = 0
            return Phase.ONSET
        return None

    def _renew(self, change: float) -> None:
        """Another lamp or driver: what crept before is over."""
        self.change = 0.0
        for habit in self.habits.values():
            habit.ratio *= 1 + change
            habit.change = 0.0
