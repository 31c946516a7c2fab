"""`citygate replace SITE DEVICE`: a meter was exchanged; its totals count on from the old one's."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Any

from gateway.field.control import request
from gateway.spool.trouble import Trouble
from gateway.tools.running import asked, refusal, whoever

WITHIN_S = 20.0
NEXT_EN = "citygate replace SITE DEVICE --point P --old-total X --new-total Y; citygate status names devices and points"
NEXT_KO = "citygate replace SITE DEVICE --point P --old-total X --new-total Y 형식으로 쓰십시오. 이름: citygate status"


def run(
    site: str,
    device: str,
    *,
    point: str,
    old_total: float | None,
    new_total: float | None,
    serial: str,
    old_serial: str,
    by: str,
    json: bool,
) -> int:
    """0 done, 1 refused (nothing was changed), 2 no field half answers."""
    if not point and (old_total is not None or new_total is not None):
        print(
            Trouble(
                "CG-5147",
                "a total belongs to one point: --point is missing",
                "적산값을 적용할 --point 가 없습니다",
                next_en=NEXT_EN,
                next_ko=NEXT_KO,
            ),
            file=sys.stderr,
        )
        return 1
    words: dict[str, Any] = {"replace": device, "by": by or whoever(), "serial": serial, "was": old_serial}
    words["old"] = {} if old_total is None else {point: old_total}
    words["new"] = {} if new_total is None else {point: new_total}
    code, answer = asked(site, lambda socket: request(socket, words, WITHIN_S))
    if code or refusal(answer, NEXT_EN, NEXT_KO):
        return code or 1
    if json:
        print(jsonlib.dumps(answer, ensure_ascii=False))
        return 0
    if not answer["points"]:
        print(f"{answer['device']}: no counters, the exchange is noted / 적산 포인트 없음, 교체를 기록했습니다")
    for name, one in answer["points"].items():
        print(
            f"{answer['device']}.{name}: {one['old']:.10g} on the old meter, {one['new']:.10g} on the new: "
            f"{one['offset']:+.10g} {one['unit']}, total {one['total']:.10g}"
        )
    if answer["identity"]:
        print("  " + ", ".join(f"{key} {value}" for key, value in answer["identity"].items()))
    return 0
