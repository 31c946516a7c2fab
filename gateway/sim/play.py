"""One profile's device at play: on a pseudo terminal, a TCP port, a CoAP port or a D-Bus, until cancelled.

In: a profile, values, a fault, noise. Out: real bytes of that device. `Course` gives a value that was set, or one
around a believable one; `--noise` is the standard deviation as a part of the value.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import struct
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.sim.bus import CRC, EXCEPTION, FACTORY, LATE, LATE_S, SETTINGS, SILENT, STUCK, Bus, Slave, serve_bus
from gateway.sim.line import PtyLine
from gateway.sim.played import texts_of, values_of
from gateway.sim.uart import Setting
from gateway.sim.world import Incident, Sent, Signal, World
from gateway.site.plan import Kind
from gateway.site.profile import DeviceProfile, driver_points
from protocols.api import Point

ADVERT_S = 1.0  # from one advert of a Bluetooth device to the next, whether it says anything new or not


@dataclass(slots=True)
class Course:
    """The values of one device. `set` changes one while it plays."""

    profile: DeviceProfile
    given: Mapping[str, float] = field(default_factory=dict)
    noise: float = 0.0
    seed: int = 1
    _values: dict[str, float] = field(init=False)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._values = values_of(self.profile, self.given, self.seed)
        self._random = random.Random(self.seed)

    def set(self, point: str, value: float) -> None:
        self._values[point] = value

    def value(self, point: Point) -> float:
        base = self._values[point.name]
        if self.profile.point(point.name).kind is not Kind.GAUGE:
            return base
        return base + self._random.gauss(0.0, self.noise * abs(base)) if self.noise else base

    def world(self, fault: str) -> World:
        """The same for devices that are played from a world; a silent one is dead."""
        noise = 0.0 if fault == STUCK else self.noise
        signals = {f"device.{name}": Signal(value, noise * abs(value)) for name, value in self._values.items()}
        dead = [Incident("silent", 0.0, float("inf"), {}, ("device",))] if fault == SILENT else []
        return World(signals, dead, self.seed)


@dataclass(frozen=True, slots=True)
class Faulty:
    """What goes wrong, and how often (1: always)."""

    kind: str = ""
    rate: float = 1.0


class SpoilingLine(PtyLine):
    """A line on which frames are lost or spoilt on their way out."""

    def __init__(self, baud: int, faulty: Faulty, seed: int = 1) -> None:
        super().__init__(baud)
        self._faulty, self._random = faulty, random.Random(seed)

    def put(self, data: bytes) -> bool:
        if self._faulty.kind == CRC and data and self._random.random() < self._faulty.rate:
            at = self._random.randrange(len(data))
            data = data[:at] + bytes((data[at] ^ 1 << self._random.randrange(8),)) + data[at + 1 :]
        if self._faulty.kind == SILENT and self._random.random() < self._faulty.rate:
            return True
        return super().put(data)


def slaves(
    profile: DeviceProfile,
    courses: Sequence[tuple[int, Course]],
    setting: Setting = FACTORY,
    faulty: Faulty | None = None,
) -> list[Slave]:
    """One Modbus slave a (unit, course)."""
    made = []
    for unit, course in courses:
        points = driver_points(dict(enumerate(profile.points)), profile.as_device("device", unit))
        slave = Slave(unit, points, course.value, setting, texts=texts_of(profile.probes))
        slave.fault, slave.fault_rate = (faulty.kind, faulty.rate) if faulty else ("", 1.0)
        made.append(slave)
    return made


@asynccontextmanager
async def on_pty(
    profile: DeviceProfile,
    courses: Sequence[tuple[int, Course]],
    setting: Setting,
    faulty: Faulty,
    link: str = "",
    echo: bool = False,
) -> AsyncIterator[str]:
    """The path a gateway opens: the pty's own, or `link`, a symbolic link to it that goes with the device."""
    async with SpoilingLine(setting.baud, faulty if profile.driver.name != "modbus" else Faulty()) as line:
        with _linked(line.path, link, setting) as (path, settings):
            if profile.driver.name == "modbus":
                work = serve_bus(line, Bus(slaves(profile, courses, setting, faulty), echo=echo), settings)
            else:
                work = _frames(line, profile, courses, faulty)
            task = asyncio.create_task(work, name=f"simulated {profile.name}")
            try:
                yield path
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def _frames(line: PtyLine, profile: DeviceProfile, courses: Sequence[tuple[int, Course]], faulty: Faulty) -> None:
    from gateway.sim import serial

    unit, course = courses[0]
    points = driver_points(dict(enumerate(profile.points)), profile.as_device("device", unit))
    common = (course.world(faulty.kind if faulty.rate >= 1.0 else ""), Sent(), now)
    if profile.options.frame == "lines" and profile.options.rate_hz:
        await serial.stream_loops(line, points, 4.5, *common, serial.StuckLoop())
    elif profile.options.mode == "stream":
        await serial.stream_frames(line, points, *common)
    else:
        await serial.answer_frames(line, points, *common)


