"""Water: leak ropes, meters that report errors, bursts.

A burst needs two witnesses of one zone: the flow is above its limit while the pressure is below its own. Either
alone is a demand peak, a flushing or a pump change.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.rules import Change, Condition, Test, channels_by_role, event
from gateway.services.single import Single, Singles
from gateway.site.plan import Plan, SiteDevice
from gateway.spool.records import Event, Phase

NOWHERE = {"where_en": "", "where_ko": ""}


def instruments(plan: Plan) -> Singles:
    """What ropes and meters say of themselves: water seen, cable broken, meter in error."""
    settings = plan.services.water
    found: list[Single] = []
    for device in plan.devices:
        roles = channels_by_role(plan, device)
        for role, code, hold_s in (
            ("leak", "water.leak", settings.leak_hold_s),
            ("cable_break", "water.cable_break", settings.leak_hold_s),
            ("meter_error", "water.meter_fault", settings.meter_error_hold_s),
        ):
            for channel in roles.get(role, ()):
                condition = Condition(channel, Test.NOT_EQUAL, 0.0, 0.0, hold_s, hold_s, code)
                distance = roles.get("leak_distance", ()) if role == "leak" else ()
                at = next(((one, plan.channels[one].unit) for one in distance), None)
                found.append(Single(condition, code, device.name, device.place, dict(NOWHERE), at))
    return Singles(found)


class Bursts:
    """One alarm a zone: both witnesses held for `burst_hold_s`, whichever began later."""

    def __init__(self, plan: Plan) -> None:
        settings = plan.services.water
        self._limits = (settings.burst_flow, settings.burst_pressure)
        self._zones: list[tuple[str, SiteDevice]] = []
        self.conditions: list[Condition] = []
        self._met: list[Change | None] = []
        self._standing: set[int] = set()
        if None in self._limits:
            return
        for zone, device, flow, pressure in _zone_pairs(plan):
            self._zones.append((zone, device))
            hold = settings.burst_hold_s
            self.conditions += [
                Condition(flow, Test.AT_LEAST, *self._hysteresis(0), hold, hold, "flow"),
                Condition(pressure, Test.AT_MOST, *self._hysteresis(1), hold, hold, "pressure"),
            ]
            self._met += [None, None]

    def _hysteresis(self, side: int) -> tuple[float, float]:
        limit = self._limits[side]
        assert limit is not None
        return limit, limit * (0.95 if side == 0 else 1.05)

    def changed(self, change: Change) -> Sequence[Event]:
        zone, other = change.condition // 2, change.condition ^ 1
        self._met[change.condition] = change if change.met else None
        partner = self._met[other]
        if change.met and partner is not None and zone not in self._standing:
            self._standing.add(zone)
            return (self._event(zone, Phase.ONSET, change, partner),)
        if not change.met and zone in self._standing:
            self._standing.discard(zone)
            return (self._event(zone, Phase.CLEAR, change, change),)
        return ()

    def _event(self, zone: int, phase: Phase, last: Change, partner: Change) -> Event:
        name, device = self._zones[zone]
        pair = {last.condition % 2: last.value, partner.condition % 2: partner.value}
        flow_limit, pressure_limit = self._limits
        return event(
            "water.burst",
            phase,
            name,
            device.place,
            time_ns=last.time_ns,
            onset_ns=min(last.since_ns, partner.since_ns),
            numbers={
                "flow": pair.get(0, 0.0),
                "pressure": pair.get(1, 0.0),
                "flow_limit": flow_limit or 0.0,
                "pressure_limit": pressure_limit or 0.0,
            },
            channels=[self.conditions[2 * zone].channel, self.conditions[2 * zone + 1].channel],
        )

    def restore(self, standing: Event) -> Sequence[int]:
        for zone, (name, _) in enumerate(self._zones):
            if standing.code == "water.burst" and standing.subject == name:
                self._standing.add(zone)
                for side in (0, 1):
                    at = 2 * zone + side
                    self._met[at] = Change(at, True, standing.time_ns, standing.onset_ns, 0.0)
                return [2 * zone, 2 * zone + 1]
        return []


def _zone_pairs(plan: Plan) -> list[tuple[str, SiteDevice, int, int]]:
    """(zone, device of the flow, flow channel, pressure channel): the first of each in every zone that has both."""
    flows: dict[str, tuple[SiteDevice, int]] = {}
    pressures: dict[str, int] = {}
    for device in plan.devices:
        roles = channels_by_role(plan, device)
        zone = device.place.zone
        if "flow" in roles:
            flows.setdefault(zone, (device, roles["flow"][0]))
        if "pressure" in roles:
            pressures.setdefault(zone, roles["pressure"][0])
    return [
        (zone or device.name, device, flow, pressures[zone])
        for zone, (device, flow) in flows.items()
        if zone in pressures
    ]
