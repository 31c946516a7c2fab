"""What channels and holds have learnt goes over a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from gateway.field.judge import Judge
from gateway.site.plan import Plan
from protocols.api import Batch

S = 1_000_000_000
SITE = """
[[links]]
name = "p"
url = "serial:/dev/ttyUSB0"
[[devices]]
name = "air"
profile = "air/plantower-pms5003"
link = "p"
period_s = 60
points.pm25.detector = "default"
"""


def push(judge: Judge, plan: Plan, second: int, value: float) -> list[str]:
    row = next(c.index for c in plan.channels if c.role == "pm25")
    one = Batch(np.array([row], np.int32), np.array([second * S], np.int64), np.array([value]), np.zeros(1, np.uint8))
    return [f"{event.code} {event.phase.name}" for event in judge.push(one).events]


def again(plan: Plan, judge: Judge, second: int, away_s: int = 60) -> Judge:
    return Judge(plan, (second + away_s) * S, 0, [], learnt=judge.learnt(second * S))


def test_two_hours_go_on_over_a_restart(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    judge = Judge(plan, 0, 0, [])
    said = [one for second in range(0, 3600, 60) for one in push(judge, plan, second, 80.0)]
    judge = again(plan, judge, 3540)
    said += [one for second in range(3660, 7200, 60) for one in push(judge, plan, second, 80.0)]
    assert "air.pm25_advisory ONSET" not in said
    assert "air.pm25_advisory ONSET" in push(judge, plan, 7200, 80.0)


def test_a_hold_is_not_believed_after_a_long_absence(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    judge = Judge(plan, 0, 0, [])
    for second in range(0, 3600, 60):
        push(judge, plan, second, 80.0)
    judge = again(plan, judge, 3540, away_s=4 * 3600)
    assert push(judge, plan, 5 * 3600, 80.0) == []


def test_a_met_condition_without_its_alarm_begins_anew(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    judge = Judge(plan, 0, 0, [])
    said = [one for second in range(0, 7260, 60) for one in push(judge, plan, second, 80.0)]
    assert "air.pm25_advisory ONSET" in said
    judge = again(plan, judge, 7260)  # its alarm ended in between: nothing stands
    assert "air.pm25_advisory CLEAR" not in push(judge, plan, 7380, 20.0)


def calm_after(plan: Plan, learnt: Mapping[str, bytes]) -> bool:
    """Whether a channel that learnt around 20 takes 35 for something."""
    judge = Judge(plan, 0, 0, [], learnt=learnt)
    return not any("anomaly" in one for n in range(40) for one in push(judge, plan, n * 60, 35.0))


@pytest.fixture
def taught(make_plan: Callable[[str], Plan]) -> tuple[Plan, dict[str, bytes]]:
    plan = make_plan(SITE)
    judge = Judge(plan, 0, 0, [])
    random = np.random.default_rng(3)
    for n in range(3000):
        push(judge, plan, (n - 3000) * 60, round(20.0 + random.normal(0, 0.5), 1))
    return plan, judge.learnt(0)


def test_habits_go_on_over_a_restart(taught: tuple[Plan, dict[str, bytes]]) -> None:
    plan, learnt = taught
    assert calm_after(plan, {})
    assert not calm_after(plan, learnt)


def test_habits_in_another_unit_are_forgotten(taught: tuple[Plan, dict[str, bytes]]) -> None:
    plan, learnt = taught
    other = replace(plan, channels=tuple(replace(c, unit="mg/m3") for c in plan.channels))
    assert calm_after(other, learnt)


@pytest.mark.parametrize("blob", [b"", b"x", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_what_cannot_be_read_is_left_alone(make_plan: Callable[[str], Plan], blob: bytes) -> None:
    plan = make_plan(SITE)
    assert push(Judge(plan, 0, 0, [], learnt={"device/air": blob, "conditions": blob}), plan, 1, 80.0) == []
