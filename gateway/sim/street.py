"""All devices of a compiled plan, simulated: one task a serial line, one server a TCP address or CoAP node."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path as FilePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.sim import modbus, serial
from gateway.sim.line import PtyLine
from gateway.sim.serial import StuckLoop
from gateway.sim.world import Sent, World
from gateway.site.plan import LinkPlan, Plan
from protocols.api import Point

if TYPE_CHECKING:
    from gateway.sim.coap import Server


class Street:
    """Plays `plan` until closed. `lines` are the pseudo terminals of its serial links, by link name; `bus` is a folder
    for the D-Bus daemon of its Bluetooth devices, which are left out without one. `bus_address`, once started: what
    DBUS_SYSTEM_BUS_ADDRESS must be for whoever shall hear them."""

    def __init__(
        self,
        plan: Plan,
        lines: Mapping[str, PtyLine],
        world: World,
        sent: Sent,
        now: modbus.Now,
        bus: FilePath | None = None,
    ) -> None:
        self._bus, self.bus_address = bus, ""
        self._beacons: list[asyncio.Task[None]] = []
        self._plan, self._lines, self._world, self._sent, self._now = plan, lines, world, sent, now
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[asyncio.Server] = []
        self._nodes: list[Server] = []
        self._open = AsyncExitStack()
        self._stand_ins: dict[str, tuple[World, Sent]] = {}
        self.stuck = StuckLoop()

    def replace(self, link: str, world: World, sent: Sent) -> None:
        """Give the devices of `link` a world and a ledger of their own (a replayed recording)."""
        self._stand_ins[link] = (world, sent)

    async def start(self) -> None:
        for link in self._plan.links:
            if link.link.url.startswith("tcp://"):
                port = urlsplit(link.link.url).port
                assert port is not None
                world, sent = self._stand_ins.get(link.link.name, (self._world, self._sent))
                units = modbus.Units(link, world, sent, self._now)
                self._servers.append(await modbus.serve_tcp(port, units))
            elif link.driver == "coap":
                await self._start_node(link)
            elif link.driver == "ble":
                await self._start_beacons(link)
            else:
                await self._open.enter_async_context(self._lines[link.link.name])
                task = asyncio.create_task(self._serial(link), name=f"simulated {link.link.name}")
                self._tasks.append(task)

    async def _start_node(self, link: LinkPlan) -> None:
        from gateway.sim import coap  # only a street with CoAP nodes pays for aiocoap

        node = coap.Server(link.link.url, link.points, self._world, self._sent, self._now)
        await node.start()
        self._nodes.append(node)

    async def _start_beacons(self, link: LinkPlan) -> None:
        if self._bus is None:
            return
        from gateway.sim import ble, bluez, private_bus  # only a street with Bluetooth devices pays for D-Bus

        if not self.bus_address:
            self.bus_address = await self._open.enter_async_context(private_bus.private_bus(self._bus))
        daemon = bluez.Bluez(self.bus_address, link.link.url.removeprefix("ble:"))
        await self._open.enter_async_context(daemon)
        of_device: dict[str, list[Point]] = {}
        for point in link.points:
            of_device.setdefault(point.device.name, []).append(point)
        for name, points in of_device.items():
            beacon = ble.Beacon(daemon, points, self._world, self._sent, self._now)
            self._beacons.append(asyncio.create_task(beacon.play(), name=f"simulated {name}"))

    async def _serial(self, link: LinkPlan) -> None:
        line = self._lines[link.link.name]
        if link.driver == "modbus":
            units = modbus.Units(link, self._world, self._sent, self._now)
            await modbus.serve_rtu(line, units)
        else:
            await self._device(line, link.points)

    async def _device(self, line: PtyLine, points: tuple[Point, ...]) -> None:
        options = points[0].device.options
        common = (self._world, self._sent, self._now)
        if options.frame == "lines" and options.rate_hz:
            spacing_m = self._plan.device(points[0].device.name).options.get("spacing_m", 4.5)
            await serial.stream_loops(line, points, spacing_m, *common, self.stuck)
        elif options.mode == "stream":
            await serial.stream_frames(line, points, *common)
        else:
            await serial.answer_frames(line, points, *common)

    def hush(self) -> None:
        """Devices that speak by themselves stop; those that answer go on answering."""
        for task, link in zip(self._tasks, self._serial_links(), strict=True):
            if link.driver != "modbus":
                task.cancel()
        for node in self._nodes:
            node.hush()
        for beacon in self._beacons:
            beacon.cancel()

    def _serial_links(self) -> list[LinkPlan]:
        others = ("tcp://", "coap://", "ble:")
        return [link for link in self._plan.links if not link.link.url.startswith(others)]

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for node in self._nodes:
            await node.close()
        for task in (*self._tasks, *self._beacons):
            task.cancel()
        failed = await asyncio.gather(*self._tasks, *self._beacons, return_exceptions=True)
        await self._open.aclose()
        for outcome in failed:
            if isinstance(outcome, Exception):
                raise outcome
