"""Traffic: inductive loops, detectors that count, stations of one road."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.rules import Service
from gateway.services.traffic.diagnosis import diagnoses
from gateway.services.traffic.incident import roads
from gateway.services.traffic.instruments import instruments
from gateway.services.traffic.station import LoopStation, LoopVehicle, as_batch, stations
from gateway.services.watch import Watch
from gateway.site.plan import Plan

__all__ = ["LoopStation", "LoopVehicle", "as_batch", "services", "stations", "watches"]


def services(plan: Plan) -> Sequence[Service]:
    return (instruments(plan),)


def watches(plan: Plan) -> Sequence[Watch]:
    return (*diagnoses(plan), *roads(plan))
