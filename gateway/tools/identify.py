"""`citygate identify TARGET`: which profiles fit what answers there, the best first, and why. Read-only.

A Modbus unit is asked what the profiles would ask; a serial port with another protocol is listened to, and asked what
each serial profile asks; a CoAP node is asked for its resources; the air is listened to.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.bench.findings import finding, not_asked
from gateway.bench.identify import Fit, identify_modbus, judge, ranked
from gateway.bench.lending import all_profiles, link_for, url_of
from gateway.bench.line import as_told
from gateway.bench.way import ServiceWay, Unreachable, site_file, socket_of
from gateway.site.profile import DeviceProfile, driver_points
from gateway.tools.read import refused
from protocols.api import Link, LinkDown, PlanError, Quality

SHOWN = 5
HEAR_S = 3.0


@dataclass(frozen=True, slots=True)
class Stranger:
    """Where the device is. `device`: of a site, through the running field half."""

    target: str = ""
    unit: int = 1
    device: str = ""
    site: str = ""
    baud: int = 0
    parity: str = ""
    address: str = ""
    family: str = ""
    folders: tuple[str, ...] = ()


def run(stranger: Stranger, *, json: bool) -> int:
    """0 where a profile fits, 1 where none does, 2 where nobody could be asked."""
    try:
        fits = asyncio.run(_fits(stranger, json))
    except Unreachable as no:
        return refused(no.finding, json=json)
    except LinkDown as down:
        why = not_asked(stranger.target, f"{down} [{down.code}]", down.hint)
        return refused(why, json=json)
    if json:
        print(jsonlib.dumps({"fits": [fit.as_json() for fit in fits[: 2 * SHOWN]]}, ensure_ascii=False))
    elif fits:
        print("\n".join(line for fit in fits[:SHOWN] for line in _lines(fit, fits[0])))
    if not fits:
        print("\n".join(finding("CG-5112").lines()), file=sys.stderr)
    return 0 if fits else 1


async def _fits(stranger: Stranger, json: bool) -> list[Fit]:
    profiles = [p for p in all_profiles(stranger.folders) if stranger.family in ("", p.identity.family)]
    if stranger.device:
        return await _through_service(stranger, profiles, json)
    url = url_of(stranger.target)
    scheme = url.partition(":")[0]
    kinds = [p for p in profiles if scheme in p.driver.urls]
    if not kinds:
        why = "a port, tcp://HOST, rtu+tcp://HOST:PORT, coap://HOST or ble:hci0"
        raise Unreachable(finding("CG-5111", what=stranger.target or "target", why=why, verb="identify"))
    fits: list[Fit] = []
    if any(p.driver.name == "modbus" for p in kinds):
        fits = await _modbus(link_for(None, url, stranger.baud, stranger.parity), stranger.unit, kinds, json)
    if not fits:
        others = [p for p in kinds if p.driver.name != "modbus"]
        fits = [fit for p in others if (fit := await _tried(p, url, stranger, json)) is not None]
    return ranked(fits)


async def _modbus(link: Link, unit: int, profiles: Sequence[DeviceProfile], json: bool) -> list[Fit]:
    from gateway.field.asking import Said, ask_reader
    from protocols.modbus.driver import connect

    with as_told(link) as opened:
        async with connect(opened, ()) as reader:

            async def ask(number: int, pdu: bytes) -> Said:
                return await ask_reader(reader, number, pdu, 1.0)

            line = None if link.url.startswith("tcp:") else (link.baud, link.parity)
            return await identify_modbus(ask, unit, profiles, partial(_told, json), line)


async def _through_service(stranger: Stranger, profiles: Sequence[DeviceProfile], json: bool) -> list[Fit]:
    socket = socket_of(site_file(stranger.site))
    if socket is None:
        raise Unreachable(
            not_asked(str(stranger.site), "no such site file", "name it with --site / --site 로 지정하십시오")
        )
    way = ServiceWay(socket, stranger.device)

    async def ask(_: int, pdu: bytes) -> Any:
        return await way.ask(pdu)

    return await identify_modbus(ask, 1, profiles, partial(_told, json))


async def _tried(profile: DeviceProfile, url: str, stranger: Stranger, json: bool) -> Fit | None:
    """A profile of another protocol: its own driver on its own line setting, once."""
    from gateway.field.reading import read_device

    if profile.driver.name == "ble" and not stranger.address:
        why = "Bluetooth devices need --address AA:BB:..; citygate scan ble:hci0 lists them"
        raise Unreachable(finding("CG-5111", what=stranger.target, why=why, verb="identify"))
    _told(json, 0, profile.name)
    link = link_for(profile, url, stranger.baud, stranger.parity)
    device = profile.as_device("device", stranger.unit, stranger.address.upper())
    points = driver_points(dict(enumerate(profile.points)), device)
    fit = Fit(profile)
    try:
        ops = profile.driver.plan(points)
        with as_told(link) as opened:
            async with profile.driver.connect(opened, ops) as reader:
                sight = await read_device(reader, ops, points, HEAR_S / 2, HEAR_S)
    except (PlanError, LinkDown):
        return None
    fit.values = {
        points[i].name: value
        for i, (value, quality) in sorted(sight.values.items())
        if quality in (Quality.GOOD, Quality.SENTINEL, Quality.OUT_OF_RANGE) and i < len(points)
    }
    if not any(math.isfinite(value) for value in fit.values.values()):
        return None
    fit.add(12.0, f"{len(fit.values)} of {len(points)} points heard")
    judge(fit)
    return fit


def _told(json: bool, requests: int, name: str = "") -> None:
    if not json and sys.stderr.isatty():
        print(f"\r{name or f'{requests} requests':40}\r", end="", file=sys.stderr, flush=True)


def _lines(fit: Fit, best: Fit) -> list[str]:
    """A fit in a few lines; bits of evidence beside the best's."""
    profile = fit.profile
    proof = "  UNPROVEN" if profile.unproven else ""
    share = max(0, min(20, round(20 * fit.score / best.score)))
    lines = [f"{profile.name:40} {'#' * share:20} {fit.score:5.0f}{proof}"]
    lines += [f"    {'; '.join(fit.reasons)}"[:80]] if fit.reasons else []
    if fit is best:
        shown = [(name, value) for name, value in fit.values.items() if math.isfinite(value)][:6]
        values = (f"{name} {value:.5g} {profile.point(name).unit}".strip() for name, value in shown)
        lines.append(f"    {', '.join(values)}"[:80])
    return lines
