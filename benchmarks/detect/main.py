"""python -m benchmarks detect KIND ...: runs one of them; with --json the last line is one JSON object."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib import import_module

KINDS = {
    "nab": "the universal detector on the Numenta Anomaly Benchmark",
    "quiet": "false alarms a month of every detector on channels that keep their habits",
    "skab": "several gauges of one machine judged together, on SKAB",
    "leaks": "a water zone: leaks, bursts and broken sensors",
    "loops": "inductive loops: vehicles, speeds and faults from the raw waveform",
    "street": "a cabinet with its feeders and lamps",
    "air": "a city's air stations: sensor faults, ordinance alarms, local smoke and dust",
}


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks detect",
        epilog="example: python -m benchmarks detect leaks --set ../shared/data/leaks/ltown60 --out alarms.csv",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, meaning in KINDS.items():
        one = kinds.add_parser(kind, help=meaning, description=meaning)
        one.add_argument("--json", action="store_true", help="one JSON object as the last line")
        if kind in words:
            import_module(f"benchmarks.detect.{kind}").add_arguments(one)
    args = parser.parse_args(words)
    figures = import_module(f"benchmarks.detect.{args.kind}").run(args)
    if args.json:
        print(json.dumps(figures))
    return 0
