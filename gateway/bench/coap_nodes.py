"""CoAP nodes asked what they have: one by its address, or all of the networks here by their groups.

In: a URL. Out: who answers GET /.well-known/core (RFC 6690), and its paths, from all blocks of the answer (RFC 7959).
Read-only, bounded in time and in what it keeps; works without a site and without the driver's library.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from gateway.bench.elsewhere import Neighbour, Tell
from gateway.wire import coap
from protocols.coap import linkformat

PORT = 5683
GROUPS = ("224.0.1.187", "ff02::fd")  # All CoAP Nodes (RFC 7252, 12.8)
ONE_S = 4.0
GROUP_S = 6.0  # a node of a group answers within 5 s, when it likes (DEFAULT_LEISURE; RFC 7252, 8.2)
AGAIN_S = 1.0  # then a question that went to one address is asked once more
BLOCK_S = 2.0  # from one block to the next
MOST_S = 30.0
LARGEST = 65_536  # bytes of a list of resources; what is beyond is left out
_PATH = ((coap.URI_PATH, b".well-known"), (coap.URI_PATH, b"core"))

Answer = tuple["Voice", tuple[Any, ...], coap.Message]


class Voice(asyncio.DatagramProtocol):
    """One socket: questions out, answers to its own token into a queue. What cannot be sent is its `failure`."""

    def __init__(self, answers: asyncio.Queue[Answer]) -> None:
        self._answers = answers
        self._token = os.urandom(4)
        self._mids = count(int.from_bytes(os.urandom(2), "big"))
        self._transport: asyncio.DatagramTransport | None = None
        self.failure: OSError | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def error_received(self, exc: Exception) -> None:
        self.failure = exc if isinstance(exc, OSError) else OSError(str(exc))

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        try:
            message = coap.from_datagram(data)
        except coap.BadMessage:
            return
        if message.token != self._token or not message.is_response:
            return
        if message.kind == coap.CON:
            self._send(coap.Message(coap.EMPTY, kind=coap.ACK, mid=message.mid), addr)
        self._answers.put_nowait((self, addr, message))

    def question(self, kind: int, block: int | None = None) -> coap.Message:
        """GET /.well-known/core, from `block` (the option's value) on."""
        more = () if block is None else ((coap.BLOCK2, coap.uint(block)),)
        return coap.Message(coap.GET, (*_PATH, *more), b"", self._token, kind, next(self._mids) & 0xFFFF)

    def ask(self, question: coap.Message, address: tuple[Any, ...] | None) -> None:
        """`address` None: the one that the socket is connected to."""
        self._send(question, address)

    def _send(self, message: coap.Message, address: tuple[Any, ...] | None) -> None:
        assert self._transport is not None
        connected = self._transport.get_extra_info("peername") is not None
        self._transport.sendto(coap.to_datagram(message), None if connected else address)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@dataclass(slots=True)
class _Node:
    """One that answers: what it has said, and the question that it has yet to answer."""

    voice: Voice
    address: tuple[Any, ...]
    body: bytearray = field(default_factory=bytearray)
    asked: coap.Message | None = None

    @property
    def where(self) -> str:
        host, port = str(self.address[0]), self.address[1]
        return f"coap://[{host}]:{port}" if ":" in host else f"coap://{host}:{port}"

    def take(self, answer: coap.Message) -> bool:
        """Whether that was the last of it. What is not the block that comes next says nothing."""
        block = answer.uint(coap.BLOCK2) if answer.code == coap.CONTENT else None
        if block is None:
            self.body[:] = answer.payload if answer.code == coap.CONTENT else b""
            self.asked = None
            return True
        size = min(block & 7, 6) + 4
        if (block >> 4) << size != len(self.body):
            return False
        self.body += answer.payload[: 1 << size]
        if not block & 8 or len(answer.payload) != 1 << size or len(self.body) >= LARGEST:
            self.asked = None
            return True
        self.asked = self.voice.question(coap.CON, len(self.body) >> size << 4 | size - 4)
        self.voice.ask(self.asked, self.address)
        return False

    def shown(self) -> Neighbour:
        links = linkformat.links(self.body.decode("utf-8", "replace"))
        named = [f"{path} ({kind})" if (kind := said.get("rt")) else path for path, said in links.items()]
        return Neighbour(self.where, ", ".join(named) or "no resources", {"resources": list(links), "links": links})


async def scan_coap(url: str, tell: Tell) -> list[Neighbour]:
    """Nodes that answer; `coap://` with no host asks the groups of all CoAP nodes on every interface. Raises OSError
    where nothing can be sent."""
    parts = urlsplit(url)
    answers: asyncio.Queue[Answer] = asyncio.Queue()
    if not parts.hostname:
        async with _to_groups(parts.port or PORT, answers):
            return await _heard(answers, [], GROUP_S, tell)
    async with _to_host(parts.hostname, parts.port or PORT, answers) as voices:
        return await _heard(answers, voices, ONE_S, tell)


async def _heard(
    answers: asyncio.Queue[Answer], voices: list[tuple[Voice, coap.Message]], seconds: float, tell: Tell
) -> list[Neighbour]:
    """Until one of `voices` is answered in full; where there are none, until the time is over."""
    now = asyncio.get_running_loop().time
    nodes: dict[tuple[Any, ...], _Node] = {}
    found: list[Neighbour] = []
    begun = now()
    until, again = begun + seconds, begun + AGAIN_S
    while now() < until and not (voices and (found or all(voice.failure for voice, _ in voices))):
        try:
            async with asyncio.timeout(max(0.0, min(again, until) - now())):
                voice, address, message = await answers.get()
        except TimeoutError:
            again = now() + AGAIN_S
            _ask_again(nodes, voices)
            continue
        is_new = address not in nodes
        node = nodes.setdefault(address, _Node(voice, address))
        if not is_new and node.asked is None:
            continue  # the same answer by another interface
        if node.take(message):
            found.append(node.shown())
            tell(found[-1])
        else:
            until = min(max(until, now() + BLOCK_S), begun + MOST_S)
    whole = {one.where for one in found}
    for node in nodes.values():
        if node.where not in whole:  # it stopped in the middle
            found.append(node.shown())
            tell(found[-1])
    return found


def _ask_again(nodes: dict[tuple[Any, ...], _Node], voices: list[tuple[Voice, coap.Message]]) -> None:
    for node in nodes.values():
        if node.asked is not None:
            node.voice.ask(node.asked, node.address)
    if not nodes:
        for voice, question in voices:
            voice.ask(question, None)


@asynccontextmanager
async def _to_host(
    host: str, port: int, answers: asyncio.Queue[Answer]
) -> AsyncIterator[list[tuple[Voice, coap.Message]]]:
    """All addresses of a host, asked confirmably."""
    loop = asyncio.get_running_loop()
    voices: list[tuple[Voice, coap.Message]] = []
    failure = OSError("no such host")
    try:
        for family, _, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            try:
                where = str(address[0]), int(address[1])
                _, voice = await loop.create_datagram_endpoint(lambda: Voice(answers), remote_addr=where, family=family)
            except OSError as no:
                failure = no
                continue
            voices.append((voice, voice.question(coap.CON)))
            voice.ask(voices[-1][1], None)
        if not voices:
            raise failure
        yield voices
    finally:
        for voice, _ in voices:
            voice.close()


@asynccontextmanager
async def _to_groups(port: int, answers: asyncio.Queue[Answer]) -> AsyncIterator[None]:
    """Both groups, asked on every interface."""
    loop = asyncio.get_running_loop()
    voices: list[Voice] = []
    try:
        for family, index, address in _ways(port):
            asking = socket.socket(family, socket.SOCK_DGRAM)
            asking.setblocking(False)
            if family == socket.AF_INET and index:
                leaving_by = struct.pack("4s4si", bytes(4), bytes(4), index)  # struct ip_mreqn (ip(7))
                asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, leaving_by)
            _, voice = await loop.create_datagram_endpoint(lambda: Voice(answers), sock=asking)
            voices.append(voice)
            voice.ask(voice.question(coap.NON), address)
        failures = [voice.failure for voice in voices if voice.failure is not None]
        if len(failures) == len(voices):
            raise failures[0] if failures else OSError("no network")
        yield
    finally:
        for voice in voices:
            voice.close()


def _ways(port: int) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """(family, interface, group's address) of every question; interface 0 is where the route leads."""
    others = [index for index, name in socket.if_nameindex() if name != "lo"]
    yield socket.AF_INET, 0, (GROUPS[0], port)
    for index in others:
        yield socket.AF_INET, index, (GROUPS[0], port)
        yield socket.AF_INET6, index, (GROUPS[1], port, 0, index)
