"""A machine's gauges judged together, through the real judge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from fastpath import joint
from gateway.field.judge import Judge
from gateway.services import machine
from gateway.services.machine.gauges import MachineWatch
from gateway.services.memory import recall, remember
from gateway.site.plan import Plan
from gateway.spool.records import Event, Phase
from protocols.api import Batch, Quality

S = 1_000_000_000
Make = Callable[[str], Plan]
METER = """
[[links]]
name = "bus"
url = "tcp://127.0.0.1:1502"
[[devices]]
name = "pump"
profile = "streetlight/peacefair-pzem004t"
link = "bus"
unit = 1
joint = true
place = { en = "Pump room", ko = "펌프실" }
[devices.points]
energy.enabled = false
alarm.enabled = false
current.range = [-10000, 10000]
frequency.range = [-10000, 10000]
power_factor.range = [-10000, 10000]
"""
SHORT = """
[services.machine]
reference_rows = 100
patience_rows = 200
"""


class Bench:
    """A pump whose readings are given as rows, one a second."""

    def __init__(self, plan: Plan, learnt: dict[str, bytes] | None = None) -> None:
        self.plan = plan
        [self.watch] = machine.watches(plan)
        self.judge = Judge(plan, 0, 0, [], learnt=learnt)
        self.gauges = [plan.channels[i].point for i in self.watch.channels]

    def play(self, rows: NDArray[np.float64], start: int = 0) -> list[tuple[int, Event]]:
        """[(row, event)] of the joint judging."""
        said = []
        channel = np.array(self.watch.channels, np.int32)
        for i, row in enumerate(rows, start):
            silent = np.isnan(row)
            quality = np.where(silent, int(Quality.NO_REPLY), int(Quality.GOOD)).astype(np.uint8)
            verdict = self.judge.push(Batch(channel, np.full(len(row), i * S, np.int64), row, quality))
            said += [
                (i, event)
                for event in verdict.events
                if event.code == "machine.joint" and event.phase is not Phase.UPDATE
            ]
        return said


def usual(bench: Bench, rows: int, seed: int = 3) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return 100.0 + 10.0 * np.arange(len(bench.gauges)) + rng.normal(size=(rows, len(bench.gauges)))


def test_only_a_device_that_asks_for_it_is_judged_together(make_plan: Make) -> None:
    assert machine.watches(make_plan(METER.replace("joint = true", ""))) == ()
    alone = METER.replace("streetlight/peacefair-pzem004t", "water/keller-30x").split("[devices.points]")[0]
    assert machine.watches(make_plan(alone)) == ()  # one gauge is no company
    plan = make_plan(METER)
    [watch] = machine.watches(plan)
    assert watch.name == "machine/pump"
    assert watch.step_s == max(plan.channels[i].period_s for i in watch.channels)
    assert machine.services(plan) == ()


def test_an_alarm_names_the_gauges_that_it_rests_on_and_ends(make_plan: Make) -> None:
    bench = Bench(make_plan(METER + SHORT))
    rows = usual(bench, 400)
    rows[200:300, 1] += 8.0
    rows[200:300, 2] -= 4.0
    (begun, onset), (over, clear) = bench.play(rows)
    assert 200 < begun < 215
    assert 300 < over < 360
    assert (onset.phase, clear.phase) == (Phase.ONSET, Phase.CLEAR)
    assert (onset.subject, onset.place_ko, onset.cause) == ("pump", "펌프실", "city")
    assert onset.score >= 10.0
    assert 200 * S <= onset.onset_ns <= begun * S == onset.time_ns
    for text in (onset.text_en, onset.text_ko):
        assert text.index(bench.gauges[1]) < text.index(bench.gauges[2])
        assert "%" in text
    assert [channel for channel, _ in onset.evidence] == [bench.watch.channels[1], bench.watch.channels[2]]
    assert clear.text_en == "pump runs as usual again"


def test_nothing_is_said_before_the_reference_is_known(make_plan: Make) -> None:
    bench = Bench(make_plan(METER))
    rows = usual(bench, 399)
    rows[200:] += 50.0
    assert bench.play(rows) == []


def test_a_gauge_that_comes_later_joins(make_plan: Make) -> None:
    bench = Bench(make_plan(METER + SHORT))
    rows = usual(bench, 500)
    rows[:200, 0] = np.nan
    rows[400:, 0] += 8.0
    [(begun, onset)] = bench.play(rows)
    assert 400 < begun < 420
    assert bench.gauges[0] in onset.text_en


def test_a_gauge_that_never_moves_is_left_out_until_it_does(make_plan: Make) -> None:
    bench = Bench(make_plan(METER + SHORT))
    rows = usual(bench, 700)
    rows[:250, 0] = 5.0
    assert bench.play(rows) == []


def test_an_alarm_that_stands_too_long_is_given_up_and_the_machine_learnt_anew(make_plan: Make) -> None:
    bench = Bench(make_plan(METER + SHORT))
    rows = usual(bench, 800)
    rows[200:] += 20.0
    rows[600:, 1] += 8.0
    said = bench.play(rows)
    assert [event.phase for _, event in said[:3]] == [Phase.ONSET, Phase.CLEAR, Phase.ONSET]
    assert said[1][0] == said[0][0] + 200
    assert "learnt as usual" in said[1][1].text_en
    assert 600 < said[2][0] < 620


def test_gaps_and_steps_of_the_clock_are_harmless(make_plan: Make) -> None:
    bench = Bench(make_plan(METER + SHORT))
    rows = usual(bench, 300)
    assert bench.play(rows[:150]) == []
    assert bench.play(rows[150:220], start=10_000_000) == []
    assert bench.play(rows[220:], start=1_000) == []


@pytest.mark.parametrize("at", [60, 150, 230])
def test_what_is_learnt_survives_a_restart(make_plan: Make, at: int) -> None:
    plan = make_plan(METER + SHORT)
    rows = usual(Bench(plan), 400)
    rows[200:300, 1] += 8.0
    whole = Bench(plan).play(rows)
    before = Bench(plan)
    said = before.play(rows[:at])
    after = Bench(plan, before.judge.learnt(0))
    said += after.play(rows[at:], start=at)
    assert [(i, event.phase, event.text_ko) for i, event in said] == [
        (i, event.phase, event.text_ko) for i, event in whole
    ]
    assert len(said) == 2


def test_another_reference_length_begins_anew(make_plan: Make) -> None:
    [here] = machine.watches(make_plan(METER + SHORT))
    [there] = machine.watches(make_plan(METER))
    assert isinstance(there, MachineWatch)
    assert not recall(there, remember(here))


def test_quiet_rows_extend_the_reference(make_plan: Make) -> None:
    bench = Bench(make_plan(METER + SHORT))
    watch = bench.watch
    assert isinstance(watch, MachineWatch)
    rows = usual(bench, 500)
    rows[100:, 1] += 0.8 * np.sin(np.arange(400) / 40.0)  # it wanders more than the first hundred rows showed
    learnt = {}
    for i, row in enumerate(rows, 1):
        assert watch.row(float(i), row) == ()
        if i in (100, 200, 400, 500):
            learnt[i] = watch.gauges[1].copy()
    for i in (100, 200, 400):
        assert learnt[i][joint.FREE] == joint.habits(np.ascontiguousarray(rows[:i, 1]), 0.0)[joint.FREE]
    assert learnt[400][joint.FREE] < learnt[100][joint.FREE]
    assert learnt[500][joint.SCALE] == learnt[400][joint.SCALE]
