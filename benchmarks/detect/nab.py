"""python -m benchmarks detect nab --data DIR --out DIR: the Numenta Anomaly Benchmark through the production chain.

Every `<category>/<file>.csv` (timestamp,value) is one gauge with the chain's own defaults, pushed one row at a time.
What comes out goes to `<out>/<category>/<file>.csv` (timestamp,value,anomaly_score) with the text of the input's
columns kept. A score at or beyond the threshold is a detection; the threshold is the detector's own and the same for
all files. Labels are never read.
"""

from __future__ import annotations

import argparse
import csv
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastpath import detect, detectors, filter
from fastpath.chain import Chain, ConditionParams, channel_params, warm

NO_RULES = ConditionParams(
    np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Judged(NamedTuple):
    """Scores of the rows of one file, and how many onsets the chain raised."""

    score: list[float]
    onsets: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with <category>/<file>.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder that the scores are written to")


def run(args: argparse.Namespace) -> dict[str, Any]:
    warm(loops=False)
    rows = 0
    seconds = 0.0
    unchanged = True
    print(f"{'file':64} {'rows':>7} {'onsets':>7}")
    for path in sorted(args.data.glob("*/*.csv")):
        text = read(path)
        begin = time.perf_counter()
        judged = judge(text)
        seconds += time.perf_counter() - begin
        rows += len(text)
        half = len(text) // 2
        unchanged &= judge(text[:half]).score == judged.score[:half]
        name = path.relative_to(args.data)
        write(args.out / name, text, judged.score)
        print(f"{name!s:64} {len(text):7} {judged.onsets:7}")
    print(f"threshold {detect.ONSET_SCORE}: a score at or beyond it is a detection")
    return {
        "threshold": detect.ONSET_SCORE,
        "rows": rows,
        "seconds": round(seconds, 3),
        "ns_per_sample": round(1e9 * seconds / rows) if rows else None,
        "prefix_unchanged": unchanged,
    }


def read(path: Path) -> list[tuple[str, str]]:
    """(timestamp, value) of every row, as written."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["timestamp"], row["value"]) for row in csv.DictReader(file)]


def judge(text: list[tuple[str, str]]) -> Judged:
    """One gauge nobody has tuned, read for the first time at the first row; its period is not told."""
    times = [utc_ns(stamp) for stamp, _ in text]
    values = [float(value) for _, value in text]
    settings = channel_params(1, filter=filter.HAMPEL, detector=detectors.DEFAULT, period_ns=0)
    chain = Chain(settings, NO_RULES, start_ns=times[0] if times else 0)
    channel, quality = np.zeros(1, np.int32), np.zeros(1, np.uint8)
    score: list[float] = []
    onsets = 0
    for time_ns, value in zip(times, values, strict=True):
        pushed = chain.push(channel, np.array([time_ns]), np.array([value]), quality)
        score.append(float(pushed.score[0]))
        onsets += int(pushed.alerts.onset.sum())
    return Judged(score, onsets)


def utc_ns(stamp: str) -> int:
    """Nanoseconds since 1970 of a time without a zone, taken for UTC."""
    return (datetime.fromisoformat(stamp).replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) * 1000


def write(path: Path, text: list[tuple[str, str]], score: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("timestamp", "value", "anomaly_score"))
        out.writerows((*row, repr(s)) for row, s in zip(text, score, strict=True))
