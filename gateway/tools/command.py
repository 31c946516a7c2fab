"""`citygate command GATEWAY [POINT VALUE]`: one value to a device behind a gateway, for a time; then it goes back.

Through the center's control socket. What is told as done was read back from the device.
"""

from __future__ import annotations

import json as jsonlib
import secrets
import sys
from typing import Any

from gateway.spool.trouble import Trouble
from gateway.tools import asking
from gateway.tools.running import whoever
from gateway.tools.spans import seconds
from gateway.wire import coap

WITHIN_S = 70.0


def run(
    gateway: str, point: str, value: float | None, *, for_: str, release: bool, by: str, control: str, json: bool
) -> int:
    """0 done or shown, 1 refused or not read back, 2 nobody could be asked."""
    by = by or whoever()
    try:
        if not point:
            return _told(_done(asking.ask(gateway, "commands", control=control)), json, _standing)
        if release:
            asked = asking.ask(
                gateway, f"commands/{point}", method=coap.DELETE, query={"by": by}, control=control, within_s=WITHIN_S
            )
            return _told(_done(asked), json, lambda one: [f"{point} = {one['value']:g}, back at rest, read back"])
        if value is None:
            raise _wrong(f"{point}: give a value, or --release", f"{point}: 값이나 --release 가 필요합니다")
        body = {"point": point, "value": value, "lease_s": _span(for_), "by": by, "id": secrets.token_hex(8)}
        asked = asking.ask(gateway, "commands", method=coap.POST, body=body, control=control, within_s=WITHIN_S)
        return _told(_done(asked), json, _set)
    except Trouble as bad:
        return asking.said(bad)


def maintenance(gateway: str, what: str, *, device: str, for_: str, why: str, by: str, control: str, json: bool) -> int:
    """`what`: on, off or show. 0 done, 1 refused, 2 nobody could be asked."""
    from gateway.tools.maintenance import lines

    by = by or whoever()
    try:
        if what == "show":
            asked = asking.ask(gateway, "maintenance", control=control)
        elif what == "off":
            path = f"maintenance/{device}" if device else "maintenance"
            asked = asking.ask(gateway, path, method=coap.DELETE, query={"by": by}, control=control)
        else:
            body = {"device": device, "for_s": _span(for_), "why": why, "by": by}
            asked = asking.ask(gateway, "maintenance", method=coap.POST, body=body, control=control)
        return _told(_done(asked), json, lambda shown: lines(shown) or ["no maintenance / 점검 없음"])
    except Trouble as bad:
        return asking.said(bad)


def _done(answer: asking.Answer) -> Any:
    """Raises Trouble."""
    if (refusal := answer.refusal()) is not None:
        raise refusal
    return answer.body()


def _told(body: Any, json: bool, words: Any) -> int:
    print(jsonlib.dumps(body, ensure_ascii=False) if json else "\n".join(words(body)))
    if isinstance(body, dict) and body.get("unaudited"):
        print(f"done, and not in the gateway's audit file: {body['unaudited']}", file=sys.stderr)
    return 0


def _set(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['point']} = {one['value']:g}, read back after {one['latency_ms']:.0f} ms; "
        f"back to {one['rest']:g} in {one['lease_s']:g} s"
    ]


def _standing(found: dict[str, Any]) -> list[str]:
    leases = [
        f"{one['point']:30} {one['value']:>10g}  {one['left_s']:.0f} s left, then {one['rest']:g}, by {one['by']}"
        + (f"  [{one['step']}{', cannot be put back' if one['stuck'] else ''}]" if one["step"] != "held" else "")
        for one in found["leases"]
    ]
    points = [
        f"  {one['point']:28} {one['low']:g} to {one['high']:g} {one['unit']}"
        + ("" if one["rest"] is None else f", rests at {one['rest']:g}")
        for one in found["points"]
    ]
    return [*(leases or ["no command stands"]), "may be set:", *(points or ["  nothing: [agent].commands is empty"])]


def _span(text: str) -> float:
    """Raises Trouble."""
    try:
        return seconds(text)
    except ValueError as bad:
        raise _wrong(
            str(bad) if text else "--for is missing: it ends by itself", f"시간이 올바르지 않습니다: {text!r}"
        ) from bad


def _wrong(en: str, ko: str) -> Trouble:
    return Trouble(
        "CG-6136",
        en,
        ko,
        next_en="citygate command cab-7 lamp1.level 40 --for 15m",
        next_ko="예: citygate command cab-7 lamp1.level 40 --for 15m",
    )
