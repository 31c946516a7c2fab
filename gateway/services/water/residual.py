"""What a zone's pressures should be for what flows in and out of it. In: hourly means. Out: a `Model`, residuals, and
how unusual a mean residual is. It knows no time, no sensor's health and no leak; arrays in, arrays out.

Pressures of a network follow its flows and tank levels: head loss grows about with the square of a flow, so each
pressure is a linear function of flows, levels, squares and products of flows, which least squares can find in a week. A
leak is demand in one place that these flows do not explain: several residuals move together and stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

MOST_PRODUCTS = 5  # flows whose products are used: of more, a week does not tell the coefficients
RIDGE = 1e-3  # of the number of hours
LONG_H = 2  # hours that hang together, about
MEMORY_H = 12  # lags over which residuals are taken to hang together
CALM = 3.0  # times as much as an ordinary hour, at most, one of low scatter counts
OUTLIER = 6.0  # robust scatters
PASSES = 3
CALM_RIDGE = 0.1  # of the number of hours
LEAST_H = 72
MOST_AXES = 0.5  # a row of the covariance
LEAST_SHARE = 1e-4  # of a sensor's variance: so much every axis has


@dataclass(frozen=True, slots=True)
class Terms:
    """Which terms of `columns` drivers (flows first, then levels) stand in the regression: pairs of drivers that are
    multiplied; -1 in the second place is the driver itself."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]

    @staticmethod
    def of(flows: int, levels: int) -> Terms:
        pairs = [(k, -1) for k in range(flows + levels)] + [(k, k) for k in range(flows)]
        if flows <= MOST_PRODUCTS:
            pairs += [(i, j) for i in range(flows) for j in range(i)]
        table = np.array(pairs, np.int64).reshape(-1, 2)
        return Terms(table[:, 0], table[:, 1])

    def __len__(self) -> int:
        return len(self.first)

    def values(self, drivers: F64) -> F64:
        """f64[drivers] to f64[terms]."""
        other = np.where(self.second >= 0, drivers[self.second], 1.0)
        product: F64 = drivers[self.first] * other
        return product

    def slope(self, drivers: F64, driver: int) -> F64:
        """f64[terms]: their change with `driver`, at f64[drivers]."""
        other = np.where(self.second >= 0, drivers[self.second], 1.0)
        result: F64 = (self.first == driver) * other + (self.second == driver) * drivers[self.first]
        return result

    def without(self, absent: Mask) -> Mask:
        """bool[terms]: those that need none of the `absent` drivers."""
        return ~(absent[self.first] | ((self.second >= 0) & absent[self.second]))


@dataclass(frozen=True, slots=True)
class Model:
    """`kept` bool[terms]; `centre`, `scale` of them; `weights` f64[1 + kept, sensors]; `spread` f64[1 + kept,
    1 + kept], (X'X)^-1; `calm` f64[1 + kept]: log weight of an hour, linear in its terms, as demand scatters more the
    more of it there is; `covariance` f64[sensors, sensors] of an hour's residual of weight 1 as it counts in a long
    mean."""

    kept: Mask
    centre: F64
    scale: F64
    weights: F64
    spread: F64
    calm: F64
    covariance: F64

    def design(self, terms: F64) -> F64:
        """f64[hours, terms] to f64[hours, 1 + kept]."""
        return np.column_stack([np.ones(len(terms)), (terms[:, self.kept] - self.centre) / self.scale])

    def residual(self, terms: F64, pressures: F64) -> F64:
        """f64[hours, sensors]; NaN where a term or the pressure is missing."""
        result: F64 = pressures - self.design(terms) @ self.weights
        return result

    def weight(self, terms: F64) -> F64:
        """f64[hours]: what each counts in a mean; 0 where a term is missing."""
        return _weight(self.design(terms), self.calm)

    def of_means(self, means: F64) -> F64:
        """Mean residuals f64[..., sensors] of stretches told by f64[..., 1 + terms + sensors]: their 1 (or 0, for the
        difference of two), mean terms and mean pressures."""
        count = len(self.kept)
        one, terms, pressures = means[..., :1], means[..., 1 : 1 + count][..., self.kept], means[..., 1 + count :]
        design = np.concatenate([one, (terms - one * self.centre) / self.scale], axis=-1)
        result: F64 = pressures - design @ self.weights
        return result

    def mean_covariance(self, terms: F64, unknown: float = 0.0) -> F64:
        """Of the weighted mean residual over the hours `terms`: what hours scatter, what the fit does not know out
        there, and `unknown`, the same of what it is compared with."""
        design = self.design(terms)
        design = design[np.isfinite(design).all(axis=1)]
        weight = _weight(design, self.calm)
        middle = weight @ design / weight.sum()
        result: F64 = self.covariance * (1.0 / weight.sum() + middle @ self.spread @ middle + unknown)
        return result


