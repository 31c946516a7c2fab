"""Devices that must be connected to: characteristics read every period, or notified.

In: the device as the scan found it. Out: rows in its box; a failed read is NaN with a quality. One connection at a
time through one adapter: BlueZ answers InProgress to a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from bleak import BleakClient
from bleak.exc import BleakCharacteristicNotFoundError, BleakError, BleakGATTProtocolError

from protocols.api import Point, Quality
from protocols.ble.bthome import Refused
from protocols.ble.codec import Row, number, require
from protocols.ble.inbox import Box, Inbox
from protocols.ble.points import full_uuid

log = logging.getLogger("citygate.ble")

CONNECT_S = 20.0
READ_S = 5.0
DISCONNECT_S = 3.0
PAUSE_S = (1.0, 60.0)  # between attempts at a device that does not let itself be connected to: doubled each time
COUNTERS = ("connections", "connect_failures", "gatt_reads", "gatt_refused", "notifications", "disconnections")
_FAILURES = (BleakError, OSError, EOFError, asyncio.TimeoutError, AssertionError)  # bleak asserts that its bus is there
_REFUSALS = (BleakCharacteristicNotFoundError, BleakGATTProtocolError)  # of one characteristic; the others may do
Visit = Callable[[BleakClient, asyncio.Event], Awaitable[None]]
"""What is done with a device that is connected to, until it is gone."""


class Connection:
    """Keeps one device's values coming, until cancelled."""

    def __init__(self, inbox: Inbox, box: Box, adapter: str, turn: asyncio.Lock, counters: dict[str, int]) -> None:
        self._inbox, self._box, self._adapter, self._turn, self._counters = inbox, box, adapter, turn, counters
        self._found: Any = None
        self._seen = asyncio.Event()
        self._told: set[type[Exception]] = set()
        self._points: dict[str, list[Point]] = {}
        for point in box.op.points:
            self._points.setdefault(full_uuid(point.spec.characteristic), []).append(point)

    def found(self, device: Any) -> None:
        """The scan has heard it."""
        self._found = device
        self._seen.set()

    async def run(self) -> None:
        period_s = self._box.op.period_s
        visit = self._read if self._box.op.device.options.mode == "read" else self._listen
        pause_s = PAUSE_S[0]
        while True:
            begun = time.monotonic()
            if await self._visit(visit):
                pause_s = PAUSE_S[0]
                await asyncio.sleep(max(0.0, period_s - (time.monotonic() - begun)))
            else:
                self._fail(Quality.NO_REPLY)
                await asyncio.sleep(min(max(pause_s, period_s), PAUSE_S[1]))
                pause_s = min(2 * pause_s, PAUSE_S[1])

    async def _visit(self, visit: Visit) -> bool:
        """Connected to, read or listened to, and left again; whether that went well."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._seen.wait()
        except TimeoutError:
            return False
        gone = asyncio.Event()
        client = BleakClient(
            self._found, disconnected_callback=lambda _: gone.set(), timeout=CONNECT_S, bluez={"adapter": self._adapter}
        )
        try:
            async with self._turn:
                await client.connect()
            self._counters["connections"] += 1
            await visit(client, gone)
            return True
        except Exception as why:  # of whatever kind: one device's troubles are no other's
            self._counters["connect_failures"] += 1
            self._seen.clear()  # BlueZ may have forgotten it: wait until it is heard again
            self._tell(why)
            return False
        finally:
            with suppress(Exception):
                async with asyncio.timeout(DISCONNECT_S):
                    await client.disconnect()

    def _tell(self, why: Exception) -> None:
        """What neither bleak nor BlueZ is known to raise is logged, once a kind."""
        if not isinstance(why, _FAILURES) and type(why) not in self._told:
            self._told.add(type(why))
            log.error("%s: %s", self._box.op.device.name, type(why).__name__, exc_info=why)

    async def _read(self, client: BleakClient, gone: asyncio.Event) -> None:
        for uuid, points in self._points.items():
            try:
                async with asyncio.timeout(READ_S):
                    data = bytes(await client.read_gatt_char(uuid))
            except _REFUSALS:
                self._refuse(points)
                continue
            self._counters["gatt_reads"] += 1
            self._put(points, data)

    async def _listen(self, client: BleakClient, gone: asyncio.Event) -> None:
        def notified(points: list[Point]) -> Callable[[Any, bytearray], None]:
            def take(_: Any, data: bytearray) -> None:
                self._counters["notifications"] += 1
                if self._box.allows(_now_ns()):
                    self._put(points, bytes(data))
                else:
                    self._inbox.counters["throttled"] += 1

            return take

        heard = 0
        for uuid, points in self._points.items():
            try:
                await client.start_notify(uuid, notified(points))
                heard += 1
            except _REFUSALS:
                self._refuse(points)
        if not heard:
            raise BleakError("nothing to listen to")
        await gone.wait()
        self._counters["disconnections"] += 1

    def _put(self, points: list[Point], data: bytes) -> None:
        """The values of one characteristic; BAD_REPLY where the bytes cannot be them."""
        try:
            require(self._box.op.device.options, data)
            raws = [(point, number(point.spec, data)) for point in points]
        except Refused as why:
            self._box.decoder.counters[why.counter] += 1
            self._inbox.put(self._box, _failed(points, Quality.BAD_REPLY), _now_ns())
            return
        self._box.decoder.counters["decoded"] += 1
        rows = [
            (point.channel, raw * point.scale + point.offset, int(Quality.GOOD if raw == raw else Quality.SENTINEL))
            for point, raw in raws
        ]
        self._inbox.put(self._box, rows, _now_ns())

    def _refuse(self, points: list[Point]) -> None:
        """The device has no such characteristic, or does not give it to us."""
        self._counters["gatt_refused"] += 1
        self._inbox.put(self._box, _failed(points, Quality.REFUSED), _now_ns())

    def _fail(self, quality: Quality) -> None:
        self._inbox.put(self._box, _failed(self._box.op.points, quality), _now_ns())


def _failed(points: Any, quality: Quality) -> list[Row]:
    return [(point.channel, float("nan"), int(quality)) for point in points]


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
