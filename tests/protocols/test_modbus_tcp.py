"""Many requests on one connection, believed by their ids; the rest is dropped and counted."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Iterable

import numpy as np
import peers
import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.api import Batch, Device, Link, LinkDown, Point, Quality
from protocols.modbus.codec import mbap_frame
from protocols.modbus.driver import connect
from protocols.modbus.planner import plan

GOOD, NO_REPLY = Quality.GOOD, Quality.NO_REPLY


def spread(device: Device, n: int, first: int = 0) -> list[Point]:
    """`n` points too far apart to be one request."""
    return [peers.point(first + i, device, 100 * i) for i in range(n)]


def outcome(batch: Batch) -> dict[int, tuple[int, float]]:
    return {int(c): (int(q), float(v)) for c, q, v in zip(batch.channel, batch.quality, batch.value, strict=True)}


def right(points: list[Point]) -> dict[int, tuple[int, float]]:
    return {p.channel: (int(GOOD), float(peers.register(p.spec.address))) for p in points}


async def test_up_to_depth_requests_are_under_way() -> None:
    meter = peers.device(depth=3)
    waiting: list[tuple[int, int, bytes]] = []
    deepest = 0

    def held(transaction: int, unit: int, pdu: bytes) -> Iterable[tuple[float, bytes]]:
        """Answers the last first, once three have come or nobody sends a fourth."""
        nonlocal deepest
        waiting.append((transaction, unit, pdu))
        deepest = max(deepest, len(waiting))
        if len(waiting) == 3 or len(slave.requests) == 7:
            for asked in reversed(waiting):
                yield from peers.honest(*asked)
            waiting.clear()

    points = spread(meter, 7)
    ops = plan(points)
    slave = peers.TcpSlave(held)
    async with slave.serve() as rig, connect(rig.link, ops) as reader:
        assert outcome(await reader.read(ops, 1.0)) == right(points)
    assert deepest == 3


async def test_dead_unit_beside_a_live_one_costs_one_time_out() -> None:
    live, dead = peers.device("live", 1, depth=4), peers.device("dead", 2, depth=2, timeout_ms=40)

    def half(transaction: int, unit: int, pdu: bytes) -> Iterable[tuple[float, bytes]]:
        return peers.honest(transaction, unit, pdu) if unit == 1 else ()

    alive, gone = spread(live, 9), spread(dead, 9, first=20)
    ops = plan([*alive, *gone])
    slave = peers.TcpSlave(half)
    async with slave.serve() as rig, connect(rig.link, ops) as reader:
        got = outcome(await reader.read(ops, 5.0))
    assert {c: got[c] for c in range(9)} == right(alive)
    assert {got[c][0] for c in range(20, 29)} == {NO_REPLY}
    assert sum(unit == 2 for _, unit, _ in slave.requests) == 2  # its depth, then it was given up


async def test_a_dead_unit_is_asked_last_once_known() -> None:
    dead, live = peers.device("dead", 2, timeout_ms=20), peers.device("live", 1)
    ops = plan([*spread(dead, 2, first=20), *spread(live, 2)])
    slave = peers.TcpSlave(lambda t, unit, pdu: peers.honest(t, unit, pdu) if unit == 1 else ())
    async with slave.serve() as rig, connect(rig.link, ops) as reader:
        for _ in range(2):
            assert [q for q, _ in outcome(await reader.read(ops, 5.0)).values()].count(NO_REPLY) == 2
    assert [unit for _, unit, _ in slave.requests] == [2, 1, 1, 1, 1, 2]


async def test_a_late_answer_is_dropped_and_counted() -> None:
    meter = peers.device(timeout_ms=30, depth=1)

    def late(transaction: int, unit: int, pdu: bytes) -> Iterable[tuple[float, bytes]]:
        delay_s = 0.045 if len(slave.requests) == 1 else 0.02
        for _, frame in peers.honest(transaction, unit, pdu):
            yield delay_s, frame

    points = spread(meter, 2)
    first, second = plan(points)
    slave = peers.TcpSlave(late)
    async with slave.serve() as rig, connect(rig.link, [first, second]) as reader:
        assert outcome(await reader.read([first], 1.0))[0][0] == NO_REPLY
        assert outcome(await reader.read([second], 1.0)) == right(points[1:])
        assert (reader.counters["late"], reader.counters["timeouts"]) == (1, 1)


async def test_duplicates_and_strangers_are_dropped_and_counted() -> None:
    def noisy(transaction: int, unit: int, pdu: bytes) -> Iterable[tuple[float, bytes]]:
        yield 0.0, mbap_frame((transaction + 900) & 0xFFFF, unit, peers.answer(3, 7, 1))
        yield from peers.honest(transaction, unit, pdu)
        yield from peers.honest(transaction, unit, pdu)

    points = spread(peers.device(depth=1), 3)
    ops = plan(points)
    async with peers.TcpSlave(noisy).serve() as rig, connect(rig.link, ops) as reader:
        for _ in range(3):
            assert outcome(await reader.read(ops, 1.0)) == right(points)
        assert reader.counters["foreign"] == 9
        assert reader.counters["duplicates"] >= 8  # the last may still be on its way


@pytest.mark.parametrize(
    ("pdu", "unit", "quality"),
    [
        (b"\x83\x02", 1, Quality.REFUSED),
        (b"\x83\x0b", 1, NO_REPLY),  # a gateway says that its target did not answer
        (b"\x84\x02", 1, Quality.BAD_REPLY),
        (b"\x03\x04\x00\x01\x00\x02", 1, Quality.BAD_REPLY),
        (b"\x03\x02\x00", 1, Quality.BAD_REPLY),
        (b"\x03\x02\x00\x01", 9, Quality.BAD_REPLY),
    ],
)
async def test_bad_answers_are_data(pdu: bytes, unit: int, quality: Quality) -> None:
    def wrong(transaction: int, asked: int, request: bytes) -> Iterable[tuple[float, bytes]]:
        address = struct.unpack(">H", request[1:3])[0]
        if address:
            yield from peers.honest(transaction, asked, request)
        else:
            yield 0.0, mbap_frame(transaction, unit, pdu)

    points = spread(peers.device(), 3)
    ops = plan(points)
    async with peers.TcpSlave(wrong).serve() as rig, connect(rig.link, ops) as reader:
        got = outcome(await reader.read(ops, 1.0))
    assert got[0][0] == quality
    assert np.isnan(got[0][1])
    assert {c: got[c] for c in (1, 2)} == right(points[1:])


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x01\x00\x00\xff\xff\x01\x03"])
async def test_a_far_end_that_is_no_modbus_is_a_dead_link(garbage: bytes) -> None:
    ops = plan(spread(peers.device(), 1))
    slave = peers.TcpSlave(lambda transaction, unit, pdu: [(0.0, garbage)])
    async with slave.serve() as rig, connect(rig.link, ops) as reader:
        with pytest.raises(LinkDown) as down:
            await reader.read(ops, 1.0)
    assert down.value.code == "CG-3010"


async def test_answers_to_a_cancelled_read_are_late() -> None:
    points = spread(peers.device(depth=2), 2)
    ops = plan(points)
    slave = peers.TcpSlave()
    async with slave.serve() as rig, connect(rig.link, ops) as reader:
        slave.mute(True)
        task = asyncio.ensure_future(reader.read(ops, 5.0))
        while len(slave.requests) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        held = list(slave.requests)

        def with_the_old(transaction: int, unit: int, pdu: bytes) -> Iterable[tuple[float, bytes]]:
            while held:
                yield from peers.honest(*held.pop())
            yield from peers.honest(transaction, unit, pdu)

        slave.frames = with_the_old
        slave.mute(False)
        assert outcome(await reader.read(ops, 1.0)) == right(points)
        assert reader.counters["late"] == 2


async def test_a_pause_leaves_one_request_under_way() -> None:
    points = spread(peers.device(pause_ms=5.0), 3)
    ops = plan(points)
    async with peers.TcpSlave().serve() as rig, connect(rig.link, ops) as reader:
        batch = await reader.read(ops, 1.0)
    assert outcome(batch) == right(points)
    assert np.diff(np.sort(batch.time_ns)).min() >= 5_000_000


@contextlib.asynccontextmanager
async def pymodbus_server() -> AsyncIterator[Link]:
    """An independent peer: pymodbus's own server, units 1 and 2, registers 0 to 199 that hold 3 * address."""
    registers = [SimData(0, values=[3 * i for i in range(200)], datatype=DataType.REGISTERS)]
    server = ModbusTcpServer([SimDevice(1, registers), SimDevice(2, registers)], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        assert server.transport is not None
        port = server.transport.sockets[0].getsockname()[1]
        yield Link("pymodbus", f"tcp://127.0.0.1:{port}")
    finally:
        await server.shutdown()


async def test_against_pymodbus() -> None:
    one, two = peers.device("one", 1, max_registers=20), peers.device("two", 2)
    points = [peers.point(i, one, i) for i in range(100)]
    points += [peers.point(100 + i, two, i, function=4) for i in range(50)]
    points += [peers.point(150, two, 500)]
    ops = plan(points)
    async with pymodbus_server() as link, connect(link, ops) as reader:
        got = outcome(await reader.read(ops, 2.0))
    assert {c: got[c] for c in range(100)} == {i: (0, 3.0 * i) for i in range(100)}
    assert {c: got[100 + c] for c in range(50)} == {i: (0, 3.0 * i) for i in range(50)}
    assert got[150][0] == Quality.REFUSED
