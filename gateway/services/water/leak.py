"""Leaks from the residuals of a zone's pressures. In: the mean residual of several windows and its covariance. Out:
when a leak begins and ends. It knows no sensor faults (such columns are NaN) and no clock: it counts hours.

What has once been reported becomes a pattern that goes on with some amount: 1 when it was reported, more as the leak
grows, 0 when it is repaired. Whatever lies along known patterns is no news. Patterns are kept as differences of mean
terms and pressures (f64[1 + terms + sensors]), so that they hold for every model, also one that does without a flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gateway.services.water.residual import Model, weigh

F64 = NDArray[np.float64]

PATTERNS = 6
QUIET = 2.0  # mean squares: less is nothing unusual
SETTLE_H = 12  # after a leak was reported, its pattern is what the next hours show
SETTLED_H = 18  # the last of which, with some before the report, are that pattern
CERTAIN = 2.0  # times as certain as the covariance says is what was learnt after a report
REFINED_H = 96
REPAIRED = 0.5  # of the amount at its report
OTHER = 0.35  # share left from which on it is another leak, and the same while less flows in than before
PATIENCE = 4  # times `hold_h`
OTHER_FALLING = 0.6
LIMIT_FALLING = 1.5  # times the limit then
BACK = 0.6  # of what the baseline had taken up, at most, may be left or too much when it is over
ALONG = 0.2  # share of what is unusual that may be left when a change is put down to known patterns
AT_ONCE = 0.75  # of the amount at its report: a leak that grows by more within an hour is another one in its place
STEP = 0.85  # of the squares that a steady growth leaves, at most, a step leaves
STEP_H = 3  # on either side of it


@dataclass(frozen=True, slots=True)
class Window:
    """`hours` long; unusual from `limit` (mean squares a sensor) on, for `hold_h` hours in a row."""

    hours: int
    limit: float
    hold_h: int


WINDOWS = (Window(6, 12.0, 3), Window(24, 3.0, 6), Window(72, 3.0, 6))
LONGEST_H = 72


@dataclass(frozen=True, slots=True)
class Change:
    """A leak in slot `pattern` began or ended. `since_h` hours ago it began; `size` is `limit`s; `mean` f64[sensors]:
    what it moves."""

    begins: bool
    pattern: int
    since_h: int
    size: float
    mean: F64
    abrupt: bool


@dataclass(slots=True)
class Leaks:
    """What is known of the leaks of one zone. `means`: 1 + terms + sensors."""

    WINDOWS: ClassVar[tuple[Window, ...]] = WINDOWS
    baseline: F64
    patterns: F64  # [PATTERNS, means], 0 where unused
    amount: F64
    active: NDArray[np.bool_]
    partial: NDArray[np.bool_]  # [PATTERNS + 1]: known only for a model that does without a driver; last the baseline
    held: F64  # hours that each window has been unusual
    settling: int  # hours until the pattern `newest` is taken
    newest: int
    captured: float  # hours from which what is expected was learnt after the last report; inf before the first
    falling: bool
    undecided: int  # times in a row that a change was neither plainly another leak nor plainly a standing one
    age: int  # hours that what is expected has stood

    @staticmethod
    def new(means: int) -> Leaks:
        return Leaks(
            np.zeros(means),
            np.zeros((PATTERNS, means)),
            np.zeros(PATTERNS),
            np.zeros(PATTERNS, bool),
            np.zeros(PATTERNS + 1, bool),
            np.zeros(len(WINDOWS)),
            0,
            -1,
            np.inf,
            False,
            0,
            LONGEST_H,
        )

    def expected(self, model: Model) -> F64:
        """f64[sensors]: the residual that is no news."""
        return model.of_means(self.expected_means())

    def expected_means(self) -> F64:
        """f64[means]: the same for any model."""
        result: F64 = self.baseline + self.amount @ self.patterns
        return result

    def unknown(self) -> float:
        """What is not known of `expected`, as 1 / hours."""
        return 1.0 / (CERTAIN * self.captured)

    def settle(self, model: Model, means: F64, hours: int) -> list[Change]:
        """The hours after a report are over; the `means` of the last `hours` show the pattern. Terms that `model`
        does without, and pressures that are missing, show nothing."""
        news = self._news(model, means)
        self.partial[self.newest] = not model.kept.all()
        over = []
        if self.newest < 0:
            slots = np.flatnonzero(self.active)
            for slot, more in zip(slots.tolist(), self._amounts(model, news, slots), strict=True):
                change = more
                if self.amount[slot] + more < REPAIRED:
                    change = -float(self.amount[slot])
                    over.append(slot)
                news = news - change * self.patterns[slot]
                self.amount[slot] += change
            for slot in over:
                self.patterns[slot] = 0.0
                self.amount[slot], self.active[slot] = 0.0, False
            self.baseline = self.baseline + news
        else:
            self.patterns[self.newest] = news
            self.amount[self.newest] = 1.0
        self.undecided = 0
        self.settling, self.newest, self.age, self.captured = 0, -1, hours, float(hours)
        self.held[:] = 0.0
        nothing = np.zeros(means.shape[0] - 1 - len(model.kept))
        return [Change(False, slot, hours, 1.0, nothing, False) for slot in over]

    def _amounts(self, model: Model, news: F64, slots: NDArray[np.int64]) -> list[float]:
        if not len(slots):
            return []
        basis, value = model.of_means(self.patterns[slots]).T, model.of_means(news)
        here = np.isfinite(value) & np.isfinite(basis).all(axis=1)
        amounts: list[float] = np.linalg.lstsq(basis[here], value[here], rcond=1e-6)[0].tolist()
        return amounts

    def refine(self, model: Model, means: F64, hours: int) -> None:
        """A quiet day shows better what is to be expected."""
        if self.captured > REFINED_H:
            return
        self.captured += hours
        self.baseline = self.baseline + self._news(model, means) * (hours / self.captured)

    def _news(self, model: Model, means: F64) -> F64:
        news = means - self.baseline - self.amount @ self.patterns
        terms = len(model.kept)
        news[1 : 1 + terms][~model.kept] = 0.0
        missing = ~np.isfinite(news[1 + terms :])
        news[1 + terms :][missing] = 0.0
        news[1 + terms :][missing] -= np.nan_to_num(model.of_means(news)[missing])
        return news

    def begin_anew(self) -> None:
        """Another model judges from here on: what is known only for the one before is learnt again, silently."""
        self.held[:] = 0.0
        if not self.partial.any():
            return
        lost = self.partial[:-1]
        self.patterns[lost] = 0.0
        self.amount[lost] = 0.0
        self.active[lost] = False
        if self.partial[-1]:
            self.baseline[:] = 0.0
        self.partial[:] = False
        self.settling, self.newest = SETTLE_H, -1

    def news(self, model: Model, mean: F64, covariance: F64, hours: int) -> float:
        """Mean squares a sensor that no known pattern explains."""
        return self._explained(model, mean, covariance, hours)[1]

    def judge(
        self, model: Model, means: Sequence[F64 | None], covariances: Sequence[F64 | None], course: F64, falling: bool
    ) -> list[Change]:
        """`means`: f64[sensors] of each window less `expected()`, or None where too little is known; `course`
        f64[hours, sensors]: the same of the single hours, the latest last. `falling`: less flows in than the week
        before."""
        self.falling = falling
        self.age += 1
        for at, (window, mean, covariance) in enumerate(zip(WINDOWS, means, covariances, strict=True)):
            if mean is None or covariance is None or self.age < window.hours:
                self.held[at] = 0.0
                continue
            unusual, _ = weigh(mean, covariance)
            self.held[at] = self.held[at] + 1.0 if unusual.rest > window.limit else 0.0
        for at, (window, mean, covariance) in enumerate(zip(WINDOWS, means, covariances, strict=True)):
            if self.held[at] >= window.hold_h and mean is not None and covariance is not None:
                changes = self._verdict(model, window, mean, covariance, means[0], course)
                self.held[:] = 0.0
                return changes
        return []

    def _verdict(
        self, model: Model, window: Window, mean: F64, covariance: F64, latest: F64 | None, course: F64
    ) -> list[Change]:
        whole, _ = weigh(mean, covariance)
        used, left, amounts = self._explained(model, mean, covariance, window.hours)
        known = max(QUIET, (OTHER_FALLING if self.falling else ALONG) * whole.rest)
        perhaps = max(QUIET, OTHER * whole.rest, known)
        if len(used) and left < perhaps and not self._at_once(model, used, amounts, covariance, course):
            self.undecided += 1
            if left < known or self.undecided >= PATIENCE:
                self.settling, self.newest = SETTLE_H, -1  # what has become of them, the next hours show
            return []
        if self._as_learnt(model, mean, covariance, used, whole.rest):
            self.settling, self.newest = SETTLE_H, -1
            return []
        if self.falling and whole.rest < LIMIT_FALLING * window.limit:
            return []
        if latest is not None and _together(latest, mean) < 0.5:
            return []  # it is over: a flushing, an hour of fire fighting
        slot = self._slot()
        self.patterns[slot] = 0.0
        self.amount[slot], self.active[slot] = 0.0, True
        self.settling, self.newest = SETTLE_H, slot
        abrupt = _step_at(self._line(mean, covariance, course)) is not None
        return [Change(True, slot, window.hours, whole.rest / window.limit, mean, abrupt)]

    def _at_once(self, model: Model, used: NDArray[np.int64], amounts: F64, covariance: F64, course: F64) -> bool:
        """Whether what goes along the patterns `used` came in one step. A leak grows, or is repaired; it does not
        double within an hour."""
        if amounts.sum() <= 0.0:
            return False
        line = self._line(model.of_means(amounts @ self.patterns[used]), covariance, course)
        split = _step_at(line)
        if split is None:
            return False
        return float(line[split:].mean() - line[:split].mean()) * float(amounts.max()) > AT_ONCE

    def _line(self, way: F64, covariance: F64, course: F64) -> F64:
        """f64[hours]: how far each hour of `course` since the last report lies along f64[sensors], least squares."""
        known = course[-min(self.age, len(course)) :]
        here = np.isfinite(way) & np.isfinite(known).any(axis=0)
        if not here.any():
            return np.zeros(0)
        hours = known[np.isfinite(known[:, here]).all(axis=1)][:, here]
        pull = np.linalg.solve(covariance[np.ix_(here, here)], way[here])
        result: F64 = hours @ pull / float(way[here] @ pull)
        return result

    def _as_learnt(self, model: Model, mean: F64, covariance: F64, used: NDArray[np.int64], whole: float) -> bool:
        """Whether the zone is again as it was when it was learnt, known leaks apart: what the baseline had taken up
        since, a leak that was never reported or an instrument, is over."""
        if not self.baseline.any():
            return False
        basis = np.vstack([self.baseline, self.patterns[used]])
        left, amounts = weigh(mean, covariance, model.of_means(basis).T)
        return bool(abs(amounts[0] + 1.0) < BACK and left.rest < max(QUIET, ALONG * whole))

    def _explained(self, model: Model, mean: F64, covariance: F64, hours: int) -> tuple[NDArray[np.int64], float, F64]:
        """(patterns used, mean squares left, their amounts): by standing leaks of which none is less than repaired."""
        rest = self._weighed(model, mean, covariance, hours, np.zeros(0, np.int64))[0]
        enough = max(QUIET, ALONG * rest)
        used, amounts = np.zeros(0, np.int64), np.zeros(0)
        open_ = np.flatnonzero(self.active).tolist()
        while open_ and rest >= enough:  # the fewest leaks that have changed explain best
            tried = []
            for slot in open_:
                with_it = np.append(used, slot)
                left, its = self._weighed(model, mean, covariance, hours, with_it)
                if (self.amount[with_it] + its > -REPAIRED).all():
                    tried.append((left, slot, its))
            if not tried or min(tried, key=_first)[0] >= rest:
                break
            rest, slot, amounts = min(tried, key=_first)
            used = np.append(used, slot)
            open_.remove(slot)
        return used, rest, amounts

    def _weighed(
        self, model: Model, mean: F64, covariance: F64, hours: int, used: NDArray[np.int64]
    ) -> tuple[float, F64]:
        """(mean squares left without the patterns `used`, their amounts)."""
        left, amounts = weigh(mean, covariance, model.of_means(self.patterns[used]).T if len(used) else None)
        # a pattern is itself the mean of some hours
        blur = float(amounts @ amounts) / SETTLED_H / (1.0 / hours + self.unknown())
        return left.rest / (1.0 + blur), amounts

    def _slot(self) -> int:
        free = np.flatnonzero(~self.active)
        if len(free):
            return int(free[0])
        slot = int(np.argmin(self.amount))
        self.baseline = self.baseline + self.patterns[slot] * self.amount[slot]
        return slot


def _first(one: tuple[float, int, F64]) -> float:
    return one[0]


def _together(one: F64, other: F64) -> float:
    """Multiple of `other` that `one` is, by least squares."""
    here = np.isfinite(one) & np.isfinite(other)
    size = float(other[here] @ other[here])
    return float(one[here] @ other[here]) / size if size > 0.0 else 0.0


def _step_at(line: F64) -> int | None:
    """The hour before which f64[hours] changed in one step; None where a steady growth explains it as well, or there
    are too few to tell."""
    if len(line) < 4 * STEP_H:
        return None
    split = min(range(STEP_H, len(line) - STEP_H), key=lambda at: _step_squares(line, at))
    return split if _step_squares(line, split) < STEP * _ramp_squares(line) else None


def _step_squares(line: F64, split: int) -> float:
    """What a step before hour `split` leaves of f64[hours]."""
    return float(split * line[:split].var() + (len(line) - split) * line[split:].var())


def _ramp_squares(line: F64) -> float:
    """What a steady growth, from whichever hour on, leaves of f64[hours]."""
    return min(_grown_squares(line, begin) for begin in range(len(line) - 2 * STEP_H))


def _grown_squares(line: F64, begin: int) -> float:
    terms = np.column_stack([np.ones(len(line)), np.maximum(np.arange(len(line)) - begin, 0.0)])
    left = line - terms @ np.linalg.lstsq(terms, line, rcond=None)[0]
    return float(left @ left)
