"""A watch through the judge: rows in, events out, and what it learnt over a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from gateway.field import judge as judge_module
from gateway.field.judge import Judge, Verdict
from gateway.services.watch import Finding, Row, Watch
from gateway.site.plan import Plan
from gateway.spool.records import Phase
from protocols.api import Batch

S = 1_000_000_000
SITE = """
[[links]]
name = "b"
url = "tcp://127.0.0.1:502"
[[devices]]
name = "rope"
profile = "water/rle-ld5000"
link = "b"
unit = 1
period_s = 60
"""


class Wet:
    """Raises one alarm after three rows of 1, ends it with the first 0."""

    LEARNT: ClassVar[tuple[str, ...]] = ("count", "standing")
    PARTS: ClassVar[tuple[type, ...]] = ()
    name = "wet"
    step_s = 60.0

    def __init__(self, plan: Plan) -> None:
        self.channels: Sequence[int] = (next(c.index for c in plan.channels if c.point == "leak"),)
        self.count = 0
        self.standing = False
        self.rows: list[tuple[float, float]] = []
        self._place = plan.place

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        self.rows.append((utc_s, float(values[0])))
        self.count = self.count + 1 if values[0] else 0
        if self.standing == (self.count >= (1 if self.standing else 3)):
            return ()
        self.standing = not self.standing
        phase = Phase.ONSET if self.standing else Phase.CLEAR
        numbers = {"where_en": "", "where_ko": ""}
        return (Finding("water.leak", phase, "rope", self._place, utc_s, numbers=numbers, columns=(0,)),)


class Family:
    def __init__(self) -> None:
        self.made: list[Wet] = []

    def services(self, plan: Plan) -> Sequence[Any]:
        return ()

    def watches(self, plan: Plan) -> Sequence[Watch]:
        self.made.append(Wet(plan))
        return (self.made[-1],)


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Family:
    made = Family()
    monkeypatch.setattr(judge_module, "FAMILIES", (made,))
    return made


def push(judge: Judge, watch: Wet, minute: int, value: float) -> Verdict:
    channel = np.array(watch.channels, np.int32)
    return judge.push(Batch(channel, np.array([minute * 60 * S], np.int64), np.array([value]), np.zeros(1, np.uint8)))


def test_a_restart_neither_forgets_nor_repeats(make_plan: Callable[[str], Plan], family: Family) -> None:
    plan = make_plan(SITE)
    judge = Judge(plan, 0, 0, [])
    assert not any(push(judge, family.made[0], minute, 1.0).events for minute in (1, 2))
    judge = Judge(plan, 0, 0, [], learnt=judge.learnt(0))
    verdict = push(judge, family.made[1], 3, 1.0)
    (onset,) = verdict.events
    assert (onset.code, onset.phase, onset.time_ns) == ("water.leak", Phase.ONSET, 180 * S)
    assert onset.evidence[0][1][-1] == (180 * S, 1.0)
    judge = Judge(plan, 0, 0, [onset], learnt=verdict.learnt)  # killed right after the commit
    assert push(judge, family.made[2], 4, 1.0).events == []
    (clear,) = push(judge, family.made[2], 5, 0.0).events
    assert (clear.phase, clear.evidence) == (Phase.CLEAR, ())


def test_what_another_release_learnt_is_left_alone(make_plan: Callable[[str], Plan], family: Family) -> None:
    plan = make_plan(SITE)
    judge = Judge(plan, 0, 0, [], learnt={"watch/wet": b"from the future"})
    assert push(judge, family.made[0], 1, 1.0).events == []
    assert family.made[0].count == 1


def test_rows_follow_the_wall_clock_when_it_is_set(make_plan: Callable[[str], Plan], family: Family) -> None:
    plan = make_plan(SITE)
    judge = Judge(plan, 0, 0, [])
    push(judge, family.made[0], 1, 0.0)
    judge.set_clock(1_780_000_000 * S)
    push(judge, family.made[0], 2, 0.0)
    assert [utc_s for utc_s, _ in family.made[0].rows] == [60.0, 1_780_000_080.0]


def test_a_silent_watch_gets_its_row_from_the_clock(make_plan: Callable[[str], Plan], family: Family) -> None:
    plan = make_plan(SITE.replace("period_s = 60", "period_s = 20"))
    judge = Judge(plan, 0, 0, [])
    push(judge, family.made[0], 1, 0.0)
    assert family.made[0].rows == []
    judge.due(125 * S)
    assert family.made[0].rows == [(60.0, 0.0)]


RANGED = SITE + 'points.leak = { filter = "debounce", tuning = { settle_s = 90.0 } }\n'


def test_a_watch_sees_what_range_and_filter_let_pass(make_plan: Callable[[str], Plan], family: Family) -> None:
    judge = Judge(make_plan(RANGED), 0, 0, [])
    (channel,) = family.made[-1].channels
    for minute, value in enumerate([0.0, 1.0, 0.0, 1.0, 1.0, 1.0]):
        rows = np.array([channel], np.int32)
        judge.push(Batch(rows, np.array([minute * 60 * S]), np.array([value]), np.zeros(1, np.uint8)))
    assert [value for _, value in family.made[-1].rows] == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
