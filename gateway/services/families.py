"""The families of services. Loads their kernels: imported only by who judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.services import air, machine, streetlight, traffic, water
from gateway.services.rules import Service
from gateway.services.watch import Watch
from gateway.site.plan import Plan


class Family(Protocol):
    """What a family's package offers."""

    def services(self, plan: Plan) -> Sequence[Service]:
        """What judges readings one by one, through conditions."""
        ...

    def watches(self, plan: Plan) -> Sequence[Watch]:
        """What judges channels together, row by row."""
        ...


FAMILIES: tuple[Family, ...] = (water, streetlight, air, traffic, machine)
