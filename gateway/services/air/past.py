"""The recent past of all stations: rows, and what stands still or is missing at the moment. In: one row after another.
Out: itself. It judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gateway.services.air.neighbours import Mask, Values

SPIKE = 6.0  # usual steps
IN_SMOKE = (0, 1, 4, 5, 6, 7)  # quantities that a plume changes, not humidity and temperature
STATION = -1  # in place of a quantity: the whole station or its dust unit
BLOCKS = 16  # of three hours, in two days
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Spans:
    """Rows of the durations that judging rests on. `repeated`: an hour of the same value, which takes two of them at
    least. `noise` and `long_noise`: three and six hours, and longer where that would be too few steps to tell how large
    they are."""

    hour: int
    two_hours: int
    three_hours: int
    six_hours: int
    half_day: int
    day: int
    kept: int
    repeated: int
    noise: int
    long_noise: int

    @classmethod
    def of(cls, step_s: float) -> Spans:
        def rows(hours: float, least: int) -> int:
            return max(least, round(hours * 3600.0 / step_s))

        day = rows(24.0, 12)
        kept = -(-2 * day // BLOCKS) * BLOCKS
        noise = rows(1, 2), rows(3, 12), rows(6, 24)
        return cls(rows(1, 1), rows(2, 4), rows(3, 4), rows(6, 6), rows(12, 8), day, kept, *noise)


@dataclass(slots=True)
class Fault:
    """`first` is the row (counted from the first one ever) where it seems to begin. `size` in the quantity's scale of
    comparison or, where stuck, the value; `unit` of swapped_units."""

    kind: str
    station: int
    quantity: int
    first: int
    size: float = 0.0
    unit: str = ""
    columns: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Past:
    """The last rows, newest at the end: f64[rows, stations, quantities]; and counters of the present, f64[stations,
    quantities]. `blown`, f64[stations]: rows since dust or smoke was over it; `found`, f64[quantities]: since
    a fault was found in one of them; `surge`: since dust rose everywhere."""

    value: Values
    residual: Values
    spike: Values
    last_value: Values
    run: Values
    run_low: Values
    run_high: Values
    gap: Values
    blown: Values
    found: Values
    surge: int
    rows: int = 0

    @classmethod
    def new(cls, spans: Spans, stations: int, quantities: int) -> Past:
        def one(fill: float) -> Values:
            return np.full((stations, quantities), fill)

        def many(fill: float) -> Values:
            return np.full((spans.kept, stations, quantities), fill)

        return cls(
            many(np.nan),
            many(np.nan),
            many(0.0),
            one(np.nan),
            one(0.0),
            one(np.nan),
            one(np.nan),
            one(0.0),
            np.full(stations, float(spans.kept)),
            np.full(quantities, float(spans.kept)),
            spans.kept,
        )

    def push(self, value: Values, residual: Values, reference: Values, step: Values, plume: Mask, surge: bool) -> None:
        """Take a row in. `reference`: what the neighbours say, on the scale of comparison; `plume`: bool[stations];
        `surge`: the whole city's dust rises, at some stations more than at others."""
        self.found += 1.0
        self.surge = 0 if surge else self.surge + 1
        self.blown = np.where(plume, 0.0, self.blown + 1.0)
        for history, now in ((self.value, value), (self.residual, residual)):
            history[:-1] = history[1:]
            history[-1] = now
        known = np.isfinite(value)
        same = known & (value == self.last_value)
        fresh = known & ~same
        self.run = np.where(fresh, 1.0, self.run + same)
        self.run_low = np.where(fresh, reference, np.fmin(self.run_low, reference))
        self.run_high = np.where(fresh, reference, np.fmax(self.run_high, reference))
        self.last_value = np.where(known, value, self.last_value)
        self.gap = np.where(known, 0.0, self.gap + 1.0)
        self.spike[:-1] = self.spike[1:]
        self.spike[-1] = 0.0
        before, there, after = self.residual[-3:]
        off = np.abs(there - (before + after) / 2.0)
        self.spike[-2] = (off > SPIKE * step) & (np.abs(after - before) < off / 3.0)
        self.spike[-2][:, IN_SMOKE] *= (self.blown > 2)[:, None]
        self.rows += 1
