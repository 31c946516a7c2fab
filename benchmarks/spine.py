"""The spine's figures: rounds of the demo as a user runs it, each with its incidents, its cut and its kill.

Medians over the rounds, and the worst round beside them; losses and duplicates are summed, so that one bad round shows.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

ROUNDS, FULL_ROUNDS = 3, 10
SECONDS = 60
WANTED = {
    "first_ack_s": 1.4,
    "lost": 0,
    "duplicates": 0,
    "alarms_missed": 0,
    "alarms_false": 0,
    "alarm_p50_ms": 25,
    "alarm_p99_ms": 100,
    "rss_field_mb": 170,
    "rss_uplink_mb": 60,
    "bytes_per_reading": 1.0,
}
SUMMED = ("lost", "duplicates", "alarms_missed", "alarms_false")


def run(*, full: bool) -> dict[str, Any]:
    rounds = []
    count = FULL_ROUNDS if full else ROUNDS
    for number in range(count):
        rounds.append(_figures(_demo()))
        print(f"round {number + 1} of {count}: {rounds[-1]}", flush=True)
    medians = {key: statistics.median(r[key] for r in rounds) for key in WANTED}
    worst = {key: max(r[key] for r in rounds) for key in WANTED}
    totals = {key: sum(r[key] for r in rounds) for key in SUMMED}
    print(f"\n{'figure':20} {'wanted':>8} {'median':>10} {'worst':>10}   ({count} rounds of {SECONDS} s)")
    for key, wanted in WANTED.items():
        print(f"{key:20} {wanted:>8} {medians[key]:>10.3f} {worst[key]:>10.3f}")
    return {**medians, **totals, "worst": worst, "rounds": count}


def _demo() -> dict[str, Any]:
    command = [sys.executable, "-m", "gateway.cli", "demo", "--seconds", str(SECONDS), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise SystemExit(f"the demo gave no account:\n{done.stderr}")
    account: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return account


def _figures(account: dict[str, Any]) -> dict[str, float]:
    latency = account["alarm_latency_ms"]
    return {
        "first_ack_s": account["first_ack_s"],
        **{key: account[key] for key in SUMMED},
        "alarm_p50_ms": latency["p50"],
        "alarm_p99_ms": latency["p99"],
        "rss_field_mb": account["rss_mb"]["field"],
        "rss_uplink_mb": account["rss_mb"]["uplink"],
        "bytes_per_reading": account["bytes_per_reading"],
    }
