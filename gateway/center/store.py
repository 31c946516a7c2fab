"""What a center keeps: messages in, SQLite rows out, committed before the caller goes on.

One thread writes; messages that arrive while it commits share the next transaction. A message is known by (gateway,
boot, upstream, lane, seq): a second one is counted and dropped. Times are UTC ns.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.spool.trouble import Trouble
from gateway.wire.rows import EventRow, GapRow, HealthRow, Message, ValueRow, WindowRow

BATCH = 256  # messages a transaction
VERSION = 1

TABLES = """
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


class StoreError(Exception):
    """The database cannot take more now; nothing of the message is stored."""


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
        self._queue: queue.SimpleQueue[tuple[str, Message, int, asyncio.Future[bool]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    async def put(self, gateway: str, message: Message, size: int) -> bool:
        """True when it is on disk for the first time, False for a duplicate. Raises StoreError."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.put((gateway, message, size, done))
        return await done

    def close(self) -> None:
        """Commit what is queued and stop."""
        self._queue.put(None)
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < BATCH and not self._queue.empty():
                if (more := self._queue.get()) is None:
                    self._commit(batch)
                    return
                batch.append(more)
            self._commit(batch)

    def _commit(self, batch: list[tuple[str, Message, int, asyncio.Future[bool]]]) -> None:
        alarms: list[int] = []
        results: list[tuple[asyncio.Future[bool], bool | Exception]]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            results = [(done, self._one(gateway, message, size, alarms)) for gateway, message, size, done in batch]
            self._db.execute("COMMIT")
        except sqlite3.Error as bad:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            results = [(done, StoreError(str(bad))) for *_, done in batch]
            alarms = []
        committed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        with suppress(RuntimeError):  # the loop is gone: nobody waits
            batch[0][3].get_loop().call_soon_threadsafe(_resolve, results)
        with suppress(sqlite3.Error):  # a stamp for measuring, after the answer is on its way
            self._db.executemany(
                "UPDATE event SET committed_boottime_ns = ? WHERE message = ?", [(committed_ns, m) for m in alarms]
            )

    def _one(self, gateway: str, message: Message, size: int, alarms: list[int]) -> bool | Exception:
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


def _resolve(results: Iterable[tuple[asyncio.Future[bool], bool | Exception]]) -> None:
    for done, result in results:
        if done.done():
            continue
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)


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
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"schema {version} is not known")
        if version == 0:
            db.executescript(f"{TABLES} PRAGMA user_version={VERSION};")
        db.execute("SELECT max(id) FROM message").fetchone()
    except BaseException:
        db.close()
        raise
    return db
