"""Captures shown in words, and replayed as the device that they were taken from."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from gateway.field.capture import Frame, Line
from gateway.tools import capture_replay
from gateway.tools.capture_replay import Recorded, recorded
from gateway.tools.capture_words import row, table
from gateway.tools.spans import seconds
from protocols.api import Device, Link, Point, Quality
from protocols.modbus.crc import crc16
from protocols.modbus.driver import DRIVER
from protocols.modbus.points import Options, Register
from protocols.streams import open_stream

TCP = Line("net", "tcp://10.0.0.1:502", "modbus")
RTU = Line("line", "serial:/dev/ttyUSB0", "modbus", baud=115200)
ASCII = Line("old", "ascii:/dev/ttyUSB1", "modbus")
SERIAL = Line("radar", "serial:/dev/ttyS0", "serial", baud=115200)
S = 1_000_000_000


def rtu(text: str) -> bytes:
    data = bytes.fromhex(text)
    return data + struct.pack("<H", crc16(data))


def frames(*passed: tuple[bool, bytes], apart_s: float = 0.001) -> list[Frame]:
    return [Frame(0, round(n * apart_s * S), sent, data) for n, (sent, data) in enumerate(passed)]


@pytest.mark.parametrize(
    ("line", "sent", "data", "unit", "function", "words"),
    [
        (TCP, True, bytes.fromhex("000100000006010300000002"), 1, 3, "read holding 0-1"),
        (TCP, False, bytes.fromhex("0001000000070103040007ffff"), 1, 3, "= 7 65535"),
        (TCP, False, bytes.fromhex("000100000003018302"), 1, 3, "exception 2 illegal address"),
        (RTU, True, rtu("0a0600100007"), 10, 6, "write register 16 = 7"),
        (RTU, True, rtu("010100100009"), 1, 1, "read coils 16-24"),
        (RTU, False, rtu("010102ff01"), 1, 1, "= ff01"),
        (RTU, False, rtu("0103020007")[:-1] + b"\0", 1, 3, "CRC wrong"),
        (RTU, False, b"\xff\x00", None, None, "noise"),
        (ASCII, True, b":010300000002FA\r\n", 1, 3, "read holding 0-1"),
        (ASCII, True, b":010300000002FB\r\n", 1, 3, "LRC wrong"),
        (Line("n", "coap://h", "coap"), False, bytes.fromhex("60450001ff3231"), None, None, "ACK 2.05 id 1"),
        (SERIAL, False, b"+042\r\n", None, None, "+042"),
        (SERIAL, False, b"\x00\x01", None, None, "2 bytes"),
    ],
)
def test_a_frame_is_told_in_words(
    line: Line, sent: bool, data: bytes, unit: int | None, function: int | None, words: str
) -> None:
    one = row(line, Frame(0, 0, sent, data))
    assert (one["unit"], one["function"], one["words"]) == (unit, function, words)


def test_no_line_is_wider_than_the_terminal_and_no_byte_is_left_out() -> None:
    long = rtu("0103fa" + "0102" * 125)
    lines = list(table([row(RTU, Frame(0, 0, False, long)), row(RTU, Frame(0, 0, True, rtu("010300000001")))]))
    assert max(map(len, lines)) <= 80
    shown = "".join(line.strip().replace(" ", "") for line in lines if line.startswith("    "))
    assert shown == long.hex()
    assert lines[-1].endswith(" 010300000001840a")


@asynccontextmanager
async def replaying(line: Line, known: Recorded, port: int | None = None) -> AsyncIterator[str]:
    where: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(capture_replay.serve(line, known, port, where.set_result))
    try:
        yield await where
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def points(addresses: Sequence[int], timeout_ms: int) -> list[Point]:
    device = Device("m", 1, Options(timeout_ms=timeout_ms))
    return [Point(n, f"p{a}", device, Register(function=3, address=a), 1.0) for n, a in enumerate(addresses)]


async def test_a_line_answers_as_it_did_then_its_silence_too() -> None:
    ask = rtu("010300000002")
    passed = frames(
        (True, ask), (False, rtu("01030400070008")), (True, ask), (False, rtu("01030400090008")), (True, ask)
    )
    known = recorded(RTU, passed)
    ops = DRIVER.plan(points([0, 1], 150))
    async with replaying(RTU, known) as url:
        assert url.startswith("serial:/dev/pts/")
        async with DRIVER.connect(Link("again", url, baud=115200), ops) as reader:
            batches = [await reader.read(ops, 0.15) for _ in range(3)]
    assert [batch.value.tolist() for batch in batches[:2]] == [[7.0, 8.0], [9.0, 8.0]]
    assert set(batches[2].quality.tolist()) == {int(Quality.NO_REPLY)}
    assert (known.answered, known.unknown) == (2, 0)


async def test_registers_are_answered_however_they_are_asked_for() -> None:
    passed = frames((True, rtu("010300000003")), (False, rtu("010306000700080009")), (True, rtu("010300100001")))
    known = recorded(RTU, passed)
    ops = DRIVER.plan(points([1, 2], 500))
    async with replaying(RTU, known, 0) as url:
        assert url.startswith("rtu+tcp://")
        async with DRIVER.connect(Link("again", url), ops) as reader:
            batch = await reader.read(ops, 0.5)
    assert batch.value.tolist() == [8.0, 9.0]
    assert known.answer(bytes.fromhex("010300020002"), True) is None
    assert known.unknown == 1


async def test_what_spoke_by_itself_speaks_again() -> None:
    known = recorded(SERIAL, frames((False, b"+042\r\n"), (False, b"+043\r\n")))
    async with replaying(SERIAL, known) as url, open_stream(Link("again", url, baud=115200)) as stream:
        heard = b""
        async with asyncio.timeout(5.0):
            while heard.count(b"\r\n") < 3:
                heard += await stream.read(1.0)
    assert b"+042\r\n+043\r\n" in heard * 2


@pytest.mark.parametrize(("text", "expected"), [("45m", 2700.0), ("1h30m", 5400.0), ("60s", 60.0), ("90", 90.0)])
def test_lengths_of_time_as_people_type_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5x", "m"])
def test_any_other_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="length of time"):
        seconds(text)