@contextlib.contextmanager
def _linked(pty: str, link: str, setting: Setting) -> Iterator[tuple[str, Path | None]]:
    if not link:
        yield pty, None
        return
    place, settings = Path(link), Path(link + SETTINGS)
    if place.is_symlink():
        place.unlink()
    place.symlink_to(pty)
    settings.write_text(f"{setting.baud} {setting.parity} {setting.stop_bits}\n", encoding="ascii")
    try:
        yield str(place), settings
    finally:
        for one in (place, settings):
            one.unlink(missing_ok=True)


@asynccontextmanager
async def on_tcp(
    profile: DeviceProfile, courses: Sequence[tuple[int, Course]], port: int, faulty: Faulty, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """The port it listens at (`port` 0: any). Raises OSError where it cannot."""
    units = {slave.unit: slave for slave in slaves(profile, courses, FACTORY, faulty)}
    chance = random.Random(1)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                pdu = await reader.readexactly(length - 1)
                slave = units.get(unit)
                failing = bool(faulty.kind) and chance.random() < faulty.rate
                if slave is None or (failing and faulty.kind == SILENT):
                    continue
                reply = bytes((pdu[0] | 0x80, 4)) if failing and faulty.kind == EXCEPTION else slave.answer(pdu)
                if failing and faulty.kind == LATE:
                    await asyncio.sleep(LATE_S)
                writer.write(struct.pack(">HHHB", transaction, 0, len(reply) + 1, unit) + reply)
        writer.close()

    server = await asyncio.start_server(handle, host, port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


@asynccontextmanager
async def on_coap(profile: DeviceProfile, course: Course, port: int, faulty: Faulty) -> AsyncIterator[str]:
    """The url of the node."""
    from gateway.sim import coap

    url = f"coap://127.0.0.1:{port}"
    points = driver_points(dict(enumerate(profile.points)), profile.as_device("device"))
    node = coap.Server(url, points, course.world(faulty.kind), Sent(), now)
    await node.start()
    try:
        yield url
    finally:
        await node.close()


@asynccontextmanager
async def on_ble(
    profile: DeviceProfile, course: Course, address: str, secret: bytes, faulty: Faulty, folder: Path
) -> AsyncIterator[str]:
    """What DBUS_SYSTEM_BUS_ADDRESS must be for whoever shall hear it. Raises OSError where no D-Bus daemon is."""
    from gateway.sim import ble, bluez, private_bus

    if not private_bus.is_possible():
        raise OSError(errno.ENOENT, "no dbus-daemon is installed here: apt install dbus-daemon")
    device = replace(profile.as_device("device"), address=address, secret=secret)
    points = driver_points(dict(enumerate(profile.points)), device)
    world = course.world(faulty.kind)
    async with private_bus.private_bus(folder) as bus, bluez.Bluez(bus) as daemon:
        beacon = ble.Beacon(daemon, points, world, Sent(), now)
        speaking = asyncio.create_task(beacon.play(ADVERT_S), name="beacon")
        try:
            yield bus
        finally:
            speaking.cancel()


_BEGUN = time.monotonic()


def now() -> tuple[int, float]:
    """(CLOCK_BOOTTIME ns, seconds of the play)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic() - _BEGUN
