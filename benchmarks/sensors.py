"""Sensors in figures: serial lines, Bluetooth advertisements and CoAP nodes, each by its own benchmark, as one object.

Where a part cannot run here (no D-Bus daemon, say), its keys are None and the reason is printed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

PARTS = ("sensors_serial", "sensors_ble", "sensors_coap")
WANTED = {
    "loop_stream_core_share": "<= 0.05",
    "ble_adverts_per_s": ">= 5000",
    "coap_nodes": ">= 300",
    "fuzz_frames": "1000000",
    "crashes": "0",
    "wrong_accepted": "<= wrong_bound",
    "wrong_bound": "",
    "resync_frames_lost": "<= 1",
    "fd_growth": "0",
}
SUMS = ("crashes", "wrong_accepted", "wrong_bound", "fd_growth")


def run(*, full: bool) -> dict[str, Any]:
    """All parts. Keys of one part as they are; counts of all parts together, `fuzz_frames` the least of any codec."""
    found = []
    for name in PARTS:
        print(f"-- {name}", flush=True)
        found.append(import_module(f"benchmarks.{name}").run(full))
    figures: dict[str, Any] = {}
    for part in found:
        figures |= part
    for key in SUMS:
        figures[key] = sum(part.get(key) or 0 for part in found)
    figures["fuzz_frames"] = min(part["fuzz_frames"] for part in found if part.get("fuzz_frames") is not None)
    print(f"\n{'figure':24} {'wanted':>16} {'measured':>12}")
    for key, wanted in WANTED.items():
        value = figures.get(key)
        print(f"{key:24} {wanted:>16} {'none' if value is None else format(value, '.6g'):>12}")
    return {**{key: figures.get(key) for key in WANTED}, **figures}
