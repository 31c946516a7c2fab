"""One adapter through bleak: scanning that is started, watched, restarted, and given up with `LinkDown`.

In: an inbox. Out: adverts in it. Passive where BlueZ can (AdvertisementMonitor, BlueZ 5.56 with --experimental),
else active; the other way, too, where nobody is heard: BlueZ takes monitors that its kernel then refuses. A second
connection to the system bus hears what bleak does not tell: bluetoothd gone, adapter removed, switched off, discovery
ended by somebody else. Silence of the whole air, others included, is a deaf radio; silence of one device is the
device's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from bleak import BleakScanner
from bleak.args.bluez import OrPattern
from bleak.assigned_numbers import AdvertisementDataType
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError
from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

from protocols.api import LinkDown
from protocols.ble.gatt import COUNTERS as GATT_COUNTERS
from protocols.ble.gatt import Connection
from protocols.ble.inbox import Inbox
from protocols.ble.trouble import link_down, told

log = logging.getLogger("citygate.ble")

DEAF_S = 60.0  # a street is never silent for so long; or five periods of the slowest declared device
STOP_S = 5.0
BUSY_TRIES = 4
BUSY_PAUSE_S = 0.5  # doubled each time: another client's scan or connection is being set up
FRUITLESS = 2  # restarts that heard nothing, then the link is down
COUNTERS = ("scans_passive", "scans_active", "scan_restarts", "in_progress", "deaf")
_RULES = (
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.bluez'",
    "type='signal',sender='org.bluez',member='InterfacesRemoved'",
    "type='signal',sender='org.bluez',member='PropertiesChanged',path='{path}'",
)
# Flags as peripherals send them (LE only or dual mode, limited or general discoverable), so that others are heard,
# too; and what declared formats begin with, where no flags are sent
_FLAGS = (0x02, 0x04, 0x05, 0x06, 0x1A)
_FAILURES = (BleakError, DBusError, OSError, EOFError, asyncio.TimeoutError)


class Radio:
    """Use `async with`; `failed()` is the reason once the link is down."""

    def __init__(self, adapter: str, inbox: Inbox, deaf_s: float | None = None) -> None:
        self._adapter, self._inbox = adapter, inbox
        slowest_s = max((box.op.period_s for box in inbox.boxes.values()), default=0.0)
        self._deaf_s = max(DEAF_S, 5 * slowest_s) if deaf_s is None else deaf_s
        self.counters = dict.fromkeys((*COUNTERS, *GATT_COUNTERS), 0)
        turn = asyncio.Lock()
        self._connections = {
            address: Connection(inbox, box, adapter, turn, self.counters)
            for address, box in inbox.boxes.items()
            if box.op.device.options.format == "gatt"
        }
        self._bus: MessageBus | None = None
        self._scanner: BleakScanner | None = None
        self._is_passive = True
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()  # discovery ended, and not by us
        self._down: LinkDown | None = None

    def failed(self) -> LinkDown | None:
        return self._down

    async def __aenter__(self) -> Radio:
        try:
            await self._watch_bus()
            await self._start()
        except _FAILURES as why:
            await self._close()
            raise told(self._adapter, why) from why
        except BaseException:
            await self._close()
            raise
        self._tasks = [asyncio.create_task(self._watch(), name=f"watch {self._adapter}")]
        self._tasks += [asyncio.create_task(one.run(), name=f"read {at}") for at, one in self._connections.items()]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._close()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stop()
        if self._bus is not None:
            self._bus.disconnect()
            with suppress(*_FAILURES):
                async with asyncio.timeout(STOP_S):
                    await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
            self._bus = None

    # ---- scanning

    async def _start(self) -> None:
        """Raises what bleak raises; `InProgress` is waited for."""
        for attempt in range(BUSY_TRIES):
            try:
                await self._scan()
                return
            except BleakError as why:
                if "InProgress" not in str(why) or attempt == BUSY_TRIES - 1:
                    raise
                self.counters["in_progress"] += 1
            await asyncio.sleep(BUSY_PAUSE_S * 2**attempt)

    async def _scan(self) -> None:
        scanner = self._new_scanner(self._is_passive)
        try:
            await scanner.start()
        except BleakError as why:
            if not self._is_passive or ("passive scanning" not in str(why) and "UnknownMethod" not in str(why)):
                raise
            self._is_passive = False
            scanner = self._new_scanner(passive=False)
            await scanner.start()
        self.counters["scans_passive" if self._is_passive else "scans_active"] += 1
        self._scanner = scanner
        self._inbox.last_ns = _now_ns()

    def _new_scanner(self, passive: bool) -> BleakScanner:
        bluez: Any = {"adapter": self._adapter}
        if passive:
            bluez["or_patterns"] = self._patterns()
        return BleakScanner(self._heard, scanning_mode="passive" if passive else "active", bluez=bluez)

    def _patterns(self) -> list[OrPattern]:
        found = {(AdvertisementDataType.FLAGS, bytes((flags,))) for flags in _FLAGS}
        for box in self._inbox.boxes.values():
            if box.company is not None:
                kind = AdvertisementDataType.MANUFACTURER_SPECIFIC_DATA
                found.add((kind, box.company.to_bytes(2, "little")))
            elif box.service.endswith("-0000-1000-8000-00805f9b34fb"):
                found.add((AdvertisementDataType.SERVICE_DATA_UUID16, bytes.fromhex(box.service[4:8])[::-1]))
        return [OrPattern(0, kind, content) for kind, content in sorted(found)]

    async def _stop(self) -> None:
        scanner, self._scanner = self._scanner, None
        if scanner is not None:
            with suppress(*_FAILURES, AssertionError):  # a dead bus leaves nothing to stop
                async with asyncio.timeout(STOP_S):
                    await scanner.stop()

    def _heard(self, device: BLEDevice, advert: AdvertisementData) -> None:
        time_ns = _now_ns()
        if self._inbox.advert(device.address, advert.manufacturer_data, advert.service_data, time_ns):
            connection = self._connections.get(device.address.upper())
            if connection is not None:
                connection.found(device)

    # ---- watching

    async def _watch(self) -> None:
        """Restarts a scan that was ended or hears nobody; ends the link where that does not help."""
        fruitless = 0
        while self._down is None:
            heard_ns = self._inbox.last_ns
            with suppress(TimeoutError):
                async with asyncio.timeout(self._deaf_s):
                    await self._stopped.wait()
            ended = self._stopped.is_set()
            silent = _now_ns() - self._inbox.last_ns >= self._deaf_s * 1e9
            if self._inbox.last_ns != heard_ns:
                fruitless = 0
            if not ended and not silent:
                continue
            self._stopped.clear()
            self.counters["deaf"] += silent
            if silent and fruitless >= FRUITLESS:
                self._end(link_down("CG-3053", f"{self._adapter}: hears no device at all"))
                return
            if silent:
                fruitless += 1
                self._is_passive = not self._is_passive
            await self._restart()

    async def _restart(self) -> None:
        self.counters["scan_restarts"] += 1
        await self._stop()
        self._stopped.clear()
        try:
            await self._start()
        except _FAILURES as why:
            self._end(told(self._adapter, why))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that met what nobody expects of bleak must not fall silent: the link ends, and is opened anew."""
        if not task.cancelled() and (why := task.exception()) is not None:
            log.error("%s: %s ended", self._adapter, task.get_name(), exc_info=why)
            self._end(link_down("CG-3050", f"{self._adapter}: {type(why).__name__}: {why}"))

    def _end(self, why: LinkDown) -> None:
        self._down = self._down or why
        self._inbox.here.set()

    async def _watch_bus(self) -> None:
        bus = MessageBus(bus_type=BusType.SYSTEM)
        self._bus = bus
        await bus.connect()
        bus.add_message_handler(self._signal)
        for rule in _RULES:
            await bus.call(
                Message(
                    destination="org.freedesktop.DBus",
                    path="/org/freedesktop/DBus",
                    interface="org.freedesktop.DBus",
                    member="AddMatch",
                    signature="s",
                    body=[rule.format(path=self._path)],
                )
            )

    @property
    def _path(self) -> str:
        return f"/org/bluez/{self._adapter}"

    def _signal(self, message: Message) -> None:
        if message.message_type != MessageType.SIGNAL:
            return
        match message.member, message.body:
            case "NameOwnerChanged", ["org.bluez", str() as old, _] if old:
                self._end(link_down("CG-3050", f"{self._adapter}: bluetoothd has ended or was restarted"))
            case "InterfacesRemoved", [path, interfaces] if path == self._path and "org.bluez.Adapter1" in interfaces:
                self._end(link_down("CG-3051", f"{self._adapter}: the adapter is gone"))
            case "PropertiesChanged", ["org.bluez.Adapter1", changed, _] if message.path == self._path:
                self._changed(changed)

    def _changed(self, changed: dict[str, Any]) -> None:
        if "Powered" in changed and not changed["Powered"].value:
            self._end(link_down("CG-3051", f"{self._adapter}: the adapter was switched off"))
        is_active = self._scanner is not None and not self._is_passive
        if is_active and "Discovering" in changed and not changed["Discovering"].value:
            self._stopped.set()


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
