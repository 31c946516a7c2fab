"""The water zones of a plan. In: a compiled site. Out: which of its channels are columns of which zone.

A zone is what shares a group or, without one, the zone of its place. Flows, pressures and levels of one zone are judged
together; `inflow` in a point's options says which way a flow counts: 1 into the zone (the default), -1 out of it,
0 within.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.site.plan import Place, Plan

ROLES = ("flow", "level", "pressure")


@dataclass(frozen=True, slots=True)
class Zone:
    """`channels`: flows, then levels, then pressures. `inflow` f64[flows]: sign of each flow in the zone's balance."""

    name: str
    place: Place
    channels: tuple[int, ...]
    names: tuple[str, ...]
    flows: int
    levels: int
    inflow: NDArray[np.float64]
    may_reverse: tuple[bool, ...]  # of each flow: its range goes below 0
    flow_unit: str
    pressure_unit: str
    period_s: float

    @property
    def drivers(self) -> int:
        return self.flows + self.levels

    @property
    def pressures(self) -> int:
        return len(self.channels) - self.drivers


def zones(plan: Plan) -> list[Zone]:
    """Every zone with at least one flow, in the order of the plan."""
    members: dict[str, dict[str, list[int]]] = {}
    places: dict[str, Place] = {}
    for device in plan.devices:
        for index in device.channels:
            channel = plan.channels[index]
            if channel.role in ROLES:
                name = channel.group or device.group or device.place.zone or plan.gateway
                members.setdefault(name, {role: [] for role in ROLES})[channel.role].append(index)
                places.setdefault(name, device.place)
    return [_zone(plan, name, places[name], roles) for name, roles in members.items() if roles["flow"]]


def _zone(plan: Plan, name: str, place: Place, roles: dict[str, list[int]]) -> Zone:
    rows = tuple(index for role in ROLES for index in roles[role])
    channels = [plan.channels[index] for index in rows]
    flows = channels[: len(roles["flow"])]
    pressures = channels[len(roles["flow"]) + len(roles["level"]) :]
    return Zone(
        name,
        place,
        rows,
        tuple(channel.name for channel in channels),
        len(flows),
        len(roles["level"]),
        np.array([channel.options.get("inflow", 1.0) for channel in flows]),
        tuple(-np.inf < channel.low < 0.0 for channel in flows),
        flows[0].unit,
        pressures[0].unit if pressures else "",
        max(channel.period_s for channel in channels),
    )
