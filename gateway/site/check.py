"""Everything that can be said about a site or profile file before it runs. Reads files, opens no device.

`check_site` adds to what a start would refuse: the captures of its profiles, the credentials of its upstreams.
"""

from __future__ import annotations

import math
from pathlib import Path as FilePath

from gateway.site.compile import survey
from gateway.site.document import read_document
from gateway.site.faults import Both, Fault, Place, fault, unique
from gateway.site.profile import DeviceProfile, Drivers, driver_points, read_profile
from gateway.site.site import credential_faults
from protocols import registry

CLOSE = 1e-6  # relative: captures give values as a display or a float32 shows them


def check_file(path: str | FilePath, drivers: Drivers = registry.driver) -> list[Fault]:
    """Faults and warnings of a site or profile file, whichever it is."""
    doc = read_document(path)
    if isinstance(doc, Fault):
        return [doc]
    if "gateway" in doc.data or "links" in doc.data:
        return check_site(path, drivers)
    if {"device", "points", "extends"} & doc.data.keys():
        return check_profile(path, drivers)
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


def check_profile(path: str | FilePath, drivers: Drivers = registry.driver) -> list[Fault]:
    """Faults and warnings of a profile file, its captures decoded."""
    profile, faults = read_profile(path, drivers=drivers)
    found = list(faults)
    if profile is not None:
        found += capture_faults(profile)
    return list(unique(found))


def capture_faults(profile: DeviceProfile) -> list[Fault]:
    """Captures that do not decode to the values they claim."""
    doc = profile.document
    assert doc is not None, "profiles that were read have their document"
    faults = []
    for index, capture in enumerate(profile.captures):
        try:
            got = decode(profile, bytes.fromhex(capture.request), bytes.fromhex(capture.reply))
        except ValueError as bad:
            faults.append(fault("CG-1031", doc.place(("captures", index, "reply")), why=str(bad)))
            continue
        for name, want in capture.values.items():
            value = got.get(name, math.nan)
            if not math.isclose(value, want, rel_tol=CLOSE, abs_tol=1e-9):
                place = doc.place(("captures", index, "values", name))
                shown = Both("nothing", "값 없음") if math.isnan(value) else f"{value:.9g}"
                faults.append(fault("CG-1030", place, got=shown, want=f"{want:.9g}"))
    return faults


def decode(profile: DeviceProfile, request: bytes, reply: bytes) -> dict[str, float]:
    """The values one exchange gives, by point name, scaled."""
    points = driver_points(dict(enumerate(profile.points)), profile.as_device())
    return dict(profile.driver.decode(points, request, reply))
