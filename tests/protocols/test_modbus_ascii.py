"""Modbus ASCII: frames whole, in pieces, among noise; and the rules of a line without transaction ids."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest

from protocols.api import Link, Quality
from protocols.modbus.framing import ASCII, lrc
from protocols.modbus.planner import plan
from protocols.modbus.rtu import RtuReader
from protocols.testing import FakeStream

LINE = Link("line", "ascii:/dev/ttyS0", baud=9600)
PDU = peers.answer(3, 0, 10)
FRAME = ASCII.frame(1, PDU)
HEAD, SIZE = PDU[:2], len(PDU)


def test_the_frame_is_pymodbuss() -> None:
    theirs = FramerAscii(DecodePDU(True)).buildFrame(ReadHoldingRegistersRequest(dev_id=17, address=0x006B, count=3))
    assert ASCII.frame(17, bytes.fromhex("03 006B 0003")) == theirs == b":1103006B00037E\r\n"
    assert ASCII.characters(5) == len(theirs)
    assert lrc(bytes.fromhex("1103006B0003")) == 0x7E


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_a_frame_is_found_among_noise_and_in_lower_case(before: bytes, behind: bytes) -> None:
    for frame in (FRAME, FRAME.lower()):
        found = ASCII.find(before + frame + behind, 1, HEAD, SIZE)
        assert found is not None
        assert found.pdu == PDU


def test_a_frame_is_found_as_soon_as_it_is_whole_and_not_before() -> None:
    found = [ASCII.find(FRAME[:n], 1, HEAD, SIZE) is not None for n in range(len(FRAME) + 1)]
    assert found == [False] * len(FRAME) + [True]


@pytest.mark.parametrize("at", range(len(FRAME)))
def test_a_changed_frame_is_never_found(at: int) -> None:
    changed = bytearray(FRAME)
    changed[at] ^= 0x02
    assert ASCII.find(bytes(changed), 1, HEAD, SIZE) is None
    assert ASCII.find(FRAME[:at] + b" " + FRAME[at + 1 :], 1, HEAD, SIZE) is None


def test_what_is_not_asked_for_is_not_found() -> None:
    assert ASCII.find(FRAME, 2, HEAD, SIZE) is None
    assert ASCII.find(FRAME, 1, bytes((4, HEAD[1])), SIZE) is None
    assert ASCII.find(FRAME, 1, HEAD, SIZE - 2) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(line: bytes) -> None:
    ASCII.find(b":01" + line, 1, HEAD, SIZE)
    ASCII.candidates(b":01" + line + b"\r\n", 1, b"")


def test_wire_time_counts_two_characters_a_byte() -> None:
    (block,) = plan([peers.point(0, peers.device(delay_ms=7.0), 0)])
    assert block.wire_s(LINE) == pytest.approx((17 + 15) * 10 / 9600 + 0.007)


@pytest.mark.parametrize("delay_ms", [330, 360, 400, 700, 2400])
async def test_a_late_answer_is_never_another_blocks(delay_ms: int) -> None:
    """As on RTU: a debt until it has come."""
    asked: list[bytes] = []

    def answers(request: bytes) -> Iterable[tuple[float, bytes]]:
        asked.append(request)
        yield (delay_ms / 1000 if len(asked) == 1 else 0.03), peers.ascii_answer(request)

    reader = RtuReader(FakeStream(answers), LINE)
    device = peers.device()
    ops = plan([peers.point(b * 10 + i, device, 100 * b + i) for b in range(3) for i in range(2)])
    for _ in range(12):
        for op in ops:
            batch = await reader.read([op], 0.3)
            for channel, value in zip(batch.channel.tolist(), batch.value.tolist(), strict=True):
                assert np.isnan(value) or value == peers.register(100 * (channel // 10) + channel % 10)
    assert not (await reader.read(ops, 0.3)).quality.any()


async def test_answers_in_pieces_behind_noise_and_echo() -> None:
    def pieces(request: bytes) -> Iterable[tuple[float, bytes]]:
        yield 0.001, b"\x00:01"
        yield 0.02, request
        for i, byte in enumerate(peers.ascii_answer(request)):
            yield 0.1 + i * 0.002, bytes((byte,))

    reader = RtuReader(FakeStream(pieces), LINE)
    batch = await reader.read(plan([peers.point(0, peers.device(), 5)]), 0.5)
    assert batch.value.tolist() == [peers.register(5)]
    assert reader.counters["echoes"] == 1


async def test_a_wrong_check_is_data() -> None:
    def wrong(request: bytes) -> Iterable[tuple[float, bytes]]:
        reply = bytearray(peers.ascii_answer(request))
        reply[-3] ^= 1
        yield 0.02, bytes(reply)

    reader = RtuReader(FakeStream(wrong), LINE)
    batch = await reader.read(plan([peers.point(0, peers.device(), 5)]), 0.3)
    assert batch.quality.tolist() == [Quality.BAD_REPLY]
