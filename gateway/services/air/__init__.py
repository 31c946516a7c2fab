"""Air: the ordinance alarms of a single station; the stations of a city judged together."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.air.network import watches
from gateway.services.air.ordinance import ordinance
from gateway.services.air.stations import columns
from gateway.services.rules import Service
from gateway.site.plan import Plan

__all__ = ["services", "watches"]


def services(plan: Plan) -> Sequence[Service]:
    """A lone station stands for the city; of several, the city value decides (`network`)."""
    return () if len(columns(plan).devices) > 1 else (ordinance(plan),)
