"""Does a message get to the centers, and how long does it take? In: upstreams, a way to the spool. Out: what became of
a test event at each.

The event `health.push_test` is stored for every upstream as an alarm is, sent by the uplink as an alarm is, and its
record is gone from the spool once the center has acknowledged it: that is what is waited for. Its end follows at once,
so that no center has it standing. Nothing is opened towards the network here.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.field.clock import boottime_ns
from gateway.field.writer import SpoolWriter
from gateway.services.rules import event
from gateway.site.plan import Plan
from gateway.spool import wake
from gateway.spool.records import Event, Lane, Phase
from gateway.spool.spool import Mark, Spool
from gateway.spool.trouble import SpoolError

CODE = "health.push_test"
POLL_S = 0.01
STORED_WITHIN_S = 10.0
LONGEST_S = 300.0
_NEWEST = 200  # records of a lane that are looked through for ours


class PushTest:
    """One at a time: two would share their event's name."""

    def __init__(self, plan: Plan, spool: Spool, writer: SpoolWriter) -> None:
        self._plan, self._spool, self._writer = plan, spool, writer
        self._one = asyncio.Lock()

    async def run(self, names: Sequence[str], within_s: float) -> dict[str, dict[str, Any]]:
        """By upstream: `state` (acknowledged, refused, waiting, not stored) and `seconds` from the moment the event was
        made, None where it was not acknowledged."""
        async with self._one:
            nonce = secrets.token_hex(3)
            begun_s = time.monotonic()
            onset = self._event(Phase.ONSET, nonce)
            self._writer.submit([(name, onset) for name in names])
            if not await self._stored(begun_s):
                return {name: {"state": "not stored", "seconds": None} for name in names}
            within_s = min(within_s, LONGEST_S)
            told = await asyncio.gather(*(self._follow(name, nonce, begun_s, within_s) for name in names))
            end = self._event(Phase.CLEAR, nonce)
            self._writer.submit([(name, end) for name in names])
            return dict(zip(names, told, strict=True))

    def uplink_listens(self) -> bool:
        """Whether an uplink has its bell beside the spool."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
            try:
                probe.connect(wake.address(self._spool.path))
            except OSError as nobody:
                return nobody.errno not in (errno.ENOENT, errno.ECONNREFUSED)
        return True

    def _event(self, phase: Phase, nonce: str) -> Event:
        now_ns = boottime_ns()
        return event(
            CODE, phase, self._plan.gateway, self._plan.place, time_ns=now_ns, onset_ns=now_ns, numbers={"nonce": nonce}
        )

    async def _stored(self, begun_s: float) -> bool:
        """Whether all that was submitted is on disk in time."""
        while self._writer.held:
            if time.monotonic() - begun_s > STORED_WITHIN_S:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def _follow(self, name: str, nonce: str, begun_s: float, within_s: float) -> dict[str, Any]:
        mark = await asyncio.to_thread(self._find, name, nonce)
        while mark is not None and await asyncio.to_thread(self._is_there, name, mark):
            if time.monotonic() - begun_s > within_s:
                before = await asyncio.to_thread(self._before, name)
                return {"state": "waiting", "seconds": None, "before": before}
            await asyncio.sleep(POLL_S)
        seconds = round(time.monotonic() - begun_s, 3)
        if mark is not None and await asyncio.to_thread(self._spool.was_refused, name, Lane.ALARM, mark):
            return {"state": "refused", "seconds": None}
        return {"state": "acknowledged", "seconds": seconds}

    def _find(self, name: str, nonce: str) -> Mark | None:
        """Where our record lies; None where it is acknowledged already."""
        for mark, record in self._spool.newest(name, Lane.ALARM, _NEWEST):
            item = record.item
            if isinstance(item, Event) and item.code == CODE and item.phase is Phase.ONSET and nonce in item.text_en:
                return mark
        return None

    def _is_there(self, name: str, mark: Mark) -> bool:
        found = self._spool.after(name, Lane.ALARM, (mark[0], mark[1] - 1), 1)
        return bool(found) and found[0][0] == mark

    def _before(self, name: str) -> int:
        """Alarms that wait, ours among them, counted up to 1000."""
        try:
            return self._spool.waiting(name, Lane.ALARM, 1000)
        except SpoolError:
            return 0


def wanted(plan: Plan, request: Mapping[str, Any]) -> list[str]:
    """The upstreams a request is for. Raises ValueError."""
    names = [upstream.name for upstream in plan.upstreams]
    one = str(request.get("upstream") or "")
    if one and one not in names:
        raise ValueError(f"no upstream is called {one}: {', '.join(names) or 'the site has none'}")
    return [one] if one else names
