"""The way to one center: its address, whether it is open, how long it takes; and `Port`, a socket of its own with one
message at a time. In: path and payload. Out: an `Answer`. Never raises for what a network or a center can do.

While the way is shut only four bytes go out twice a second (a CoAP ping, RFC 7252 section 4.3) until any answer comes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiocoap
from aiocoap import error, oscore
from aiocoap.message import UndecidedRemote
from aiocoap.numbers.codes import CHANGED, POST, UNAUTHORIZED
from aiocoap.transports.oscore import OSCOREAddress

from gateway.site.upstream import Upstream
from gateway.spool.trouble import Trouble
from gateway.uplink.roundtrip import RoundTrip, Tuning
from gateway.wire import senml
from gateway.wire.pack import MAX_PAYLOAD

PING_S = 0.5
ANSWER_S = 2.0  # for a center that has taken the message and thinks
AGAIN = 3  # messages lost to a center's check for freshness before it counts as busy
REPLAY = b"Replay detected"  # aiocoap's words
ROTATE = 30_000  # messages on one port: the library stops at 65,530 in 247 s

log = logging.getLogger("citygate.uplink")


class Kind(Enum):
    STORED = "stored"
    REFUSED = "refused"  # this message, not this gateway
    STRANGER = "stranger"  # the center does not know our key, or we do not know its
    BUSY = "busy"
    ODD = "odd"  # an answer no center of ours gives
    DEAD = "dead"  # no answer
    STALE = "stale"  # the center started again meanwhile, or another lane was first to prove that we are alive


@dataclass(frozen=True, slots=True)
class Answer:
    kind: Kind
    detail: str = ""
    wait_s: float = 0.0


class Way:
    """Shared by the ports of one upstream."""

    def __init__(self, upstream: Upstream, gateway: str, context: Any) -> None:
        """`context`: a SecurityContext, None for an insecure upstream. Raises Trouble for a URI that cannot be used."""
        uri = urlsplit(upstream.uri)
        if uri.scheme != "coap" or not uri.hostname:
            raise Trouble(
                "CG-4006",
                f"upstream {upstream.name}: {upstream.uri} is not coap://HOST:PORT",
                f"업스트림 {upstream.name}: {upstream.uri} 은(는) coap://HOST:PORT 형식이 아닙니다",
                next_en="Correct `uri` in the site file",
                next_ko="사이트 파일의 uri 를 고치십시오",
            )
        self.name = upstream.name
        self.context = context
        self.prefix = tuple(part for part in uri.path.split("/") if part)
        self.query = () if context else (f"g={gateway}",)
        self.open = asyncio.Event()
        self.open.set()
        self.trip = RoundTrip()
        self.failures = 0
        self._host, self._port = uri.hostname, uri.port or aiocoap.COAP_PORT
        self._address = ""
        self._resolving: asyncio.Task[None] | None = None
        with suppress(ValueError):
            self._address = _written(str(ip_address(self._host)), self._port)

    async def address(self) -> str:
        """HOST:PORT in numbers; the last good one while names cannot be resolved. Raises OSError."""
        if not self._address:
            await self._resolve()
        return self._address

    async def shut(self) -> None:
        """The way is dead: ping until it is not. Returns when it is worth trying again."""
        if not self.open.is_set():
            await self.open.wait()
            return
        self.open.clear()
        self.failures += 1
        try:
            with suppress(OSError):
                await self._resolve()
            if await self._ping_until_answer() == 0:
                # It answers pings but not messages: slow down instead of filling it.
                await asyncio.sleep(backoff_s(self.failures))
        finally:
            self.open.set()

    async def _ping_until_answer(self) -> int:
        for missed in itertools.count():
            started = time.monotonic()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(self._ping(), PING_S)
                return missed
            await asyncio.sleep(PING_S - (time.monotonic() - started))
            if missed % 20 == 19:
                with suppress(OSError):
                    await self._resolve()
        return 0

    async def _ping(self) -> None:
        loop = asyncio.get_running_loop()
        host, _, port = (await self.address()).rpartition(":")
        host = host.strip("[]")
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((host, int(port)))
            sock.send(b"\x40\x00" + random.randbytes(2))
            await loop.sock_recv(sock, 64)

    async def _resolve(self) -> None:
        """Ask for the name again, in a thread; one question at a time, however slow the answer."""
        if self._resolving is None or self._resolving.done():
            self._resolving = asyncio.get_running_loop().create_task(self._ask())
            self._resolving.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._resolving)

    async def _ask(self) -> None:
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        self._address = _written(str(found[0][4][0]), int(found[0][4][1]))


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Port:
    """One lane's own socket."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._context: Any = None
        self._sent = 0

    async def send(self, path: str, payload: bytes) -> Answer:
        """Deliver one message; returns when the center has answered or is not there.

        A center that started anew asks for freshness (RFC 8613, appendix B.1.2), which the library answers. When it
        starts once more in between, or the other port answers first with a higher number, the message was just unlucky:
        it goes out again under a new number."""
        for _ in range(AGAIN):
            answer = await self._once(path, payload)
            if answer.kind is not Kind.STALE:
                return answer
        return Answer(Kind.BUSY, answer.detail)

    async def _once(self, path: str, payload: bytes) -> Answer:
        way = self._way
        tuning = Tuning(way.trip.timeout_s)
        try:
            if self._context is None or self._sent >= ROTATE:
                await self._renew()
            remote = UndecidedRemote("coap", await way.address())
            message = aiocoap.Message(
                code=POST,
                uri_path=(*way.prefix, path),
                uri_query=way.query,
                content_format=senml.CONTENT_FORMAT,
                payload=payload,
                transport_tuning=tuning,
            )
            message.remote = OSCOREAddress(way.context, remote) if way.context else remote
            self._sent += 1
            started = time.monotonic()
            response = await self._answer(message, len(payload) > MAX_PAYLOAD, tuning.patience_s + ANSWER_S)
        except oscore.NotAProtectedMessage as plain:
            code = plain.plain_message.code
            if code == UNAUTHORIZED and plain.plain_message.payload == REPLAY:
                return Answer(Kind.STALE, "asks for fresh numbers")
            return Answer(Kind.BUSY if code.class_ == 5 else Kind.STRANGER, str(code))
        except oscore.ProtectionInvalid:
            await self.close()
            return Answer(Kind.STRANGER, "an answer with another key")
        except oscore.ContextUnavailable:
            return Answer(Kind.STRANGER, "the numbers of this key are used up")
        except (TimeoutError, error.Error, OSError, ValueError) as bad:
            await self.close()
            return Answer(Kind.DEAD, f"{type(bad).__name__} {bad}".strip())
        way.trip.answered(time.monotonic() - started)
        return classify(response)

    async def _answer(self, message: Any, large: bool, within_s: float) -> Any:
        """The response, or the library's error. A request is never cancelled, which would leave its OSCORE task behind
        (aiocoap 0.4.17): the context is shut down under it instead."""
        response = self._context.request(message, handle_blockwise=large).response
        response.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait((response,), timeout=within_s)
        finally:
            if not response.done():
                await self.close()
        return await response

    async def close(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            await context.shutdown()

    async def _renew(self) -> None:
        await self.close()
        self._context = await aiocoap.Context.create_client_context(transports=["oscore", "simple6"])
        self._sent = 0


def classify(response: Any) -> Answer:
    """What a center's answer means for the message."""
    code = response.code
    if code == CHANGED:
        return Answer(Kind.STORED)
    words = response.payload[:80].decode("utf-8", "replace")
    detail = f"{code} {words}".strip()
    if code.class_ == 5 or code.dotted == "4.29":
        return Answer(Kind.BUSY, detail, float(min(response.opt.max_age or 0, 60)))
    if code == UNAUTHORIZED and response.opt.echo is not None:
        return Answer(Kind.STALE, "asks for fresh numbers")
    if code == UNAUTHORIZED:
        return Answer(Kind.STRANGER, detail)
    return Answer(Kind.REFUSED if code.class_ == 4 else Kind.ODD, detail)


def backoff_s(failures: int) -> float:
    """0.2 s doubled with each failure up to 15 s, less a random part so that gateways do not come together."""
    return float(min(15.0, 0.2 * 2 ** min(failures, 10))) * random.uniform(0.6, 1.0)
