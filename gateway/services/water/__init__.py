"""Water: what instruments say of themselves, bursts, zones."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.rules import Service
from gateway.services.watch import Watch
from gateway.services.water.instruments import Bursts, instruments
from gateway.site.plan import Plan


def services(plan: Plan) -> Sequence[Service]:
    return (instruments(plan), Bursts(plan))


def watches(plan: Plan) -> Sequence[Watch]:
    return ()
