"""One CoAP connection over TCP (RFC 8323), either end: requests out with their answers, requests in to be answered.

In: bytes of a transport. Out: messages. Bounded on every side: the size of a message, requests being answered, bytes
waiting to be written (a peer that does not read is not read either). Knows no OSCORE and no paths.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from gateway.wire import coap
from gateway.wire.coap import BadMessage, Frames, Message

LARGEST_MESSAGE = 65_536  # bytes taken
AT_ONCE = 32  # requests of the peer being answered
QUEUED = 16  # answers to one request that is observed
HELD = 131_072  # bytes read but not yet looked at
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))

Answer = Callable[["Stream", Message], Awaitable[Message | None]]


class Closed(OSError):
    """The connection is gone, and with it what was not answered."""


class Stream(asyncio.Protocol):
    """Made by a server or `connect`. `peer` is the other end's host, `largest` the message size it takes."""

    def __init__(self, answer: Answer, lost: Callable[[Stream], None] | None = None) -> None:
        self.peer = ""
        self.largest = coap.UNSAID_MESSAGE_SIZE
        self.heard_s = time.monotonic()  # the last byte from the peer
        self.proven = False  # set by whoever answers, once the peer has shown a key
        self._answer = answer
        self._lost = lost
        self._frames = Frames(LARGEST_MESSAGE)
        self._transport: asyncio.Transport | None = None
        self._settings: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: dict[bytes, asyncio.Future[Message]] = {}
        self._observed: dict[bytes, asyncio.Queue[Message | None]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._tokens = itertools.count()
        self._choked = False
        self._room = asyncio.Event()  # not choked, or closed
        self._room.set()
        self._paused = False

    # -- the user's side

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    @property
    def busy(self) -> bool:
        """Whether the peer owes an answer."""
        return bool(self._waiting)

    @property
    def socket(self) -> socket.socket | None:
        return None if self._transport is None else self._transport.get_extra_info("socket")

    async def greeted(self) -> None:
        """Until the peer has said what it takes. Raises Closed."""
        await asyncio.shield(self._settings)

    async def request(self, message: Message) -> Message:
        """Send under a token of its own and wait for the answer, however long: the caller bounds it. Raises Closed."""
        token = self._token()
        answered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[token] = answered
        try:
            self._write(replace(message, token=token))
            return await answered
        finally:
            self._waiting.pop(token, None)

    @contextmanager
    def observe(self, message: Message) -> Iterator[tuple[bytes, asyncio.Queue[Message | None]]]:
        """Send, and take every answer that comes until this is left: its token, and the answers, None at the end of the
        connection. Of answers that nobody takes the newest QUEUED are kept. Raises Closed."""
        token = self._token()
        queue = self._observed[token] = asyncio.Queue(QUEUED)
        try:
            self._write(replace(message, token=token))
            yield token, queue
        finally:
            self._observed.pop(token, None)

    def tell(self, message: Message) -> None:
        """Send under the message's own token: one more answer, or a request nobody waits for. Raises Closed."""
        if self.closed:
            raise Closed("the connection is closed")
        self._write(message)

    async def drained(self) -> None:
        """Until the peer takes what is written. Raises Closed."""
        await self._room.wait()
        if self.closed:
            raise Closed("the connection is closed")

    async def ping(self) -> None:
        """Until the peer's Pong. Raises Closed."""
        await self.request(Message(coap.PING))

    def release(self) -> None:
        """Say goodbye and close."""
        if not self.closed:
            self._write(Message(coap.RELEASE))
        self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting for what is still to be written."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HELD)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        sock: socket.socket = transport.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        size = coap.uint(LARGEST_MESSAGE)
        self._write(Message(coap.CSM, ((coap.CSM_MAX_MESSAGE_SIZE, size), (coap.CSM_BLOCKWISE, b""))))

    def data_received(self, data: bytes) -> None:
        self.heard_s = time.monotonic()
        self._frames.feed(data)
        self._pump()

    def pause_writing(self) -> None:
        self._choked = True
        self._room.clear()
        self._breathe()

    def resume_writing(self) -> None:
        self._choked = False
        self._room.set()
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._room.set()
        futures: list[asyncio.Future[Any]] = [self._settings, *self._waiting.values()]
        for waiting in futures:
            if not waiting.done():
                waiting.set_exception(Closed(str(exc or "closed by the peer")))
                waiting.exception()  # whoever waits hears of it; nobody must
        for queue in self._observed.values():
            _put(queue, None)
        for task in self._answering:
            task.cancel()
        if self._lost:
            self._lost(self)

    # -- inside

    def _pump(self) -> None:
        """Look at what came, as far as there is room to work on it."""
        try:
            while not self.closed and not self._choked and len(self._answering) < AT_ONCE:
                message = self._frames.next()
                if message is None:
                    break
                self._take(message)
        except BadMessage as bad:
            self._refuse(str(bad))
        self._breathe()

    def _breathe(self) -> None:
        """Stop reading while there is more than can be worked on."""
        full = self._choked or len(self._answering) >= AT_ONCE or self._frames.size > HELD
        if self._transport is None or self._transport.is_closing() or full == self._paused:
            return
        self._paused = full
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _take(self, message: Message) -> None:
        if message.code >= coap.CSM:
            self._signal(message)
        elif not self._settings.done():
            self._refuse("no CSM")
        elif message.is_response:
            self._hand(message)
        elif message.is_request:
            task = asyncio.get_running_loop().create_task(self._respond(message))
            self._answering.add(task)
            task.add_done_callback(self._responded)

    def _hand(self, message: Message) -> None:
        if (queue := self._observed.get(message.token)) is not None:
            _put(queue, message)
            return
        waiting = self._waiting.get(message.token)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _signal(self, message: Message) -> None:
        known = (coap.CSM_MAX_MESSAGE_SIZE, coap.CSM_BLOCKWISE) if message.code == coap.CSM else ()
        if any(number % 2 and number not in known for number, _ in message.options):
            self._refuse("a critical option")
        elif message.code == coap.CSM:
            if (largest := message.uint(coap.CSM_MAX_MESSAGE_SIZE)) is not None:
                self.largest = largest
            if not self._settings.done():
                self._settings.set_result(None)
        elif message.code == coap.PING:
            self._write(Message(coap.PONG, token=message.token))
        elif message.code == coap.PONG:
            self._hand(message)
        else:
            self.close()  # Release, Abort, or what nobody has defined

    async def _respond(self, request: Message) -> None:
        response = await self._answer(self, request)
        if response is not None:
            self._write(replace(response, token=request.token))

    def _responded(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and (bad := task.exception()) is not None:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a request could not be answered", "exception": bad})
        self._pump()

    def _refuse(self, why: str) -> None:
        self._write(Message(coap.ABORT, payload=why.encode()))
        self.close()

    def _write(self, message: Message) -> None:
        if self._transport is None or self._transport.is_closing():
            if message.is_request or message.code == coap.PING:
                raise Closed("the connection is closed")
            return
        self._transport.write(coap.to_frame(message))

    def _token(self) -> bytes:
        return next(t for t in map(coap.uint, self._tokens) if t not in self._waiting and t not in self._observed)


def _put(queue: asyncio.Queue[Message | None], message: Message | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(message)


async def refuse(_: Stream, request: Message) -> Message:
    """For an end that only asks."""
    return Message(coap.NOT_FOUND)
