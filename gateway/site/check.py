"""Everything that can be said about a site or profile file before it runs. Reads files, opens no device.

`check_site` adds to what a start would refuse: the captures of its profiles, the credentials of its upstreams.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as FilePath

from gateway.site.compile import survey
from gateway.site.document import read_document
from gateway.site.faults import Both, Fault, Place, Severity, failures, fault, unique
from gateway.site.hints import hint
from gateway.site.lint import lint
from gateway.site.profile import DeviceProfile, Drivers, driver_points, is_hex, partial_profile
from gateway.site.site import credential_faults
from protocols import registry

_PLACE = re.compile(r'point "([^"]+)"|capture \d+()|(?:probe \d+|link|extends|omit)()')
CLOSE = 1e-6  # relative: captures give values as a display or a float32 shows them


def check_file(path: str | FilePath, drivers: Drivers = registry.driver, *, notes: bool = False) -> list[Fault]:
    """Faults and warnings of a site or profile file, whichever it is; of a profile also `notes`, where asked for."""
    doc = read_document(path)
    if isinstance(doc, Fault):
        return [doc]
    if "gateway" in doc.data or "links" in doc.data:
        return check_site(path, drivers)
    if {"device", "points", "extends"} & doc.data.keys():
        return check_profile(path, drivers, notes=notes)
    return [fault("CG-1006", Place(doc.file, 1, ""))]


def check_site(path: str | FilePath, drivers: Drivers = registry.driver) -> list[Fault]:
    """Faults and warnings of a site file and of every profile it names."""
    site, profiles, faults = survey(path, drivers)
    found = list(faults)
    if site is not None:
        found += credential_faults(site)
    for profile in profiles.values():
        found += capture_faults(profile)
    return list(unique(found))


def check_profile(path: str | FilePath, drivers: Drivers = registry.driver, *, notes: bool = False) -> list[Fault]:
    """Faults and warnings of a profile file, its captures decoded; what is wrong elsewhere in it hides neither."""
    profile, faults = partial_profile(path, drivers=drivers)
    found = list(faults)
    rest = _without_faults(profile, found) if profile is not None else None
    if rest is not None:
        found += capture_faults(rest)
        found += [one for one in lint(rest) if notes or one.severity is not Severity.NOTE]
    return list(unique(found))


def _without_faults(profile: DeviceProfile, faults: Sequence[Fault]) -> DeviceProfile | None:
    """The points that nothing is wrong with. None where the tables that they share are wrong: it would only repeat."""
    places = [_PLACE.match(one.where) for one in failures(faults)]
    if not all(places):
        return None
    bad = {place[1] for place in places if place}
    points = tuple(point for point in profile.points if point.name not in bad)
    return replace(profile, points=points) if points else None


def capture_faults(profile: DeviceProfile) -> list[Fault]:
    """Captures that do not decode to the values they claim."""
    doc = profile.document
    assert doc is not None, "profiles that were read have their document"
    faults = []
    known = {point.name for point in profile.points}
    said = [(table.get("request", ""), table.get("reply"), table.get("values")) for _, table in doc.tables("captures")]
    for capture in profile.captures:
        index = said.index((capture.request, capture.reply, capture.values))
        if not known & capture.values.keys() or not (is_hex(capture.request) and is_hex(capture.reply)):
            continue
        try:
            got = decode(profile, bytes.fromhex(capture.request), bytes.fromhex(capture.reply))
        except ValueError as bad:
            faults.append(fault("CG-1031", doc.place(("captures", index, "reply")), why=str(bad)))
            continue
        for name, want in ((name, want) for name, want in capture.values.items() if name in known):
            value = got.get(name, math.nan)
            if not math.isclose(value, want, rel_tol=CLOSE, abs_tol=1e-9):
                place = doc.place(("captures", index, "values", name))
                shown = Both("nothing", "값 없음") if math.isnan(value) else f"{value:.9g}"
                would = hint(profile, name, capture, want)
                faults.append(fault("CG-1030", place, got=shown, want=f"{want:.9g}", hint=would))
    return faults


def decode(profile: DeviceProfile, request: bytes, reply: bytes) -> dict[str, float]:
    """The values one exchange gives, by point name, scaled."""
    points = driver_points(dict(enumerate(profile.points)), profile.as_device())
    return dict(profile.driver.decode(points, request, reply))
