"""`citygate configure`: a new configuration for a gateway, pushed by a center or applied by a technician; how it fares;
back by one.

At the gateway (SITE.toml named) it goes through the field half's control socket and needs neither signature nor uplink;
from the center (--center) through the connection that the gateway opened.
"""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.agent import bundle
from gateway.agent.configuration import put
from gateway.field.control import request
from gateway.site import generations
from gateway.site.faults import Faults
from gateway.site.generations import KEPT, REVERTED, TRIAL
from gateway.site.site import parse_site
from gateway.spool.trouble import Trouble
from gateway.tools import asking
from gateway.tools.running import asked, refusal
from gateway.wire import coap

WITHIN_S = 100.0
LOOK_S = 1.0
LOST_S = 3600.0 + 120.0  # the longest probation, and the way back from it
HERE_LOST_S = 60.0  # a process that is started again

Ask = Callable[[], Mapping[str, Any]]


def apply(site: str, new: str, *, by: str, wait: bool, json: bool) -> int:
    """A technician's: `new` in place of what `site` stands for. 0 kept, 1 refused or taken back, 2 nobody answers."""
    read, faults = parse_site(new, site)
    if read is None:
        print(Faults(faults).text(), file=sys.stderr)
        return 1
    try:
        files = generations.snapshot(Path(new), read.profile_folders)
        body = bundle.packed(bundle.Bundle((read.gateway.id,), 0, "", files))
    except (Trouble, OSError) as bad:
        print(bad, file=sys.stderr)
        return 1

    def hand_over(socket: Path) -> Any:
        name = put(socket.parent, body)
        return request(socket, {"configure": name, "by": by, "local": True}, WITHIN_S)

    code, answer = asked(site, hand_over)
    return code or _begun(answer, lambda: _status(site), wait, json, HERE_LOST_S)


def back(site: str, *, by: str, wait: bool, json: bool) -> int:
    """To the generation before, or out of a trial."""
    code, answer = asked(site, lambda socket: request(socket, {"revert": True, "by": by}, WITHIN_S))
    return code or _begun(answer, lambda: _status(site), wait, json, HERE_LOST_S)


def status(site: str, *, json: bool) -> int:
    code, answer = asked(site, lambda socket: request(socket, {"configuration": True}, WITHIN_S))
    if code:
        return code
    _show(answer, json)
    return 0


def push(gateway: str, path: str, *, control: str, wait: bool, json: bool) -> int:
    """A center's: a signed bundle. 0 kept, 1 refused or taken back, 2 nobody could be asked."""
    try:
        body = Path(path).read_bytes()
    except OSError as bad:
        print(Trouble("CG-6155", f"{path}: {bad.strerror}", f"{path}: {bad.strerror}"), file=sys.stderr)
        return 1
    return _centers(gateway, coap.POST, body, control, wait, json)


def push_back(gateway: str, *, control: str, wait: bool, json: bool) -> int:
    return _centers(gateway, coap.DELETE, None, control, wait, json)


def push_status(gateway: str, *, control: str, json: bool) -> int:
    try:
        answer = asking.ask(gateway, "configuration", control=control)
        if no := answer.refusal():
            raise no
        _show(answer.body(), json)
    except Trouble as bad:
        return asking.said(bad)
    return 0


def _centers(gateway: str, method: int, body: bytes | None, control: str, wait: bool, json: bool) -> int:
    try:
        answer = asking.ask(
            gateway, "configuration", method=method, body=body, content_format=42, within_s=WITHIN_S, control=control
        )
        if no := answer.refusal():
            raise no
        return _begun(answer.body(), lambda: asking.ask(gateway, "configuration", control=control).body(), wait, json)
    except Trouble as bad:
        return asking.said(bad)


def _status(site: str) -> Mapping[str, Any]:
    code, answer = asked(site, lambda socket: request(socket, {"configuration": True}, WITHIN_S))
    return {} if code else answer


def _begun(answer: Any, look: Ask, wait: bool, json: bool, lost_s: float = LOST_S) -> int:
    """Follow a trial to its end, which the gateway's probation bounds."""
    if failed := refusal(answer):
        return failed
    number = answer.get("generation", 0)
    if not json:
        print(f"generation {number} is in use, on trial / {number}번 설정 시험 중", file=sys.stderr)
    state: Mapping[str, Any] = {"state": TRIAL, "candidate": number}
    heard_s = time.monotonic()
    while wait and state.get("state") == TRIAL:
        time.sleep(LOOK_S)
        try:
            found = look()
        except Trouble as bad:  # the line is cut, perhaps by this very configuration: it comes back either way
            found = {}
            if time.monotonic() - heard_s > lost_s:
                return asking.said(bad)
        if found:
            state, heard_s = found, time.monotonic()
        elif time.monotonic() - heard_s > lost_s:
            return 2
    if wait:
        _show(state, json)
    return 1 if state.get("state") == REVERTED else 0


def _show(record: Mapping[str, Any], json: bool) -> None:
    if json:
        print(jsonlib.dumps(dict(record), ensure_ascii=False))
        return
    words = {KEPT: "kept / 적용됨", REVERTED: "taken back / 되돌림", TRIAL: "on trial / 시험 중"}
    state = str(record.get("state", ""))
    in_use = record.get("candidate") if state == TRIAL else record.get("current")
    signed = ", signed / 서명됨" if record.get("signed") else ""
    print(
        f"{words.get(state, state)}: generation {in_use}, by {record.get('by') or '-'}{signed}  {record.get('utc', '')}"
    )
    if record.get("why_en"):
        print(f"  {record['why_en']}\n  {record['why_ko']}")
    if record.get("edited"):
        print(f"  {record['named']} was edited since: reload to try it / 파일이 수정됨, reload 하면 시험합니다")
