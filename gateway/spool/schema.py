"""The spool file: tables, version, opening. In: a path. Out: a configured SQLite connection. Never reads a record.

boot      n, id, kernel_boot, utc_offset_ns, uncertainty_ns      one row a kernel boot (and a new file)
catalog   n, id, blob                                            names behind channel numbers
record    upstream, lane, boot, seq, t_ns, catalog, blob         what waits for an acknowledgement
          step, kin                                              0 or the seconds its windows were thinned to; equal
                                                                 for records of the same channels
counter   boot, upstream, lane, next                             sequence numbers, hole-free
refused   as record, with the reason                             set aside, not sent again
coverage  boot, blob        standing  key, blob        meta  name, value
draft     catalog, blob                                          what becomes records if the writer dies now
learnt    name, blob                                             what judging rests on; its owner alone reads it
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from gateway.spool.trouble import SpoolError

VERSION = 2
PAGE = 4096
BUSY_TIMEOUT_S = 5.0

_STEPS = {
    1: (
        "CREATE TABLE IF NOT EXISTS learnt(name TEXT PRIMARY KEY, blob BLOB NOT NULL) WITHOUT ROWID",
        "ALTER TABLE record ADD COLUMN step INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE record ADD COLUMN kin INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX age ON record(lane, step, boot, t_ns)",
    )
}

_TABLES = """
CREATE TABLE boot(n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, kernel_boot TEXT NOT NULL,
  utc_offset_ns INTEGER, uncertainty_ns INTEGER);
CREATE TABLE catalog(n INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, blob BLOB NOT NULL);
CREATE TABLE record(upstream TEXT NOT NULL, lane INTEGER NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
  t_ns INTEGER NOT NULL, catalog INTEGER NOT NULL, blob BLOB NOT NULL, step INTEGER NOT NULL DEFAULT 0,
  kin INTEGER NOT NULL DEFAULT 0,
  UNIQUE(upstream, lane, boot, seq));
CREATE INDEX age ON record(lane, step, boot, t_ns);
CREATE TABLE counter(boot INTEGER NOT NULL, upstream TEXT NOT NULL, lane INTEGER NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY(boot, upstream, lane)) WITHOUT ROWID;
CREATE TABLE refused(upstream TEXT, lane INTEGER, boot INTEGER, seq INTEGER, catalog INTEGER, blob BLOB, reason TEXT);
CREATE TABLE coverage(one INTEGER PRIMARY KEY CHECK(one = 0), boot TEXT NOT NULL, blob BLOB NOT NULL);
CREATE TABLE draft(one INTEGER PRIMARY KEY CHECK(one = 0), catalog INTEGER NOT NULL, blob BLOB NOT NULL);
CREATE TABLE standing(key TEXT PRIMARY KEY, blob BLOB NOT NULL);
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE learnt(name TEXT PRIMARY KEY, blob BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES('clean', '1');
"""


def connect(path: Path, *, synchronous: str, limit_mb: float) -> sqlite3.Connection:
    """Open or create. Raises `SpoolError` for a newer file or a place that cannot be written; sqlite3.DatabaseError
    for a file that is not a spool."""
    with suppress(OSError):  # sqlite3 says why. It would make the file unwritable for the group of the two halves
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660))
    try:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as bad:
        raise cannot_write(path, bad) from bad
    try:
        _configure(db, path, synchronous, limit_mb)
    except BaseException:
        db.close()
        raise
    return db


def _configure(db: sqlite3.Connection, path: Path, synchronous: str, limit_mb: float) -> None:
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise SpoolError(
                "CG-2005",
                f"spool {path} was written by a newer release (schema {version}, this one knows {VERSION})",
                f"스풀 {path} 은(는) 더 새로운 버전이 기록한 파일입니다 (스키마 {version}, 현재 {VERSION})",
                next_en="Install the newer release again, or move the file away",
                next_ko="새 버전을 다시 설치하거나 파일을 다른 곳으로 옮기십시오",
            )
        db.execute(f"PRAGMA page_size={PAGE}")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute("PRAGMA wal_autocheckpoint=256")
        db.execute("PRAGMA journal_size_limit=2000000")
        if version == 0:
            _create(db)
        elif version < VERSION:
            _upgrade(db)
        db.execute(f"PRAGMA max_page_count={max(32, int(limit_mb * 1e6 / PAGE))}")
        db.execute("SELECT count(*) FROM boot").fetchone()
        db.execute("SELECT max(rowid) FROM record").fetchone()
    except sqlite3.OperationalError as bad:
        if "readonly" in str(bad) or "unable to open" in str(bad) or "disk" in str(bad):
            raise cannot_write(path, bad) from bad
        raise


def _create(db: sqlite3.Connection) -> None:
    """Both halves may come first: the second finds the tables made."""
    db.execute("BEGIN IMMEDIATE")
    if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'boot'").fetchone()[0]:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def _upgrade(db: sqlite3.Connection) -> None:
    """A file of an older release: one step a version, all or none."""
    db.execute("BEGIN IMMEDIATE")
    for version in range(int(db.execute("PRAGMA user_version").fetchone()[0]), VERSION):
        for statement in _STEPS[version]:
            db.execute(statement)
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def cannot_write(path: Path, bad: Exception) -> SpoolError:
    """The technician's words for a failed write."""
    if "full" in str(bad):
        return SpoolError(
            "CG-2001",
            f"no room left for the spool {path}; nothing stored is lost",
            f"스풀 {path} 의 공간이 부족합니다. 저장된 데이터는 안전합니다",
            next_en="Free space on the disk or raise spool_limit_mb",
            next_ko="디스크 공간을 확보하거나 spool_limit_mb 를 늘리십시오",
        )
    if "readonly" in str(bad) or "unable to open" in str(bad):
        return SpoolError(
            "CG-2002",
            f"the spool {path} cannot be written ({bad})",
            f"스풀 {path} 에 쓸 수 없습니다 ({bad})",
            next_en="Check the folder's owner and that the file system is not read-only",
            next_ko="폴더 소유자와 파일 시스템의 읽기 전용 여부를 확인하십시오",
        )
    return SpoolError(
        "CG-2004",
        f"the disk under the spool {path} failed ({bad})",
        f"스풀 {path} 의 디스크에 오류가 발생했습니다 ({bad})",
        next_en="Look at the kernel log; replace the card or disk",
        next_ko="커널 로그를 확인하고 저장 매체를 교체하십시오",
    )


def is_corrupt(bad: sqlite3.Error) -> bool:
    return any(sign in str(bad) for sign in ("malformed", "not a database", "no such table", "no such column"))
