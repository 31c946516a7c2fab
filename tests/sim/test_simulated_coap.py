"""A simulated CoAP node says what its profile means: what the simulator writes, the driver reads back."""

from __future__ import annotations

import time

import pytest

from gateway.sim.coap import Server, represent
from gateway.sim.world import Sent, Signal, World
from gateway.site.library import Library
from gateway.site.profile import driver_points, load_profile
from protocols.api import Device, Link, Point
from protocols.coap.driver import DRIVER
from protocols.coap.payload import parse
from protocols.coap.points import Format, Options, Resource
from tests.ports import free_port


def is_coap(name: str) -> bool:
    path = Library.of([]).find(name)
    return path is not None and load_profile(path, name).driver.name == "coap"


PROFILES = sorted(name for name in Library.of([]).names() if is_coap(name))


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize("name", PROFILES)
async def test_every_profile_is_played_and_read(name: str) -> None:
    path = Library.of([]).find(name)
    assert path is not None
    profile = load_profile(path, name)
    points = driver_points(dict(enumerate(profile.points)), profile.as_device("d"))
    world = World({f"d.{point.name}": Signal(number + 1.0) for number, point in enumerate(points)})
    sent, url = Sent(), f"coap://127.0.0.1:{free_port()}"
    node = Server(url, points, world, sent, lambda: (boottime_ns(), 0.0))
    await node.start()
    try:
        ops = DRIVER.plan(points)
        found: dict[int, float] = {}
        async with DRIVER.connect(Link("l", url), ops) as reader:
            while len(found) < len(points):
                batch = await reader.read(ops, 5.0)
                assert not batch.quality.any(), dict(reader.counters)
                found |= dict(zip(batch.channel.tolist(), batch.value.tolist(), strict=True))
        for point in points:
            told = sent.values[f"d.{point.name}"]
            assert found[point.channel] == pytest.approx(told[0], rel=1e-5)
    finally:
        await node.close()


@pytest.mark.parametrize("form", ["text", "json", "cbor", "senml+json", "senml+cbor", "lwm2m+tlv", "lwm2m+json"])
def test_every_format_reads_back(form: Format) -> None:
    record = "x" if form.startswith("senml") else ""
    at = {"json": "a.b", "cbor": "a.b", "lwm2m+tlv": "5700", "lwm2m+json": "5700"}.get(form, "")
    spec = Resource("/3303/0", form, at=at, record=record, type="float" if form == "lwm2m+tlv" else "")
    device = Device("d", 0, Options())
    number, body = represent({Point(0, "p", device, spec, 1.0): 21.5})
    assert parse(number, body)(spec)[0].value == 21.5
