"""One task a link: it owns time, retry and quarantine, so that no device can hurt another.

Polls are on an absolute schedule with spread phases: an overrun is skipped and counted, never piled up. Writes go
through the same task, ahead of the polls. A device that does not answer is asked again after growing pauses
(quarantine, per device); a link that is down is opened again with jittered back-off. Everything that fails comes out as
rows with a quality code.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from gateway.field.clock import boottime_ns
from gateway.field.tape import Tape
from gateway.field.watchdog import PATIENCE_NS, Pulse
from gateway.site.plan import LinkPlan
from protocols import registry
from protocols.api import Batch, Identifier, Learner, LinkDown, Quality, Reader, Remembering, Tapped, Writer, Written

log = logging.getLogger("citygate.link")

T = TypeVar("T")
FellOut = Callable[[str, str, str], None]  # (link, device or "", why)

RECONNECT_FIRST_S, RECONNECT_LAST_S = 0.2, 15.0
REPLUG_LAST_S = 5.0  # a serial port that was unplugged is looked for more often: looking costs nothing
QUARANTINE_AFTER = 3  # failures in a row
QUARANTINE_FIRST_S, QUARANTINE_LAST_S = 1.0, 30.0
LISTEN_S = 0.5  # how long a listener waits before it looks whether it should stop


@dataclass(slots=True)
class _Health:
    """What the scheduler remembers of one device."""

    failures: int = 0
    pause_s: float = 0.0
    not_before_ns: int = 0

    def answered(self) -> None:
        self.failures, self.pause_s, self.not_before_ns = 0, 0.0, 0

    def missed(self, now_ns: int) -> bool:
        """Count a failure; True when it begins or prolongs a quarantine."""
        self.failures += 1
        if self.failures < QUARANTINE_AFTER:
            return False
        self.pause_s = min(QUARANTINE_LAST_S, self.pause_s * 2 or QUARANTINE_FIRST_S)
        self.not_before_ns = now_ns + round(self.pause_s * 1e9)
        return True


class _Errand(NamedTuple):
    """Something to be done on the open link between two polls, and who waits for it."""

    work: Callable[[Reader[Any]], Awaitable[Any]]
    done: asyncio.Future[Any]


class LinkRunner:
    """Runs one link until `stop` is set: opens it, polls or listens, opens it again when it went down."""

    def __init__(
        self,
        plan: LinkPlan,
        sink: Callable[[Batch], None],
        phase: float = 0.0,
        tape: Tape | None = None,
        fell_out: FellOut | None = None,
    ) -> None:
        """`phase`, 0 to 1: where in its periods this link polls, so that not all links do it at once. `tape`: gets the
        bytes that pass. `fell_out`: told of a device (or "", the link) that answers no more."""
        self.tape = tape
        self.fell_out = fell_out
        self._plan = plan
        self.sink = sink  # another one takes over where the plan around the link changes
        self.numbers: Mapping[int, int] | None = None  # by the numbers of a later plan, those of this one
        self._driver = registry.driver(plan.driver)
        self._ops: Sequence[Any] = plan.ops
        self._health = {op.device.name: _Health() for op in plan.ops}
        self._channels = [channel for op in plan.ops for channel in op.channels]
        self._shared_line = any(op.wire_s(plan.link) > 0 for op in plan.ops)
        self._phases = list(_phases(plan.ops, phase, self._shared_line))
        self._is_well = True  # no device has failed lately
        self._errands: deque[_Errand] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._unidentified = {op.device.name: op.device for op in plan.ops}
        self._started_ns: int | None = None
        self._busy_ns = 0
        self.identity: dict[str, Mapping[str, str]] = {}  # what devices said of themselves
        self.up = False
        self.fault: LinkDown | None = None
        self.overruns = 0  # polls skipped because the line was still busy
        self.polls = 0
        self.steps = 0  # grows with whatever ended: a poll, a listening, an attempt to open the link
        self.rests_until_ns = 0  # nothing is to be done before
        self.reconnects = 0
        self.reader: Reader[Any] | None = None
        self.memory: dict[str, int] = {}  # what a reader must not believe again, by device

    def remembered(self) -> Mapping[str, int]:
        """`memory`, brought up to date."""
        if isinstance(self.reader, Remembering):
            self.memory.update(self.reader.memory())
        return self.memory

    @property
    def name(self) -> str:
        return self._plan.link.name

    @property
    def quarantined(self) -> list[str]:
        return sorted(name for name, health in self._health.items() if health.not_before_ns)

    def pulse(self) -> Pulse:
        """For the watchdog: one turn may ask every device in vain, twice."""
        asking_ns = round(2e9 * self._plan.timeout_s * len(self._ops))
        return Pulse(f"link {self.name}", self.steps, self.rests_until_ns, PATIENCE_NS + asking_ns)

    @property
    def planned(self) -> float:
        """The part of a shared line's time that the schedule needs."""
        return float(sum(op.wire_s(self._plan.link) / op.period_s for op in self._ops if op.period_s > 0))

    @property
    def used(self) -> float:
        """The part of the time that requests really took."""
        if self._started_ns is None:
            return 0.0
        return self._busy_ns / max(1, boottime_ns() - self._started_ns)

    def learned(self) -> Mapping[str, Mapping[str, Any]]:
        """What the driver has learned of its devices, by name."""
        return self.reader.learned() if isinstance(self.reader, Learner) else {}

    async def write(self, channel: int, value: float) -> Written:
        """Write `value` to the point of `channel`, ahead of all polls. What went wrong is in the outcome."""
        number = channel if self.numbers is None else self.numbers.get(channel, -1)
        point = next((point for point in self._plan.points if point.channel == number), None)
        if point is None:
            return _unwritten(Quality.REFUSED, "no point of this link")
        if not self.up:
            return _unwritten(Quality.LINK_DOWN, str(self.fault or "the link is not open"))
        if not isinstance(self.reader, Writer):
            return _unwritten(Quality.REFUSED, f"{self._plan.driver} devices are only read")
        begun = False

        async def work(reader: Reader[Any]) -> Written:
            nonlocal begun
            begun = True
            assert isinstance(reader, Writer), "a link's reader does not change its kind"
            return await reader.write(point, value, self._plan.timeout_s)

        try:
            return await self.errand(work)
        except LinkDown as down:
            why = "interrupted: nobody knows whether it took effect" if begun else str(down)
            return _unwritten(Quality.LINK_DOWN, why)

    async def errand(self, work: Callable[[Reader[Any]], Awaitable[T]]) -> T:
        """Give the open link to `work`, ahead of all polls: nothing else is asked for meanwhile, so it must be short
        and bounded. What it raises is raised here; the link goes down only by a LinkDown. Raises LinkDown where the
        link is not open, or went down before `work` was done."""
        if not self.up:
            raise self.fault or LinkDown("the link is not open")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda over: over.cancelled() or over.exception())  # whoever asked may have gone
        self._errands.append(_Errand(work, done))
        self._wake()
        return await done

    async def run(self, stop: asyncio.Event) -> None:
        self._started_ns = boottime_ns()
        watch = asyncio.ensure_future(stop.wait())
        watch.add_done_callback(lambda _: self._wake())
        try:
            await self._run(stop)
        finally:
            watch.cancel()
            self.up = False
            self._refuse_errands(LinkDown("the link was closed"))

    async def _run(self, stop: asyncio.Event) -> None:
        pause_s = RECONNECT_FIRST_S
        last_s = REPLUG_LAST_S if self._plan.link.url.startswith(("serial:", "ascii:")) else RECONNECT_LAST_S
        listening = bool(self._ops) and all(self._driver.listens(op.device) for op in self._ops)
        while not stop.is_set():
            self.steps += 1
            try:
                async with self._driver.connect(self._plan.link, self._ops) as self.reader:
                    if self.tape is not None and isinstance(self.reader, Tapped):
                        self.reader.tap = self.tape.add
                    if isinstance(self.reader, Remembering):
                        self.reader.recall(self.memory)
                    self._came_up()
                    pause_s = RECONNECT_FIRST_S
                    try:
                        await (self._listen(self.reader, stop) if listening else self._poll(self.reader, stop))
                    finally:
                        self.remembered()
            except LinkDown as down:
                self._went_down(down)
                self.rests_until_ns = boottime_ns() + round(pause_s * 1.2e9)
                await _sleep(pause_s * random.uniform(0.8, 1.2), stop)
                pause_s = min(last_s, pause_s * 2)

    def _came_up(self) -> None:
        if self.fault is not None:
            log.warning("link %s is up again", self.name)
            self.reconnects += 1
        self.up, self.fault = True, None

    def _went_down(self, down: LinkDown) -> None:
        if self.fault is None or self.fault.code != down.code:
            hint = f"; {down.hint}" if down.hint else ""
            log.error("link %s is down: %s%s [%s]", self.name, down, hint, down.code)
            self._lost("", f"{down} [{down.code}]")
        self.up, self.fault = False, down
        self._refuse_errands(down)
        self.sink(Batch.failed(self._channels, boottime_ns(), Quality.LINK_DOWN))

    def _lost(self, device: str, why: str) -> None:
        if self.fell_out is not None:
            self.fell_out(self.name, device, why)

    async def _listen(self, reader: Reader[Any], stop: asyncio.Event) -> None:
        dropped = reader.counters.get("dropped", 0)
        while not stop.is_set():
            self.steps += 1
            if self._errands:
                await self._carry_out(reader, self._errands.popleft())
            batch = await reader.read(self._ops, LISTEN_S)
            self.polls += 1
            if reader.counters.get("dropped", 0) > dropped:
                dropped = reader.counters["dropped"]
                self.sink(Batch.failed(self._channels, boottime_ns(), Quality.NOT_POLLED))
            if len(batch.channel):
                self.sink(batch)
                if self._unidentified:
                    await self._identify(reader)

    async def _poll(self, reader: Reader[Any], stop: asyncio.Event) -> None:
        begun_ns = boottime_ns()
        due = [(begun_ns, number) for number in range(len(self._ops))]
        ahead = dict(enumerate(self._phases))  # after the first poll, which is at once, everything falls into step
        while not stop.is_set():
            self.steps += 1
            now_ns = boottime_ns()
            if self._errands:
                await self._carry_out(reader, self._errands.popleft())
                continue
            wait_ns = due[0][0] - now_ns
            if wait_ns > 0:
                if not self._unidentified or not await self._identify(reader):
                    await self._rest(wait_ns / 1e9)
                continue
            turn: list[Any] = []
            # a shared line takes one request at a time: the first answer is judged before the next is asked for
            while due and due[0][0] <= now_ns and not (self._shared_line and turn):
                at_ns, number = due[0]
                op = self._ops[number]
                next_ns = (
                    self._next_due(at_ns, op.period_s, now_ns) if number not in ahead else at_ns + ahead.pop(number)
                )
                heapq.heapreplace(due, (next_ns, number))
                if self._health[op.device.name].not_before_ns > now_ns:
                    self.sink(Batch.failed(op.channels, now_ns, Quality.NOT_POLLED))
                else:
                    turn.append(op)
            if turn:
                batch = await reader.read(turn, self._plan.timeout_s)
                self._busy_ns += boottime_ns() - now_ns
                self.polls += len(turn)
                self._judge_devices(turn, batch)
                self.sink(batch)

    def _next_due(self, at_ns: int, period_s: float, now_ns: int) -> int:
        period_ns = round(period_s * 1e9)
        following_ns = at_ns + period_ns
        if following_ns + period_ns > now_ns:
            return following_ns
        missed = (now_ns - following_ns) // period_ns
        self.overruns += missed
        return following_ns + missed * period_ns

    def _judge_devices(self, ops: Sequence[Any], batch: Batch) -> None:
        """Quarantine, device by device: answered means any row came with less than `no reply`."""
        unanswered = batch.quality == Quality.NO_REPLY
        if self._is_well and not unanswered.any():
            return
        silent = set(batch.channel[unanswered].tolist())
        answered = {op.device.name: False for op in ops}
        for op in ops:
            answered[op.device.name] |= not silent.issuperset(op.channels)
        now_ns = boottime_ns()
        for name, is_alive in answered.items():
            health = self._health[name]
            if is_alive:
                if health.not_before_ns:
                    log.warning("device %s on %s answers again", name, self.name)
                health.answered()
            elif health.missed(now_ns) and health.failures == QUARANTINE_AFTER:
                log.warning("device %s on %s does not answer: asked less often", name, self.name)
                self._lost(name, "no answer")
        self._is_well = not any(health.failures for health in self._health.values())

    async def _carry_out(self, reader: Reader[Any], errand: _Errand) -> None:
        """A person asks: quarantine does not count."""
        begun_ns = boottime_ns()
        try:
            result = await errand.work(reader)
        except LinkDown as down:
            _refuse(errand, down)
            raise
        except asyncio.CancelledError:
            _refuse(errand, LinkDown("the link was closed"))
            raise
        except Exception as bad:  # the errand's own mistake is its owner's, not the link's
            _refuse(errand, bad)
        else:
            if not errand.done.done():
                errand.done.set_result(result)
        finally:
            self._busy_ns += boottime_ns() - begun_ns

    def _refuse_errands(self, why: LinkDown) -> None:
        while self._errands:
            _refuse(self._errands.popleft(), why)

    async def _identify(self, reader: Reader[Any]) -> bool:
        """Ask one device that has answered who it is, while nothing else is to do. False where nobody is left."""
        name = next((name for name in self._unidentified if not self._health[name].failures), "")
        if not name or not isinstance(reader, Identifier):
            return False
        if found := await reader.identify(self._unidentified.pop(name), self._plan.timeout_s):
            self.identity[name] = found
            log.info("device %s on %s: %s", name, self.name, ", ".join(f"{k} {v}" for k, v in found.items()))
        return True

    async def _rest(self, seconds: float) -> None:
        """Up to `seconds`, less when there is something to write or to stop for."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self.rests_until_ns = boottime_ns() + round(seconds * 1e9)
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _phases(ops: Sequence[Any], phase: float, shared_line: bool) -> Iterator[int]:
    """ns from the first poll of each operation to its second: half a period to one and a half. On a shared line
    operations of one period come one after the other instead of all at once."""
    of_period = Counter(op.period_s for op in ops)
    before: Counter[float] = Counter()
    for op in ops:
        share = before[op.period_s] / of_period[op.period_s] if shared_line else 0.0
        before[op.period_s] += 1
        at = (phase + share) % 1.0
        yield round((at if at >= 0.5 else at + 1.0) * op.period_s * 1e9)


def _refuse(errand: _Errand, why: Exception) -> None:
    if not errand.done.done():
        errand.done.set_exception(why)


def _unwritten(quality: Quality, why: str) -> Written:
    return Written(quality, math.nan, boottime_ns(), why)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    """Up to `seconds`, less when `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
