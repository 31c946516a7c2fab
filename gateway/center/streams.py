"""A center's stream side (RFC 8323): connections that gateways open, on the port number of the datagrams.

Bounded: connections in all and of one source, and how long one may stay that has shown no key.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.center.limits import source
from gateway.wire.coap import Message
from gateway.wire.stream import Stream

Answer = Callable[[Message, str, Stream | None], Awaitable[tuple[Message | None, bool]]]

CONNECTIONS = 20_000
UNPROVEN_AT_ONCE = 512
UNPROVEN_OF_ONE_SOURCE = 64
PROVE_S = 15.0
BACKLOG = 1024


class Streams:
    """Made with `listen`; `close` ends it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._open: set[Stream] = set()
        self._unproven: Counter[str] = Counter()
        self._source: dict[Stream, str] = {}  # of those unproven

    async def listen(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connected, sock=sock, backlog=BACKLOG)

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for stream in list(self._open):
            stream.release()
        if self._server:
            with suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._server.wait_closed()

    def _connected(self) -> Stream:
        return _Guest(self)

    def made(self, stream: Stream) -> None:
        name = source(stream.peer)
        self._open.add(stream)
        self._source[stream] = name
        self._unproven[name] += 1
        too_many = len(self._open) > CONNECTIONS or len(self._source) > UNPROVEN_AT_ONCE
        if too_many or self._unproven[name] > UNPROVEN_OF_ONE_SOURCE:
            stream.abort()
            return
        asyncio.get_running_loop().call_later(PROVE_S, self._still_unproven, stream)

    def lost(self, stream: Stream) -> None:
        self._open.discard(stream)
        self._prove(stream)

    async def answer(self, stream: Stream, request: Message) -> Message | None:
        response, known = await self._answer(request, stream.peer, stream)
        if known and not stream.proven:
            stream.proven = True
            self._prove(stream)
        return response

    def _prove(self, stream: Stream) -> None:
        name = self._source.pop(stream, None)
        if name is not None:
            self._unproven[name] -= 1
            if not self._unproven[name]:
                del self._unproven[name]

    def _still_unproven(self, stream: Stream) -> None:
        if stream in self._source:
            stream.abort()


class _Guest(Stream):
    def __init__(self, host: Streams) -> None:
        super().__init__(host.answer, host.lost)
        self._host = host

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._host.made(self)


def open_socket(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock
