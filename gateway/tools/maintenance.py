"""`citygate maintenance SITE on|off|show`: while somebody works, alarms are held; they come back by themselves."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Any

from gateway.field.control import ask, request
from gateway.spool.trouble import Trouble
from gateway.tools.running import asked, refusal, whoever
from gateway.tools.spans import seconds

NEXT_EN = "citygate status names the devices; a window is 10 s to 8 h long, write --for 45m"
NEXT_KO = "citygate status 로 장치 이름을 확인하고 시간은 10초~8시간으로 쓰십시오(--for 45m)"


def run(site: str, what: str, *, device: str, for_: str, why: str, by: str, json: bool) -> int:
    """`what` is on, off or show. 0 done, 1 refused, 2 no field half answers."""
    if what == "show":
        code, health = asked(site, lambda socket: ask(socket, "health"))
        if not code:
            _print(health["maintenance"], json)
        return code
    words: dict[str, Any] = {"maintain": device, "by": by or whoever(), "why": why}
    if what == "on":
        try:
            words["for_s"] = seconds(for_)
        except ValueError as bad:
            print(
                Trouble(
                    "CG-5140",
                    str(bad) if for_ else "--for is missing: maintenance ends by itself",
                    f"점검 시간이 올바르지 않습니다: {for_!r}",
                    next_en=NEXT_EN,
                    next_ko=NEXT_KO,
                ),
                file=sys.stderr,
            )
            return 1
    else:
        words["off"] = True
    code, answer = asked(site, lambda socket: request(socket, words))
    if code or refusal(answer, NEXT_EN, NEXT_KO):
        return code or 1
    _print(answer, json)
    return 0


def _print(shown: dict[str, Any], json: bool) -> None:
    if json:
        print(jsonlib.dumps(shown, ensure_ascii=False))
        return
    print("\n".join(lines(shown)) or "no maintenance / 점검 없음")


def lines(shown: dict[str, Any]) -> list[str]:
    """What is under maintenance and what is held, a line each."""
    out = []
    for one in shown["windows"]:
        why = f": {one['why']}" if one["why"] else ""
        minutes, left_s = divmod(max(0, one["left_s"]), 60)
        out.append(
            f"maintenance 점검: {one['device'] or 'whole site 전체'}, {minutes} min {left_s} s left, "
            f"by {one['by'] or '-'}{why}, {one['held']} alarms held"
        )
    out += [f"  held 보류: {one['code']} {one['ko']} / {one['en']}" for one in shown["held"]]
    return out
