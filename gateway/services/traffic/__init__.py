"""Traffic: inductive loops and stations."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.rules import Service
from gateway.services.traffic.station import LoopStation, as_batch, stations
from gateway.services.watch import Watch
from gateway.site.plan import Plan

__all__ = ["LoopStation", "as_batch", "services", "stations", "watches"]


def services(plan: Plan) -> Sequence[Service]:
    return ()


def watches(plan: Plan) -> Sequence[Watch]:
    return ()
