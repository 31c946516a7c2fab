"""`log`: the last lines that both halves have logged. ?n=100 lines of each half, ?half=field, ?level=WARNING."""

from __future__ import annotations

from typing import Any

from gateway.agent.control import Control, NotThere
from gateway.agent.health import asked, nothing_below
from gateway.agent.resource import About, Reply, Request
from gateway.spool.tail import LINES, tail

DEFAULT = 100


class Log:
    about = About("log", "last lines logged; ?n= ?half=field|uplink ?level=", kind="citygate.log")

    def __init__(self, control: Control) -> None:
        self._control = control

    async def answer(self, request: Request) -> Reply:
        nothing_below(request)
        most, level = asked(request.query, "n", DEFAULT, LINES), request.query.get("level", "DEBUG").upper()
        half = request.query.get("half", "")
        said: dict[str, Any] = {}
        if half in ("", "uplink"):
            said["uplink"] = tail.shown(most, level=level)
        if half in ("", "field"):
            try:
                answer = await self._control.request({"log": most, "level": level})
                said["field"] = answer.get("lines", [])
            except NotThere as gone:
                said["field_error"] = str(gone)
        return Reply.of(said)
