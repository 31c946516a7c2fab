"""The durable seam between the half that reads and the half that sends. SQLite, WAL; no network.

In: items from the writer (the field process), one transaction an `append`, on disk when it returns. Out: records to
the reader (the uplink), oldest first, gone when acknowledged. Sequence numbers run without holes per boot, upstream
and lane. Bounded by bytes: near the limit the oldest summaries make room (`room.py`); alarms stay.
One lock a `Spool`: any thread may call.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

import cbor2

from gateway.site.upstream import Catalog
from gateway.spool import schema, thrift, wake
from gateway.spool.ageing import STEPS_S
from gateway.spool.loss import declare
from gateway.spool.records import (
    Draft,
    Event,
    Gap,
    Health,
    Item,
    Lane,
    Phase,
    Record,
    from_blob,
    kin_of,
    lane_of,
    readable,
    time_of,
    to_blob,
)
from gateway.spool.room import IN_THE_AIR as IN_THE_AIR
from gateway.spool.room import Room
from gateway.spool.thrift import Moment
from gateway.spool.trouble import SpoolError

log = logging.getLogger("citygate.spool")

FILE = "spool.db"  # in the state folder of a site

Role = Literal["writer", "reader"]
UNSET = -1  # uncertainty of a boot whose clock is known to be wrong
PLACED = f"(b.utc_offset_ns IS NOT NULL OR b.uncertainty_ns IS NOT {UNSET})"  # of boot b: its records have their times
Mark = tuple[int, int]  # where a record lies in its lane: number of its boot in this file, seq
START: Mark = (0, -1)
# standing, coverage, draft as bytes and as it is, learnt
Marks = tuple[Sequence[Event], Mapping[str, int] | None, bytes | None, Draft | None, Mapping[str, bytes]]


class Spool:
    """Open with `Spool.open`. `quarantined` names the file that was put aside as corrupt, "" for none."""

    def __init__(self, path: Path, role: Role, limit_mb: float) -> None:
        self.path = path
        self.role = role
        self.quarantined = ""
        self._limit_mb = limit_mb
        self._lock = threading.RLock()
        self._bell = wake.Bell(path)
        self._catalogs: dict[str, Catalog] = {}
        self._offset: tuple[int, int] | None = None
        self._clean = True
        self._own = (0, "")

    @classmethod
    def open(cls, path: str | Path, *, role: Role = "writer", limit_mb: float = 64) -> Spool:
        """A corrupt file is renamed `.corrupt-<time>` by the writer and a new one started. Raises SpoolError."""
        self = cls(Path(path), role, limit_mb)
        try:
            self._open()
        except BaseException:
            self._bell.close()
            raise
        return self

    # -- the writer's side

    @property
    def boot(self) -> str:
        """The running boot; for a reader the newest the writer has entered, "" before the first."""
        if self.role == "reader":
            with self._lock:
                row = self._db.execute("SELECT n, id FROM boot ORDER BY n DESC LIMIT 1").fetchone()
                self._own = tuple(row) if row else (0, "")
        return self._own[1]

    def set_offset(self, utc_offset_ns: int, uncertainty_ns: int) -> None:
        """UTC = CLOCK_BOOTTIME + offset, for this boot."""
        with self._transaction() as db:
            db.execute(
                "UPDATE boot SET utc_offset_ns = ?, uncertainty_ns = ? WHERE n = ?",
                (utc_offset_ns, uncertainty_ns, self._own[0]),
            )
        self._offset = (utc_offset_ns, uncertainty_ns)
        self._bell.ring(wake.SUMMARY)  # records may have waited for it

    def clock_unset(self) -> None:
        """UTC is not known in this boot: until `set_offset`, its records are kept and not read. If the boot ends
        before, the next one declares them as gaps (reason "clock"): nobody can say when that was."""
        with self._transaction() as db:
            db.execute(
                "UPDATE boot SET uncertainty_ns = ? WHERE n = ? AND utc_offset_ns IS NULL", (UNSET, self._own[0])
            )

    def put_catalog(self, catalog: Catalog) -> str:
        blob, name = catalog.blob(), catalog.id
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO catalog(id, blob) VALUES(?, ?)", (name, blob))
        self._catalogs[name] = catalog
        return name

    def append(
        self,
        items: Sequence[tuple[str, Item]],
        *,
        catalog: str,
        standing: Sequence[Event] = (),
        coverage: Mapping[str, int] | None = None,
        draft: Draft | None = None,
        learnt: Mapping[str, bytes] | None = None,
    ) -> list[tuple[str, Lane, int]]:
        """One transaction, on disk on return: (upstream, lane, seq) of each item. Raises SpoolError; then nothing of
        this call is stored, everything before it still is, and the same call may be tried again. A `draft` replaces
        the one before; None leaves it. `learnt` replaces what lay under the same names."""
        rows = [(upstream, item, to_blob(item)) for upstream, item in items]
        drafted = None if draft is None else _drafted(draft)
        size = sum(len(row[2]) + 100 for row in rows) + len(drafted or b"")
        size += sum(map(len, (learnt or {}).values()))
        marks = (standing, coverage, drafted, draft, learnt or {})
        try:
            with self._lock:
                out = self._append(rows, catalog, marks, size)
        except sqlite3.Error as bad:
            if not schema.is_corrupt(bad):
                raise schema.cannot_write(self.path, bad) from bad
            with self._lock:
                self._replace()
                out = self._append(rows, catalog, marks, size)
        self._bell.ring(wake.ALARM if any(isinstance(item, Event) for _, item, _ in rows) else wake.SUMMARY)
        return out

    def mark_clean(self) -> None:
        """Say that this stop lost nothing. The next writer's `was_clean` tells."""
        with self._transaction() as db:
            db.execute("UPDATE meta SET value = '1' WHERE name = 'clean'")

    @property
    def was_clean(self) -> bool:
        """Whether the writer before this one stopped with `mark_clean` (true for a new file)."""
        return self._clean

    # -- the reader's side

    def take(self, upstream: str, lane: Lane, limit: int) -> list[Record]:
        """The oldest records. One that cannot be decoded is moved to `refused` and declared as a gap."""
        return [record for _, record in self.after(upstream, lane, START, limit)]

    def after(self, upstream: str, lane: Lane, mark: Mark, limit: int) -> list[tuple[Mark, Record]]:
        """The oldest records behind `mark`, each with its own mark. Unreadable ones as in `take`."""
        return self._read(upstream, lane, limit, "AND (r.boot, r.seq) > (?, ?) ORDER BY r.boot, r.seq", mark)

    def newest(self, upstream: str, lane: Lane, limit: int) -> list[tuple[Mark, Record]]:
        """The newest records, the newest first."""
        return self._read(upstream, lane, limit, "ORDER BY r.boot DESC, r.seq DESC", ())

    def _read(
        self, upstream: str, lane: Lane, limit: int, which: str, mark: Sequence[int], by: str = ""
    ) -> list[tuple[Mark, Record]]:
        with self._lock, self._reading():
            rows = self._db.execute(
                f"SELECT r.boot, b.id, r.seq, c.id, r.blob FROM record r {by} JOIN boot b ON b.n = r.boot "
                "LEFT JOIN catalog c ON c.n = r.catalog "
                f"WHERE r.upstream = ? AND r.lane = ? AND {PLACED} {which} LIMIT ?",
                (upstream, int(lane), *mark, limit),
            ).fetchall()
        out = []
        for number, boot, seq, catalog, blob in rows:
            try:
                out.append(((number, seq), Record(boot, upstream, lane, seq, catalog or "", from_blob(blob))))
            except ValueError:
                self.refuse(upstream, lane, boot, seq, "damaged")
        return out

    def latest(self, upstream: str) -> tuple[Mark, Moment] | None:
        """Of its summaries: the highest (boot, seq), and the newest (boot, ns of its clock)."""
        with self._lock, self._reading():
            mark = self._db.execute(
                "SELECT boot, seq FROM record WHERE upstream = ? AND lane = ? ORDER BY boot DESC, seq DESC LIMIT 1",
                (upstream, int(Lane.SUMMARY)),
            ).fetchone()
            found = [
                self._db.execute(
                    "SELECT boot, t_ns FROM record WHERE lane = ? AND step = ? AND upstream = ? "
                    "ORDER BY boot DESC, t_ns DESC LIMIT 1",
                    (int(Lane.SUMMARY), step, upstream),
                ).fetchone()
                for step in (0, *STEPS_S)
            ]
        return None if mark is None else (tuple(mark), max(tuple(one) for one in found if one))

    def since(self, upstream: str, limit: int, *, moment: Moment, step_s: int, tried: Mark) -> list[Record]:
        """The oldest summaries that end after `moment`: of windows as coarse as `step_s`, and those up to `tried`,
        however fine. Unreadable ones as in `take`."""
        which = (
            "AND r.step = ? AND (r.boot, r.t_ns) > (?, ?) AND (? OR r.kin = 0 OR (r.boot, r.seq) <= (?, ?)) "
            "ORDER BY r.boot, r.t_ns, r.seq"
        )
        found: list[tuple[Mark, Record]] = []
        for step in (0, *STEPS_S):
            values = (step, *moment, step >= step_s, *tried)
            found += self._read(upstream, Lane.SUMMARY, limit, which, values, "INDEXED BY age")
        found.sort(key=lambda one: (one[0][0], time_of(one[1].item), one[0][1]))
        return [record for _, record in found[:limit]]

    def thin(self, upstream: str, step_s: int, *, since: Moment, untried: Mark) -> int:
        """Merge summaries of steps that are over, those that end after `since` and are numbered after `untried`; nobody
        may have tried to send them. Declared as gaps ("thinned to 10 min"). How many records are fewer."""
        with self._transaction() as db:
            _ = self.boot
            return thrift.thin(db, self._insert, upstream, step_s, since=since, untried=untried)

    def tell(self, upstream: str, item: Health) -> Mark | None:
        """Add what the sending half itself has to say; None while the writer has stored nothing yet."""
        with self._transaction() as db:
            row = db.execute("SELECT max(n) FROM catalog").fetchone()
            if not self.boot or row[0] is None:
                return None
            return self._own[0], self._insert(db, upstream, item, to_blob(item), catalog=row[0])

    def waiting(self, upstream: str, lane: Lane, most: int) -> int:
        """How many records wait, counted up to `most`."""
        with self._lock, self._reading():
            row = self._db.execute(
                "SELECT count(*) FROM (SELECT 1 FROM record r JOIN boot b ON b.n = r.boot "
                f"WHERE r.upstream = ? AND r.lane = ? AND {PLACED} LIMIT ?)",
                (upstream, int(lane), most),
            ).fetchone()
        return int(row[0])

    def hold(self, upstream: str, mark: Mark) -> None:
        """Summaries up to `mark` may be on their way in bulk: the writer neither merges nor drops them. START lets
        go."""
        with self._transaction() as db:
            if mark == START:
                db.execute("DELETE FROM meta WHERE name = ?", (f"held {upstream}",))
            else:
                db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (f"held {upstream}", json.dumps(mark)))

    def ack(self, upstream: str, lane: Lane, boot: str, seqs: Sequence[int]) -> None:
        """These are at the center: forget them."""
        with self._transaction() as db:
            n = db.execute("SELECT n FROM boot WHERE id = ?", (boot,)).fetchone()
            db.executemany(
                "DELETE FROM record WHERE upstream = ? AND lane = ? AND boot = ? AND seq = ?",
                [(upstream, int(lane), n[0] if n else 0, seq) for seq in seqs],
            )

    def refuse(self, upstream: str, lane: Lane, boot: str, seq: int, reason: str) -> None:
        """Set a record aside for good and declare it as a `Gap` (reason "damaged", else "refused")."""
        with self._transaction() as db:
            own = self.boot
            row = db.execute(
                "SELECT r.rowid, r.boot, r.catalog, r.blob FROM record r JOIN boot b ON b.n = r.boot "
                "WHERE r.upstream = ? AND r.lane = ? AND b.id = ? AND r.seq = ?",
                (upstream, int(lane), boot, seq),
            ).fetchone()
            if row is None:
                return
            rowid, boot_n, catalog, blob = row
            db.execute("DELETE FROM record WHERE rowid = ?", (rowid,))
            db.execute(
                "INSERT INTO refused VALUES(?, ?, ?, ?, ?, ?, ?)",
                (upstream, int(lane), boot_n, seq, catalog, blob, reason),
            )
            db.execute("DELETE FROM refused WHERE rowid <= (SELECT max(rowid) FROM refused) - 100")
            item = readable(blob)
            if isinstance(item, Gap):
                return  # a refused gap cannot be declared by one more
            kind = "damaged" if reason == "damaged" else "refused"
            gap = declare(kind, boot, [(int(lane), seq, item)], own_boot=own)
            self._insert(db, upstream, gap, to_blob(gap), catalog=catalog)

    def was_refused(self, upstream: str, lane: Lane, mark: Mark) -> bool:
        """Whether the record at `mark` was set aside: the center would not take it."""
        with self._lock, self._reading():
            row = self._db.execute(
                "SELECT 1 FROM refused WHERE upstream = ? AND lane = ? AND boot = ? AND seq = ?",
                (upstream, int(lane), *mark),
            ).fetchone()
        return row is not None

    def catalog(self, name: str) -> Catalog | None:
        if name not in self._catalogs:
            with self._lock, self._reading():
                row = self._db.execute("SELECT blob FROM catalog WHERE id = ?", (name,)).fetchone()
            if row is None:
                return None
            self._catalogs[name] = Catalog.from_blob(row[0])
        return self._catalogs[name]

    def boot_offset(self, boot: str) -> tuple[int, int] | None:
        """(utc_offset_ns, uncertainty_ns), None while the clock of that boot was never set."""
        with self._lock, self._reading():
            row = self._db.execute("SELECT utc_offset_ns, uncertainty_ns FROM boot WHERE id = ?", (boot,)).fetchone()
        return None if row is None or row[0] is None else (row[0], row[1])

    # -- either side

    def standing(self) -> list[Event]:
        """Alarms that were raised and not cleared, as they were last stored."""
        with self._lock, self._reading():
            rows = self._db.execute("SELECT blob FROM standing ORDER BY rowid").fetchall()
        items = [readable(blob) for (blob,) in rows]
        return [item for item in items if isinstance(item, Event)]

    def coverage(self) -> tuple[str, dict[str, int]]:
        """Boot, and by channel name the time of the last reading inside a committed window."""
        with self._lock, self._reading():
            row = self._db.execute("SELECT boot, blob FROM coverage").fetchone()
        return (row[0], cbor2.loads(row[1])) if row else ("", {})

    def levels(self) -> tuple[int, dict[str, float]]:
        """Time and values of the last draft's baselines, if it was written in this boot."""
        with self._lock, self._reading():
            row = self._db.execute("SELECT value FROM meta WHERE name = 'levels'").fetchone()
        boot, time_ns, levels = json.loads(row[0]) if row else ("", 0, {})
        return (time_ns, levels) if boot == self._own[1] else (0, {})

    def learnt(self) -> dict[str, bytes]:
        """What judging had learnt at its last checkpoint, by name."""
        with self._lock, self._reading():
            return dict(self._db.execute("SELECT name, blob FROM learnt").fetchall())

    def forget(self, names: Sequence[str]) -> None:
        """Drop what was learnt under these names: nobody is left to take it back."""
        with self._transaction() as db:
            db.executemany("DELETE FROM learnt WHERE name = ?", [(name,) for name in names])

    def depth(self) -> dict[tuple[str, Lane], tuple[int, int, int]]:
        """By upstream and lane: records, bytes, time of the oldest (ns of its own boot). Reads every record, so on a
        connection of its own: an alarm does not wait for it."""
        with self._reading(), closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as db:
            rows = db.execute(
                "SELECT upstream, lane, count(*), sum(length(blob)), min(t_ns) FROM record GROUP BY upstream, lane"
            ).fetchall()
        return {(upstream, Lane(lane)): (n, size, t_ns) for upstream, lane, n, size, t_ns in rows}

    def moved(self) -> bool:
        """Whether the path now leads to another file (the writer quarantined this one): open again."""
        try:
            return os.stat(self.path).st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._bell.close()

    # -- inside

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as bad:
            raise schema.cannot_write(self.path, OSError(f"unable to open: {bad.strerror}")) from bad
        synchronous = "FULL" if self.role == "writer" else "NORMAL"
        try:
            self._db = schema.connect(self.path, synchronous=synchronous, limit_mb=self._limit_mb)
        except sqlite3.DatabaseError as bad:
            if not schema.is_corrupt(bad):
                raise schema.cannot_write(self.path, bad) from bad
            if self.role == "reader":
                raise _corrupt(self.path, bad) from bad
            self._quarantine()
            self._db = schema.connect(self.path, synchronous=synchronous, limit_mb=self._limit_mb)
        self._inode = os.stat(self.path).st_ino
        self._max_pages = int(self._db.execute("PRAGMA max_page_count").fetchone()[0])
        if self.role == "writer":
            self._enter_boot()

    def _enter_boot(self) -> None:
        kernel = kernel_boot()
        with self._transaction() as db:
            row = db.execute("SELECT n, id, kernel_boot FROM boot ORDER BY n DESC LIMIT 1").fetchone()
            if row is not None:
                self._own = (row[0], row[1])
                self._promote(db)
            if row is None or row[2] != kernel:
                name = secrets.token_hex(8)
                n = db.execute("INSERT INTO boot(id, kernel_boot) VALUES(?, ?)", (name, kernel)).lastrowid or 0
                self._own = (n, name)
                self._declare_timeless(db)
                db.execute(
                    "DELETE FROM counter WHERE boot < ? AND NOT EXISTS (SELECT 1 FROM record r WHERE "
                    "r.upstream = counter.upstream AND r.lane = counter.lane AND r.boot = counter.boot)",
                    (n,),
                )
                db.execute(
                    "DELETE FROM boot WHERE n < ? AND n NOT IN (SELECT boot FROM record) "
                    "AND id NOT IN (SELECT boot FROM coverage)",
                    (n - 1000,),  # seldom: it reads every record
                )
            self._clean = db.execute("SELECT value FROM meta WHERE name = 'clean'").fetchone()[0] == "1"
            db.execute("UPDATE meta SET value = '0' WHERE name = 'clean'")

    def _quarantine(self) -> None:
        aside = f"{self.path}.corrupt-{time.time_ns() // 1_000_000}"
        os.replace(self.path, aside)
        for tail in ("-wal", "-shm"):
            with suppress(OSError):
                os.replace(f"{self.path}{tail}", f"{aside}{tail}")
        self.quarantined = aside
        log.error(
            "CG-2003 the spool was corrupt: put aside as %s, a new one is begun / 손상된 스풀을 보관했습니다", aside
        )

    def _replace(self) -> None:
        """The file broke under the running writer: start a new one with what is known of the old."""
        with suppress(sqlite3.Error):
            self._db.close()
        self._quarantine()
        self._open()
        if self._offset:
            self.set_offset(*self._offset)
        for catalog in list(self._catalogs.values()):
            self.put_catalog(catalog)

    def _append(
        self,
        rows: Sequence[tuple[str, Item, bytes]],
        catalog: str,
        marks: Marks,
        size: int,
    ) -> list[tuple[str, Lane, int]]:
        try:
            return self._append_once(rows, catalog, marks, size)
        except sqlite3.OperationalError as bad:
            if "full" not in str(bad) or not self._room(self._db).is_near_limit(size):
                raise  # the disk itself is full: dropping what is stored would win nothing
            # Evict at once what the water marks would have let stay, alarms excepted, and try once more.
            return self._append_once(rows, catalog, marks, max(size * 4, int(self._max_pages * schema.PAGE * 0.2)))

    def _room(self, db: sqlite3.Connection) -> Room:
        return Room(db, self._max_pages * schema.PAGE, self._own, self._insert)

    def _append_once(
        self,
        rows: Sequence[tuple[str, Item, bytes]],
        catalog: str,
        marks: Marks,
        size: int,
    ) -> list[tuple[str, Lane, int]]:
        with self._begin() as db:
            found = db.execute("SELECT n FROM catalog WHERE id = ?", (catalog,)).fetchone()
            if found is None:
                raise ValueError(f"catalog {catalog} was not put into this spool")
            self._room(db).make(size)
            out = []
            for upstream, item, blob in rows:
                out.append((upstream, lane_of(item), self._insert(db, upstream, item, blob, catalog=found[0])))
            standing, coverage, drafted, draft, learnt = marks
            for event in standing:
                if event.phase is Phase.CLEAR:
                    db.execute("DELETE FROM standing WHERE key = ?", (event.key,))
                else:
                    db.execute("INSERT OR REPLACE INTO standing VALUES(?, ?)", (event.key, to_blob(event)))
            if coverage is not None:
                blob = cbor2.dumps(dict(coverage))
                db.execute("INSERT OR REPLACE INTO coverage VALUES(0, ?, ?)", (self._own[1], blob))
            if drafted == b"":
                db.execute("DELETE FROM draft")
            elif drafted is not None:
                db.execute("INSERT OR REPLACE INTO draft VALUES(0, ?, ?)", (found[0], drafted))
            if draft is not None and draft.levels:
                known = json.dumps([self._own[1], draft.time_ns, dict(draft.levels)])
                db.execute("INSERT OR REPLACE INTO meta VALUES('levels', ?)", (known,))
            db.executemany("INSERT OR REPLACE INTO learnt VALUES(?, ?)", learnt.items())
        return out

    def _promote(self, db: sqlite3.Connection) -> None:
        """Make records of a draft that a killed writer left, in the boot it belonged to."""
        row = db.execute("SELECT catalog, blob FROM draft").fetchone()
        if row is None:
            return
        items, covered = cbor2.loads(row[1])
        for upstream, blob in items:
            item = readable(blob)
            if item is not None:
                self._insert(db, upstream, item, blob, catalog=row[0])
        before = db.execute("SELECT boot, blob FROM coverage").fetchone()
        coverage = cbor2.loads(before[1]) if before and before[0] == self._own[1] else {}
        merged = cbor2.dumps({**coverage, **{name: max(ns, coverage.get(name, ns)) for name, ns in covered.items()}})
        db.execute("INSERT OR REPLACE INTO coverage VALUES(0, ?, ?)", (self._own[1], merged))
        db.execute("DELETE FROM draft")

    def _declare_timeless(self, db: sqlite3.Connection) -> None:
        """Records of boots that ended before their clock was set: when that was, nobody will ever know. Kept where
        refused records are, and declared."""
        rows = db.execute(
            "SELECT r.rowid, r.upstream, r.lane, r.boot, b.id, r.seq, r.catalog, r.blob FROM record r "
            f"JOIN boot b ON b.n = r.boot WHERE b.n < ? AND NOT ({PLACED}) ORDER BY r.lane, r.boot, r.seq",
            (self._own[0],),
        ).fetchall()
        lost: dict[tuple[str, str, int | None], list[tuple[int, int, Item | None]]] = {}
        for rowid, upstream, lane, boot_n, boot, seq, catalog, blob in rows:
            db.execute("DELETE FROM record WHERE rowid = ?", (rowid,))
            db.execute(
                "INSERT INTO refused VALUES(?, ?, ?, ?, ?, ?, ?)", (upstream, lane, boot_n, seq, catalog, blob, "clock")
            )
            item = readable(blob)
            if isinstance(item, Event):  # an alarm that still stands is raised anew, with a time of this boot
                db.execute("DELETE FROM standing WHERE key = ?", (item.key,))
            lost.setdefault((upstream, boot, catalog), []).append((lane, seq, item))
        db.execute("DELETE FROM refused WHERE rowid <= (SELECT max(rowid) FROM refused) - 100")
        for (upstream, boot, catalog), records in lost.items():
            gap = declare("clock", boot, records, own_boot=self._own[1])
            self._insert(db, upstream, gap, to_blob(gap), catalog=catalog)

    def _insert(
        self,
        db: sqlite3.Connection,
        upstream: str,
        item: Item,
        blob: bytes,
        *,
        catalog: int | None,
        boot: int = 0,
        step_s: int = 0,
    ) -> int:
        """The next number of its boot (0: the running one)."""
        boot, lane = boot or self._own[0], int(lane_of(item))
        seq = int(
            db.execute(
                "INSERT INTO counter VALUES(?, ?, ?, 1) "
                "ON CONFLICT(boot, upstream, lane) DO UPDATE SET next = next + 1 RETURNING next - 1",
                (boot, upstream, lane),
            ).fetchone()[0]
        )
        db.execute(
            "INSERT INTO record VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (upstream, lane, boot, seq, time_of(item), catalog or 0, blob, step_s, kin_of(item)),
        )
        return seq

    @contextmanager
    def _begin(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._reading(), self._begin() as db:
            yield db

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as bad:
            if schema.is_corrupt(bad):
                raise _corrupt(self.path, bad) from bad
            raise schema.cannot_write(self.path, bad) from bad


def kernel_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _drafted(draft: Draft) -> bytes:
    """b"" where nothing is open."""
    if not draft.items:
        return b""
    return cbor2.dumps([[[upstream, to_blob(item)] for upstream, item in draft.items], dict(draft.coverage)])


def _corrupt(path: Path, bad: Exception) -> SpoolError:
    return SpoolError(
        "CG-2003",
        f"the spool {path} is corrupt ({bad})",
        f"스풀 {path} 이(가) 손상되었습니다 ({bad})",
        next_en="Restart citygate field: it puts the file aside and starts a new one",
        next_ko="citygate field 를 다시 시작하면 파일을 보관하고 새로 시작합니다",
    )
