"""Unmodified bleak and a sensor that must be connected to: connections that break, values that are none, growth."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from gateway.sim.bluez import Bluez
from gateway.sim.private_bus import private_bus
from protocols.api import Device, Link, Point, Quality, Reader
from protocols.ble import gatt
from protocols.ble.driver import connect
from protocols.ble.operations import Hear, plan
from protocols.ble.points import Options, Value

pytestmark = pytest.mark.peers
ROOM = "CB:B8:33:4C:88:4F"
TEMPERATURE = 0x2A6E  # int16, 0.01 degree Celsius (GATT Specification Supplement, 3.218)
GOOD = (2506).to_bytes(2, "little")


def ops(mode: str, period_s: float = 0.05, **options: int) -> list[Hear]:
    device = Device("room", 0, Options("gatt", mode=mode, **options), ROOM)  # type: ignore[arg-type]
    spec = Value(characteristic="2a6e", type="int16", order="little")
    return list(plan((Point(7, "temperature", device, spec, period_s, 0.01),)))


@pytest.fixture
async def bluez(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bluez]:
    monkeypatch.setattr(gatt, "PAUSE_S", (0.02, 0.1))
    async with private_bus(tmp_path) as address, Bluez(address) as daemon:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield daemon


class Heard:
    """What the driver delivered, beside a sensor that is on the air."""

    def __init__(self, reader: Reader[Hear], bluez: Bluez) -> None:
        self._reader, self._bluez = reader, bluez
        self.values: list[float] = []
        self.qualities: list[int] = []
        self.rows: set[tuple[int, int]] = set()  # channel, quality

    async def until(self, so: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not so():
                self._bluez.advertise(ROOM, rssi=-60)
                batch = await self._reader.read((), 0.01)
                self.rows |= set(zip(batch.channel.tolist(), batch.quality.tolist(), strict=True))
                self.values += batch.value.round(2).tolist()
                self.qualities += batch.quality.tolist()

    def counted(self, name: str) -> int:
        return self._reader.counters[name]


@asynccontextmanager
async def heard(bluez: Bluez, hear: list[Hear]) -> AsyncIterator[Heard]:
    bluez.offer(ROOM, {TEMPERATURE: GOOD})
    async with connect(Link("air", "ble:hci0"), hear) as reader:
        yield Heard(reader, bluez)


async def test_a_read_that_fails_in_the_middle_is_no_reply_and_the_next_connection_reads_again(bluez: Bluez) -> None:
    async with heard(bluez, ops("read")) as one:
        await one.until(lambda: 25.06 in one.values)
        bluez.fails = 2
        await one.until(lambda: one.counted("connect_failures") >= 2)
        await one.until(lambda: Quality.NO_REPLY in one.qualities)
        before, read = len(one.values), one.counted("gatt_reads")
        await one.until(lambda: one.counted("gatt_reads") > read and 25.06 in one.values[before:])


@pytest.mark.parametrize("mode", ["read", "notify"])
async def test_a_characteristic_that_is_not_there_or_not_for_us_is_refused_and_the_others_come(
    bluez: Bluez, mode: Literal["read", "notify"]
) -> None:
    device = Device("room", 0, Options("gatt", mode=mode), ROOM)
    names = ("2a6e", "2a6f", "2a6d")
    points = [
        Point(7 + number, name, device, Value(characteristic=name, type="int16", order="little"), 0.05)
        for number, name in enumerate(names)
    ]
    bluez.secret = {0x2A6F}
    async with heard(bluez, list(plan(points))) as one:
        bluez.offer(ROOM, {TEMPERATURE: GOOD, 0x2A6F: GOOD})
        wanted = {(7, Quality.GOOD), (9, Quality.REFUSED)} | ({(8, Quality.REFUSED)} if mode == "read" else set())
        await one.until(lambda: bluez.is_notified or mode == "read")
        bluez.offer(ROOM, {TEMPERATURE: GOOD})
        await one.until(lambda: wanted <= one.rows)
        assert one.rows == wanted
        assert one.counted("connect_failures") == 0


async def test_a_notifying_sensor_whose_connection_breaks_is_connected_to_again(bluez: Bluez) -> None:
    async with heard(bluez, ops("notify")) as one:
        for number in range(1, 4):
            await one.until(lambda n=number: one.counted("connections") == n and bluez.is_notified)
            value = 2000 + number
            bluez.offer(ROOM, {TEMPERATURE: value.to_bytes(2, "little")})
            await one.until(lambda v=value: v / 100 in one.values)
            bluez.drop(ROOM)
            bluez.offer(ROOM, {TEMPERATURE: b"\xff\x7f"}, late=True)  # on its way when the connection broke
            await one.until(lambda n=number: one.counted("disconnections") == n)
        assert 327.67 not in one.values


async def test_a_notification_of_another_length_is_a_bad_reply_and_the_next_one_is_read(bluez: Bluez) -> None:
    async with heard(bluez, ops("notify", length=2)) as one:
        await one.until(lambda: bluez.is_notified)
        for number, data in enumerate((b"", b"\x01", GOOD + b"\x00", bytes(512)), 1):
            bluez.offer(ROOM, {TEMPERATURE: data})
            await one.until(lambda n=number: one.counted("malformed") + one.counted("other_format") == n)
        bluez.offer(ROOM, {TEMPERATURE: GOOD})
        await one.until(lambda: 25.06 in one.values)
        assert one.qualities.count(Quality.BAD_REPLY) == 4
        assert all(math.isnan(v) for v, q in zip(one.values, one.qualities, strict=True) if q == Quality.BAD_REPLY)
        assert one.counted("connections") == 1


async def test_a_chattering_connection_fills_no_queue(bluez: Bluez) -> None:
    async with heard(bluez, ops("notify", period_s=10.0)) as one:
        await one.until(lambda: bluez.is_notified)
        for number in range(2000):
            bluez.offer(ROOM, {TEMPERATURE: (number % 4000).to_bytes(2, "little")})
            if not number % 50:
                await bluez.settled()
        await one.until(lambda: one.counted("notifications") >= 2000)
        assert one.counted("throttled") > 1800
        assert len(one.values) < 200


async def test_what_nobody_expects_of_bleak_is_that_device_s_trouble(
    bluez: Bluez, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def connect_badly(*_: object, **__: object) -> None:
        raise KeyError("ServicesResolved")

    async with heard(bluez, ops("read")) as one:
        with monkeypatch.context() as patched:
            patched.setattr(gatt.BleakClient, "connect", connect_badly)
            await one.until(lambda: one.counted("connect_failures") >= 3)
        assert set(one.qualities) == {Quality.NO_REPLY}
        assert [record.getMessage() for record in caplog.records] == ["room: KeyError"]
        await one.until(lambda: 25.06 in one.values)


async def test_connections_and_broken_ones_leave_no_descriptors_behind(bluez: Bluez) -> None:
    def every_second_breaks() -> None:
        bluez.fails = 1 - one.counted("connections") % 2

    async with heard(bluez, ops("read", period_s=0.001)) as one:
        await one.until(lambda: one.counted("connections") >= 5)
        before = len(os.listdir("/proc/self/fd"))
        await one.until(lambda: every_second_breaks() or one.counted("connections") >= 60)
        assert one.counted("connect_failures") >= 20
        assert len(os.listdir("/proc/self/fd")) <= before + 1  # one connection may be open at the moment
