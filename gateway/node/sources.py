"""Where a node's numbers come from: files that the kernel or another program keeps, a 1-wire sensor's file, or a play.

A reading is a number or None; what a sensor cannot say is never made up. No command is ever run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from gateway.node.settings import SensorTable

LONGEST = 4096  # bytes looked at of a file
_POWER_ON_C = 85.0  # a DS18B20 that was not asked to measure says this (data sheet, "Power-on reset value")
_FIRST_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"


def reader(sensor: SensorTable) -> Callable[[float], float | None]:
    """What reads this sensor: a time in seconds in, its value in its unit out, None where there is none."""
    raw = {"file": _file, "w1": _one_wire, "simulated": _played}[sensor.source](sensor)
    low, high = sensor.range or (-math.inf, math.inf)

    def read(now_s: float) -> float | None:
        try:
            found = raw(now_s)
        except OSError:
            return None
        if found is None:
            return None
        value = found * sensor.scale + sensor.offset
        return value if math.isfinite(value) and low <= value <= high else None

    return read


def _file(sensor: SensorTable) -> Callable[[float], float | None]:
    """The first number of the file, or of what `match` finds in it."""
    wanted = re.compile(sensor.match or _FIRST_NUMBER)

    def read(_: float) -> float | None:
        found = wanted.search(_text(sensor.path))
        return _number(found[found.re.groups]) if found else None

    return read


def _one_wire(sensor: SensorTable) -> Callable[[float], float | None]:
    """w1_slave of the kernel's w1_therm, in Cel: its first line ends in YES where the checksum is right."""

    def read(_: float) -> float | None:
        first, *more = _text(sensor.path).splitlines() or [""]
        found = re.search(r"t=(-?\d+)", "".join(more))
        if not first.endswith("YES") or found is None:
            return None
        value = int(found[1]) / 1000
        return None if value == _POWER_ON_C else value

    return read


def _played(sensor: SensorTable) -> Callable[[float], float | None]:
    """`value`, with a swing of `swing` that comes round `every_s`."""

    def read(now_s: float) -> float | None:
        return sensor.value + sensor.swing * math.sin(2 * math.pi * now_s / sensor.every_s)

    return read


def _text(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(LONGEST).decode("ascii", "replace")


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
