"""Smoke and dust over one station. In: rows of dust values and their residuals. Out: plumes that begin or end.

A plume rises within minutes and is gone within hours, and it moves both dust values: smoke is fine, so PM2.5 makes up
most of what PM10 rises by; what a building site raises is coarse, and PM2.5 rises by a tenth or two. A PM10 that rises
quite alone may be a broken sensor: it is called dust when a neighbour sees the plume's fringe, or when it is over.
What rises at all stations is no local plume: the caller raises the level with the city's own rise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.services.air.neighbours import Mask, Values
from gateway.services.air.past import Spans
from gateway.services.air.quantities import PM10, PM25

LEAST = 0.45  # ln: a rise of PM10 over the neighbours
SCATTERS = 3.5
FINE = 0.45  # share of PM2.5 in the rise of PM10: smoke above, dust below
ALONE = 0.03  # share of PM2.5 below which PM10 rises quite alone
ROWS = 3
LEAST_RISE = 10.0  # ug/m3 of PM10
FRINGE = 0.7  # of the strongest station's rise, in ln
SUDDEN = 0.6  # of the least rise, within rows: what creeps up is no plume
BASE = 2.0  # scatters that a station's residual may be off before


@dataclass(slots=True)
class Plume:
    """One that stands over `station`, found by its `lead` dust value. Rises are sums over rows: ln, and ug/m3; `unsure`
    is the scatter (ug/m3) of PM10."""

    station: int
    first: int
    lead: int
    base25: float
    base10: float
    rows: int = 0
    low: int = 0
    rise25: float = 0.0
    rise: float = 0.0
    fine: float = 0.0
    coarse: float = 0.0
    unsure: float = 0.0
    fines: int = 0
    coarses: int = 0
    kind: str = ""
    fringe: bool = False

    @property
    def strength(self) -> float:
        return self.rise / max(1, self.rows)

    @property
    def share(self) -> float:
        return self.fine / self.coarse if self.coarse > 0 else 0.0


class Plumes:
    """Judges rows; `standing` holds the plumes of the moment by station."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def judge(
        self,
        standing: dict[int, Plume],
        row: int,
        dry: Values,
        expected: Values,
        residual: Values,
        base: Values,
        before: Values,
        scatter: Values,
        usable: Mask,
        steady: Mask,
        calm: Mask,
        more: Values,
    ) -> tuple[list[Plume], list[Plume]]:
        """(begun, over). f64[stations, 2] PM2.5 and PM10: `dry` and `expected` ug/m3, `residual`, its usual `base` of
        the last hours and its median `before`, of the last rows, ln; `usable`: not broken, `steady`: nor
        drifting, `calm`: nor jumping about; `more`: f64[stations], ln, by which the level asked for is higher now."""
        least = np.maximum(LEAST, SCATTERS * scatter[:, PM10])
        level = least + more
        over: list[Plume] = []
        begun: list[Plume] = []
        for s in range(len(dry)):
            plume = standing.get(s)
            lead = plume.lead if plume else PM10
            if plume is None:
                limit = np.where(steady[s], BASE * scatter[s], np.inf)
                bases = np.clip(np.where(np.isfinite(base[s]), base[s], 0.0), -limit, limit)
                sudden = ~(residual[s] - before[s] < SUDDEN * least[s])
                risen = sudden & usable[s] & calm[s] & (np.minimum(residual[s], residual[s] - bases) > level[s])
                if not risen.any():
                    continue
                lead = PM10 if risen[PM10] else PM25
                plume = standing[s] = Plume(s, row, lead, float(bases[PM25]), float(bases[PM10]))
            now = residual[s, lead]
            if not usable[s, lead]:
                over.append(standing.pop(s))
                continue
            if not np.isfinite(now):
                continue
            rise = now - (plume.base10 if lead == PM10 else plume.base25)
            if rise < 0.5 * level[s]:
                plume.low += 1
                if plume.low >= 2 or plume.rows < ROWS:
                    gone = standing.pop(s)
                    late = row - gone.first > self._spans.six_hours
                    if not (gone.kind or gone.fringe or late) and gone.rows >= ROWS:
                        self._name(gone, standing, residual, scatter, certain=True)
                        begun += [gone] if gone.kind else []
                    over.append(gone)
                continue
            plume.low = 0
            plume.rows += 1
            plume.rise += rise
            if np.isfinite(residual[s, PM10]) and usable[s, PM10]:
                usual = expected[s, PM10] * np.exp(plume.base10)
                plume.coarses += 1
                plume.coarse += dry[s, PM10] - usual
                plume.unsure += scatter[s, PM10] * usual
            if np.isfinite(residual[s, PM25]) and usable[s, PM25]:
                plume.fines += 1
                plume.rise25 += residual[s, PM25] - plume.base25
                plume.fine += dry[s, PM25] - expected[s, PM25] * np.exp(plume.base25)
        for plume in sorted(standing.values(), key=lambda one: -one.strength):
            plume.fringe |= self._fringe(plume, standing)
            if plume.kind or plume.fringe or plume.rows < ROWS or plume.strength < level[plume.station]:
                continue
            self._name(plume, standing, residual, scatter, certain=False)
            begun += [plume] if plume.kind else []
        return begun, [plume for plume in over if plume.kind]

    def _fringe(self, plume: Plume, standing: dict[int, Plume]) -> bool:
        """Whether it is only the fringe of a stronger one's."""
        return any(
            abs(other.first - plume.first) <= self._spans.hour // 2 and plume.strength < FRINGE * other.strength
            for other in standing.values()
            if other.station != plume.station and other.rows
        )

    def _name(
        self, plume: Plume, standing: dict[int, Plume], residual: Values, scatter: Values, *, certain: bool
    ) -> None:
        """Give it its kind, once that can be told. `certain`: it came and went as a plume does."""
        if 2 * min(plume.fines, plume.coarses) < plume.rows:  # one of the two is broken: ask the neighbours
            seen = [other.share for other in standing.values() if other.fines and self._together(plume, other)]
            if seen:
                plume.kind = "fire" if max(seen) >= FINE else "dust"
            return
        if plume.lead == PM25:  # in a storm of coarse dust its smoke is lost in PM10
            if plume.coarse > 0.5 * plume.fine - 2.0 * plume.unsure / np.sqrt(plume.rows):
                plume.kind = "fire"
            return
        if plume.coarse < LEAST_RISE * plume.rows:
            return
        if plume.share >= FINE:
            plume.kind = "fire"
            return
        s = plume.station
        moved = plume.rise25 / plume.fines > scatter[s, PM25]
        others = np.delete(np.arange(len(scatter)), s)
        beside = bool((residual[others, PM10] > 3.0 * scatter[others, PM10]).any())
        if plume.share > ALONE and (certain or moved or beside):
            plume.kind = "dust"

    def _together(self, plume: Plume, other: Plume) -> bool:
        near = abs(other.first - plume.first) <= self._spans.hour // 2
        return other.station != plume.station and other.lead == PM10 and other.rows >= ROWS and near
