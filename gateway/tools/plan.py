"""`citygate plan SITE.toml`: the requests of every link, and how much of a shared line's time they take."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Any

from gateway.site.compile import load_plan
from gateway.site.faults import Faults
from gateway.site.plan import LinkPlan


def run(site: str, *, json: bool) -> int:
    try:
        plan = load_plan(site)
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1
    links = [_link(link) for link in plan.links]
    if json:
        print(jsonlib.dumps({"gateway": plan.gateway, "channels": len(plan.channels), "links": links}))
        return 0
    for link in links:
        print(f"{link['name']}  {link['url']}  {link['driver']}{_line(link)}")
        for op in link["operations"]:
            took = f", {op['wire_ms']:.1f} ms on the line" if op["wire_ms"] else ""
            print(f"  every {op['period_s']:g} s  {op['device']}: {op['what']}, {op['points']} points{took}")
    return 0


def _line(link: dict[str, Any]) -> str:
    """What a shared line has to do; nothing where requests do not wait for each other."""
    if not link["utilisation"]:
        return ""
    return (
        f", line busy {link['utilisation']:.0%}: {len(link['operations'])} requests for {link['registers']} registers, "
        f"{link['cycle_ms']:.0f} ms a round at {link['baud']} baud"
    )


def _link(plan: LinkPlan) -> dict[str, Any]:
    return {
        "name": plan.link.name,
        "url": plan.link.url,
        "driver": plan.driver,
        "baud": plan.link.baud,
        "registers": sum(getattr(op, "count", 0) for op in plan.ops),
        "cycle_ms": sum(op.wire_s(plan.link) for op in plan.ops) * 1e3,
        "utilisation": sum(op.wire_s(plan.link) / op.period_s for op in plan.ops),
        "operations": [
            {
                "device": op.device.name,
                "period_s": op.period_s,
                "what": op.describe(),
                "points": len(op.channels),
                "wire_ms": op.wire_s(plan.link) * 1e3,
            }
            for op in plan.ops
        ],
    }
