"""A site and its profiles in, a `Plan` out: channels as rows, one plan a link. Pure once the files are read.

    read_site(path) -> (Site, profiles)     files
    compile_site(site, profiles) -> Plan    pure
    load_plan(path) -> Plan                 both

Channels stand in the order of the site's devices and, within one, of its profile's points, derived ones too.
"""

from __future__ import annotations

from pathlib import Path as FilePath

from gateway.site import generations
from gateway.site.choice import takes_summary
from gateway.site.cross import cross_faults, schedule_faults
from gateway.site.document import Document
from gateway.site.effective import (
    Profiles,
    device_of,
    group_of,
    line_of,
    on_link,
    point_options,
    points_of,
    silent_s,
)
from gateway.site.faults import Both, Fault, Faults, failures, guess
from gateway.site.library import Library
from gateway.site.plan import Channel, CommandRules, LinkPlan, Place, Plan, SiteDevice
from gateway.site.profile import DeviceProfile, Drivers, ProfilePoint, driver_points, read_profile
from gateway.site.routing import name_faults, routing_faults
from gateway.site.site import DOC, DeviceTable, GatewayTable, LinkTable, Site, partial_site
from gateway.site.upstream import Catalog
from protocols import registry
from protocols.api import PlanError, Point


def load_plan(path: str | FilePath, drivers: Drivers = registry.driver) -> Plan:
    """The compiled site that the file at `path` stands for (see generations.py). Raises Faults with every fault of the
    site and its profiles."""
    return plan_of(generations.file_of(path), path, drivers)


def plan_of(path: str | FilePath, named: str | FilePath, drivers: Drivers = registry.driver) -> Plan:
    """The compiled site in the file at `path`, whose paths are those of the file that was `named`. Raises Faults."""
    site, profiles, faults = survey(path, drivers, named)
    if site is None or failures(faults):
        raise Faults(faults)
    return compile_site(site, profiles)


def read_site(path: str | FilePath, drivers: Drivers = registry.driver) -> tuple[Site, dict[str, DeviceProfile]]:
    """The site that the file at `path` stands for, and the profiles it names. Raises Faults."""
    site, profiles, faults = survey(generations.file_of(path), drivers, path)
    if site is None or failures(faults):
        raise Faults(faults)
    return site, profiles


def survey(
    path: str | FilePath, drivers: Drivers = registry.driver, named: str | FilePath = ""
) -> tuple[Site | None, dict[str, DeviceProfile], tuple[Fault, ...]]:
    """As much of the site and its profiles as is valid, and every fault and warning of all files."""
    site, doc = partial_site(path, named)
    if site is None or isinstance(doc, Fault):
        return None, {}, (doc,) if isinstance(doc, Fault) else ()
    profiles, faults = _profiles(site, drivers)
    faults = [*doc.faults, *faults, *cross_faults(site, profiles), *name_faults(site)]
    if not failures(faults):
        faults += _plan_faults(site, profiles)
    return site, profiles, tuple(faults)


def compile_site(site: Site, profiles: Profiles) -> Plan:
    """Channels and one plan a link. Raises Faults where the site and the profiles do not fit together."""
    faults = (*cross_faults(site, profiles), *name_faults(site))
    faults = faults if failures(faults) else (*faults, *_plan_faults(site, profiles))
    if failures(faults):
        raise Faults(faults)
    channels = _channels(site, profiles)
    return Plan(
        gateway=site.gateway.id,
        place=_place(site.gateway, None),
        channels=channels,
        devices=tuple(_device(device, profiles[device.profile], channels, site) for device in site.devices),
        links=tuple(_link(link, site, profiles, channels) for link in _used_links(site)),
        upstreams=site.upstreams,
        state_dir=site.state_dir,
        spool_limit_mb=site.gateway.spool_limit_mb,
        capture_kb=site.gateway.capture_kb,
        commands=CommandRules(site.agent.commands, site.agent.commands_a_minute, site.agent.longest_lease_s),
        services=site.services,
        timezone=site.gateway.timezone,
        catalog=Catalog(
            site.gateway.id,
            tuple((c.name, c.device, c.point, c.unit, int(c.kind), c.resolution) for c in channels),
        ),
    )


def _profiles(site: Site, drivers: Drivers) -> tuple[dict[str, DeviceProfile], list[Fault]]:
    library = Library.of(site.profile_folders)
    doc = Document(site.file, site.document.data, site.document.lines, DOC)
    profiles: dict[str, DeviceProfile] = {}
    faults: list[Fault] = []
    missing = {}
    named = (table.get("profile") for _, table in doc.tables("devices"))
    for name in dict.fromkeys(name for name in named if isinstance(name, str)):
        path = library.find(name)
        if path is None:
            missing[name] = guess(name, library.names())
            continue
        profile, found = read_profile(path, name, drivers)
        faults += found
        if profile is not None:
            profiles[name] = profile
    for at, table in doc.tables("devices"):
        name = str(table.get("profile"))
        if name in missing:
            folders = Both(*(", ".join(_shown(folder, word) for folder in library.folders) for word in _ABSENT))
            doc.add("CG-1040", (*at, "profile"), value=name, guess=missing[name], folders=folders)
    return profiles, [*faults, *doc.faults]


