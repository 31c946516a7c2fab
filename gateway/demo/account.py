"""The account of a demo run, from its two ends: what the simulated devices sent, and what the center stored.

Nothing here is copied from a counter in between. A reading is accounted for when it is in the n of a stored window of
its channel or inside a declared gap; `lost` is what is left, `duplicates` what was counted more than once.
"""

from __future__ import annotations

import bisect
import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.demo import script
from gateway.demo.processes import Child
from gateway.demo.replay import Series
from gateway.sim.world import Sent

log = logging.getLogger("citygate.demo")

ONSET = 0
AFTER_KILL_S = 6.0  # an alarm due so soon after the kill waits for the new process


@dataclass(frozen=True, slots=True)
class Account:
    """Keys of `citygate demo --json`. Times in ms where the name says so; latencies of onsets, device to commit."""

    seconds: float
    warm_s: float
    first_ack_s: float | None
    readings: int
    summaries: int
    alarms_expected: int
    alarms_raised: int
    alarms_missed: int
    alarms_false: int
    alarm_latency_ms: dict[str, float | None]
    alarm_latency_cut_ms: dict[str, float | None]
    bytes_up: int
    bytes_raw: int
    bytes_per_reading: float | None
    sent: int
    received: int
    declared_gap: int
    lost: int
    duplicates: int
    loop_samples: int
    cpu_s: dict[str, float]
    rss_mb: dict[str, float]
    alarms: list[dict[str, Any]] = field(default_factory=list)
    replay: dict[str, Any] | None = None

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicates or self.alarms_missed or self.alarms_false)


