"""What is wrong with who gets what. Pure: site and profiles in, faults out.

A name in a rule that stands for nothing is a fault; what reaches nobody, and who is reached by nothing, is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.site.choice import About, takes_event
from gateway.site.codes import ANY_DEVICE, CODES
from gateway.site.document import Document
from gateway.site.faults import Both, Fault, guess, listed
from gateway.site.lines import Path
from gateway.site.plan import Channel, SiteDevice
from gateway.site.roles import ROLES
from gateway.site.site import DOC, Site
from gateway.site.upstream import Upstream

FAMILIES = tuple(dict.fromkeys(code.partition(".")[0] for code in CODES))
SUMMARY_FAMILIES = tuple(one for one in FAMILIES if one not in ANY_DEVICE)
NAMED_AT_MOST = 6  # names in one message

_KINDS = {
    "codes": Both("event code", "이벤트 코드"),
    "families": Both("family", "분야"),
    "roles": Both("role", "역할"),
    "zones": Both("zone", "구역"),
    "devices": Both("device", "장치"),
    "groups": Both("group", "그룹"),
    "words": Both("family or role", "분야나 역할"),
}


@dataclass(frozen=True, slots=True)
class Possible:
    """An event that a device may bring about."""

    code: str
    device: str
    about: About


def name_faults(site: Site) -> tuple[Fault, ...]:
    """Words in rules that stand for nothing here."""
    doc = Document(site.file, site.document.data, site.document.lines, DOC)
    zones = {site.gateway.zone, *(device.zone for device in site.devices if device.zone)} - {""}
    groups = {device.group for device in site.devices}
    groups |= {own.group for device in site.devices for own in device.points.values() if own.group}
    valid: dict[str, Sequence[str]] = {
        "families": FAMILIES,
        "roles": tuple(ROLES),
        "zones": sorted(zones),
        "devices": [device.name for device in site.devices],
        "groups": sorted(groups - {""}),
        "words": (*SUMMARY_FAMILIES, *ROLES),
    }
    for path, table in doc.tables("upstreams"):
        for key, plain in (("events", "codes"), ("summaries", "words")):
            said = table.get(key)
            for index, one in enumerate(said if isinstance(said, list) else ()):
                _check_rule(doc, (*path, key, index), one, plain, valid)
    for index, code in enumerate(site.gateway.local_events):
        _check_code(doc, ("gateway", "local_events", index), code)
    return tuple(doc.faults)


def routing_faults(site: Site, devices: Sequence[SiteDevice], channels: Sequence[Channel]) -> tuple[Fault, ...]:
    """`devices` and `channels` as compiled."""
    doc = Document(site.file, site.document.data, site.document.lines, DOC)
    if not site.upstreams:
        return ()
    events = list(possible(devices, channels))
    _check_channels(doc, devices, channels)
    _check_events(doc, site, events)
    places = {table.get("name"): path for path, table in doc.tables("upstreams")}
    for upstream in site.upstreams:
        sent = any(upstream.name in channel.upstreams for channel in channels)
        if not sent and not any(takes(upstream, one) for one in events):
            doc.add("CG-1085", places[upstream.name])
    return tuple(doc.faults)


def possible(devices: Sequence[SiteDevice], channels: Sequence[Channel]) -> Iterator[Possible]:
    """Every event that these devices may bring about, as far as families tell."""
    for device in devices:
        about = about_devices([device], channels)
        families = {device.family, *(ROLES[role][0] for role in _roles(device, channels)), *ANY_DEVICE}
        families |= {"machine"} if device.joint else set()
        for code in CODES:
            if code.partition(".")[0] in families:
                yield Possible(code, device.name, about)


def takes(upstream: Upstream, event: Possible) -> bool:
    return takes_event(upstream.event_rules, upstream.excluded, event.code, CODES[event.code], event.about)


def about_devices(devices: Sequence[SiteDevice], channels: Sequence[Channel]) -> About:
    """What an event about `devices` is about."""
    groups = {device.group for device in devices}
    groups |= {channels[index].group for device in devices for index in device.channels}
    return About(
        frozenset(device.name for device in devices),
        frozenset(device.family for device in devices),
        frozenset(device.place.zone for device in devices) - {""},
        frozenset(groups) - {""},
    )


def shortened(codes: Sequence[str], most: int = NAMED_AT_MOST) -> str:
    """Codes for a message: a family of which all are among them is named once."""
    words = []
    for family in dict.fromkeys(code.partition(".")[0] for code in codes):
        own = [code for code in codes if code.startswith(f"{family}.")]
        every = [code for code in CODES if code.startswith(f"{family}.")]
        words += [f"{family}.*"] if len(own) == len(every) else own
    more = f" +{len(words) - most}" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _roles(device: SiteDevice, channels: Sequence[Channel]) -> set[str]:
    return {channels[index].role for index in device.channels} & set(ROLES)


def _check_rule(doc: Document, path: Path, one: object, plain: str, valid: Mapping[str, Sequence[str]]) -> None:
    words = {plain: [one]} if isinstance(one, str) else one if isinstance(one, dict) else {}
    for key, values in words.items():
        for index, value in enumerate(values if isinstance(values, list) else ()):
            if not isinstance(value, str):
                continue  # said already
            at = path if isinstance(one, str) else (*path, key, index)
            if key == "codes":
                _check_code(doc, at, value.removeprefix("!") if isinstance(one, str) else value)
            elif key in valid and value not in valid[key]:
                near = guess(value, valid[key])
                doc.add("CG-1086", at, kind=_KINDS[key], value=value, guess=near, allowed=listed(valid[key]))


def _check_code(doc: Document, path: Path, value: str) -> None:
    """The beginning of at least one code."""
    if not any(code.startswith(value) for code in CODES):
        families = [f"{family}." for family in FAMILIES]
        near = guess(value, [*families, *CODES])
        doc.add("CG-1086", path, kind=_KINDS["codes"], value=value, guess=near, allowed=listed(families))


def _check_channels(doc: Document, devices: Sequence[SiteDevice], channels: Sequence[Channel]) -> None:
    places = {table.get("name"): (path, table) for path, table in doc.tables("devices")}
    for device in devices:
        path, table = places[device.name]
        if "upstreams" in table:
            continue
        points = table.get("points", {})
        said = {name for name, own in points.items() if "upstreams" in own}
        lost = [channels[index] for index in device.channels if not channels[index].upstreams]
        names = [channel.point for channel in lost if channel.point not in said]
        if names:
            more = f" +{len(names) - NAMED_AT_MOST}" if len(names) > NAMED_AT_MOST else ""
            doc.add("CG-1084", path, channels=", ".join(names[:NAMED_AT_MOST]) + more)


def _check_events(doc: Document, site: Site, events: Sequence[Possible]) -> None:
    stays = site.gateway.local_events
    lost = dict.fromkeys(
        one.code
        for one in events
        if not any(takes(upstream, one) for upstream in site.upstreams) and not one.code.startswith(stays or ("\0",))
    )
    if lost:
        path: Path = ("upstreams", 0)
        narrow = [at for at, table in doc.tables("upstreams") if "events" in table]
        doc.add("CG-1083", (*narrow[0], "events") if narrow else path, codes=shortened(list(lost)))
