"""One line, no transaction ids: what may be believed, and when. Time is virtual except on the ptys."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable

import numpy as np
import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.api import Batch, Link, Point, Quality
from protocols.modbus.codec import rtu_frame
from protocols.modbus.driver import connect
from protocols.modbus.planner import ReadBlock, plan
from protocols.modbus.rtu import OWED_NS, RtuReader
from protocols.testing import FakeStream

LINE = Link("line", "serial:/dev/ttyS0", baud=9600)
CHAR_NS = 10 * 1_000_000_000 // 9600
METER = peers.device()

Answers = Callable[[bytes], Iterable[tuple[float, bytes]]]


def honest(request: bytes) -> Iterable[tuple[float, bytes]]:
    yield 0.02, peers.rtu_answer(request)


def line(answers: Answers = honest) -> tuple[FakeStream, RtuReader]:
    stream = FakeStream(answers)
    return stream, RtuReader(stream, LINE)


def blocks(points: Iterable[Point]) -> list[ReadBlock]:
    return list(plan(list(points)))


def far_apart(n: int, registers: int = 2, **options: object) -> list[ReadBlock]:
    """`n` blocks of the same function and length at other addresses."""
    device = peers.device(**options)
    return blocks(peers.point(10 * block + i, device, 100 * block + i) for block in range(n) for i in range(registers))


def quality(batch: Batch) -> set[int]:
    return set(batch.quality.tolist())


def assert_true(batch: Batch) -> None:
    """Whatever came as a value is what the slave holds at that channel's address."""
    for channel, value in zip(batch.channel.tolist(), batch.value.tolist(), strict=True):
        if not np.isnan(value):
            assert value == peers.register(100 * (channel // 10) + channel % 10)


async def test_values_and_their_time() -> None:
    stream, reader = line()
    (op,) = far_apart(1)
    batch = await reader.read([op], 0.3)
    assert_true(batch)
    assert quality(batch) == {Quality.GOOD}
    assert set(batch.time_ns.tolist()) == {stream.sent[0][0] + 20_000_000}


async def test_silence_before_every_request() -> None:
    stream, reader = line()
    await reader.read(far_apart(4), 0.3)
    answered = [at + 20_000_000 for at, _ in stream.sent]
    gaps = [sent - last for (sent, _), last in zip(stream.sent[1:], answered, strict=False)]
    assert min(gaps) >= 3.5 * CHAR_NS


async def test_a_device_gets_its_pause() -> None:
    stream, reader = line()
    await reader.read(far_apart(3, pause_ms=30.0), 0.3)
    assert min(np.diff([at for at, _ in stream.sent])) >= 50_000_000


# ---- the late answer


def late_once(delay_s: float) -> tuple[list[bytes], Answers]:
    """The first request is answered after `delay_s`, all others at once."""
    seen: list[bytes] = []

    def answers(request: bytes) -> Iterable[tuple[float, bytes]]:
        seen.append(request)
        yield (delay_s if len(seen) == 1 else 0.02), peers.rtu_answer(request)

    return seen, answers


@pytest.mark.parametrize("delay_ms", [*range(325, 420, 5), 700, 1300, 2400, 5000])
@pytest.mark.parametrize(
    "options", [{}, {"max_registers": 2}, {"forbidden": ((2, 99), (102, 199), (202, 299), (302, 399))}]
)
async def test_a_late_answer_is_never_another_blocks(delay_ms: int, options: dict[str, object]) -> None:
    _, answers = late_once(delay_ms / 1000)
    _stream, reader = line(answers)
    ops = far_apart(4, **options)
    for _ in range(12):
        for op in ops:
            assert_true(await reader.read([op], 0.3))
    assert reader.counters["timeouts"] == 1
    assert quality(await reader.read(ops, 0.3)) == {Quality.GOOD}


async def test_one_value_that_cannot_be_read_otherwise_is_probed_for() -> None:
    """A float32, nothing may be read behind it, and a device that answers in order."""
    asked: list[bytes] = []

    def in_order(request: bytes) -> Iterable[tuple[float, bytes]]:
        asked.append(request)
        yield (0.4 if len(asked) == 1 else 0.12), peers.rtu_answer(request)

    device = peers.device(max_registers=2)
    ops = blocks(peers.point(i, device, 100 * i, type="uint32") for i in range(2))
    _, reader = line(in_order)
    await reader.read(ops[:1], 0.3)
    batch = await reader.read(ops[1:], 0.3)
    assert batch.value.tolist() == [peers.register(100) * 65536 + peers.register(101)]
    assert (reader.counters["probes"], reader.counters["late"]) == (1, 1)


async def test_the_second_request_waits_while_the_first_answer_arrives() -> None:
    """The trap itself: request 2 has been sent, is answered by nobody, and answer 1 comes."""
    asked: list[bytes] = []

    def answers(request: bytes) -> Iterable[tuple[float, bytes]]:
        asked.append(request)
        if len(asked) == 1:
            yield 0.35, peers.rtu_answer(request)  # after its time-out, while request 2 is open

    _, reader = line(answers)
    first, second = far_apart(2)
    assert quality(await reader.read([first], 0.3)) == {Quality.NO_REPLY}
    assert quality(await reader.read([second], 0.3)) == {Quality.NO_REPLY}
    assert reader.counters["late"] == 1


async def test_a_late_answer_to_a_single_register_with_no_room_to_read_on() -> None:
    """Nothing else may be read there, so nothing is read until the answer cannot come any more."""
    _, answers = late_once(0.4)
    stream, reader = line(answers)
    ops = far_apart(2, registers=1, max_registers=1)
    assert quality(await reader.read(ops[:1], 0.3)) == {Quality.NO_REPLY}
    assert quality(await reader.read(ops[1:], 0.3)) == {Quality.NO_REPLY}
    assert len(stream.sent) == 1
    await stream.wait_until(stream.now_ns() + 200_000_000)
    # it may not be the last
    assert quality(await reader.read(ops[1:], 0.3)) == {Quality.NO_REPLY}
    await stream.wait_until(stream.now_ns() + OWED_NS)
    batch = await reader.read(ops, 0.3)
    assert_true(batch)
    assert quality(batch) == {Quality.GOOD}


async def test_a_device_that_refuses_to_read_on_is_probed() -> None:
    """Its table ends where the block ends."""
    seen: list[bytes] = []

    def strict(request: bytes) -> Iterable[tuple[float, bytes]]:
        seen.append(request)
        address, count = struct.unpack(">HH", request[2:6])
        reply = peers.rtu_answer(request) if address % 100 + count <= 2 else rtu_frame(1, b"\x83\x02")
        yield (0.35 if len(seen) == 1 else 0.02), reply

    _, reader = line(strict)
    ops = far_apart(2)
    await reader.read(ops[:1], 0.3)
    for _ in range(4):
        batch = await reader.read(ops[1:], 0.3)
        assert_true(batch)
        assert quality(batch) == {Quality.GOOD}


@given(st.data())
async def test_slow_and_dead_moments_never_deliver_a_wrong_value(data: st.DataObject) -> None:
    """Any delays up to 5 s, lost answers too, in-order slave, blocks of few lengths."""
    free_ns = 0

    def moody(request: bytes) -> Iterable[tuple[float, bytes]]:
        nonlocal free_ns
        delay_s = data.draw(st.sampled_from([0.01, 0.02, 0.1, 0.29, 0.31, 0.35, 0.6, 1.0, 4.9]))
        if data.draw(st.integers(0, 5)):
            free_ns = max(free_ns, stream.now_ns() + int(delay_s * 1e9))
            yield (free_ns - stream.now_ns()) / 1e9, peers.rtu_answer(request)

    stream, reader = line(moody)
    ops = far_apart(3, registers=data.draw(st.integers(1, 3)), max_registers=data.draw(st.integers(3, 5)))
    for _ in range(data.draw(st.integers(1, 12))):
        assert_true(await reader.read(data.draw(st.permutations(ops)), 0.3))


# ---- what else a line does


async def test_a_foreign_unit_is_not_believed() -> None:
    _, reader = line(lambda request: [(0.02, rtu_frame(9, peers.rtu_answer(request)[1:-2]))])
    assert quality(await reader.read(far_apart(1), 0.3)) == {Quality.BAD_REPLY}
    assert reader.counters["foreign"] == 1


async def test_the_answer_behind_a_foreign_frame_counts() -> None:
    def both(request: bytes) -> Iterable[tuple[float, bytes]]:
        yield 0.02, rtu_frame(9, peers.rtu_answer(request)[1:-2])
        yield 0.15, peers.rtu_answer(request)

    _, reader = line(both)
    assert quality(await reader.read(far_apart(1), 0.3)) == {Quality.GOOD}


async def test_a_truncated_answer_ends_when_the_line_falls_silent() -> None:
    stream, reader = line(lambda request: [(0.02, peers.rtu_answer(request)[:-3])])
    begun = stream.now_ns()
    assert quality(await reader.read(far_apart(1), 1.0)) == {Quality.BAD_REPLY}
    assert stream.now_ns() - begun < 150_000_000
    assert reader.counters["bad_replies"] == 1


async def test_a_corrupted_answer_is_not_believed() -> None:
    def corrupt(request: bytes) -> Iterable[tuple[float, bytes]]:
        reply = bytearray(peers.rtu_answer(request))
        reply[4] ^= 1
        yield 0.02, bytes(reply)

    _, reader = line(corrupt)
    assert quality(await reader.read(far_apart(1), 0.3)) == {Quality.BAD_REPLY}


async def test_a_duplicated_answer_is_taken_once() -> None:
    _stream, reader = line(lambda request: [(0.02, peers.rtu_answer(request)), (0.022, peers.rtu_answer(request))])
    for _ in range(3):
        batch = await reader.read(far_apart(3), 0.3)
        assert_true(batch)
        assert quality(batch) == {Quality.GOOD}
    assert reader.counters["foreign"] >= 8


async def test_answers_in_pieces_behind_noise_and_echo() -> None:
    def pieces(request: bytes) -> Iterable[tuple[float, bytes]]:
        yield 0.001, b"\x00"  # a driver switching on
        yield 0.009, request  # a two-wire adapter
        for i, byte in enumerate(peers.rtu_answer(request)):
            yield 0.2 + i * 0.001, bytes((byte,))

    _, reader = line(pieces)
    batch = await reader.read(far_apart(3), 0.5)
    assert_true(batch)
    assert quality(batch) == {Quality.GOOD}
    assert reader.counters["echoes"] == 3


async def test_noise_alone_is_no_answer() -> None:
    _stream, reader = line(lambda request: [(0.01 * i, b"\xff\x00\x7f") for i in range(20)])
    assert quality(await reader.read(far_apart(1), 0.3)) == {Quality.BAD_REPLY}


async def test_a_refusal_is_data() -> None:
    _, reader = line(lambda request: [(0.02, rtu_frame(1, b"\x83\x04"))])
    assert quality(await reader.read(far_apart(2), 0.3)) == {Quality.REFUSED}
    assert reader.counters["refused"] == 2


async def test_a_dead_unit_beside_a_live_one() -> None:
    dead, live = peers.device("dead", 2), peers.device("live", 1)
    gone = [peers.point(100 + i, dead, 50 * i) for i in range(6)]
    there = [peers.point(10 * i, live, 100 * i) for i in range(6)]
    ops = blocks([*gone, *there])
    stream, reader = line(lambda request: honest(request) if request[0] == 1 else ())
    for time_outs in (2, 1, 1):
        begun = stream.now_ns()
        batch = await reader.read(ops, 0.3)
        assert_true(Batch(*(column[batch.channel < 100] for column in batch)))
        assert set(batch.quality[batch.channel < 100].tolist()) == {Quality.GOOD}
        assert set(batch.quality[batch.channel >= 100].tolist()) == {Quality.NO_REPLY}
        assert len(batch.channel) == 12
        assert stream.now_ns() - begun < (time_outs * 0.33 + 6 * 0.06) * 1e9


async def test_a_block_that_is_never_answered_leaves_the_others_alone() -> None:
    ops = far_apart(4)
    _stream, reader = line(lambda request: honest(request) if request[3] else ())
    for _ in range(3):
        batch = await reader.read(ops, 0.3)
        assert set(batch.quality[batch.channel >= 10].tolist()) == {Quality.GOOD}
        assert set(batch.quality[batch.channel < 10].tolist()) == {Quality.NO_REPLY}


async def test_coils_and_registers_share_the_rules() -> None:
    device = peers.device()
    points = [peers.point(i, device, 300 + i, function=1) for i in range(9)]
    points += [peers.point(20 + i, device, 700 + i, function=1) for i in range(9)]
    _, answers = late_once(0.4)
    _, reader = line(answers)
    first, second = blocks(points)
    await reader.read([first], 0.3)
    for op in (second, first, second):
        batch = await reader.read([op], 0.3)
        assert quality(batch) == {Quality.GOOD}
        for channel, value in zip(batch.channel.tolist(), batch.value.tolist(), strict=True):
            assert value == peers.register(300 + channel if channel < 20 else 680 + channel) & 1


# ---- on real ptys


async def test_the_trap_on_a_real_pty() -> None:
    asked: list[bytes] = []

    def answers(request: bytes) -> Iterable[tuple[float, bytes]]:
        asked.append(request)
        if len(asked) != 2:
            yield (0.045 if len(asked) == 1 else 0.0), peers.rtu_answer(request)

    ops = far_apart(2, timeout_ms=30)
    async with peers.rtu_slave(answers) as (rig, _), connect(rig.link, ops) as reader:
        assert quality(await reader.read(ops[:1], 1.0)) == {Quality.NO_REPLY}
        assert quality(await reader.read(ops[1:], 1.0)) == {Quality.NO_REPLY}
        assert reader.counters["late"] == 1
        batch = await reader.read(ops, 1.0)
        assert_true(batch)
        assert quality(batch) == {Quality.GOOD}


async def test_nothing_is_waited_for_once_the_answer_is_whole() -> None:
    ops = far_apart(1)
    async with peers.rtu_slave() as (rig, _), connect(rig.link, ops) as reader:
        await asyncio.wait_for(reader.read(ops, 60.0), 5.0)
