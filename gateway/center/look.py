"""`citygate center tail|gaps|gateways`: what is in a center's database, printed. Reads only."""

from __future__ import annotations

import json as jsonlib
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.spool.trouble import Trouble

TAIL = 20
LANES = "CASE lane WHEN 0 THEN 'alarm' WHEN 1 THEN 'summary' ELSE 'diagnostic' END"
AT = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1e9, 'unixepoch')"

_TAIL = f"""
SELECT received, gateway, lane, seq, what FROM (
  SELECT m.id AS id, {AT.format("m.received_ns")} AS received, m.gateway AS gateway, {LANES} AS lane, m.seq AS seq,
    coalesce(
      (SELECT code || ' ' || CASE phase WHEN 0 THEN 'onset' WHEN 1 THEN 'update' ELSE 'clear' END || ' ' || subject
         || ': ' || text_en FROM event WHERE message = m.id),
      (SELECT count(*) || ' windows, ' || sum(n) || ' readings' FROM window WHERE message = m.id HAVING count(*)),
      (SELECT count(*) || ' values' FROM value WHERE message = m.id HAVING count(*)),
      (SELECT 'gap: ' || reason || ', ' || count(*) || ' channels' FROM gap WHERE message = m.id HAVING count(*)),
      (SELECT 'records lost: ' || reason FROM gap_record WHERE message = m.id),
      (SELECT 'health ' || facts FROM health WHERE message = m.id), '') AS what
  FROM message m ORDER BY m.id DESC LIMIT {TAIL}) ORDER BY id
"""
_GAPS = f"""
SELECT gateway, reason AS what, channel, {AT.format("from_ns")} AS since, {AT.format("to_ns")} AS until,
  round((to_ns - from_ns) / 1e9, 3) AS seconds FROM gap ORDER BY from_ns
"""
_HOLES = f"""
SELECT gateway, boot, upstream, {LANES} AS lane, previous + 1 AS first, seq - 1 AS last,
  coalesce((SELECT reason FROM gap_record g WHERE g.gateway = h.gateway AND g.boot = h.boot AND g.lane = h.lane
    AND g.upstream = h.upstream AND g.first <= h.previous + 1 AND g.last >= h.seq - 1), 'not declared') AS declared
FROM (SELECT gateway, boot, upstream, lane, seq,
  lag(seq, 1, -1) OVER (PARTITION BY gateway, boot, upstream, lane ORDER BY seq) AS previous FROM message) h
WHERE seq > previous + 1 ORDER BY gateway, boot, lane, first
"""
_GATEWAYS = f"""
SELECT g.name AS gateway, coalesce(m.messages, 0) AS messages, coalesce(m.bytes, 0) AS bytes,
  coalesce(m.boots, 0) AS boots,
  {AT.format("g.heard_ns")} AS last, CASE g.silent WHEN '' THEN '' ELSE 'silent (' || g.silent || ')' END AS silent,
  CASE g.next_s WHEN 0 THEN '' ELSE {AT.format("(g.heard_ns + g.next_s * 1e9)")} END AS next,
  (SELECT count(*) FROM window w WHERE w.gateway = g.name) AS windows,
  (SELECT count(*) FROM event e WHERE e.gateway = g.name) AS events,
  coalesce((SELECT sum(n) FROM duplicate d WHERE d.gateway = g.name), 0) AS duplicates, g.shares AS shares
FROM gateway g LEFT JOIN (SELECT gateway, count(*) AS messages, sum(bytes) AS bytes, count(DISTINCT boot) AS boots
  FROM message GROUP BY gateway) m ON m.gateway = g.name ORDER BY g.name
"""


def tail(db: str, json: bool) -> int:
    """The last messages."""
    return _show(db, json, {"messages": _TAIL})


def gaps(db: str, json: bool) -> int:
    """Readings declared lost, and sequence numbers that did not come."""
    return _show(db, json, {"gaps": _GAPS, "missing records": _HOLES})


def gateways(db: str, json: bool) -> int:
    """Who sends, how much, when the next message is due, and who is silent in which incident."""
    return _show(db, json, {"gateways": _GATEWAYS})


def holes(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """(gateway, boot, upstream, lane, first, last, reason or "not declared") of numbers that did not come."""
    return db.execute(_HOLES).fetchall()


def _show(path: str, json: bool, queries: dict[str, str]) -> int:
    try:
        db = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            tables = {title: _query(db, sql) for title, sql in queries.items()}
        finally:
            db.close()
    except sqlite3.Error as bad:
        why = str(bad) if Path(path).is_file() else "no such file"
        trouble = Trouble(
            "CG-4204",
            f"{path} is not a center's database ({why})",
            f"{path} 은(는) 센터 데이터베이스가 아닙니다 ({why})",
            next_en="Give --db the file that citygate center writes",
            next_ko="citygate center 가 기록하는 파일을 --db 로 지정하십시오",
        )
        print(trouble, file=sys.stderr)
        return 2
    if json:
        plain = {t: [dict(zip(names, row, strict=True)) for row in rows] for t, (names, rows) in tables.items()}
        print(jsonlib.dumps(plain, ensure_ascii=False))
    else:
        for title, (names, rows) in tables.items():
            _table(title, names, rows)
    return 0


def _query(db: sqlite3.Connection, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    cursor = db.execute(sql)
    return [column[0] for column in cursor.description], cursor.fetchall()


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    cells = [[str("" if value is None else value) for value in row] for row in rows]
    widths = [max(len(x) for x in column) for column in zip(names, *cells, strict=True)]
    print(f"{title}: {len(rows)}")
    for row in [names, *cells] if rows else []:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
