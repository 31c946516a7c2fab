"""What an upstream wants of a site: rules as the file gives them, and whether a channel or an event meets one. Pure.

A rule without words takes everything; every key that is given must agree, and one of its words is enough. Of several
rules one is enough. An event whose code begins with an excluded prefix (`"!health."`) is taken by no rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

from gateway.site.roles import ROLES

SEVERITIES = ("notice", "minor", "major", "critical")  # gateway.spool.records.Severity
Words = tuple[str, ...]


class EventTable(BaseModel):
    """One table of `events`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codes: Words = ()
    severity: Literal["notice", "minor", "major", "critical"] = "notice"
    families: Words = ()
    zones: Words = ()
    devices: Words = ()
    groups: Words = ()


class SummaryTable(BaseModel):
    """One table of `summaries`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: Words = ()
    roles: Words = ()
    zones: Words = ()
    devices: Words = ()
    groups: Words = ()


def _form(value: object) -> str:
    """What a person meant to write, so that faults are about that alone."""
    if isinstance(value, (dict, BaseModel)):
        return "table"
    return "list" if isinstance(value, (list, tuple)) else "text"


EventWish = Annotated[Annotated[str, Tag("text")] | Annotated[EventTable, Tag("table")], Discriminator(_form)]
_One = Annotated[Annotated[str, Tag("text")] | Annotated[SummaryTable, Tag("table")], Discriminator(_form)]
SummaryWish = Annotated[
    Annotated[Literal["all", "none"], Tag("text")] | Annotated[tuple[_One, ...], Tag("list")], Discriminator(_form)
]


@dataclass(frozen=True, slots=True)
class EventRule:
    """Events it takes: `codes` are prefixes, `severity` is the least."""

    codes: Words = ()
    severity: int = 0
    families: Words = ()
    zones: Words = ()
    devices: Words = ()
    groups: Words = ()


@dataclass(frozen=True, slots=True)
class SummaryRule:
    """Channels whose summaries it takes."""

    families: Words = ()
    roles: Words = ()
    zones: Words = ()
    devices: Words = ()
    groups: Words = ()


@dataclass(frozen=True, slots=True)
class About:
    """What an event is about: the devices behind it, and what they belong to."""

    devices: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


EVERY_EVENT: tuple[EventRule, ...] = (EventRule(),)
EVERY_SUMMARY: tuple[SummaryRule, ...] = (SummaryRule(),)


def event_rules(said: Iterable[str | EventTable]) -> tuple[tuple[EventRule, ...], Words]:
    """Rules, and prefixes of codes that none of them takes. A list of exclusions alone takes all the rest."""
    rules: list[EventRule] = []
    excluded: list[str] = []
    for one in said:
        if isinstance(one, EventTable):
            severity = SEVERITIES.index(one.severity)
            rules.append(EventRule(one.codes, severity, one.families, one.zones, one.devices, one.groups))
        elif one.startswith("!"):
            excluded.append(one[1:])
        else:
            rules.append(EventRule((one,)))
    return tuple(rules) or (EVERY_EVENT if excluded else ()), tuple(excluded)


def summary_rules(said: str | Iterable[str | SummaryTable]) -> tuple[SummaryRule, ...]:
    """`"all"`, `"none"`, or families, roles and tables."""
    if isinstance(said, str):
        return EVERY_SUMMARY if said == "all" else ()
    return tuple(_summary_rule(one) for one in said)


def takes_event(rules: Sequence[EventRule], excluded: Sequence[str], code: str, severity: int, about: About) -> bool:
    """Whether one of `rules` takes an event. Its family is that of its code, or of a device it is about: a water works
    that asks for the family `water` also hears that one of its meters is silent."""
    if any(code.startswith(prefix) for prefix in excluded):
        return False
    families = about.families | {code.partition(".")[0]}
    return any(
        severity >= rule.severity
        and (not rule.codes or code.startswith(rule.codes))
        and _agree(rule.families, families)
        and _agree(rule.zones, about.zones)
        and _agree(rule.devices, about.devices)
        and _agree(rule.groups, about.groups)
        for rule in rules
    )


def takes_summary(rules: Sequence[SummaryRule], *, family: str, role: str, zone: str, device: str, group: str) -> bool:
    """Whether one of `rules` takes the summaries of a channel. Its family is its role's, else its device's."""
    own = ROLES[role][0] if role in ROLES else family
    return any(
        _agree(rule.families, {own})
        and _agree(rule.roles, {role})
        and _agree(rule.zones, {zone})
        and _agree(rule.devices, {device})
        and _agree(rule.groups, {group})
        for rule in rules
    )


def _agree(wanted: Words, there: AbstractSet[str]) -> bool:
    return not wanted or not there.isdisjoint(wanted)


def _summary_rule(one: str | SummaryTable) -> SummaryRule:
    if isinstance(one, SummaryTable):
        return SummaryRule(one.families, one.roles, one.zones, one.devices, one.groups)
    return SummaryRule(roles=(one,)) if one in ROLES else SummaryRule(families=(one,))
