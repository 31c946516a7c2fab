"""Bytes of real devices and of every type; frames whole, in pieces and behind noise."""

from __future__ import annotations

import math
import struct

import numpy as np
import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.api import Point
from protocols.modbus import codec
from protocols.modbus.crc import crc16
from protocols.modbus.framing import RTU

METER = peers.device()


def find_reply(line: bytes, unit: int, function: int, expected: int) -> codec.Found | None:
    """The answer to a read, or a refusal, as the transactions look for them."""
    found = (
        RTU.find(line, unit, bytes((function, expected)), expected + 2),
        RTU.find(line, unit, bytes((function | 0x80,)), 2),
    )
    return next((one for one in found if one), None)


def value(data: bytes, **keys: object) -> float:
    """What a block of `data` from register 0 reads as one point."""
    return float(codec.Decoder([peers.point(0, METER, 0, **keys)], 3, 0).decode(data)[0][0])


@pytest.mark.parametrize(
    "frame",
    [
        "01 03 00 00 00 0A C5 CD",
        "02 04 00 00 00 09 30 3F",
        "02 04 06 00 00 00 00 00 01 B5 A3",
        "F0 03 00 00 00 02 D1 2A",
        "F0 03 04 E6 3A 44 17 7E B7",
        "01 04 04 43 66 33 33 5A FA",
        "01 84 02 C2 C1",
        "01 04 14 08 FE 04 D2 00 00 0B 12 00 00 30 39 00 00 02 58 00 62 00 00 5C DA",
        "61 03 00 28 00 06 4C 60",
        "01 03 00 09 00 02 14 09",
        "01 02 00 00 00 08 79 CC",
    ],
)
def test_crc_of_published_frames(frame: str) -> None:
    adu = bytes.fromhex(frame)
    assert crc16(adu[:-2]).to_bytes(2, "little") == adu[-2:]
    assert codec.rtu_frame(adu[0], adu[1:-2]) == adu


@pytest.mark.parametrize(
    ("request_", "reply", "keys", "expected"),
    [
        ("F0 03 00 00 00 02 D1 2A", "F0 03 04 E6 3A 44 17 7E B7", {"type": "float32", "order": "CDAB"}, 607.597),
        ("01 04 00 00 00 02 71 CB", "01 04 04 43 66 33 33 5A FA", {"function": 4, "type": "float32"}, 230.2),
        (
            "01 04 00 00 00 0A 70 0D",
            "01 04 14 08 FE 04 D2 00 00 0B 12 00 00 30 39 00 00 02 58 00 62 00 00 5C DA",
            {"function": 4, "address": 5, "type": "uint32", "order": "CDAB"},
            12345,
        ),
        (
            "61 03 00 28 00 06 4C 60",
            "61030C43DB8C2E41D9E7FF42433A1B5007",
            {"address": 0x2A, "type": "float32"},
            27.2383,
        ),
    ],
)
def test_golden_captures(request_: str, reply: str, keys: dict[str, object], expected: float) -> None:
    address = int(keys.pop("address", 0))  # type: ignore[call-overload]
    point = peers.point(0, METER, address, **keys)
    got = codec.decode([point], bytes.fromhex(request_), bytes.fromhex(reply))
    assert got == {point.name: pytest.approx(expected, rel=1e-5)}


def test_capture_over_tcp_and_points_outside_it() -> None:
    request = codec.mbap_request(7, 1, 3, 10, 2)
    reply = codec.mbap_frame(7, 1, peers.answer(3, 10, 2))
    inside, half, other = (
        peers.point(0, METER, 11),
        peers.point(1, METER, 11, type="uint32"),
        peers.point(2, METER, 10, function=4),
    )
    assert codec.decode([inside, half, other], request, reply) == {inside.name: peers.register(11)}


@pytest.mark.parametrize(
    ("request_", "reply", "reason"),
    [
        ("01 04 00 00 00 02 71 CB", "01 84 02 C2 C1", "exception 2"),
        ("01 04 00 00 00 02 71 CB", "F0 03 04 E6 3A 44 17 7E B7", "unit 240"),
        ("01 04 00 00 00 02 71 CB", "01 04 04 43 66 33 33 5A FB", "CRC would be 5a fa"),
        ("01 04 00 00 00 02 71 CB", "01 04", "too short"),
        ("01 03 00 00 00 0A C5 CD", "01 04 04 43 66 33 33 5A FA", "function 4"),
        ("01 04 00 00 00 0A 70 0D", "01 04 04 43 66 33 33 5A FA", "instead of 20"),
        ("", "01 04 04 43 66 33 33 5A FA", "request is too short"),
    ],
)
def test_captures_that_prove_nothing(request_: str, reply: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        codec.decode([peers.point(0, METER, 0)], bytes.fromhex(request_), bytes.fromhex(reply))


ORDERS = {"ABCD": (0, 0), "CDAB": (1, 0), "BADC": (0, 1), "DCBA": (1, 1)}  # (words turned, bytes turned)
FORMATS = {
    "uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "uint64": ">Q", "int64": ">q",
    "float16": ">e", "float32": ">f", "float64": ">d",
}  # fmt: skip


def on_the_wire(data: bytes, order: str) -> bytes:
    """Plain reference: big-endian `data` as a device with this order sends it."""
    turned_words, turned_bytes = ORDERS[order]
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    words = words[::-1] if turned_words else words
    return b"".join(word[::-1] if turned_bytes else word for word in words)


@given(st.binary(min_size=240, max_size=240), st.data())
def test_blocks_agree_with_struct(block: bytes, data: st.DataObject) -> None:
    points, expected = [], []
    for channel in range(data.draw(st.integers(1, 12))):
        kind, order = data.draw(st.sampled_from(sorted(FORMATS))), data.draw(st.sampled_from(sorted(ORDERS)))
        size = struct.calcsize(FORMATS[kind])
        address = data.draw(st.integers(0, 120 - size // 2))
        points.append(peers.point(channel, METER, 1000 + address, type=kind, order=order, scale=0.5, offset=3.0))
        wire = block[2 * address : 2 * address + size]
        expected.append(struct.unpack(FORMATS[kind], on_the_wire(wire, order))[0] * 0.5 + 3.0)
    decoder = codec.Decoder(points, 3, 1000)
    got, absent = decoder.decode(block + b"longer")
    for row, channel in enumerate(decoder.order):
        if math.isfinite(expected[channel]):
            assert got[row] == expected[channel]
        else:
            assert np.isnan(got[row])
            assert absent is not None
            assert absent[row]


@pytest.mark.parametrize("order", sorted(ORDERS))
def test_bcd_in_every_order(order: str) -> None:
    assert value(on_the_wire(bytes.fromhex("12345678"), order), type="bcd32", order=order) == 12345678
    assert value(on_the_wire(bytes.fromhex("0987"), order), type="bcd16", order=order) == 987
    assert math.isnan(value(bytes.fromhex("ffff"), type="bcd16"))


@given(st.integers(-(10**16) + 1, 10**16 - 1), st.sampled_from(sorted(ORDERS)), st.booleans())
def test_four_digits_a_register_in_every_order(number: int, order: str, wide: bool) -> None:
    """Power meters' "modulo 10000": each register a signed number of four digits, all of one sign."""
    count = 4 if wide else 2
    number = number if wide else number % 10**8 * (1 if number >= 0 else -1)
    sign, digits = (-1 if number < 0 else 1), f"{abs(number):0{4 * count}d}"
    words = [sign * int(digits[at : at + 4]) for at in range(0, 4 * count, 4)]
    data = on_the_wire(struct.pack(f">{count}h", *words), order)
    assert value(data, type="mod10k64" if wide else "mod10k32", order=order) == float(number)


@pytest.mark.parametrize("words", [(10_000, 0), (0, -10_000), (0x8000, 0), (1, -1), (-1, 1)])
def test_more_than_four_digits_a_register_are_no_number(words: tuple[int, int]) -> None:
    assert math.isnan(value(struct.pack(">2H", *(word & 0xFFFF for word in words)), type="mod10k32"))


def test_bits_and_masks_share_a_register() -> None:
    points = [
        *(peers.point(i, METER, 0, bit=i) for i in range(16)),
        peers.point(16, METER, 0, mask=0xF0),
        peers.point(17, METER, 0),
        peers.point(18, METER, 0, type="int16", mask=0x8001),
    ]
    decoder = codec.Decoder(points, 3, 0)
    got, _ = decoder.decode(b"\xa5\x3c")
    by_channel = dict(zip(decoder.order, got, strict=True))
    assert [by_channel[i] for i in range(16)] == [(0xA53C >> i) & 1 for i in range(16)]
    assert (by_channel[16], by_channel[17], by_channel[18]) == (0x30, 0xA53C, -0x8000)


def test_coils_come_least_bit_first() -> None:
    points = [peers.point(i, METER, 100 + i, function=2) for i in range(19)]
    got, _ = codec.Decoder(points, 2, 100).decode(bytes.fromhex("CD6B05"))
    assert got.tolist() == [(0x056BCD >> i) & 1 for i in range(19)]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        ("8000", {"type": "int16", "nan": (0x8000,)}),
        ("8000", {"type": "int16", "nan": (-32768,)}),
        ("FFFF", {"nan": (0x7FFF, 0xFFFF), "scale": 0.1}),
        ("FFFF", {"nan": (0xFFFF,), "bit": 3}),
        ("80000000", {"type": "int32", "nan": (-(2**31), 2**31 - 1)}),
        ("7FC00000", {"type": "float32"}),
        ("7F800001", {"type": "float32"}),
        ("FF800000", {"type": "float32"}),
        ("C479C000", {"type": "float32", "nan": (-999,)}),
        ("7FF8000000000000", {"type": "float64"}),
        ("7FF0000000000001", {"type": "float64", "scale": 0.5}),
        ("7FEFFFFFFFFFFFFF", {"type": "float64", "scale": 10.0}),
    ],
)
def test_what_a_device_says_instead_of_a_value(data: str, keys: dict[str, object]) -> None:
    _, absent = codec.Decoder([peers.point(0, METER, 0, **keys)], 3, 0).decode(bytes.fromhex(data))
    assert math.isnan(value(bytes.fromhex(data), **keys))
    assert absent is not None
    assert absent.tolist() == [True]


def test_sentinel_of_one_is_none_of_the_others() -> None:
    points = [peers.point(i, METER, i, nan=(5,) if i == 1 else ()) for i in range(3)]
    got, absent = codec.Decoder(points, 3, 0).decode(bytes.fromhex("000500050005"))
    assert absent is not None
    assert absent.tolist() == [False, True, False]
    assert np.isnan(got).tolist() == [False, True, False]


def test_mbap_whole_in_pieces_and_with_more_behind() -> None:
    frames = [codec.mbap_frame(i, 1, peers.answer(3, i, 10)) for i in range(4)]
    stream = b"".join(frames)
    whole = codec.MbapParser().push(stream)
    assert [f.transaction for f in whole] == [0, 1, 2, 3]
    piecewise = codec.MbapParser()
    assert [f for i in range(len(stream)) for f in piecewise.push(stream[i : i + 1])] == whole
    behind = codec.MbapParser()
    assert behind.push(stream + frames[0][:9]) == whole
    assert behind.push(frames[0][9:]) == whole[:1]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_mbap_survives_any_bytes(pieces: list[bytes]) -> None:
    parser = codec.MbapParser()
    try:
        for piece in pieces:
            parser.push(piece)
    except codec.BadReply:
        pass


REPLY = codec.rtu_frame(1, peers.answer(3, 0, 10))


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_a_reply_is_found_behind_noise(before: bytes, behind: bytes) -> None:
    found = find_reply(before + REPLY + behind, 1, 3, 20)
    assert found is not None
    assert found.pdu == REPLY[1:-2]


def test_a_reply_is_found_as_soon_as_it_is_whole_and_not_before() -> None:
    found = [find_reply(REPLY[:n], 1, 3, 20) is not None for n in range(len(REPLY) + 1)]
    assert found == [False] * len(REPLY) + [True]


@pytest.mark.parametrize("at", range(len(REPLY)))
def test_a_changed_reply_is_never_found(at: int) -> None:
    changed = bytearray(REPLY)
    changed[at] ^= 0x10
    assert find_reply(bytes(changed), 1, 3, 20) is None


def test_replies_to_others_are_not_ours() -> None:
    assert find_reply(REPLY, 2, 3, 20) is None
    assert find_reply(REPLY, 1, 4, 20) is None
    assert find_reply(REPLY, 1, 3, 18) is None
    assert find_reply(codec.rtu_frame(1, b"\x83\x02"), 1, 3, 20) == codec.Found(b"\x83\x02", 5)


def test_points_keep_their_own_scale() -> None:
    points = [peers.point(i, METER, i, scale=10.0**-i, offset=float(i)) for i in range(3)]
    got, _ = codec.Decoder(points, 3, 0).decode(bytes.fromhex("000A000A000A"))
    assert got.tolist() == pytest.approx([10.0, 2.0, 2.1])
    assert isinstance(points[0], Point)
