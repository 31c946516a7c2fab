"""`maintenance`: alarms held while somebody works. GET what is held; POST {"device": "" or NAME, "for_s", "why", "by"};
DELETE maintenance or maintenance/NAME ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.agent.commands import carried_out, fields, who
from gateway.agent.control import Control
from gateway.agent.health import field_half, nothing_below
from gateway.agent.resource import About, Refused, Reply, Request, Role
from gateway.site.site import Site
from gateway.wire import coap


class Maintenance:
    about = About("maintenance", "hold alarms while somebody works", change=Role.OPERATE, kind="citygate.maintenance")

    def __init__(self, site: Site, control: Control) -> None:
        self._control = control

    async def answer(self, request: Request) -> Reply:
        if request.method in (coap.GET, coap.FETCH):
            nothing_below(request)
            return Reply.of((await self._asked({"get": "health"})).get("maintenance"))
        if request.method == coap.DELETE and len(request.path) <= 1:
            device = "".join(request.path)
            by = who(request, request.query.get("by", ""))
            return Reply.of(await self._asked({"maintain": device, "off": True, "by": by}), coap.DELETED)
        nothing_below(request)
        if request.method != coap.POST:
            raise Refused(coap.NOT_ALLOWED, "CG-6101", "maintenance is POSTed", "점검은 POST 로 보냅니다")
        body = fields(request, "for_s")
        if isinstance(body["for_s"], (str, bool)) or body["for_s"] is None:
            raise Refused(coap.BAD_REQUEST, "CG-6136", "for_s must be a number", "for_s 은(는) 숫자여야 합니다")
        words = {"maintain": str(body.get("device") or ""), "for_s": body["for_s"]}
        words |= {"why": str(body.get("why") or ""), "by": who(request, body.get("by"))}
        return Reply.of(await self._asked(words), coap.CHANGED)

    async def _asked(self, words: Mapping[str, Any]) -> dict[str, Any]:
        with field_half():
            return carried_out(await self._control.request(words))
