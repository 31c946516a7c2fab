"""Water: what instruments say of themselves, bursts, zones."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.rules import Service
from gateway.services.watch import Watch
from gateway.services.water.instruments import Bursts, instruments
from gateway.services.water.network import zones
from gateway.services.water.night import NightWatch
from gateway.services.water.zone import ZoneWatch
from gateway.site.plan import Plan

LEAST_PRESSURES = 3  # of fewer the night flow is judged instead


def services(plan: Plan) -> Sequence[Service]:
    return (instruments(plan), Bursts(plan))


def watches(plan: Plan) -> Sequence[Watch]:
    return [
        ZoneWatch(plan, zone) if zone.pressures >= LEAST_PRESSURES else NightWatch(plan, zone) for zone in zones(plan)
    ]
