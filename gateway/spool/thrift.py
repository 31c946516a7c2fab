"""Summaries of one upstream into coarser windows before they are sent, for a way that may carry little. In: the
database, inside a transaction of the reader. Out: merged records in place of the fine ones, and a `Gap` a boot that
declares them.

Only what nobody has tried to send yet: the caller says up to where that may have happened. A step is merged when it is
over; what has nothing to be merged with is marked, so that it goes out as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.site.upstream import Catalog
from gateway.spool.ageing import STEPS_S, merged
from gateway.spool.loss import thinned
from gateway.spool.records import Lane, Window, Windows, readable, to_blob
from gateway.spool.room import Insert

S = 1_000_000_000
GRACE_NS = 30 * S  # for the last windows of a step to come in
MOST = 4000  # records of one call

Moment = tuple[int, int]  # number of a boot in this file, ns of its clock
Mark = tuple[int, int]  # boot, seq
_Row = tuple[int, int, int, int, int, int]  # rowid, boot, seq, t_ns, catalog, kin
_Key = tuple[int, int, int, int]  # boot, end of the step in its clock, catalog, kin


def thin(db: sqlite3.Connection, insert: Insert, upstream: str, step_s: int, *, since: Moment, untried: Mark) -> int:
    """Merge what ended after `since` and is numbered after `untried`. How many records are fewer."""
    newest = db.execute(
        "SELECT boot, t_ns FROM record WHERE lane = ? AND step = 0 AND upstream = ? "
        "ORDER BY boot DESC, t_ns DESC LIMIT 1",
        (int(Lane.SUMMARY), upstream),
    ).fetchone()
    if newest is None:
        return 0
    groups: dict[_Key, list[_Row]] = {}
    offsets: dict[int, int] = {}
    for finer in (0, *(one for one in STEPS_S if one < step_s)):
        rows = db.execute(
            "SELECT rowid, boot, seq, t_ns, catalog, kin FROM record WHERE lane = ? AND step = ? AND upstream = ? "
            "AND kin != 0 AND (boot, t_ns) > (?, ?) AND (boot, seq) > (?, ?) ORDER BY boot, t_ns LIMIT ?",
            (int(Lane.SUMMARY), finer, upstream, *since, *untried, MOST),
        )
        for row in rows.fetchall():
            _, boot, _, t_ns, catalog, kin = row
            if boot not in offsets:
                offsets[boot] = _offset(db, boot)
            end_ns = -(-(t_ns + offsets[boot]) // (step_s * S)) * step_s * S - offsets[boot]
            if tuple(newest) > (boot, end_ns + GRACE_NS):
                groups.setdefault((boot, end_ns, catalog, kin), []).append(row)
    fewer = 0
    gone: dict[tuple[int, int], list[int]] = {}
    for (boot, _, catalog, _), group in groups.items():
        seqs = _merge(db, insert, upstream, boot, catalog, group, step_s)
        fewer += max(0, len(seqs) - 1)
        gone.setdefault((boot, catalog), []).extend(seqs)
    for (boot, catalog), seqs in gone.items():
        if seqs:
            name = str(db.execute("SELECT id FROM boot WHERE n = ?", (boot,)).fetchone()[0])
            gap = thinned(step_s, name, sorted(seqs))
            insert(db, upstream, gap, to_blob(gap), catalog=catalog)
    return fewer


def _merge(
    db: sqlite3.Connection, insert: Insert, upstream: str, boot: int, catalog: int, rows: Sequence[_Row], step_s: int
) -> list[int]:
    """The numbers that are gone."""
    windows: dict[int, list[Window]] = {}
    gone: list[tuple[int, int]] = []
    for rowid, _, seq, *_ in rows if len(rows) > 1 else ():
        item = readable(db.execute("SELECT blob FROM record WHERE rowid = ?", (rowid,)).fetchone()[0])
        if isinstance(item, Windows):
            gone.append((rowid, seq))
            for window in item.rows:
                windows.setdefault(window.channel, []).append(window)
    if len(gone) < 2:
        db.executemany("UPDATE record SET step = ? WHERE rowid = ?", [(step_s, row[0]) for row in rows])
        return []
    row = db.execute("SELECT blob FROM catalog WHERE n = ?", (catalog,)).fetchone()
    known = Catalog.from_blob(row[0]).rows if row else ()
    kinds = {index: one[4] for index, one in enumerate(known)}
    coarse = Windows(tuple(merged(of, kinds.get(channel, 0)) for channel, of in windows.items()))
    db.executemany("DELETE FROM record WHERE rowid = ?", [(rowid,) for rowid, _ in gone])
    insert(db, upstream, coarse, to_blob(coarse), catalog=catalog, boot=boot, step_s=step_s)
    kept = {row[0] for row in rows} - {rowid for rowid, _ in gone}
    db.executemany("UPDATE record SET step = ? WHERE rowid = ?", [(step_s, rowid) for rowid in kept])
    return [seq for _, seq in gone]


def _offset(db: sqlite3.Connection, boot: int) -> int:
    row = db.execute("SELECT utc_offset_ns FROM boot WHERE n = ?", (boot,)).fetchone()
    return int(row[0] or 0) if row else 0
