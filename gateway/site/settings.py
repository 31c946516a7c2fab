"""What a site may say about services, with production defaults. Data only: the rules live in gateway/services.

Every duration is what a city uses; a site that shortens one (a training bench, the demo) does so in its own file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError

_STRICT: dict[str, Any] = {"extra": "forbid"}


def _moment(told: object) -> object:
    """A date and time of TOML's own (as document.py hands it over) or written as text."""
    text = told.get("date") if isinstance(told, dict) and list(told) == ["date"] else told
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else told
    except ValueError:
        raise PydanticCustomError(
            "moment", "Input should be a date and time such as 2024-10-11T09:30:00+09:00"
        ) from None


def _hour(told: object) -> object:
    text = told.get("date") if isinstance(told, dict) and list(told) == ["date"] else told
    try:
        return time.fromisoformat(text) if isinstance(text, str) else told
    except ValueError:
        raise PydanticCustomError("hour", "Input should be a time of day such as 22:30") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
Hour = Annotated[time, BeforeValidator(_hour)]


@dataclass(frozen=True, slots=True)
class WaterSettings:
    """A burst is a flow above `burst_flow` while the zone's pressure is below `burst_pressure`, both held for
    `burst_hold_s`. Units are those of the points with the roles `flow` and `pressure`. Off where a limit is missing.

    Flows, levels and pressures of one zone are judged together in rows of `step_s` once `learn_days` of them are
    known."""

    __pydantic_config__ = _STRICT
    burst_flow: float | None = None
    burst_pressure: float | None = None
    burst_hold_s: float = 120.0
    leak_hold_s: float = 2.0
    meter_error_hold_s: float = 60.0
    step_s: float = 300.0
    learn_days: float = 7.0


@dataclass(frozen=True, slots=True)
class DimStep:
    """From `start` to `end` (local time, over midnight where `end` is earlier) lamps burn at `level` percent."""

    __pydantic_config__ = _STRICT
    start: Hour
    end: Hour
    level: float


@dataclass(frozen=True, slots=True)
class WorkPeriod:
    """Work on the cabinet was announced from `start` to `end`; both carry their offset from UTC."""

    __pydantic_config__ = _STRICT
    start: Moment
    end: Moment


@dataclass(frozen=True, slots=True)
class StreetlightSettings:
    """A lamp that reports failure is out after `lamp_out_hold_s`; where `group_share` of the lamps of one group fail
    within that time it is ONE group outage, raised at once, and its members are held back. A lamp that draws next to
    nothing though commanded on is out after `dark_hold_s`. `leakage_ma` is on top of twice the dry leakage."""

    __pydantic_config__ = _STRICT
    lamp_out_hold_s: float = 60.0
    group_share: float = 0.8
    group_min_lamps: int = 3
    dark_hold_s: float = 1800.0
    door_hold_s: float = 600.0
    leakage_ma: float = 40.0
    leakage_hold_s: float = 600.0
    dim_schedule: tuple[DimStep, ...] = ()
    planned_work: tuple[WorkPeriod, ...] = ()


@dataclass(frozen=True, slots=True)
class AirSettings:
    """Korean ordinance levels: PM2.5 advisory >= 75 for 2 h (clears below 35), warning >= 150 for 2 h; PM10 advisory
    >= 150 (clears below 100), warning >= 300 (clears below 150). ug/m3.

    Of several stations the city value decides: the median of their means over 60 minutes. They are judged together
    every `step_s`; a sensor is compared with its neighbours once `learn_days` of them are known. Dust measured by
    light is corrected for humidity before it is judged: `humidity_growth` is the a of 1 + a * h^2 / (1 - h), 0 for
    meters with a dryer (or `humidity_growth` in a device's options)."""

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
    step_s: float = 600.0
    learn_days: float = 5.0
    humidity_growth: float = 0.1


@dataclass(frozen=True, slots=True)
class TrafficSettings:
    """Volume and occupancy are counted over `interval_s`; vehicles from `medium_from_m` and `long_from_m` on are
    classes of their own. A raw loop whose signal jumps and then does not move for `stuck_after_jump_s` is stuck.

    A detector that reports 100 % occupancy for `stuck_on_s` (on a ramp `ramp_stuck_on_s`) is locked on;
    `chatter_vehicles` in 30 s are chatter; no vehicle in `no_hits_s` on a mainline and no change in `no_change_s` are
    faults, as are two detectors of one lane whose counts differ by more than `pair_mismatch_pct`.

    `adjacent` names pairs of devices, upstream first, between which incidents are looked for (California algorithm,
    thresholds `occdf_pct`, `occrdf`, `docctd`)."""

    __pydantic_config__ = _STRICT
    stuck_on_s: float = 120.0
    interval_s: float = 30.0
    stuck_after_jump_s: float = 10.0
    medium_from_m: float = 5.6
    long_from_m: float = 12.0
    ramp_stuck_on_s: float = 1800.0
    chatter_vehicles: float = 38.0
    no_hits_s: float = 14_400.0
    no_change_s: float = 86_400.0
    pair_mismatch_pct: float = 10.0
    detector_fault_hold_s: float = 5.0
    adjacent: tuple[tuple[str, str], ...] = ()
    occdf_pct: float = 8.0
    occrdf: float = 0.5
    docctd: float = 0.15


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """Gauges of a device that are judged together (`joint = true`), in rows of `step_s` or, where a gauge is read less
    often, of its period. The first `reference_rows` teach what is usual, and so do three times as many quiet ones
    after them. An alarm begins at `onset_score` and ends after `calm_rows` in a row that are usual, or score below
    `clear_score`; one that stands for `patience_rows` is given up and the machine learnt anew."""

    __pydantic_config__ = _STRICT
    step_s: float = 1.0
    reference_rows: Annotated[int, Field(ge=64)] = 400
    onset_score: Annotated[float, Field(gt=0)] = 10.0
    clear_score: float = 5.0
    calm_rows: Annotated[int, Field(ge=1)] = 30
    patience_rows: Annotated[int, Field(ge=1)] = 900


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The `[services]` table of a site."""

    __pydantic_config__ = _STRICT
    water: WaterSettings = field(default_factory=WaterSettings)
    streetlight: StreetlightSettings = field(default_factory=StreetlightSettings)
    air: AirSettings = field(default_factory=AirSettings)
    traffic: TrafficSettings = field(default_factory=TrafficSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
