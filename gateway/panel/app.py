"""The panel's addresses: which page or answer belongs to which, and who may have it. Knows HTTP, decides nothing.

A session is a cookie; programs show a bearer token that opens /metrics and /health alone. Whoever has neither sees the
page to sign in.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.panel import assets, metrics, views
from gateway.panel.actions import Action, Actions, Unfit, text
from gateway.panel.answers import refused, said
from gateway.panel.commission import Commissioning
from gateway.panel.feed import Feed, TooMany
from gateway.panel.guard import App, Guard
from gateway.panel.tokens import METRICS, OPERATE, Pass, Tokens

SEE_AGAIN_S = 10.0  # how often a stream looks whether its session still stands

log = logging.getLogger("citygate.panel")

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages are made from. `secure`: over TLS."""

    feed: Feed
    tokens: Tokens
    actions: Actions
    commissioning: Commissioning
    secure: bool
    hosts: frozenset[str] = frozenset()


def app(parts: Parts) -> App:
    return Guard(_Pages(parts).application(), secure=parts.secure, hosts=parts.hosts)


class _Pages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._assets = assets.load()
        self._cookie = "__Host-citygate" if parts.secure else "citygate"

    def application(self) -> Starlette:
        act = self._parts.actions
        work = self._parts.commissioning
        actions: dict[str, Action] = {
            "acknowledge": lambda a, who, body: act.acknowledge(who, body),
            "maintenance": lambda a, who, body: act.maintenance(who, body),
            "read": lambda a, who, body: act.read(who, body),
            "command": lambda a, who, body: act.command(who, body),
            "push-test": lambda a, who, body: act.push_test(who, body),
            "commission/found": lambda a, who, body: work.found(who, body),
            "commission/sign": lambda a, who, body: work.sign(who, body),
        }
        looks: dict[str, Callable[[Request, Pass], Awaitable[Response]]] = {
            "/api/me": self._me,
            "/api/stream": self._stream,
            "/api/history": self._history,
            "/api/alarms": self._alarms,
            "/api/bus": self._bus,
            "/api/commission/files": self._files,
            "/api/commission/file/{name}": self._file,
        }
        return Starlette(
            routes=[
                Route("/", self._page, methods=["GET"]),
                Route("/sign-in", self._sign_in_page, methods=["GET"]),
                Route("/static/{name}", self._static, methods=["GET"]),
                Route("/api/sign-in", self._sign_in, methods=["POST"]),
                Route("/api/sign-out", self._sign_out, methods=["POST"]),
                *(Route(path, self._known(look), methods=["GET"]) for path, look in looks.items()),
                *(Route(f"/api/{name}", self._operator(do), methods=["POST"]) for name, do in actions.items()),
                Route("/metrics", self._program(self._metrics), methods=["GET"]),
                Route("/health", self._program(self._health), methods=["GET"]),
            ],
            exception_handlers={404: _not_found, 405: _not_found, Unfit: _unfit, Exception: _broken},
        )

    # -- who

    def _session(self, request: Request) -> Pass | None:
        token = request.cookies.get(self._cookie, "")
        return self._parts.tokens.session(token) if token else None

    def _known(self, look: Callable[[Request, Pass], Awaitable[Response]]) -> Handler:
        async def answer(request: Request) -> Response:
            who = self._session(request)
            return _nobody() if who is None else await look(request, who)

        return answer

    def _operator(self, do: Action) -> Handler:
        async def answer(request: Request) -> Response:
            who = self._session(request)
            if who is None:
                return _nobody()
            if who.role != OPERATE:
                return refused(
                    403,
                    "CG-6311",
                    "this invitation may look only. Ask for one with --role operate",
                    "조회 전용 초대입니다. --role operate 초대를 요청하십시오",
                )
            return await do(self._parts.actions, who, await _body(request))

        return answer

    def _program(self, look: Callable[[], Response]) -> Handler:
        async def answer(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            known = self._parts.tokens.program(token.strip()) if scheme.lower() == "bearer" else None
            is_program = known is not None and known.role == METRICS
            return look() if is_program or self._session(request) is not None else _nobody()

        return answer

    # -- pages

    async def _page(self, request: Request) -> Response:
        if self._session(request) is None:
            return RedirectResponse("/sign-in", 303, {"cache-control": "no-store"})
        return assets.sent(self._assets["index.html"], request)

    async def _sign_in_page(self, request: Request) -> Response:
        return assets.sent(self._assets["sign-in.html"], request)

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        asset = self._assets.get(name)
        if name not in assets.PUBLIC and self._session(request) is None:
            return _nobody()
        return await _not_found(request, None) if asset is None else assets.sent(asset, request)

    async def _sign_in(self, request: Request) -> Response:
        made = self._parts.tokens.sign_in(text(await _body(request), "token"))
        if made is None:
            log.warning("a sign-in was refused, from %s", request.client.host if request.client else "?")
            return refused(
                401,
                "CG-6310",
                "this invitation is unknown, used or over. Ask for another: citygate panel invite",
                "알 수 없거나 이미 사용했거나 만료된 초대입니다. citygate panel invite 로 새로 받으십시오",
            )
        token, session = made
        log.info("%s signed in, may %s", session.name or session.id, session.role)
        answer = Response(status_code=204)
        answer.set_cookie(
            self._cookie,
            token,
            max_age=max(1, int(session.until_s - time.time())),
            path="/",
            secure=self._parts.secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _sign_out(self, request: Request) -> Response:
        self._parts.tokens.end(request.cookies.get(self._cookie, ""))
        answer = Response(status_code=204)
        answer.delete_cookie(self._cookie, path="/", secure=self._parts.secure, httponly=True, samesite="strict")
        return answer

    # -- what is looked at

    async def _me(self, request: Request, who: Pass) -> Response:
        now = self._parts.feed.cabinet()
        about = {"gateway": now["gateway"], "version": now["version"]}
        return said({"role": who.role, "by": who.name, "until_ms": int(who.until_s * 1000), **about})

    async def _stream(self, request: Request, who: Pass) -> Response:
        token = request.cookies[self._cookie]
        values = request.query_params.get("values", "all")
        stream = self._parts.feed.stream(values)
        try:
            first = await anext(stream)
        except TooMany:
            return refused(
                503,
                "CG-6312",
                "too many pages are open on this panel. Close one",
                "열린 화면이 너무 많습니다. 하나를 닫으십시오",
            )

        async def events() -> AsyncIterator[bytes]:
            seen_s = time.monotonic()
            try:
                yield first
                async for event in stream:
                    yield event
                    if time.monotonic() - seen_s > SEE_AGAIN_S:
                        seen_s = time.monotonic()
                        if self._parts.tokens.session(token) is None:
                            return
            finally:
                await stream.aclose()  # type: ignore[attr-defined]

        return StreamingResponse(events(), 200, {"cache-control": "no-store"}, "text/event-stream")

    async def _history(self, request: Request, who: Pass) -> Response:
        found = self._parts.feed.history(request.query_params.get("device", ""))
        return await _not_found(request, None) if found is None else said(found)

    async def _alarms(self, request: Request, who: Pass) -> Response:
        return said(self._parts.feed.alarms())

    async def _bus(self, request: Request, who: Pass) -> Response:
        return said(views.bus(self._parts.feed.health))

    async def _files(self, request: Request, who: Pass) -> Response:
        return said(self._parts.commissioning.files())

    async def _file(self, request: Request, who: Pass) -> Response:
        return self._parts.commissioning.file(request.path_params["name"])

    def _metrics(self) -> Response:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(metrics.text(self._parts.feed), 200, {"cache-control": "no-store"}, kind)

    def _health(self) -> Response:
        return said(metrics.health(self._parts.feed))


async def _body(request: Request) -> dict[str, Any]:
    """Raises Unfit."""
    try:
        found = json.loads(await request.body() or b"{}")
    except ClientDisconnect as gone:
        raise Unfit("the request was cut off") from gone
    except (ValueError, RecursionError) as bad:
        raise Unfit(f"the body is no JSON: {bad}") from bad
    if not isinstance(found, dict):
        raise Unfit("the body is a JSON object")
    return found


def _nobody() -> Response:
    return refused(401, "CG-6313", "sign in first", "먼저 로그인하십시오")


async def _not_found(request: Request, bad: Any) -> Response:
    return refused(404, "CG-6307", "there is nothing here", "해당 항목이 없습니다")


async def _unfit(request: Request, bad: Exception) -> Response:
    return refused(400, "CG-6306", str(bad), f"요청을 이해할 수 없습니다: {bad}")


async def _broken(request: Request, bad: Exception) -> Response:
    log.error("%s %s", request.method, request.url.path, exc_info=bad)
    return refused(500, "CG-6314", "a fault of the panel's: see its log", "패널 오류입니다. 로그를 확인하십시오")