_ABSENT = Both(" (no such folder)", " (폴더 없음)")


def _shown(folder: FilePath, absent: str) -> str:
    return f"{folder}{'' if folder.is_dir() else absent}"


def _plan_faults(site: Site, profiles: Profiles) -> list[Fault]:
    """What shows only when the operations of a link are planned, and who gets what is known."""
    doc = Document(site.file, site.document.data, site.document.lines, DOC)
    channels = _channels(site, profiles)
    plans = []
    for link in _used_links(site):
        try:
            plans.append(_link(link, site, profiles, channels))
        except PlanError as bad:
            at = next(path for path, table in doc.tables("links") if table.get("name") == link.name)
            words = f"{bad.where}: {bad}" if bad.where else str(bad)
            doc.add("CG-1027", at, words=words)
    devices = tuple(_device(device, profiles[device.profile], channels, site) for device in site.devices)
    names = [channel.name for channel in channels]
    return [*doc.faults, *schedule_faults(site, plans, names), *routing_faults(site, devices, channels)]


def _used_links(site: Site) -> list[LinkTable]:
    used = {device.link for device in site.devices}
    return [link for link in site.links if link.name in used]


def _channels(site: Site, profiles: Profiles) -> tuple[Channel, ...]:
    rows = (
        (device, profiles[device.profile], point)
        for device in site.devices
        for point in points_of(site, device, profiles[device.profile])
    )
    return tuple(_channel(index, site, *row) for index, row in enumerate(rows))


def _channel(index: int, site: Site, device: DeviceTable, profile: DeviceProfile, point: ProfilePoint) -> Channel:
    group = group_of(device, point.name)
    return Channel(
        index=index,
        name=f"{device.name}.{point.name}",
        device=device.name,
        point=point.name,
        unit=point.unit,
        role=point.role,
        kind=point.kind,
        filter=point.filter,
        detector=point.detector,
        low=point.low,
        high=point.high,
        step=point.step,
        rollover=point.rollover,
        resolution=point.resolution,
        period_s=point.period_s,
        window_s=device.window_s or site.gateway.window_s,
        upstreams=receivers(site, device, profile, point, group),
        label_en=point.label_en,
        label_ko=point.label_ko,
        unproven=profile.unproven,
        derived=point.derived,
        source=point.source,
        group=group,
        words=point.words,
        options=point_options(device, point.name),
        rate=point.rate,
        tuning=point.tuning,
    )


def receivers(
    site: Site, device: DeviceTable, profile: DeviceProfile, point: ProfilePoint, group: str
) -> tuple[str, ...]:
    """Who gets a channel's summaries: the point's word, else the device's, else that of each upstream."""
    own = device.points[point.name].upstreams if point.name in device.points else None
    said = device.upstreams if own is None else own
    if said is not None:
        return tuple(one.name for one in site.upstreams if one.name in said)
    zone = _place(site.gateway, device).zone
    return tuple(
        one.name
        for one in site.upstreams
        if takes_summary(
            one.summaries,
            family=profile.identity.family,
            role=point.role,
            zone=zone,
            device=device.name,
            group=group,
        )
    )


def _device(device: DeviceTable, profile: DeviceProfile, channels: tuple[Channel, ...], site: Site) -> SiteDevice:
    it = device_of(device, profile, str(FilePath(site.file).absolute().parent))
    return SiteDevice(
        name=device.name,
        profile=profile.name,
        family=profile.identity.family,
        link=device.link,
        listens=profile.driver.listens(it),
        silent_s=silent_s(device, profile, points_of(site, device, profile)),
        place=_place(site.gateway, device),
        group=device.group,
        channels=tuple(channel.index for channel in channels if channel.device == device.name),
        protocol=it,
        options=dict(device.options),
        joint=device.joint,
    )


def _link(link: LinkTable, site: Site, profiles: Profiles, channels: tuple[Channel, ...]) -> LinkPlan:
    devices = on_link(site, link.name, profiles)
    rows = {(channel.device, channel.point): channel.index for channel in channels}
    points: list[Point] = []
    for device, profile in devices:
        chosen = {rows[device.name, point.name]: point for point in points_of(site, device, profile)}
        points += driver_points(chosen, device_of(device, profile, str(FilePath(site.file).absolute().parent)))
    driver = devices[0][1].driver
    line = line_of(link, devices, str(FilePath(site.file).absolute().parent))
    return LinkPlan(line, driver.name, link.timeout_s, tuple(points), driver.plan(tuple(points)))


def _place(gateway: GatewayTable, device: DeviceTable | None) -> Place:
    """Where a device is: the gateway's place, but for what the device says itself."""
    own = device or gateway
    name = (device.place if device else None) or gateway.name
    here = own.latitude is not None and own.longitude is not None
    return Place(
        asset=gateway.asset if own.asset is None else own.asset,
        zone=gateway.zone if own.zone is None else own.zone,
        name_en=name.en,
        name_ko=name.ko or name.en,
        latitude=own.latitude if here else gateway.latitude,
        longitude=own.longitude if here else gateway.longitude,
    )
