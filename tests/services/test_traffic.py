"""Loop stations: volume, occupancy, speed and length from a waveform whose vehicles are known; loops out of order;
drivers the wrong way; what survives a restart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gateway.field.judge import Judge
from gateway.services.traffic import LoopStation, stations
from gateway.sim.serial import LoopTraffic
from gateway.site.plan import Plan
from gateway.spool.records import Event, Phase
from protocols.api import Batch

SITE = """
[[links]]
name = "loops"
url = "serial:/dev/ttyUSB0"
[[devices]]
name = "l"
profile = "traffic/raw-loop-stream"
link = "loops"
options = { spacing_m = 4.5, loop_len_m = 2.0 }
[services.traffic]
stuck_on_s = 6
interval_s = 10
"""
RATE = 500


def feed(
    plan: Plan, station: LoopStation, waves: np.ndarray, start: int = 0
) -> tuple[dict[str, list[float]], list[Event]]:
    """Push columns of two loops in bursts of 10 samples; values of the derived points, by name."""
    found: dict[str, list[float]] = {}
    events: list[Event] = []
    for at in range(0, len(waves), 10):
        part = waves[at : at + 10]
        batch = Batch(
            np.tile(np.array(station.channels, np.int32), len(part)),
            np.repeat((start + at + np.arange(len(part))) * (10**9 // RATE), 2).astype(np.int64),
            part.reshape(-1).copy(),
            np.zeros(part.size, np.uint8),
        )
        readings, more = station.push(batch)
        events += more
        for channel, _, value in readings:
            found.setdefault(plan.channels[channel].point, []).append(value)
    return found, events


def lanes_waves(seconds: int, seed: int = 7) -> tuple[LoopTraffic, np.ndarray]:
    traffic = LoopTraffic(2, RATE, 4.5, seed)
    return traffic, np.concatenate([traffic.samples(at, RATE) for at in range(0, seconds * RATE, RATE)])


def test_volume_occupancy_speed_and_length_of_known_traffic(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    traffic, waves = lanes_waves(60)
    found, events = feed(plan, station, waves)
    passed = [v for v in traffic.log if v[0] + (v[2] + 6.5) / v[1] < 59]
    assert events == []
    assert abs(sum(found["volume1"]) - len(passed)) <= 1
    assert len(found["occupancy1"]) == 6
    assert all(0 < share < 100 for share in found["occupancy1"])
    assert len(found["speed"]) >= len(passed)
    for n, v in enumerate(passed):
        assert found["speed"][n] == pytest.approx(v[1] * 3.6, rel=0.01)
        assert found["length"][n] == pytest.approx(v[2], abs=0.5)
    first = station.vehicles[0]
    assert first.on_ns / 1e9 == pytest.approx(traffic.log[0][0], abs=0.05)
    assert first.speed_kmh == pytest.approx(traffic.log[0][1] * 3.6, rel=0.01)
    assert sum(found["volume_medium"]) + sum(found["volume_long"]) == len([v for v in passed if v[2] >= 5.6])


def test_a_driver_the_wrong_way_is_signed_and_told(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    _, waves = lanes_waves(20)
    found, events = feed(plan, station, waves[:, ::-1].copy())
    assert "speed" not in found
    assert [(e.code, e.phase, e.subject) for e in events] == [("traffic.wrong_way", Phase.ONSET, "l.loop1")]
    assert all(v.speed_kmh < 0 for v in station.vehicles)
    _, later = feed(plan, station, np.random.default_rng(1).normal(0, 0.01, (70 * RATE, 2)), start=20 * RATE)
    assert [(e.code, e.phase) for e in later] == [("traffic.wrong_way", Phase.CLEAR)]


def test_a_loop_that_jumps_on_is_stuck_at_that_very_sample_and_ends(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    waves = np.random.default_rng(3).normal(0, 0.01, (30 * RATE, 2))
    waves[5 * RATE : 20 * RATE, 1] += 3.0
    _, events = feed(plan, station, waves)
    assert [(e.code, e.phase, e.subject) for e in events] == [
        ("traffic.loop_stuck", Phase.ONSET, "l.loop2"),
        ("traffic.loop_stuck", Phase.CLEAR, "l.loop2"),
    ]
    assert abs(events[0].time_ns / 1e9 - 11.0) < 0.05
    assert abs(events[0].onset_ns / 1e9 - 5.0) < 0.01
    assert abs(events[1].onset_ns / 1e9 - 20.0) < 0.2
    assert "6 s" in events[0].text_en
    assert "6초" in events[0].text_ko


def test_chatter_and_open_loops_are_told_with_their_kind(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    waves = np.random.default_rng(3).normal(0, 0.01, (60 * RATE, 2))
    for first in range(5 * RATE, 10 * RATE, 150):
        waves[first : first + 60, 0] += 1.0
    waves[12 * RATE : 15 * RATE, 1] = -20.0
    found, events = feed(plan, station, waves)
    assert [(e.code, e.phase, e.subject) for e in events] == [
        ("traffic.loop_chatter", Phase.ONSET, "l.loop1"),
        ("traffic.loop_open", Phase.ONSET, "l.loop2"),
        ("traffic.loop_chatter", Phase.CLEAR, "l.loop1"),
        ("traffic.loop_open", Phase.CLEAR, "l.loop2"),
    ]
    assert sum(found["volume1"]) == sum(found["volume2"]) == 0


def test_an_empty_lane_counts_nothing(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    found, events = feed(plan, station, np.random.default_rng(4).normal(0, 0.01, (20 * RATE, 2)))
    assert events == []
    assert set(found) == {"volume1", "volume2", "occupancy1", "occupancy2", "volume_medium", "volume_long"}
    assert all(values == [0, 0] for values in found.values())


def test_a_stuck_loop_stands_through_a_restart_and_is_told_once(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    waves = np.random.default_rng(3).normal(0, 0.01, (20 * RATE, 2))
    waves[5 * RATE :, 1] += 3.0
    _, [onset] = feed(plan, station, waves)
    [after] = stations(plan)
    after.restore_levels(station.levels)
    after.restore(onset)
    waves = np.random.default_rng(3).normal(0, 0.01, (20 * RATE, 2))
    waves[: 10 * RATE, 1] += 3.0
    _, events = feed(plan, after, waves, start=25 * RATE)
    assert [(e.code, e.phase) for e in events] == [("traffic.loop_stuck", Phase.CLEAR)]


def test_a_hole_in_the_stream_is_time_without_samples(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    _, waves = lanes_waves(30)
    feed(plan, station, waves[: 15 * RATE])
    first = len(station.vehicles)
    feed(plan, station, waves[20 * RATE :], start=20 * RATE)
    assert first > 0
    assert len(station.vehicles) > first
    assert all(v.on_ns / 1e9 < 15.2 or v.on_ns / 1e9 > 19.9 for v in station.vehicles)


def test_what_loops_show_of_their_neighbours_goes_over_a_restart(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    judge = Judge(plan, 0, 0, [])
    [station] = judge._stations
    learnt = np.array([[[0.0, 0.12], [0.08, 0.0]], [[0.0, 40.0], [31.0, 0.0]]])
    station.crosstalk = learnt
    [after] = Judge(plan, 0, 0, [], learnt=judge.learnt(0))._stations
    assert after.crosstalk.tolist() == learnt.tolist()
    other = make_plan(SITE.replace('name = "l"', 'name = "m"'))
    [foreign] = Judge(other, 0, 0, [], learnt=judge.learnt(0))._stations
    assert not foreign.crosstalk.any()
