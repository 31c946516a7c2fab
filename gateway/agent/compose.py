"""Which resources an agent has, from a site and what the sending half knows. The one place that names them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.agent.commands import Commands
from gateway.agent.configuration import Configuration
from gateway.agent.control import Control
from gateway.agent.diagnostics import Diagnostics
from gateway.agent.fetching import Fetching
from gateway.agent.health import Health
from gateway.agent.inventory import Inventory
from gateway.agent.line import Line
from gateway.agent.lines import Lines
from gateway.agent.live import Live
from gateway.agent.log import Log
from gateway.agent.maintenance import Maintenance
from gateway.agent.nodes import Nodes
from gateway.agent.objects import Connectivity, Device, Firmware, Server
from gateway.agent.reboot import Reboot
from gateway.agent.record import AuditLog
from gateway.agent.release_work import ReleaseWork
from gateway.agent.releases import Releases
from gateway.agent.resource import Resource
from gateway.site.site import Site
from gateway.spool.trouble import Trouble

log = logging.getLogger("citygate.agent")

Ways = Callable[[], Mapping[str, Mapping[str, Any]]]
Made = Callable[[], Sequence[Resource]]


def resources(site: Site, control: Control, lines: Sequence[Line], ways: Ways) -> list[Resource]:
    """`lines`: to the centers that may ask; `ways`: how those stand that records go by. A part whose folder cannot be
    used is missing and logged; the others are there."""
    together = Lines(lines)

    def releases() -> Sequence[Resource]:
        work = Releases(ReleaseWork(site, control, Fetching(together.one), reach=together.reach))
        return work, Firmware(lambda: work.lwm2m)

    parts: tuple[Made, ...] = (
        lambda: (Health(site, control, ways), Live(control), Inventory(site, control), Log(control)),
        lambda: (Diagnostics(site, control, lines, ways), AuditLog(site.state_dir)),
        lambda: (Commands(site, control), Maintenance(site, control)),
        lambda: (Configuration(site, control),),
        lambda: (Server(site), Device(site, control, Reboot(site.state_dir)), Connectivity()),
        releases,
        lambda: (Nodes(site, Fetching(together.one)),),
    )
    found: list[Resource] = []
    for part in parts:
        try:
            found += part()
        except (OSError, Trouble) as bad:
            log.error("CG-6115 a part of the agent is left out: %s", bad)
    return found
