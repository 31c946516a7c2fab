"""The air stations of a plan. In: a compiled site. Out: which of its channels are columns, in which unit, of what.

One station is one device with roles of the air family. Of several channels with one role the first counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.services.air.quantities import INDEX, QUANTITIES, Unit, canonical, mistaken
from gateway.services.rules import channels_by_role
from gateway.site.plan import Plan, SiteDevice

JUDGED = frozenset(("pm25", "pm10", "no2", "o3", "so2", "co"))


@dataclass(frozen=True, slots=True)
class Columns:
    """`channels` of the watch in order; where each goes (`station`, `quantity`) and how it becomes canonical."""

    devices: tuple[SiteDevice, ...]
    channels: tuple[int, ...]
    station: NDArray[np.int64]
    quantity: NDArray[np.int64]
    factor: NDArray[np.float64]
    shift: NDArray[np.float64]
    mistakes: dict[tuple[int, int], tuple[Unit, ...]]  # of (station, quantity)

    @property
    def present(self) -> NDArray[np.bool_]:
        """bool[stations, quantities]."""
        mask = np.zeros((len(self.devices), len(QUANTITIES)), bool)
        mask[self.station, self.quantity] = True
        return mask

    def column(self, station: int, quantity: int) -> int:
        """The watch's column of one value."""
        return int(np.flatnonzero((self.station == station) & (self.quantity == quantity))[0])

    def table(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """f64[columns] to f64[stations, quantities], in ug/m3, %RH and Cel; NaN where nothing is measured."""
        table = np.full((len(self.devices), len(QUANTITIES)), np.nan)
        sane = np.where(np.isfinite(values) & (np.abs(values) < SANE), values, np.nan)
        table[self.station, self.quantity] = sane * self.factor + self.shift
        return table


SANE = 1e7  # nothing in the air is more, in any unit


def columns(plan: Plan) -> Columns:
    """Every device that measures a pollutant, with its temperature and humidity."""
    devices: list[SiteDevice] = []
    rows: list[tuple[int, int, int, float, float]] = []
    mistakes: dict[tuple[int, int], tuple[Unit, ...]] = {}
    for device in plan.devices:
        roles = channels_by_role(plan, device)
        if not JUDGED & roles.keys():
            continue
        for role, found in roles.items():
            if role in INDEX:
                unit = plan.channels[found[0]].unit
                rows.append((found[0], len(devices), INDEX[role], *canonical(role, unit)))
                mistakes[len(devices), INDEX[role]] = mistaken(role, unit)
        devices.append(device)
    channel, station, quantity, factor, shift = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Columns(
        tuple(devices),
        tuple(channel),
        np.array(station, np.int64),
        np.array(quantity, np.int64),
        np.array(factor, np.float64),
        np.array(shift, np.float64),
        mistakes,
    )
