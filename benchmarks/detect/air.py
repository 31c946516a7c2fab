"""python -m benchmarks detect air --set DIR --out alarms.csv: a city's stations through the production judge.

What meta.json says is written as a site and a profile, as a technician would; truth files are never opened.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detect.feed import Alarm, Feed, compiled, judged_and_written, told, utc_ns
from gateway.spool.records import Phase

PREFIX = "air."
CITY = "city"
ROLES = {
    "pm25": "pm25", "pm10": "pm10", "rh": "humidity", "t": "temperature",
    "no2": "no2", "o3": "o3", "so2": "so2", "co": "co",
}  # fmt: skip
UNITS = {"degC": "Cel", "%": "%RH"}
FIXED_ZONES = {  # of cities whose clock is not whole hours from UTC and never changes
    3.5: "Asia/Tehran", 4.5: "Asia/Kabul", 5.5: "Asia/Kolkata", 5.75: "Asia/Kathmandu", 6.5: "Asia/Yangon",
    8.75: "Australia/Eucla", 9.5: "Australia/Darwin",
}  # fmt: skip
SITE = """schema = 1
[gateway]
id = "{city}"
latitude = {latitude}
longitude = {longitude}
timezone = "{timezone}"
profiles = ["profiles"]
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
"""
DEVICE = """[[devices]]
name = "station{number}"
profile = "air/recorded-station{number}"
link = "bus"
unit = {unit}
latitude = {latitude}
longitude = {longitude}
"""
PROFILE = """schema = 1
[device]
family = "air"
vendor = "recorded"
model = "station{number}"
name = {{ en = "A recorded station" }}
protocol = "modbus"
source = "the recording's own columns"
period_s = {period_s}
[modbus]
"""
KM_A_DEGREE = 111.2


@dataclass(frozen=True, slots=True)
class Recording:
    """`stations`: name -> its quantities, in the order of the columns."""

    meta: dict[str, Any]
    columns: tuple[str, ...]
    stations: dict[str, tuple[str, ...]]
    start_ns: int
    step_s: int
    values: NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", required=True, type=Path, help="folder with measurements.npz and meta.json")
    parser.add_argument("--out", required=True, type=Path, help="alarms to write: idx,kind,subject")


def run(args: argparse.Namespace) -> dict[str, Any]:
    recording = read(args.set)
    _, figures = judged_and_written(
        lambda rows: judged(recording, rows), len(recording.values), args.out, ("idx", "kind", "subject")
    )
    return told(figures, args)


def read(folder: Path) -> Recording:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    with np.load(folder / "measurements.npz") as file:
        columns = tuple(str(name) for name in file["columns"])
        values, start, step_s = file["values"].astype(np.float64), str(file["start"]), int(file["step_s"])
    stations: dict[str, tuple[str, ...]] = {}
    for column in columns:
        station, _, quantity = column.rpartition("_")
        if quantity in ROLES:
            stations[station] = (*stations.get(station, ()), quantity)
    return Recording(meta, columns, stations, utc_ns(start), step_s, values)


def judged(recording: Recording, rows: int | None = None) -> list[Alarm]:
    """(row, kind, subject) of every alarm of the first `rows` rows, in order."""
    profiles = {f"air/recorded-station{n}": profile_of(recording, n) for n in range(len(recording.stations))}
    named = {
        f"station{n}.{quantity}": f"{station}_{quantity}"
        for n, (station, quantities) in enumerate(recording.stations.items())
        for quantity in quantities
    }
    feed = Feed(compiled(site_of(recording), profiles), list(named), recording.start_ns)
    subjects = named | {f"station{n}": name for n, name in enumerate(recording.stations)} | {CITY: "CITY"}
    picked = recording.values[:, [recording.columns.index(column) for column in named.values()]]
    alarms: list[Alarm] = []
    for idx, row in enumerate(picked[:rows]):
        verdict = feed.row(recording.start_ns + idx * recording.step_s * 1_000_000_000, row)
        alarms += [
            (idx, event.code.removeprefix(PREFIX), subjects[event.subject])
            for event in verdict.events
            if event.phase is Phase.ONSET and event.code.startswith(PREFIX)
        ]
    return alarms


def profile_of(recording: Recording, number: int) -> str:
    lines = [PROFILE.format(number=number, period_s=float(recording.step_s))]
    units = recording.meta.get("units", {})
    for row, quantity in enumerate(list(recording.stations.values())[number]):
        unit = units.get(quantity, "")
        lines += [
            "[[points]]",
            f'name = "{quantity}"',
            f'unit = "{UNITS.get(unit, unit)}"',
            f'role = "{ROLES[quantity]}"',
            "function = 4",
            f"address = {2 * row}",
            'type = "float32"',
        ]
    return "\n".join(lines)


def site_of(recording: Recording) -> str:
    """Stations lie at their kilometres east and north of the city's corner."""
    meta = recording.meta
    latitude, longitude = float(meta.get("latitude", 0.0)), float(meta.get("longitude", 0.0))
    timezone = zone_of(float(meta["utc_offset_h"]))
    lines = [SITE.format(city=CITY, latitude=latitude, longitude=longitude, timezone=timezone)]
    for number, station in enumerate(recording.stations):
        place = meta.get("stations", {}).get(station, {})
        north = float(place.get("y_km", 0.0)) / KM_A_DEGREE
        east = float(place.get("x_km", 0.0)) / (KM_A_DEGREE * max(0.1, math.cos(math.radians(latitude))))
        lines.append(
            DEVICE.format(number=number, unit=number + 1, latitude=latitude + north, longitude=longitude + east)
        )
    return "\n".join(lines)


def zone_of(offset_h: float) -> str:
    """A zone that keeps `offset_h` all year; the nearest whole hour where there is none."""
    if offset_h in FIXED_ZONES:
        return FIXED_ZONES[offset_h]
    return f"Etc/GMT{-round(offset_h):+d}" if round(offset_h) else "Etc/GMT"
