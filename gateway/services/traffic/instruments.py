"""What loop detectors say about themselves: open, shorted, out of order."""

from __future__ import annotations

from gateway.services.rules import Condition, Test, channels_by_role
from gateway.services.single import Single, Singles
from gateway.site.plan import Plan

SAID = {
    "loop_open": "traffic.detector_open",
    "loop_short": "traffic.detector_short",
    "detector_fault": "traffic.detector_fault",
}


def instruments(plan: Plan) -> Singles:
    """One alarm a state point with one of these roles, held for `detector_fault_hold_s`."""
    hold_s = plan.services.traffic.detector_fault_hold_s
    singles: list[Single] = []
    for device in plan.devices:
        for role, channels in channels_by_role(plan, device).items():
            if role in SAID:
                singles += [
                    Single(
                        Condition(channel, Test.AT_LEAST, 1.0, 1.0, hold_s, hold_s, role),
                        SAID[role],
                        device.name,
                        device.place,
                    )
                    for channel in channels
                ]
    return Singles(singles)
