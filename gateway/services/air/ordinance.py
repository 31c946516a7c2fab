"""Air: the Korean ordinance alarms, with their durations and their own clear levels (2 h at or above the level;
PM2.5 75/150 ug/m3, cleared below 35/75; PM10 150/300, cleared below 100/150)."""

from __future__ import annotations

from gateway.services.rules import Condition, Test, channels_by_role
from gateway.services.sentence import duration
from gateway.services.single import Single, Singles
from gateway.site.plan import Plan

_LEVELS = tuple((role, level) for role in ("pm25", "pm10") for level in ("advisory", "warning"))


def ordinance(plan: Plan) -> Singles:
    """One condition a pollutant, level and device."""
    settings = plan.services.air
    found: list[Single] = []
    for device in plan.devices:
        roles = channels_by_role(plan, device)
        for role, level in _LEVELS:
            for channel in roles.get(role, ()):
                limit = getattr(settings, f"{role}_{level}")
                condition = Condition(
                    channel,
                    Test.AT_LEAST,
                    limit,
                    getattr(settings, f"{role}_{level}_clear"),
                    settings.hold_s,
                    settings.clear_hold_s,
                    level,
                )
                numbers: dict[str, float | str] = {"limit": limit, "hours": duration(settings.hold_s)}
                found.append(Single(condition, f"air.{role}_{level}", device.name, device.place, numbers))
    return Singles(found)
