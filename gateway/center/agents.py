"""The gateways whose agents can be asked, and the asking: over connections that they opened and greeted.

In: greetings and other requests of gateways, opened and proven; questions of the center's own tools. Out: answers. A
connection counts as a gateway's from its greeting (POST a) until it breaks; every wait is bounded; a gateway that does
not answer a Ping is dropped. Stores nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2

from gateway.center.files import Files
from gateway.wire import coap, secure
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext
from gateway.wire.proven import Asking, Unanswered
from gateway.wire.stream import Closed, Stream

log = logging.getLogger("citygate.center")

GREETING, CONTENT = "a", "f"
LONGEST_GREETING = 256
AT_ONCE = 8  # questions to one gateway
AGAIN = 3  # a gateway that asks for proof of freshness
PONG_S = 5.0
LONGEST_S = 600.0
OBSERVE, DEREGISTER = b"", b"\x01"


class NotAsked(Exception):
    """Why there is no answer: code, English, Korean."""

    def __init__(self, code: str, en: str, ko: str) -> None:
        super().__init__(f"{code} {en}")
        self.code, self.en, self.ko = code, en, ko


class _Doubted(Exception):
    """The gateway asks for proof that a request was made now."""

    def __init__(self, echo: bytes) -> None:
        super().__init__()
        self.echo = echo


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    content_format: int | None
    payload: bytes


@dataclass(slots=True)
class _Connected:
    stream: Stream
    context: SecurityContext
    asking: Asking
    since_s: float
    version: str
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class Agents:
    """One a center. `files`: what is handed out to gateways."""

    def __init__(self, files: Files | None = None) -> None:
        self._files = files
        self._connected: dict[str, _Connected] = {}

    # -- the gateways' side

    def wants(self, first: bytes) -> bool:
        """Whether requests whose path begins so are for here."""
        return first in (GREETING.encode(), CONTENT.encode())

    async def answer(self, context: SecurityContext, request: Message, stream: Stream | None) -> Message:
        """`request` was opened with `context`; `stream`: the connection it came over, None for a datagram."""
        path = request.texts(coap.URI_PATH)
        if path[0] == CONTENT:
            if self._files is None:
                return Message(coap.NOT_FOUND)
            return await asyncio.to_thread(self._files.answer, request)
        if path != (GREETING,):
            return Message(coap.NOT_FOUND)
        if request.code != coap.POST:
            return Message(coap.NOT_ALLOWED)
        if stream is None or len(request.payload) > LONGEST_GREETING:
            return Message(coap.BAD_REQUEST)
        self._greet(context, stream, _version(request.payload))
        return Message(coap.CHANGED)

    def _greet(self, context: SecurityContext, stream: Stream, version: str) -> None:
        old = self._connected.get(context.name)
        asking = Asking(context, stream.request)
        self._connected[context.name] = _Connected(stream, context, asking, time.monotonic(), version)
        if old is None or old.stream.closed:
            log.info("gateway %s can be asked", context.name)
        elif old.stream is not stream:
            old.stream.release()

    def forget(self, name: str) -> None:
        """The gateway's key is worth nothing any longer."""
        if (found := self._connected.pop(name, None)) is not None:
            found.stream.release()

    # -- the center's side

    def connected(self) -> list[dict[str, Any]]:
        """Who can be asked, by name."""
        now_s = time.monotonic()
        for name in [name for name, one in self._connected.items() if one.stream.closed]:
            del self._connected[name]
        return [
            {
                "gateway": name,
                "peer": one.stream.peer,
                "version": one.version,
                "for_s": round(now_s - one.since_s, 1),
                "heard_s": round(now_s - one.stream.heard_s, 1),
            }
            for name, one in sorted(self._connected.items())
        ]

    async def ask(
        self,
        gateway: str,
        method: int,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        within_s: float,
        content_format: int | None = None,
    ) -> Answer:
        """Raises NotAsked CG-6106 (not connected), CG-6107 (no answer), CG-6108 (an answer of no use)."""
        one = self._of(gateway)
        try:
            async with asyncio.timeout(min(within_s, LONGEST_S)), one.turns:
                return _told(await one.asking.whole(request(method, path, query, body, content_format)))
        except TimeoutError:
            await self._doubt(gateway, one)
            raise _silent(gateway, within_s) from None
        except Unanswered as bad:
            raise _useless(gateway, str(bad)) from bad
        except OSError as bad:
            raise self._lost(gateway, one, str(bad)) from bad

    async def observe(
        self, gateway: str, path: str, query: Mapping[str, str], within_s: float
    ) -> AsyncGenerator[Answer]:
        """What the resource says, at first and at each change; ends where it cannot be observed. Raises NotAsked."""
        one = self._of(gateway)
        plain = request(coap.GET, path, query, b"", None)
        try:
            for _ in range(AGAIN):
                observing = replace(plain, options=(*plain.options, (coap.OBSERVE, OBSERVE)))
                outer, identifiers = secure.protect_request(one.context, observing)
                with one.stream.observe(outer) as (token, answers):
                    changes = self._changes(one, plain, answers, identifiers, within_s)
                    try:
                        async with aclosing(changes):
                            async for answer in changes:
                                yield answer
                        return
                    except _Doubted as doubted:
                        plain = replace(plain, options=(*plain.options, (coap.ECHO, doubted.echo)))
                    finally:
                        self._leave(one, plain, token)
        except TimeoutError:
            await self._doubt(gateway, one)
            raise _silent(gateway, within_s) from None
        except (Unanswered, secure.Invalid) as bad:
            raise _useless(gateway, str(bad)) from bad
        except OSError as bad:
            raise self._lost(gateway, one, str(bad)) from bad

    async def _changes(
        self,
        one: _Connected,
        plain: Message,
        answers: asyncio.Queue[Message | None],
        identifiers: Any,
        within_s: float,
    ) -> AsyncGenerator[Answer]:
        """Only what is newer than what came before (RFC 8613, section 4.1.3.5.2). Raises Closed, secure.Invalid,
        TimeoutError."""
        newest = -1
        while True:
            async with asyncio.timeout(within_s if newest < 0 else None):
                outer = await answers.get()
            if outer is None:
                raise Closed("the connection broke")
            inner = secure.open_response(one.context, outer, identifiers)
            if inner.code == coap.UNAUTHORIZED and (echo := inner.first(coap.ECHO)) is not None:
                raise _Doubted(echo)
            number = inner.uint(coap.OBSERVE)
            if number is not None and number <= newest:
                continue
            block = inner.uint(coap.BLOCK2)
            async with asyncio.timeout(within_s):
                whole = await one.asking.rest(plain, inner) if block is not None and block & 8 else inner
            yield _told(whole)
            if number is None or inner.code >> 5 != 2:
                return
            newest = number

    def _leave(self, one: _Connected, plain: Message, token: bytes) -> None:
        """Say that nobody observes any longer; nobody waits for the answer."""
        with suppress(OSError, secure.Invalid):
            leaving = replace(plain, options=(*plain.options, (coap.OBSERVE, DEREGISTER)))
            outer, _ = secure.protect_request(one.context, leaving)
            one.stream.tell(replace(outer, token=token))

    def _of(self, gateway: str) -> _Connected:
        one = self._connected.get(gateway)
        if one is None or one.stream.closed:
            raise NotAsked(
                "CG-6106",
                f"gateway {gateway} is not connected, or lets nobody ask (`agent` of its upstream)",
                f"게이트웨이 {gateway} 이(가) 연결되어 있지 않거나 요청을 허용하지 않습니다(업스트림의 agent 항목)",
            )
        return one

    async def _doubt(self, gateway: str, one: _Connected) -> None:
        """It owes an answer: one that does not answer a Ping either is gone."""
        try:
            async with asyncio.timeout(PONG_S):
                await one.stream.ping()
        except (OSError, TimeoutError):
            log.warning("gateway %s does not answer; its connection is dropped", gateway)
            one.stream.abort()

    def _lost(self, gateway: str, one: _Connected, why: str) -> NotAsked:
        if self._connected.get(gateway) is one and one.stream.closed:
            del self._connected[gateway]
        return NotAsked(
            "CG-6107",
            f"the connection to gateway {gateway} broke before it answered ({why})",
            f"게이트웨이 {gateway} 이(가) 응답하기 전에 연결이 끊어졌습니다 ({why})",
        )


