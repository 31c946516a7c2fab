"""The serial driver behind socat: two pseudo terminals joined by somebody else's program, as two ends of a cable.

What sends is a plain script on the far end of socat. The cable is pulled (socat killed) and put back.
"""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.site.library import Library
from gateway.site.profile import driver_points, load_profile
from protocols.api import Link, LinkDown, Point, Quality
from protocols.registry import driver

pytestmark = pytest.mark.peers

SERIAL = driver("serial")
PMS = bytes.fromhex("424d001c00000008000800000008000800d20046002d001e00000000970002c5")
SPS30 = bytes.fromhex(
    "7e000300283d2001e33d5adecf3d81cc533d8c48ae3e73397d5e3e97b9033e9e8b9f3e9ff1713ea04e183f3650125a7e"
)
START_S = 10.0


def points_of(name: str, unit: int = 1, first: int = 0) -> tuple[Point, ...]:
    path = Library.of([]).find(name)
    assert path is not None
    profile = load_profile(path)
    points = {first + i: point for i, point in enumerate(profile.points)}
    return driver_points(points, profile.as_device(f"device {unit}", unit))


class Cable:
    """socat between `gateway` and `device`, two links to pseudo terminals."""

    def __init__(self, folder: Path) -> None:
        self.gateway, self.device = folder / "gateway", folder / "device"
        self._socat: asyncio.subprocess.Process | None = None
        self._fd = -1

    async def plug(self, on_data: Callable[[bytes], bytes] = lambda data: b"") -> None:
        ends = (f"pty,raw,echo=0,link={end}" for end in (self.gateway, self.device))
        self._socat = await asyncio.create_subprocess_exec("socat", *ends)
        async with asyncio.timeout(START_S):
            while not (self.gateway.exists() and self.device.exists()):
                await asyncio.sleep(0.01)
        self._fd = os.open(self.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._fd)
        asyncio.get_running_loop().add_reader(self._fd, self._answer, on_data)

    def _answer(self, on_data: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            reply = on_data(os.read(self._fd, 4096))
            if reply:
                os.write(self._fd, reply)

    def send(self, data: bytes) -> None:
        os.write(self._fd, data)

    async def pull(self) -> None:
        if self._socat is None:
            return
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        with suppress(ProcessLookupError):
            self._socat.kill()
        await self._socat.wait()
        self._socat = None
        for end in (self.gateway, self.device):  # killed, it leaves its links behind
            end.unlink(missing_ok=True)


@asynccontextmanager
async def cable(folder: Path, on_data: Callable[[bytes], bytes] = lambda data: b"") -> AsyncIterator[Cable]:
    it = Cable(folder)
    await it.plug(on_data)
    try:
        yield it
    finally:
        await it.pull()


async def test_a_published_capture_through_a_cable_that_is_pulled(tmp_path: Path) -> None:
    points = points_of("air/plantower-pms5003")
    ops = SERIAL.plan(points)
    async with cable(tmp_path) as line:
        link = Link("line", f"serial:{line.gateway}", baud=9600)
        for _ in range(2):
            with suppress(LinkDown):  # closing a port that is gone may say so again
                async with SERIAL.connect(link, ops) as reader:
                    line.send(PMS[:30] + b"\x00\x42" + PMS)
                    batch = await reader.read(ops, START_S)
                    values = dict(zip(batch.channel.tolist(), batch.value.tolist(), strict=True))
                    assert [values[i] for i in (3, 4, 5, 6)] == [0, 8, 8, 210]
                    assert len(batch.channel) == len(points)  # one frame: the cut one gave nothing
                    await line.pull()
                    with pytest.raises(LinkDown) as down:
                        await reader.read(ops, START_S)
                    assert down.value.code == "CG-3007"
            await line.plug()


async def test_a_sensor_that_is_started_and_has_a_stuffed_byte(tmp_path: Path) -> None:
    heard = bytearray()

    def sensor(data: bytes) -> bytes:
        heard.extend(data)
        for request, reply in (
            ("7e007d3100ee7e", bytes.fromhex("7e007d3100 00ee7e")),
            ("7e0000020103f97e", bytes.fromhex("7e00000000ff7e")),
            ("7e000300fc7e", SPS30),
        ):
            if heard.endswith(bytes.fromhex(request)):
                heard.clear()
                return reply
        return b""

    ops = SERIAL.plan(points_of("air/sensirion-sps30"))
    async with cable(tmp_path, sensor) as line:
        link = Link("line", f"serial:{line.gateway}", baud=115_200)
        async with SERIAL.connect(link, ops) as reader:
            batch = await reader.read(ops, 2.0)
            assert not batch.quality.any()
            assert batch.value[4] == pytest.approx(0.237524, rel=1e-5)
            assert dict(reader.counters)["starts"] == 1


async def test_cards_with_addresses_on_one_line(tmp_path: Path) -> None:
    """Published request; the card of address 3 is not there."""
    starts = iter(range(1_000_000, 2_000_000, 40))

    def cards(data: bytes) -> bytes:
        if data[3] == 3:
            return b""
        body = b"".join(
            (300).to_bytes(3, "big") + next(starts).to_bytes(4, "big") + bytes((data[3], 0)) for _ in range(4)
        )
        check = 0
        for byte in body:
            check ^= byte
        return body + bytes((check,))

    points = (*points_of("traffic/canoga-900", 0), *points_of("traffic/canoga-900", 3, 20))
    ops = SERIAL.plan(points)
    assert ops[0].request == bytes.fromhex("3C 30 38 00 2A 31 45 3E")
    async with cable(tmp_path, cards) as line:
        link = Link("line", f"serial:{line.gateway}", baud=9600)
        async with SERIAL.connect(link, ops) as reader:
            for _ in range(3):
                batch = await reader.read(ops, 0.3)
                present = batch.channel < 20
                assert not batch.quality[present].any()
                assert set(batch.quality[~present].tolist()) == {int(Quality.NO_REPLY)}
