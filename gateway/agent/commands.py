"""`commands`: what a center sets on devices, for a time. GET what stands and may be set; POST one; DELETE ends one.

    POST   {"point": "lamp1.level", "value": 40, "lease_s": 900, "by": "kim", "id": "8f2c"}
    DELETE commands/lamp1.level?by=kim

The field half decides and carries out (gateway/field/commands.py): this half could be anybody's who broke into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.agent.control import Control
from gateway.agent.health import field_half, nothing_below
from gateway.agent.resource import About, Refused, Reply, Request, Role
from gateway.site.site import Site
from gateway.wire import coap

WITHIN_S = 60.0  # a slow line asks, writes and reads back behind whatever it is at
STATUS = {  # what is not the asker's mistake
    "CG-6121": coap.FORBIDDEN,
    "CG-6126": coap.TOO_MANY,
    "CG-6127": coap.UNAVAILABLE,
    "CG-6128": coap.UNAVAILABLE,
    "CG-6129": coap.UNAVAILABLE,
    "CG-6120": coap.NOT_FOUND,
    "CG-6132": coap.NOT_FOUND,
    "CG-6137": coap.UNAVAILABLE,
}


class Commands:
    about = About(
        "commands",
        "set a point for a time; DELETE commands/POINT ends it",
        change=Role.OPERATE,
        kind="citygate.commands",
    )

    def __init__(self, site: Site, control: Control) -> None:
        self._control = control

    async def answer(self, request: Request) -> Reply:
        if request.method in (coap.GET, coap.FETCH):
            nothing_below(request)
            return Reply.of(await self._asked({"commands": {}}))
        if request.method == coap.DELETE and len(request.path) == 1:
            by = who(request, request.query.get("by", ""))
            return Reply.of(await self._asked({"command": request.path[0], "off": True, "by": by}), coap.DELETED)
        nothing_below(request)
        if request.method != coap.POST:
            raise Refused(coap.NOT_ALLOWED, "CG-6101", "commands are POSTed", "명령은 POST 로 보냅니다")
        body = fields(request, "point")
        words = {"command": str(body["point"]), "value": body.get("value"), "lease_s": body.get("lease_s")}
        words |= {"by": who(request, body.get("by")), "id": _named(request, body.get("id"))}
        return Reply.of(await self._asked(words), coap.CHANGED)

    async def _asked(self, words: Mapping[str, Any]) -> dict[str, Any]:
        with field_half():
            answer = await self._control.request(words, WITHIN_S)
        return carried_out(answer)


def fields(request: Request, *needed: str) -> Mapping[str, Any]:
    """The body, plain values by name. Raises Refused."""
    body = request.body()
    plain = (str, int, float, bool, type(None))
    if (
        not isinstance(body, dict)
        or not all(isinstance(key, str) and isinstance(value, plain) for key, value in body.items())
        or any(name not in body for name in needed)
        or sum(len(str(part)) for pair in body.items() for part in pair) > 2000
    ):
        lacks = ", ".join(needed) or "plain values"
        raise Refused(
            coap.BAD_REQUEST, "CG-6136", f"expected a short map with {lacks}", f"{lacks} 이(가) 있는 맵이 필요합니다"
        )
    return body


def who(request: Request, by: Any) -> str:
    """Whose context it was is known; the person is what the center says."""
    person = str(by or "")[:80]
    return f"center:{request.upstream}" + (f" {person}" if person else "")


def carried_out(answer: dict[str, Any]) -> dict[str, Any]:
    """Raises Refused with the field half's words."""
    if "error" in answer:
        code = str(answer.get("code", "CG-6114"))
        words = str(answer["error"])
        raise Refused(STATUS.get(code, coap.BAD_REQUEST), code, words, str(answer.get("error_ko") or words))
    return answer


def _named(request: Request, name: Any) -> str:
    """One center's id says nothing of another's."""
    return f"{request.upstream}/{str(name)[:64]}" if name else ""
