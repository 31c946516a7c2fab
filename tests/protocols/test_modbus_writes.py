"""Writes: the inverse of decoding, only what the profile allows, once, and read back."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any

import peers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.api import Link, Point, Quality, Writer
from protocols.modbus.codec import Decoder, mbap_frame, rtu_frame
from protocols.modbus.driver import connect
from protocols.modbus.encoding import encode, tolerance
from protocols.modbus.framing import ASCII
from protocols.modbus.planner import plan
from protocols.modbus.points import check
from protocols.modbus.rtu import RtuReader
from protocols.modbus.tcp import TcpReader
from protocols.testing import FakeStream

METER = peers.device()
TYPES = ("uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64", "bcd16", "bcd32",
         "mod10k32", "mod10k64")  # fmt: skip


def writable(address: int = 0, limits: tuple[float, float] = (-1e18, 1e18), **keys: Any) -> Point:
    plain = peers.point(0, keys.pop("device", METER), address, **keys)
    return Point(0, plain.name, plain.device, plain.spec, 1.0, plain.scale, plain.offset, limits)


@given(
    st.sampled_from(TYPES),
    st.sampled_from(("ABCD", "CDAB", "BADC", "DCBA")),
    st.floats(-1e6, 1e6),
    st.sampled_from((1.0, 0.1, 0.001, 10.0, -0.5, 2.5)),
    st.sampled_from((0.0, -40.0, 1.5)),
)
def test_what_is_encoded_decodes_to_it(kind: str, order: str, value: float, scale: float, offset: float) -> None:
    point = writable(type=kind, order=order, scale=scale, offset=offset)
    try:
        data = encode(point, value)
    except ValueError:
        assume(False)
    got, absent = Decoder([point], 3, 0).decode(data)
    assert absent is None
    assert abs(got[0] - value) <= tolerance(point, value)


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (70000.0, {}),
        (-1.0, {}),
        (40000.0, {"type": "int16"}),
        (1e6, {"type": "float16"}),
        (12345.0, {"type": "bcd16"}),
        (-1e8, {"type": "mod10k32"}),
        (65535.0, {"nan": (0xFFFF,)}),
        (-1.0, {"type": "int16", "nan": (0xFFFF,)}),
        (math.nan, {"type": "float32"}),
        (math.inf, {"type": "float32"}),
        (0.5, {"function": 1}),
    ],
)
def test_what_the_encoding_cannot_say_is_refused(value: float, keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"beyond|not a number|coil|not available"):
        encode(writable(**keys), value)


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"function": 4}, "writable"),
        ({"function": 2}, "writable"),
        ({"bit": 3}, "writable"),
        ({"mask": 0xFF}, "writable"),
        ({"type": "uint8"}, "writable"),
        ({"type": "date48"}, "writable"),
    ],
)
def test_what_can_only_be_read_cannot_be_declared_writable(keys: dict[str, object], key: str) -> None:
    assert [fault[1] for fault in check(METER, [writable(**keys)])] == [key]
    assert check(METER, [writable()]) == check(METER, [writable(function=1)]) == ()


class Slave:
    """One device with memory, and what it refuses."""

    def __init__(self, kind: str) -> None:
        self.kind, self.registers, self.coils = kind, dict[int, int](), dict[int, int]()
        self.seen: list[bytes] = []
        self.lacks: set[int] = set()
        self.silent = False
        self.stuck = False
        self.stream = FakeStream(self._answer)
        self.reader: RtuReader | TcpReader
        if kind == "tcp":
            self.reader = TcpReader(self.stream, "tcp://fake")
        else:
            self.reader = RtuReader(self.stream, Link("line", "serial:/x" if kind == "rtu" else "ascii:/x"))

    def _answer(self, request: bytes) -> Iterable[tuple[float, bytes]]:
        if self.kind == "tcp":
            pdu = self._pdu(request[7:])
            frame = mbap_frame(int.from_bytes(request[:2], "big"), request[6], pdu)
        elif self.kind == "rtu":
            frame = rtu_frame(request[0], self._pdu(request[1:-2]))
        else:
            body = bytes.fromhex(request[1:-2].decode())
            frame = ASCII.frame(body[0], self._pdu(body[1:-1]))
        if not self.silent:
            yield 0.02, frame

    def _pdu(self, pdu: bytes) -> bytes:
        self.seen.append(pdu)
        function, address = pdu[0], int.from_bytes(pdu[1:3], "big")
        if function in self.lacks:
            return bytes((function | 0x80, 1))
        if function in (1, 3):
            (count,) = struct.unpack(">H", pdu[3:5])
            if function == 1:
                bits = sum(self.coils.get(address + i, 0) << i for i in range(count))
                return bytes((1, (count + 7) // 8)) + bits.to_bytes((count + 7) // 8, "little")
            words = [self.registers.get(address + i, 0) for i in range(count)]
            return bytes((3, 2 * count)) + struct.pack(f">{count}H", *words)
        if self.stuck:
            return pdu[:5]
        match function:
            case 5:
                self.coils[address] = pdu[3] == 0xFF
            case 6:
                self.registers[address] = int.from_bytes(pdu[3:5], "big")
            case 15:
                self.coils[address] = pdu[6] & 1
            case 16:
                for i in range(pdu[5] // 2):
                    self.registers[address + i] = int.from_bytes(pdu[6 + 2 * i : 8 + 2 * i], "big")
        return pdu[:5]


everywhere = pytest.mark.parametrize("kind", ["tcp", "rtu", "ascii"])


@everywhere
@pytest.mark.parametrize(
    ("keys", "value", "function"),
    [
        ({"scale": 0.1}, 21.5, 6),
        ({"type": "float32", "order": "CDAB"}, 607.597, 16),
        ({"type": "int32"}, -123456.0, 16),
        ({"function": 1}, 1.0, 5),
        ({"function": 1}, 0.0, 5),
    ],
)
async def test_a_value_is_written_once_and_read_back(
    kind: str, keys: dict[str, Any], value: float, function: int
) -> None:
    slave, point = Slave(kind), writable(7, **keys)
    outcome = await slave.reader.write(point, value, 0.5)
    assert outcome.quality == Quality.GOOD
    assert outcome.value == pytest.approx(value, abs=tolerance(point, value))
    assert [pdu[0] for pdu in slave.seen] == [function, point.spec.function]
    assert isinstance(slave.reader, Writer)


@everywhere
async def test_a_device_without_the_short_function_gets_the_long_one_from_then_on(kind: str) -> None:
    slave = Slave(kind)
    slave.lacks = {5, 6}
    assert (await slave.reader.write(writable(3), 9.0, 0.5)).quality == Quality.GOOD
    assert (await slave.reader.write(writable(4), 8.0, 0.5)).quality == Quality.GOOD
    assert [pdu[0] for pdu in slave.seen] == [6, 16, 3, 16, 3]
    assert (await slave.reader.write(writable(3, function=1), 1.0, 0.5)).quality == Quality.GOOD
    assert slave.coils == {3: 1}


@everywhere
async def test_nothing_is_sent_that_is_not_allowed(kind: str) -> None:
    slave = Slave(kind)
    closed = peers.point(0, METER, 5)
    assert (await slave.reader.write(closed, 1.0, 0.5)).quality == Quality.REFUSED
    limited = writable(5, (10.0, 20.0))
    for value in (9.9, 20.1, math.nan, math.inf):
        assert (await slave.reader.write(limited, value, 0.5)).quality == Quality.OUT_OF_RANGE
    assert (await slave.reader.write(writable(5), 70000.0, 0.5)).quality == Quality.OUT_OF_RANGE
    assert slave.seen == []


@everywhere
async def test_what_became_of_it_is_said(kind: str) -> None:
    slave = Slave(kind)
    slave.stuck = True
    outcome = await slave.reader.write(writable(5), 40.0, 0.5)
    assert (outcome.quality, outcome.value) == (Quality.SUSPECT, 0.0)
    assert "reads back 0" in outcome.detail
    slave.lacks = {6, 16}
    outcome = await slave.reader.write(writable(5), 40.0, 0.5)
    assert (outcome.quality, outcome.detail) == (Quality.REFUSED, "illegal function")
    slave.silent = True
    before = len(slave.seen)
    assert (await slave.reader.write(writable(5), 40.0, 0.5)).quality == Quality.NO_REPLY
    assert len(slave.seen) == before + 1  # never twice


async def test_a_late_echo_is_no_reading() -> None:
    """The echo of a write comes while a read is under way on the same line."""
    slave = Slave("rtu")
    answer, slave.stream.peer = slave.stream.peer, lambda data: [(0.7, frame) for _, frame in slave._answer(data)]
    assert (await slave.reader.write(writable(3), 9.0, 0.5)).quality == Quality.NO_REPLY
    slave.stream.peer = answer
    for _ in range(3):
        batch = await slave.reader.read(plan([peers.point(0, METER, 3)]), 0.5)
        assert batch.value.tolist() == [9.0]


async def test_against_pymodbus() -> None:
    registers = [SimData(0, values=[0] * 50, datatype=DataType.REGISTERS)]
    server = ModbusTcpServer([SimDevice(1, registers)], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        assert server.transport is not None
        link = Link("pymodbus", f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}")
        one, two = writable(4, scale=0.5), writable(10, type="float64", order="CDAB")
        async with connect(link, plan([one])) as reader:
            assert isinstance(reader, Writer)
            for value in (0.0, 17.5, 100.0):
                assert (await reader.write(one, value, 1.0)).quality == Quality.GOOD
            outcome = await reader.write(two, -math.pi, 1.0)
            assert (outcome.quality, outcome.value) == (Quality.GOOD, -math.pi)
    finally:
        await server.shutdown()
