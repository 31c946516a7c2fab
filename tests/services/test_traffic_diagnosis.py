"""Detector diagnosis and incidents: rows of volume and occupancy in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gateway.services.memory import recall, remember
from gateway.services.traffic import services, watches
from gateway.services.traffic.diagnosis import Diagnosis
from gateway.services.traffic.incident import Incidents
from gateway.services.watch import Finding
from gateway.services.words import WORDS
from gateway.site.plan import Plan
from gateway.spool.records import Phase

LOOPS = """
[[links]]
name = "loops"
url = "serial:/dev/ttyUSB0"
[[devices]]
name = "up"
profile = "traffic/raw-loop-stream"
link = "loops"
options = { spacing_m = 4.5 }
[[links]]
name = "loops2"
url = "serial:/dev/ttyUSB1"
[[devices]]
name = "down"
profile = "traffic/raw-loop-stream"
link = "loops2"
[services.traffic]
adjacent = [["up", "down"]]
"""
LD120 = """
[[links]]
name = "bus"
url = "tcp://127.0.0.1:502"
[[devices]]
name = "d"
profile = "traffic/pce-ld120"
link = "bus"
"""
START = 1_700_000_000.0


def diagnosis(plan: Plan, device: str) -> Diagnosis:
    return next(w for w in watches(plan) if isinstance(w, Diagnosis) and w.name == f"traffic/{device}")


def run(
    watch: Diagnosis | Incidents, rows: Sequence[Sequence[float]], start_s: float = START
) -> list[tuple[float, Finding]]:
    found: list[tuple[float, Finding]] = []
    for n, row in enumerate(rows):
        at = start_s + n * watch.step_s
        for finding in watch.row(at, np.array(row, float)):
            word = WORDS[finding.code]
            for text in (
                (word.onset_en, word.onset_ko) if finding.phase is Phase.ONSET else (word.clear_en, word.clear_ko)
            ):
                said = text.format(subject=finding.subject, **finding.numbers)
                assert all(name in said for name in finding.subject.split("-"))
            found.append((at - start_s, finding))
    return found


def codes(found: list[tuple[float, Finding]]) -> list[tuple[str, Phase]]:
    return [(finding.code.removeprefix("traffic."), finding.phase) for _, finding in found]


def traffic(rows: int, seed: int = 1) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    volume = rng.poisson(6, rows)
    return [[float(v), float(v), o, o] for v, o in zip(volume, volume * 2.0 + rng.uniform(0, 1, rows), strict=True)]


def test_ordinary_traffic_is_no_finding(make_plan: Callable[[str], Plan]) -> None:
    assert run(diagnosis(make_plan(LOOPS), "up"), traffic(3000)) == []


def test_too_many_vehicles_are_chatter_and_it_ends(make_plan: Callable[[str], Plan]) -> None:
    rows = traffic(40)
    for n in (10, 11):
        rows[n][0] = 45.0
        rows[n][1] = 45.0
    watch = diagnosis(make_plan(LOOPS), "up")
    assert watch.step_s == 30
    found = run(watch, rows)
    assert codes(found)[:2] == [("detector_chatter", Phase.ONSET)] * 2
    assert codes(found)[2:] == [("detector_chatter", Phase.CLEAR)] * 2
    assert found[0][1].subject == "up.volume1"


def test_four_hours_without_a_vehicle_are_no_hits(make_plan: Callable[[str], Plan]) -> None:
    rows = [*traffic(10), *([[0.0, 5.0, 0.0, 9.0], [0.0, 6.0, 0.0, 10.0]] * 260), *traffic(5)]
    found = [f for f in run(diagnosis(make_plan(LOOPS), "up"), rows) if f[1].code == "traffic.detector_no_hits"]
    assert codes(found) == [("detector_no_hits", Phase.ONSET), ("detector_no_hits", Phase.CLEAR)]
    assert found[0][0] == pytest.approx(300 + 4 * 3600 - 30)
    assert found[0][1].since_s == START + 300


def test_a_day_of_the_same_value_is_a_frozen_output(make_plan: Callable[[str], Plan]) -> None:
    rows = [[7.0, 7.0, 12.0, 12.0]] * 2890
    found = run(diagnosis(make_plan(LOOPS), "up"), rows)
    assert codes(found) == [("detector_no_change", Phase.ONSET)] * 2


def test_two_loops_of_a_lane_that_disagree(make_plan: Callable[[str], Plan]) -> None:
    rows = traffic(400)
    for row in rows[100:200]:
        row[1] = float(round(row[0] * 0.7))
    found = run(diagnosis(make_plan(LOOPS), "up"), rows)
    assert codes(found) == [("pair_mismatch", Phase.ONSET), ("pair_mismatch", Phase.CLEAR)]
    assert found[0][1].numbers["other"] == "up.volume2"


def test_a_counting_detector_is_judged_by_its_steps(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(LD120)
    watch = diagnosis(plan, "d")
    rng = np.random.default_rng(2)
    count = 2.0**32 - 50 + np.cumsum(rng.poisson(6, 40))
    count[20:] += 60
    found = run(watch, [[c % 2.0**32] for c in count])
    assert codes(found) == [("detector_chatter", Phase.ONSET), ("detector_chatter", Phase.CLEAR)]
    assert len(services(plan)[0].conditions) == 3


def test_full_occupancy_locks_a_detector_on_but_a_raw_loop_knows_better(make_plan: Callable[[str], Plan]) -> None:
    rows = [*traffic(10), *([[0.0, 0.0, 100.0, 100.0]] * 10), *traffic(10)]
    watch = diagnosis(make_plan(LOOPS), "up")
    assert run(watch, rows) == []
    plain = diagnosis(make_plan(LOOPS), "up")
    plain.detectors = [
        type(d)(d.name, d.volume, d.occupancy, d.counts_on, False, d.rollover, d.period_s, d.ramp, d.pair)
        for d in plain.detectors
    ]
    found = run(plain, rows)
    assert codes(found) == [("detector_locked_on", Phase.ONSET)] * 2 + [("detector_locked_on", Phase.CLEAR)] * 2
    assert found[0][0] == pytest.approx(300 + 120 - 30)


def test_what_it_learnt_survives(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(LOOPS)
    rows = [[7.0, 7.0, 12.0, 12.0]] * 2890
    whole = codes(run(diagnosis(plan, "up"), rows))
    first = diagnosis(plan, "up")
    before = codes(run(first, rows[:1500]))
    second = diagnosis(plan, "up")
    assert recall(second, remember(first))
    assert before + codes(run(second, rows[1500:], START + 1500 * 30)) == whole


def test_a_blocked_road_is_an_incident(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(LOOPS)
    [watch] = [w for w in watches(plan) if isinstance(w, Incidents)]
    assert watch.step_s == 60
    calm = [[12.0, 13.0, 11.0, 12.0]] * 10
    blocked = [[28.0, 30.0, 10.0, 9.0], [35.0, 38.0, 6.0, 5.0], [40.0, 42.0, 5.0, 5.0]]
    found = run(watch, [*calm, *blocked, *calm])
    assert codes(found) == [("incident", Phase.ONSET), ("incident", Phase.CLEAR)]
    assert found[0][1].subject == "up-down"
    queue = [[30.0 + n, 30.0, 28.0 + n, 29.0] for n in range(8)]
    [other] = [w for w in watches(plan) if isinstance(w, Incidents)]
    assert run(other, [*calm, *queue, *calm]) == []


def test_missing_rows_and_values_are_no_finding(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(LOOPS)
    nothing = [[np.nan] * 4] * 3000
    for watch in watches(plan):
        assert isinstance(watch, (Diagnosis, Incidents))
        assert run(watch, nothing) == []
        assert run(watch, nothing, START + 1e7) == []
