"""Room in a spool that nears its limit, inside the writer's transaction. In: the database and what is to come. Out: as
many bytes less, and a `Gap` for everything that is no longer there as it was.

From HIGH_WATER on the oldest summaries are merged into windows of ten minutes, then of an hour: a little with every
commit, so that no alarm waits for it. Beyond LAST_WATER, where nothing is left to merge, the oldest summaries go.
Alarms stay. What may be on its way to a center is left alone: its acknowledgement must mean what was sent.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from gateway.site.upstream import Catalog
from gateway.spool import schema
from gateway.spool.ageing import STEPS_S, merged
from gateway.spool.loss import declare, thinned
from gateway.spool.records import Gap, Item, Lane, Window, Windows, readable, to_blob

HIGH_WATER = 0.90  # of the limit: from here on summaries make room
LOW_WATER = 0.88
LAST_WATER = 0.96
IN_THE_AIR = 16  # the oldest of each upstream and lane, and
NEWEST = 64  # its newest may be on their way
THIN_AT_LEAST = 8_192  # bytes won by one commit: about 10 ms
S = 1_000_000_000

Insert = Callable[..., int]
Lost = tuple[int, int, int, str, int, int, bytes]  # rowid, boot, catalog, upstream, lane, seq, blob


class Room:
    """One transaction's view. `own` is the running boot; `insert` numbers and stores an item."""

    def __init__(self, db: sqlite3.Connection, limit: int, own: tuple[int, str], insert: Insert) -> None:
        self._db = db
        self._limit = limit
        self._own = own
        self._insert = insert
        self._known: dict[int, dict[int, int]] = {}
        self._resting: dict[str, set[int]] = {}

    def make(self, size: int) -> None:
        """So that `size` more bytes can come."""
        after = self._used() + size
        if after <= HIGH_WATER * self._limit:
            return
        wanted = after - int(LOW_WATER * self._limit)
        won = self._thin(min(wanted, max(THIN_AT_LEAST, 2 * size)))
        if after - won > LAST_WATER * self._limit:
            self._evict(wanted - won)

    def is_near_limit(self, size: int) -> bool:
        """Whether it may have been the limit that was met."""
        return self._used() + 4 * size > 0.8 * self._limit

    def _used(self) -> int:
        pages = int(self._db.execute("PRAGMA page_count").fetchone()[0])
        free = int(self._db.execute("PRAGMA freelist_count").fetchone()[0])
        return (pages - free) * schema.PAGE

    # -- coarser

    def _thin(self, wanted: int) -> int:
        """Bytes won. Each step begins where the one before has nothing left that is old enough."""
        won = 0
        for finer, step_s in zip((0, *STEPS_S), STEPS_S, strict=False):
            while won < wanted:
                more = self._thin_once(finer, step_s)
                if more is None:
                    break
                won += more
        return won

    def _thin_once(self, finer: int, step_s: int) -> int | None:
        """The oldest step of one set of channels; None where nothing is older than a whole step."""
        first = self._db.execute(
            "SELECT boot, t_ns, upstream, catalog, kin FROM record WHERE lane = ? AND step = ? AND kin != 0 "
            "ORDER BY boot, t_ns LIMIT 1",
            (int(Lane.SUMMARY), finer),
        ).fetchone()
        if first is None:
            return None
        boot, t_ns, upstream, catalog, kin = first
        end_ns = self._end_of_step(boot, t_ns, step_s * S)
        newest = self._db.execute(
            "SELECT boot, t_ns FROM record WHERE lane = ? AND step = 0 AND upstream = ? "
            "ORDER BY boot DESC, t_ns DESC LIMIT 1",
            (int(Lane.SUMMARY), upstream),
        ).fetchone()
        if newest is None or tuple(newest) <= (boot, end_ns + step_s * S):
            return None
        rows = self._db.execute(
            "SELECT rowid, seq, blob FROM record WHERE lane = ? AND step = ? AND boot = ? AND t_ns <= ? "
            "AND upstream = ? AND catalog = ? AND kin = ? ORDER BY t_ns",
            (int(Lane.SUMMARY), finer, boot, end_ns, upstream, catalog, kin),
        ).fetchall()
        return self._merge(rows, boot, upstream, catalog, step_s)

    def _end_of_step(self, boot: int, t_ns: int, step_ns: int) -> int:
        """End, in the boot's clock, of the step of the UTC grid in which a record's last window ends."""
        row = self._db.execute("SELECT utc_offset_ns FROM boot WHERE n = ?", (boot,)).fetchone()
        offset_ns = int(row[0] or 0) if row else 0
        return -(-(t_ns + offset_ns) // step_ns) * step_ns - offset_ns

    def _merge(
        self, rows: Sequence[tuple[int, int, bytes]], boot: int, upstream: str, catalog: int, step_s: int
    ) -> int:
        """One record in place of `rows`, which differ in time only, as far as they may be touched."""
        resting, held = self._in_the_air(upstream), self._held(upstream)
        windows: dict[int, list[Window]] = {}
        gone: list[tuple[int, int, bytes]] = []
        for rowid, seq, blob in rows:
            item = readable(blob)
            if rowid not in resting and (boot, seq) > held and isinstance(item, Windows):
                gone.append((rowid, seq, blob))
                for window in item.rows:
                    windows.setdefault(window.channel, []).append(window)
        if len(gone) < 2:  # nothing to win: never looked at again for this step
            self._db.executemany("UPDATE record SET step = ? WHERE rowid = ?", [(step_s, row[0]) for row in rows])
            return 0
        kinds = self._kinds(catalog)
        coarse = Windows(tuple(merged(of, kinds.get(channel, 0)) for channel, of in windows.items()))
        blob = to_blob(coarse)
        name = str(self._db.execute("SELECT id FROM boot WHERE n = ?", (boot,)).fetchone()[0])
        gap = thinned(step_s, name, [seq for _, seq, _ in gone])
        said = to_blob(gap)
        self._db.executemany("DELETE FROM record WHERE rowid = ?", [(row[0],) for row in gone])
        self._insert(self._db, upstream, coarse, blob, catalog=catalog, boot=boot, step_s=step_s)
        self._insert(self._db, upstream, gap, said, catalog=catalog)
        kept = [row for row in rows if row not in gone]
        self._db.executemany("UPDATE record SET step = ? WHERE rowid = ?", [(step_s, row[0]) for row in kept])
        return sum(len(row[2]) + 80 for row in gone) - len(blob) - len(said) - 160

    def _in_the_air(self, upstream: str) -> set[int]:
        if upstream in self._resting:
            return self._resting[upstream]
        found = self._resting[upstream] = set()
        for order, most in (
            ("boot, seq", IN_THE_AIR),
            ("boot DESC, seq DESC", NEWEST),
            ("boot DESC, t_ns DESC", NEWEST),
        ):
            recent = "AND step = 0" if "t_ns" in order else ""
            found.update(
                row[0]
                for row in self._db.execute(
                    f"SELECT rowid FROM record WHERE upstream = ? AND lane = ? {recent} ORDER BY {order} LIMIT ?",
                    (upstream, int(Lane.SUMMARY), most),
                )
            )
        return found

    def _held(self, upstream: str) -> tuple[int, int]:
        """Summaries up to this (boot, seq) may be on their way in bulk."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (f"held {upstream}",)).fetchone()
        boot, seq = json.loads(row[0]) if row else (0, -1)
        return int(boot), int(seq)

    def _kinds(self, catalog: int) -> dict[int, int]:
        """Kind by channel."""
        if catalog not in self._known:
            row = self._db.execute("SELECT blob FROM catalog WHERE n = ?", (catalog,)).fetchone()
            rows = Catalog.from_blob(row[0]).rows if row else ()
            self._known[catalog] = {index: one[4] for index, one in enumerate(rows)}
        return self._known[catalog]

    # -- gone

    def _evict(self, wanted: int) -> None:
        """Drop the oldest summaries (and health) worth `wanted` bytes; declare them per upstream, boot and catalog."""
        seen: dict[tuple[str, int], int] = {}
        held: dict[str, tuple[int, int]] = {}
        groups: dict[tuple[str, int, int], list[tuple[int, int, Item | None]]] = {}
        gone: list[tuple[int]] = []
        rows: Iterator[Lost] = self._db.execute(
            "SELECT rowid, boot, catalog, upstream, lane, seq, blob FROM record WHERE lane > 0 ORDER BY boot, t_ns"
        )
        for rowid, boot, catalog, upstream, lane, seq, blob in rows:
            if wanted <= 0:
                break
            nth = seen[upstream, lane] = seen.get((upstream, lane), 0) + 1
            item = readable(blob)
            if nth <= IN_THE_AIR or isinstance(item, Gap):
                continue
            if lane == Lane.SUMMARY and (boot, seq) <= held.setdefault(upstream, self._held(upstream)):
                continue
            groups.setdefault((upstream, boot, catalog), []).append((lane, seq, item))
            gone.append((rowid,))
            wanted -= len(blob) + 60
        self._db.executemany("DELETE FROM record WHERE rowid = ?", gone)
        boots = dict(self._db.execute("SELECT n, id FROM boot").fetchall())
        for (upstream, boot, catalog), lost in groups.items():
            gap = declare("disk", boots[boot], lost, own_boot=self._own[1])
            self._insert(self._db, upstream, gap, to_blob(gap), catalog=catalog)