def fit(terms: F64, pressures: F64, kept: Mask) -> Model | None:
    """Least squares of f64[hours, sensors] on f64[hours, terms]. Single hours far off count as missing; a missing
    pressure is replaced by what the fit makes of it. None where there are too few whole hours for so many terms."""
    whole = np.isfinite(terms[:, kept]).all(axis=1)
    rows, known = terms[whole][:, kept], pressures[whole]
    if len(rows) < 3 * (1 + rows.shape[1]) or not kept.any():
        return None
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 1e-9 * (1.0 + np.abs(centre)), scale, np.inf)
    design = np.column_stack([np.ones(len(rows)), (rows - centre) / scale])
    ridge = RIDGE * len(rows) * np.eye(design.shape[1])
    ridge[0, 0] = 1e-9
    spread = np.linalg.inv(design.T @ design + ridge)
    present = np.isfinite(known)
    guess = np.zeros_like(known)
    weights = np.zeros((design.shape[1], known.shape[1]))
    for _ in range(PASSES):
        weights = _solved(design, np.where(present, known, 0.0), present, spread, ridge)
        guess = design @ weights
        off = np.abs(known - guess)
        scatter = 1.4826 * _median(np.where(present, off, np.nan))
        present = np.isfinite(known) & ~(off > OUTLIER * scatter + 1e-9)
    residual = np.where(present, known - guess, 0.0)
    share = np.maximum(present.mean(axis=0), 0.1)
    weights[:, present.sum(axis=0) < max(LEAST_H, 3 * design.shape[1])] = np.nan  # too little is known of it
    freedom = max(0.3, 1.0 - design.shape[1] / len(rows))
    calm = _calm(design, residual)
    weighted = residual * np.sqrt(_weight(design, calm))[:, None]
    return Model(kept, centre, scale, weights, spread, calm, _covariance(weighted, share) / freedom)


def _weight(design: F64, calm: F64) -> F64:
    whole: Mask = np.asarray(np.isfinite(design).all(axis=1))
    log = np.where(whole, np.where(whole[:, None], design, 0.0) @ calm, 0.0)
    result: F64 = np.where(whole, np.exp(np.clip(log, -np.log(CALM), np.log(CALM))), 0.0)
    return result


def _calm(design: F64, residual: F64) -> F64:
    """f64[1 + terms]: -log of the mean square of all sensors of an hour, linear in its terms, around its median."""
    square = (residual**2).mean(axis=0)
    size = (residual**2 / np.where(square > 0.0, square, 1.0)).mean(axis=1)
    log = -np.log(np.maximum(size, 1e-2))
    log -= np.median(log)
    ridge = CALM_RIDGE * len(design) * np.eye(design.shape[1])
    result: F64 = np.linalg.solve(design.T @ design + ridge, design.T @ log)
    return result


def _solved(design: F64, known: F64, present: Mask, spread: F64, ridge: F64) -> F64:
    """f64[1 + terms, sensors]: least squares of each sensor over the hours in which it is present."""
    weights: F64 = spread @ (design.T @ known)
    for sensor in np.flatnonzero(~present.all(axis=0)).tolist():
        mine = design[present[:, sensor]]
        weights[:, sensor] = np.linalg.solve(mine.T @ mine + ridge, mine.T @ known[present[:, sensor], sensor])
    return weights


def _median(values: F64) -> F64:
    return np.array([float(np.median(one[np.isfinite(one)])) if np.isfinite(one).any() else 0.0 for one in values.T])


