"""The BLE driver, with unmodified bleak on a private bus, keeps the rules of protocols.testing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.sim.bluez import Bluez
from gateway.sim.private_bus import is_possible, private_bus
from protocols.api import Device, Link, Point
from protocols.ble.points import Fixed, Options, Value
from protocols.registry import driver
from protocols.testing import RULES, DriverCase, Rig, Rule

ADDRESS, OTHER = "CB:B8:33:4C:88:4F", "00:00:5E:00:53:77"
RUUVI = bytes.fromhex("0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F")
TAG = Device("tag", 0, Options("manufacturer", company=0x0499, length=24, fixed=(Fixed(0, "05"),)), ADDRESS)
HOME = Device("home", 0, Options("bthome"), ADDRESS)
READ = Device("room", 0, Options("gatt"), ADDRESS)
TOLD = Device("room", 0, Options("gatt", mode="notify"), ADDRESS)
LINK = Link("air", "ble:hci0")

pytestmark = pytest.mark.skipif(not is_possible(), reason="no dbus-daemon")


def gatt(device: Device) -> tuple[Point, ...]:
    return (Point(7, "temperature", device, Value(characteristic="2a6e", type="int16", order="little"), 0.02, 0.01),)


def ruuvi(bluez: Bluez, count: int) -> None:
    bluez.advertise(ADDRESS, manufacturer={0x0499: RUUVI[:16] + count.to_bytes(2, "big") + RUUVI[18:]})


def bthome(bluez: Bluez, count: int) -> None:
    bluez.advertise(ADDRESS, service={0xFCD2: bytes((0x40, 0x00, count & 0xFF)) + bytes.fromhex("02ca0903bf13")})


def environment(bluez: Bluez, count: int) -> None:
    bluez.advertise(ADDRESS, rssi=-50 - count % 30)
    bluez.offer(ADDRESS, {0x2A6E: (2506).to_bytes(2, "little")})


def rig(say: Callable[[Bluez, int], None], monkey: pytest.MonkeyPatch) -> Callable[[], object]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Rig]:
        with TemporaryDirectory() as folder:
            async with private_bus(Path(folder)) as bus, Bluez(bus) as bluez:
                monkey.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)

                async def play() -> None:
                    count = 0
                    while True:
                        count += 1
                        say(bluez, count)
                        bluez.advertise(OTHER, manufacturer={0x004C: b"\x10"})
                        await asyncio.sleep(0.02)

                task = asyncio.create_task(play())
                try:
                    yield Rig(LINK, lambda on: setattr(bluez, "mute", on), bluez.unplug)
                finally:
                    task.cancel()

    return opened


CASES = (
    (
        "ble-offsets",
        (
            Point(3, "temperature", TAG, Value(at=1, type="int16"), 0.01, 0.005),
            Point(4, "humidity", TAG, Value(at=3, type="uint16"), 0.01, 0.0025),
        ),
        {3: 24.3, 4: 53.49},
        ruuvi,
    ),
    ("ble-bthome", (Point(5, "temperature", HOME, Value(object=2), 0.01),), {5: 25.06}, bthome),
    ("ble-gatt-read", gatt(READ), {7: 25.06}, environment),
    ("ble-gatt-notify", gatt(TOLD), {7: 25.06}, environment),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
async def test_ble_keeps_the_rule(case: tuple, rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    name, points, expected, say = case
    await rule(DriverCase(name, driver("ble"), points, expected, rig(say, monkeypatch)))
