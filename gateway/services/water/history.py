"""The hours of a zone: what its flows and levels were, what its pressures were. In: an hour's means. Out: which hours a
model learns from, mean residuals of the latest ones, the net inflow. It judges nothing and knows no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.services.water.residual import Model

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

KEPT_H = 1008  # six weeks
FRESH_H = 48  # hours so young are not learnt from: a leak may have begun
RECENT_H = 72
SHARE = 0.6  # of its hours that a window needs
FALLING = 0.02  # of the usual inflow


@dataclass(slots=True)
class History:
    """Rings of KEPT_H hours: `terms` and `pressures` as far as they are to be trusted, `shift` f64[KEPT_H, pressures]
    (what leaks were known to move), `usable` bool[KEPT_H] (may be learnt from), `inflow` f64[KEPT_H]. `raw_terms` and
    `raw_pressures`: the last RECENT_H hours, trusted or not, the latest last. `hour`: how many there were."""

    terms: F64
    pressures: F64
    shift: F64
    usable: Mask
    inflow: F64
    raw_terms: F64
    raw_pressures: F64
    hour: int

    @staticmethod
    def new(terms: int, pressures: int) -> History:
        return History(
            np.full((KEPT_H, terms), np.nan),
            np.full((KEPT_H, pressures), np.nan),
            np.zeros((KEPT_H, pressures)),
            np.zeros(KEPT_H, bool),
            np.full(KEPT_H, np.nan),
            np.full((RECENT_H, terms), np.nan),
            np.full((RECENT_H, pressures), np.nan),
            0,
        )

    def push(self, terms: F64, pressures: F64, shift: F64, inflow: float, trusted: tuple[Mask, Mask]) -> None:
        """One more hour. `trusted`: bool[terms], bool[pressures]."""
        self.raw_terms = np.vstack([self.raw_terms[1:], terms])
        self.raw_pressures = np.vstack([self.raw_pressures[1:], pressures])
        at = self.hour % KEPT_H
        self.terms[at] = np.where(trusted[0], terms, np.nan)
        self.pressures[at] = np.where(trusted[1], pressures, np.nan)
        self.shift[at], self.inflow[at], self.usable[at] = shift, inflow, True
        self.hour += 1

    def recent(self, hours: int) -> NDArray[np.int64]:
        """Places of the last `hours`."""
        return np.arange(max(0, self.hour - hours), self.hour) % KEPT_H

    def learnt_from(self, until: int, least: int) -> NDArray[np.int64]:
        """Places that a model of hour `until` is fitted to: all usable ones but the latest, at first `least`."""
        order = np.arange(max(0, until - KEPT_H), until)
        if len(order) > least + FRESH_H:
            order = order[:-FRESH_H]
        elif len(order) > least:
            order = order[:least]
        at = order % KEPT_H
        return at[self.usable[at]]

    def residual(self, model: Model, hours: int) -> tuple[F64, F64] | None:
        """(f64[pressures]: weighted mean residual of the last `hours`, NaN of a pressure known for too few of them;
        f64[known hours, terms]), or None where too few hours are known."""
        at = self.recent(hours)
        terms = self.terms[at]
        residual = model.residual(terms, self.pressures[at])
        known = np.isfinite(residual)
        enough = known.sum(axis=0) >= SHARE * hours
        if known.any(axis=1).sum() < SHARE * hours or not enough.any():
            return None
        return np.where(enough, average(residual, model.weight(terms)), np.nan), terms[known.any(axis=1)]

    def course(self, model: Model, hours: int) -> F64:
        """f64[hours, pressures]: the residuals of the last `hours`, NaN where a term or the pressure is missing."""
        at = self.recent(hours)
        return model.residual(self.terms[at], self.pressures[at])

    def means(self, model: Model, hours: int) -> F64 | None:
        """f64[1 + terms + pressures] of the last `hours`: 1, mean terms, and pressures that belong to them even where
        some hours of a pressure are missing."""
        at = self.recent(hours)
        at = at[np.isfinite(self.terms[at][:, model.kept]).all(axis=1)]
        if not len(at):
            return None
        weight = model.weight(self.terms[at])
        terms = weight @ self.terms[at] / weight.sum()
        residual = average(model.residual(self.terms[at], self.pressures[at]), weight)
        return np.concatenate([[1.0], terms, model.design(terms[None])[0] @ model.weights + residual])

    def raw_residual(self, model: Model, hours: int, trusted: Mask) -> tuple[F64, F64]:
        """(f64[pressures]: mean residual of the last `hours`, those that are not in `trusted` bool[pressures] NaN,
        though their terms need not be trusted; f64[hours, terms])."""
        terms = self.raw_terms[-hours:]
        pressures = np.where(trusted, self.raw_pressures[-hours:], np.nan)
        return average(model.residual(terms, pressures)), terms

    def spread(self, term: int) -> float:
        """Standard deviation of a term."""
        known = self.terms[:, term]
        known = known[np.isfinite(known)]
        return max(float(known.std()), 1e-9) if len(known) else 1.0

    def rise(self) -> float:
        """Net inflow of the last day less that of the week before; NaN where too little is known."""
        day, week = self.inflow[self.recent(24)], self.inflow[self.recent(24 * 8)]
        if np.isfinite(day).sum() < 12 or np.isfinite(week).sum() < 48:
            return float("nan")
        return float(np.nanmean(day) - np.nanmean(week))

    def falling(self) -> bool:
        """Whether less flows in than the week before."""
        usual = self.inflow[np.isfinite(self.inflow)]
        return len(usual) > 0 and self.rise() < -FALLING * abs(float(np.median(usual)))


def average(rows: F64, weight: F64 | None = None) -> F64:
    """f64[rows, columns] to the mean of what is known, weighted by f64[rows]; NaN where nothing is."""
    known = np.isfinite(rows)
    counts = known.astype(np.float64) if weight is None else known * weight[:, None]
    count = counts.sum(axis=0)
    total = (np.where(known, rows, 0.0) * counts).sum(axis=0)
    result: F64 = np.where(count > 0, total / np.where(count > 0, count, 1.0), np.nan)
    return result
