"""In which order a backlog leaves the spool: news, then the newest state, then history from its oldest end.

In: a spool. Out: records, each handed out once for as long as this lives. No network. Runs in the spool's thread.

Somebody at the center who sees a gateway come back wants to know first how things stand. What comes while a backlog
drains goes before history too.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.spool.records import Lane, Record
from gateway.spool.spool import START, Mark, Spool

STATE = 64  # records: the last windows of some hundred channels
HOLD = 512  # numbers held beyond the last one handed out


class Source:
    """One connection's view of what waits for `upstream`."""

    def __init__(
        self,
        spool: Callable[[], Spool],
        upstream: str,
        arrived: Callable[[Record], bool],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """`arrived`: what the center has although it is still in the spool. `wanted`: whether a backlog may go out."""
        self._wanted = wanted
        self._spool = spool
        self._upstream = upstream
        self._arrived = arrived
        self._diagnostic: Mark = START
        self._history: Mark = START
        self._held: Mark = START
        self._newest: Mark | None = None  # the newest handed out, or about to be
        self._oldest_state: Mark = START
        self._state: list[tuple[Mark, Record]] = []  # the next one last

    def next(self, limit: int) -> list[Record]:
        """At most `limit` records, [] when there are no more for now. Raises SpoolError."""
        while self._wanted() and (found := self._some(limit)):
            if fresh := [record for _, record in found if not self._arrived(record)]:
                return fresh
        return []

    def _some(self, limit: int) -> list[tuple[Mark, Record]]:
        spool = self._spool()
        if self._newest is None:
            newest = spool.newest(self._upstream, Lane.SUMMARY, STATE)
            self._newest = newest[0][0] if newest else START
            self._oldest_state = newest[-1][0] if newest else START
            self._state = newest[::-1]
        if found := spool.after(self._upstream, Lane.DIAGNOSTIC, self._diagnostic, limit):
            self._diagnostic = found[-1][0]
        elif found := spool.after(self._upstream, Lane.SUMMARY, self._newest, limit):
            self._newest = found[-1][0]
        elif self._state:
            found = self._state[: -limit - 1 : -1]
            del self._state[-limit:]
        else:
            found = self._past(spool, limit)
        return found

    def close(self) -> None:
        """Let go of what was held. Raises SpoolError."""
        if self._held != START:
            self._spool().hold(self._upstream, START)
            self._held = START

    def _past(self, spool: Spool, limit: int) -> list[tuple[Mark, Record]]:
        """Held before they are handed out: a record that is merged on its way would count twice."""
        found = self._behind(spool, limit)
        if found and found[-1][0] > self._held:
            boot, seq = found[-1][0]
            self._held = (boot, seq + HOLD)
            spool.hold(self._upstream, self._held)
            found = self._behind(spool, limit)
        if found:
            self._history = found[-1][0]
        return found

    def _behind(self, spool: Spool, limit: int) -> list[tuple[Mark, Record]]:
        found = spool.after(self._upstream, Lane.SUMMARY, self._history, limit)
        return [(mark, record) for mark, record in found if mark < self._oldest_state]
