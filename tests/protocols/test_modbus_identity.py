"""Who a device says it is: function 43/14 page by page, and texts in registers."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import suppress

import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.api import Identifier, Link
from protocols.modbus.codec import BadReply, Refused, mbap_frame, rtu_frame
from protocols.modbus.driver import connect, identify
from protocols.modbus.framing import ASCII
from protocols.modbus.identity import identity_request, identity_size, parse_identity, plain
from protocols.modbus.planner import plan
from protocols.modbus.points import Text
from protocols.modbus.rtu import RtuReader
from protocols.modbus.tcp import TcpReader
from protocols.testing import FakeStream

OBJECTS = {0: b"Acme", 1: b"M2", 2: b"V2.11", 5: b"long" * 20}


def page(first: int, most: int = 2) -> bytes:
    """What a device answers, `most` objects a page."""
    told = [number for number in OBJECTS if number >= first]
    body = b"".join(bytes((n, len(OBJECTS[n]))) + OBJECTS[n] for n in told[:most])
    more = bytes((0xFF, told[most])) if len(told) > most else b"\0\0"
    return b"\x2b\x0e\x01\x81" + more + bytes((len(told[:most]),)) + body


def test_the_standards_example() -> None:
    reply = bytes.fromhex("2B 0E 01 01 00 00 03 00 16") + b"Company identification"
    reply += bytes.fromhex("01 0F") + b"Product code XX" + bytes.fromhex("02 05") + b"V2.11"
    assert identity_request() == bytes.fromhex("2B 0E 01 00")
    assert identity_size(reply) == len(reply)
    assert parse_identity(reply).objects == {
        "vendor": "Company identification",
        "product": "Product code XX",
        "revision": "V2.11",
    }
    assert [identity_size(reply[:n]) for n in range(8)] == [None] * 8
    assert identity_size(reply[: len(reply) - 4]) == len(reply)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_identity_or_a_bad_reply(data: bytes) -> None:
    with suppress(BadReply, Refused):
        parse_identity(b"\x2b\x0e" + data)
    assert plain(data).isprintable()


@pytest.mark.parametrize("kind", ["tcp", "rtu", "ascii"])
async def test_pages_and_texts_are_put_together(kind: str) -> None:
    def pdu(request: bytes) -> bytes:
        if request[0] == 0x2B:
            return page(request[3])
        return bytes((3, 8)) + b"SN12345\0"

    def answers(request: bytes) -> Iterable[tuple[float, bytes]]:
        if kind == "tcp":
            yield 0.01, mbap_frame(*struct.unpack(">HxxxxB", request[:7]), pdu(request[7:]))
        elif kind == "rtu":
            frame = rtu_frame(request[0], pdu(request[1:-2]))
            yield 0.01, frame[:9]
            yield 0.03, frame[9:]
        else:
            body = bytes.fromhex(request[1:-2].decode())
            yield 0.01, ASCII.frame(body[0], pdu(body[1:-1]))

    stream = FakeStream(answers)
    device = peers.device(device_id=True, identity=(Text("serial_number", 40, 4),))
    reader = (
        TcpReader(stream, "tcp://fake")
        if kind == "tcp"
        else RtuReader(stream, Link("line", "serial:/x" if kind == "rtu" else "ascii:/x"))
    )
    assert await reader.identify(device, 0.5) == {
        "vendor": "Acme",
        "product": "M2",
        "revision": "V2.11",
        "model": "long" * 20,
        "serial_number": "SN12345",
    }
    assert isinstance(reader, Identifier)
    stream.peer = lambda request: ()
    assert await reader.identify(device, 0.5) == {}


async def test_a_device_whose_profile_says_nothing_is_not_asked() -> None:
    stream = FakeStream()
    assert await RtuReader(stream, Link("line", "serial:/x")).identify(peers.device(), 0.5) == {}
    assert stream.sent == []


async def test_against_pymodbus() -> None:
    registers = [SimData(0, values=[0x4142, 0x4300], datatype=DataType.REGISTERS)]
    told = ModbusDeviceIdentification(info={0: "Acme", 1: "M2", 2: "3.1"})
    server = ModbusTcpServer([SimDevice(1, registers)], address=("127.0.0.1", 0), identity=told)
    await server.serve_forever(background=True)
    try:
        assert server.transport is not None
        link = Link("pymodbus", f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}")
        assert await identify(link, 1) == {"vendor": "Acme", "product": "M2", "revision": "3.1"}
        device = peers.device(identity=(Text("name", 0, 2),))
        async with connect(link, plan([peers.point(0, device, 0)])) as reader:
            assert isinstance(reader, Identifier)
            assert await reader.identify(device, 1.0) == {"name": "ABC"}
    finally:
        await server.shutdown()
