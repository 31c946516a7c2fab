"""`citygate write SITE.toml device.point VALUE`: one value to one device, through the field half that holds its line.

The profile must declare the point writable; the value is checked against its range, sent ahead of all polls, and read
back. Refusals and half-known outcomes are said as such.
"""

from __future__ import annotations

import json as jsonlib
import sys

from gateway.field.control import request
from gateway.tools.running import asked, refusal

WRITE_WITHIN_S = 15.0


def run(site: str, point: str, value: float, *, json: bool) -> int:
    """0 when the device took the value and reads it back, 1 when not, 2 when no field half answers."""
    code, outcome = asked(site, lambda socket: request(socket, {"set": point, "value": value}, WRITE_WITHIN_S))
    if code := code or refusal(outcome):
        return code
    took = outcome.get("quality") == "good"
    if json:
        print(jsonlib.dumps({"point": point, **outcome}))
    elif took:
        print(f"{point} = {outcome['value']:g}, read back")
    else:
        why = outcome.get("detail") or outcome.get("quality")
        print(
            f"{point} was not set to {value:g}: {why}\n"
            f"  {point} 값을 {value:g}(으)로 바꾸지 못했습니다: {outcome.get('quality')}\n"
            "  next: citygate status and citygate bus show the point and its line [CG-5008]",
            file=sys.stderr,
        )
    return 0 if took else 1
