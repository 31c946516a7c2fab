"""Air: the ordinance alarms, the city's stations."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.air.ordinance import ordinance
from gateway.services.rules import Service
from gateway.services.watch import Watch
from gateway.site.plan import Plan


def services(plan: Plan) -> Sequence[Service]:
    return (ordinance(plan),)


def watches(plan: Plan) -> Sequence[Watch]:
    return ()
