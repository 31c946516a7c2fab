"""Air quality indices as readings: derived points `cai` and `aqi` of a station, one an hour, from the hourly means of
its source points. In: rows of an hour. Out: values of the derived channels, none where an index asks for more than is
there (a station without gases has no CAI). Judges nothing.

A mean over several hours needs three quarters of them. Dust as measured: indices are defined for it uncorrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from gateway.services.air.index import aqi, cai, predicted
from gateway.services.air.quantities import MOLAR_VOLUME_L
from gateway.services.watch import Finding, Row
from gateway.site.plan import Channel, Plan, SiteDevice

HOUR_S = 3600.0
HOURS = 24
ENOUGH = 0.75  # of the hours of a mean
INDICES = ("cai", "aqi")
MOLAR_G = {"no2": 46.0055, "o3": 47.9982, "so2": 64.066, "co": 28.0101}  # IUPAC standard atomic weights
AQI_HOURS = {"pm25": 24, "pm10": 24, "o3": 8, "co": 8, "no2": 1, "so2": 1}
AQI_PPB = ("no2", "so2")


class Indices:
    """The indices of one device."""

    LEARNT: ClassVar[tuple[str, ...]] = ("hours", "last_s")
    PARTS: ClassVar[tuple[type, ...]] = ()
    step_s = HOUR_S

    def __init__(self, plan: Plan, device: SiteDevice) -> None:
        own = [plan.channels[i] for i in device.channels]
        self._wanted = [(c.index, c.derived) for c in own if c.derived in INDICES]
        sources = {name for c in own if c.derived in INDICES for name in c.source}
        columns = [c for c in own if c.point in sources and (c.role.startswith("pm") or c.role in MOLAR_G)]
        self._columns = [(c.role, _to_standard(c)) for c in columns]
        self.channels: Sequence[int] = [c.index for c in columns]
        self.name = f"indices/{device.name}"
        self.hours = np.full((HOURS, len(columns)), np.nan)  # the newest last; dust in ug/m3, gases in ppm
        self.last_s = 0.0

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        passed = round((utc_s - self.last_s) / HOUR_S) if self.last_s else 1
        passed = min(passed, HOURS) if passed > 0 else HOURS  # a clock set back: the hours before are not its past
        self.hours = np.roll(self.hours, -passed, axis=0)
        self.hours[-passed:] = np.nan
        self.hours[-1] = values * np.array([factor for _, factor in self._columns])
        self.last_s = utc_s
        return ()

    def derived(self) -> Sequence[tuple[int, float]]:
        """[(channel, index)] after the hour just given."""
        found = {"cai": self._cai(), "aqi": self._aqi()}
        return [(channel, value) for channel, what in self._wanted if (value := found[what]) is not None]

    def _mean(self, role: str, hours: int) -> float:
        columns = [i for i, (name, _) in enumerate(self._columns) if name == role]
        if not columns:
            return float("nan")
        last = self.hours[-hours:, columns[0]]
        there = last[np.isfinite(last)]
        return float(there.mean()) if len(there) >= ENOUGH * hours else float("nan")

    def _cai(self) -> float | None:
        dust = {role: predicted(self._mean(role, 12), self._mean(role, 4)) for role in ("pm25", "pm10")}
        return cai({**dust, **{role: self._mean(role, 1) for role in MOLAR_G}})

    def _aqi(self) -> float | None:
        means: Mapping[str, float] = {role: self._mean(role, hours) for role, hours in AQI_HOURS.items()}
        return aqi({role: value * (1000.0 if role in AQI_PPB else 1.0) for role, value in means.items()})


def _to_standard(channel: Channel) -> float:
    """What makes ug/m3 of dust and ppm of a gas of the channel's unit."""
    if channel.role not in MOLAR_G:
        return 1.0
    factors = {"ppm": 1.0, "ppb": 1e-3, "ug/m3": MOLAR_VOLUME_L / MOLAR_G[channel.role] * 1e-3}
    return factors[channel.unit]


def indices(plan: Plan) -> list[Indices]:
    """One watch a device that has a derived index."""
    return [
        Indices(plan, device)
        for device in plan.devices
        if any(plan.channels[i].derived in INDICES for i in device.channels)
    ]
