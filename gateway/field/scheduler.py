"""One task a link: it owns time, retry and quarantine, so that no device can hurt another.

Polls are on an absolute schedule: an overrun is skipped and counted, never piled up. A device that does not answer is
asked again after growing pauses (quarantine, per device); a link that is down is opened again with jittered back-off.
Everything that fails comes out as rows with a quality code.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.field.clock import boottime_ns
from gateway.site.plan import LinkPlan
from protocols import registry
from protocols.api import Batch, LinkDown, Quality, Reader

log = logging.getLogger("citygate.link")

RECONNECT_FIRST_S, RECONNECT_LAST_S = 0.2, 15.0
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


class LinkRunner:
    """Runs one link until `stop` is set: opens it, polls or listens, opens it again when it went down."""

    def __init__(self, plan: LinkPlan, sink: Callable[[Batch], None]) -> None:
        self._plan = plan
        self._sink = sink
        self._driver = registry.driver(plan.driver)
        self._ops: Sequence[Any] = plan.ops
        self._health = {op.device.name: _Health() for op in plan.ops}
        self._channels = [channel for op in plan.ops for channel in op.channels]
        self._shared_line = any(op.wire_s(plan.link) > 0 for op in plan.ops)
        self.up = False
        self.fault: LinkDown | None = None
        self.overruns = 0  # polls skipped because the line was still busy
        self.polls = 0
        self.reconnects = 0
        self.reader: Reader[Any] | None = None

    @property
    def name(self) -> str:
        return self._plan.link.name

    @property
    def quarantined(self) -> list[str]:
        return sorted(name for name, health in self._health.items() if health.not_before_ns)

    async def run(self, stop: asyncio.Event) -> None:
        pause_s = RECONNECT_FIRST_S
        listening = bool(self._ops) and all(self._driver.listens(op.device) for op in self._ops)
        while not stop.is_set():
            try:
                async with self._driver.connect(self._plan.link, self._ops) as self.reader:
                    self._came_up()
                    pause_s = RECONNECT_FIRST_S
                    await (self._listen(self.reader, stop) if listening else self._poll(self.reader, stop))
            except LinkDown as down:
                self._went_down(down)
                await _sleep(pause_s * random.uniform(0.8, 1.2), stop)
                pause_s = min(RECONNECT_LAST_S, pause_s * 2)
        self.up = False

    def _came_up(self) -> None:
        if self.fault is not None:
            log.warning("link %s is up again", self.name)
            self.reconnects += 1
        self.up, self.fault = True, None

    def _went_down(self, down: LinkDown) -> None:
        if self.fault is None or self.fault.code != down.code:
            hint = f"; {down.hint}" if down.hint else ""
            log.error("link %s is down: %s%s [%s]", self.name, down, hint, down.code)
        self.up, self.fault = False, down
        self._sink(Batch.failed(self._channels, boottime_ns(), Quality.LINK_DOWN))

    async def _listen(self, reader: Reader[Any], stop: asyncio.Event) -> None:
        while not stop.is_set():
            batch = await reader.read(self._ops, LISTEN_S)
            self.polls += 1
            if len(batch.channel):
                self._sink(batch)

    async def _poll(self, reader: Reader[Any], stop: asyncio.Event) -> None:
        begun_ns = boottime_ns()
        due = [(begun_ns, number) for number in range(len(self._ops))]
        while not stop.is_set():
            now_ns = boottime_ns()
            wait_ns = due[0][0] - now_ns
            if wait_ns > 0:
                await _sleep(wait_ns / 1e9, stop)
                continue
            turn: list[Any] = []
            # a shared line takes one request at a time: the first answer is judged before the next is asked for
            while due and due[0][0] <= now_ns and not (self._shared_line and turn):
                at_ns, number = due[0]
                op = self._ops[number]
                heapq.heapreplace(due, (self._next_due(at_ns, op.period_s, now_ns), number))
                if self._health[op.device.name].not_before_ns > now_ns:
                    self._sink(Batch.failed(op.channels, now_ns, Quality.NOT_POLLED))
                else:
                    turn.append(op)
            if turn:
                batch = await reader.read(turn, self._plan.timeout_s)
                self.polls += len(turn)
                self._judge_devices(turn, batch)
                self._sink(batch)

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
        silent = set(batch.channel[batch.quality == Quality.NO_REPLY].tolist())
        now_ns = boottime_ns()
        for op in ops:
            health = self._health[op.device.name]
            if not silent.issuperset(op.channels):
                if health.not_before_ns:
                    log.warning("device %s on %s answers again", op.device.name, self.name)
                health.answered()
            elif health.missed(now_ns) and health.failures == QUARANTINE_AFTER:
                log.warning("device %s on %s does not answer: asked less often", op.device.name, self.name)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    """Up to `seconds`, less when `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