def _covariance(residual: F64, share: F64) -> F64:
    """Long-run covariance: along each axis on which hours scatter by themselves, the long-run variance (Newey and West
    1987, Bartlett weights). What all sensors share, as where a flow is not measured, so blurs nothing else."""
    hours = len(residual)
    short = residual.T @ residual / (hours * np.sqrt(np.outer(share, share)))
    size = np.sqrt(np.maximum(np.diag(short), 1e-12))
    values, axes = np.linalg.eigh(short / np.outer(size, size))  # with gaps it need not be a covariance
    course = (residual / size) @ axes
    own = np.maximum((course**2).sum(axis=0), 1e-12)
    total = own.copy()
    for lag in range(1, min(MEMORY_H, hours)):
        total += 2.0 * (1.0 - lag / MEMORY_H) * (course[lag:] * course[:-lag]).sum(axis=0)
    scatter = _shrunk(np.maximum(values, LEAST_SHARE), hours / LONG_H) * np.maximum(total / own, 1.0)
    result: F64 = (axes * scatter) @ axes.T * np.outer(size, size)
    return result


def _shrunk(values: F64, rows: float) -> F64:
    """Variances along the axes of a covariance that `rows` rows gave, for other rows than these: of as many axes the
    smallest come out too small and the largest too large (Ledoit and Wolf 2020, Annals of Statistics 48(5),
    "Analytical nonlinear shrinkage of large-dimensional covariance matrices", eq. 4.3 to 4.9). f64[axes], ascending."""
    many = len(values) / rows
    if many > MOST_AXES:
        return np.asarray((1.0 - MOST_AXES) * values + MOST_AXES * values.mean(), np.float64)
    width = values * rows ** (-1.0 / 3.0)
    x = (values[:, None] - values[None, :]) / width[None, :]
    hump = 1.0 - x**2 / 5.0
    density = (0.75 / math.sqrt(5.0) * np.maximum(hump, 0.0) / width).mean(axis=1)
    near = np.abs(np.abs(x) - math.sqrt(5.0)) < 1e-9
    log = np.log(np.where(near, 1.0, np.abs((math.sqrt(5.0) - x) / np.where(near, 1.0, math.sqrt(5.0) + x))))
    transform = ((-0.3 / math.pi * x + 0.75 / (math.sqrt(5.0) * math.pi) * hump * log) / width).mean(axis=1)
    real = 1.0 - many - math.pi * many * values * transform
    result: F64 = values / ((math.pi * many * values * density) ** 2 + real**2)
    return result


@dataclass(frozen=True, slots=True)
class Unusual:
    """A mean residual weighed. `all`: mean square per sensor in units of its scatter (about 1 when nothing is wrong);
    `sensor` explains most of it alone and lies `alone` scatters off what the others say; `rest`: what is left without
    it."""

    all: float
    sensor: int
    alone: float
    rest: float


def weigh(mean: F64, covariance: F64, basis: F64 | None = None) -> tuple[Unusual, F64]:
    """(how unusual f64[sensors] is, f64[k]: what is taken out along `basis` f64[sensors, k]). NaN sensors are out."""
    here = np.isfinite(mean)
    if basis is not None:
        here &= np.isfinite(basis).all(axis=1)
    count = int(here.sum())
    amounts = np.zeros(0 if basis is None else basis.shape[1])
    if count < 1:
        return Unusual(0.0, -1, 0.0, 0.0), amounts
    inverse = np.linalg.inv(covariance[np.ix_(here, here)])
    value = mean[here]
    if basis is not None and basis.shape[1]:
        span = basis[here]
        weight = span.T @ inverse
        amounts = np.asarray(np.linalg.lstsq(weight @ span, weight @ value, rcond=1e-6)[0], np.float64)
        value -= span @ amounts
    pulled = inverse @ value
    total = max(0.0, float(value @ pulled))
    drops = pulled**2 / np.diag(inverse)
    top = int(np.argmax(drops))
    rest = (total - float(drops[top])) / (count - 1) if count > 1 else 0.0
    found = Unusual(total / count, int(np.flatnonzero(here)[top]), float(np.sqrt(drops[top])), max(rest, 0.0))
    return found, amounts
