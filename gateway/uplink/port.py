"""Confirmable datagrams to one center from a socket of their own (RFC 7252): several at once, each sent again on the
round trip that this way really takes. In: path and payload. Out: an `Answer`; never raises for what a network or a
center can do. Memory is what was asked and not yet answered.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, replace

from gateway.uplink.converse import post
from gateway.uplink.way import Answer, Kind, Way
from gateway.wire import coap, senml
from gateway.wire.coap import BadMessage, Message
from gateway.wire.pack import MAX_PAYLOAD

TIMES = 5  # a message is sent: after the time-out, then GROWTH times that, ...
GROWTH = 1.5  # few messages, and on a line that loses a fifth doubling costs an alarm half a second
SPREAD = 0.2  # of a time-out, so that messages lost together are not lost together again
ANSWER_S = 2.0  # for a center that has taken the message and thinks
DATAGRAM = MAX_PAYLOAD + 24  # bytes of a body; larger ones go in blocks


@dataclass(slots=True, eq=False)
class _Exchange:
    mid: int
    answered: asyncio.Future[Message]
    taken: asyncio.Event


class Port(asyncio.DatagramProtocol):
    """One lane's own socket."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._transport: asyncio.DatagramTransport | None = None
        self._address = ""
        self._opening = asyncio.Lock()
        self._mid = random.randrange(1 << 16)
        self._waiting: dict[bytes, _Exchange] = {}

    async def send(self, path: str, payload: bytes, content_format: int = senml.CONTENT_FORMAT) -> Answer:
        """Deliver one message; returns when the center has answered or is not there."""
        try:
            return await post(self._way, path, content_format, payload, self.ask, largest=DATAGRAM)
        except (OSError, TimeoutError) as bad:
            if not self._waiting:
                await self.close()  # the next one goes from a new port, in case this one is what is broken
            return Answer(Kind.DEAD, f"{type(bad).__name__} {bad}".strip())

    async def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
            await asyncio.sleep(0)

    async def ask(self, message: Message) -> Message:
        """Send a message as it is and wait for its answer. Raises OSError, TimeoutError."""
        self._mid = self._mid + 1 & 0xFFFF
        loop, trip = asyncio.get_running_loop(), self._way.trip
        exchange = _Exchange(self._mid, loop.create_future(), asyncio.Event())
        token = random.randbytes(3)
        packet = coap.to_datagram(replace(message, token=token, kind=coap.CON, mid=exchange.mid))
        began_s, wait_s = loop.time(), trip.timeout_s * random.uniform(1, 1 + SPREAD)
        self._waiting[token] = exchange
        try:
            for _ in range(TIMES):
                (await self._open()).sendto(packet)
                self._way.datagram(len(packet))
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await exchange.taken.wait()
                    break
                wait_s *= GROWTH
            async with asyncio.timeout(ANSWER_S if exchange.taken.is_set() else 0):
                response = await exchange.answered
        finally:
            del self._waiting[token]
            exchange.answered.cancel()
        trip.answered(loop.time() - began_s)
        return response

    async def _open(self) -> asyncio.DatagramTransport:
        async with self._opening:
            address = await self._way.address()
            if self._transport is None or self._transport.is_closing() or address != self._address:
                await self.close()
                host, _, port = address.rpartition(":")
                remote = (host.strip("[]"), int(port))
                loop = asyncio.get_running_loop()
                self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=remote)
                self._address = address
            return self._transport

    # -- asyncio's side

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._way.datagram(len(data))
        try:
            message = coap.from_datagram(data)
        except BadMessage:
            return
        if message.code == coap.EMPTY:
            self._signal(message)
        elif message.is_response:
            exchange = self._waiting.get(message.token)
            if exchange is None or (message.kind == coap.ACK and message.mid != exchange.mid):
                self._say(coap.RST, message)
                return
            self._say(coap.ACK, message)
            if not exchange.answered.done():
                exchange.answered.set_result(message)
                exchange.taken.set()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there, or there is no way: everything waiting learns it at once."""
        for exchange in self._waiting.values():
            if not exchange.answered.done():
                exchange.answered.set_exception(exc)
                exchange.taken.set()

    def _signal(self, message: Message) -> None:
        """An acknowledgement without its answer, or a reset."""
        exchange = next((one for one in self._waiting.values() if one.mid == message.mid), None)
        if exchange is None or message.kind not in (coap.ACK, coap.RST):
            return
        if message.kind == coap.RST and not exchange.answered.done():
            exchange.answered.set_exception(ConnectionResetError("the message was reset"))
        exchange.taken.set()

    def _say(self, kind: int, about: Message) -> None:
        if about.kind == coap.CON and self._transport is not None:
            self._way.datagram(4)
            self._transport.sendto(coap.to_datagram(Message(coap.EMPTY, kind=kind, mid=about.mid)))
