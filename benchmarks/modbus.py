"""Modbus in figures: against pymodbus and libmodbus, on schedules, on paced RTU lines, under bad replies.

Contestants run one after the other, each in its own process against the same simulated devices, round by round; a
figure is the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import modbus_rig as rig
from benchmarks.modbus_fuzz import fuzz
from benchmarks.modbus_rig import REGISTERS, UNITS, contestant
from benchmarks.modbus_rtu import serial_lines

ROUNDS, FULL_ROUNDS = 9, 15
READS = {"pymodbus": 150, "libmodbus": 500, "link": 1000, "field": 500}  # of every unit, a round
SLOTS, PERIOD_S = 1200, 0.05  # 60 s
TEN_K_DEVICES, TEN_K_SECONDS = 500, 60
FRAMES, FULL_FRAMES = 100_000, 1_000_000
BEFORE_S, AFTER_S = 10.0, 300.0

WANTED: dict[str, str] = {
    "cpu_vs_pymodbus": "<= 0.333",
    "cpu_vs_libmodbus": "<= 2.5",
    "rate_vs_libmodbus": ">= 1",
    "field_cpu_vs_pymodbus": "<= 1",
    "polled": "1200000",
    "delivered": "= polled",
    "rtu_efficiency": "<= 1.05",
    "plan_error": "<= 0.05",
    "dead_unit_penalty": "<= 0.05",
    "frames_tried": "",
    "crashes": "0",
    "wrong_accepted": "<= crc_bound",
    "crc_bound": "",
    "ten_k_core_share": "<= 0.35",
}


def run(*, full: bool) -> dict[str, Any]:
    if rig.build("simulator") is None:
        print("no gcc: the simulated devices are Python and may be the bottleneck")
    figures: dict[str, Any] = {}
    for part in (_speed, _schedule, _ten_thousand, _lines, _bad_replies):
        figures |= part(full)
    print(f"\n{'figure':24} {'wanted':>14} {'measured':>12}")
    for key, wanted in WANTED.items():
        value = figures[key]
        print(f"{key:24} {wanted:>14} {'none' if value is None else format(value, '.6g'):>12}")
    return {key: figures[key] for key in WANTED}


def _speed(full: bool) -> dict[str, Any]:
    """CPU a reading and readings a second, all contestants in turn."""
    client = rig.libmodbus_client()
    if client is None:
        print("no gcc or no libmodbus-dev: no comparison with libmodbus")
    rounds, count = [], FULL_ROUNDS if full else ROUNDS
    with rig.simulator(1) as port:
        for number in range(count):
            us = {
                "pymodbus": contestant("pymodbus", port, READS["pymodbus"]),
                "libmodbus": _libmodbus(client, port),
                "link": contestant("link", port, READS["link"]),
                "field": _field(port),
            }
            rounds.append(us)
            shown = ", ".join(f"{name} {f['cpu_us']:.2f} us {f['rate']:,.0f}/s" for name, f in us.items() if f)
            print(f"speed {number + 1} of {count} (CPU a reading, readings a second): {shown}", flush=True)

    def ratio(key: str, one: str, other: str) -> float | None:
        if not all(us[other] for us in rounds):
            return None
        return float(statistics.median(us[one][key] / us[other][key] for us in rounds))

    return {
        "cpu_vs_pymodbus": ratio("cpu_us", "link", "pymodbus"),
        "cpu_vs_libmodbus": ratio("cpu_us", "link", "libmodbus"),
        "rate_vs_libmodbus": ratio("rate", "link", "libmodbus"),
        "field_cpu_vs_pymodbus": ratio("cpu_us", "field", "pymodbus"),
    }


def _libmodbus(client: Path | None, port: int) -> dict[str, float]:
    if client is None:
        return {}
    command = [str(client), str(port), str(UNITS), str(REGISTERS), str(READS["libmodbus"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, cpu_s, readings = map(float, done.stdout.split())
    return {"readings": readings, "rate": readings / seconds, "cpu_us": cpu_s / readings * 1e6}


def _field(port: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="citygate-bench-") as folder:
        units = [("l0", unit) for unit in range(1, UNITS + 1)]
        links = [(f"tcp://127.0.0.1:{port}", "")]
        site = rig.write_site(Path(folder), links=links, devices=units, registers=REGISTERS, period_s=1.0)
        return contestant("field", site, READS["field"])


def _devices(folder: str, first: int, count: int, period_s: float) -> Path:
    """A site of `count` devices, each with a connection of its own."""
    links = [(f"tcp://127.0.0.1:{first + i}", "") for i in range(count)]
    devices = [(f"l{i}", 1) for i in range(count)]
    return rig.write_site(Path(folder), links=links, devices=devices, registers=REGISTERS, period_s=period_s)


def _schedule(full: bool) -> dict[str, Any]:
    with rig.simulator(UNITS) as first, tempfile.TemporaryDirectory(prefix="citygate-bench-") as folder:
        got = contestant("schedule", _devices(folder, first, UNITS, PERIOD_S), SLOTS)
    print(f"schedule, {UNITS} devices every {PERIOD_S * 1000:.0f} ms: {got}", flush=True)
    return {"polled": got["polled"], "delivered": got["delivered"] - got["merged"] * REGISTERS}


def _ten_thousand(full: bool) -> dict[str, Any]:
    with rig.simulator(TEN_K_DEVICES) as first, tempfile.TemporaryDirectory(prefix="citygate-bench-") as folder:
        got = contestant("share", _devices(folder, first, TEN_K_DEVICES, 1.0), TEN_K_SECONDS)
    print(f"{got['points']} points on {TEN_K_DEVICES} devices at 1 Hz: {got}", flush=True)
    return {"ten_k_core_share": got["core_share"]}


def _lines(full: bool) -> dict[str, Any]:
    return serial_lines(BEFORE_S, AFTER_S)


def _bad_replies(full: bool) -> dict[str, Any]:
    return fuzz(FULL_FRAMES if full else FRAMES)
