"""`citygate status SITE.toml`: asks the running field half over its control socket and prints what it knows."""

from __future__ import annotations

import json as jsonlib
from typing import Any

from gateway.field.control import ask
from gateway.tools.maintenance import lines as maintenance
from gateway.tools.months import line, months
from gateway.tools.running import asked

MODES = {"center": "center-integrated", "agency": "municipal-linked agency", "local": "local only, nothing is sent"}


def run(site: str, *, json: bool) -> int:
    code, answers = asked(site, lambda socket: [ask(socket, what) for what in ("live", "health")])
    if code:
        return code
    live, health = answers
    budgets = months(site)
    if json:
        print(jsonlib.dumps({"live": live, "health": health, "budgets": budgets}))
    else:
        _print(live, health)
        for upstream, one in budgets.items():
            print(line(upstream, one))
    return 0


def _print(live: dict[str, Any], health: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(mode_line(health))
    links = Table("link", "state", "polls", "overruns", "quarantined", title=f"{health['gateway']}: links")
    for name, link in health["links"].items():
        state = "up" if link["up"] else f"down: {link['fault'] or 'not open yet'}"
        links.add_row(name, state, str(link["polls"]), str(link["overruns"]), ", ".join(link["quarantined"]))
    console.print(links)
    values = Table("channel", "value", "unit", "quality", "age s", title="channels")
    for channel in live["channels"]:
        value = "-" if channel["value"] is None else f"{channel['value']:.6g}"
        name = channel["name"] + (" (unproven)" if channel["unproven"] else "")
        age = "-" if channel["age_s"] is None else f"{channel['age_s']:.1f}"
        values.add_row(name, value, channel["unit"], _quality(channel["quality"]), age)
    console.print(values)
    for alarm in live["alarms"]:
        console.print(f"[bold red]{alarm['code']}[/] {alarm['ko']} / {alarm['en']}")
    for words in work_lines(health):
        console.print(words, markup=False, soft_wrap=True)


def work_lines(health: dict[str, Any]) -> list[str]:
    """Maintenance, meters that were replaced, and captures kept by themselves."""
    out = maintenance(health["maintenance"])
    for name, one in health["carried"]["counters"].items():
        out.append(f"replaced 교체: {name} counts on from {one['old']:.10g}, offset {one['offset']:+.10g}")
    out += [f"withheld 보류: {name} fell: citygate replace" for name in health["carried"]["withheld"]]
    out += [f"capture 캡처: {one['file']} ({one['bytes']} bytes)" for one in health["captures"]]
    return out


def mode_line(health: dict[str, Any]) -> str:
    """How the gateway is operated, and with whom."""
    named = [f"{name} ({one['role']}{', insecure' * one['insecure']})" for name, one in health["upstreams"].items()]
    return f"mode: {MODES[health['mode']]}" + (f", {', '.join(named)}" if named else "")


def _quality(code: int) -> str:
    from protocols.api import Quality

    try:
        return Quality(code).name.lower().replace("_", " ")
    except ValueError:
        return str(code)
