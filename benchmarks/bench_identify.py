"""Identification: every capture of the library, its values moved within range, and whether its profile comes out first.

A Modbus capture is played by a device that answers its whole map, at the line setting it is shipped with, and refuses
what lies beyond; serial frames and CoAP datagrams are written anew with moved values, adverts have bits turned over as
long as they decode into range.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from pathlib import Path

from gateway.bench.identify import Fit, family_of, fit_heard, identify_modbus, ranked
from gateway.field.asking import Ask, Said
from gateway.sim.bus import Slave
from gateway.sim.image import Frame
from gateway.sim.played import texts_of, values_of
from gateway.site.library import Library, installed
from gateway.site.profile import Capture, DeviceProfile, driver_points, load_profile
from protocols.api import Point, Quality


def library(folder: Path | None = None) -> list[DeviceProfile]:
    """Every profile that comes with citygate."""
    shelf = Library((folder or installed(),))
    return [load_profile(path, name) for name in shelf.names() if (path := shelf.find(name))]


def moved(profile: DeviceProfile, capture: Capture, chance: random.Random) -> dict[str, float]:
    """The capture's values, each moved by up to a tenth of itself or of its range, within range."""
    values = {}
    for name, value in capture.values.items():
        point = profile.point(name)
        width = point.high - point.low
        far = 0.1 * max(abs(value), width if math.isfinite(width) else abs(value))
        whole = point.words or (point.low, point.high) == (0.0, 1.0)
        new = value if whole else value + chance.uniform(-far, far)
        values[name] = min(point.high, max(point.low, new))
    return values


def played(profile: DeviceProfile, given: dict[str, float] | None = None, seed: int = 1) -> Ask:
    """A device of this profile, as something to ask."""
    values = values_of(profile, given, seed)
    points = driver_points(dict(enumerate(profile.points)), profile.as_device())
    slave = Slave(1, points, lambda point: values[point.name], texts=texts_of(profile.probes))

    async def ask(unit: int, pdu: bytes) -> Said:
        reply = slave.answer(pdu)
        return Said(Quality.REFUSED if reply[0] & 0x80 else Quality.GOOD, reply)

    return ask


def heard(profile: DeviceProfile, capture: Capture, chance: random.Random) -> tuple[bytes, bytes]:
    """The exchange again, with other values."""
    request, reply = bytes.fromhex(capture.request), bytes.fromhex(capture.reply)
    points = driver_points(dict(enumerate(profile.points)), profile.as_device())
    values = values_of(profile, moved(profile, capture, chance), chance.randrange(1 << 30))

    def value(point: Point) -> float:
        return values[point.name]

    if profile.driver.name == "serial":
        written = Frame(profile.options, points, 1).build(value)[0]
    elif profile.driver.name == "coap":
        written = _datagram(points, capture, values)
    else:
        written = _turned(profile, points, request, reply, chance)
    try:
        return (request, written) if profile.driver.decode(points, request, written) else (request, reply)
    except ValueError:  # the simulator cannot write this form: the capture itself
        return request, reply


def _datagram(points: Sequence[Point], capture: Capture, values: dict[str, float]) -> bytes:
    import aiocoap
    from aiocoap.message import Direction

    from gateway.sim.coap import represent

    answer = aiocoap.Message.decode(bytes.fromhex(capture.reply))
    asked = [point for point in points if point.name in capture.values]
    _, answer.payload = represent({p: (values[p.name] - p.offset) / p.scale for p in asked})
    answer.direction = Direction.OUTGOING
    return bytes(answer.encode())


def _turned(
    profile: DeviceProfile, points: Sequence[Point], request: bytes, reply: bytes, chance: random.Random
) -> bytes:
    """Bits turned over one by one while the message decodes to values in range."""
    names = profile.driver.decode(points, request, reply).keys()
    for _ in range(24):
        at = chance.randrange(len(reply))
        other = reply[:at] + bytes((reply[at] ^ 1 << chance.randrange(4),)) + reply[at + 1 :]
        try:
            values = profile.driver.decode(points, request, other)
        except ValueError:
            continue
        named = {point.name: point for point in profile.points}
        if values.keys() == names and all(named[n].low <= v <= named[n].high for n, v in values.items()):
            reply = other
    return reply


def first_right(fits: Sequence[Fit], profile: DeviceProfile) -> bool:
    return bool(fits) and family_of(fits[0].profile) == family_of(profile)


def identify_first(profiles: Sequence[DeviceProfile], turns: int, seed: int = 1) -> tuple[float, int]:
    """(share of captures whose profile is first, captures tried); misses are printed."""
    chance, right, tried = random.Random(seed), 0, 0
    for profile in profiles:
        for capture in profile.captures:
            for _ in range(turns):
                fits = _identified(profile, capture, profiles, chance)
                tried += 1
                right += first_right(fits, profile)
                if not first_right(fits, profile):
                    shown = ", ".join(f"{fit.profile.name} {fit.score:.0f}" for fit in fits[:3]) or "nothing"
                    print(f"identify: {profile.name} was taken for {shown}", flush=True)
    return right / max(1, tried), tried


def _identified(
    profile: DeviceProfile, capture: Capture, profiles: Sequence[DeviceProfile], chance: random.Random
) -> list[Fit]:
    if profile.driver.name == "modbus":
        ask = played(profile, moved(profile, capture, chance), chance.randrange(1 << 30))
        line = (profile.link.baud or 9600, profile.link.parity or "N")
        return asyncio.run(identify_modbus(ask, 1, profiles, line=line))
    one = heard(profile, capture, chance)
    return ranked(fit_heard(p, [one]) for p in profiles if p.driver is profile.driver)