class Intake:
    """A look into the center's database while it runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def alarms(self) -> list[dict[str, Any]]:
        """Alarm messages in order of arrival."""
        return [
            dict(row)
            for row in _query(self._path, "SELECT code, phase, subject, text_en, text_ko, onset_ns, time_ns, "
                              "committed_boottime_ns FROM event ORDER BY message")
        ]  # fmt: skip

    def waiting(self, spool: Path) -> int:
        """Records in the spool that no center has acknowledged yet."""
        return int(_query(spool, "SELECT count(*) AS n FROM record")[0]["n"])


def _query(path: Path, statement: str) -> list[sqlite3.Row]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    db.row_factory = sqlite3.Row
    try:
        return db.execute(statement).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        db.close()


def settle(
    ledger: script.Ledger,
    scenes: Sequence[script.Scene],
    center: Path,
    *,
    began_ns: int,
    play_s: float,
    warm_s: float,
    bytes_up: int,
    children: Mapping[str, Child],
    replay: tuple[Sent, Series] | None,
) -> Account:
    """The whole account; call it when every process has ended."""
    utc_offset_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    # what a device said before the field half was started is nobody's to lose
    sent: dict[str, Sequence[int]] = {
        name: [t for t in times if t >= began_ns] for name, times in ledger.sent.times.items()
    }
    if replay is not None:
        sent |= replay[0].times
    tallies = _tally(sent, center)
    alarms = _match(ledger, scenes, Intake(center).alarms(), began_ns, utc_offset_ns)
    plain = [a["latency_ms"] for a in alarms if a["raised"] and a["expected"] and not a["interrupted"]]
    held_up = [a["latency_ms"] for a in alarms if a["raised"] and a["expected"] and a["interrupted"]]
    readings = sum(len(times) for times in sent.values())
    first = _query(center, "SELECT min(received_ns) AS t FROM message WHERE id IN (SELECT message FROM value)")
    return Account(
        seconds=play_s,
        warm_s=round(warm_s, 2),
        first_ack_s=round((first[0]["t"] - utc_offset_ns - began_ns) / 1e9, 3) if first and first[0]["t"] else None,
        readings=readings,
        summaries=int(_query(center, "SELECT count(*) AS n FROM window")[0]["n"]),
        alarms_expected=len(scenes),
        alarms_raised=sum(a["raised"] for a in alarms if a["expected"]),
        alarms_missed=sum(not a["raised"] for a in alarms if a["expected"]),
        alarms_false=sum(not a["expected"] and not a["replay"] for a in alarms),
        alarm_latency_ms=_percentiles(plain),
        alarm_latency_cut_ms=_percentiles(held_up),
        bytes_up=bytes_up,
        bytes_raw=ledger.sent.wire_bytes + (replay[0].wire_bytes if replay else 0),
        bytes_per_reading=round(bytes_up / readings, 3) if readings else None,
        sent=readings,
        received=tallies["received"],
        declared_gap=tallies["gap"],
        lost=tallies["lost"],
        duplicates=tallies["duplicates"],
        loop_samples=ledger.sent.samples,
        cpu_s={role: round(child.usage.cpu_s, 2) for role, child in children.items()},
        rss_mb={role: round(child.usage.rss_mb, 1) for role, child in children.items()},
        alarms=[a for a in alarms if not a["replay"]],
        replay=_replayed(alarms, *replay, began_ns) if replay else None,
    )


def _tally(sent: Mapping[str, Sequence[int]], center: Path) -> dict[str, int]:
    """Per channel: sent, in windows, inside gaps (bounds exclusive, in the clock of the boot the play ran in)."""
    stored: dict[str, int] = {}
    doubled = 0
    for row in _query(center, "SELECT channel, start_ns, sum(n) AS n, count(*) AS rows FROM window GROUP BY 1, 2"):
        stored[row["channel"]] = stored.get(row["channel"], 0) + row["n"]
        doubled += row["rows"] - 1
    gaps: dict[str, list[tuple[int, int]]] = {}
    for row in _query(center, "SELECT channel, from_boottime_ns AS low, to_boottime_ns AS high FROM gap"):
        gaps.setdefault(row["channel"], []).append((row["low"], row["high"]))
    total = {"received": 0, "gap": 0, "lost": 0, "duplicates": doubled}
    for channel, times in sent.items():
        inside = sum(any(low < t < high for low, high in gaps.get(channel, ())) for t in times)
        missing = len(times) - stored.get(channel, 0) - inside
        total["received"] += stored.get(channel, 0)
        total["gap"] += inside
        total["lost" if missing > 0 else "duplicates"] += abs(missing)
        if missing:
            log.warning("%s: %d sent, %d stored, %d in gaps", channel, len(times), stored.get(channel, 0), inside)
    return total


def _match(
    ledger: script.Ledger,
    scenes: Sequence[script.Scene],
    events: Sequence[Mapping[str, Any]],
    began_ns: int,
    utc_offset_ns: int,
) -> list[dict[str, Any]]:
    """Every scene with its alarm, then every onset that belongs to none. A repeated onset is a false one."""
    onsets = [event for event in events if event["phase"] == ONSET]
    found: list[dict[str, Any]] = []
    for scene in scenes:
        due_ns = scene.due_ns(ledger)
        alarm = next((e for e in onsets if (e["code"], e["subject"]) == (scene.code, scene.subject)), None)
        if alarm is not None:
            onsets.remove(alarm)
        found.append(_line(scene, due_ns, alarm, began_ns))
    for event in onsets:
        at_s = (event["time_ns"] - utc_offset_ns - began_ns) / 1e9
        found.append(
            {"incident": None, "code": event["code"], "subject": event["subject"], "expected": False, "raised": True,
             "replay": event["subject"].startswith("replay."), "at_s": round(at_s, 3), "latency_ms": None,
             "interrupted": False, "text_en": event["text_en"], "text_ko": event["text_ko"]}
        )  # fmt: skip
    return found


def _line(scene: script.Scene, due_ns: int | None, alarm: Mapping[str, Any] | None, began_ns: int) -> dict[str, Any]:
    committed_ns = alarm["committed_boottime_ns"] if alarm else None
    known = due_ns is not None and committed_ns is not None
    due_s = (due_ns - began_ns) / 1e9 if due_ns is not None else None
    return {
        "incident": scene.incident.name,
        "code": scene.code,
        "subject": scene.subject,
        "expected": True,
        "raised": alarm is not None,
        "replay": False,
        "at_s": round(due_s, 3) if due_s is not None else None,
        "latency_ms": round((committed_ns - due_ns) / 1e6, 2) if known else None,  # type: ignore[operator]
        "interrupted": due_s is not None and _interrupted(due_s),
        "text_en": alarm["text_en"] if alarm else "",
        "text_ko": alarm["text_ko"] if alarm else "",
    }


def _interrupted(due_s: float) -> bool:
    cut = script.CUT_S[0] - 0.1 <= due_s < script.CUT_S[1]
    return cut or script.KILL_S - 0.1 <= due_s < script.KILL_S + AFTER_KILL_S


def _percentiles(values: Sequence[float | None]) -> dict[str, float | None]:
    """Nearest-rank p50 and p99."""
    known = sorted(v for v in values if v is not None)
    if not known:
        return {"p50": None, "p99": None}
    return {name: known[min(len(known) - 1, int(share * len(known)))] for name, share in (("p50", 0.5), ("p99", 0.99))}


def _replayed(alarms: Sequence[Mapping[str, Any]], sent: Sent, series: Series, began_ns: int) -> dict[str, Any]:
    """Alarms on the recording, each with the recording's own row and time stamp."""
    times, rows = sent.times.get("replay.row", ()), sent.values.get("replay.row", ())
    found = []
    for alarm in alarms:
        if alarm["replay"]:
            row = int(rows[max(0, bisect.bisect(times, began_ns + round(alarm["at_s"] * 1e9)) - 1)])
            told = {key: alarm[key] for key in ("code", "subject", "at_s", "text_en", "text_ko")}
            found.append({**told, "row": row, "timestamp": series.stamps[row]})
    return {"rows": int(max(rows, default=-1)) + 1, "of": len(series.values), "alarms": found}
