"""How much waits in a spool, without reading what it says: counts from an index, and the age of the oldest.

In: the spool's path. Out: numbers. On a connection of its own, read-only: a commit does not wait for it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from gateway.spool.records import Lane
from gateway.spool.schema import cannot_write

BUSY_TIMEOUT_S = 1.0


class Waiting(NamedTuple):
    """Of one upstream and lane. `oldest_utc_ns`: None where its boot never knew the time."""

    records: int
    oldest_utc_ns: int | None


def waits(path: Path) -> dict[tuple[str, Lane], Waiting]:
    """Those lanes in which something waits. Raises SpoolError."""
    found: dict[tuple[str, Lane], Waiting] = {}
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
            counts = db.execute("SELECT upstream, lane, count(*) FROM record GROUP BY upstream, lane").fetchall()
            for upstream, lane, records in counts:
                oldest = db.execute(
                    "SELECT r.t_ns + b.utc_offset_ns FROM record r JOIN boot b ON b.n = r.boot"
                    " WHERE r.upstream = ? AND r.lane = ? ORDER BY r.boot, r.seq LIMIT 1",
                    (upstream, lane),
                ).fetchone()
                found[upstream, Lane(lane)] = Waiting(records, oldest[0] if oldest else None)
    except sqlite3.Error as bad:
        raise cannot_write(path, bad) from bad
    return found
