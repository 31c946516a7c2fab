"""What a device refuses is found out and left out, what is there keeps coming; time-outs follow the answers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

import numpy as np
import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.api import Batch, Link, Quality
from protocols.modbus.codec import mbap_frame, rtu_frame
from protocols.modbus.planner import ReadBlock, plan
from protocols.modbus.rtu import RtuReader
from protocols.modbus.tcp import TcpReader
from protocols.modbus.timing import ENOUGH, Timing
from protocols.testing import FakeStream

LINE = Link("line", "serial:/dev/ttyS0", baud=9600)
MINUTE_NS = 60_000_000_000
Pdu = Callable[[int, int, int], bytes]  # function, address, count -> PDU


def without(*holes: int, exception: int = 2) -> Pdu:
    def answers(function: int, address: int, count: int) -> bytes:
        if any(address <= hole < address + count for hole in holes):
            return bytes((function | 0x80, exception))
        return peers.answer(function, address, count)

    return answers


class Bench:
    """A reader on virtual time whose device answers as `pdu` says."""

    def __init__(self, kind: str, pdu: Pdu) -> None:
        self.pdu = pdu
        self.asked: list[tuple[int, int, int]] = []
        self.stream = FakeStream(self._line if kind == "rtu" else self._tcp)
        self.reader: RtuReader | TcpReader = (
            RtuReader(self.stream, LINE) if kind == "rtu" else TcpReader(self.stream, "tcp://fake")
        )

    def _line(self, request: bytes) -> Iterable[tuple[float, bytes]]:
        yield 0.02, rtu_frame(request[0], self._answer(request[1:-2]))

    def _tcp(self, requests: bytes) -> Iterable[tuple[float, bytes]]:
        for at in range(0, len(requests), 12):
            transaction, unit = struct.unpack_from(">HxxxxB", requests, at)
            yield 0.02, mbap_frame(transaction, unit, self._answer(requests[at + 7 : at + 12]))

    def _answer(self, pdu: bytes) -> bytes:
        asked = struct.unpack(">BHH", pdu)
        self.asked.append(asked)
        return self.pdu(*asked)

    async def read(self, ops: Iterable[ReadBlock], timeout_s: float = 0.5) -> dict[int, tuple[int, float]]:
        batch: Batch = await self.reader.read(list(ops), timeout_s)
        rows = zip(batch.channel.tolist(), batch.quality.tolist(), batch.value.tolist(), strict=True)
        found = {channel: (quality, value) for channel, quality, value in rows}
        assert len(found) == len(batch.channel), "a channel came twice"
        return found

    async def pause(self, ns: int) -> None:
        await self.stream.wait_until(self.stream.now_ns() + ns)


both = pytest.mark.parametrize("kind", ["rtu", "tcp"])


@both
async def test_a_hole_is_found_left_out_and_the_rest_keeps_coming(kind: str) -> None:
    device = peers.device()
    bench, ops = Bench(kind, without(37)), plan([peers.point(i, device, i) for i in range(100)])
    for _ in range(4):
        got = await bench.read(ops)
    assert {c for c, (quality, _) in got.items() if quality == Quality.REFUSED} == {37}
    assert all(got[c] == (0, peers.register(c)) for c in range(100) if c != 37)
    bench.asked.clear()
    await bench.read(ops)
    assert bench.asked == [(3, 0, 37), (3, 38, 62)]
    assert ops[0].learned.facts(bench.stream.now_ns())["holes"] == ["unit 1 FC3 37-37 (1 register)"]


@both
async def test_a_hole_between_values_is_walked_round(kind: str) -> None:
    addresses = [0, 1, 8, 9, 20]
    bench = Bench(kind, without(5))
    ops = plan([peers.point(i, peers.device(max_gap=20), a) for i, a in enumerate(addresses)])
    for _ in range(6):
        got = await bench.read(ops)
    assert {quality for quality, _ in got.values()} == {0}
    bench.asked.clear()
    await bench.read(ops)
    assert bench.asked == [(3, 0, 2), (3, 8, 13)]


@both
async def test_a_hole_is_tried_again_after_ten_minutes(kind: str) -> None:
    device = peers.device()
    bench, ops = Bench(kind, without(3)), plan([peers.point(i, device, i) for i in range(6)])
    for _ in range(4):
        await bench.read(ops)
    bench.asked.clear()
    await bench.pause(9 * MINUTE_NS)
    await bench.read(ops)
    assert (3, 3, 1) not in bench.asked
    await bench.pause(2 * MINUTE_NS)
    await bench.read(ops)
    assert bench.asked.count((3, 3, 1)) == 1
    await bench.read(ops)
    assert bench.asked.count((3, 3, 1)) == 1  # still refused: another ten minutes
    bench.pdu = without()
    await bench.pause(11 * MINUTE_NS)
    for _ in range(3):
        got = await bench.read(ops)
    assert {quality for quality, _ in got.values()} == {0}
    bench.asked.clear()
    await bench.read(ops)
    assert bench.asked == [(3, 0, 6)]  # joined again


@both
async def test_the_search_has_a_budget(kind: str) -> None:
    """A device that refuses everything does not take the line for itself."""
    device = peers.device()
    bench, ops = Bench(kind, without(*range(64))), plan([peers.point(i, device, i) for i in range(64)])
    most, turns = 0, 0
    while len(bench.asked) < 127:
        before = len(bench.asked)
        got = await bench.read(ops)
        assert {quality for quality, _ in got.values()} == {Quality.REFUSED}
        most, turns = max(most, len(bench.asked) - before), turns + 1
        assert turns < 60
    bench.asked.clear()
    await bench.read(ops)
    assert bench.asked == []
    assert most <= 48


@given(st.sets(st.integers(0, 59), max_size=12), st.sets(st.integers(0, 59), min_size=1), st.integers(0, 12))
async def test_whatever_is_refused_the_rest_arrives(holes: set[int], addresses: set[int], gap: int) -> None:
    device = peers.device(max_gap=gap)
    points = [peers.point(a, device, a) for a in sorted(addresses)]
    for kind in ("rtu", "tcp"):
        bench, ops = Bench(kind, without(*holes)), plan(points)
        for _ in range(40):
            got = await bench.read(ops)
        assert set(got) == addresses
        assert {a for a, (quality, _) in got.items() if quality == Quality.REFUSED} == addresses & holes
        assert all(got[a] == (0, peers.register(a)) for a in addresses - holes)
        bench.asked.clear()
        await bench.read(ops)
        assert not any(address <= h < address + count for _, address, count in bench.asked for h in holes)


@both
async def test_bits_of_a_refused_register_are_one_hole(kind: str) -> None:
    device = peers.device()
    bits = [peers.point(i, device, 4, bit=i) for i in range(3)]
    bench, ops = Bench(kind, without(4)), plan([*bits, peers.point(9, device, 5)])
    for _ in range(3):
        got = await bench.read(ops)
    assert {c: q for c, (q, _) in got.items()} == {0: 162, 1: 162, 2: 162, 9: 0}


@both
async def test_an_unknown_function_is_not_asked_again_for_ten_minutes(kind: str) -> None:
    device = peers.device()

    def only_holding(function: int, address: int, count: int) -> bytes:
        return peers.answer(function, address, count) if function == 3 else bytes((function | 0x80, 1))

    bench = Bench(kind, only_holding)
    ops = plan([peers.point(0, device, 0), peers.point(1, device, 0, function=4)])
    for _ in range(5):
        got = await bench.read(ops)
        assert (got[0][0], got[1][0]) == (Quality.GOOD, Quality.REFUSED)
    assert [function for function, *_ in bench.asked].count(4) == 1
    await bench.pause(11 * MINUTE_NS)
    await bench.read(ops)
    assert [function for function, *_ in bench.asked].count(4) == 2


@both
async def test_a_request_that_is_too_long_is_shortened(kind: str) -> None:
    device = peers.device()

    def short(function: int, address: int, count: int) -> bytes:
        return peers.answer(function, address, count) if count <= 30 else bytes((function | 0x80, 3))

    bench, ops = Bench(kind, short), plan([peers.point(i, device, i) for i in range(100)])
    for _ in range(4):
        got = await bench.read(ops)
    assert {quality for quality, _ in got.values()} == {0}
    bench.asked.clear()
    await bench.read(ops)
    assert [count for *_, count in bench.asked] == [25, 25, 25, 25]


@both
@pytest.mark.parametrize("exception", [5, 6])
async def test_a_busy_device_is_asked_again_and_loses_nothing(kind: str, exception: int) -> None:
    device = peers.device()
    bench, ops = Bench(kind, without(0, exception=exception)), plan([peers.point(i, device, i) for i in range(4)])
    assert {q for q, _ in (await bench.read(ops)).values()} == {Quality.REFUSED}
    assert (bench.reader.counters["busy"], bench.reader.counters["refused"]) == (1, 0)
    bench.pdu = without()
    assert {q for q, _ in (await bench.read(ops)).values()} == {0}
    assert bench.asked == [(3, 0, 4), (3, 0, 4)]


async def test_what_is_known_outlives_the_connection() -> None:
    device = peers.device()
    ops = plan([peers.point(i, device, i) for i in range(8)])
    for kind in ("rtu", "tcp"):
        bench = Bench(kind, without(2))
        for _ in range(3):
            await bench.read(ops)
        bench.asked.clear()
        again = Bench(kind, without(2))
        got = await again.read(ops)
        assert {c for c, (q, _) in got.items() if q} == {2}
        assert again.asked == [(3, 0, 2), (3, 3, 5)]


# ---- time-outs

MS = 1_000_000
FLOOR, CEILING = 50 * MS, 1000 * MS


def taught(*took_ms: float) -> Timing:
    timing = Timing()
    for took in took_ms:
        timing.answered(int(took * MS))
    return timing


def test_nobody_knows_a_new_unit() -> None:
    assert taught(*[20] * (ENOUGH - 1)).timeout_ns(FLOOR, CEILING) == CEILING


def test_a_quick_unit_gets_the_floor_and_a_slow_one_what_it_needs() -> None:
    assert taught(*[5] * 20).timeout_ns(FLOOR, CEILING) == FLOOR
    slow = taught(*[200] * 20).timeout_ns(FLOOR, CEILING)
    assert 400 * MS <= slow <= 500 * MS
    assert taught(*[900] * 20).timeout_ns(FLOOR, CEILING) == CEILING


@given(st.lists(st.floats(1, 400), min_size=ENOUGH, max_size=200))
def test_no_time_out_is_shorter_than_an_answer_of_late(took: list[float]) -> None:
    assert taught(*took).timeout_ns(FLOOR, CEILING) >= 0.999 * max(took[-30:]) * MS


@pytest.mark.parametrize(("answers", "few"), [(20, [50, 50, 50, 50]), (0, [1000, 1000, 1000, 250])])
def test_silence_costs_little_and_every_eighth_time_more(answers: int, few: list[int]) -> None:
    timing = taught(*[20] * answers)
    given_up = []
    for _ in range(16):
        given_up.append(timing.timeout_ns(FLOOR, CEILING))
        timing.missed()
    assert [ns // MS for ns in given_up[:4]] == few
    assert [at for at, ns in enumerate(given_up) if at > 2 and ns == 4 * few[-1] * MS] == [7, 15]
    assert set(given_up[3:]) == {few[-1] * MS, 4 * few[-1] * MS}
    for _ in range(ENOUGH):
        timing.answered(20 * MS)
    assert timing.timeout_ns(FLOOR, CEILING) == FLOOR
    timing.was_late()
    assert timing.timeout_ns(FLOOR, CEILING) == CEILING


@both
async def test_a_unit_that_dies_costs_short_time_outs_and_one_that_became_slow_is_found(kind: str) -> None:
    device = peers.device()
    bench, ops = Bench(kind, without()), plan([peers.point(0, device, 0)])
    for _ in range(20):
        await bench.read(ops)
    floor_s = 0.03 if kind == "rtu" else 0.25
    honest, bench.stream.peer = bench.stream.peer, lambda data: ()
    begun = bench.stream.now_ns()
    assert {q for q, _ in (await bench.read(ops)).values()} == {Quality.NO_REPLY}
    assert bench.stream.now_ns() - begun < (floor_s + 0.1) * 1e9
    bench.stream.peer = lambda data: [(1.5, answer) for _, answer in honest(data)]
    seen = []
    for _ in range(60):
        seen.append({q for q, _ in (await bench.read(ops, 2.0)).values()})
        await bench.pause(300 * MS)
    assert seen[-1] == {0}
    assert bench.reader.counters["late"] >= 1
    assert np.all([s == {0} for s in seen[40:]])


async def test_a_short_time_out_shortens_no_debt() -> None:
    """An answer may be five seconds later than the configured time-out, whatever has been learned."""
    device = peers.device(max_registers=1)
    bench, ops = Bench("rtu", without()), plan([peers.point(i, device, 100 * i) for i in range(2)])
    for _ in range(20):
        await bench.read(ops)
    honest, bench.stream.peer = bench.stream.peer, lambda data: ()
    asked_ns = bench.stream.now_ns()
    await bench.read(ops[:1], 0.5)
    (late,) = (frame for _, frame in honest(bench.stream.sent[-1][1]))

    def as_late_as_can_be(request: bytes) -> Iterable[tuple[float, bytes]]:
        """Whoever asks too early gets the old answer."""
        return [(0.01, late)] if bench.stream.now_ns() - asked_ns < 5_500 * MS else honest(request)

    bench.stream.peer = as_late_as_can_be
    for _ in range(600):
        quality, value = (await bench.read(ops[1:], 0.5))[1]
        assert quality == Quality.NO_REPLY or value == peers.register(100)
        await bench.pause(10 * MS)
    assert await bench.read(ops, 0.5) == {i: (0, peers.register(100 * i)) for i in range(2)}
