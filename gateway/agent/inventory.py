"""`inventory`: what this gateway is made of. Devices and the SHA-256 of their profiles, links, upstreams, software.

Reads the site and its profile files; no secrets, no keys. Upstreams are named by their addresses alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

from gateway import VERSION
from gateway.agent import machine
from gateway.agent.control import Control, NotThere
from gateway.agent.health import nothing_below
from gateway.agent.resource import About, Reply, Request
from gateway.site.library import Library
from gateway.site.site import Site

LIBRARIES = ("aiocoap", "cbor2", "cryptography", "numpy", "numba", "pydantic", "tuf")


class Inventory:
    about = About("inventory", "devices, profiles, links, software", kind="citygate.inventory")

    def __init__(self, site: Site, control: Control) -> None:
        self._site, self._control = site, control

    async def answer(self, request: Request) -> Reply:
        nothing_below(request)
        said = await asyncio.to_thread(inventory, self._site)
        try:
            links = (await self._control.request({"get": "health"})).get("links") or {}
            said["identities"] = {name: link["identity"] for name, link in links.items() if link.get("identity")}
        except NotThere as gone:
            said["field_error"] = str(gone)
        return Reply.of(said)


def inventory(site: Site) -> dict[str, Any]:
    library = Library.of(site.profile_folders)
    return {
        "gateway": site.gateway.id,
        "site_sha256": digest(Path(site.file)),
        "devices": [
            {"name": one.name, "profile": one.profile, "link": one.link, "unit": one.unit, "address": one.address}
            for one in site.devices
        ],
        "profiles": {name: digest(library.find(name)) for name in sorted({one.profile for one in site.devices})},
        "links": {one.name: one.url for one in site.links},
        "upstreams": {one.name: {"role": one.role, "agent": sorted(one.agent)} for one in site.upstreams},
        "software": {"citygate": VERSION, **machine.software(), "libraries": libraries()},
    }


def digest(path: Path | None) -> str:
    """SHA-256 of a file, "" where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""


def libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
