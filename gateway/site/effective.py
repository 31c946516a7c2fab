"""A profile as one site uses it: points with the site's overrides, a line with its devices' settings. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.site.plan import Detector, Filter
from gateway.site.profile import DeviceProfile, ProfilePoint
from gateway.site.site import DeviceTable, LinkTable, PointOverride, Site
from protocols.api import Device, Link

Profiles = Mapping[str, DeviceProfile]
PER_INTERVAL = (
    "volume",
    "volume_short",
    "volume_medium",
    "volume_long",
    "occupancy",
)  # derived once an interval of services.traffic
HOURLY = ("cai", "aqi")
SECRET_LONGEST = 256  # bytes of a key file
LINE_KEYS = ("baud", "parity", "stop_bits", "data_bits", "rs485")


def on_link(site: Site, link: str, profiles: Profiles) -> list[tuple[DeviceTable, DeviceProfile]]:
    """The devices of a link whose profiles are known, in the site's order."""
    return [
        (device, profiles[device.profile])
        for device in site.devices
        if device.link == link and device.profile in profiles
    ]


def points_of(site: Site, device: DeviceTable, profile: DeviceProfile) -> tuple[ProfilePoint, ...]:
    """The points the site wants of `device`, as it wants them."""
    chosen = ((point, device.points.get(point.name, PointOverride())) for point in profile.points)
    return tuple(_overridden(site, device, point, own) for point, own in chosen if own.enabled)


def device_of(device: DeviceTable, profile: DeviceProfile, folder: str = "") -> Device:
    """The device as its driver knows it. Its key is in a file below `folder`, the site's own; b"" where it cannot be
    read (cross.py reports that)."""
    try:
        secret = secret_of(device, folder)
    except (OSError, ValueError):
        secret = b""
    return profile.as_device(device.name, device.unit, device.address.upper(), secret)


def secret_of(device: DeviceTable, folder: str) -> bytes:
    """The key that a device's messages are encrypted with, b"" where it has none. Raises OSError, and ValueError where
    the file holds no pairs of hexadecimal digits."""
    if not device.secret:
        return b""
    with open(os.path.join(folder, device.secret), "rb") as file:
        text = file.read(SECRET_LONGEST + 1)
    if len(text) > SECRET_LONGEST:
        raise ValueError(f"longer than {SECRET_LONGEST} bytes")
    key = bytes.fromhex(text.decode("ascii", errors="replace").strip())
    if not key:
        raise ValueError("empty")
    return key


def group_of(device: DeviceTable, point: str) -> str:
    own = device.points.get(point, PointOverride()).group
    return device.group if own is None else own


def point_options(device: DeviceTable, point: str) -> dict[str, float]:
    return dict(device.points[point].options) if point in device.points else {}


def silent_s(device: DeviceTable, profile: DeviceProfile, points: Sequence[ProfilePoint]) -> float:
    """How long a device may say nothing: three of its shortest periods, at least 3 s, unless a file says so."""
    shortest = min((point.period_s for point in points), default=profile.identity.period_s)
    return device.silent_s or profile.identity.silent_s or max(3 * shortest, 3.0)


def votes(devices: Sequence[tuple[DeviceTable, DeviceProfile]], key: str) -> dict[object, list[str]]:
    """What the profiles on a line say about `key`: value -> names of devices."""
    said: dict[object, list[str]] = {}
    for device, profile in devices:
        value = getattr(profile.link, key)
        if value is not None:
            said.setdefault(value, []).append(device.name)
    return said


def line_of(link: LinkTable, devices: Sequence[tuple[DeviceTable, DeviceProfile]], folder: str = "") -> Link:
    """The link as opened: the site's word, else the profiles', else 9600 8N1. Its credentials are below `folder`, the
    site's own."""
    settings: dict[str, Any] = dict(_settings(link, devices))
    credentials = os.path.join(folder, link.credentials) if link.credentials else ""
    return Link(link.name, link.url, connections=link.connections, credentials=credentials, **settings)


def _settings(link: LinkTable, devices: Sequence[tuple[DeviceTable, DeviceProfile]]) -> Iterator[tuple[str, object]]:
    for key in LINE_KEYS:
        own = getattr(link, key)
        said = [own] if own is not None else list(votes(devices, key))
        if said:
            yield key, said[0]


def _period_s(site: Site, device: DeviceTable, point: ProfilePoint) -> float:
    """A device's period takes the place of its profile's, not of a point's own; intervals are the service's."""
    if point.derived in PER_INTERVAL:
        return site.services.traffic.interval_s
    if point.derived in HOURLY:
        return 3600.0
    return point.period_s if point.has_own_period else device.period_s or point.period_s


def _overridden(site: Site, device: DeviceTable, point: ProfilePoint, own: PointOverride) -> ProfilePoint:
    low, high = own.range or (point.low, point.high)
    return replace(
        point,
        low=low,
        high=high,
        step=own.step or point.step,
        period_s=own.period_s or _period_s(site, device, point),
        filter=Filter[own.filter.upper()] if own.filter else point.filter,
        detector=Detector[own.detector.upper()] if own.detector else point.detector,
        rate=own.rate or point.rate,
        tuning=point.tuning.but(own.tuning),
    )
