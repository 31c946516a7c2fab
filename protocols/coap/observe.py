"""Nodes that tell by themselves: registered, refreshed before what they said goes stale, registered again when lost.

In: notifications, as they arrive. Out: batches of what arrived since the last read. What is older than what is known is
dropped (RFC 7641, section 3.4); what nobody reads in time is dropped, oldest first. Both are counted.

A notification that was lost, a node that rebooted and forgot who listens, or a router that forgot the way back all
look alike: silence. So a resource that said nothing for its time is asked, with the token of its observation, which
registers it anew where it was forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from protocols.api import Batch, LinkDown, Quality
from protocols.coap.node import Answer, BadAnswer, NoAnswer, Node, Observation
from protocols.coap.order import Order
from protocols.coap.planner import Get, Row, batch
from protocols.coap.poll import PollReader, own_timeout_s
from protocols.streams import now_ns

QUEUE = 64  # notifications of one link that wait to be read
AGAIN_FIRST_S, AGAIN_LAST_S = 0.5, 30.0  # after a registration that failed
SHORTEST_S = 0.5  # between two questions to one resource, whatever Max-Age it gives
_BEFORE_STALE = 0.8  # of Max-Age
REGISTER_S = 4.0  # what a question may take where the profile says nothing; nobody waits for it
COUNTERS = ("notifications", "reordered", "refreshed", "lost", "ended", "dropped")


@dataclass(slots=True, eq=False)
class _Watched:
    """One resource. `due_ns`: when it is asked unless it speaks before; `rest`: only its first block came."""

    op: Get
    order: Order
    observation: Observation | None = None
    due_ns: int = 0
    pause_s: float = 0.0
    last: bytes | None = None
    rest: bool = False
    is_observable: bool = True


class ObserveReader(PollReader):
    """An open node that is listened to. `read` hands over; a task of its own keeps the observations."""

    def __init__(self, node: Node, ops: Sequence[Get]) -> None:
        super().__init__(node, ops)
        self._own.update(dict.fromkeys(COUNTERS, 0))
        self._watched = [_Watched(op, Order(node.is_protected)) for op in ops]
        self._queue: deque[list[Row]] = deque()
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._down: BaseException | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ObserveReader:
        self._keeper = asyncio.create_task(self._keep(), name="CoAP observations")
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for one in self._watched:
            if one.observation is not None:
                one.observation.cancel()
        await super().__aexit__(*failure)

    async def read(self, ops: Sequence[Get], timeout_s: float) -> Batch:
        if not self._queue and self._down is None:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
        if not self._queue and self._down is not None:
            raise self._down
        rows = [row for rows in self._queue for row in rows]
        self._queue.clear()
        return batch(rows)

    # -- what is kept up

    async def _keep(self) -> None:
        try:
            while True:
                self._changed.clear()
                for one in self._watched:
                    if one.rest or one.due_ns <= now_ns():
                        await self._ask_anew(one)
                wait_ns = min(one.due_ns for one in self._watched) - now_ns()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.001, wait_ns / 1e9)):
                        await self._changed.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as down:  # LinkDown, or a mistake of ours: `read` says so, and the scheduler sees it
            self._down = down
            self._arrived.set()

    async def _ask_anew(self, one: _Watched) -> None:
        """Raises LinkDown."""
        is_first, fetched = one.last is None, one.rest
        one.rest = False
        own_s = own_timeout_s(one.op.device, REGISTER_S)
        try:
            if fetched and one.observation is not None:
                answer = await self._node.ask("GET", one.op.path, own_s, accept=one.op.accept)
            else:
                answer = await self._register(one, own_s)
        except NoAnswer:
            self._failed(one, Quality.NO_REPLY)
            return
        except BadAnswer:
            self._failed(one, Quality.BAD_REPLY)
            return
        if not answer.is_good:
            self._node.counters["refused"] += 1
            self._failed(one, Quality.REFUSED)
            return
        if not fetched and not is_first and one.is_observable:
            self._own["refreshed"] += 1
            self._own["lost"] += answer.payload != one.last
        self._take(one, answer)

    async def _register(self, one: _Watched, timeout_s: float) -> Answer:
        observation = self._observation(one)
        one.observation = None
        try:
            answer = await observation.start(timeout_s)
        except NoAnswer:
            if not observation.passed_over:
                raise
            # a node that numbers anew and answers late cannot be told from an old notification: a new token can
            observation = self._observation(one)
            answer = await observation.start(timeout_s)
        one.is_observable = answer.is_good and answer.observe is not None
        if one.is_observable:
            one.observation = observation
            one.order = Order(self._node.is_protected)
            one.order.is_newer(answer.observe or 0, answer.arrived_ns)
        else:
            observation.stop()
        return answer

    def _observation(self, one: _Watched) -> Observation:
        return self._node.observe(
            one.op.path,
            one.op.accept,
            lambda answer, is_last: self._heard(one, answer, is_last),
            one.observation,
            lambda number: self._is_newer(one, number, now_ns()),
        )

    def _heard(self, one: _Watched, answer: Answer | None, is_last: bool) -> None:
        """Called by the socket for each notification."""
        if answer is None and not is_last:
            one.rest = True
            self._changed.set()
            return
        if answer is None or not answer.is_good or answer.observe is None:
            self._own["ended"] += 1
            one.observation = None
            one.due_ns = now_ns() + round(max(one.pause_s, SHORTEST_S) * 1e9)
            if answer is not None and answer.is_good:
                self._deliver(self._said(one.op, answer, latest=False))
            self._changed.set()
            return
        self._own["notifications"] += 1
        if self._is_newer(one, answer.observe, answer.arrived_ns):
            self._take(one, answer)

    def _is_newer(self, one: _Watched, number: int, arrived_ns: int) -> bool:
        newer = one.order.is_newer(number, arrived_ns)
        self._own["reordered"] += not newer
        return newer

    def _take(self, one: _Watched, answer: Answer) -> None:
        one.last, one.pause_s = answer.payload, 0.0
        one.due_ns = answer.arrived_ns + round(_patience_s(one, answer) * 1e9)
        self._deliver(self._said(one.op, answer, latest=False))
        self._changed.set()

    def _failed(self, one: _Watched, quality: Quality) -> None:
        one.observation = None
        one.pause_s = min(AGAIN_LAST_S, one.pause_s * 2 or AGAIN_FIRST_S)
        one.due_ns = now_ns() + round(one.pause_s * 1e9)
        self._deliver(self._meaning[one.op].failed(quality, now_ns()))

    def _deliver(self, rows: list[Row]) -> None:
        self._queue.append(rows)
        if len(self._queue) > QUEUE:
            self._queue.popleft()
            self._own["dropped"] += 1
        self._arrived.set()


def _patience_s(one: _Watched, answer: Answer) -> float:
    """How long the resource may say nothing."""
    if not one.is_observable:
        return max(SHORTEST_S / 10, one.op.period_s)
    asked_s = one.op.options.check_s or 2 * one.op.period_s
    return max(SHORTEST_S, min(asked_s, _BEFORE_STALE * answer.max_age_s))


__all__ = ["LinkDown", "ObserveReader"]
