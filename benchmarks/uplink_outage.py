"""An outage of 72 h: 1,000 channels with windows of 60 s under a 64 MB limit, then the way comes back.

The clock is accelerated: the real writer, spool and thinning are driven with the times of three days, a commit a
minute. Then the real uplink drains to a real center at 20 ms round trip (`uplink_line`; without root over loopback,
as it says). Every minute of every channel must be at the center with its sixty readings: in its own window, in a
coarser one, or in a declared gap.

python -m benchmarks.uplink_outage [HOURS [CHANNELS [LIMIT_MB]]]
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.uplink_line import FAR, Line
from gateway.field.writer import SpoolWriter
from gateway.site.upstream import Catalog
from gateway.spool.records import Window, Windows
from gateway.spool.spool import Spool
from gateway.wire.credentials import create

HOURS, CHANNELS, LIMIT_MB = 72, 1000, 64.0
TOGETHER = 12  # channels a record
DELAY_S = 0.01  # each way
PATIENCE_S = 1200.0
PORT = 5683
MINUTE_NS = 60_000_000_000
GATEWAY, UPSTREAM = "bench", "center"
Span = tuple[int, int]


def run(*, full: bool) -> dict[str, Any]:
    """outage72h {undeclared_lost, drain_s} and what they rest on."""
    return outage(HOURS, CHANNELS, LIMIT_MB)


def outage(hours: float, channels: int, limit_mb: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="citygate-outage-") as name:
        folder = Path(name)
        figures = fill(folder, hours, channels, limit_mb)
        print(f"outage: {figures}", flush=True)
        figures |= _drain(folder)
        print(f"outage drained: {figures['drain_s']} s", flush=True)
        with closing(sqlite3.connect(folder / "center.db")) as db:
            figures |= account(db, hours, channels, figures.pop("utc_ns"))
    return figures


def fill(folder: Path, hours: float, channels: int, limit_mb: float) -> dict[str, Any]:
    """Three days into folder/spool.db. `utc_ns`: when they began."""
    dice = random.Random(72)
    catalog = Catalog(GATEWAY, tuple((f"d{i}.p", f"d{i}", "p", "Cel", 0, 0.1) for i in range(channels)))
    spool = Spool.open(folder / "spool.db", limit_mb=limit_mb)
    began_s, worst_s, utc_ns = time.monotonic(), 0.0, time.time_ns() // MINUTE_NS * MINUTE_NS
    spool.set_offset(utc_ns, 1000)
    writer = SpoolWriter(spool, spool.put_catalog(catalog))
    for minute in range(round(hours * 60)):
        at_s = time.monotonic()
        writer.submit([(UPSTREAM, item) for item in _minute(minute, channels, dice)])
        writer.turn(60.0)
        worst_s = max(worst_s, time.monotonic() - at_s)
    if not writer.close(60.0):
        raise RuntimeError(f"the writer did not take everything: {writer.fault}")
    waiting = spool.depth()
    spool.close()
    return {
        "windows": round(hours * 60) * channels,
        "records_waiting": sum(depth for depth, _, _ in waiting.values()),
        "spool_mb": round((folder / "spool.db").stat().st_size / 1e6, 1),
        "slowest_commit_ms": round(worst_s * 1e3, 1),
        "filled_s": round(time.monotonic() - began_s, 1),
        "utc_ns": utc_ns,
    }


def _minute(minute: int, channels: int, dice: random.Random) -> list[Windows]:
    """Sixty readings of each channel as its window; noise of three steps around a slow mean."""
    start, end = minute * MINUTE_NS, (minute + 1) * MINUTE_NS
    rows = []
    for channel in range(channels):
        mean = 20.0 + channel % 7 + dice.gauss(0.0, 0.1)
        low, p05, p25, p50, p75, p95, high = sorted(round(dice.gauss(mean, 0.3), 1) for _ in range(7))
        last = round(dice.uniform(low, high), 1)
        rows.append(
            Window(channel, start, end, 60, 60, low, high, mean, 0.3, p50, last, end - 1, p50, p95, 0, (p05, p25, p75))
        )
    return [Windows(tuple(rows[at : at + TOGETHER])) for at in range(0, channels, TOGETHER)]


def _drain(folder: Path) -> dict[str, Any]:
    create(GATEWAY, folder / "gw", folder / "keys")
    ends = [sys.executable, "-m", "benchmarks.uplink_ends", "drain", str(folder)]
    center = [sys.executable, "-m", "gateway.cli", "center", "--db", str(folder / "center.db")]
    center += ["--credentials", str(folder / "keys")]
    if lacks := Line.missing():
        print(f"outage: over loopback, without delay: a line needs {lacks}", flush=True)
        with (folder / "center.log").open("w") as log:
            taking = subprocess.Popen([*center, "--bind", f"127.0.0.1:{PORT}"], stderr=log, text=True)
        return {**_run(taking, folder, [*ends, f"coap://127.0.0.1:{PORT}", str(PATIENCE_S)], None), "round_trip_ms": 0}
    with Line(DELAY_S, 0.0) as line:
        with (folder / "center.log").open("w") as log:
            taking = line.far([*center, "--bind", f"{FAR}:{PORT}"], log)
        got = _run(taking, folder, [*ends, f"coap://{FAR}:{PORT}", str(PATIENCE_S)], line)
    return {**got, "round_trip_ms": round(2000 * DELAY_S)}


def _run(center: subprocess.Popen[Any], folder: Path, command: list[str], line: Line | None) -> dict[str, Any]:
    log = folder / "near.log"
    try:
        give_up_s = time.monotonic() + 20
        while "ready" not in (folder / "center.log").read_text():
            if center.poll() is not None or time.monotonic() > give_up_s:
                raise RuntimeError(f"the center did not start:\n{(folder / 'center.log').read_text()}")
            time.sleep(0.05)
        with log.open("w") as out:
            near = line.near(command, out) if line else subprocess.Popen(command, stdout=out, stderr=out, text=True)
            near.wait()
        for text in reversed(log.read_text().splitlines()):
            if text.startswith("{"):
                found: dict[str, Any] = json.loads(text)
                return {"drain_s": found["seconds"] if not found["left"] else None, "left": found["left"]}
        raise RuntimeError(f"no figures:\n{log.read_text()}")
    finally:
        center.terminate()
        center.wait()


def account(db: sqlite3.Connection, hours: float, channels: int, utc_ns: int) -> dict[str, Any]:
    """What came of every minute of every channel, from a center's database."""
    minutes = round(hours * 60)
    tally = dict.fromkeys(("undeclared_lost", "declared_lost", "own_windows", "in_coarser", "twice"), 0)
    for channel in range(channels):
        name = f"d{channel}.p"
        windows: list[tuple[int, int, int]] = db.execute(
            "SELECT start_ns, end_ns, n FROM window WHERE gateway = ? AND channel = ? ORDER BY end_ns", (GATEWAY, name)
        ).fetchall()
        gaps = db.execute("SELECT from_ns, to_ns FROM gap WHERE channel = ? ORDER BY from_ns", (name,)).fetchall()
        own = [start for start, end, _ in windows if end - start <= MINUTE_NS]
        tally["own_windows"] += len(own)
        heard = _minutes(((start, end) for start, end, _ in windows), utc_ns, minutes)
        said = _minutes(gaps, utc_ns, minutes)
        tally["in_coarser"] += len(heard) - len(set(own))
        tally["declared_lost"] += len(said - heard)
        readings = sum(n for _, _, n in windows) // 60
        tally["undeclared_lost"] += minutes - len(heard | said) + max(0, len(heard) - readings)
        tally["twice"] += max(0, readings - len(heard))
    tally["duplicates_dropped"] = db.execute("SELECT coalesce(sum(n), 0) FROM duplicate").fetchone()[0]
    return tally


def _minutes(spans: Iterable[Span], utc_ns: int, minutes: int) -> set[int]:
    """Numbers of the minutes that the spans hold whole; a gap's bounds are readings that came."""
    found: set[int] = set()
    for start_ns, end_ns in spans:
        found.update(range(-(-(start_ns - utc_ns) // MINUTE_NS), (end_ns - utc_ns + 1) // MINUTE_NS))
    return {minute for minute in found if 0 <= minute < minutes}


if __name__ == "__main__":
    given = [float(one) for one in sys.argv[1:]] + [HOURS, CHANNELS, LIMIT_MB][len(sys.argv) - 1 :]
    print(json.dumps(outage(given[0], int(given[1]), given[2])))
