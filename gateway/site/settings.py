"""What a site may say about services, with production defaults. Data only: the rules live in gateway/services.

Every duration is what a city uses; a site that shortens one (a training bench, the demo) does so in its own file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_STRICT: dict[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class WaterSettings:
    """A burst is a flow above `burst_flow` while the zone's pressure is below `burst_pressure`, both held for
    `burst_hold_s`. Units are those of the points with the roles `flow` and `pressure`. Off where a limit is missing."""

    __pydantic_config__ = _STRICT
    burst_flow: float | None = None
    burst_pressure: float | None = None
    burst_hold_s: float = 120.0
    leak_hold_s: float = 2.0
    meter_error_hold_s: float = 60.0


@dataclass(frozen=True, slots=True)
class StreetlightSettings:
    """A lamp that reports failure is out after `lamp_out_hold_s`; where `group_share` of the lamps of one group fail
    within that time it is ONE group outage, raised at once, and its members are held back."""

    __pydantic_config__ = _STRICT
    lamp_out_hold_s: float = 60.0
    group_share: float = 0.8
    group_min_lamps: int = 3


@dataclass(frozen=True, slots=True)
class AirSettings:
    """Korean ordinance levels: PM2.5 advisory >= 75 for 2 h (clears below 35), warning >= 150 for 2 h; PM10 advisory
    >= 150 (clears below 100), warning >= 300 (clears below 150). ug/m3."""

    __pydantic_config__ = _STRICT
    pm25_advisory: float = 75.0
    pm25_advisory_clear: float = 35.0
    pm25_warning: float = 150.0
    pm25_warning_clear: float = 75.0
    pm10_advisory: float = 150.0
    pm10_advisory_clear: float = 100.0
    pm10_warning: float = 300.0
    pm10_warning_clear: float = 150.0
    hold_s: float = 7200.0
    clear_hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TrafficSettings:
    """A loop that reports 100 % occupancy for `stuck_on_s` is locked on (2 min on a mainline, 30 min on a ramp).
    Volume and occupancy are counted over `interval_s`."""

    __pydantic_config__ = _STRICT
    stuck_on_s: float = 120.0
    interval_s: float = 30.0


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The `[services]` table of a site."""

    __pydantic_config__ = _STRICT
    water: WaterSettings = field(default_factory=WaterSettings)
    streetlight: StreetlightSettings = field(default_factory=StreetlightSettings)
    air: AirSettings = field(default_factory=AirSettings)
    traffic: TrafficSettings = field(default_factory=TrafficSettings)
