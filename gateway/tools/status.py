"""`citygate status SITE.toml`: asks the running field half over its control socket and prints what it knows."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Any

from gateway.field.control import ask
from gateway.site.faults import Faults
from gateway.site.site import load_site
from gateway.spool.trouble import Trouble


def run(site: str, *, json: bool) -> int:
    try:
        state = Path(load_site(site).state_dir)
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1
    try:
        live, health = (ask(state / "field.sock", what) for what in ("live", "health"))
    except (OSError, ValueError) as gone:  # ValueError: it ended in the middle of an answer
        print(unanswered(state / "field.sock", site, gone), file=sys.stderr)
        return 2
    if json:
        print(jsonlib.dumps({"live": live, "health": health}))
    else:
        _print(live, health)
    return 0


def unanswered(socket: Path, site: str, gone: OSError | ValueError) -> Trouble:
    if isinstance(gone, PermissionError):
        return Trouble(
            "CG-5006",
            f"no permission to ask the field half at {socket}",
            f"{socket} 의 필드 프로세스에 접근할 권한이 없습니다",
            next_en="Run this as the user of citygate field, or as a member of its group",
            next_ko="citygate field 와 같은 사용자 또는 그 그룹의 사용자로 실행하십시오",
        )
    why = getattr(gone, "strerror", None) or gone
    return Trouble(
        "CG-5001",
        f"no field half answers at {socket} ({why})",
        f"{socket} 에서 응답하는 필드 프로세스가 없습니다 ({why})",
        next_en=f"Start it: citygate field {site}, or: systemctl start citygate-field",
        next_ko=f"실행하십시오: citygate field {site} 또는 systemctl start citygate-field",
    )


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
