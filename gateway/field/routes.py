"""Which upstream gets what. In: a plan, items. Out: items by upstream.

Summaries go by channel. Events go by their code, severity and what they are about; whoever was told of an alarm is told
how it goes on and that it is over, even where the later event by itself would not be for him. A gap is told to those
who miss something by it: an agency learns nothing of channels that it does not get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from gateway.site.choice import About, EventRule, takes_event
from gateway.site.plan import Plan
from gateway.site.routing import about_devices
from gateway.site.upstream import AGENCY, Upstream
from gateway.spool.records import Event, Gap, Health, Item, Phase, Values, Window, Windows
from gateway.wire.pack import chunk

VALUES_A_RECORD = 40  # keeps a pack of first values below one datagram of about 1 kB
PARTS = "./:"  # what ends a device's name in the name of something within it

Value = tuple[int, int, float, int]  # channel, time_ns, value, quality


class Routes:
    """One plan's. `standing`: alarms raised before a restart, whose receivers are still to be told of their end."""

    def __init__(self, plan: Plan, standing: Iterable[Event] = ()) -> None:
        self._plan = plan
        self._upstreams = plan.upstreams
        self._catalog = plan.catalog
        self._takes = {
            upstream.name: {c.index for c in plan.channels if upstream.name in c.upstreams}
            for upstream in plan.upstreams
        }
        self._misses = {upstream.name: self._missed_by(upstream) for upstream in plan.upstreams}
        self._about: dict[str, About] = {}
        self._told: dict[str, set[str]] = {}
        for event in standing:
            self._told[event.key] = self._takers(event)

    def event(self, event: Event) -> list[tuple[str, Item]]:
        told = self._told.get(event.key, set()) | self._takers(event)
        if event.phase is Phase.CLEAR:
            self._told.pop(event.key, None)
        else:
            self._told[event.key] = told
        bare = replace(event, evidence=()) if event.evidence else event
        return [(one.name, event if one.evidence else bare) for one in self._upstreams if one.name in told]

    def windows(self, rows: Sequence[Window]) -> list[tuple[str, Windows]]:
        """Windows in the order given, cut into records of about one datagram."""
        return [
            (name, part)
            for name, takes in self._takes.items()
            for part in chunk([row for row in rows if row.channel in takes], self._catalog)
        ]

    def values(self, rows: Sequence[Value]) -> list[tuple[str, Item]]:
        return [
            (name, Values(tuple(part)))
            for name, takes in self._takes.items()
            for part in _parts([row for row in rows if row[0] in takes])
        ]

    def gap(self, gap: Gap) -> list[tuple[str, Item]]:
        """To each what it misses, and nothing to whom it takes nothing from."""
        found: list[tuple[str, Item]] = []
        for name, misses in self._misses.items():
            own = ((tuple(c for c in channels if c in misses), low, high) for channels, low, high in gap.entries)
            entries = tuple(entry for entry in own if entry[0])
            if entries:
                found.append((name, replace(gap, entries=entries)))
        return found

    def health(
        self, time_ns: int, facts: Callable[[Upstream], Mapping[str, str | int | float]]
    ) -> list[tuple[str, Item]]:
        """State of the gateway, as `facts` tells it to each upstream."""
        return [(upstream.name, Health(time_ns, facts(upstream))) for upstream in self._upstreams]

    def devices_of(self, upstream: Upstream) -> set[str]:
        """The devices whose state is the business of `upstream`: a center's are all, an agency's those it reads."""
        return {
            device.name
            for device in self._plan.devices
            if upstream.role != AGENCY or not self._takes[upstream.name].isdisjoint(device.channels)
        }

    def devices_behind(self, event: Event) -> frozenset[str]:
        """The devices that an event is about or rests on."""
        return frozenset(self._what(event).devices)

    def _missed_by(self, upstream: Upstream) -> set[int]:
        """Channels whose gaps an upstream is told: those it gets, and for a center those that its alarms rest on."""
        own = set(self._takes[upstream.name])
        if upstream.role != AGENCY:
            for device in self._plan.devices:
                about = about_devices([device], self._plan.channels)
                if any(_may_be_about(rule, about) for rule in upstream.event_rules):
                    own.update(device.channels)
        return own

    def _takers(self, event: Event) -> set[str]:
        about = self._what(event)
        code, severity = event.code, int(event.severity)
        return {
            one.name for one in self._upstreams if takes_event(one.event_rules, one.excluded, code, severity, about)
        }

    def _what(self, event: Event) -> About:
        """The devices behind an event, by its subject and evidence."""
        plan = self._plan
        inside = {plan.channels[channel].device for channel, _ in event.evidence if channel < len(plan.channels)}
        if event.subject not in self._about:
            self._about[event.subject] = _about_subject(event.subject, plan)
        about = self._about[event.subject]
        more = [device for device in plan.devices if device.name in inside - about.devices]
        return _joined(about, about_devices(more, plan.channels)) if more else about


def _about_subject(subject: str, plan: Plan) -> About:
    """A subject is a device or something in it, a link, a group, a zone (or a part of one), or the whole gateway."""
    named = [
        d for d in plan.devices if d.name == subject or (subject.startswith(d.name) and subject[len(d.name)] in PARTS)
    ]
    if named:
        longest = max(named, key=lambda device: len(device.name))
        return about_devices([longest], plan.channels)
    whole = subject.partition("/")[0]
    groups = [device for device in plan.devices if whole in about_devices([device], plan.channels).groups]
    zones = [device for device in plan.devices if device.place.zone == whole]
    if found := groups or zones:
        about = about_devices(found, plan.channels)
        return replace(about, groups=frozenset((whole,))) if groups else replace(about, zones=frozenset((whole,)))
    links = [device for device in plan.devices if device.link == subject]
    return about_devices(links or plan.devices, plan.channels)


def _joined(one: About, other: About) -> About:
    return About(
        one.devices | other.devices,
        one.families | other.families,
        one.zones | other.zones,
        one.groups | other.groups,
    )


def _may_be_about(rule: EventRule, about: About) -> bool:
    """Whether a rule may take an event about these devices, whatever its code."""
    wanted = ((rule.zones, about.zones), (rule.devices, about.devices), (rule.groups, about.groups))
    return all(not words or not there.isdisjoint(words) for words, there in wanted)


def _parts(rows: Sequence[Value]) -> Iterable[Sequence[Value]]:
    return (rows[at : at + VALUES_A_RECORD] for at in range(0, len(rows), VALUES_A_RECORD))
