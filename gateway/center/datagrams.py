"""A center's datagram side (RFC 7252, sections 4 and 5): requests in, each answered once, however often it comes.

The answer goes out with the acknowledgement when it is ready soon, else in a confirmable message of its own. Answers
are kept for a sender who asks again, a bounded number of them for a bounded time, and only for senders that have shown
a key: a stranger costs no memory.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gateway.wire import coap
from gateway.wire.coap import BadMessage, Message

log = logging.getLogger("citygate.center")

Address = tuple[Any, ...]
Answer = Callable[[Message, str], Awaitable[tuple[Message | None, bool]]]
Ancillary = list[tuple[int, int, bytes]]

ACK_AFTER_S = 0.3  # an answer that takes longer is acknowledged first
KEPT_S = 20.0  # gateways give up asking again after half of that
KEPT = 8192
AT_ONCE = 1024  # requests being answered; more are not read
A_TURN = 64  # datagrams read before others get their turn
RESENT_S = (0.5, 1.0, 2.0, 4.0)
RECEIVE_BUFFER = 1 << 22
IP_PKTINFO = 8
LARGEST = 2048
AMPLIFIED = 3  # times what a stranger sent: no more goes back
EMPTY = 4  # bytes of an acknowledgement


class Datagrams:
    """Reads `sock` until `close`."""

    def __init__(self, sock: socket.socket, answer: Answer) -> None:
        self._sock = sock
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._kept: OrderedDict[tuple[Address, int], tuple[float, bytes]] = OrderedDict()
        self._working: dict[tuple[Address, int], asyncio.Task[None]] = {}
        self._unacknowledged: dict[tuple[Address, int], asyncio.Event] = {}
        self._mid = random.randrange(1 << 16)
        self._dropped = 0
        self._reading = False
        self._read(True)

    async def close(self) -> None:
        """Answer what was taken, then stop."""
        self._read(False)
        if self._working:
            await asyncio.wait(self._working.values(), timeout=2.0)
        for task in self._working.values():
            task.cancel()
        self._sock.close()

    def _read(self, on: bool) -> None:
        if on != self._reading:
            self._reading = on
            if on:
                self._loop.add_reader(self._sock, self._receive)
            else:
                self._loop.remove_reader(self._sock)

    def _receive(self) -> None:
        for _ in range(A_TURN):
            if len(self._working) >= AT_ONCE:
                self._read(False)  # the rest waits in the socket's buffer, or is lost and comes again
                return
            try:
                data, ancillary, _, sender = self._sock.recvmsg(LARGEST, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an answer of ours met a closed port
            try:
                message = coap.from_datagram(data)
            except BadMessage:
                self._dropped += 1
                if self._dropped == 1:
                    log.warning("a datagram that is not CoAP was dropped; further ones are not logged")
                continue
            self._take(message, sender, _same_way(ancillary))

    def _take(self, message: Message, sender: Address, way: Ancillary) -> None:
        key = (sender, message.mid)
        if message.kind in (coap.ACK, coap.RST):
            if waiting := self._unacknowledged.get(key):
                waiting.set()
        elif message.is_request:
            if kept := self._kept.get(key):
                self._send(kept[1], sender, way)
            elif key not in self._working:
                task = self._loop.create_task(self._respond(message, sender, way))
                self._working[key] = task
                task.add_done_callback(lambda done: self._done(key, done))
        elif message.kind == coap.CON:
            # a ping, or an answer to nothing we asked
            self._send(coap.to_datagram(Message(coap.EMPTY, kind=coap.RST, mid=message.mid)), sender, way)

    def _done(self, key: tuple[Address, int], task: asyncio.Task[None]) -> None:
        del self._working[key]
        if not task.cancelled() and (bad := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "a request could not be answered", "exception": bad})
        if not self._reading and self._sock.fileno() >= 0:
            self._read(True)

    async def _respond(self, request: Message, sender: Address, way: Ancillary) -> None:
        key = (sender, request.mid)
        answering = asyncio.ensure_future(self._answer(request, str(sender[0])))
        confirmable = request.kind == coap.CON
        acknowledged = False
        try:
            if confirmable:
                await asyncio.wait((answering,), timeout=ACK_AFTER_S)
                if not answering.done():
                    acknowledged = True
                    empty = coap.to_datagram(Message(coap.EMPTY, kind=coap.ACK, mid=request.mid))
                    self._keep(key, empty)
                    self._send(empty, sender, way)
            response, known = await answering
        finally:
            answering.cancel()
        if response is None:
            return
        response = replace(response, token=request.token)
        if confirmable and not acknowledged:
            packet = coap.to_datagram(replace(response, kind=coap.ACK, mid=request.mid))
            if known:
                self._keep(key, packet)
            self._send(packet, sender, way)
        elif confirmable and known:
            await self._send_until_acknowledged(response, sender, way)
        elif confirmable:
            # once: whoever forges a sender must not make us send more than it costs
            packet = coap.to_datagram(replace(response, kind=coap.CON, mid=self._next_mid()))
            if len(packet) + EMPTY <= AMPLIFIED * len(coap.to_datagram(request)):
                self._send(packet, sender, way)
        else:
            self._send(coap.to_datagram(replace(response, kind=coap.NON, mid=self._next_mid())), sender, way)

    async def _send_until_acknowledged(self, response: Message, sender: Address, way: Ancillary) -> None:
        mid = self._next_mid()
        packet = coap.to_datagram(replace(response, kind=coap.CON, mid=mid))
        seen = self._unacknowledged[sender, mid] = asyncio.Event()
        try:
            for wait_s in RESENT_S:
                self._send(packet, sender, way)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await seen.wait()
                    return
        finally:
            self._unacknowledged.pop((sender, mid), None)

    def _keep(self, key: tuple[Address, int], packet: bytes) -> None:
        now_s = time.monotonic()
        self._kept.pop(key, None)
        self._kept[key] = (now_s, packet)
        while self._kept and (len(self._kept) > KEPT or next(iter(self._kept.values()))[0] < now_s - KEPT_S):
            self._kept.popitem(last=False)

    def _send(self, packet: bytes, sender: Address, way: Ancillary) -> None:
        with suppress(OSError):  # as if the line had lost it
            self._sock.sendmsg([packet], way, 0, sender)

    def _next_mid(self) -> int:
        self._mid = self._mid + 1 & 0xFFFF
        return self._mid


def open_socket(host: str, port: int) -> socket.socket:
    """Raises OSError. One socket that listens at every address answers from the one that was asked."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if host == "::":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif host == "0.0.0.0":
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _same_way(ancillary: Ancillary) -> Ancillary:
    """Answer from the address that was asked, by whatever interface leads back."""
    out: Ancillary = []
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            address, interface = data[:16], struct.unpack("@I", data[16:20])[0]
            local = address[:2] == b"\xfe\x80"
            out.append((level, kind, address + struct.pack("@I", interface if local else 0)))
        elif level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            out.append((level, kind, struct.pack("@I4s4s", 0, data[4:8], bytes(4))))
    return out
