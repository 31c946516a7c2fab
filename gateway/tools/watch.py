"""`citygate watch DEVICE`: live values with their course, smallest and largest since the start, PASS or FAIL against
what is done to the sensor meanwhile (`--expect leak`: wet the rope). Read-only; within 80 columns.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import math
import shutil
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

from gateway.bench.expect import State, Trial, expected
from gateway.bench.findings import finding
from gateway.bench.sparkline import sparkline
from gateway.bench.way import Unreachable, Wanted, way_to
from gateway.tools.read import refused

KEPT = 600
BANNERS = {
    "PASS": ("#####   ###    ####   ####", "#   #  #   #  #      #", "#####  #####   ###    ###",
             "#      #   #      #      #", "#      #   #  ####   ####"),
    "FAIL": ("#####   ###   ###  #", "#      #   #   #   #", "####   #####   #   #", "#      #   #   #   #",
             "#      #   #  ###  #####"),
}  # fmt: skip


class Course:
    """What one point did since the start."""

    def __init__(self) -> None:
        self.values: deque[float] = deque(maxlen=KEPT)
        self.low, self.high = math.inf, -math.inf

    def take(self, value: float) -> None:
        self.values.append(value)
        if math.isfinite(value):
            self.low, self.high = min(self.low, value), max(self.high, value)


def run(wanted: Wanted, expect: str, *, every_s: float, within_s: float, json: bool) -> int:
    """0 on PASS or a watch that was ended, 1 on FAIL, 2 where nobody could be asked."""
    try:
        return asyncio.run(_watch(wanted, expect, every_s, within_s, json))
    except Unreachable as no:
        return refused(no.finding, json=json)
    except KeyboardInterrupt:
        return 130 if expect else 0


async def _watch(wanted: Wanted, expect: str, every_s: float, within_s: float, json: bool) -> int:
    loop = asyncio.get_running_loop()
    courses: dict[str, Course] = {}
    trial: Trial | None = None
    drawn = 0
    is_live = sys.stdout.isatty() and not json
    async with way_to(wanted) as way:
        begun = loop.time()
        turn = 0
        while True:
            facts = await way.look()
            if expect and trial is None:
                try:
                    trial = Trial(expected(expect, facts["points"]))
                except ValueError as bad:
                    raise Unreachable(finding("CG-5111", what=f"--expect {expect}", why=bad, verb="watch")) from bad
            seconds = loop.time() - begun
            state = _take(facts, courses, trial)
            if json:
                print(jsonlib.dumps(_facts(facts, seconds, trial), ensure_ascii=False), flush=True)
            else:
                lines = list(_screen(facts, courses, trial, seconds, within_s))
                if is_live and drawn:
                    print(f"\x1b[{drawn}A", end="")
                print("\n".join(("\x1b[2K" if is_live else "") + line for line in lines), flush=True)
                drawn = len(lines)
            if trial is not None and (state is State.PASS or seconds >= within_s):
                return _over(trial, seconds, within_s, json)
            turn += 1
            await asyncio.sleep(max(0.0, begun + turn * every_s - loop.time()))


def _take(facts: dict[str, Any], courses: dict[str, Course], trial: Trial | None) -> State:
    for one in facts["points"]:
        value = math.nan if one["value"] is None else float(one["value"])
        courses.setdefault(one["point"], Course()).take(value)
        if trial is not None and one["point"] == trial.expectation.point:
            trial.take(value)
    return trial.state if trial is not None else State.WAITING


def _facts(facts: dict[str, Any], seconds: float, trial: Trial | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "seconds": round(seconds, 3),
        "values": {one["point"]: one["value"] for one in facts["points"]},
        "verdicts": {one["point"]: one["verdict"] for one in facts["points"]},
    }
    return told if trial is None else told | {"expect": str(trial.expectation), "state": trial.state.value}


def _screen(
    facts: dict[str, Any], courses: dict[str, Course], trial: Trial | None, seconds: float, within_s: float
) -> Iterator[str]:
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    rows = shutil.get_terminal_size((80, 24)).lines - 4
    yield f"{facts['device'] or facts['profile']}  {facts['url']}  {seconds:.0f} s"
    points = facts["points"]
    if trial is not None:
        points = sorted(points, key=lambda one: one["point"] != trial.expectation.point)
    for one in points[: max(1, rows)]:
        course = courses[one["point"]]
        value = one["word"] or ("-" if one["value"] is None else f"{one['value']:.6g}")
        ends = f"{course.low:.5g}..{course.high:.5g}" if course.low <= course.high else one["verdict"]
        mark = "" if one["verdict"] == "ok" else f" {one['verdict']}"
        line = sparkline(course.values, 22, plain)
        yield f"{one['point'][:16]:16} {value[:10]:>10} {one['unit'][:6]:6} {line:22} {ends}{mark}"[:80]
    if trial is not None:
        left = f", {max(0.0, within_s - seconds):.0f} s left" if math.isfinite(within_s) else ""
        yield f"expect: {trial.expectation}  [{trial.state.value}]{left}"


def _over(trial: Trial, seconds: float, within_s: float, json: bool) -> int:
    passed = trial.state is State.PASS
    if not json:
        colour = "\x1b[1;32m" if passed else "\x1b[1;31m"
        on, off = (colour, "\x1b[0m") if sys.stdout.isatty() else ("", "")
        print("\n".join(f"{on}   {line}{off}" for line in BANNERS["PASS" if passed else "FAIL"]))
        print(f"   {trial.expectation}, {seconds:.1f} s / {'합격' if passed else '불합격'}")
    if not passed:
        what, point = str(trial.expectation), trial.expectation.point
        print("\n".join(finding("CG-5114", point=point, what=what, seconds=f"{within_s:g}").lines()), file=sys.stderr)
    return 0 if passed else 1
