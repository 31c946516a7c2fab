"""Values that left their place for good: clogged dust units, swapped units, offsets and drifts. In: the recent past.
Out: faults that begin. A shift lasts hours where nothing that blows over does; a drift is seen in daily medians.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gateway.services.air.neighbours import Habits, Mask, Values, middle
from gateway.services.air.past import BLOCKS, IN_SMOKE, STATION, Fault, Past, Place, Spans
from gateway.services.air.quantities import PM10, PM25, QUANTITIES, TEMPERATURE, Unit

SHIFT = 5.0  # scatters: a shift that lasts hours
SWAP = 2.5  # scatters: a shift that a conversion undoes
DRIFT = 3.0  # scatters: a daily median's
PAIR = 1.5  # scatters: the other dust value went the same way
WORST = 0.7  # of the largest shift of its kind: the rest may be what that one does to the median of few neighbours
VANISHED = 0.02  # of what it should be: a thousandth, rounded
LEAST_RIGHT = 3.0  # ug/m3: less may honestly round to nothing
DECISIVE = 1.4  # times the spread under the conversion is that under a constant, before a constant is believed
CALM_BLOCKS = 4  # before a jump
BEFORE = 0.3  # of a jump's height: more was there already
# Times the error of a way is that of a jump, before a way is believed; twice for gases compared by difference, of which
# a constant is another share every hour.
CLEARER = (1.2, 2.0)
WAIT = "?"
OFFSET = np.array([one.offset for one in QUANTITIES])
SAME = 0.12  # of a share
GAS = np.array([one.molar_g > 0 for one in QUANTITIES])
LOG = np.array([one.log for one in QUANTITIES])
SMALL = np.arange(len(QUANTITIES)) != TEMPERATURE  # in a wrong unit it may be next to nothing
DUST = (PM25, PM10)


def vanished(value: Values, expected: Values) -> Mask:
    """Where a value is a thousandth of what is `expected` (scale of comparison), or that rounded to nothing."""
    right = np.where(LOG, np.exp(np.where(LOG, expected, 0.0)) - OFFSET, expected)
    return np.asarray(SMALL & (right > LEAST_RIGHT) & (value < VANISHED * right))


class Shifts:
    def __init__(self, spans: Spans, mistakes: Mapping[Place, tuple[Unit, ...]]) -> None:
        """`mistakes`: the units that a column may be in by mistake."""
        self._spans = spans
        self._mistakes = mistakes

    def judge(self, past: Past, habits: Habits, expected: Values, free: Mask) -> list[Fault]:
        """Faults that begin in the columns that are `free` of others, bool[stations, quantities]."""
        spans, scatter = self._spans, habits.scatter
        recent = past.residual[-spans.six_hours :]
        short = middle(past.residual[-spans.three_hours :], spans.three_hours // 2) / scatter
        long = middle(recent, spans.three_hours // 2) / scatter
        outward = np.where(np.isfinite(recent * short), np.sign(short) * recent, np.inf)
        known = np.isfinite(outward).sum(axis=0) > spans.three_hours
        lasting = known & (outward.min(axis=0) > 0.5 * SHIFT * scatter)
        blown = past.blown <= spans.three_hours
        free = free.copy()
        free[:, IN_SMOKE] &= ~blown[:, None] | lasting[:, IN_SMOKE]
        both = np.minimum(np.abs(short), np.abs(long))
        shifted = free & (both > SHIFT)
        beyond = (outward > 0.5 * np.abs(short) * scatter) & np.isfinite(outward)
        for place in _places(free & ~shifted & LOG & (both > SWAP) & (beyond.mean(axis=0) > 0.8)):
            if self._unit(past, habits, expected, place) not in ("", WAIT):
                shifted[place] = self._jumped(past, habits, place)
        shares = self._shares(past, habits, free & ~shifted)
        for place in shares:
            shifted[place] = True
        creeping = free & ~shifted & self._creeping(past, scatter)
        worst = np.max(np.where(free & np.isfinite(short), np.abs(short), 0.0), axis=0)
        found: list[Fault] = []
        for s, k in _places((shifted | creeping) & (np.abs(short) >= WORST * worst)):
            if k in IN_SMOKE and short[s, k] < 0 and _in_smoke(blown, s):
                continue
            if k in DUST:
                if short[s, k] < 0 and past.surge <= spans.half_day:
                    continue
                other = PM10 if k == PM25 else PM25
                if short[s, other] * np.sign(short[s, k]) > PAIR:
                    if short[s, k] < 0 and free[s, other] and not any(_is_clogged(one, s) for one in found):
                        found.append(self._clogged(past, short * scatter, s))
                    continue  # both risen: that is in the air
                if short[s, k] > 0 and not (creeping[s, k] or lasting[s, k]):
                    continue  # it may be something that blows over
            size = float(short[s, k] * scatter[s, k])
            sudden = (s, k) in shares or self._jumped(past, habits, (s, k))
            unit = shares.get((s, k)) or (self._unit(past, habits, expected, (s, k)) if sudden else "")
            if unit == WAIT:
                continue
            kind = "swapped_units" if unit else "offset" if sudden else "drift"
            back = spans.day if creeping[s, k] else spans.three_hours
            found.append(Fault(kind, s, k, past.rows - back, size, unit, [k]))
        return found

    def _creeping(self, past: Past, scatter: Values) -> Mask:
        """Columns whose daily median left its place; looked at once an hour."""
        spans = self._spans
        if past.rows % spans.hour:
            return np.zeros(scatter.shape, bool)
        day = middle(past.residual[-spans.day :], spans.day // 2) / scatter
        late = middle(past.residual[-spans.day // 3 :], spans.hour) / scatter
        return np.asarray((np.abs(day) > DRIFT) & (np.abs(late) > 0.75 * DRIFT))

    def _shares(self, past: Past, habits: Habits, free: Mask) -> dict[Place, str]:
        """Units of gases that are compared by difference and were for a day the same share of what they should be."""
        spans = self._spans
        if past.rows % spans.hour:
            return {}
        found = {}
        for place in _places(free & GAS & ~LOG):
            there = 1.0 + self._relative(past, habits, place)[-spans.day :]
            there = there[np.isfinite(there)]
            for unit in self._mistakes[place] if len(there) >= 0.8 * spans.half_day else ():
                off = there / unit.factor - 1.0
                centre = float(np.median(off))
                alike = abs(centre) < SAME and float(np.median(np.abs(off - centre))) < SAME
                if alike and ((there < 1.0) == (unit.factor < 1.0)).mean() > 0.95 and self._jumped(past, habits, place):
                    found[place] = unit.name
        return found

    def _clogged(self, past: Past, shift: Values, station: int) -> Fault:
        first = past.rows - self._spans.three_hours
        return Fault("clogged", station, STATION, first, float(shift[station, DUST].mean()), columns=[*DUST])

    def _jumped(self, past: Past, habits: Habits, place: Place) -> bool:
        """Whether the residual of the last two days, in medians of three hours, is better told as a jump from nothing
        than as a way that it went. A way of a few hours is a jump, too."""
        level = middle(self._relative(past, habits, place).reshape(-1, self._spans.kept // BLOCKS).T)
        known = np.isfinite(level)
        y, at = level[known], np.arange(BLOCKS, dtype=np.float64)[known]
        jump, jump_at, way, way_at = np.inf, 0, np.inf, 0
        for first in range(-6 * BLOCKS, BLOCKS):
            after = at >= first
            if not after.any():
                continue
            if first > 0 and (~after).sum() >= CALM_BLOCKS:
                height = float(y[after].mean())
                error = float(((y - height * after) ** 2).sum())
                if error < jump and abs(float(y[~after].mean())) < BEFORE * abs(height):
                    jump, jump_at = error, first
            ramp = np.maximum(at - first + 1.0, 0.0)
            error = float(((y - ramp * (ramp @ y) / (ramp @ ramp)) ** 2).sum())
            if error < way:
                way, way_at = error, first
        clearer = CLEARER[bool(GAS[place[1]] and not LOG[place[1]])]
        return (jump_at > 0 and jump <= clearer * way) or way_at >= BLOCKS - 3

    def _relative(self, past: Past, habits: Habits, place: Place) -> Values:
        """f64[rows]: the residual; of a gas that is compared by difference, its share of what there should be, where
        that is enough to tell."""
        s, k = place
        residual = past.residual[:, s, k]
        if LOG[k] or not GAS[k]:
            return residual
        right = past.value[:, s, k] - residual
        enough = right > 3.0 * habits.scatter[s, k]
        return np.where(enough, residual / np.where(enough, right, 1.0), np.nan)

    def _unit(self, past: Past, habits: Habits, expected: Values, place: Place) -> str:
        """The unit by which a shifted column is explained, "" for none, WAIT where that cannot be told yet: half a
        scale and a constant less look alike until the true value has moved."""
        (s, k), spans = place, self._spans
        quantity = QUANTITIES[k]
        rows = slice(-spans.day, None) if quantity.molar_g else slice(-spans.three_hours, None)
        value, residual, scatter = past.value[rows, s, k], past.residual[rows, s, k], habits.scatter[s, k]
        shift = float(np.nanmedian(residual[-spans.three_hours :]))
        off = np.sign(shift) * residual > 0.35 * abs(shift)
        value, residual = value[off], residual[off]
        best, name = np.inf, ""
        for unit in self._mistakes[s, k]:
            if SMALL[k] and unit.factor <= VANISHED:
                if vanished(past.value[-1, s], expected[s])[k]:
                    return unit.name
                continue
            there = residual + quantity.scaled((value - unit.shift) / unit.factor) - quantity.scaled(value)
            centre = float(np.nanmedian(there))
            if abs(centre) > min(0.35 * abs(shift), max(2.0 * scatter, 0.05 * abs(shift))):
                continue
            spread = float(np.nanmedian(np.abs(there - centre)))
            if spread < best and spread < max(1.5 * scatter, 0.05 * abs(shift)):
                best, name = spread, unit.name
        if not (name and quantity.molar_g):
            return name
        if len(residual) < spans.six_hours:
            return WAIT
        right = quantity.natural(quantity.scaled(value) - residual)
        there = residual + quantity.scaled(value - np.nanmedian(value - right)) - quantity.scaled(value)
        constant = float(np.nanmedian(np.abs(there - np.nanmedian(there))))
        return name if best < DECISIVE * constant else ""


def _in_smoke(blown: Mask, station: int) -> bool:
    """Whether so many of the others are in smoke that their median cannot be trusted. `blown`: bool[stations]."""
    return bool(blown.sum() - blown[station] > (len(blown) - 1) / 3)


def _is_clogged(fault: Fault, station: int) -> bool:
    return fault.kind == "clogged" and fault.station == station


def _places(mask: Mask) -> list[Place]:
    return [(int(s), int(k)) for s, k in zip(*np.nonzero(mask), strict=True)]
