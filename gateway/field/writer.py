"""Items to the spool, off the event loop: one thread, one transaction a turn, alarms never kept waiting for more work.

A commit that fails (full disk, read-only file system) is kept and tried again with back-off; what arrives meanwhile
waits in memory up to a bound, then the oldest summaries make room and their loss is declared as a gap.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.spool.records import Draft, Event, Gap, Item, Windows
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError

log = logging.getLogger("citygate.spool")

HELD_AT_MOST = 2_000  # items kept in memory while the disk refuses
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Work:
    """One submission: items by upstream, and what the commit makes true."""

    items: tuple[tuple[str, Item], ...]
    events: tuple[Event, ...] = ()  # alarms that now stand, or stand no more
    coverage: Mapping[str, int] = field(default_factory=dict)
    draft: Draft | None = None


class SpoolWriter:
    """The only writer of the spool. `submit` returns at once; `close` commits what is held."""

    def __init__(self, spool: Spool, catalog: str, coverage: Mapping[str, int] | None = None) -> None:
        self._spool = spool
        self._catalog = catalog
        self._held: deque[Work] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._coverage: dict[str, int] = dict(coverage or {})
        self._lost: dict[tuple[str, int], tuple[int, int]] = {}
        self.commits = 0
        self.refused = 0  # commits the disk refused
        self.fault: SpoolError | None = None  # why the last commit failed; None when it went well
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        items: Sequence[tuple[str, Item]],
        *,
        events: Sequence[Event] = (),
        coverage: Mapping[str, int] | None = None,
        draft: Draft | None = None,
    ) -> None:
        if not items and not events and not coverage and draft is None:
            return
        with self._ready:
            self._held.append(Work(tuple(items), tuple(events), dict(coverage or {}), draft))
            self._ready.notify()

    @property
    def held(self) -> int:
        """Submissions not yet on disk."""
        return len(self._held)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Commit what is held and stop; False if the disk did not take it in time."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._held

    def _run(self) -> None:
        attempt = 0
        while True:
            with self._ready:
                while not self._held and not self._closing:
                    self._ready.wait()
                if not self._held:
                    return
                turn = list(self._held)
            try:
                self._commit(turn)
            except SpoolError as refused:
                self._note(refused)
                with self._ready:
                    self._make_room()
                    if self._closing and attempt >= 2:
                        return
                    self._ready.wait(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
            else:
                attempt = 0
                with self._ready:
                    for _ in turn:
                        self._held.popleft()

    def _commit(self, turn: Sequence[Work]) -> None:
        items = [pair for work in turn for pair in work.items] + self._lost_items()
        coverage = dict(self._coverage)
        for work in turn:
            coverage.update(work.coverage)
        events = [event for work in turn for event in work.events]
        draft = next((work.draft for work in reversed(turn) if work.draft is not None), None)
        self._spool.append(items, catalog=self._catalog, standing=events, coverage=coverage, draft=draft)
        self._coverage = coverage
        self._lost.clear()
        self.commits += 1
        if self.fault is not None:
            log.warning("spool takes records again after %d refused commits", self.refused)
            self.fault = None

    def _note(self, refused: SpoolError) -> None:
        self.refused += 1
        if self.fault is None or self.fault.code != refused.code:
            log.error("%s", refused)
        self.fault = refused

    def _make_room(self) -> None:
        """Beyond the bound the oldest summaries give way; what they held is declared with the next commit."""
        while len(self._held) > HELD_AT_MOST:
            at = next((i for i, work in enumerate(self._held) if _windows(work)), None)
            if at is None:
                return
            for upstream, item in _windows(self._held[at]):
                for row in item.rows:
                    low, high = self._lost.get((upstream, row.channel), (row.start_ns - 1, row.end_ns))
                    bounds = (min(low, row.start_ns - 1), max(high, row.end_ns))
                    self._lost[upstream, row.channel] = bounds
            del self._held[at]

    def _lost_items(self) -> list[tuple[str, Item]]:
        by_upstream: dict[str, dict[tuple[int, int], list[int]]] = {}
        for (upstream, channel), bounds in self._lost.items():
            by_upstream.setdefault(upstream, {}).setdefault(bounds, []).append(channel)
        return [
            (upstream, Gap("disk", tuple((tuple(ch), low, high) for (low, high), ch in entries.items())))
            for upstream, entries in by_upstream.items()
        ]


def _windows(work: Work) -> list[tuple[str, Windows]]:
    return [(upstream, item) for upstream, item in work.items if isinstance(item, Windows)]
