"""One aiocoap socket for all nodes of a process: requests out, responses and notifications in.

aiocoap's message and token layers do the work. Four habits of theirs are changed where they would hurt a gateway of
many nodes: message ids count per node (ids that all share come round within a node's memory of 247 s at 300 requests a
second), a refreshed observation keeps its token (RFC 7641, section 3.3.1), datagrams that nobody waits for are dropped
before they are decoded, and one that the library cannot decode does not close the socket.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import Counter
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import aiocoap
from aiocoap.messagemanager import MessageManager
from aiocoap.pipe import Pipe
from aiocoap.tokenmanager import TokenManager
from aiocoap.transports.udp6 import MessageInterfaceUDP6, UDP6EndpointAddress

from protocols.api import LinkDown, Tap
from protocols.coap.order import Allowance
from protocols.streams import HINTS, now_ns

log = logging.getLogger("coap")

_REQUESTS = range(0x01, 0x20)
RECEIVE_BYTES = 1 << 20
_KEPT = 8  # tokens are this long


class Caller:
    """Who waits for datagrams from one address: `counters` of its own, and an allowance."""

    def __init__(self, per_s: float, counters: Counter[str]) -> None:
        self.allowance = Allowance(per_s)
        self.counters = counters
        self.next_mid = secrets.randbelow(1 << 16)
        self.tap: Tap | None = None


Peer = tuple[str, int]  # address as IPv6 text, port


class _Tokens(TokenManager):  # type: ignore[misc]
    """A token may be asked for: the same one refreshes an observation."""

    wanted: bytes = b""

    def next_token(self) -> bytes:
        token, self.wanted = self.wanted or secrets.token_bytes(_KEPT), b""
        return token


class _Messages(MessageManager):  # type: ignore[misc]
    """Message ids count per node."""

    callers: dict[Peer, Caller]
    _to: Any = None

    def send_message(self, message: Any, messageerror_monitor: Any) -> Any:
        self._to = message.remote
        return super().send_message(message, messageerror_monitor)

    def _next_message_id(self) -> int:
        caller = self.callers.get(self._to.sockaddr[:2])
        if caller is None:
            return secrets.randbelow(1 << 16)
        mid, caller.next_mid = caller.next_mid, caller.next_mid + 1 & 0xFFFF
        return mid


class _Udp(MessageInterfaceUDP6):  # type: ignore[misc]
    """Only nodes are heard, each within its allowance, and nothing they send closes the socket."""

    callers: dict[Peer, Caller]
    strangers = 0

    def datagram_msg_received(self, data: bytes, ancdata: Any, flags: int, address: Any) -> None:
        caller = self.callers.get(address[:2])
        if caller is None:
            self.strangers += 1
            return
        if caller.tap is not None:
            caller.tap(False, data, now_ns())
        if not caller.allowance.take(now_ns()):
            caller.counters["limited"] += 1
            return
        if len(data) < 4 or data[1] in _REQUESTS:  # a gateway serves nothing
            caller.counters["malformed"] += 1
            return
        try:
            super().datagram_msg_received(data, ancdata, flags, address)
        except Exception:  # UnicodeDecodeError of an option, AssertionError of its tables: whatever bytes can provoke
            caller.counters["malformed"] += 1
            log.debug("a datagram from %s was not understood", address, exc_info=True)

    def send(self, message: Any) -> None:
        super().send(message)
        caller = self.callers.get(message.remote.sockaddr[:2])
        if caller is not None and caller.tap is not None:
            caller.tap(True, message.encode(), now_ns())


class Endpoint:
    """The socket of one event loop. Open it with `shared`."""

    _open: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Endpoint]] = WeakKeyDictionary()

    def __init__(self, tokens: _Tokens, messages: _Messages, udp: _Udp) -> None:
        self._tokens, self._messages, self._udp = tokens, messages, udp
        self._callers: dict[Peer, Caller] = {}
        messages.callers = udp.callers = self._callers
        self._users = 0

    @classmethod
    async def shared(cls) -> Endpoint:
        """The loop's socket, opened for the first who asks; each calls `release` once. Raises LinkDown."""
        loop = asyncio.get_running_loop()
        found = cls._open.get(loop)
        if found is None:
            opened = await cls._create(loop)
            found = cls._open.setdefault(loop, opened)
            if found is not opened:  # two asked at once
                await opened._tokens.shutdown()
        found._users += 1
        return found

    async def release(self) -> None:
        self._users -= 1
        if not self._users:
            self._open.pop(asyncio.get_running_loop(), None)
            await self._tokens.shutdown()

    @classmethod
    async def _create(cls, loop: asyncio.AbstractEventLoop) -> Endpoint:
        tokens = _Tokens(aiocoap.Context(loop=loop))
        messages = _Messages(tokens)
        try:
            udp = await _Udp.create_client_transport_endpoint(messages, log, loop)
        except OSError as failed:
            words = f"a UDP socket cannot be opened: {failed.strerror or failed}"
            raise LinkDown(words, code="CG-3040", hint=" / ".join(HINTS["CG-3040"])) from failed
        # nodes that answer all at once are not lost; the kernel gives at most net.core.rmem_max
        udp.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        messages.message_interface, tokens.token_interface = udp, messages
        return cls(tokens, messages, udp)

    @property
    def strangers(self) -> int:
        """Datagrams from addresses that no site names."""
        return self._udp.strangers

    async def resolve(self, url: str) -> UDP6EndpointAddress:
        """The address behind `coap://host[:port]`. Raises aiocoap's NetworkError or OSError."""
        return await self._udp.determine_remote(aiocoap.Message(uri=url, code=aiocoap.GET))

    def hear(self, remote: UDP6EndpointAddress, caller: Caller) -> bool:
        """Let datagrams from `remote` in; False where another link has this address."""
        return self._callers.setdefault(remote.sockaddr[:2], caller) is caller

    def ignore(self, remote: UDP6EndpointAddress) -> None:
        self._callers.pop(remote.sockaddr[:2], None)

    def request(self, message: Any, token: bytes = b"") -> Pipe:
        """A pipe to put `on_event` on before `send`."""
        pipe = Pipe(message, log)
        pipe.wanted_token = token
        return pipe

    def send(self, pipe: Pipe) -> None:
        self._tokens.wanted = pipe.wanted_token
        try:
            self._tokens.request(pipe)
        finally:
            self._tokens.wanted = b""
