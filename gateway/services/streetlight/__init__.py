"""Streetlights: lamps by their control gear, cabinets with their feeders."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.rules import Service
from gateway.services.streetlight.cabinet import cabinets
from gateway.services.streetlight.lamps import Lamps
from gateway.services.watch import Watch
from gateway.site.plan import Plan


def services(plan: Plan) -> Sequence[Service]:
    return (Lamps(plan),)


def watches(plan: Plan) -> Sequence[Watch]:
    return cabinets(plan)
