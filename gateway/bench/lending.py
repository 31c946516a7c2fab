"""A profile by its name and a link for it, as the tools are given them: the profile's own line settings, unless said.

Raises Unreachable with what to write instead.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gateway.bench.findings import finding
from gateway.bench.way import Unreachable
from gateway.site.faults import guess, render
from gateway.site.library import Library
from gateway.site.profile import DeviceProfile, read_profile
from protocols.api import Link


def profile_called(name: str, folders: Sequence[str] = ()) -> DeviceProfile:
    """The profile of this name, or in this file."""
    library = Library.of(folders)
    path = Path(name) if name.endswith(".toml") else library.find(name)
    if path is None:
        near = guess(name, library.names())
        raise Unreachable(finding("CG-5111", what=name or "--profile", why=f"no such profile{near.en}", verb="profile"))
    profile, faults = read_profile(path, "" if name.endswith(".toml") else name)
    if profile is None:
        raise Unreachable(finding("CG-5111", what=path, why=render(faults).splitlines()[0], verb="check"))
    return profile


def all_profiles(folders: Sequence[str] = ()) -> list[DeviceProfile]:
    """Every profile that can be used."""
    library = Library.of(folders)
    found = []
    for name in library.names():
        path = library.find(name)
        profile = read_profile(path, name)[0] if path else None
        if profile is not None:
            found.append(profile)
    return found


def url_of(given: str) -> str:
    """A target as a person writes it: a port's path is a serial link."""
    return f"serial:{given}" if given.startswith(("/", "./")) or os.path.exists(given) else given


def link_for(profile: DeviceProfile | None, given: str, baud: int = 0, parity: str = "") -> Link:
    """The link to open."""
    url = url_of(given)
    scheme = url.partition(":")[0]
    urls = profile.driver.urls if profile is not None else ("serial", "tcp", "rtu+tcp", "ascii", "ascii+tcp")
    if scheme not in urls or ":" not in url:
        ways = ", ".join(f"{one}:" for one in urls)
        raise Unreachable(finding("CG-5111", what=given or "--link", why=f"one of {ways}", verb="read"))
    line = profile.link if profile is not None else None
    return Link(
        "bench",
        url,
        baud=baud or (line.baud if line and line.baud else 9600),
        parity=parity or (line.parity if line and line.parity else "N"),
        stop_bits=line.stop_bits if line and line.stop_bits else 1,
        data_bits=line.data_bits if line and line.data_bits else 8,
        rs485=bool(line.rs485) if line else False,
    )
