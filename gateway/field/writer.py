"""Items to the spool, off the event loop: one thread, one transaction a turn, alarms never kept waiting for more work.

A commit that fails (full disk, read-only file system) is kept and tried again with back-off; what arrives meanwhile
waits in memory up to a bound, then the oldest summaries make room and their loss is declared as a gap.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.field.watchdog import Pulse
from gateway.spool.records import Draft, Event, Gap, Health, Item, Values, Windows
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError

log = logging.getLogger("citygate.spool")

HELD_AT_MOST = 2_000  # items kept in memory while the disk refuses
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
LAST_TRIES = 2  # at a stop


@dataclass(frozen=True, slots=True)
class Work:
    """One submission: items by upstream, and what the commit makes true."""

    items: tuple[tuple[str, Item], ...] = ()
    events: tuple[Event, ...] = ()  # alarms that now stand, or stand no more
    coverage: Mapping[str, int] = field(default_factory=dict)
    draft: Draft | None = None
    learnt: Mapping[str, bytes] = field(default_factory=dict)


class SpoolWriter:
    """The only writer of the spool. `submit` returns at once; `close` commits what is held."""

    def __init__(self, spool: Spool, catalog: str, coverage: Mapping[str, int] | None = None) -> None:
        self._spool = spool
        self._catalog = catalog
        self._held: deque[Work] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._turns = 0
        self._idle = 0  # times the watchdog found nothing to commit
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
        learnt: Mapping[str, bytes] | None = None,
    ) -> None:
        if not items and not events and not coverage and draft is None and not learnt:
            return
        with self._ready:
            self._held.append(Work(tuple(items), tuple(events), dict(coverage or {}), draft, dict(learnt or {})))
            self._ready.notify_all()

    @property
    def held(self) -> int:
        """Records not yet on disk."""
        with self._ready:
            return sum(len(work.items) for work in self._held)

    def pulse(self) -> Pulse:
        """For the watchdog: a commit that ended, well or refused, and an empty queue are both progress."""
        if not self._held:  # asked without the lock: it must answer while a commit hangs
            self._idle += 1
        return Pulse("spool", self._turns + self._idle)

    def turn(self, timeout_s: float) -> None:
        """Wait until what is held has been committed or refused once."""
        with self._ready:
            before = self._turns
            self._ready.wait_for(lambda: not self._held or self._turns > before, timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Commit what is held and stop; False if the disk did not take it in time."""
        with self._ready:
            self._closing = True
            self._ready.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._held

    def _run(self) -> None:
        attempt = last_tries = 0
        while True:
            with self._ready:
                while not self._held and not self._closing:
                    self._ready.wait()
                if not self._held:
                    return
                turn = list(self._held)
            try:
                self._commit(turn)
            except Exception as bad:  # a thread that died would leave a gateway that only looks alive
                self._note(bad if isinstance(bad, SpoolError) else _unexpected(bad))
                with self._ready:
                    self._make_room()
                    self._turned()
                    closing = self._closing
                    last_tries += closing
                    if last_tries > LAST_TRIES:
                        return
                    wait_s = RETRY_S[last_tries if closing else min(attempt, len(RETRY_S) - 1)]
                    self._ready.wait_for(lambda closing=closing: self._closing is not closing, wait_s)  # type: ignore[misc]
                attempt += 1
            else:
                attempt = 0
                with self._ready:
                    for _ in turn:
                        self._held.popleft()
                    self._turned()

    def _turned(self) -> None:
        self._turns += 1
        self._ready.notify_all()

    def _commit(self, turn: Sequence[Work]) -> None:
        work = _joined(turn)
        coverage = {**self._coverage, **work.coverage}
        items = [*work.items, *self._lost_items()]
        self._spool.append(
            items,
            catalog=self._catalog,
            standing=work.events,
            coverage=coverage,
            draft=work.draft,
            learnt=work.learnt,
        )
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
        """What is held becomes one submission (of its drafts only the last counts). Beyond the bound the oldest
        summaries give way, never alarms and gaps; what they held is declared with the next commit."""
        work = _joined(self._held)
        over = len(work.items) - HELD_AT_MOST
        kept: list[tuple[str, Item]] = []
        for upstream, item in work.items:
            if over > 0 and isinstance(item, Windows):
                over -= 1
                self._lose(upstream, item)
            elif over > 0 and isinstance(item, (Values, Health)):
                over -= 1
            else:
                kept.append((upstream, item))
        self._held = deque([replace(work, items=tuple(kept))])

    def _lose(self, upstream: str, item: Windows) -> None:
        for row in item.rows:
            low, high = self._lost.get((upstream, row.channel), (row.start_ns - 1, row.end_ns))
            self._lost[upstream, row.channel] = (min(low, row.start_ns - 1), max(high, row.end_ns))

    def _lost_items(self) -> list[tuple[str, Item]]:
        by_upstream: dict[str, dict[tuple[int, int], list[int]]] = {}
        for (upstream, channel), bounds in self._lost.items():
            by_upstream.setdefault(upstream, {}).setdefault(bounds, []).append(channel)
        return [
            (upstream, Gap("disk", tuple((tuple(ch), low, high) for (low, high), ch in entries.items())))
            for upstream, entries in by_upstream.items()
        ]


def _joined(works: Iterable[Work]) -> Work:
    """One submission with the effect of all of them in order."""
    works = tuple(works)
    coverage: dict[str, int] = {}
    learnt: dict[str, bytes] = {}
    for work in works:
        coverage.update(work.coverage)
        learnt.update(work.learnt)
    return Work(
        tuple(pair for work in works for pair in work.items),
        tuple(event for work in works for event in work.events),
        coverage,
        next((work.draft for work in reversed(works) if work.draft is not None), None),
        learnt,
    )


def _unexpected(bad: Exception) -> SpoolError:
    log.error("a commit failed in a way nobody thought of", exc_info=bad)
    return SpoolError(
        "CG-2008",
        f"a commit to the spool failed ({type(bad).__name__}: {bad}); it is tried again, nothing stored is lost",
        f"스풀 기록에 실패했습니다 ({type(bad).__name__}: {bad}). 다시 시도하며 저장된 데이터는 안전합니다",
        next_en="Send the log to the maintainers",
        next_ko="로그를 개발자에게 전달하십시오",
    )
