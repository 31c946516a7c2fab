"""The uplink's, the spool's and the center's figures: bytes on the wire, alarms and a backlog over bad lines, an outage
of three days, what kills and power cuts cost, packs a center commits, ten thousand gateways.

An alarm's time runs from the reading to the center's commit (`alarm_ms`) and to the gateway's knowing of it
(`alarm_confirmed_ms`); ten a second are raised while the backlog drains. Loss and delay act on IP packets
(`uplink_line`): a relay between two network namespaces. What a machine cannot run (no root, no nats-server) is left
out, null in the figures and said so. Parts are printed as they end; about fifteen minutes on two cores, `--full` runs
every count and every line, some two hours.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks import (
    powercut,
    uplink_bytes,
    uplink_center,
    uplink_fleet,
    uplink_fuzz,
    uplink_kills,
    uplink_outage,
)
from benchmarks.uplink_ends import fill
from benchmarks.uplink_line import FAR, Line
from gateway.wire.credentials import create

PORT = 5683
ALARM_EVERY_S = 0.1
BACKLOG, FULL_BACKLOG = 20_000, 60_000
SECONDS, FULL_SECONDS = 15.0, 40.0
PLAIN_SECONDS, FULL_PLAIN_SECONDS = 12.0, 40.0
PLAIN_SEEDS = range(1, 5)  # it sends so little that one draw of losses says nothing
LINES = ((0.01, 0.0), (0.01, 0.05), (0.05, 0.05))
FULL_LINES = tuple((delay_s, loss) for delay_s in (0.01, 0.05) for loss in (0.0, 0.05, 0.2))


KEYS = (
    "bytes_per_window",
    "bytes_per_raw_reading",
    "alarm_ms",
    "backlog_mb_s",
    "backlog_vs_plain_5pct",
    "outage72h",
    "committed_lost",
    "duplicates",
    "oscore_reused",
    "acknowledged_lost",
    "center",
    "fleet",
)


def run(*, full: bool) -> dict[str, Any]:
    """Every key of KEYS, null where this machine cannot tell; what they rest on beside them."""
    began_s = time.monotonic()
    figures: dict[str, Any] = dict.fromkeys(KEYS)
    for part in (_bytes, _center_figures, _mutants, _bad_lines, _outage, _kills, _cuts, _fleet):
        at_s = time.monotonic()
        figures |= part(full)
        print(f"-- {part.__name__.strip('_')}: {time.monotonic() - at_s:.0f} s", flush=True)
    return {**figures, "seconds": round(time.monotonic() - began_s)}


def _bytes(full: bool) -> dict[str, Any]:
    figures = uplink_bytes.run()
    print(f"bytes: {figures}", flush=True)
    return figures


def _center_figures(full: bool) -> dict[str, Any]:
    return {"center": uplink_center.run(full=full)}


def _mutants(full: bool) -> dict[str, Any]:
    figures = uplink_fuzz.run(full=full)
    print(f"mutants: {figures}", flush=True)
    return {"mutants": figures}


def _bad_lines(full: bool) -> dict[str, Any]:
    if lacks := Line.missing():
        print(f"lines are left out, this needs {lacks}", flush=True)
        return {}
    with tempfile.TemporaryDirectory(prefix="citygate-uplink-") as name:
        return _lines(Path(name), full)


def _outage(full: bool) -> dict[str, Any]:
    figures = uplink_outage.run(full=full)
    print(f"outage: {figures}", flush=True)
    return {"outage72h": figures}


def _kills(full: bool) -> dict[str, Any]:
    figures = uplink_kills.run(full=full)
    print(f"kills: {figures}", flush=True)
    return {"committed_lost": figures["committed_lost"], "duplicates": figures["duplicates"], "kills": figures}


def _cuts(full: bool) -> dict[str, Any]:
    try:
        figures = powercut.run(full=full)
    except SystemExit as lacks:
        print(f"power cuts are left out: {lacks}", flush=True)
        return {}
    return {key: figures[key] for key in ("oscore_reused", "acknowledged_lost")} | {"cuts": figures}


def _fleet(full: bool) -> dict[str, Any]:
    return {"fleet": uplink_fleet.run(full)}


def _lines(folder: Path, full: bool) -> dict[str, Any]:
    fill(folder / "backlog.db", FULL_BACKLOG if full else BACKLOG)
    alarms: dict[str, Any] = {}
    confirmed: dict[str, Any] = {}
    backlog: dict[str, float] = {}
    ours: list[float] = []
    seconds = FULL_SECONDS if full else SECONDS
    for delay_s, loss in FULL_LINES if full else LINES:
        key = f"{delay_s * 1000:.0f}ms_{loss * 100:.0f}pct"
        got = _drain(folder, delay_s, loss, seconds)
        alarms[key] = {**_percentiles(got["committed_ms"]), "lost": len(got["raised_ns"]) - len(got["committed_ms"])}
        confirmed[key] = _percentiles(got["confirmed_ms"])
        backlog[key] = round(got["mb"] / got["seconds"], 3)
        rate = got["windows"] / got["seconds"]
        if (delay_s, loss) == (0.01, 0.05):
            ours.append(rate)
        print(f"line {key}: {rate:.0f} windows/s, {backlog[key]} MB/s, alarms {alarms[key]}, {got['seen']}", flush=True)
        print(f"  confirmed at the gateway: {confirmed[key]}", flush=True)
    plain = [_plain(folder, 0.01, 0.05, FULL_PLAIN_SECONDS if full else PLAIN_SECONDS, seed) for seed in PLAIN_SEEDS]
    plain_rate = sum(one["windows"] for one in plain) / sum(one["seconds"] for one in plain)
    ratio = statistics.mean(ours) / plain_rate
    print(f"plain client, 10 ms, 5 %: {plain_rate:.2f} windows/s; ours {ratio:.0f} times that", flush=True)
    return {
        "alarm_ms": alarms,
        "alarm_confirmed_ms": confirmed,
        "backlog_mb_s": backlog,
        "backlog_vs_plain_5pct": round(ratio, 1),
        "plain_windows_s": round(plain_rate, 2),
    }


def _percentiles(values: Sequence[float]) -> dict[str, Any]:
    ranked = sorted(values)
    return {
        "p50": round(statistics.median(ranked), 1),
        "p99": round(ranked[int(len(ranked) * 0.99)], 1),
        "count": len(ranked),
    }


def _drain(folder: Path, delay_s: float, loss: float, seconds: float) -> dict[str, Any]:
    here = folder / f"{delay_s}-{loss}"
    here.mkdir()
    shutil.copy(folder / "backlog.db", here / "spool.db")
    create("bench", here / "gw", here / "keys")
    with Line(delay_s, loss) as line:
        center = _center(line, here, ["--credentials", str(here / "keys")])
        try:
            command = ["uplink", str(here), f"coap://{FAR}:{PORT}", str(seconds), str(ALARM_EVERY_S)]
            got = _near(line, here, command)
        finally:
            center.terminate()
            center.wait()
    with closing(sqlite3.connect(here / "center.db")) as db:
        stored = db.execute("SELECT count(*), count(DISTINCT seq) FROM message WHERE lane = 1").fetchone()
        commits = db.execute("SELECT subject, committed_boottime_ns FROM event WHERE committed_boottime_ns").fetchall()
        again = db.execute("SELECT coalesce(sum(n), 0) FROM duplicate").fetchone()[0]
    raised_ns = {f"zone-{number}": at for number, at in enumerate(got["raised_ns"])}
    got["committed_ms"] = [(at - raised_ns[subject]) / 1e6 for subject, at in commits]
    got["seen"] = {"stored": stored[0], "came_again": again}
    shutil.rmtree(here)
    return got


def _plain(folder: Path, delay_s: float, loss: float, seconds: float, seed: int) -> dict[str, Any]:
    here = folder / f"plain{seed}"
    here.mkdir()
    with Line(delay_s, loss, seed) as line:
        center = _center(line, here, ["--insecure"])
        try:
            return _near(line, here, ["plain", str(here), f"coap://{FAR}:{PORT}", str(seconds)])
        finally:
            center.terminate()
            center.wait()


def _center(line: Line, folder: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    log = folder / "center.log"
    command = [sys.executable, "-m", "gateway.cli", "center", "--bind", f"{FAR}:{PORT}"]
    command += ["--db", str(folder / "center.db")]
    with log.open("w") as out:
        center = line.far([*command, *arguments], out)
    give_up_s = time.monotonic() + 20
    while "ready" not in log.read_text():
        if center.poll() is not None or time.monotonic() > give_up_s:
            raise RuntimeError(f"the center did not start:\n{log.read_text()}")
        time.sleep(0.05)
    return center


def _near(line: Line, folder: Path, arguments: Sequence[str]) -> dict[str, Any]:
    log = folder / "near.log"
    with log.open("w") as out:
        line.near([sys.executable, "-m", "benchmarks.uplink_ends", *arguments], out).wait()
    for text in reversed(log.read_text().splitlines()):
        if text.startswith("{"):
            found: dict[str, Any] = json.loads(text)
            return found
    raise RuntimeError(f"no figures:\n{log.read_text()}")
