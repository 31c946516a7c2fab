"""`audit`: what was changed here, by whom, when; each line as it stands in the file. ?from=N begins with line N, ?n= at
most so many. Reads the file; adds nothing to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.agent.health import asked, nothing_below
from gateway.agent.resource import About, Reply, Request
from gateway.spool import audit

MOST = 500


class AuditLog:
    about = About("audit", "what was changed, by whom; ?from=N ?n=", kind="citygate.audit")

    def __init__(self, state_dir: str) -> None:
        self._path = Path(state_dir) / audit.FILE

    async def answer(self, request: Request) -> Reply:
        nothing_below(request)
        first, most = asked(request.query, "from", 0, 1 << 40), asked(request.query, "n", 100, MOST)
        entries = await asyncio.to_thread(audit.entries, self._path)
        found = [one for one in entries if int(one["n"]) >= first]
        found = found[:most] if "from" in request.query else found[-most:]
        last = int(entries[-1]["n"]) if entries else 0
        return Reply.of({"entries": found, "last": last})
