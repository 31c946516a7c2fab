"""Serial devices simulated from their profiles on a pseudo terminal, read by the driver as a site would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest

from gateway.sim.line import PtyLine
from gateway.sim.serial import answer_frames, stream_frames
from gateway.sim.world import Incident, Sent, Signal, World
from gateway.site.plan import Plan
from protocols import registry
from protocols.api import Batch, Quality

BAUD = 3_000_000  # what waits for a line's bytes waits for nothing
SITE = """
[[links]]
name = "line"
url = "serial:{path}"
timeout_s = 0.15
"""
DEVICE = """
[[devices]]
name = "{name}"
profile = "{profile}"
link = "line"
unit = {unit}
"""


def site(line: PtyLine, *devices: tuple[str, str, int]) -> str:
    tables = (DEVICE.format(name=name, profile=profile, unit=unit) for name, profile, unit in devices)
    return SITE.format(path=line.path) + "".join(tables)


def now() -> tuple[int, float]:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME), 1000.0


async def read_once(plan: Plan, line: PtyLine, world: World, reads: int = 1) -> Batch:
    (link,) = plan.links
    driver, points = registry.driver(link.driver), link.points
    play = stream_frames if driver.listens(points[0].device) else answer_frames
    async with line:
        task = asyncio.create_task(play(line, points, world, Sent(), now))
        async with driver.connect(link.link, link.ops) as reader:
            batches = [await reader.read(link.ops, 0.2) for _ in range(reads)]
        task.cancel()
    return Batch.join(batches)


@pytest.mark.parametrize("profile", ["air/plantower-pms5003", "air/nova-sds011", "air/winsen-mhz19b"])
async def test_a_sensor_from_its_profile(
    profile: str, make_plan: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = PtyLine(BAUD)
    plan = make_plan(site(line, ("d", profile, 1)))
    monkeypatch.setattr("gateway.sim.serial.asyncio.sleep", _at_once)
    batch = await read_once(plan, line, World({c.name: Signal(20.0) for c in plan.channels}))
    assert len(batch.channel) >= len(plan.channels)
    assert np.allclose(batch.value, 20.0)
    assert not batch.quality.any()


async def test_four_cards_on_one_line(make_plan: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    """Told apart by their addresses; the one without power says nothing and costs the others nothing."""
    line = PtyLine(BAUD)
    plan = make_plan(site(line, *((f"card{unit}", "traffic/canoga-900", unit) for unit in (0, 1, 2, 128))))
    monkeypatch.setattr("gateway.sim.serial.asyncio.sleep", _at_once)
    signals = {c.name: Signal(float(10 + int(c.device[4:]) % 100)) for c in plan.channels}
    world = World(signals, [Incident("dark", 0, 1e9, dead=("card2",))])
    batch = await read_once(plan, line, world)
    for channel, value, quality in zip(batch.channel, batch.value, batch.quality, strict=True):
        device = plan.channels[int(channel)].device
        if device == "card2":
            assert quality == Quality.NO_REPLY
        else:
            assert value == 10 + int(device[4:]) % 100


async def test_a_sensor_that_must_be_started(make_plan: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    line = PtyLine(BAUD)
    plan = make_plan(site(line, ("air", "air/sensirion-sps30", 1)))
    monkeypatch.setattr("gateway.sim.serial.asyncio.sleep", _at_once)
    (link,) = plan.links
    points = link.points
    options = points[0].device.options
    assert [command.pause_ms for command in options.commands] == [5, 5, 20]
    world = World({c.name: Signal(12.5) for c in plan.channels})
    batch = await read_once(plan, line, world, reads=2)
    assert len(batch.channel) == 2 * len(points)
    assert np.allclose(batch.value[[c.unit == "ug/m3" for c in plan.channels] * 2], 12.5)


_sleep = asyncio.sleep


async def _at_once(seconds: float) -> None:
    await _sleep(0)