def request(method: int, path: str, query: Mapping[str, str], body: bytes, content_format: int | None) -> Message:
    options = [(coap.URI_PATH, part.encode()) for part in path.strip("/").split("/")]
    options += [(coap.URI_QUERY, (f"{key}={value}" if value else key).encode()) for key, value in query.items()]
    if body and content_format is not None:
        options.append((coap.CONTENT_FORMAT, coap.uint(content_format)))
    return Message(method, tuple(options), body)


def _told(message: Message) -> Answer:
    return Answer(message.code, message.uint(coap.CONTENT_FORMAT), message.payload)


def _version(payload: bytes) -> str:
    try:
        said = cbor2.loads(payload)
        return str(said.get("v", ""))[:32] if isinstance(said, dict) else ""
    except Exception:  # cbor2 lets errors of the types it builds through
        return ""


def _silent(gateway: str, within_s: float) -> NotAsked:
    return NotAsked(
        "CG-6107",
        f"gateway {gateway} did not answer within {within_s:g} s",
        f"게이트웨이 {gateway} 이(가) {within_s:g}초 안에 응답하지 않았습니다",
    )


def _useless(gateway: str, why: str) -> NotAsked:
    return NotAsked(
        "CG-6108",
        f"gateway {gateway} gave an answer of no use: {why}",
        f"게이트웨이 {gateway} 의 응답을 사용할 수 없습니다: {why}",
    )
