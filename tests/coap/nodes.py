"""A CoAP node on a loopback socket, written on bytes of `gateway.wire.coap`: nothing of aiocoap in it.

It answers GET and PUT, keeps observers by (address, token), cuts what is large into blocks, and can be told to say
nothing, to forget, to send too much or to send nonsense.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gateway.wire import coap
from gateway.wire.coap import ACK, CON, NON, Message
from protocols.api import Link
from protocols.testing import Rig

OBSERVE, ETAG, BLOCK2, SIZE2 = 6, 4, 23, 28
PUT = 0x03
CONTENT, NOT_FOUND = 0x45, 0x84
Address = tuple[str, int]
Body = Callable[[], tuple[int, bytes]]  # content-format and payload


class Node(asyncio.DatagramProtocol):
    """`bodies` by path. `max_age` seconds; `block` bytes a block; `observable` paths."""

    def __init__(self, bodies: dict[str, Body], *, max_age: int = 60, observable: bool = True) -> None:
        self.bodies = bodies
        self.max_age, self.observable = max_age, observable
        self.block_exponent = 6
        self.mute = False
        self.asked: list[tuple[int, str]] = []
        self.tokens: list[bytes] = []
        self.put: list[tuple[str, int, bytes]] = []
        self.observers: dict[tuple[Address, bytes], str] = {}
        self.resets = 0
        self.sequence = 0
        self.address: Address = ("127.0.0.1", 0)
        self.transport: Any = None
        self._mid = 0
        self._tasks: list[asyncio.Task[None]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("sockname")[:2]

    @property
    def url(self) -> str:
        return f"coap://127.0.0.1:{self.address[1]}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = coap.from_datagram(data)
        if message.kind == coap.RST:
            self.resets += 1
            self.observers = {key: path for key, path in self.observers.items() if key[0] != addr}
        if self.mute or not message.is_request:
            return
        path = "/" + "/".join(message.texts(coap.URI_PATH))
        self.asked.append((message.code, path))
        self.tokens.append(message.token)
        self.answer(message, path, addr)

    def answer(self, message: Message, path: str, addr: Address) -> None:
        if path not in self.bodies:
            self.send(Message(NOT_FOUND, (), b"", message.token, ACK, message.mid), addr)
            return
        if message.code == PUT:
            self.put.append((path, message.uint(coap.CONTENT_FORMAT) or 0, message.payload))
            self.send(Message(coap.CHANGED, (), b"", message.token, ACK, message.mid), addr)
            return
        observe = message.uint(OBSERVE)
        options: list[tuple[int, bytes]] = []
        if observe == 0 and self.observable:
            self.observers[addr, message.token] = path
            options.append((OBSERVE, coap.uint(self.sequence)))
        if observe == 1:
            self.observers.pop((addr, message.token), None)
        kind = ACK if message.kind == CON else NON
        self.send(self.content(path, message.uint(BLOCK2), options, message.token, kind, message.mid), addr)

    def content(
        self,
        path: str,
        block: int | None,
        options: list[tuple[int, bytes]],
        token: bytes,
        kind: int,
        mid: int,
    ) -> Message:
        form, body = self.bodies[path]()
        exponent = min(self.block_exponent, 6 if block is None else block & 7)
        number, size = (block or 0) >> 4, 16 << exponent
        if len(body) > size or block is not None:
            part = body[number * size : (number + 1) * size]
            more = (number + 1) * size < len(body)
            options += [(BLOCK2, coap.uint(number << 4 | more << 3 | exponent)), (ETAG, b"\x01")]
        else:
            part = body
        if form >= 0:
            options.append((coap.CONTENT_FORMAT, coap.uint(form)))
        options.append((coap.MAX_AGE, coap.uint(self.max_age)))
        return Message(CONTENT, tuple(options), part, token, kind, mid)

    def notify(self, path: str, *, sequence: int | None = None, kind: int = NON) -> None:
        """Tell every observer of `path` what it is."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        if self.mute:
            return
        for (addr, token), observed in list(self.observers.items()):
            if observed == path:
                self._mid = self._mid + 1 & 0xFFFF
                options = [(OBSERVE, coap.uint(self.sequence & 0xFFFFFF))]
                self.send(self.content(path, None, options, token, kind, self._mid), addr)

    def send(self, message: Message, addr: Address) -> None:
        self.transport.sendto(coap.to_datagram(message), addr)

    def keep_telling(self, path: str, every_s: float) -> None:
        async def tell() -> None:
            while True:
                await asyncio.sleep(every_s)
                self.notify(path)

        self._tasks.append(asyncio.get_running_loop().create_task(tell()))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.transport.close()

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[Rig]:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))

        def mute(on: bool) -> None:
            self.mute = on

        try:
            yield Rig(Link("node", self.url), mute, self.close)
        finally:
            self.close()
            await asyncio.sleep(0)


def text(value: object) -> Body:
    return lambda: (0, str(value).encode())
