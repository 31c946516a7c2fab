"""Unmodified bleak and a daemon in trouble: what the driver notices, counts and recovers from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bleak import BleakScanner

from gateway.sim.bluez import Bluez
from gateway.sim.private_bus import private_bus
from protocols.api import Device, LinkDown, Point
from protocols.ble.inbox import Inbox
from protocols.ble.operations import plan
from protocols.ble.points import Options, Value
from protocols.ble.radio import Radio

pytestmark = pytest.mark.peers
ADDRESS, OTHER = "54:48:E6:8F:80:A5", "00:00:5E:00:53:77"
HOME = Device("home", 0, Options("bthome"), ADDRESS)
POINT = Point(1, "t", HOME, Value(object=2), 10.0)


@pytest.fixture
async def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    async with private_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield address


@asynccontextmanager
async def at_work(deaf_s: float = 60.0) -> AsyncIterator[tuple[Inbox, Radio]]:
    inbox = Inbox(plan((POINT,)))
    async with Radio("hci0", inbox, deaf_s) as radio:
        yield inbox, radio


async def until(true: Callable[[], object], say: Callable[[], object] = lambda: None) -> None:
    async with asyncio.timeout(10):
        while not true():
            say()
            await asyncio.sleep(0.01)


async def test_no_daemon_and_no_adapter_are_told(bus: str) -> None:
    with pytest.raises(LinkDown) as no_daemon:
        async with at_work():
            pass
    assert no_daemon.value.code == "CG-3050"
    async with Bluez(bus) as bluez:
        bluez.unplug()
        with pytest.raises(LinkDown) as no_adapter:
            async with at_work():
                pass
        assert no_adapter.value.code == "CG-3051"
        bluez.plug()
        async with at_work() as (_, radio):
            assert radio.counters["scans_passive"] == 1


async def test_in_progress_is_waited_for(bus: str) -> None:
    async with Bluez(bus) as bluez:
        bluez.busy = 1
        async with at_work() as (_, radio):
            assert radio.counters["in_progress"] == 1


async def test_active_where_bluez_cannot_scan_passively_and_an_ended_scan_is_begun_again(bus: str) -> None:
    async with Bluez(bus, passive=False) as bluez, at_work() as (_, radio):
        assert radio.counters["scans_active"] == 1
        bluez.end_scan()
        await until(lambda: bluez.is_discovering)
        assert radio.counters["scan_restarts"] == 1


async def test_monitors_that_bluez_takes_and_its_kernel_does_not_are_no_deaf_radio(bus: str) -> None:
    async with Bluez(bus) as bluez, at_work(deaf_s=0.3) as (inbox, radio):
        bluez.vain = True
        await until(lambda: inbox.counters["foreign"] > 30, lambda: bluez.advertise(OTHER, rssi=-50))
        assert (radio.counters["deaf"], radio.counters["scans_passive"], radio.counters["scans_active"]) == (1, 1, 1)
        assert radio.failed() is None


async def test_the_end_of_bluetoothd_ends_the_link_and_a_new_one_is_heard(bus: str) -> None:
    async with Bluez(bus), at_work() as (_, radio):
        pass
    bluez = Bluez(bus)
    await bluez.__aenter__()
    async with at_work() as (_, radio):
        await bluez.__aexit__()
        await until(radio.failed)
        assert radio.failed().code == "CG-3050"
    async with Bluez(bus) as again, at_work() as (inbox, _):
        await until(
            lambda: inbox.counters["heard"], lambda: again.advertise(ADDRESS, service={0xFCD2: b"\x40\x02\x01\x01"})
        )


async def test_a_scan_that_died_silently_is_restarted_and_a_deaf_radio_ends_the_link(bus: str) -> None:
    async with Bluez(bus) as bluez, at_work(deaf_s=0.1) as (inbox, radio):
        bluez.end_scan(silently=True)
        await until(lambda: inbox.counters["foreign"], lambda: bluez.advertise(OTHER))
        assert radio.counters["deaf"] >= 1
        bluez.deaf = True
        await until(radio.failed)
        assert radio.failed().code == "CG-3053"


async def test_what_nobody_expects_of_bleak_ends_the_link_and_is_not_silence(
    bus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start_badly(_: object) -> None:
        raise KeyError("Discovering")

    async with Bluez(bus, passive=False) as bluez, at_work() as (_, radio):
        monkeypatch.setattr(BleakScanner, "start", start_badly)
        bluez.end_scan()
        await until(radio.failed)
        assert radio.failed().code == "CG-3050"
        assert "KeyError" in str(radio.failed())


async def test_a_quiet_sensor_is_no_deaf_radio(bus: str) -> None:
    async with Bluez(bus) as bluez, at_work(deaf_s=0.2) as (inbox, radio):
        await until(lambda: inbox.counters["foreign"] > 60, lambda: bluez.advertise(OTHER, manufacturer={76: b"\x01"}))
        assert radio.counters["deaf"] == 0
        assert radio.failed() is None
        assert not len(inbox.take().channel)


async def test_scans_leave_no_descriptors_behind(bus: str) -> None:
    async with Bluez(bus):
        async with at_work():
            pass
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            async with at_work():
                pass
        assert len(os.listdir("/proc/self/fd")) <= before
