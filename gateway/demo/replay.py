"""A recorded series played as a device: `timestamp,value` rows, one a poll, behind a real Modbus TCP server.

The device is described by a profile written for the run, so the series takes the same way as any other reading:
polled, decoded, judged by the default detector, summarised.
"""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

from gateway.sim.world import World

PERIOD_S = 0.02

PROFILE = """\
schema = 1

[device]
family = "other"
vendor = "citygate"
model = "replayed series"
name = { en = "Replayed series", ko = "재생 데이터" }
protocol = "modbus"
source = "written by `citygate demo --replay`"

[[points]]
name = "value"
label = { en = "Replayed value", ko = "재생 값" }
unit = ""
function = 3
address = 0
type = "float64"
detector = "default"
kind = "gauge"

[[points]]
name = "row"
label = { en = "Row of the recording", ko = "기록 행" }
unit = "count"
function = 3
address = 4
type = "uint32"
kind = "state"
"""


class ReplayError(ValueError):
    """A recording that cannot be played; the message says where."""


@dataclass(frozen=True, slots=True)
class Series:
    """A recording in order."""

    stamps: tuple[str, ...]
    values: tuple[float, ...]


def read_series(path: Path) -> Series:
    """Rows of `timestamp,value` after a header; other columns are ignored, rows without a number left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            names = {name.strip().lower(): name for name in rows.fieldnames or ()}
            if "value" not in names:
                raise ReplayError(f"{path}: no column `value` in the header {list(names)} [CG-5003]")
            stamp_name = names.get("timestamp", names["value"])
            stamps, values = [], []
            for row in rows:
                try:
                    values.append(float(row[names["value"]]))
                except (TypeError, ValueError):
                    continue
                stamps.append(str(row[stamp_name]))
    except (OSError, UnicodeDecodeError, csv.Error) as bad:
        raise ReplayError(f"{path}: {bad} [CG-5003]") from bad
    if not values:
        raise ReplayError(f"{path}: no row with a number in column `value` [CG-5003]")
    return Series(tuple(stamps), tuple(values))


class ReplayWorld(World):
    """A world in which `replay.value` is the next row at each poll, and `replay.row` its number."""

    def __init__(self, series: Series) -> None:
        super().__init__({})
        self._series = series
        self._rows = itertools.count()
        self.row = -1

    def value(self, channel: str, at_s: float) -> float:
        if channel == "replay.value":
            self.row = min(next(self._rows), len(self._series.values) - 1)
            return self._series.values[self.row]
        return float(max(0, self.row))

    @property
    def over(self) -> bool:
        return self.row >= len(self._series.values) - 1
