"""What stands before every page: limits, headers, where a request comes from. Plain ASGI, no state but counters.

A browser is told to load nothing from elsewhere, to run no script of a page's own text and to send no cookie across
sites. What changes something must carry a header that another site's form cannot send, and an Origin that is this host.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
STRICT = (b"strict-transport-security", b"max-age=31536000")
RATE, BURST = 50.0, 600.0  # requests a second of one source: a page is fifteen, and several phones may share one
SIGN_IN_RATE, SIGN_IN_BURST = 0.2, 10.0
SOURCES = 2048
LONGEST_BODY = 65_536
OWN_HEADER = b"x-citygate"


class Buckets:
    """How often each source may come; the longest unseen are forgotten first."""

    def __init__(self, rate: float, burst: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now_s = rate, burst, now_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, source: str) -> bool:
        now_s = self._now_s()
        left, then_s = self._left.pop(source, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._rate)
        self._left[source] = (left - (left >= 1), now_s)
        if len(self._left) > SOURCES:
            self._left.popitem(last=False)
        return left >= 1


class Guard:
    """Around an application. `hosts`: names by which this panel may be called, none for any (TLS then proves it)."""

    def __init__(self, app: App, *, secure: bool, hosts: frozenset[str] = frozenset()) -> None:
        self._app, self._secure, self._hosts = app, secure, hosts
        self._all = Buckets(RATE, BURST)
        self._sign_in = Buckets(SIGN_IN_RATE, SIGN_IN_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))
        source = (scope.get("client") or ("",))[0]
        changes = scope["method"] not in ("GET", "HEAD")
        signs_in = scope["path"] == "/api/sign-in"
        if not self._all.take(source) or (signs_in and not self._sign_in.take(source)):
            await _refuse(
                send, 429, "CG-6301", "too many requests: wait a little", "요청이 너무 많습니다. 잠시 기다리십시오"
            )
            return
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts and _name(host) not in self._hosts:
            await _refuse(send, 421, "CG-6302", "this panel has another name", "이 패널의 주소가 아닙니다")
            return
        if changes and not self._is_ours(headers, host):
            await _refuse(send, 403, "CG-6303", "the request came from another site", "다른 사이트에서 온 요청입니다")
            return
        if changes and _size(headers) > LONGEST_BODY:
            await _refuse(send, 413, "CG-6304", "the request is too long", "요청이 너무 깁니다")
            return
        await self._app(scope, _bounded(receive), self._with_headers(send))

    def _is_ours(self, headers: dict[bytes, bytes], host: str) -> bool:
        if OWN_HEADER not in headers or headers.get(b"content-type", b"").split(b";")[0] != b"application/json":
            return False
        origin = headers.get(b"origin")
        if origin is None:
            return headers.get(b"sec-fetch-site", b"none") in (b"same-origin", b"none")
        return origin.decode("latin-1").lower() == f"{'https' if self._secure else 'http'}://{host}"

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                more = [one for one in (*HEADERS, *((STRICT,) if self._secure else ())) if one[0] not in there]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        return sending


def _bounded(receive: Receive) -> Receive:
    """A body that says nothing of its length is cut off, too."""
    got = 0

    async def receiving() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > LONGEST_BODY:
            return {"type": "http.disconnect"}
        return message

    return receiving


def _name(host: str) -> str:
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _size(headers: dict[bytes, bytes]) -> int:
    said = headers.get(b"content-length", b"0")
    return int(said) if said.isdigit() and len(said) < 12 else LONGEST_BODY + 1


async def _refuse(send: Send, status: int, code: str, en: str, ko: str) -> None:
    from gateway.panel.answers import body

    said = body(code, en, ko)
    length = str(len(said)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": said})
