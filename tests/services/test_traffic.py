"""Loops: volume, occupancy and speed from a waveform whose vehicles are known, and a loop that never lets go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
options = { spacing_m = 4.5 }
[services.traffic]
stuck_on_s = 6
interval_s = 10
"""
RATE = 500


def feed(plan: Plan, station: LoopStation, waves: np.ndarray) -> tuple[dict[str, list[float]], list[Event]]:
    """Push columns of two loops in bursts of 10 samples; values of the derived points, by name."""
    found: dict[str, list[float]] = {}
    events: list[Event] = []
    for at in range(0, len(waves), 10):
        part = waves[at : at + 10]
        batch = Batch(
            np.tile(np.array(station.channels, np.int32), len(part)),
            np.repeat((at + 1 + np.arange(len(part))) * (10**9 // RATE), 2).astype(np.int64),
            part.reshape(-1).copy(),
            np.zeros(part.size, np.uint8),
        )
        readings, more = station.push(batch)
        events += more
        for channel, _, value in readings:
            found.setdefault(plan.channels[channel].point, []).append(value)
    return found, events


def test_volume_occupancy_and_speed_of_known_traffic(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    traffic = LoopTraffic(2, RATE, 4.5)
    waves = np.concatenate([traffic.samples(at, RATE) for at in range(0, 60 * RATE, RATE)])
    found, events = feed(plan, station, waves)
    passed = [v for v in traffic.log if v[0] + (v[2] + 6.5) / v[1] < 60]
    assert events == []
    assert sum(found["volume1"]) == len([v for v in traffic.log if v[0] + (v[2] + 2) / v[1] < 60])
    assert len(found["occupancy1"]) == 6
    assert all(0 < share < 100 for share in found["occupancy1"])
    speeds = [v[1] * 3.6 for v in passed]
    assert len(found["speed"]) >= len(speeds)
    errors = np.abs(np.array(found["speed"][: len(speeds)]) / np.array(speeds) - 1)
    assert np.median(errors) < 0.02


def test_a_loop_on_without_a_break_is_stuck_at_that_very_sample_and_ends(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    waves = np.random.default_rng(3).normal(0, 0.01, (30 * RATE, 2))
    waves[5 * RATE : 20 * RATE, 1] += 3.0
    _, events = feed(plan, station, waves)
    assert [(e.code, e.phase, e.subject) for e in events] == [
        ("traffic.loop_stuck", Phase.ONSET, "l.loop2"),
        ("traffic.loop_stuck", Phase.CLEAR, "l.loop2"),
    ]
    assert abs(events[0].time_ns / 1e9 - 11.0) < 0.03
    assert abs(events[1].time_ns / 1e9 - 20.0) < 0.2


def test_an_empty_lane_counts_nothing(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    [station] = stations(plan)
    found, events = feed(plan, station, np.random.default_rng(4).normal(0, 0.01, (20 * RATE, 2)))
    assert events == []
    assert found == {"volume1": [0, 0], "volume2": [0, 0], "occupancy1": [0, 0], "occupancy2": [0, 0]}
