"""Machines: several gauges of one device judged together, where the site says `joint = true`."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.services.machine.gauges import MachineWatch, joint_gauges
from gateway.services.rules import Service
from gateway.services.watch import Watch
from gateway.site.plan import Plan


def services(plan: Plan) -> Sequence[Service]:
    return ()


def watches(plan: Plan) -> Sequence[Watch]:
    return tuple(MachineWatch(plan, device) for device in plan.devices if len(joint_gauges(plan, device)) > 1)
