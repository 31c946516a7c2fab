"""Simulated CoAP nodes behind aiocoap's server: a resource a path, observable, told anew every period.

Their SenML, JSON and LwM2M is written here and by json and cbor2, not by the driver's own codec. A dead node says
nothing; who asked is answered when it lives again.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiocoap
import cbor2
from aiocoap import resource

from gateway.sim.modbus import Now
from gateway.sim.world import Sent, World
from protocols.api import Point

FORMATS = {
    "text": 0, "json": 50, "cbor": 60, "senml+json": 110, "senml+cbor": 112, "lwm2m+tlv": 11542, "lwm2m+json": 11543,
}  # fmt: skip
LOOK_S = 0.2
DEREGISTER = 1  # Observe in a request (RFC 7641, section 3.6)


class Resource(resource.ObservableResource):  # type: ignore[misc]
    """The points of one path."""

    def __init__(self, points: Sequence[Point], world: World, sent: Sent, now: Now) -> None:
        super().__init__()
        self._points, self._world, self._sent, self._now = points, world, sent, now
        self._told: dict[str, float] = {}
        self._observer: Any = None  # who registered last

    async def add_observation(self, request: Any, serverobservation: Any) -> None:
        self._observer = (request.remote, request.token)
        await super().add_observation(request, serverobservation)

    def _counts(self, request: Any) -> bool:
        """One notification a state: what also goes to an observer that has died is not sent twice. Nobody reads the
        answer to a farewell."""
        if request.opt.observe is None:
            return True
        newest = (request.remote, request.token) == self._observer
        return bool(newest and request.opt.observe != DEREGISTER)

    @property
    def period_s(self) -> float:
        return min(point.period_s for point in self._points)

    def alive(self) -> bool:
        return self._world.alive(self._points[0].device.name, self._now()[1])

    async def render_get(self, request: Any) -> Any:
        while not self.alive():  # noqa: ASYNC110 the play's clock rings no bell
            await asyncio.sleep(LOOK_S)
        time_ns, at_s = self._now()
        raws = {}
        for point in self._points:
            channel = f"{point.device.name}.{point.name}"
            value = self._told.get(point.name, self._world.value(channel, at_s))
            raws[point] = round((value - point.offset) / point.scale, 6)
            if self._counts(request):
                self._sent.add(channel, time_ns, raws[point] * point.scale + point.offset)
        form, body = represent(raws)
        self._sent.wire_bytes += len(body)
        message = aiocoap.Message(payload=body, content_format=form)
        message.opt.max_age = max(1, round(4 * self.period_s))
        return message

    async def render_put(self, request: Any) -> Any:
        """A number as text is kept from then on."""
        point = self._points[0]
        try:
            self._told[point.name] = float(request.payload) * point.scale + point.offset
        except ValueError:
            return aiocoap.Message(code=aiocoap.BAD_REQUEST)
        self.updated_state()
        return aiocoap.Message(code=aiocoap.CHANGED)


def represent(raws: dict[Point, float]) -> tuple[int, bytes]:
    """Content-format and payload that carry these raw values."""
    first = next(iter(raws))
    form = first.spec.format or ("senml+cbor" if first.spec.record else "json" if first.spec.at else "text")
    match form:
        case "senml+cbor":
            return FORMATS[form], cbor2.dumps([{0: point.spec.record, 2: raw} for point, raw in raws.items()])
        case "senml+json":
            pack = [{"n": point.spec.record, "v": raw} for point, raw in raws.items()]
            return FORMATS[form], json.dumps(pack).encode()
        case "lwm2m+tlv":
            return FORMATS[form], b"".join(_tlv(point, raw) for point, raw in raws.items())
        case "lwm2m+json":
            entries = [{"n": _resource(point), "v": raw} for point, raw in raws.items()]
            return FORMATS[form], json.dumps({"e": entries}).encode()
        case "json" | "cbor":
            content: Any = {}
            for point, raw in raws.items():
                content = _put(content, point.spec.at, raw)
            return FORMATS[form], json.dumps(content).encode() if form == "json" else cbor2.dumps(content)
    return FORMATS["text"], f"{raws[first]:.6f}".encode()


def _resource(point: Point) -> str:
    return str(point.spec.at or point.spec.path).rpartition("/")[2]


def _tlv(point: Point, raw: float) -> bytes:
    value = {
        "float": lambda: struct.pack(">d", raw),
        "boolean": lambda: bytes((int(raw != 0),)),
    }.get(point.spec.type, lambda: struct.pack(">q", round(raw)))()
    return struct.pack(">BHB", 0xE8, int(_resource(point)), len(value)) + value


def _put(content: Any, path: str, raw: float) -> Any:
    """`content` with `raw` at `path`; maps only, a number is a key."""
    if not path:
        return raw
    first, _, rest = path.partition(".")
    return {**content, first: _put(content.get(first, {}), rest, raw)}


class Server:
    """The node of one link."""

    def __init__(self, url: str, points: Sequence[Point], world: World, sent: Sent, now: Now) -> None:
        where = urlsplit(url)
        self._bind = (where.hostname, where.port or aiocoap.COAP_PORT)
        by_path: dict[str, list[Point]] = {}
        for point in points:
            by_path.setdefault(point.spec.path.partition("?")[0], []).append(point)
        self._resources = [Resource(mine, world, sent, now) for mine in by_path.values()]
        self._site = resource.Site()
        self._site.add_resource((".well-known", "core"), resource.WKCResource(self._site.get_resources_as_linkheader))
        for path, one in zip(by_path, self._resources, strict=True):
            self._site.add_resource(path.strip("/").split("/"), one)
        self._context: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._context = await aiocoap.Context.create_server_context(self._site, bind=self._bind, transports=["udp6"])
        self._tasks = [asyncio.create_task(self._tell(one)) for one in self._resources]

    async def _tell(self, one: Resource) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += one.period_s
            await asyncio.sleep(due - loop.time())
            if one.alive():
                one.updated_state()

    def hush(self) -> None:
        """It tells nothing more by itself; who asks is answered."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        self.hush()
        if self._context is not None:
            await self._context.shutdown()
