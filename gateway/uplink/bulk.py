"""A backlog in bulk: coap+tcp (RFC 8323) with OSCORE, several requests in flight, many packs in each.

In: a `Source`, and a way. Out: what became of each parcel, told to `settle`; an `Answer` that says why it ended. The
connection is opened when there is a backlog and let go when there is none. Alarms never come this way, and `Pace` keeps
the line's buffers free for them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from gateway.spool.records import Record
from gateway.spool.trouble import SpoolError
from gateway.uplink import parcel
from gateway.uplink.link import Link
from gateway.uplink.pace import Pace
from gateway.uplink.parcel import Packed, Parcel
from gateway.uplink.source import Source
from gateway.uplink.way import Answer, Kind, Way, backoff_s
from gateway.wire import coap, hello, senml

log = logging.getLogger("citygate.uplink")

IDLE_S = 10.0  # the connection is kept so long after the last record
BODY = 16_000  # bytes of a message
MOST_PACKS = 256
STAND_BACK_S = 0.05  # for an alarm that wants the spool
REST = 1.0  # times what the work took: a backlog leaves half of a core to alarms and to the half that polls
SLICE = 8  # records taken from the spool at a time: an alarm may want it next
UNKNOWN_HERE = (coap.NOT_FOUND, coap.NOT_ALLOWED, coap.UNSUPPORTED_FORMAT, coap.BAD_OPTION)

T = TypeVar("T")
Do = Callable[..., Awaitable[Any]]
Settle = Callable[[Parcel, Answer], Awaitable[Sequence[Packed]]]  # gives back what must be sent again


class Bulk:
    """One upstream's. `do` runs a call in the spool's thread, `pack` makes messages of records there."""

    def __init__(
        self, way: Way, do: Do, source: Callable[[], Source], pack: Callable[[Sequence[Record]], list[Packed]],
        settle: Settle, greeting: Callable[[], bytes], full: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._way = way
        self._do = do
        self._new_source = source
        self._pack = pack
        self._settle = settle
        self._greeting = greeting
        self._full = full
        self._ratio = 4.0
        self._busy = 0  # answers in a row that say so
        self.news = asyncio.Event()
        self.calm = asyncio.Event()  # no alarm waits to be sent
        self.calm.set()

    async def drain(self) -> Answer:
        """STORED: nothing waits any more. NO_STREAM: there was no connection to be had. CUT: it broke. Else as `Kind`
        says. Raises SpoolError."""
        try:
            link = await Link.open(self._way, live=self._way.bulk == "tcp")
        except (OSError, TimeoutError) as bad:
            return Answer(Kind.NO_STREAM, str(bad) or "no answer")
        source = self._new_source()
        try:
            answer = await link.deliver(hello.PATH, senml.CONTENT_FORMAT, await self._do(self._greeting))
            if answer.kind is not Kind.STORED and answer.code not in UNKNOWN_HERE:
                return answer
            return await self._pour(link, source)
        finally:
            link.close()
            with suppress(SpoolError):
                await asyncio.shield(self._do(source.close))

    async def _pour(self, link: Link, source: Source) -> Answer:
        """Until nothing is left, or something says stop."""
        line, again = Pace(), list[Parcel]()
        flying: set[asyncio.Task[tuple[Parcel, Answer]]] = set()
        self._busy = 0
        try:
            while True:
                self.news.clear()
                one = None
                if line.may_send() and not self._full():
                    one = again.pop() if again else await self._next(link, source)
                if one is not None:
                    line.sent(len(one.payload))
                    flying.add(asyncio.get_running_loop().create_task(self._fly(link, one, line)))
                    landed = {task for task in flying if task.done()}
                elif flying:
                    landed, _ = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                elif await _happens(self.news, IDLE_S):
                    continue
                else:
                    return Answer(Kind.STORED)
                flying -= landed
                ends = [await self._landed(*task.result(), again) for task in landed]
                if stop := next(filter(None, ends), None):
                    return stop
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    async def _landed(self, sent: Parcel, answer: Answer, again: list[Parcel]) -> Answer | None:
        """What must be sent again goes into `again`. The answer, where it means stop."""
        if answer.code in UNKNOWN_HERE and sent.is_bundle:
            self._way.bundles = False
            return answer
        if answer.kind is Kind.REFUSED and len(sent.packed) > 1:
            again += parcel.halves(sent, self._way.promise_s)
            return None
        rest = await self._settle(sent, answer)
        again += parcel.within(rest, BODY, self._way.promise_s) if rest else []
        if answer.kind is Kind.BUSY:
            self._busy += 1
            again.append(sent)
            await asyncio.sleep(max(backoff_s(self._busy), answer.wait_s))
            return None
        self._busy = 0
        return None if answer.kind in (Kind.STORED, Kind.REFUSED) else answer

    async def _fly(self, link: Link, one: Parcel, line: Pace) -> tuple[Parcel, Answer]:
        try:
            return one, await link.deliver(one.path, one.content_format, one.payload)
        finally:
            line.answered(len(one.payload), link.line(), time.monotonic())

    async def _next(self, link: Link, source: Source) -> Parcel | None:
        """The next message, full where there is enough to fill it."""
        packed: list[Packed] = []
        room = min(BODY, link.room)
        size = 0
        while size < room * self._ratio and len(packed) < MOST_PACKS:
            await _happens(self.calm, STAND_BACK_S)
            began_s = time.monotonic()
            records = await self._do(source.next, SLICE)
            if not records:
                break
            more = await self._do(self._pack, records)
            await asyncio.sleep(REST * (time.monotonic() - began_s))
            packed += more
            size += sum(len(one.pack) + parcel.OVERHEAD for one in more)
        if not packed:
            return None
        made: Parcel = await self._do(parcel.wrapped, packed, self._way.promise_s)
        if made.is_bundle:
            self._ratio += 0.2 * (min(16.0, 0.95 * size / len(made.payload)) - self._ratio)
        return made


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
        return True
    return False
