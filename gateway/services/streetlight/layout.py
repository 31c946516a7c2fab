"""Which channels make a cabinet: its meter and instruments, its feeders, their lamps. In: a plan. Out: frozen facts.

A cabinet is a zone (the gateway's asset or id where no zone is named). A feeder is a group: its lamps are the points
with role `lamp_power` in it, its current the point with role `current` in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.site.plan import Channel, Place, Plan, SiteDevice

LAMP_ROLES = {"lamp_power", "lamp_level"}
SIGNS = {"lamp_power", "door", "leakage", "illuminance"}  # a meter alone is not a cabinet
SCALE = {"kW": 1000.0, "Wh": 1e-3, "J": 1 / 3.6e6}  # to W and kWh
STEMS = ("_power", "_w", "_level")


@dataclass(frozen=True, slots=True)
class Signal:
    """A column of the watch's rows: value * `scale` is in W, A, V, kWh, mA, lx or percent."""

    column: int
    scale: float = 1.0
    rollover: float = math.inf  # scaled
    resolution: float = 0.0  # scaled
    high: float = math.inf  # scaled


@dataclass(frozen=True, slots=True)
class Lamp:
    name: str
    place: Place
    feeder: str
    position: float  # along the feeder, from the cabinet
    nominal_w: float  # 0 where the site does not say
    power: Signal
    level: Signal | None


@dataclass(frozen=True, slots=True)
class Feeder:
    name: str
    place: Place
    current: Signal | None
    lamps: tuple[int, ...]  # rows of Cabinet.lamps, nearest to the cabinet first


@dataclass(frozen=True, slots=True)
class Layout:
    """One cabinet. `channels[column]` is the channel of a column."""

    name: str
    place: Place
    channels: tuple[int, ...]
    period_s: float
    lamps: tuple[Lamp, ...]
    feeders: tuple[Feeder, ...]
    voltage: Signal | None
    power: Signal | None
    energy: Signal | None
    leakage: Signal | None
    door: Signal | None
    lux: Signal | None


@dataclass(slots=True)
class _Draft:
    name: str
    place: Place
    channels: list[int] = field(default_factory=list)
    period_s: float = 0.0
    signals: dict[str, Signal] = field(default_factory=dict)
    currents: dict[str, Signal] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    lamps: list[Lamp] = field(default_factory=list)

    def signal(self, channel: Channel) -> Signal:
        self.channels.append(channel.index)
        self.period_s = max(self.period_s, channel.period_s)
        scale = 1e-3 if (channel.role, channel.unit) == ("current", "mA") else SCALE.get(channel.unit, 1.0)
        if (channel.role, channel.unit) == ("leakage", "A"):
            scale = 1e3
        return Signal(
            len(self.channels) - 1,
            scale,
            channel.rollover * scale,
            channel.resolution * scale,
            channel.high * scale,
        )


def layouts(plan: Plan) -> Sequence[Layout]:
    """Every cabinet of the site that has a lamp with its own power reading, a door, a leakage sensor or a photocell."""
    drafts: dict[str, _Draft] = {}
    lit = {plan.channels[i].group for d in plan.devices for i in d.channels if plan.channels[i].role == "lamp_power"}
    for device in plan.devices:
        if device.family not in ("streetlight", "other"):
            continue
        name = device.place.zone or plan.place.asset or plan.gateway
        draft = drafts.setdefault(name, _Draft(name, _cabinet_place(plan, device)))
        _add_lamps(draft, plan, device)
        for channel in (plan.channels[index] for index in device.channels):
            _add_signal(draft, channel, device.place, lit)
    return [_frozen(draft) for draft in drafts.values() if draft.lamps or SIGNS & draft.signals.keys()]


def _cabinet_place(plan: Plan, device: SiteDevice) -> Place:
    return plan.place if plan.place.zone == device.place.zone else device.place


def _add_lamps(draft: _Draft, plan: Plan, device: SiteDevice) -> None:
    points = {plan.channels[i].point: plan.channels[i] for i in device.channels if plan.channels[i].role in LAMP_ROLES}
    levels = {stem_of(point): channel for point, channel in points.items() if channel.role == "lamp_level"}
    for point, channel in points.items():
        if channel.role != "lamp_power":
            continue
        stem = stem_of(point)
        facts = {**device.options, **channel.options}
        level = levels.get(stem) or (next(iter(levels.values())) if len(levels) == 1 and not stem else None)
        draft.lamps.append(
            Lamp(
                name=f"{device.name}.{stem}" if stem else device.name,
                place=device.place,
                feeder=channel.group,
                position=facts.get("position", float(len(draft.lamps))),
                nominal_w=facts.get("nominal_w", 0.0),
                power=draft.signal(channel),
                level=draft.signal(level) if level is not None else None,
            )
        )
        draft.places.setdefault(channel.group, device.place)


def _add_signal(draft: _Draft, channel: Channel, place: Place, lit: set[str]) -> None:
    if channel.role == "current" and channel.group and channel.group in lit:
        if channel.group not in draft.currents:
            draft.currents[channel.group] = draft.signal(channel)
            draft.places.setdefault(channel.group, place)
    elif channel.role in ("voltage", "power", "energy", "leakage", "door", "illuminance"):
        feeders_own = channel.group in lit and channel.role in ("power", "energy")
        if channel.role not in draft.signals and not feeders_own:
            draft.signals[channel.role] = draft.signal(channel)


def stem_of(point: str) -> str:
    """`lamp3_power` -> `lamp3`; `power` -> ``: the lamp is the device."""
    for ending in STEMS:
        if point.lower().endswith(ending):
            return point[: -len(ending)]
    return "" if point.lower() in ("power", "w", "level") else point


def _frozen(draft: _Draft) -> Layout:
    names = dict.fromkeys(lamp.feeder for lamp in draft.lamps if lamp.feeder)
    feeders = tuple(
        Feeder(
            name,
            draft.places[name],
            draft.currents.get(name),
            tuple(
                sorted(
                    (row for row, lamp in enumerate(draft.lamps) if lamp.feeder == name),
                    key=lambda row: draft.lamps[row].position,
                )
            ),
        )
        for name in names
    )
    return Layout(
        name=draft.name,
        place=draft.place,
        channels=tuple(draft.channels),
        period_s=draft.period_s,
        lamps=tuple(draft.lamps),
        feeders=feeders,
        voltage=draft.signals.get("voltage"),
        power=draft.signals.get("power"),
        energy=draft.signals.get("energy"),
        leakage=draft.signals.get("leakage"),
        door=draft.signals.get("door"),
        lux=draft.signals.get("illuminance"),
    )
