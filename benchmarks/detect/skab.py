"""python -m benchmarks detect skab --data DIR --out DIR: the runs of a pump bench through the production judge.

Each `<group>/<n>.csv` is one device whose gauges are the file's columns; a profile and a site are written for it, as
a technician would. The label columns are dropped by name and their values never parsed. Predictions go to
`<out>/<group>/<n>.csv` with the datetime as given: anomaly is 1 from the row in which an onset was known to the row
before its clear was, changepoint is 1 in the row of either.
"""

from __future__ import annotations

import argparse
import csv
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detect.feed import Feed, compiled, utc_ns
from gateway.services.machine.gauges import CODE
from gateway.site.settings import MachineSettings
from gateway.spool.records import Phase

TIME = "datetime"
LABELS = ("anomaly", "changepoint")
UNITS = {"temperature": "Cel", "thermocouple": "Cel", "current": "A", "voltage": "V", "pressure": "bar"}
SITE = """schema = 1
[gateway]
id = "recorded"
profiles = ["profiles"]
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
[[devices]]
name = "machine"
profile = "other/recorded-machine"
link = "bus"
unit = 1
joint = true
"""
PROFILE = """schema = 1
[device]
family = "other"
vendor = "recorded"
model = "machine"
name = { en = "A recorded machine" }
protocol = "modbus"
source = "the recording's own columns"
period_s = 1.0
[modbus]
"""
POINT = """[[points]]
name = "{name}"
label = {{ en = "{label}" }}
unit = "{unit}"
function = 3
address = {address}
type = "float64"
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One file: `<group>/<n>`, its times as text and in ns, f64[rows, gauges] with NaN where nothing was read."""

    name: str
    columns: tuple[str, ...]
    datetime: tuple[str, ...]
    time_ns: tuple[int, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """bool[rows] each, and the sentences of the onsets."""

    anomaly: NDArray[np.bool_]
    changepoint: NDArray[np.bool_]
    onsets: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, type=Path, help="folder of <group>/<n>.csv, as SKAB's data")
    parser.add_argument("--out", required=True, type=Path, help="folder for predictions of the same names")


def run(args: argparse.Namespace) -> dict[str, Any]:
    runs = [read(path) for path in sorted(args.data.glob("*/*.csv"))]
    rows, seconds, unchanged = 0, 0.0, True
    learning = MachineSettings().reference_rows
    groups: dict[str, dict[str, float]] = {}
    for one in runs:
        begun = time.perf_counter()
        found = judged(one)
        seconds += time.perf_counter() - begun
        rows += len(one.datetime)
        half = (learning + len(one.datetime)) // 2
        prefix = judged(one, half)
        unchanged &= bool((prefix.anomaly == found.anomaly[:half]).all())
        unchanged &= bool((prefix.changepoint == found.changepoint[:half]).all())
        write(args.out / f"{one.name}.csv", one, found)
        group = groups.setdefault(one.name.split("/")[0], {"runs": 0, "alarms": 0, "rows": 0, "anomalous": 0})
        group["runs"] += 1
        group["alarms"] += found.onsets
        group["rows"] += len(one.datetime)
        group["anomalous"] += int(found.anomaly.sum())
    if not args.json:
        print(f"{'group':16} {'runs':>5} {'rows':>7} {'alarms':>7} {'rows in alarm':>14}")
        for name, group in groups.items():
            share = group["anomalous"] / max(group["rows"], 1)
            print(f"{name:16} {group['runs']:5} {group['rows']:7} {group['alarms']:7} {share:13.1%}")
        print(f"{rows} rows in {seconds:.2f} s; a prefix gives the same verdicts: {'yes' if unchanged else 'NO'}")
    return {
        "files": len(runs),
        "rows": rows,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds) if seconds else 0,
        "groups": groups,
        "prefix_unchanged": unchanged,
    }


def read(path: Path) -> Run:
    with open(path, newline="", encoding="utf-8") as file:
        head = file.readline()
        separator = ";" if ";" in head else ","
        names = [name.strip() for name in head.strip().split(separator)]
        gauges = [i for i, name in enumerate(names) if name and name != TIME and name.lower() not in LABELS]
        when = names.index(TIME)
        rows = [row for row in csv.reader(file, delimiter=separator) if row]
    times = tuple(row[when] for row in rows)
    return Run(
        name=f"{path.parent.name}/{path.stem}",
        columns=tuple(names[i] for i in gauges),
        datetime=times,
        time_ns=tuple(utc_ns(text.strip()) for text in times),
        values=np.array([[number(row[i]) for i in gauges] for row in rows], np.float64).reshape(-1, len(gauges)),
    )


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def judged(one: Run, rows: int | None = None) -> Judged:
    """The verdict on the first `rows` rows, each given to the judge when its time has come."""
    count = len(one.datetime) if rows is None else min(rows, len(one.datetime))
    anomaly, changepoint = np.zeros(count, bool), np.zeros(count, bool)
    if count == 0:
        return Judged(anomaly, changepoint, 0)
    points = point_names(one.columns)
    profile = PROFILE + "".join(
        POINT.format(name=point, label=label.replace('"', "'"), unit=unit_of(label), address=4 * i)
        for i, (point, label) in enumerate(zip(points, one.columns, strict=True))
    )
    plan = compiled(SITE, {"other/recorded-machine": profile})
    feed = Feed(plan, [f"machine.{point}" for point in points], one.time_ns[0])
    active, onsets = False, 0
    for i in range(count):
        for event in feed.row(one.time_ns[i], one.values[i]).events:
            if event.code == CODE and event.phase is not Phase.UPDATE:
                active = event.phase is Phase.ONSET
                changepoint[i] = True
                onsets += active
        anomaly[i] = active
    return Judged(anomaly, changepoint, onsets)


def point_names(columns: Sequence[str]) -> list[str]:
    """`Volume Flow RateRMS` -> `volume_flow_raterms`, each once."""
    names: list[str] = []
    for column in columns:
        name = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
        name = name if name[:1].isalpha() else f"gauge_{name}"
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def unit_of(column: str) -> str:
    return next((unit for word, unit in UNITS.items() if word in column.lower()), "")


def write(path: Path, one: Run, found: Judged) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((TIME, *LABELS))
        writer.writerows(
            zip(one.datetime, found.anomaly.astype(int).tolist(), found.changepoint.astype(int).tolist(), strict=True)
        )
