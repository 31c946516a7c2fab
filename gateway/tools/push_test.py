"""`citygate push-test SITE`: a test event to each upstream, and how long its center took to acknowledge it."""

from __future__ import annotations

import json as jsonlib
from typing import Any

from gateway.field.control import request
from gateway.tools.running import asked, refusal, whoever

SLACK_S = 15.0
NEXT = {
    "no uplink": (
        "no uplink runs beside this spool: start citygate uplink SITE.toml, or systemctl start citygate-uplink",
        "전송 프로세스가 없습니다: citygate uplink SITE.toml 또는 systemctl start citygate-uplink",
    ),
    "waiting": (
        "the uplink runs but has no acknowledgement: its log names the reason (journalctl -u citygate-uplink); check "
        "the network, uri and credentials; the event is kept and sent later",
        "확인 응답이 없습니다: journalctl -u citygate-uplink 로그와 네트워크, uri, 자격 증명을 확인하십시오. "
        "이벤트는 보관되며 나중에 전송됩니다",
    ),
    "refused": (
        "the center refused the event: compare the releases of both ends and read the center's log",
        "센터가 이벤트를 거부했습니다: 양쪽 버전과 센터 로그를 확인하십시오",
    ),
    "not stored": (
        "the spool does not take records: citygate status says why (disk full, read-only)",
        "스풀에 기록할 수 없습니다: citygate status 로 원인(디스크 부족, 읽기 전용)을 확인하십시오",
    ),
}


def run(site: str, *, upstream: str, within_s: float, by: str, json: bool) -> int:
    """0 where every upstream acknowledged, 1 where one did not, 2 where no field half answers."""
    words = {"push": upstream, "within_s": within_s, "by": by or whoever()}
    code, answer = asked(site, lambda socket: request(socket, words, within_s + SLACK_S))
    if code or refusal(answer, "citygate status names the upstreams", "citygate status 로 업스트림을 확인하십시오"):
        return code or 1
    failed = [name for name, one in answer["upstreams"].items() if one["state"] != "acknowledged"]
    if json:
        print(jsonlib.dumps(answer))
    else:
        print("\n".join(lines(answer)))
    return 1 if failed else 0


def lines(answer: dict[str, Any]) -> list[str]:
    """A line an upstream, and what to try next where one did not acknowledge."""
    out = []
    for name, one in answer["upstreams"].items():
        if one["state"] == "acknowledged":
            out.append(f"PASS {name}: acknowledged in {one['seconds']:.3f} s / {one['seconds']:.3f}초 만에 확인 응답")
            continue
        behind = f", {one['before']} alarms wait" if one.get("before", 0) > 1 else ""
        out.append(f"FAIL {name}: {one['state']}{behind}")
        why = "no uplink" if one["state"] == "waiting" and not answer["uplink"] else one["state"]
        english, korean = NEXT[why]
        out += [f"  next: {english} [CG-5156]", f"  조치: {korean} [CG-5156]"]
    return out
