"""Runs one benchmark, or all of them; the last line is one JSON object with `--json`."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module

BENCHMARKS = {
    "modbus": "Modbus against pymodbus and libmodbus, on schedules, on paced RTU lines, under bad replies",
    "sensors": "serial lines, Bluetooth advertisements and CoAP nodes on one core, and mutants of every codec",
    "bench": "the technician's bench: worst scan, identification, suggestions, check of 1,000 profiles, start-up",
    "spine": "first acknowledgement, loss, alarm latency, memory and bytes of the whole way",
    "uplink": "bytes, alarms and backlog over bad lines, a 72 h outage, kills, power cuts, a center, a fleet",
    "fastpath": "kernels: ns a sample against C, numpy and River, by channels, of small batches",
    "agent": "commands, configurations, releases and nodes: killed, cut and timed",
    "panel": "the panel: first view, time to screen, memory, ten viewers of 500 points",
    "chaos": "loss, duplicates and alarms while field, uplink and center are killed at random moments",
    "powercut": "what a spool and OSCORE numbers lose when the power goes at a random moment (root, loop device)",
}


def main() -> int:
    listed = "\n".join(f"  {name:10} {words}" for name, words in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"benchmarks:\n{listed}\n  detect     quality on labelled data: python -m benchmarks detect --help\n\n"
        "example: python -m benchmarks spine --json",
    )
    if sys.argv[1:2] == ["detect"]:
        return int(import_module("benchmarks.detect.main").main(sys.argv[2:]))
    parser.add_argument("name", choices=[*BENCHMARKS, "detect", "all"])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--full", action="store_true", help="every count that the figures are stated for")
    args = parser.parse_args()
    for name in BENCHMARKS if args.name == "all" else [args.name]:
        figures = import_module(f"benchmarks.{name}").run(full=args.full)
        if args.json:
            print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
