"""Streetlights: one failed lamp is a lamp; most of a group failing together is ONE alarm, and holds back its members.

A lamp counts as failed when its control gear says so; one whose power is read is judged by that, in cabinet.py. The
single alarm waits `lamp_out_hold_s`, so a group that falls dark lamp by lamp is recognised before its first member is
reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.services.rules import Change, Condition, Test, event
from gateway.services.streetlight.layout import stem_of
from gateway.site.plan import Place, Plan
from gateway.spool.records import Event, Phase


@dataclass(slots=True)
class _Lamp:
    name: str
    group: str
    place: Place
    failed: bool = False  # reported by its gear
    reported: bool = False  # a single alarm stands


class Lamps:
    """Two conditions a lamp: failed at once (feeds the group), failed for `lamp_out_hold_s` (the single alarm)."""

    def __init__(self, plan: Plan) -> None:
        settings = plan.services.streetlight
        self._share = settings.group_share
        self._min = settings.group_min_lamps
        self._lamps: list[_Lamp] = []
        self._groups: dict[str, list[_Lamp]] = {}
        self._dark: set[str] = set()
        self.conditions: list[Condition] = []
        measured = {_stem(channel.name) for channel in plan.channels if channel.role == "lamp_power"}
        for device in plan.devices:
            for index in device.channels:
                channel = plan.channels[index]
                if channel.role != "lamp_failure" or _lamp_name(channel.name) in measured:
                    continue
                lamp = _Lamp(_lamp_name(channel.name), channel.group or device.group, device.place)
                self._lamps.append(lamp)
                if lamp.group:
                    self._groups.setdefault(lamp.group, []).append(lamp)
                for hold_s in (0.0, settings.lamp_out_hold_s):
                    self.conditions.append(Condition(index, Test.NOT_EQUAL, 0.0, 0.0, hold_s, 0.0, "lamp"))

    def changed(self, change: Change) -> Sequence[Event]:
        lamp = self._lamps[change.condition // 2]
        if change.condition % 2 == 0:
            lamp.failed = change.met
            return self._group(lamp, change)
        return self._single(lamp, change)

    def _group(self, lamp: _Lamp, change: Change) -> Sequence[Event]:
        members = self._groups.get(lamp.group, [])
        if len(members) < self._min:
            return ()
        failed = sum(member.failed for member in members)
        dark = failed >= math.ceil(self._share * len(members))
        if dark and lamp.group not in self._dark:
            self._dark.add(lamp.group)
            return (self._group_event(lamp, Phase.ONSET, change, failed, len(members)),)
        if failed == 0 and lamp.group in self._dark:
            self._dark.discard(lamp.group)
            return (self._group_event(lamp, Phase.CLEAR, change, failed, len(members)),)
        return ()

    def _single(self, lamp: _Lamp, change: Change) -> Sequence[Event]:
        if change.met == lamp.reported or (change.met and lamp.group in self._dark):
            return ()
        lamp.reported = change.met
        return (
            event(
                "streetlight.lamp_out",
                Phase.ONSET if change.met else Phase.CLEAR,
                lamp.name,
                lamp.place,
                time_ns=change.time_ns,
                onset_ns=change.since_ns,
                numbers={"evidence": "DALI"},
                channels=(self.conditions[change.condition].channel,),
            ),
        )

    def _group_event(self, lamp: _Lamp, phase: Phase, change: Change, failed: int, lamps: int) -> Event:
        return event(
            "streetlight.group_outage",
            phase,
            lamp.group,
            lamp.place,
            time_ns=change.time_ns,
            onset_ns=change.since_ns,
            numbers={"failed": failed, "lamps": lamps},
        )

    def restore(self, standing: Event) -> Sequence[int]:
        if standing.code == "streetlight.group_outage" and standing.subject in self._groups:
            self._dark.add(standing.subject)
            members = self._groups[standing.subject]
            for lamp in members:
                lamp.failed = True
            return [2 * i for i, lamp in enumerate(self._lamps) if lamp in members]
        if standing.code == "streetlight.lamp_out":
            for i, lamp in enumerate(self._lamps):
                if lamp.name == standing.subject:
                    lamp.failed = lamp.reported = True
                    return [2 * i, 2 * i + 1]
        return []


def _stem(channel: str) -> str:
    """`dali1.lamp3_power` -> `dali1.lamp3`."""
    device, _, point = channel.partition(".")
    return f"{device}.{stem_of(point)}"


def _lamp_name(channel: str) -> str:
    """`dali1.lamp3_failure` -> `dali1.lamp3`."""
    return channel.removesuffix("_failure")
