"""One UDP socket towards the nodes: blocks of cached files to those the site names, and short requests to them.

In: datagrams. Out: datagrams. Only addresses in `known` are answered, so a forged one wins nothing. What is served is
looked up by path; nothing is kept of a request (a GET may be answered twice). Requests are confirmable, one at a time a
node, retransmitted as RFC 7252 says; with a context they are protected by OSCORE.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from gateway.wire import coap, secure
from gateway.wire.coap import ACK, CON, NON, RST, BadMessage, Message

ACK_TIMEOUT_S, MOST_RETRANSMISSIONS = 2.0, 4  # RFC 7252, section 4.8
LARGEST_EXPONENT = 6
ETAG = 4
CONTINUES = 8  # the M bit

Address = tuple[str, int]
Read = Callable[[tuple[str, ...], int, int], tuple[bytes, int, bytes] | None]
"""(path, offset, length) -> the bytes there, the file's size, what tells it from another; None: no such file."""

log = logging.getLogger("citygate.agent")


class NoAnswer(Exception):
    """The node did not answer, or not in a way that can be believed."""


class NodesPort(asyncio.DatagramProtocol):
    """Open with `opened`."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.known: set[str] = set()
        self.served = 0  # blocks
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[tuple[str, bytes], asyncio.Future[Message]] = {}
        self._acknowledged: dict[tuple[str, int], asyncio.Event] = {}
        self._mid = secrets.randbelow(1 << 16)
        self._turn: dict[str, asyncio.Lock] = {}

    @classmethod
    async def opened(cls, host: str, port: int, read: Read) -> NodesPort:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: cls(read), local_addr=(host, port))
        return protocol

    @property
    def address(self) -> Address:
        assert self._transport is not None
        name = self._transport.get_extra_info("sockname")
        return str(name[0]), int(name[1])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # -- datagrams

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: Any) -> None:
        if source[0] not in self.known:
            return
        try:
            message = coap.from_datagram(data)
            if message.is_request:
                self._answer(message, source)
            else:
                self._take(message, source)
        except BadMessage:
            return

    def error_received(self, exc: Exception) -> None:
        log.debug("a node's port: %s", exc)

    # -- what is asked of us

    def _answer(self, request: Message, source: Address) -> None:
        if request.kind not in (CON, NON):
            return
        kind, mid = (ACK, request.mid) if request.kind == CON else (NON, self._next_mid())
        answer = self._content(request)
        self._send(replace(answer, kind=kind, mid=mid, token=request.token), source)

    def _content(self, request: Message) -> Message:
        if request.code != coap.GET:
            return Message(coap.NOT_ALLOWED)
        if request.first(coap.OSCORE) is not None:
            return Message(coap.BAD_OPTION)  # content is proven by its own signature, not by the way it came
        block = request.uint(coap.BLOCK2)
        number, exponent = (0, LARGEST_EXPONENT) if block is None else (block >> 4, block & 7)
        size = 1 << (exponent + 4)
        if number >= 1 << 20 or exponent > LARGEST_EXPONENT:
            return Message(coap.BAD_OPTION)
        found = self._read(request.texts(coap.URI_PATH), number * size, size)
        if found is None:
            return Message(coap.NOT_FOUND)
        data, total, tag = found
        if number and number * size >= total:
            return Message(coap.BAD_OPTION)
        more = CONTINUES if number * size + len(data) < total else 0
        self.served += 1
        options = (
            (ETAG, tag),
            (coap.CONTENT_FORMAT, coap.uint(42)),
            (coap.BLOCK2, coap.uint(number << 4 | more | exponent)),
            (coap.SIZE2, coap.uint(total)),
        )
        return Message(coap.CONTENT, options, data)

    # -- what we ask

    async def ask(self, to: Address, request: Message, context: Any = None) -> Message:
        """The node's answer. Raises NoAnswer."""
        turn = self._turn.setdefault(to[0], asyncio.Lock())
        async with turn:
            answer = await self._asked(to, request, context)
            echo = answer.first(coap.ECHO)
            if context is not None and answer.code == coap.UNAUTHORIZED and echo is not None:
                answer = await self._asked(to, replace(request, options=(*request.options, (coap.ECHO, echo))), context)
        return answer

    async def _asked(self, to: Address, request: Message, context: Any) -> Message:
        token = secrets.token_bytes(8)
        outer, keys = replace(request, token=token), None
        if context is not None:
            try:
                outer, keys = secure.protect_request(context, outer)
            except secure.Invalid as bad:
                raise NoAnswer(str(bad)) from bad
        answer = await self._exchanged(to, replace(outer, kind=CON, token=token, mid=self._next_mid()))
        if context is None:
            return answer
        try:
            return secure.open_response(context, answer, keys)
        except secure.NotProtected as bad:
            raise NoAnswer(f"it answers {bad.plain.dotted} without OSCORE") from bad
        except secure.Invalid as bad:
            raise NoAnswer(str(bad)) from bad

    async def _exchanged(self, to: Address, outer: Message) -> Message:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Message] = loop.create_future()
        acknowledged = asyncio.Event()
        self._waiting[to[0], outer.token] = answered
        self._acknowledged[to[0], outer.mid] = acknowledged
        try:
            wait_s = ACK_TIMEOUT_S
            for _ in range(MOST_RETRANSMISSIONS + 1):
                if not acknowledged.is_set():
                    self._send(outer, to)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        return await asyncio.shield(answered)
                wait_s *= 2
            raise NoAnswer("no answer")
        finally:
            del self._waiting[to[0], outer.token], self._acknowledged[to[0], outer.mid]
            answered.cancel()

    def _take(self, message: Message, source: Address) -> None:
        if message.kind in (ACK, RST) and (known := self._acknowledged.get((source[0], message.mid))):
            known.set()
        waiting = self._waiting.get((source[0], message.token))
        if message.kind == CON:  # an answer of its own, or one that nobody waits for any longer
            self._send(Message(coap.EMPTY, kind=ACK if waiting else RST, mid=message.mid), source)
        if message.is_response and waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _send(self, message: Message, to: Address) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(coap.to_datagram(message), to)

    def _next_mid(self) -> int:
        self._mid = self._mid + 1 & 0xFFFF
        return self._mid
