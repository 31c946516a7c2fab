"""One connection to a center (coap+tcp, RFC 8323): messages out with OSCORE, an `Answer` for each. Raises OSError and
TimeoutError only where it is opened; a connection that breaks is an answer too.

`StreamPort` stands where a `Port` does, for networks that let no datagrams through.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from gateway.uplink import budget, pace
from gateway.uplink.converse import post
from gateway.uplink.way import Answer, Kind, Way
from gateway.wire import senml
from gateway.wire.stream import Closed, Stream, refuse

CONNECT_S = 5.0
ANSWER_S = 30.0  # for a center whose disk is slow
PING_S = 2.0
SILENT_S = 8.0  # a peer that owes an answer and answers no ping for so long is gone
STUCK_S = 25.0  # even where its kernel still takes bytes


class Link:
    """Made with `open`. Any number of `deliver` at once."""

    def __init__(self, way: Way, stream: Stream, *, live: bool = False) -> None:
        """`live`: not for a backlog alone."""
        self._way = way
        self._stream = stream
        self._live = live
        self._counted = 0  # bytes
        self._watching = asyncio.get_running_loop().create_task(_watch(stream))

    @classmethod
    async def open(cls, way: Way, *, live: bool = False) -> Link:
        """Raises OSError, TimeoutError."""
        host, _, port = (await way.address()).rpartition(":")
        async with asyncio.timeout(CONNECT_S):
            loop = asyncio.get_running_loop()
            _, stream = await loop.create_connection(lambda: Stream(refuse), host.strip("[]"), int(port))
            try:
                await stream.greeted()
            except BaseException:
                stream.abort()
                raise
        return cls(way, stream, live=live)

    @property
    def closed(self) -> bool:
        return self._stream.closed

    @property
    def room(self) -> int:
        """Bytes of a body that the center takes."""
        return self._stream.largest - 200

    def line(self) -> pace.Line | None:
        return pace.look(self._stream.socket)

    async def deliver(self, path: str, content_format: int, payload: bytes) -> Answer:
        """CUT where the connection is gone."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await post(
                    self._way, path, content_format, payload, self._stream.request, largest=self._stream.largest
                )
        except TimeoutError:
            self._stream.abort()
            return Answer(Kind.CUT, "no answer to a message")
        except OSError as bad:
            return Answer(Kind.CUT, str(bad))
        finally:
            self._count()

    def _count(self, *, ended: bool = False) -> None:
        passed = max(self._counted, budget.passed(self._stream.socket, ended=ended))
        self._way.carried(passed - self._counted, self._live)
        self._counted = passed

    def close(self) -> None:
        self._count(ended=True)
        self._watching.cancel()
        self._stream.release()


class StreamPort:
    """One lane's own connection, opened when there is something to send and kept."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._link: Link | None = None

    async def send(self, path: str, payload: bytes, content_format: int = senml.CONTENT_FORMAT) -> Answer:
        """As `Port.send`."""
        for fresh in (False, True):
            try:
                if self._link is None or self._link.closed:
                    fresh = True
                    await self.close()
                    self._link = await Link.open(self._way, live=True)
            except (OSError, TimeoutError) as bad:
                return Answer(Kind.DEAD, f"{type(bad).__name__} {bad}".strip())
            answer = await self._link.deliver(path, content_format, payload)
            if answer.kind is not Kind.CUT:
                return answer
            await self.close()
            if fresh:
                break  # an old connection may have died long ago; a new one tells
        return Answer(Kind.DEAD, answer.detail)

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


async def _watch(stream: Stream) -> None:
    """Abort a connection whose other end owes an answer and is gone without a word: a cut line, a NAT that forgot, a
    hung center. An idle connection costs nothing: only the kernel's keep-alive holds it."""
    acknowledged = 0
    since_s = time.monotonic()  # nobody waits since
    pinging: asyncio.Task[None] | None = None
    try:
        while not stream.closed:
            await asyncio.sleep(PING_S / 2)
            now_s = time.monotonic()
            if not stream.busy:
                since_s = now_s
                continue
            quiet_s = now_s - max(stream.heard_s, since_s)
            line = pace.look(stream.socket)
            before, acknowledged = acknowledged, line.acknowledged if line else 0
            if quiet_s > (STUCK_S if acknowledged > before else SILENT_S):
                stream.abort()
            elif quiet_s >= PING_S and (pinging is None or pinging.done()):
                pinging = asyncio.get_running_loop().create_task(_ping(stream))
    finally:
        if pinging is not None:
            pinging.cancel()


async def _ping(stream: Stream) -> None:
    with suppress(Closed):
        await stream.ping()
