"""Requests to the panel's application as ASGI sees them: no socket, no thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.panel.actions import Actions
from gateway.panel.app import Parts, app
from gateway.panel.commission import Commissioning
from gateway.panel.feed import Feed
from gateway.panel.tokens import Tokens


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Panel:
    """An application over `folder`. `session` is sent as the cookie."""

    def __init__(self, folder: Path, *, secure: bool = False, hosts: frozenset[str] = frozenset()) -> None:
        self.feed = Feed(folder / "state" / "field.sock", lambda: 1000)
        self.tokens = Tokens(folder / "panel")
        (folder / "state").mkdir(exist_ok=True)
        work = Commissioning(folder / "site.toml", folder / "panel" / "commissioning")
        parts = Parts(self.feed, self.tokens, Actions(folder / "state"), work, secure, hosts)
        self.app, self.secure, self.session = app(parts), secure, ""

    def sign_in(self, role: str = "operate") -> Panel:
        made = self.tokens.sign_in(self.tokens.invite(role, 3600, "Kim"))
        assert made
        self.session = made[0]
        return self

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, source: str = "10.0.0.2"
    ) -> Answer:
        path, _, query = path.partition("?")
        sent = {"host": "cab:8443"}
        if body is not None:
            sent |= {"x-citygate": "1", "content-type": "application/json"}
        if self.session:
            sent["cookie"] = f"{'__Host-' if self.secure else ''}citygate={self.session}"
        sent |= headers or {}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https" if self.secure else "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(key.encode(), value.encode("latin-1")) for key, value in sent.items() if value],
            "client": (source, 1234),
            "server": ("cab", 8443),
        }
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer, given = Answer(), False

        async def receive() -> dict[str, Any]:
            nonlocal given
            if given:
                await asyncio.Event().wait()
            given = True
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {key.decode(): value.decode("latin-1") for key, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self.app(scope, receive, send)
        return answer

    def get(self, path: str, **more: Any) -> Answer:
        return asyncio.run(self.ask("GET", path, **more))

    def post(self, path: str, body: Any, **more: Any) -> Answer:
        return asyncio.run(self.ask("POST", path, body, **more))
