"""What is wrong with a site once the profiles of its devices are known. Pure: site and profiles in, faults out.

Works on as much of a site as is valid, so that one bad device does not hide the faults of the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.site.document import Document
from gateway.site.effective import LINE_KEYS, Profiles, device_of, line_of, on_link, points_of, secret_of, votes
from gateway.site.faults import Fault, guess, listed
from gateway.site.lines import Path
from gateway.site.plan import LinkPlan
from gateway.site.profile import DeviceProfile
from gateway.site.site import DOC, PORTS, DeviceTable, LinkTable, Site, port_of
from protocols.api import Driver, Link, PlannedOp

_BLUETOOTH = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


def cross_faults(site: Site, profiles: Profiles) -> tuple[Fault, ...]:
    """Every fault between the site and its profiles, but for names of profiles that were not found."""
    doc = Document(site.file, site.document.data, site.document.lines, DOC)
    _check_units(doc, site, profiles)
    for device in site.devices:
        if device.profile in profiles:
            _check_device(doc, site, device, profiles[device.profile])
    for link in site.links:
        _check_link(doc, link, on_link(site, link.name, profiles))
    return tuple(doc.faults)


def schedule_faults(site: Site, plans: Iterable[LinkPlan], names: Sequence[str]) -> tuple[Fault, ...]:
    """Serial lines that cannot carry what their devices are asked for. `names` of the channels, by row."""
    doc = Document(site.file, site.document.data, site.document.lines, DOC)
    for plan in plans:
        shares = sorted(((share_of(op, plan.link), op.channels) for op in plan.ops), reverse=True)
        total = sum(share for share, _ in shares)
        if total > 1:
            words = ", ".join(f"{_name(rows, names)} ({share:.0%})" for share, rows in shares[:3] if share)
            doc.add("CG-1050", _path(doc, "links", plan.link.name), share=round(100 * total), points=words)
    return tuple(doc.faults)


def share_of(op: PlannedOp, link: Link) -> float:
    """The part of the line's time that one operation takes; 0 where it is not polled."""
    return op.wire_s(link) / op.period_s if op.period_s > 0 else 0.0


def scheme_of(url: str) -> str:
    return url.partition(":")[0]


def _check_units(doc: Document, site: Site, profiles: Profiles) -> None:
    """One device an address; a device that speaks by itself has its serial line alone."""
    for link in site.links:
        devices = [device for device in site.devices if device.link == link.name]
        alone = [device for device in devices if link.scheme in PORTS and _listens(device, profiles)]
        for device in alone:
            other = next((one for one in devices if one is not device), None)
            if other and (other not in alone or devices.index(device) > devices.index(other)):
                path = _path(doc, "devices", device.name)
                first = doc.lines.line(_path(doc, "devices", other.name))
                doc.add("CG-1046", (*path, "link"), device=device.name, other=other.name, first=first)
        check = _check_radio if link.scheme == "ble" else _check_addresses
        check(doc, link, [device for device in devices if device not in alone])
        for device in devices:
            _check_secret(doc, device)
            if device.address and link.scheme != "ble":
                doc.add(
                    "CG-1066", (*_path(doc, "devices", device.name), "address"), value=device.address, link=link.url
                )


def _check_addresses(doc: Document, link: LinkTable, devices: Iterable[DeviceTable]) -> None:
    first: dict[int, DeviceTable] = {}
    for device in devices:
        other = first.setdefault(device.unit, device)
        if other is not device:
            line = doc.lines.line((*_path(doc, "devices", other.name), "unit"))
            path = (*_path(doc, "devices", device.name), "unit")
            doc.add("CG-1041", path, unit=device.unit, link=link.name, other=other.name, first=line)


def _check_radio(doc: Document, link: LinkTable, devices: Iterable[DeviceTable]) -> None:
    """Devices near one adapter are told apart by their Bluetooth address."""
    first: dict[str, DeviceTable] = {}
    for device in devices:
        table = _path(doc, "devices", device.name)
        path = (*table, "address") if device.address else table
        if not _BLUETOOTH.fullmatch(device.address):
            doc.add("CG-1067", path, value=device.address, device=device.name)
            continue
        other = first.setdefault(device.address.upper(), device)
        if other is not device:
            line = doc.lines.line((*_path(doc, "devices", other.name), "address"))
            doc.add("CG-1068", path, address=device.address, other=other.name, first=line)


def _check_secret(doc: Document, device: DeviceTable) -> None:
    try:
        secret_of(device, _folder(doc))
    except (OSError, ValueError) as why:
        words = (why.strerror if isinstance(why, OSError) else "") or str(why)
        doc.add("CG-1069", (*_path(doc, "devices", device.name), "secret"), file=device.secret, why=words)


def _folder(doc: Document) -> str:
    return os.path.dirname(os.path.abspath(doc.file))


def _listens(device: DeviceTable, profiles: Profiles) -> bool:
    profile = profiles.get(device.profile)
    return profile is not None and profile.driver.listens(device_of(device, profile))


def _check_device(doc: Document, site: Site, device: DeviceTable, profile: DeviceProfile) -> None:
    path = _path(doc, "devices", device.name)
    known = [point.name for point in profile.points]
    for name in device.points:
        if name not in known:
            doc.add(
                "CG-1049",
                (*path, "points", name),
                profile=profile.name,
                value=name,
                guess=guess(name, known),
                known=listed(known),
            )
    points = points_of(site, device, profile)
    chosen = {point.name for point in points}
    for point in points:
        for name in point.source:
            if name not in chosen:
                doc.add("CG-1053", (*path, "points", name), derived=point.name, value=name)


def _check_link(doc: Document, link: LinkTable, devices: Sequence[tuple[DeviceTable, DeviceProfile]]) -> None:
    path = _path(doc, "links", link.name)
    fitting = [(device, profile) for device, profile in devices if _serves(profile.driver, link)]
    for device, profile in devices:
        if (device, profile) not in fitting and port_of(link.url):
            doc.add(
                "CG-1044",
                (*_path(doc, "devices", device.name), "link"),
                driver=profile.driver.name,
                profile=profile.name,
                url=link.url,
                allowed=", ".join(profile.driver.urls),
            )
        elif fitting and profile.driver is not fitting[0][1].driver:
            doc.add(
                "CG-1051",
                (*_path(doc, "devices", device.name), "link"),
                driver=fitting[0][1].driver.name,
                device=device.name,
                other=profile.driver.name,
            )
    for device, profile in fitting:
        words = profile.driver.check_link(line_of(link, devices), device_of(device, profile, _folder(doc)))
        if words:
            doc.add("CG-1058", (*_path(doc, "devices", device.name), "unit"), words=words)
    for key in LINE_KEYS:
        said = votes(devices, key) if link.scheme in PORTS and getattr(link, key) is None else {}
        if len(said) > 1:
            words = ", ".join(f"{value} ({', '.join(names)})" for value, names in said.items())
            doc.add("CG-1045", path, key=key, votes=words)


def _serves(driver: Driver[Any], link: LinkTable) -> bool:
    return link.scheme in {scheme_of(url) for url in driver.urls}


def _path(doc: Document, key: str, name: str) -> Path:
    """The table of the array `key` with this name; the array where there is none."""
    return next((path for path, table in doc.tables(key) if table.get("name") == name), (key,))


def _name(rows: Sequence[int], names: Sequence[str]) -> str:
    more = f" +{len(rows) - 1}" if len(rows) > 1 else ""
    return f"{names[rows[0]]}{more}"
