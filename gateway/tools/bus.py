"""`citygate bus SITE.toml`: what each line of the running field half does: time planned and used, what went wrong, and
what was learned of each device. Asks over the control socket; touches no line itself.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from typing import Any

from gateway.field.control import ask
from gateway.tools.running import asked

NORMAL = (
    "requests", "replies", "echoes", "writes", "probes", "frames", "bytes", "notifications", "refreshed",
    "heard", "foreign", "decoded", "repeated", "scans_passive", "scans_active", "connections", "gatt_reads",
)  # fmt: skip
"""Counters that accuse nobody: phones that pass by are foreign, and a beacon repeats itself."""


def run(site: str, *, json: bool) -> int:
    code, health = asked(site, lambda socket: ask(socket, "health"))
    if code:
        return code
    links = health["links"]
    if json:
        print(jsonlib.dumps({"links": links}))
    else:
        for name, link in links.items():
            print("\n".join(_lines(name, link)))
    return 0


def _lines(name: str, link: dict[str, Any]) -> Iterator[str]:
    counters = link["counters"]
    state = "up" if link["up"] else f"down: {link['fault'] or 'not open yet'}"
    yield f"{name}  {state}"
    planned = f", planned {link['planned']:.1%}" if link["planned"] else ""
    asked, overruns, reconnects = counters.get("requests", 0), link["overruns"], link["reconnects"]
    if counters and "requests" not in counters:
        yield f"  {_counted(counters, normal=True) or 'nothing yet'}; {reconnects} reconnects"
    else:
        yield f"  time used {link['used']:.1%}{planned}; {asked} requests, {overruns} overruns, {reconnects} reconnects"
    yield f"  errors: {_counted(counters, normal=False) or 'none'}"
    for device, facts in link["devices"].items():
        yield f"  {device}: {'; '.join(_facts(facts, device in link['quarantined']))}"
        if identity := link["identity"].get(device):
            yield "    " + ", ".join(f"{key} {value}" for key, value in identity.items())


def _counted(counters: dict[str, int], normal: bool) -> str:
    found = {kind: n for kind, n in counters.items() if n and (kind in NORMAL) == normal}
    return ", ".join(f"{kind.replace('_', ' ')} {n}" for kind, n in found.items())


def _facts(facts: dict[str, Any], is_quarantined: bool) -> Iterator[str]:
    """What is worth a technician's while."""
    if is_quarantined:
        yield "does not answer, asked less often"
    yield f"answers in {facts['answer_ms']:g} ms" if facts["answer_ms"] is not None else "no answer yet"
    yield f"time-out {facts['timeout_ms']:g} ms"
    if facts["misses"]:
        yield f"{facts['misses']} time-outs in a row"
    if facts["holes"]:
        yield "refuses " + ", ".join(facts["holes"])
    if facts["without"]:
        yield "has no function " + ", ".join(map(str, facts["without"]))
    for function, count in facts["limits"].items():
        yield f"function {function}: {count} at a time at most"
