"""python -m benchmarks detect leaks --set DIR --out alarms.csv: a water network through the production judge.

What meta.json says is written as a site and a profile, as a technician would; truth files are never opened.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detect.feed import Alarm, Feed, compiled, judged_and_written, told, utc_ns
from gateway.spool.records import Phase

DEVICE = "zone"
LEAKS = ("water.leak_candidate", "water.burst_suspected", "water.burst")
SENSOR = "water.sensor_"
MISSING = np.iinfo(np.int32).min
HUNDREDTHS = 100.0  # integers in measurements.npz are hundredths of the unit
# first letter of a column -> (role, unit)
POINTS = {"P": ("pressure", "m"), "Q": ("flow", "m3/h"), "H": ("level", "m")}
PROFILE = """schema = 1
[device]
family = "water"
vendor = "recorded"
model = "zone"
name = {{ en = "A recorded water network" }}
protocol = "modbus"
source = "the recording's own columns"
period_s = {period_s}
[modbus]
"""
SITE = """schema = 1
[gateway]
id = "recorded"
zone = "{zone}"
profiles = ["profiles"]
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
[[devices]]
name = "zone"
profile = "water/recorded-zone"
link = "bus"
unit = 1"""


@dataclass(frozen=True, slots=True)
class Recording:
    """`points`: the name of each column as a profile may use it."""

    meta: dict[str, Any]
    columns: tuple[str, ...]
    points: tuple[str, ...]
    start_ns: int
    step_s: int
    values: NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", required=True, type=Path, help="folder with measurements.npz and meta.json")
    parser.add_argument("--out", required=True, type=Path, help="alarms to write: idx,kind,sensor")


def run(args: argparse.Namespace) -> dict[str, Any]:
    recording = read(args.set)
    alarms, figures = judged_and_written(
        lambda rows: judged(recording, rows), len(recording.values), args.out, ("idx", "kind", "sensor")
    )
    figures["leak_alarms"] = sum(alarm[1] == "leak" for alarm in alarms)
    figures["sensor_alarms"] = sum(alarm[1] == "sensor" for alarm in alarms)
    return told(figures, args)


def read(folder: Path) -> Recording:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    with np.load(folder / "measurements.npz") as file:
        columns = tuple(str(name) for name in file["columns"])
        raw, start, step_s = file["values"], str(file["start"]), int(file["step_s"])
    values = raw.astype(np.float64)
    if raw.dtype.kind == "i":
        values = np.where(raw == MISSING, np.nan, values / HUNDREDTHS)
    # names in a recording need not be names that a profile may use
    points = tuple(f"{re.sub('[^a-z0-9]+', '_', name.lower())}_{at}" for at, name in enumerate(columns))
    return Recording(meta, columns, points, utc_ns(start), step_s, values)


def judged(recording: Recording, rows: int | None = None) -> list[Alarm]:
    """(row, kind, sensor) of every alarm of the first `rows` rows, in order."""
    plan = compiled(site_of(recording), {"water/recorded-zone": profile_of(recording)})
    names = [f"{DEVICE}.{point}" for point in recording.points]
    column = dict(zip(names, recording.columns, strict=True))
    feed = Feed(plan, names, recording.start_ns)
    step_ns = recording.step_s * 1_000_000_000
    alarms = []
    for idx, row in enumerate(recording.values[:rows]):
        for event in feed.row(recording.start_ns + idx * step_ns, row).events:
            if event.phase is not Phase.ONSET:
                continue
            if event.code in LEAKS:
                alarms.append((idx, "leak", ""))
            elif event.code.startswith(SENSOR):
                alarms.append((idx, "sensor", column[event.subject]))
    return alarms


def profile_of(recording: Recording) -> str:
    tables = []
    for row, (column, point) in enumerate(zip(recording.columns, recording.points, strict=True)):
        role, unit = POINTS[column[0]]
        keys = [f'name = "{point}"', f'unit = "{unit}"', f'role = "{role}"', "function = 4", f"address = {2 * row}"]
        tables.append("\n".join(("[[points]]", *keys, 'type = "float32"')))
    return "\n".join((PROFILE.format(period_s=float(recording.step_s)), *tables))


def site_of(recording: Recording) -> str:
    """Which way a flow counts in the network's balance is a fact of the site."""
    balance = recording.meta.get("network_inflow_balance", {})
    lines = [SITE.format(zone=recording.meta.get("network", "network"))]
    for column, point in zip(recording.columns, recording.points, strict=True):
        if column in balance:
            lines.append(f"points.{point} = {{ options = {{ inflow = {float(balance[column])} }} }}")
    return "\n".join(lines)
