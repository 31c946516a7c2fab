"""How what was judged of a zone is told. In: a change of its leaks, or a sensor's fault. Out: findings with the numbers
their sentences rest on. It judges nothing.
"""

from __future__ import annotations

import numpy as np

from gateway.services.sentence import duration
from gateway.services.watch import Finding
from gateway.services.water.leak import Change
from gateway.services.water.network import Zone
from gateway.services.water.sensors import Fault
from gateway.spool.records import Phase

HOUR_S = 3600.0
MOVED = 3  # pressures that are named


def leak(zone: Zone, utc_s: float, change: Change, code: str, rise: float) -> Finding:
    """`rise`: of the net inflow over the week before, NaN while unknown."""
    moved = np.where(np.isfinite(change.mean), change.mean, 0.0)
    order = np.argsort(-np.abs(moved))[:MOVED]
    numbers: dict[str, float | str] = {
        "moved": ", ".join(f"{zone.names[zone.drivers + k]} {moved[k]:+.2f} {zone.pressure_unit}" for k in order),
        "inflow": f"{rise:+.1f} {zone.flow_unit}" if np.isfinite(rise) else "-",
        "hours": duration(change.since_h * HOUR_S),
    }
    subject = zone.name if change.pattern == 0 else f"{zone.name}/{change.pattern + 1}"
    columns = tuple(int(zone.drivers + k) for k in order)
    phase = Phase.ONSET if change.begins else Phase.CLEAR
    return Finding(code, phase, subject, zone.place, utc_s - change.since_h * HOUR_S, change.size, numbers, columns)


def sensor(zone: Zone, utc_s: float, kind: Fault, phase: Phase, column: int, hours: int, size: float) -> Finding:
    """`size` 0: not known."""
    unit = zone.flow_unit if column < zone.flows else zone.pressure_unit
    numbers: dict[str, float | str] = {
        "hours": duration(hours * HOUR_S),
        "size": f"{size:+.2f} {unit}" if size else "?",
    }
    since_s = utc_s - hours * HOUR_S
    return Finding(f"water.sensor_{kind}", phase, zone.names[column], zone.place, since_s, 1.0, numbers, (column,))
