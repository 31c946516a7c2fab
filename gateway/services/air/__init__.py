"""Air: the ordinance alarms of a single station; the stations of a city judged together; indices."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.air import network
from gateway.services.air.indices import indices
from gateway.services.air.ordinance import ordinance
from gateway.services.air.stations import columns
from gateway.services.rules import Service
from gateway.services.watch import Watch
from gateway.site.plan import Plan


def services(plan: Plan) -> Sequence[Service]:
    """A lone station stands for the city; of several, the city value decides (`network`)."""
    return () if len(columns(plan).devices) > 1 else (ordinance(plan),)


def watches(plan: Plan) -> Sequence[Watch]:
    return (*network.watches(plan), *indices(plan))
