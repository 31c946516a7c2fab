"""What the technician's bench asks of a running field half: errands on its links, between two polls. Read-only.

    {"read": "meter1"}                                  every point of a device, with the bytes that passed
    {"exchange": "bus1", "unit": 3, "pdu": "0300000001", "timeout_s": 0.2}     one Modbus read
    {"lines": true}                                     which links there are and what stands on them

Answers are JSON; what cannot be done is `{"error": words, "code": CG-nnnn}`. Nothing here writes to a device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.field.asking import WORST_TIMEOUT_S, asked, read_only, tapping
from gateway.field.control import Errand
from gateway.field.reading import Sight, facts_of, read_device, sight_of
from gateway.field.scheduler import LinkRunner
from gateway.site.plan import Plan, SiteDevice
from protocols.api import LinkDown, Point, Quality, Reader


class Latest(Protocol):
    """The engine's memory, columns by channel."""

    last_value: NDArray[np.float64]
    last_quality: NDArray[np.uint8]
    last_ns: NDArray[np.int64]


LISTEN_S = 3.0  # how long the bytes of a device that speaks by itself are watched


def errands(plan: Plan, links: Mapping[str, LinkRunner], latest: Latest) -> dict[str, Errand]:
    """The bench's words, for the control socket."""

    async def overheard(device: SiteDevice, points: Sequence[Point]) -> Sight:
        """What a device that speaks by itself says: its readings are the engine's, only the bytes are looked at."""
        runner = links[device.link]
        if not runner.up or runner.reader is None:
            raise runner.fault or LinkDown("the link is not open")
        before = latest.last_ns[list(device.channels)].max()
        with tapping(runner.reader) as heard:
            for _ in range(round(LISTEN_S / 0.1)):
                await asyncio.sleep(0.1)
                if latest.last_ns[list(device.channels)].max() > before:
                    break
        values = {
            point.channel: (float(latest.last_value[point.channel]), Quality(int(latest.last_quality[point.channel])))
            for point in points
            if latest.last_ns[point.channel]
        }
        return sight_of(heard, values)

    async def read(request: Mapping[str, Any]) -> Any:
        name = str(request["read"])
        device = next((one for one in plan.devices if one.name == name), None)
        if device is None:
            known = sorted(one.name for one in plan.devices)
            return {"error": f"no device is called {name}", "code": "CG-5110", "known": known}
        link = next(one for one in plan.links if one.link.name == device.link)
        points = [point for point in link.points if point.device.name == name]
        ops = [op for op in link.ops if op.device.name == name]

        async def work(reader: Reader[Any]) -> Sight:
            return await read_device(reader, ops, points, link.timeout_s)

        try:
            sight = await (overheard(device, points) if device.listens else links[device.link].errand(work))
        except LinkDown as down:
            return {"error": str(down), "code": down.code, "hint": down.hint}
        channels = {plan.channels[index].point: plan.channels[index] for index in device.channels}
        return {
            "device": name,
            "profile": device.profile,
            "link": device.link,
            "url": link.link.url,
            "unit": device.protocol.unit,
            **facts_of(sight, points, channels, link.driver),
        }

    async def exchange(request: Mapping[str, Any]) -> Any:
        name = str(request["exchange"])
        if name not in links:
            return {"error": f"no link is called {name}", "code": "CG-5110", "known": sorted(links)}
        try:
            unit, pdu = int(request["unit"]), bytes.fromhex(str(request["pdu"]))
            timeout_s = min(WORST_TIMEOUT_S, float(request.get("timeout_s", 1.0)))
            read_only(pdu)
        except (KeyError, TypeError, ValueError) as bad:
            return {"error": f"no exchange: {bad}", "code": "CG-5111"}
        try:
            return await links[name].errand(lambda reader: asked(reader, unit, pdu, timeout_s))
        except LinkDown as down:
            return {"error": str(down), "code": down.code, "hint": down.hint}
        except ValueError as bad:
            return {"error": str(bad), "code": "CG-5111"}

    async def lines(request: Mapping[str, Any]) -> Any:
        return {
            "lines": {
                link.link.name: {
                    "url": link.link.url,
                    "driver": link.driver,
                    "baud": link.link.baud,
                    "parity": link.link.parity,
                    "stop_bits": link.link.stop_bits,
                    "up": links[link.link.name].up,
                    "units": {d.protocol.unit: d.name for d in plan.devices if d.link == link.link.name},
                }
                for link in plan.links
            }
        }

    return {"read": read, "exchange": exchange, "lines": lines}
