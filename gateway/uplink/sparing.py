"""What one upstream is sent while its month's bytes must be spared: a `Budget`'s step, applied to the spool.

In: the budget and the spool. Out: records to send in place of the oldest ones, a health record whenever the step
changes (and each day), the promise that hellos keep. What is not sent stays in the spool, where room is made as for any
upstream that cannot be reached; what is merged is declared there. Runs in the spool's thread, `watch` and the counting
excepted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.spool.records import Health, Lane, Record
from gateway.spool.spool import START, Mark, Spool
from gateway.spool.trouble import SpoolError
from gateway.uplink.budget import EVERY_S, HISTORY_S, PROMISE_S, THINNED_S, WORDS, Budget, Step, trusted_local
from gateway.uplink.way import Way

log = logging.getLogger("citygate.uplink")

DAY_S = 86_400.0
COARSE_S = 86_400.0  # a backlog of coarse windows goes out that is no older than this
PING_S = 10.0  # between pings of a way that is dead: each costs what it costs, answered or not
S = 1_000_000_000

Do = Callable[..., Awaitable[Any]]


class Clock:
    """Local time, as far as the spool knows that it can be trusted."""

    def __init__(self, zone: str = "", utc_s: Callable[[], float] = time.time) -> None:
        """`zone`: IANA name, "" for the machine's own."""
        self._zone = zone
        self.known: tuple[int, int] | None = None
        self._utc_s = utc_s

    def local(self) -> time.struct_time | None:
        return trusted_local(self.known, self._utc_s(), self._zone)


class Sparing:
    """One upstream's. `clock` is the one that the budget was made with."""

    def __init__(self, way: Way, spool: Callable[[], Spool], budget: Budget, clock: Clock) -> None:
        self._way = way
        self._spool = spool
        self._budget = budget
        self._clock = clock
        self._promise_s = way.promise_s
        self._applied: Step | None = None
        self._since = START
        self._tried: Mark = START
        self._said: Mark | None = None
        way.ping_s = PING_S
        way.carried = self._carried

    @property
    def holds_history(self) -> bool:
        return self._budget.step is not Step.FULL

    def holds(self, lane: Lane) -> bool:
        """Whether `take` says what goes out in this lane."""
        if lane is Lane.SUMMARY:
            return self.holds_history
        return lane is Lane.DIAGNOSTIC and self._budget.step is Step.ALARMS

    def take(self, lane: Lane, limit: int, *, settled: bool) -> list[Record]:
        """At most `limit` records. `settled`: nothing that the center has is still in the spool. Raises SpoolError."""
        step, spool, name = self._budget.step, self._spool(), self._way.name
        if step is Step.ALARMS:
            return [] if lane is not Lane.DIAGNOSTIC else self._announcement(limit)
        newest = spool.latest(name)
        if newest is None:
            return []
        mark, (boot, t_ns) = newest
        coarse_s = THINNED_S.get(step, 0)
        fresh = self._applied is not step
        if fresh:
            self._applied = step
            self._tried = mark  # some of these may be at the center, or on their way
        age_s = COARSE_S if coarse_s and not fresh else HISTORY_S
        self._since = max(self._since, (boot, t_ns - int(age_s * S)))
        if coarse_s and settled:
            spool.thin(name, coarse_s, since=self._since, untried=self._tried)
        return spool.since(name, limit, moment=self._since, step_s=coarse_s, tried=self._tried)

    async def watch(self, do: Do) -> None:
        """Follow the budget until cancelled."""
        said_s = -DAY_S
        while True:
            try:
                self._clock.known = await do(self._known)
                changed = self._budget.look()
                self._way.promise_s = max(self._promise_s, PROMISE_S.get(self._budget.step, 0.0))
                if changed:
                    self._log()
                if self._budget.step is Step.FULL:
                    self._applied = None
                if (changed or time.monotonic() - said_s >= DAY_S) and await do(self._announce):
                    said_s = time.monotonic()
            except SpoolError as bad:
                log.debug("byte budget of %s: %s", self._way.name, bad)  # the senders say it
            await asyncio.sleep(EVERY_S)

    def close(self) -> None:
        """Keep the exact count; when nothing passes any more."""
        self._budget.close()

    # -- inside

    def _carried(self, size: int, live: bool) -> None:
        self._budget.carried(size, live=live)

    def _known(self) -> tuple[int, int] | None:
        spool = self._spool()
        return spool.boot_offset(spool.boot)

    def _announce(self) -> bool:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._said = self._spool().tell(self._way.name, Health(now_ns, self._budget.facts()))
        return self._said is not None

    def _announcement(self, limit: int) -> list[Record]:
        if self._said is None:
            return []
        boot, seq = self._said
        found = self._spool().after(self._way.name, Lane.DIAGNOSTIC, (boot, seq - 1), limit)
        return [record for mark, record in found if mark == self._said]

    def _log(self) -> None:
        en, ko = WORDS[self._budget.step]
        log.warning(
            "CG-4121 upstream %s: %s this month, byte budget: %s / 월간 데이터 한도: %s",
            self._way.name, f"{self._budget.used / 1e6:.1f} of {self._budget.limit / 1e6:.1f} MB used", en, ko,
        )  # fmt: skip
