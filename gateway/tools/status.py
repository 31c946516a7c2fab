"""`citygate status SITE.toml`: asks the running field half over its control socket and prints what it knows."""

from __future__ import annotations

import json as jsonlib
from typing import Any

from gateway.field.control import ask
from gateway.tools.running import asked


def run(site: str, *, json: bool) -> int:
    code, answers = asked(site, lambda socket: [ask(socket, what) for what in ("live", "health")])
    if code:
        return code
    live, health = answers
    if json:
        print(jsonlib.dumps({"live": live, "health": health}))
    else:
        _print(live, health)
    return 0


def _print(live: dict[str, Any], health: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
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


def _quality(code: int) -> str:
    from protocols.api import Quality

    try:
        return Quality(code).name.lower().replace("_", " ")
    except ValueError:
        return str(code)
