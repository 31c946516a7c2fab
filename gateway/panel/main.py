"""`citygate panel serve`: the process. In: a site's state folder, an address. Out: pages, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from gateway.notify import notify
from gateway.panel import certificate
from gateway.panel.actions import Actions
from gateway.panel.app import Parts, app
from gateway.panel.commission import Commissioning
from gateway.panel.door import door
from gateway.panel.feed import Feed
from gateway.panel.tokens import Tokens
from gateway.spool.trouble import Trouble

WHERE = "address.json"

log = logging.getLogger("citygate.panel")


@dataclass(frozen=True, slots=True)
class Serving:
    """`bind`: HOST:PORT. `names`: more names by which the panel is called. `plain`: without TLS, on loopback only."""

    site: Path
    state: Path  # of the field half
    folder: Path  # of the panel
    bind: str
    names: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    plain: bool = False


class _Server(uvicorn.Server):
    """Tells systemd when it is ready; ends streams when it is told to stop, so that it can."""

    feed: Feed

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        notify("READY=1\nSTATUS=serving")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        self.feed.close()
        await super().shutdown(sockets)


def serve(serving: Serving) -> int:
    """0 after a clean stop, 2 where it cannot begin, 3 for an address in use."""
    try:
        host, port = address(serving.bind)
        if serving.plain and not _is_loopback(host):
            raise Trouble(
                "CG-6315",
                f"without TLS the panel is served on loopback only, not at {serving.bind}",
                f"TLS 없이는 루프백에서만 제공합니다: {serving.bind}",
                next_en="Leave out --plain, or bind to 127.0.0.1",
                next_ko="--plain 을 빼거나 127.0.0.1 로 바인드하십시오",
            )
        files = None if serving.plain else _files(serving, host)
        tokens = Tokens(serving.folder)
        _say_where(serving, host, port, files)
        sock = _listen(host, port)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 3 if trouble.code == "CG-6316" else 2
    except OSError as bad:
        print(
            Trouble(
                "CG-6317",
                f"{serving.folder} cannot be used ({bad.strerror or bad})",
                f"{serving.folder} 을(를) 사용할 수 없습니다 ({bad.strerror or bad})",
                next_en="Run this as its owner, or name another folder with --state",
                next_ko="소유자로 실행하거나 --state 로 다른 폴더를 지정하십시오",
            ),
            file=sys.stderr,
        )
        return 2
    feed = Feed(serving.state / "field.sock")
    work = Commissioning(serving.site, serving.folder / "commissioning")
    parts = Parts(feed, tokens, Actions(serving.state), work, secure=not serving.plain)
    pages = app(parts)

    @asynccontextmanager
    async def living(scope: Any) -> AsyncIterator[None]:
        following = asyncio.create_task(feed.run(), name="feed")
        yield
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following

    config = uvicorn.Config(
        _with_lifespan(pages, living),
        http=door(*files) if files else door(),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=16_384,
    )
    server = _Server(config)
    server.feed = feed
    scheme = "http" if serving.plain else "https"
    log.info("serving at %s://%s; let somebody in with citygate panel invite", scheme, serving.bind)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve([sock]))
    return 0


def _with_lifespan(pages: Any, living: Any) -> Any:
    """ASGI's own start and stop around the guarded application."""

    async def whole(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await pages(scope, receive, send)
            return
        await receive()
        async with living(scope):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return whole


def address(bind: str) -> tuple[str, int]:
    """Raises Trouble."""
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) < 65536:
        raise Trouble(
            "CG-6318",
            f"--bind {bind} is not HOST:PORT",
            f"--bind {bind} 은(는) HOST:PORT 형식이 아닙니다",
            next_en="As 127.0.0.1:8443",
            next_ko="예: 127.0.0.1:8443",
        )
    return host.strip("[]"), int(port)


def _listen(host: str, port: int) -> socket.socket:
    """Raises Trouble."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(64)
        sock.set_inheritable(False)
    except OSError as bad:
        raise Trouble(
            "CG-6316",
            f"nothing can be served at {host}:{port} ({bad.strerror})",
            f"{host}:{port} 에서 제공할 수 없습니다 ({bad.strerror})",
            next_en="Choose another port with --bind, or end what holds this one",
            next_ko="--bind 로 다른 포트를 지정하거나 사용 중인 프로세스를 종료하십시오",
        ) from bad
    return sock


def _files(serving: Serving, host: str) -> tuple[Path, Path]:
    if serving.certificate:
        return Path(serving.certificate), Path(serving.key or serving.certificate)
    return certificate.own(serving.folder, {host, *serving.names} - {"", "0.0.0.0", "::"})


def _say_where(serving: Serving, host: str, port: int, files: tuple[Path, Path] | None) -> None:
    """For `citygate panel invite`, which is another process."""
    shown = serving.names[0] if serving.names else "localhost" if _is_any(host) or _is_loopback(host) else host
    scheme = "http" if files is None else "https"
    about = {
        "url": f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}",
        "fingerprint": "" if files is None else certificate.fingerprint(files[0]),
    }
    fresh = serving.folder / f"{WHERE}.new"
    fresh.write_text(json.dumps(about))
    os.replace(fresh, serving.folder / WHERE)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_any(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")
