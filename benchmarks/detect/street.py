"""python -m benchmarks detect street --set DIR --out alarms.csv: a cabinet through the production judge.

What meta.json says is written as a site and a profile, as a technician would; truth files are never opened.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detect.feed import Alarm, Feed, compiled, judged_and_written, told, utc_ns
from gateway.services.streetlight.layout import stem_of
from gateway.spool.records import Phase

PREFIX = "streetlight."
DEVICE = "cabinet"
PROFILE = """schema = 1
[device]
family = "streetlight"
vendor = "recorded"
model = "cabinet"
name = {{ en = "A recorded cabinet" }}
protocol = "modbus"
source = "the recording's own columns"
period_s = {period_s}
[modbus]
"""
SITE = """schema = 1
[gateway]
id = "recorded"
zone = "{zone}"
latitude = {latitude}
longitude = {longitude}
timezone = "{timezone}"
profiles = ["profiles"]
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
[[devices]]
name = "cabinet"
profile = "streetlight/recorded-cabinet"
link = "bus"
unit = 1"""

# column ending -> (role, unit, kind)
CABINET_POINTS = {
    "V": ("voltage", "V", "gauge"),
    "A": ("current", "A", "gauge"),
    "W": ("power", "W", "gauge"),
    "kWh": ("energy", "kWh", "counter"),
    "leak_mA": ("leakage", "mA", "gauge"),
    "door": ("door", "", "state"),
    "photo_lux": ("illuminance", "lx", "gauge"),
}
LAMP_POINTS = {"level": ("lamp_level", "/100", "state"), "W": ("lamp_power", "W", "gauge")}


@dataclass(frozen=True, slots=True)
class RecordedPoint:
    """A column as a point. `owner`: the cabinet, feeder or lamp it is of."""

    owner: str
    name: str
    role: str
    unit: str
    kind: str


@dataclass(frozen=True, slots=True)
class Recording:
    meta: dict[str, Any]
    columns: tuple[str, ...]
    start_ns: int
    step_s: int
    values: NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", required=True, type=Path, help="folder with telemetry.npz and meta.json")
    parser.add_argument("--out", required=True, type=Path, help="alarms to write: idx,kind,subject")


def run(args: argparse.Namespace) -> dict[str, Any]:
    recording = read(args.set)
    _, figures = judged_and_written(
        lambda rows: judged(recording, rows), len(recording.values), args.out, ("idx", "kind", "subject")
    )
    return told(figures, args)


def read(folder: Path) -> Recording:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    with np.load(folder / "telemetry.npz") as file:
        columns = tuple(str(name) for name in file["columns"])
        return Recording(
            meta, columns, utc_ns(str(file["start"])), int(file["step_s"]), file["values"].astype(np.float64)
        )


def judged(recording: Recording, rows: int | None = None) -> list[Alarm]:
    """(row, kind, subject) of every alarm of the first `rows` rows, in order."""
    points = points_of(recording)
    plan = compiled(site_of(recording, points), {"streetlight/recorded-cabinet": profile_of(recording, points)})
    feed = Feed(plan, [f"{DEVICE}.{point.name}" for point in points], recording.start_ns)
    lamps = {f"{DEVICE}.{stem_of(point.name)}": point.owner for point in points if point.role == "lamp_power"}
    step_ns = recording.step_s * 1_000_000_000
    return [
        (idx, event.code.removeprefix(PREFIX), lamps.get(event.subject, event.subject))
        for idx, row in enumerate(recording.values[:rows])
        for event in feed.row(recording.start_ns + idx * step_ns, row).events
        if event.phase is Phase.ONSET and event.code.startswith(PREFIX)
    ]


def points_of(recording: Recording) -> list[RecordedPoint]:
    """One point a column, in their order. Names in meta.json need not be names that a profile may use."""
    meta = recording.meta
    feeders, lamps = list(meta["feeders"]), list(meta["lamps"])
    points = []
    for column in recording.columns:
        owner, _, what = column.rpartition("_")
        if column.startswith(f"{meta['cabinet']}_"):
            owner, what = str(meta["cabinet"]), column.removeprefix(f"{meta['cabinet']}_")
            points.append(RecordedPoint(owner, what.lower(), *CABINET_POINTS[what]))
        elif owner in feeders:
            points.append(RecordedPoint(owner, f"feeder{feeders.index(owner)}_current", "current", "A", "gauge"))
        else:
            role, unit, kind = LAMP_POINTS[what]
            points.append(RecordedPoint(owner, f"lamp{lamps.index(owner)}{role[4:]}", role, unit, kind))
    return points


def profile_of(recording: Recording, points: Sequence[RecordedPoint]) -> str:
    rollover = recording.meta.get("kwh_rollover")
    tables = []
    for row, point in enumerate(points):
        keys = [f'name = "{point.name}"', f'unit = "{point.unit}"', f'role = "{point.role}"', f'kind = "{point.kind}"']
        keys += ["function = 4", f"address = {2 * row}", 'type = "float32"']
        if point.role == "energy" and rollover:
            keys.append(f"rollover = {float(rollover)}")
        tables.append("\n".join(("[[points]]", *keys)))
    return "\n".join((PROFILE.format(period_s=float(recording.step_s)), *tables))


def site_of(recording: Recording, points: Sequence[RecordedPoint]) -> str:
    meta = recording.meta
    lines = [
        SITE.format(
            zone=meta["cabinet"], latitude=meta["latitude"], longitude=meta["longitude"], timezone=meta["timezone"]
        )
    ]
    for point in points:
        if point.role == "current" and point.owner in meta["feeders"]:
            lines.append(f'points.{point.name} = {{ group = "{point.owner}" }}')
        elif point.role == "lamp_power":
            lamp = meta["lamps"][point.owner]
            facts = f"nominal_w = {float(lamp['nominal_w'])}, position = {float(lamp['position'])}"
            lines.append(f'points.{point.name} = {{ group = "{lamp["feeder"]}", options = {{ {facts} }} }}')
    lines.append("[services.streetlight]")
    dims = (
        f'{{ start = "{_clock(one["from_local"])}", end = "{_clock(one["to_local"])}", level = {float(one["level"])} }}'
        for one in meta.get("dim_schedule", ())
    )
    work = (f'{{ start = "{begin}", end = "{end}" }}' for begin, end in meta.get("planned_work", ()))
    lines += [f"dim_schedule = [{', '.join(dims)}]", f"planned_work = [{', '.join(work)}]"]
    return "\n".join(lines)


def _clock(hours: float) -> str:
    minutes = round(hours * 60) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"
