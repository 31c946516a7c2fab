"""The way to one center: its address, whether it is open, how long it takes, what its answers mean.

While the way is shut only four bytes go out twice a second (a CoAP ping, RFC 7252 section 4.3) until any answer comes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from gateway.site.upstream import Upstream
from gateway.spool.trouble import Trouble
from gateway.uplink.roundtrip import RoundTrip
from gateway.wire import coap

STREAM = "coap+tcp"
COAP_PORT = 5683
PING_S = 0.5
AGAIN = 4  # messages lost to a center's check for freshness before it counts as busy
REPLAY = b"Replay detected"  # the words of a center of ours, and aiocoap's

log = logging.getLogger("citygate.uplink")


class Kind(Enum):
    STORED = "stored"
    REFUSED = "refused"  # this message, not this gateway
    STRANGER = "stranger"  # the center does not know our key, or we do not know its
    BUSY = "busy"
    ODD = "odd"  # an answer no center of ours gives
    DEAD = "dead"  # no answer
    NO_STREAM = "no stream"  # the center takes no connection
    CUT = "cut"  # a connection broke


@dataclass(frozen=True, slots=True)
class Answer:
    kind: Kind
    detail: str = ""
    wait_s: float = 0.0
    code: int = 0
    payload: bytes = b""


class Way:
    """Shared by the ports of one upstream."""

    def __init__(self, upstream: Upstream, gateway: str, context: Any) -> None:
        """`context`: a SecurityContext, None for an insecure upstream. Raises Trouble for a URI that cannot be used."""
        uri = urlsplit(upstream.uri)
        if uri.scheme not in ("coap", STREAM) or not uri.hostname:
            raise Trouble(
                "CG-4006",
                f"upstream {upstream.name}: {upstream.uri} is neither coap://HOST:PORT nor {STREAM}://HOST:PORT",
                f"업스트림 {upstream.name}: {upstream.uri} 은(는) coap://HOST:PORT 나 {STREAM}://HOST:PORT 가 아닙니다",
                next_en="Correct `uri` in the site file",
                next_ko="사이트 파일의 uri 를 고치십시오",
            )
        self.name = upstream.name
        self.gateway = gateway
        self.context = context
        self.streams_only = uri.scheme == STREAM
        self.bulk = "tcp" if self.streams_only else upstream.bulk
        self.promise_s = upstream.promise_s
        self.shares = upstream.shares
        self.role = upstream.role
        self.carried: Callable[[int, bool], None] = _uncounted  # bytes with headers, and whether they are no backlog's
        self.ping_s = PING_S
        self.bundles = True  # until the center says that it does not know them
        self.hellos = True
        self.heard_s = -math.inf  # time.monotonic of the last message that is stored
        self.prefix = tuple(part for part in uri.path.split("/") if part)
        self.query = () if context else (f"g={gateway}",)
        self.open = asyncio.Event()
        self.open.set()
        self.trip = RoundTrip()
        self.failures = 0
        self._host, self._port = uri.hostname, uri.port or COAP_PORT
        self._address = ""
        self._resolving: asyncio.Task[None] | None = None
        with suppress(ValueError):
            self._address = _written(str(ip_address(self._host)), self._port)

    async def address(self) -> str:
        """HOST:PORT in numbers; the last good one while names cannot be resolved. Raises OSError."""
        if not self._address:
            await self._resolve()
        return self._address

    def heard(self, answer: Answer) -> Answer:
        """Note a promise kept."""
        if answer.kind is Kind.STORED:
            self.heard_s = time.monotonic()
            self.failures = 0
        return answer

    def shown(self, state: str) -> dict[str, Any]:
        """For people, see gateway.spool.ways."""
        heard_s = round(time.monotonic() - self.heard_s, 1) if math.isfinite(self.heard_s) else None
        trip_ms = round(1e3 * self.trip.mean_s, 1) or None
        return {"state": state, "open": self.open.is_set(), "heard_s": heard_s, "round_trip_ms": trip_ms}

    def datagram(self, size: int) -> None:
        """One of so many bytes went or came."""
        self.carried(size + (48 if self._address.startswith("[") else 28), True)

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
                async with asyncio.timeout(PING_S):
                    await self._ping()
                return missed
            await asyncio.sleep(self.ping_s - (time.monotonic() - started))
            if missed % 20 == 19:
                with suppress(OSError):
                    await self._resolve()
        return 0

    async def _ping(self) -> None:
        loop = asyncio.get_running_loop()
        host, _, port = (await self.address()).rpartition(":")
        host = host.strip("[]")
        if self.streams_only:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((host, int(port)))
            self.datagram(4)
            sock.send(b"\x40\x00" + random.randbytes(2))
            self.datagram(len(await loop.sock_recv(sock, 64)))

    async def _resolve(self) -> None:
        """Ask for the name again, in a thread; one question at a time, however slow the answer."""
        if self._resolving is None or self._resolving.done():
            self._resolving = asyncio.get_running_loop().create_task(self._ask())
            self._resolving.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._resolving)

    async def _ask(self) -> None:
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        self._address = _written(str(found[0][4][0]), int(found[0][4][1]))


def _uncounted(size: int, live: bool) -> None:
    """No budget is kept."""


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def classify(code: int, payload: bytes, max_age: int | None) -> Answer:
    """What a center's answer means for the message."""
    if code == coap.CHANGED:
        return Answer(Kind.STORED, code=code, payload=payload)
    detail = f"{code >> 5}.{code & 31:02} {payload[:80].decode('utf-8', 'replace')}".strip()
    if code >> 5 == 5 or code == coap.TOO_MANY:
        return Answer(Kind.BUSY, detail, float(min(max_age or 0, 60)), code)
    if code == coap.UNAUTHORIZED:
        return Answer(Kind.STRANGER, detail)
    return Answer(Kind.REFUSED if code >> 5 == 4 else Kind.ODD, detail, code=code)


def backoff_s(failures: int) -> float:
    """0.2 s doubled with each failure up to 15 s, less a random part so that gateways do not come together."""
    return float(min(15.0, 0.2 * 2 ** min(failures, 10))) * random.uniform(0.6, 1.0)
