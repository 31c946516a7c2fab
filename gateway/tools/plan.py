"""`citygate plan SITE.toml`: the requests of every link, how busy a shared line is, and who gets what."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gateway.site.compile import load_plan
from gateway.site.faults import Faults
from gateway.site.plan import Channel, LinkPlan, Plan
from gateway.site.routing import possible, shortened, takes
from gateway.site.upstream import Upstream


def run(site: str, *, json: bool) -> int:
    try:
        plan = load_plan(site)
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1
    links = [_link(link) for link in plan.links]
    if json:
        facts = {"gateway": plan.gateway, "mode": plan.mode, "channels": len(plan.channels), "links": links}
        print(jsonlib.dumps(facts | who_gets_what(plan)))
        return 0
    for link in links:
        print(f"{link['name']}  {link['url']}  {link['driver']}{_line(link)}")
        for op in link["operations"]:
            took = f", {op['wire_ms']:.1f} ms on the line" if op["wire_ms"] else ""
            print(f"  every {op['period_s']:g} s  {op['device']}: {op['what']}, {op['points']} points{took}")
    print("\n".join(_shown(plan)))
    return 0


def who_gets_what(plan: Plan) -> dict[str, Any]:
    """By upstream: channels whose summaries it gets, codes of events it may get; and what stays on the gateway."""
    events = list(possible(plan.devices, plan.channels))
    return {
        "upstreams": [_receiver(upstream, plan) for upstream in plan.upstreams],
        "stays": {
            "summaries": [channel.name for channel in plan.channels if not channel.upstreams],
            "events": _codes(one.code for one in events if not any(takes(u, one) for u in plan.upstreams)),
        },
    }


def _receiver(upstream: Upstream, plan: Plan) -> dict[str, Any]:
    return {
        "name": upstream.name,
        "role": upstream.role,
        "uri": upstream.uri,
        "format": upstream.format,
        "insecure": upstream.insecure,
        "summaries": [channel.name for channel in plan.channels if upstream.name in channel.upstreams],
        "events": _codes(one.code for one in possible(plan.devices, plan.channels) if takes(upstream, one)),
    }


def _codes(codes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(codes))


def _shown(plan: Plan) -> Iterator[str]:
    """The same for people: a device all of whose channels are among them is named once."""
    if not plan.upstreams:
        yield "mode local: nothing is sent, citygate status shows values and alarms"
        return
    told = who_gets_what(plan)
    yield f"mode {plan.mode}"
    for one in told["upstreams"]:
        insecure = ", insecure" if one["insecure"] else ""
        yield f"{one['name']}  {one['uri']}  {one['role']}, {one['format']}{insecure}"
        yield f"  summaries: {_channels(one['summaries'], plan.channels) or 'none'}"
        yield f"  events: {shortened(one['events'], len(one['events'])) or 'none'}"
    for what, shown in (
        ("summaries", _channels(told["stays"]["summaries"], plan.channels)),
        ("events", shortened(told["stays"]["events"], len(told["stays"]["events"]))),
    ):
        if shown:
            yield f"stays here, {what}: {shown}"


def _channels(names: Sequence[str], channels: Sequence[Channel]) -> str:
    words = []
    for device in dict.fromkeys(channel.device for channel in channels):
        every = [channel.name for channel in channels if channel.device == device]
        own = [name for name in every if name in names]
        words += [device] if len(own) == len(every) else own
    return ", ".join(words)


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
