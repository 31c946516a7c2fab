"""Bluetooth in figures: adverts that one core decodes, damaged messages at the codec, what scans and connections leave.

In: adverts of 50 declared devices among foreign ones, Ruuvi, BTHome plain and encrypted; a daemon without a radio, and
unmodified bleak. Out: figures.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from gateway.sim.bluez import Bluez
from gateway.sim.private_bus import is_possible, private_bus
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
    """`ble_adverts_per_s`: declared ones, decoded to rows. `fuzz_frames`, `crashes`, `wrong_accepted`. `fd_growth` and
    `ble_*_growth_mb`: see `_growth`."""
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
        **_fuzz(1_000_000),
        **asyncio.run(_growth(10_000)),
    }


class Held(NamedTuple):
    """Open descriptors and resident MB of this process, and resident MB of the D-Bus daemon."""

    descriptors: int
    mb: float
    daemon_mb: float

    @classmethod
    def here(cls) -> Held:
        gc.collect()
        return cls(len(os.listdir("/proc/self/fd")), _resident_mb("self"), _resident_mb(_daemon()))

    def since(self, before: Held) -> Held:
        return Held(self.descriptors - before.descriptors, self.mb - before.mb, self.daemon_mb - before.daemon_mb)


def _resident_mb(pid: str) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def _daemon() -> str:
    """The pid of this process's D-Bus daemon."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return next(pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "dbus-daemon")


async def _growth(count: int) -> dict[str, float | None]:
    """What `count` scans and as many GATT connections leave behind, on a daemon without a radio; nothing without
    dbus-daemon. Counted from a tenth of them on, when what is kept once is there."""
    if not is_possible():
        print("no dbus-daemon: what scans and connections leave behind was not measured")
        return {}
    with TemporaryDirectory() as folder:
        async with private_bus(Path(folder)) as bus, Bluez(bus) as bluez:
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = bus
            grown = {"scans": await _scans(count), "connections": await _connections(count, bluez)}
    print(f"{'':12} {'rounds':>8} {'descriptors':>12} {'MB':>8} {'daemon MB':>10}")
    figures: dict[str, float | None] = {"fd_growth": sum(max(0, one.descriptors) for one in grown.values())}
    for name, one in grown.items():
        print(f"{name:12} {count:8} {one.descriptors:+12} {one.mb:+8.2f} {one.daemon_mb:+10.2f}")
        figures[f"ble_{name}"] = count
        figures[f"ble_{name}_growth_mb"] = round(one.mb, 2)
        figures[f"ble_{name}_daemon_growth_mb"] = round(one.daemon_mb, 2)
    return figures


async def _scans(count: int) -> Held:
    link, ops, before = Link("air", "ble:hci0"), plan(_points()), Held.here()
    for number in range(count):
        if number == count // 10:
            before = Held.here()
        async with connect(link, ops):
            pass
    return Held.here().since(before)


async def _connections(count: int, bluez: Bluez) -> Held:
    """One device, connected to, read and left again, over and over by the driver itself."""
    address = "00:00:5E:00:53:EE"
    spec = Value(characteristic="2a6e", type="int16", order="little")
    point = Point(0, "temperature", Device("room", 0, Options("gatt"), address), spec, 0.001, 0.01)
    bluez.offer(address, {0x2A6E: (2506).to_bytes(2, "little")})
    before: Held | None = None
    async with connect(Link("air", "ble:hci0"), plan((point,))) as reader:
        while (made := reader.counters["connections"]) < count:
            bluez.advertise(address)
            await reader.read((), 0.05)
            if before is None and made >= count // 10:
                before = Held.here()
    return Held.here().since(before or Held.here())


def _fuzz(frames: int) -> dict[str, int]:
    """Messages cut, altered and made up, at the decoders of a tag, a plain and an encrypted device. Wrong is whatever
    the encrypted one believes: 4 bytes of MIC let one of 2^32 pass, which is none here."""
    chance = random.Random(4)
    tag, plain, sealed = (Decoder(_points()[2 * kind : 2 * kind + 2]) for kind in range(3))
    address, measured = "00:00:5E:00:53:02", b"\x02\xca\x09\x03\xbf\x13"
    genuine = {
        tag: [b"\x05" + chance.randbytes(23) for _ in range(100)],
        plain: [b"\x40" + measured],
        sealed: [encrypt(measured, address, KEY, n) for n in range(1000)],
    }
    crashes = wrong = 0
    for n in range(frames):
        decoder = (tag, plain, sealed)[n % 3]
        try:
            rows = decoder.push(_damaged(chance.choice(genuine[decoder]), chance), n)
        except Exception:
            crashes += 1
        else:
            wrong += decoder is sealed and bool(rows)
    return {"fuzz_frames": frames, "crashes": crashes, "wrong_accepted": wrong}


def _damaged(message: bytes, chance: random.Random) -> bytes:
    """Another message than `message`."""
    match chance.randrange(4):
        case 0:
            return message[:1] + chance.randbytes(chance.randrange(40))
        case 1:
            return message[: chance.randrange(len(message))]
        case 2:
            return message + chance.randbytes(1 + chance.randrange(8))
    altered = bytearray(message)
    for at in chance.sample(range(8 * len(message)), 1 + chance.randrange(3)):
        altered[at // 8] ^= 1 << at % 8
    return bytes(altered)
