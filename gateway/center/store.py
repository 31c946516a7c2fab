"""What a center keeps: messages in, SQLite rows out, committed before the caller goes on.

One thread writes; packs that arrive while it commits share the next transaction, whoever sent them, and an alarm goes
before whatever else waits. A pack is known by (gateway, boot, upstream, lane, seq): a second one is counted and
dropped. Times are UTC ns.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.center.sink import SELF as SELF
from gateway.center.sink import Heard as Heard
from gateway.center.sink import HeardRow, Taken
from gateway.center.sink import StoreError as StoreError
from gateway.spool.records import Lane
from gateway.spool.trouble import Trouble
from gateway.wire.rows import EventRow, GapRow, HealthRow, Message, ValueRow, WindowRow

BATCH = 256  # packs a transaction, and
BATCH_S = 0.005  # no longer: an alarm that comes meanwhile waits for its commit
CHECKPOINT_S = 0.5
VERSION = 2

_HEARD = """
CREATE TABLE gateway(name TEXT PRIMARY KEY, heard_ns INTEGER NOT NULL, next_s REAL NOT NULL, shares TEXT NOT NULL,
  silent TEXT NOT NULL) WITHOUT ROWID;
"""
_STEPS = {
    1: f"{_HEARD} INSERT INTO gateway SELECT gateway, max(received_ns), 0, '[]', '' FROM message GROUP BY gateway;"
}

TABLES = f"""
{_HEARD}
CREATE TABLE message(id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, boot TEXT NOT NULL, upstream TEXT NOT NULL,
  lane INTEGER NOT NULL, seq INTEGER NOT NULL, received_ns INTEGER NOT NULL, next_s REAL, bytes INTEGER NOT NULL,
  UNIQUE(gateway, boot, upstream, lane, seq));
CREATE TABLE duplicate(gateway TEXT, upstream TEXT, lane INTEGER, n INTEGER NOT NULL,
  PRIMARY KEY(gateway, upstream, lane)) WITHOUT ROWID;
CREATE TABLE window(message INTEGER NOT NULL, gateway TEXT NOT NULL, channel TEXT NOT NULL, unit TEXT NOT NULL,
  start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, n INTEGER NOT NULL, expected INTEGER NOT NULL,
  min REAL, max REAL, mean REAL, sd REAL, last REAL, p50 REAL, p95 REAL, quality INTEGER NOT NULL);
CREATE TABLE value(message INTEGER NOT NULL, gateway TEXT NOT NULL, channel TEXT NOT NULL, unit TEXT NOT NULL,
  time_ns INTEGER NOT NULL, value REAL NOT NULL, quality INTEGER NOT NULL);
CREATE TABLE event(message INTEGER NOT NULL, gateway TEXT NOT NULL, code TEXT NOT NULL, phase INTEGER NOT NULL,
  severity INTEGER NOT NULL, cause TEXT NOT NULL, subject TEXT NOT NULL, time_ns INTEGER NOT NULL,
  onset_ns INTEGER NOT NULL, score REAL, text_en TEXT, text_ko TEXT, asset TEXT, place_en TEXT, place_ko TEXT,
  latitude REAL, longitude REAL, evidence TEXT NOT NULL, committed_boottime_ns INTEGER);
CREATE TABLE gap(message INTEGER NOT NULL, gateway TEXT NOT NULL, reason TEXT NOT NULL, channel TEXT NOT NULL,
  from_ns INTEGER, to_ns INTEGER, from_boottime_ns INTEGER NOT NULL, to_boottime_ns INTEGER NOT NULL,
  from_boot TEXT NOT NULL, to_boot TEXT NOT NULL);
