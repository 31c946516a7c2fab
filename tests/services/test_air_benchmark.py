"""The benchmark of air: a recording becomes a site, goes through the judge row by row, and alarms come out."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from air_city import air

from benchmarks.detect import air as benchmark

COLUMNS = ("pm25", "pm10", "rh", "t", "no2", "o3")


def test_a_recording_is_judged_and_its_prefix_unchanged(tmp_path: Path) -> None:
    values = air(1, 4)
    values[40:80, 1, 3] = values[40, 1, 3]
    np.savez(
        tmp_path / "measurements.npz",
        columns=np.array([f"North-{s}_{name}" for s in range(4) for name in COLUMNS]),
        start="2024-03-01T00:00:00Z",
        step_s=600,
        values=values.reshape(len(values), -1).astype(np.float32),
    )
    places = {f"North-{s}": {"x_km": 1.0 + s, "y_km": 2.0} for s in range(4)}
    units = {"pm25": "ug/m3", "pm10": "ug/m3", "rh": "%", "t": "degC", "no2": "ug/m3", "o3": "ug/m3"}
    meta = {"utc_offset_h": 5.5, "latitude": 28.6, "stations": places, "units": units}
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    figures = benchmark.run(argparse.Namespace(set=tmp_path, out=tmp_path / "alarms.csv", json=True))
    assert figures["rows"] == 144
    assert figures["prefix_unchanged"]
    with open(tmp_path / "alarms.csv", newline="", encoding="utf-8") as file:
        alarms = [(row["kind"], row["subject"]) for row in csv.DictReader(file)]
    assert alarms == [("stuck", "North-1_t")]


@pytest.mark.parametrize(
    ("offset_h", "zone"), [(9, "Etc/GMT-9"), (-3, "Etc/GMT+3"), (0, "Etc/GMT"), (5.5, "Asia/Kolkata")]
)
def test_an_offset_becomes_a_zone_without_summer_time(offset_h: float, zone: str) -> None:
    assert benchmark.zone_of(offset_h) == zone
