"""`diagnostics/NAME`: looks from a fixed list, each bounded in time and size. There is no shell and no way to name a
file, an address or a command: what is asked for chooses among the gateway's own links and upstreams.

    bus       each link's counters, use and devices      ?link=NAME
    capture   the last bytes of one link                 ?link=NAME ?n= pieces
    clock     what the clock is worth
    memory    memory, disk, load of the machine
    upstreams how records go, and how this line stands
    ping      round trips to the centers that may ask    ?upstream=NAME
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.agent import machine
from gateway.agent.control import Control
from gateway.agent.health import asked, field_half
from gateway.agent.line import Line
from gateway.agent.resource import About, Refused, Reply, Request
from gateway.site.site import Site
from gateway.wire import coap

PIECES = 200
PING_S = 5.0
PINGS = 3

Look = Callable[[Request], Awaitable[Mapping[str, Any]]]
Ways = Callable[[], Mapping[str, Mapping[str, Any]]]


class Diagnostics:
    about = About(
        "diagnostics", "bus, capture, clock, memory, upstreams, ping: diagnostics/NAME", kind="citygate.diagnostics"
    )

    def __init__(self, site: Site, control: Control, lines: Sequence[Line], ways: Ways) -> None:
        self._site, self._control, self._lines, self._ways = site, control, lines, ways
        self._looks: dict[str, Look] = {
            "bus": self._bus,
            "capture": self._capture,
            "clock": self._clock,
            "memory": self._memory,
            "upstreams": self._upstreams,
            "ping": self._ping,
        }

    async def answer(self, request: Request) -> Reply:
        if not request.path:
            return Reply.of({"diagnostics": sorted(self._looks)})
        look = self._looks.get(request.path[0]) if len(request.path) == 1 else None
        if look is None:
            name, known = "/".join(request.path)[:60], ", ".join(sorted(self._looks))
            raise Refused(
                coap.NOT_FOUND,
                "CG-6101",
                f"there are no diagnostics {name!r}: {known}",
                f"{name!r} 진단이 없습니다: {known}",
            )
        return Reply.of(await look(request))

    async def _bus(self, request: Request) -> Mapping[str, Any]:
        with field_half():
            links: dict[str, Any] = (await self._control.request({"get": "health"})).get("links") or {}
        if not request.query.get("link"):
            return {"links": links}
        name = self._link(request)
        return {"links": {name: links.get(name)}}

    async def _capture(self, request: Request) -> Mapping[str, Any]:
        most = asked(request.query, "n", PIECES, PIECES)
        with field_half():
            answer = await self._control.request({"tape": self._link(request)})
        if "error" in answer:
            words = str(answer["error"])
            raise Refused(
                coap.UNAVAILABLE, str(answer.get("code", "CG-6114")), words, str(answer.get("error_ko", words))
            )
        pieces = answer.get("pieces") or []
        kept = pieces[-most:] if most else []
        told = [{"time_ns": time_ns, "sent": sent, "bytes": bytes.fromhex(data)} for _, time_ns, sent, data in kept]
        return {"line": answer.get("line"), "left_out": len(pieces) - len(kept), "pieces": told}

    async def _clock(self, request: Request) -> Mapping[str, Any]:
        with field_half():
            clock = (await self._control.request({"get": "health"})).get("clock")
        return {
            "field": clock,
            "utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "uptime_s": machine.uptime_s(),
            "timezone": self._site.gateway.timezone,
        }

    async def _memory(self, request: Request) -> Mapping[str, Any]:
        disk = await asyncio.to_thread(machine.disk, self._site.state_dir)
        return {
            "memory": machine.memory(),
            "disk": disk,
            "load": machine.load(),
            "temperature_c": machine.temperature_c(),
        }

    async def _upstreams(self, request: Request) -> Mapping[str, Any]:
        now_s = time.monotonic()
        lines = {
            line.name: {"up": line.up.is_set(), "for_s": round(now_s - line.since_s, 1) if line.up.is_set() else None}
            for line in self._lines
        }
        return {"ways": dict(self._ways()), "agent": lines}

    async def _ping(self, request: Request) -> Mapping[str, Any]:
        named = request.query.get("upstream", "")
        found = [line for line in self._lines if named in ("", line.name)]
        if not found:
            raise self._unknown("upstream", named, [line.name for line in self._lines])
        return {"round_trip_ms": {line.name: await _round_trips(line) for line in found}}

    def _link(self, request: Request) -> str:
        """The link that the query names; the only one where it names none. Raises Refused."""
        names = [one.name for one in self._site.links]
        named = request.query.get("link") or (names[0] if len(names) == 1 else "")
        if named not in names:
            raise self._unknown("link", named, names)
        return named

    def _unknown(self, what: str, named: str, names: Sequence[str]) -> Refused:
        known = ", ".join(names) or "-"
        return Refused(
            coap.BAD_REQUEST,
            "CG-6102",
            f"?{what}={named[:40]}: name one of {known}",
            f"?{what}={named[:40]}: 다음 중에서 지정하십시오: {known}",
        )


async def _round_trips(line: Line) -> list[float | None]:
    """Milliseconds of a few Pings, None for one without a Pong."""
    found: list[float | None] = []
    for _ in range(PINGS):
        began_s = time.perf_counter()
        try:
            await line.ping(PING_S)
            found.append(round(1e3 * (time.perf_counter() - began_s), 2))
        except (OSError, TimeoutError):
            found.append(None)
    return found
