"""What an air station measures, and on which scale two stations are compared. Data and arithmetic, no state.

Stations of one city differ by a factor in dust and nitrogen dioxide (surroundings, gain), by a difference in
temperature, humidity and ozone; on the scale given here the scatter between neighbours hardly depends on the level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOLAR_VOLUME_L = 24.45  # of a gas at 25 degC and 1013 hPa: ppb = ug/m3 * 24.45 / molar mass
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that a value may be in by mistake: value = right * factor + shift."""

    name: str
    factor: float
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Quantity:
    """`scatter` between neighbours as assumed before anything is learnt, and a floor for it, both on the scale of
    comparison: ln(x + offset) where `log`, else x. `mistakes` are units taken for the canonical one."""

    role: str
    log: bool
    offset: float
    scatter: float
    least_scatter: float
    mistakes: tuple[Unit, ...]
    floor: float = 0.0  # an honest sensor may stay here for hours,
    ceiling: float = np.inf  # and here
    molar_g: float = 0.0

    def scaled(self, value: Values) -> Values:
        """To the scale of comparison. Any shape; NaN stays NaN."""
        if not self.log:
            return value
        return np.asarray(np.log(np.maximum(value, 0.0) + self.offset))

    def natural(self, scaled: Values) -> Values:
        """Back from the scale of comparison."""
        return np.asarray(np.exp(scaled) - self.offset) if self.log else scaled


def _gas(role: str, molar_g: float, *, log: bool, offset: float, scatter: float, least: float) -> Quantity:
    ppb = MOLAR_VOLUME_L / molar_g
    mistakes = (Unit("ppb", ppb), Unit("ppm", ppb / 1000.0), Unit("mg/m3", 1e-3))
    return Quantity(role, log, offset, scatter, least, mistakes, molar_g=molar_g)


_DUST = (Unit("mg/m3", 1e-3),)
QUANTITIES: tuple[Quantity, ...] = (
    Quantity("pm25", True, 1.0, 0.15, 0.05, _DUST),
    Quantity("pm10", True, 1.0, 0.15, 0.05, _DUST),
    Quantity("humidity", False, 0.0, 2.0, 0.7, (Unit("0..1", 0.01),), ceiling=99.0),
    Quantity("temperature", False, 0.0, 0.5, 0.15, (Unit("degF", 1.8, 32.0), Unit("K", 1.0, 273.15)), floor=-np.inf),
    _gas("no2", 46.01, log=True, offset=1.0, scatter=0.2, least=0.05),
    _gas("o3", 48.00, log=False, offset=0.0, scatter=10.0, least=2.0),
    _gas("so2", 64.07, log=True, offset=1.0, scatter=0.2, least=0.05),
    _gas("co", 28.01, log=True, offset=50.0, scatter=0.2, least=0.05),
)
PM25, PM10, HUMIDITY, TEMPERATURE = range(4)
INDEX = {one.role: index for index, one in enumerate(QUANTITIES)}


def mistaken(role: str, unit: str) -> tuple[Unit, ...]:
    """The units that values declared to be in `unit` may be in by mistake, in canonical terms."""
    one = QUANTITIES[INDEX[role]]
    if one.molar_g and unit in ("ppb", "ppm"):
        return (Unit("ug/m3", one.molar_g / MOLAR_VOLUME_L),)
    return one.mistakes


def canonical(role: str, unit: str) -> tuple[float, float]:
    """(factor, shift) from a site's unit to ug/m3, %RH or Cel."""
    if role == "temperature" and unit == "K":
        return 1.0, -273.15
    molar = QUANTITIES[INDEX[role]].molar_g
    if unit == "mg/m3":
        return 1000.0, 0.0
    if molar and unit in ("ppb", "ppm"):
        return molar / MOLAR_VOLUME_L * (1000.0 if unit == "ppm" else 1.0), 0.0
    return 1.0, 0.0