CREATE TABLE gap_record(message INTEGER NOT NULL, gateway TEXT NOT NULL, reason TEXT NOT NULL, upstream TEXT NOT NULL,
  lane INTEGER NOT NULL, boot TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE TABLE health(message INTEGER NOT NULL, gateway TEXT NOT NULL, time_ns INTEGER NOT NULL, facts TEXT NOT NULL);
CREATE INDEX window_by_channel ON window(gateway, channel, end_ns);
CREATE INDEX event_by_message ON event(message);
CREATE INDEX event_by_time ON event(time_ns);
"""


@dataclass(slots=True, eq=False)
class _Waiting:
    """Whoever put some packs, until the last of them is committed."""

    done: asyncio.Future[None]
    results: list[bool | ValueError]
    left: int
    failed: bool = False


@dataclass(slots=True)
class _Item:
    """One pack in the queue; without a message only that `gateway` was heard, or that `names` are silent in it."""

    gateway: str
    message: Message | None
    size: int
    heard: Heard | None
    waiting: _Waiting
    index: int
    names: tuple[str, ...] = field(default=())

    def stored(self, result: bool | ValueError) -> bool:
        """Note the result; whether it was the last one."""
        if self.message is not None:
            self.waiting.results[self.index] = result
        self.waiting.left -= 1
        return self.waiting.left == 0


class Store:
    """`put` from the event loop; everything else happens in a thread of its own."""

    def __init__(self, path: str | Path) -> None:
        """Raises Trouble CG-4202."""
        self._path = Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._db = _open(self._path)
        except (sqlite3.Error, OSError) as bad:
            raise Trouble(
                "CG-4202",
                f"the center's database {path} cannot be used ({bad})",
                f"센터 데이터베이스 {path} 을(를) 사용할 수 없습니다 ({bad})",
                next_en="Check the path, its owner and that the file is a center's database",
                next_ko="경로와 소유자, 센터 데이터베이스 파일인지 확인하십시오",
            ) from bad
        self._alarms: deque[_Item] = deque()
        self._others: deque[_Item] = deque()
        self._news = threading.Condition()
        self._ending = False
        self._stamps: list[tuple[int, int]] = []  # of the last commit, written with the next
        self._ended = threading.Event()
        self.ended: Future[None] = Future()  # with what it died of, if it was not closed: a mistake of ours
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()
        self._tidying = threading.Thread(target=self._tidy, name="checkpoint", daemon=True)
        self._tidying.start()

    async def put(self, gateway: str, message: Message, size: int) -> bool:
        """True when it is on disk for the first time, False for a duplicate. Raises StoreError, or ValueError for a
        message that no database takes."""
        (result,) = await self._put(gateway, [(message, size)], Heard(message.next_s))
        if isinstance(result, ValueError):
            raise result
        return result

    async def put_all(self, gateway: str, packs: Sequence[Taken], heard: Heard) -> list[bool | ValueError]:
        """As `Sink.put_all`; after StoreError some of them may be stored."""
        return await self._put(gateway, [(one.message, len(one.body)) for one in packs], heard)

    async def _put(self, gateway: str, packs: Sequence[tuple[Message, int]], heard: Heard) -> list[bool | ValueError]:
        waiting = _Waiting(asyncio.get_running_loop().create_future(), [False] * len(packs), max(1, len(packs)))
        items = [_Item(gateway, message, size, heard, waiting, n) for n, (message, size) in enumerate(packs)]
        items = items or [_Item(gateway, None, 0, heard, waiting, 0)]
        urgent = any(message.lane is Lane.ALARM for message, _ in packs)
        with self._news:
            (self._alarms if urgent else self._others).extend(items)
            self._news.notify()
        await waiting.done
        return waiting.results

    async def mark_silent(self, names: Sequence[str], incident: str) -> None:
        """Note which incident these gateways are silent in, "" for none any more. Raises StoreError."""
        waiting = _Waiting(asyncio.get_running_loop().create_future(), [], 1)
        with self._news:
            self._others.append(_Item(incident, None, 0, None, waiting, 0, tuple(names)))
            self._news.notify()
        await waiting.done

    @property
    def leads(self) -> bool:
        return True

    def heard(self) -> list[HeardRow]:
        with self._reader() as db:
            rows = db.execute("SELECT name, heard_ns, next_s, shares, silent FROM gateway").fetchall()
        return [(name, ns, next_s, tuple(json.loads(shares)), silent) for name, ns, next_s, shares, silent in rows]

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Commit what is queued and stop."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._ended.set()
        self._tidying.join()
        self._thread.join()
        self._db.close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            yield db
        finally:
            db.close()

    def _run(self) -> None:
        try:
            self._serve()
            self.ended.set_result(None)
        except BaseException as bad:
            self.ended.set_exception(bad)

    def _serve(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._alarms or self._others or self._stamps or self._ending)
                idle = not self._alarms and not self._others
            if not idle or self._stamps:
                self._commit()
            elif self._ending:
                return

    def _tidy(self) -> None:
        """Carry what was committed from the log into the file, so that no commit has to."""
        with suppress(sqlite3.Error), closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as db:
            while not self._ended.wait(CHECKPOINT_S):
                with suppress(sqlite3.Error):
                    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _commit(self) -> None:
        """One transaction: what waits until an alarm comes, then all alarms, which no other pack may hold up."""
        taken: list[_Item] = []
        results: list[bool | ValueError] = []
        events: list[int] = []
        heard: dict[str, Heard] = {}
        failure: StoreError | None = None
        until_s = time.monotonic() + BATCH_S
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("UPDATE event SET committed_boottime_ns = ? WHERE message = ?", self._stamps)
            self._stamps.clear()  # for measuring: better lost than in the way
            urgent = False
            while len(taken) < BATCH and time.monotonic() < until_s:
                queue = self._alarms or self._others
                if not queue or (urgent and queue is self._others):
                    break
                urgent = queue is self._alarms
                item = queue.popleft()
                if item.waiting.failed:
                    continue
                taken.append(item)
                if item.message is not None:
                    results.append(self._one(item.gateway, item.message, item.size, events))
                else:
                    results.append(False)
                if item.heard is not None:
                    heard[item.gateway] = _joined(heard.get(item.gateway), item.heard)
                elif item.message is None:
                    self._db.executemany(
                        "UPDATE gateway SET silent = ? WHERE name = ?", [(item.gateway, name) for name in item.names]
                    )
            self._note_heard(heard)
            self._db.execute("COMMIT")
        except sqlite3.Error as bad:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            failure = StoreError(str(bad))
            events = []
        committed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if failure:
            ready = list({id(item.waiting): item.waiting for item in taken}.values())
            for waiting in ready:
                waiting.failed = True
        else:
            ready = [item.waiting for item, result in zip(taken, results, strict=True) if item.stored(result)]
        if ready:
            with suppress(RuntimeError):  # the loop is gone: nobody waits
                ready[0].done.get_loop().call_soon_threadsafe(_resolve, ready, failure)
        if events:
            self._stamps += [(committed_ns, message) for message in events]

    def _note_heard(self, heard: Mapping[str, Heard]) -> None:
        now_ns = time.time_ns()
        rows = [(name, now_ns, h.next_s, json.dumps(h.shares)) for name, h in heard.items() if name != SELF]
        self._db.executemany(
            "INSERT INTO gateway VALUES(?, ?, ?, ?, '') ON CONFLICT DO UPDATE SET heard_ns = excluded.heard_ns, "
            "next_s = CASE excluded.next_s WHEN 0 THEN next_s ELSE excluded.next_s END, "
            "shares = CASE excluded.shares WHEN '[]' THEN shares ELSE excluded.shares END",
            rows,
        )

    def _one(self, gateway: str, message: Message, size: int, alarms: list[int]) -> bool | ValueError:
        """Store one message inside the open transaction; a row that SQLite refuses takes only itself out."""
        db = self._db
        lane, content = int(message.lane), message.content
        db.execute("SAVEPOINT one")
        try:
            number = db.execute(
                "INSERT OR IGNORE INTO message(gateway, boot, upstream, lane, seq, received_ns, next_s, bytes) "
                "VALUES(?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (gateway, message.boot, message.upstream, lane, message.seq, time.time_ns(), message.next_s, size),
            ).fetchone()
            if number is None:
                db.execute(
                    "INSERT INTO duplicate VALUES(?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
                    (gateway, message.upstream, lane),
                )
            else:
                for table, rows in _rows(number[0], gateway, message):
                    db.executemany(f"INSERT INTO {table} VALUES({', '.join('?' * len(rows[0]))})", rows)
                if isinstance(content, EventRow):
                    alarms.append(number[0])
            db.execute("RELEASE one")
        except (OverflowError, UnicodeEncodeError, sqlite3.IntegrityError, sqlite3.InterfaceError, ValueError) as bad:
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
            return ValueError(f"cannot be stored: {type(bad).__name__}")
        return number is not None


def _resolve(ready: Iterable[_Waiting], failure: StoreError | None) -> None:
    for waiting in ready:
        if waiting.done.done():
            continue
        if failure:
            waiting.done.set_exception(failure)
        else:
            waiting.done.set_result(None)


def _joined(known: Heard | None, heard: Heard) -> Heard:
    return heard if known is None else Heard(heard.next_s or known.next_s, heard.shares or known.shares)


def _rows(number: int, gateway: str, message: Message) -> Iterable[tuple[str, list[tuple[Any, ...]]]]:
    content = message.content
    at = (number, gateway)
    if isinstance(content, EventRow):
        e = content
        yield "event", [(*at, e.code, int(e.phase), int(e.severity), e.cause, e.subject, e.time_ns, e.onset_ns, e.score,
                         e.text_en, e.text_ko, e.asset, e.place_en, e.place_ko, e.latitude, e.longitude,
                         json.dumps(e.evidence), None)]  # fmt: skip
    elif isinstance(content, GapRow):
        g = content
        spans = [
            (*at, g.reason, channel, _utc(one.from_ns, g.from_offset_ns), _utc(one.to_ns, g.to_offset_ns), one.from_ns,
             one.to_ns, g.from_boot or message.boot, g.to_boot or message.boot)
            for one in g.entries for channel in one.channels
        ]  # fmt: skip
        if spans:
            yield "gap", spans
        if g.records:
            yield "gap_record", [(*at, g.reason, message.upstream, *record) for record in g.records]
    elif isinstance(content, HealthRow):
        yield "health", [(*at, content.time_ns, json.dumps(dict(content.facts), ensure_ascii=False))]
    else:
        windows = [(*at, w.channel, w.unit, w.start_ns, w.end_ns, w.n, w.expected, w.min, w.max, w.mean, w.sd, w.last,
                    w.p50, w.p95, w.quality) for w in content if isinstance(w, WindowRow)]  # fmt: skip
        values = [(*at, v.channel, v.unit, v.time_ns, v.value, v.quality) for v in content if isinstance(v, ValueRow)]
        if windows:
            yield "window", windows
        if values:
            yield "value", values


def _utc(t_ns: int, offset_ns: int | None) -> int | None:
    return None if offset_ns is None else t_ns + offset_ns


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=16384")  # 64 MB: only where the thread for it cannot keep up
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in range(VERSION + 1):
            raise sqlite3.DatabaseError(f"schema {version} is not known")
        if version == 0:
            db.executescript(f"BEGIN; {TABLES} PRAGMA user_version={VERSION}; COMMIT;")
        for old in range(version or VERSION, VERSION):
            db.executescript(f"BEGIN; {_STEPS[old]} PRAGMA user_version={old + 1}; COMMIT;")
        db.execute("SELECT max(id) FROM message").fetchone()
    except BaseException:
        db.close()
        raise
    return db
