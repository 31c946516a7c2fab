"""`health`: how this gateway is, in one answer, small enough for a poor line.

In: the field half's own account, the ways of this half, the machine. Out: a CBOR map. A field half that does not answer
is part of the answer, not an error.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gateway import VERSION
from gateway.agent import machine
from gateway.agent.control import Control, NotThere
from gateway.agent.resource import About, Refused, Reply, Request
from gateway.site.site import Site
from gateway.wire import coap

QUALITY = {  # as protocols.api numbers them, which this half does not import
    0: "good",
    32: "suspect",
    64: "out of range",
    128: "sentinel",
    160: "no reply",
    161: "bad reply",
    162: "refused",
    192: "link down",
    224: "not polled",
}
FAULTS = ("no reply", "bad reply", "refused", "link down")

Ways = Callable[[], Mapping[str, Mapping[str, Any]]]


class Health:
    about = About("health", "bus errors, quality, spool, clock, disk, temperature", kind="citygate.health")

    def __init__(self, site: Site, control: Control, ways: Ways) -> None:
        self._site, self._control, self._ways = site, control, ways

    async def answer(self, request: Request) -> Reply:
        nothing_below(request)
        disk = await asyncio.to_thread(machine.disk, self._site.state_dir)
        said: dict[str, Any] = {
            "gateway": self._site.gateway.id,
            "version": VERSION,
            "field": None,
            "ways": dict(self._ways()),
            "machine": {
                "uptime_s": machine.uptime_s(),
                "disk": disk,
                "memory": machine.memory(),
                "temperature_c": machine.temperature_c(),
                "load": machine.load(),
            },
        }
        try:
            said["field"] = field_shown(await self._control.request({"get": "health"}))
            said["quality"] = shares(await self._control.request({"get": "live"}))
        except NotThere as gone:
            said["field_error"] = str(gone)
        return Reply.of(said)


def field_shown(health: Mapping[str, Any]) -> dict[str, Any]:
    """What the field half says, without what is in other resources."""
    kept = ("uptime_s", "clock", "readings", "events", "silent", "maintenance", "spool", "insecure", "mode")
    said = {key: health[key] for key in kept if key in health}
    said["links"] = {name: _link(link) for name, link in dict(health.get("links") or {}).items()}
    return said


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("up", "fault", "polls", "overruns", "reconnects", "quarantined", "used", "counters")
    return {key: link[key] for key in kept if key in link}


def shares(live: Mapping[str, Any]) -> dict[str, float]:
    """The share of channels by the quality of their last reading; those never read apart."""
    counted: Counter[str] = Counter()
    for channel in live.get("channels") or ():
        word = QUALITY.get(int(channel["quality"]), "unknown") if channel.get("readings") else "never read"
        counted[word] += 1
    total = max(1, sum(counted.values()))
    return {word: round(n / total, 4) for word, n in sorted(counted.items())}


def nothing_below(request: Request) -> None:
    """Raises Refused for a path below a resource that is one thing, and for what changes something."""
    if request.path:
        below = "/".join(request.path)[:80]
        raise Refused(coap.NOT_FOUND, "CG-6101", f"there is no {below!r} here", f"{below!r} 자원이 없습니다")


def asked(query: Mapping[str, str], key: str, default: int, most: int) -> int:
    """A whole number of the query. Raises Refused."""
    text = query.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Refused(
            coap.BAD_REQUEST,
            "CG-6102",
            f"{key}={text[:20]} is no whole number",
            f"{key}={text[:20]} 은(는) 정수가 아닙니다",
        )
    return min(int(text), most)


@contextlib.contextmanager
def field_half() -> Any:
    """Around what needs the field half: NotThere is told as 5.03."""
    try:
        yield
    except NotThere as gone:
        raise Refused(
            coap.UNAVAILABLE, "CG-6114", str(gone), "필드 프로세스가 응답하지 않습니다. 잠시 후 다시 시도하십시오"
        ) from gone
