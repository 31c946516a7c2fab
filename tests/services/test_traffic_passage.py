"""Which signals are one vehicle: pairs, wrong way, straddlers, crosstalk, lorries in pieces, several lanes."""

from __future__ import annotations

import numpy as np
import pytest

from fastpath.loop import LoopBank
from gateway.services.traffic.passage import Pair, Passages, Vehicle, neighbours

RATE = 250.0
LOOP_M = 2.0
SPACING_M = 4.5


def signal(
    times: np.ndarray, nose_s: float, speed: float, length: float, height: float, dip: float = 1.0
) -> np.ndarray:
    """A vehicle over a loop: nose over its near edge at `nose_s`, metres a second, metres, percent; `dip` is what its
    middle half shows."""
    body = np.linspace(0, length, 60)
    shape = np.where(abs(body / length - 0.5) < 0.25, dip, 1.0)
    place = (times - nose_s)[:, None] * speed - body[None, :]
    field = np.where((place > 0) & (place < LOOP_M), np.sin(np.pi * np.clip(place / LOOP_M, 0, 1)), 0.0) * shape
    return height * field.sum(1) * (length / 60) / (2 * LOOP_M / np.pi)


class Road:
    """Lanes with two loops each; vehicles are added, then everything is run."""

    def __init__(self, lanes: int, seconds: float, cross: float = 0.0) -> None:
        self.times = np.arange(round(seconds * RATE)) / RATE
        self.waves = np.zeros((len(self.times), 2 * lanes))
        self.lanes = lanes
        self.cross = cross

    def add(
        self,
        lane: int,
        nose_s: float,
        speed: float = 15.0,
        length: float = 4.5,
        height: float = 3.0,
        dip: float = 1.0,
        share: float = 0.0,
    ) -> None:
        """Negative speed: the wrong way. `share` of it shows on the next lane as well, as of a straddler."""
        for place in range(2):
            later = (place if speed > 0 else 1 - place) * SPACING_M / abs(speed)
            wave = signal(self.times, nose_s + later, abs(speed), length, height, dip)
            self.waves[:, 2 * lane + place] += wave
            if share:
                self.waves[:, 2 * lane + 2 + place] += share * wave

    def run(self) -> list[Vehicle]:
        lane = [n // 2 for n in range(2 * self.lanes)]
        shown = np.zeros_like(self.waves)
        for a in range(2 * self.lanes):
            for b in range(2 * self.lanes):
                if abs(lane[a] - lane[b]) == 1 and a % 2 == b % 2:
                    shown[:, a] += self.cross * self.waves[:, b]
        waves = self.waves + shown + np.random.default_rng(2).normal(0, 0.005, self.waves.shape)
        bank = LoopBank(2 * self.lanes, RATE, near=neighbours(lane))
        pairs = [Pair(2 * n, 2 * n + 1, SPACING_M) for n in range(self.lanes)]
        passages = Passages(bank, pairs, lane, [LOOP_M] * 2 * self.lanes)
        found: list[Vehicle] = []
        for at in range(0, len(waves), 12):
            found += passages.take(bank.push(waves[at : at + 12]))
        return found


def test_speed_and_length_of_a_car() -> None:
    road = Road(1, 8)
    road.add(0, 3.0, speed=17.0, length=4.2)
    found = road.run()
    assert [v.loop for v in found] == [0, 1]
    assert found[0].on / RATE == pytest.approx(3.0, abs=0.02)
    for vehicle in found:
        assert vehicle.speed_kmh == pytest.approx(17.0 * 3.6, rel=0.005)
        assert vehicle.length_m == pytest.approx(4.2, abs=0.4)


def test_against_the_lane_is_negative_amid_others() -> None:
    road = Road(1, 30)
    for k in range(5):
        road.add(0, 3.0 + 2.0 * k)
    road.add(0, 15.0, speed=-12.0)
    for k in range(4):
        road.add(0, 19.0 + 2.0 * k)
    speeds = [v.speed_kmh for v in road.run()]
    assert len(speeds) == 20
    assert [round(s) for s in speeds if s < 0] == [-43, -43]


def test_tailgating_keeps_its_order() -> None:
    road = Road(1, 12)
    for k in range(6):
        road.add(0, 3.0 + 0.75 * k, speed=15.0, length=4.0 + 0.2 * k, height=2.0 + 0.3 * k)
    found = road.run()
    assert len(found) == 12
    assert all(v.speed_kmh == pytest.approx(54.0, rel=0.01) for v in found)


def test_crosstalk_is_no_vehicle_even_before_it_is_learnt() -> None:
    road = Road(2, 40, cross=0.07)
    for k in range(12):
        road.add(0, 3.0 + 3.0 * k, height=2.0 + 0.15 * k)
    assert {v.loop for v in road.run()} == {0, 1}


def test_a_motorcycle_beside_a_car_counts() -> None:
    road = Road(2, 60, cross=0.06)
    for k in range(16):
        road.add(0, 3.0 + 3.0 * k)
    road.add(1, 45.1, length=2.0, height=0.8)
    found = [v for v in road.run() if v.loop >= 2]
    assert [v.loop for v in found] == [2, 3]


def test_a_straddler_belongs_to_the_stronger_lane_only() -> None:
    road = Road(2, 20)
    road.add(0, 5.0, share=0.5)
    road.add(0, 12.0, share=1.6)
    assert [v.loop for v in road.run()] == [0, 1, 2, 3]


def test_cars_side_by_side_are_two() -> None:
    road = Road(2, 12)
    road.add(0, 5.0, speed=15.0, length=4.4)
    road.add(1, 5.05, speed=15.5, length=4.0, height=2.5)
    assert sorted(v.loop for v in road.run()) == [0, 1, 2, 3]


def test_a_lorry_that_one_loop_sees_in_pieces_is_one() -> None:
    road = Road(1, 12)
    road.add(0, 5.0, length=14.0, height=1.6, dip=0.1)
    inside = (road.times > 5.8) & (road.times < 6.0)
    road.waves[inside, 1] = 0.0
    found = road.run()
    assert [v.loop for v in found] == [0, 1]


def test_a_vehicle_that_stands_on_the_trailing_loop_is_told_for_the_leading_one() -> None:
    road = Road(1, 40)
    road.add(0, 3.0, speed=10.0)
    stood = signal(road.times, 3.45, 10.0, 4.5, 3.0)
    top = int(np.argmax(stood))
    leaves = 35 * round(RATE)
    road.waves[top:leaves, 1] = stood[top]
    road.waves[leaves : leaves + 200, 1] = stood[top : top + 200]
    found = road.run()
    assert found[0].loop == 0
    assert found[0].speed_kmh == pytest.approx(36.0, rel=0.1)
    assert found[1].loop == 1
    assert found[1].off / RATE == pytest.approx(35.4, abs=0.3)
