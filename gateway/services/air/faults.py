"""What is wrong with a sensor, from its own readings and its residual to the neighbours. No words, no channels.

In: rows of readings and residuals, f64[stations, quantities]. Out: faults that begin or end. A column has one fault at
a time, besides missing values. What a fault is:

stuck          the same value again and again while the neighbours move
dropout        no value for longer than a pause in communication lasts
noisy          the residual jumps from row to row by a multiple of what it used to
spikes         single values far off, the ones before and after agreeing
clogged        both dust values sink together: the fan or inlet, not the air
swapped_units  a sudden shift that a known conversion undoes
offset         any other sudden shift
drift          the residual's daily median left its place, and did not jump there
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gateway.services.air.neighbours import Habits, Mask, Values
from gateway.services.air.past import IN_SMOKE, STATION, Fault, Past, Place, Spans
from gateway.services.air.quantities import QUANTITIES, Unit
from gateway.services.air.shifts import WORST, Shifts, vanished

BACK = 1.5  # scatters: well again,
NEARLY = 2.5  # and for three hours each
PLAIN = ("stuck", "clogged")
NOISY = 4.0  # times the usual step from row to row
QUIET = 2.5
SPIKES = 4  # a day
MOVED = 3.0  # scatters by which the neighbours moved while a value stood still
FLOOR = np.array([one.floor for one in QUANTITIES])
CEILING = np.array([one.ceiling for one in QUANTITIES])


class Diagnosis:
    """Judges rows once they are in `past`."""

    def __init__(self, spans: Spans, present: Mask, mistakes: Mapping[Place, tuple[Unit, ...]]) -> None:
        """`present`: bool[stations, quantities], what the stations measure; `mistakes`: units it may be in."""
        self._spans = spans
        self._present = present
        self._shifts = Shifts(spans, mistakes)

    def dropouts(self, past: Past, missing: dict[Place, Fault]) -> tuple[list[Fault], list[Fault]]:
        """(begun, over). A station all of whose columns are missing is one dropout."""
        begun: list[Fault] = []
        over: list[Fault] = []
        long = self._present & (past.gap > self._spans.six_hours)
        for place, fault in list(missing.items()):
            if not all(long[fault.station, k] for k in fault.columns):
                over.append(missing.pop(place))
        for s in np.flatnonzero(long.any(axis=1)).tolist():
            columns = [k for k in np.flatnonzero(long[s]).tolist() if (s, k) not in missing]
            if (s, STATION) in missing or not columns:
                continue
            whole = len(columns) > 1 and bool(long[s][self._present[s]].all())
            for quantity, parts in ((STATION, columns),) if whole else tuple((k, [k]) for k in columns):
                first = past.rows - int(past.gap[s, parts].min())
                begun.append(Fault("dropout", s, quantity, first, columns=parts))
                missing[s, quantity] = begun[-1]
        return begun, over

    def faults(self, past: Past, habits: Habits, expected: Values, known: Mask, learnt: Mask) -> list[Fault]:
        """Faults that begin. `expected`: what the neighbours say, on the scale of comparison. bool[stations,
        quantities]: `known` are columns that have a fault already, `learnt` those whose habits are known."""
        fresh = self._present & ~known
        limit = self._at_limit(past, expected)
        held = fresh & ~limit & (past.run >= self._spans.repeated)  # it may turn out stuck: no other name for it yet
        dust = np.zeros_like(fresh)
        dust[:, IN_SMOKE] = (past.blown <= self._spans.six_hours)[:, None]
        found = self._stuck(past, habits, limit, fresh)
        taken = {(fault.station, k) for fault in found for k in fault.columns}
        free = fresh & learnt & ~held
        free &= past.found > self._spans.six_hours  # few neighbours: what one did to the others must be over
        for s, k in taken:
            free[s, k] = False
        lately, noise = self.noise(past, habits)
        loud = free & ~dust & (noise > NOISY) & (noise >= WORST * np.max(np.where(free, noise, 0.0), axis=0))
        found += [self._named("noisy", s, k, past, self._spans.long_noise, noise[s, k]) for s, k in _places(loud)]
        count = past.spike[-self._spans.day :].sum(axis=0)
        old = past.spike[-self._spans.day : -self._spans.six_hours].any(axis=0)  # the rest was seen, and is quiet
        spiky = free & ~dust & ~loud & (noise < QUIET) & (count >= SPIKES) & old
        for s, k in _places(spiky):
            rows = np.flatnonzero(past.spike[-self._spans.day :, s, k])
            found.append(self._named("spikes", s, k, past, self._spans.day - int(rows[0]), float(count[s, k])))
        free &= ~loud & ~spiky & (np.maximum(lately, noise) < QUIET)
        found += self._shifts.judge(past, habits, expected, free)
        for fault in found:
            past.found[fault.columns] = 0.0
        return found

    def _at_limit(self, past: Past, expected: Values) -> Mask:
        """Where a value stands still at the end of its scale, or is a thousandth of what is expected, rounded."""
        value = past.last_value
        return np.asarray((value <= FLOOR) | (value >= CEILING) | vanished(value, expected))

    def _stuck(self, past: Past, habits: Habits, limit: Mask, fresh: Mask) -> list[Fault]:
        spans = self._spans
        moved = past.run_high - past.run_low
        alone = ~np.isfinite(moved)
        still = (past.run >= spans.two_hours) & (moved >= MOVED * habits.scatter) & ~limit
        still |= (past.run >= spans.day) & (moved >= 0.5 * MOVED * habits.scatter) & ~limit
        still |= alone & (past.run >= spans.six_hours) & ~limit
        found: list[Fault] = []
        for s in np.flatnonzero((still & fresh).any(axis=1)).tolist():
            present = self._present[s]
            frozen = [k for k in np.flatnonzero(fresh[s]).tolist() if past.run[s, k] >= spans.two_hours]
            sure = np.flatnonzero(still[s] & fresh[s]).tolist()
            whole = len(frozen) > 1 and len(frozen) == int(present.sum())
            for quantity, columns in ((STATION, frozen),) if whole else tuple((k, [k]) for k in sure):
                first = past.rows - int(past.run[s, columns].min())
                value = float(past.last_value[s, columns[0]])
                found.append(Fault("stuck", s, quantity, first, value, columns=columns))
        return found

    def noise(self, past: Past, habits: Habits) -> tuple[Values, Values]:
        """Steps of the residual in usual ones: (median over `noise` rows, lower third over `long_noise`, which spikes
        and plumes leave alone). 0.6745 and 0.4307: of a normal scatter."""
        spans = self._spans
        found = []
        for rows, part, normal in ((spans.noise, 2, 0.6745), (spans.long_noise, 3, 0.4307)):
            steps = np.sort(np.abs(np.diff(past.residual[-rows - 1 :], axis=0)), axis=0)
            count = np.isfinite(steps).sum(axis=0)
            picked = np.take_along_axis(steps, (count // part)[None].clip(0, len(steps) - 1), 0)[0]
            found.append(np.where(count > len(steps) // 2, picked / (normal * habits.step), 0.0))
        return found[0], found[1]

    def well(self, past: Past, habits: Habits, fault: Fault) -> bool:
        """Whether the columns of a fault have been as usual for a day. What is wrong shows at some hours only: ozone is
        next to nothing at night. Of what shows at once, six hours are enough."""
        spans, s = self._spans, fault.station
        noise = np.maximum(*self.noise(past, habits))
        for k in fault.columns:
            half, whole = spans.three_hours, spans.six_hours if fault.kind in PLAIN else spans.day
            recent = past.residual[-whole:, s, k]
            if past.run[s, k] >= spans.repeated or np.isfinite(recent).sum() < whole // 2:
                return False
            parts = [recent[at : at + half] for at in range(0, whole, half)]
            if any(abs(_median(part)) > NEARLY * habits.scatter[s, k] for part in parts):
                return False
            if abs(_median(recent)) > BACK * habits.scatter[s, k]:
                return False
            if noise[s, k] > QUIET or past.spike[-spans.half_day :, s, k].any():
                return False
        return True

    def forget(self, past: Past, fault: Fault) -> None:
        """Leave the time of a fault out of what is judged from here on."""
        for k in fault.columns:
            past.residual[: -self._spans.three_hours, fault.station, k] = np.nan
            past.spike[:, fault.station, k] = 0.0

    def _named(self, kind: str, s: int, k: int, past: Past, rows: int, size: float) -> Fault:
        return Fault(kind, s, k, past.rows - rows, float(size), columns=[k])


def _median(values: Values) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else 0.0


def _places(mask: Mask) -> list[Place]:
    return [(int(s), int(k)) for s, k in zip(*np.nonzero(mask), strict=True)]
