"""The standing connection to one center (coap+tcp, RFC 8323), opened from here, over which the center asks.

In: an address, a context, a desk that answers. Out: a connection that is greeted under OSCORE, so that the center knows
whose it is, looked after with Ping, and opened again with growing pauses; requests of ours over it (`ask`). Counts its
bytes through `spent`. Opens nothing for others to connect to.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import cbor2

from gateway import VERSION
from gateway.agent.desk import Desk
from gateway.agent.resource import CBOR
from gateway.wire import coap
from gateway.wire.coap import Message
from gateway.wire.proven import Asking
from gateway.wire.stream import Closed, Stream

log = logging.getLogger("citygate.agent")

GREETING = "a"  # its path at the center
CONNECT_S = 10.0
GREET_S = 30.0
PING_S = 120.0  # well below the five minutes after which a NAT may forget a connection (RFC 5382 wants two hours)
LONGEST_PING_S = 900.0
PING_BYTES = 224  # a Ping, a Pong and their acknowledgements, headers included
PING_SHARE = 0.02  # of a month's budget
MONTH_S = 30 * 86_400.0
PONG_S = 15.0
COUNT_S = 10.0
STEADY_S = 10.0  # a connection that held so long starts the pauses anew
UNKNOWN_S = 300.0  # a center without an agent's desk is asked again

Spent = Callable[[socket.socket | None, bool], None]
"""A connection's socket, and whether it ends: count what it has cost."""


def ping_every_s(monthly_mb: float) -> float:
    """So that Pings take no more than PING_SHARE of a month's budget, given in 10^6 bytes; 0 for no limit."""
    if not monthly_mb:
        return PING_S
    return min(LONGEST_PING_S, max(PING_S, MONTH_S * PING_BYTES / (PING_SHARE * monthly_mb * 1e6)))


class Line:
    """`run` it until it is cancelled."""

    def __init__(
        self,
        name: str,
        context: Any,
        address: Callable[[], Awaitable[str]],
        desk: Callable[[], Desk],
        *,
        spent: Spent = lambda *_: None,
        ping_s: float = PING_S,
        pong_s: float = PONG_S,
        first_pause_s: float = 1.0,
    ) -> None:
        self.name = name
        self._context, self._address, self._desk, self._spent = context, address, desk, spent
        self._ping_s, self._pong_s, self._first_pause_s = ping_s, pong_s, first_pause_s
        self._stream: Stream | None = None
        self._asking: Asking | None = None
        self.up = asyncio.Event()
        self.since_s = 0.0  # time.monotonic of the greeting
        self._said = ""

    async def ask(self, message: Message, within_s: float) -> Message:
        """The center's answer. Raises OSError where there is no connection, TimeoutError."""
        if self._asking is None:
            raise Closed(f"no connection to {self.name}")
        async with asyncio.timeout(within_s):
            return await self._asking.whole(message)

    async def one(self, message: Message, within_s: float) -> Message:
        """As `ask`, but the block alone that was asked for."""
        if self._asking is None:
            raise Closed(f"no connection to {self.name}")
        async with asyncio.timeout(within_s):
            return await self._asking.one(message)

    async def ping(self, within_s: float) -> None:
        """Until the center's Pong. Raises OSError where there is no connection, TimeoutError."""
        if self._stream is None:
            raise Closed(f"no connection to {self.name}")
        async with asyncio.timeout(within_s):
            await self._stream.ping()

    async def is_reachable(self) -> bool:
        """Whether something takes connections there at all, whoever it is."""
        try:
            async with asyncio.timeout(CONNECT_S):
                host, _, port = (await self._address()).rpartition(":")
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def run(self) -> None:
        failures = 0
        while True:
            began_s = time.monotonic()
            try:
                pause_s = await self._once()
            except (OSError, TimeoutError) as bad:
                self._note(f"is shut: {bad or type(bad).__name__}")
                pause_s = 0.0
            if time.monotonic() - began_s > STEADY_S:
                failures = 0
            wait_s = max(pause_s, min(60.0, self._first_pause_s * 2 ** min(failures, 10)))
            await asyncio.sleep(wait_s * random.uniform(0.6, 1.0))
            failures += 1

    async def _once(self) -> float:
        """From the connection's first byte to its last. Seconds to stay away. Raises OSError, TimeoutError."""
        desk, stream, gone = self._desk(), None, asyncio.Event()
        try:
            stream = await self._connected(desk, gone)
            asking = Asking(self._context, stream.request)
            async with asyncio.timeout(GREET_S):
                greeted = await asking.one(greeting())
            if greeted.code != coap.CHANGED:
                self._note(f"takes no requests of a center: it answers {greeted.dotted}")
                return UNKNOWN_S
            self._stream, self._asking = stream, asking
            self.since_s = time.monotonic()
            self.up.set()
            self._note("is open")
            await self._kept(stream, gone)
            return 0.0
        finally:
            self.up.clear()
            self._stream = self._asking = None
            desk.close()
            if stream is not None:
                self._spent(stream.socket, True)
                stream.release()

    async def _connected(self, desk: Desk, gone: asyncio.Event) -> Stream:
        host, _, port = (await self._address()).rpartition(":")
        async with asyncio.timeout(CONNECT_S):
            loop = asyncio.get_running_loop()
            _, stream = await loop.create_connection(
                lambda: Stream(desk.answer, lambda _: gone.set()), host.strip("[]"), int(port)
            )
            try:
                await stream.greeted()
            except BaseException:
                stream.abort()
                raise
        return stream

    async def _kept(self, stream: Stream, gone: asyncio.Event) -> None:
        """Until the connection is gone. Raises Closed, TimeoutError for a center that hangs."""
        while True:
            quiet_s = time.monotonic() - stream.heard_s
            if quiet_s >= self._ping_s:
                await self._pinged(stream)
            if stream.closed:
                raise Closed("the center closed the connection")
            self._spent(stream.socket, False)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, min(COUNT_S, self._ping_s - (time.monotonic() - stream.heard_s)))):
                    await gone.wait()

    async def _pinged(self, stream: Stream) -> None:
        try:
            async with asyncio.timeout(self._pong_s):
                await stream.ping()
        except TimeoutError:
            stream.abort()
            raise TimeoutError("the center answers no Ping") from None

    def _note(self, state: str) -> None:
        """Log changes only."""
        if state != self._said:
            self._said = state
            log.log(logging.INFO if state == "is open" else logging.WARNING, "the way to %s %s", self.name, state)


def greeting() -> Message:
    """What makes a connection this gateway's, at the center."""
    options = ((coap.URI_PATH, GREETING.encode()), (coap.CONTENT_FORMAT, coap.uint(CBOR)))
    return Message(coap.POST, options, cbor2.dumps({"v": VERSION}))
