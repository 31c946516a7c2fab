"""What simulated Bluetooth devices say, read by the driver's codec: every profile of the library, and encryption."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.sim.ble import Beacon, bthome, by_offsets, objects
from gateway.sim.played import values_of
from gateway.sim.world import Incident, Sent, Signal, World
from gateway.site.library import installed
from gateway.site.profile import driver_points, load_profile
from protocols.api import Point
from protocols.ble.codec import Decoder, number

ADDRESS = "A4:C1:38:12:34:56"
KEY = bytes(range(16))
PROFILES = sorted(path for path in installed().glob("*/*.toml") if 'protocol = "ble"' in path.read_text())


def points_of(path: Path, secret: bytes = b"") -> tuple[Point, ...]:
    profile = load_profile(path)
    device = replace(profile.as_device("tag"), address=ADDRESS, secret=secret)
    return tuple(point for point in driver_points(dict(enumerate(profile.points)), device) if point.spec is not None)


def chosen(path: Path, points: tuple[Point, ...]) -> list[float]:
    values = values_of(load_profile(path))
    return [values[point.name] for point in points]


class Air:
    """Stands in for the daemon: what was said, and whether somebody listens."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.offered: dict[int, bytes] = {}
        self.listened = True

    def advertise(self, address: str, manufacturer: Any = None, service: Any = None) -> bool:
        assert address == ADDRESS
        self.said += [*(manufacturer or {}).values(), *(service or {}).values()]
        return self.listened

    def offer(self, address: str, values: dict[int, bytes]) -> None:
        self.offered = values


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_device_of_the_library_is_understood(path: Path) -> None:
    points = points_of(path)
    values = chosen(path, points)
    if points[0].device.options.format == "gatt":
        air = Air()
        world = World({f"tag.{point.name}": Signal(base=x) for point, x in zip(points, values, strict=True)})
        assert Beacon(air, points, world, Sent(), lambda: (1, 1.0)).speak()  # type: ignore[arg-type]
        for point, wanted in zip(points, values, strict=True):
            body = air.offered[int(point.spec.characteristic[-4:], 16)]
            told = number(point.spec, body) * point.scale + point.offset
            assert told == pytest.approx(wanted, abs=point.scale)
        return
    if points[0].device.options.format == "bthome":
        plain, carried = objects(points, values, 1)
        data = bthome(plain, ADDRESS, b"", 1)
    else:
        data, carried = by_offsets(points, values)
    rows = {channel: value for channel, value, _ in Decoder(points).push(data, 1)}
    for point, told, wanted in zip(points, carried, values, strict=True):
        assert rows[point.channel] == pytest.approx(told, rel=1e-9, abs=1e-9), point.name
        assert math.isclose(told, wanted, rel_tol=0.05, abs_tol=2 * abs(point.scale)), point.name


def test_an_encrypted_device_counts_up_and_is_not_to_be_played_back() -> None:
    path = next(path for path in PROFILES if path.stem == "shelly-blu-door")
    points = points_of(path, KEY)
    plain, _ = objects(points, chosen(path, points), 1)
    decoder = Decoder(points)
    first = bthome(plain, ADDRESS, KEY, 7)
    assert decoder.push(first, 1)
    assert decoder.push(bthome(plain[:1] + b"\x02" + plain[2:], ADDRESS, KEY, 8), 2)
    assert not decoder.push(first, 10**12)
    assert decoder.counters["replayed"] == 1


def test_what_nobody_heard_was_not_sent_and_a_dead_device_is_silent() -> None:
    path = next(path for path in PROFILES if path.stem == "ruuvi-ruuvitag-df5")
    points, air, sent = points_of(path), Air(), Sent()
    at = 1.0
    world = World({}, [Incident("dead", 5.0, 9.0, dead=["tag"])])
    beacon = Beacon(air, points, world, sent, lambda: (int(at * 1e9), at))  # type: ignore[arg-type]
    assert beacon.speak()
    heard = sent.readings
    assert heard == len(points)
    air.listened = False
    assert not beacon.speak()
    air.listened, at = True, 6.0
    assert not beacon.speak()
    assert sent.readings == heard
