"""Firmware of nodes, asked for where the center runs: `citygate firmware offer|withdraw|updates`. The gateway fetches
the manifest and its image from the center's files, and tells the node; the node decides."""

from __future__ import annotations

import getpass
import json as jsonlib
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from gateway.spool.trouble import Trouble
from gateway.tools import asking
from gateway.wire import coap

ENDED = ("done", "failed")
HEAD = f"{'node':20} {'step':10} {'sequence':>8}  {'by':12} why"


def offer(gateway: str, node: str, manifest: str, *, follow: bool, control: str, json: bool) -> int:
    """0 when the gateway has taken it, with `follow` when the node runs it; 1 where it is refused, or the update
    fails; 2 where nobody could be asked."""
    body = {"node": node, "manifest": manifest, "by": getpass.getuser()}
    try:
        answer = asking.ask(gateway, "nodes", method=coap.POST, body=body, control=control)
        if (refusal := answer.refusal()) is not None:
            return asking.said(refusal)
        _say([answer.body()], json)
        return _followed(gateway, node, control, json) if follow else 0
    except Trouble as bad:
        return asking.said(bad)


def withdraw(gateway: str, node: str, *, control: str) -> int:
    """0 when it is given up, 1 where it cannot be, 2 where nobody could be asked."""
    try:
        answer = asking.ask(gateway, f"nodes/{node}", method=coap.DELETE, control=control)
    except Trouble as bad:
        return asking.said(bad)
    refusal = answer.refusal()
    return 0 if refusal is None else asking.said(refusal)


def updates(gateway: str, *, control: str, json: bool) -> int:
    """0 when told, 1 where it is refused, 2 where nobody could be asked."""
    try:
        answer = asking.ask(gateway, "nodes", control=control)
        if (refusal := answer.refusal()) is not None:
            return asking.said(refusal)
        found = answer.body()
    except Trouble as bad:
        return asking.said(bad)
    if json:
        print(jsonlib.dumps(found))
        return 0
    served = f"serves nodes at {found['serving']}" if found["serving"] else "serves no nodes ([agent].nodes is not set)"
    print(f"{gateway} {served}; {sum(found['cache'].values()) / 1e6:.1f} MB kept, {found['blocks']} blocks sent")
    if found["nodes"]:
        print(HEAD)
        _say(found["nodes"].values(), json=False)
    return 0


def _followed(gateway: str, node: str, control: str, json: bool) -> int:
    last: Any = None
    with closing(asking.observe(gateway, f"nodes/{node}", control=control)) as answers:
        for answer in answers:
            if (refusal := answer.refusal()) is not None:
                return asking.said(refusal)
            if (told := answer.body()) != last:
                last = told
                _say([told], json)
            if told["step"] in ENDED:
                return int(told["step"] != "done")
    return 2  # the connection went before the update ended


def _say(offers: Any, json: bool) -> None:
    for one in offers:
        print(jsonlib.dumps(one) if json else _line(one), flush=True)


def _line(one: Mapping[str, Any]) -> str:
    return f"{one['node']:20} {one['step']:10} {one['sequence'] or '-':>8}  {one['by']:12} {one['why']}".rstrip()
