"""BLE adverts: how many one core decodes, and random bytes at the codec.

In: adverts of 50 declared devices among foreign ones, Ruuvi, BTHome plain and encrypted. Out: figures.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.sim.bluez import Bluez, is_possible, private_bus
from protocols.api import Device, Link, Point
from protocols.ble.bthome import encrypt
from protocols.ble.codec import Decoder
from protocols.ble.driver import connect
from protocols.ble.inbox import Inbox
from protocols.ble.operations import plan
from protocols.ble.points import Fixed, Options, Value

KEY = bytes(range(16))
SERVICE = "0000fcd2-0000-1000-8000-00805f9b34fb"
DEVICES = 50


def _points() -> list[Point]:
    tag = Options("manufacturer", company=0x0499, length=24, fixed=(Fixed(0, "05"),))
    points = []
    for number in range(DEVICES):
        address = f"00:00:5E:00:53:{number:02X}"
        kind = number % 3
        device = Device(f"d{number}", 0, tag if kind == 0 else Options("bthome"), address, KEY if kind == 2 else b"")
        specs = (
            [Value(at=1, type="int16"), Value(at=3, type="uint16")] if not kind else [Value(object=2), Value(object=3)]
        )
        points += [Point(2 * number + i, f"p{i}", device, spec, 10.0) for i, spec in enumerate(specs)]
    return points


def _adverts(count: int) -> list[tuple[str, dict[int, bytes], dict[str, bytes]]]:
    """Every second one foreign: a street is full of phones."""
    made: list[tuple[str, dict[int, bytes], dict[str, bytes]]] = []
    for n in range(count):
        number, value = n % DEVICES, (n & 0x7FFF).to_bytes(2, "little")
        address, plain = f"00:00:5E:00:53:{number:02X}", b"\x02" + value + b"\x03" + value
        if number % 3 == 0:
            made.append((address, {0x0499: b"\x05" + value + value + bytes(19)}, {}))
        elif number % 3 == 1:
            made.append((address, {}, {SERVICE: b"\x40" + plain}))
        else:
            made.append((address, {}, {SERVICE: encrypt(plain, address, KEY, n)}))
        made.append(("00:00:5E:00:53:F0", {0x004C: bytes(20)}, {}))
    return made


def run(full: bool) -> dict[str, Any]:
    """`ble_adverts_per_s`: declared ones, decoded to rows. `ble_fuzz_frames`, `ble_fuzz_crashes`,
    `ble_fuzz_wrong_accepted` (forged messages that passed a 32-bit MIC)."""
    count = 200_000 if full else 40_000
    adverts, inbox = _adverts(count), Inbox(plan(_points()))
    begun, at_ns = time.process_time(), 1_000_000_000
    for n, (address, manufacturer, service) in enumerate(adverts):
        at_ns += 2_000_000  # 500 a second: below every device's limit
        inbox.advert(address, manufacturer, service, at_ns)
        if not n % 500:
            inbox.take()
    spent_s = time.process_time() - begun
    decoded = inbox.totals["decoded"]
    return {
        "ble_adverts_per_s": round(decoded / spent_s),
        "ble_decoded": decoded,
        "ble_throttled": inbox.totals["throttled"],
        **_fuzz(1_000_000 if full else 100_000),
        **asyncio.run(_growth(10_000)),
    }


async def _growth(count: int) -> dict[str, float]:
    """What `count` scans and as many GATT connections leave behind, on a daemon without a radio; nothing without
    dbus-daemon. Counted from a tenth of them on, when what is kept once is there."""
    if not is_possible():
        print("no dbus-daemon: what scans and connections leave behind was not measured")
        return {}
    with TemporaryDirectory() as folder:
        async with private_bus(Path(folder)) as bus, Bluez(bus) as bluez:
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = bus
            scans, connections = await _scans(count), await _connections(count, bluez)
    print(f"{'':12} {'rounds':>8} {'descriptors':>12} {'MB':>8}")
    for name, (descriptors, mb) in {"scans": scans, "connections": connections}.items():
        print(f"{name:12} {count:8} {descriptors:+12} {mb:+8.2f}")
    return {
        "ble_scans": count,
        "ble_connections": count,
        "fd_growth": max(scans[0], 0) + max(connections[0], 0),
        "ble_scans_growth_mb": round(scans[1], 2),
        "ble_connections_growth_mb": round(connections[1], 2),
    }


async def _scans(count: int) -> tuple[int, float]:
    link, ops, before = Link("air", "ble:hci0"), plan(_points()), (0, 0.0)
    for number in range(count):
        if number == count // 10:
            before = _held()
        async with connect(link, ops):
            pass
    return _grown(before)


async def _connections(count: int, bluez: Bluez) -> tuple[int, float]:
    """One device, connected to, read and left again, over and over by the driver itself."""
    address = "00:00:5E:00:53:EE"
    spec = Value(characteristic="2a6e", type="int16", order="little")
    point = Point(0, "temperature", Device("room", 0, Options("gatt"), address), spec, 0.001, 0.01)
    bluez.offer(address, {0x2A6E: (2506).to_bytes(2, "little")})
    before: tuple[int, float] | None = None
    async with connect(Link("air", "ble:hci0"), plan((point,))) as reader:
        while (made := reader.counters["connections"]) < count:
            bluez.advertise(address)
            await reader.read((), 0.05)
            if before is None and made >= count // 10:
                before = _held()
    return _grown(before or _held())


def _held() -> tuple[int, float]:
    """(open descriptors, resident MB) of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGESIZE") / 1e6


def _grown(before: tuple[int, float]) -> tuple[int, float]:
    now = _held()
    return now[0] - before[0], now[1] - before[1]


def _fuzz(frames: int) -> dict[str, int]:
    chance = random.Random(4)
    sealed = Decoder([p for p in _points() if p.device.secret][:2])
    others = [Decoder(_points()[:2]), Decoder(_points()[2:4])]
    crashes = wrong = 0
    for n in range(frames):
        data = chance.randbytes(chance.randrange(40))
        try:
            wrong += bool(sealed.push(b"\x41" + data, n))
            others[n & 1].push((b"\x05", b"\x40")[n & 1] + data, n)
        except Exception:
            crashes += 1
    return {"ble_fuzz_frames": frames, "ble_fuzz_crashes": crashes, "ble_fuzz_wrong_accepted": wrong}
