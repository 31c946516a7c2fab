"""Rings of bytes, pcapng files and what drivers show of the bytes that pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field import capture, pcapng
from gateway.field.capture import Line
from gateway.field.tape import Piece, Tape
from protocols.api import Device, Link, Point, Tapped
from protocols.ble.inbox import Inbox
from protocols.ble.report import report
from protocols.modbus.planner import plan
from protocols.modbus.points import Options, Register
from protocols.modbus.rtu import RtuReader
from protocols.modbus.several import SeveralReaders
from protocols.modbus.tcp import TcpReader
from protocols.testing import FakeStream

LINES = [
    Line("a", "tcp://10.0.0.9:1502", "modbus"),
    Line("b", "serial:/dev/ttyUSB0", "modbus"),
    Line("c", "ascii:/dev/ttyUSB1", "modbus"),
    Line("d", "coap://node.local", "coap"),
    Line("e", "ble:hci0", "ble"),
    Line("f", "serial:/dev/ttyS0", "serial", why="gauge: no answer"),
]
PIECE = st.tuples(st.booleans(), st.binary(min_size=1, max_size=300))


@given(st.sampled_from(LINES), st.lists(PIECE, max_size=12), st.integers(0, 2**62))
def test_a_capture_gives_back_what_passed(line: Line, passed: list[tuple[bool, bytes]], utc_ns: int) -> None:
    tape = Tape(1 << 20)
    for number, (sent, data) in enumerate(passed):
        tape.add(sent, data, number * 1_000_000_000)  # so far apart that nothing is joined
    lines, frames = capture.read(capture.file([(line, tape.since())], utc_ns))
    assert lines == [line]
    assert [(frame.sent, frame.data) for frame in frames] == passed
    assert [frame.time_ns for frame in frames] == [utc_ns + number * 10**9 for number in range(len(passed))]


@given(st.binary(max_size=200))
def test_any_other_file_is_refused(data: bytes) -> None:
    for text in (data, pcapng.write([pcapng.Interface("x", 1)], [], "other") + data):
        try:
            capture.read(text)
        except ValueError:
            continue
        raise AssertionError("taken for a capture")


def test_pieces_of_one_answer_are_one_frame_and_two_answers_are_two() -> None:
    at = 1_000_000
    pieces = [
        Piece(0, 0, True, b"ask"),
        Piece(1, 9 * at, False, b"an"),
        Piece(2, 25 * at, False, b"swer"),
        Piece(3, 80 * at, False, b"late"),
        Piece(4, 81 * at, True, b"ask"),
        Piece(5, 82 * at, True, b"ask"),
    ]
    line = LINES[1]
    assert [(sent, data) for _, sent, data in capture.frames(line, pieces)] == [
        (True, b"ask"),
        (False, b"answer"),
        (False, b"late"),
        (True, b"ask"),
        (True, b"ask"),
    ]


def test_a_ring_forgets_the_oldest_and_tells_what_is_lacking() -> None:
    tape = Tape(1000)
    for number in range(100):
        tape.add(False, bytes(36), number)
    kept = tape.since()
    assert [piece.number for piece in kept] == list(range(90, 100))
    assert [piece.number for piece in tape.since(97)] == [97, 98, 99]
    assert tape.since(100) == []
    assert tape.next == 100


async def test_modbus_readers_show_each_byte_once_whoever_listened_before() -> None:
    device = Device("m", 1, Options(timeout_ms=100))
    ops = plan([Point(0, "p", device, Register(function=3, address=0), 1.0)])
    shown: list[tuple[bool, str]] = []
    stream = FakeStream(lambda data: [(0.001, data[:4] + bytes.fromhex("00050103020007"))])
    reader = TcpReader(stream, "tcp://x", ops)
    assert isinstance(reader, Tapped)
    reader.tap = lambda sent, data, time_ns: shown.append((sent, data.hex()))
    batch = await reader.read(ops, 1.0)
    assert batch.value.tolist() == [7.0]
    assert shown == [(True, "000100000006010300000001"), (False, "0001000000050103020007")]
    line = RtuReader(FakeStream(), Link("b", "serial:/dev/x"), ops)
    both = SeveralReaders([reader, TcpReader(FakeStream(), "tcp://y", ops)], ops)
    for one in (line, both):
        assert isinstance(one, Tapped)
        one.tap = None
    assert reader.tap is None


def test_an_advert_is_shown_as_the_controller_reports_it() -> None:
    event = report("A4:C1:38:00:11:22", {0x0499: b"\x05\x12"}, {"0000fcd2-0000-1000-8000-00805f9b34fb": b"\x40"})
    assert event.hex() == "043e" + "17" + "02010001" + "221100" + "38c1a4" + "0b" + "05ff99040512" + "0416d2fc40" + "7f"
    shown: list[bytes] = []
    inbox = Inbox([])
    inbox.tap = lambda sent, data, time_ns: shown.append(data)
    inbox.advert("A4:C1:38:00:11:22", {1: b"x"}, {}, 1)
    assert shown == []  # of addresses that no site declares nothing is kept


@pytest.mark.parametrize(
    ("url", "driver", "kind"),
    [
        ("tcp://h:1", "modbus", "mbtcp"),
        ("rtu+tcp://h:1", "modbus", "mbrtu"),
        ("ascii+tcp://h:1", "modbus", "ascii"),
        ("tcp://h:1", "serial", "serial"),
    ],
)
def test_a_link_is_named_by_what_it_speaks(url: str, driver: str, kind: str) -> None:
    assert Line("x", url, driver).kind == kind
