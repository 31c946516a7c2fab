"""Frames of real devices, whole, byte by byte, behind garbage; and nothing but verified frames from any bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from protocols.api import Device, Point
from protocols.serial import codec
from protocols.serial.faults import check
from protocols.serial.points import Check, Field, Fixed, Options

PMS5003 = Options(
    "binary",
    start="42 4D",
    length=32,
    fixed=(Fixed(2, "00 1C"),),
    check=Check("sum16", start=0, end=30, at=30),
)
SDS011 = Options("binary", start="AA C0", length=10, fixed=(Fixed(9, "AB"),), check=Check("sum8", start=2, end=8, at=8))
MHZ19B = Options(
    "binary",
    mode="request",
    request="FF 01 86 00 00 00 00 00 79",
    start="FF 86",
    length=9,
    check=Check("sum8-negated", start=1, end=8, at=8),
)
LOOPS = Options("lines", prefix="A[0]>", fields=3, rate_hz=500.0)
PMS = bytes.fromhex("424d001c00000008000800000008000800d20046002d001e00000000970002c5")


def point(name: str, options: Options, scale: float = 1.0, **keys: object) -> Point:
    return Point(0, name, Device("d", 0, options), Field(**keys), 1.0, scale)  # type: ignore[arg-type]


def pms(pm25: int) -> bytes:
    body = PMS[:12] + pm25.to_bytes(2, "big") + PMS[14:30]
    return body + sum(body).to_bytes(2, "big")


def test_published_frames() -> None:
    assert sum(PMS[:30]) == 0x02C5
    pm25 = point("pm25", PMS5003, offset=12)
    assert codec.decode([pm25], b"", PMS) == {"pm25": 8.0}
    fine = point("pm25", SDS011, 0.1, offset=2, order="little")
    coarse = point("pm10", SDS011, 0.1, offset=4, order="little")
    got = codec.decode([fine, coarse], b"", bytes.fromhex("aac00600060058d93dab"))
    assert got == pytest.approx({"pm25": 0.6, "pm10": 0.6})
    co2 = point("co2", MHZ19B, offset=2)
    asked = bytes.fromhex("FF0186000000000079")
    assert codec.decode([co2], asked, bytes.fromhex("ff86027c42000000ba")) == {"co2": 636.0}


@pytest.mark.parametrize(
    ("options", "request_", "reply", "reason"),
    [
        (PMS5003, b"", PMS[:30], "30 bytes, a frame has 32"),
        (PMS5003, b"", PMS[:31] + b"\xc6", "check sum16 fails"),
        (PMS5003, b"", b"\x41" + PMS[1:], "starts with 42 4D"),
        (PMS5003, b"\x01", PMS, "profile sends none"),
        (MHZ19B, b"\xff\x02", PMS, "profile sends ff 01"),
    ],
)
def test_captures_that_prove_nothing(options: Options, request_: bytes, reply: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        codec.decode([point("x", options, offset=4)], request_, reply)


def test_a_captured_line_needs_no_terminator() -> None:
    third = point("c", LOOPS, field=2)
    assert codec.decode([third], b"", b"A[0]>12.2122,-1,3e2") == {"c": 300.0}
    with pytest.raises(ValueError, match="3 fields"):
        codec.decode([third], b"", b"A[0]>12.2122,-1")
    with pytest.raises(ValueError, match="no numbers"):
        codec.decode([third], b"", b"A[0]>1,2,x")


@pytest.mark.parametrize(
    ("kind", "order", "body", "sum_"),
    [
        ("sum8", "big", "AA 03 43 04", "F4"),
        ("sum8-inverted", "big", "00 02 01 03", "F9"),  # Sensirion's start command, without its flags
        ("sum8-negated", "big", "86 02 7C 42 00 00 00", "BA"),
        ("xor8", "big", "AA 03 43 04", "EE"),
        ("sum16", "big", "AA 03 43 FF 01", "01 F0"),
        ("sum16", "little", "AA 03 43 FF 01", "F0 01"),
        ("crc16-modbus", "little", "01 03 00 00 00 0A", "C5 CD"),
    ],
)
def test_every_kind_of_check(kind: str, order: str, body: str, sum_: str) -> None:
    data, end = bytes.fromhex(body + sum_), len(bytes.fromhex(body))
    layout = Check(kind, start=0, end=end, at=end, order=order)  # type: ignore[arg-type]
    options = Options("binary", start=body[:2], length=len(data), check=layout)
    assert codec.parser(options).push(data).frames == [data]
    assert codec.parser(options).push(data[:-1] + bytes((data[-1] ^ 1,))).frames == []


def run(options: Options, pieces: list[bytes]) -> tuple[list[bytes], list[int], dict[str, int]]:
    parser, frames, ends = codec.parser(options), [], []
    for piece in pieces:
        burst = parser.push(piece)
        frames += burst.frames
        ends += burst.ends
    return frames, ends, parser.counters


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 31, 32, 33, 1000])
def test_frames_whole_and_in_pieces(size: int) -> None:
    frames = [pms(i) for i in range(10)]
    garbage = b"\x00\x42\x42\x4d\x99"
    data = garbage + b"".join(frames) + frames[0][:20]
    got, ends, counters = run(PMS5003, pieces_of(data, size))
    assert got == frames
    assert ends == [5 + 32 * (i + 1) for i in range(10)]
    assert (counters["frames"], counters["resyncs"]) == (10, 1)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_truncated_frame_costs_only_itself(size: int) -> None:
    good = [pms(1), pms(2), pms(3)]
    data = good[0] + PMS[:30] + good[1] + PMS[:5] + good[2]
    got, _, counters = run(PMS5003, pieces_of(data, size))
    assert got == good
    assert (counters["truncated"], counters["check_errors"], counters["resyncs"]) == (2, 2, 2)


@given(st.binary(max_size=64), st.integers(1, 40), st.binary(max_size=20))
def test_garbage_never_costs_the_frame_behind_it(garbage: bytes, size: int, behind: bytes) -> None:
    """One frame later at the most, and only where the garbage itself ends in half a start."""
    data = garbage + pms(7) + pms(8) + behind
    got, _, _ = run(PMS5003, pieces_of(data, size))
    assert got[:2] == [pms(7), pms(8)]


START_HEAVY = st.lists(
    st.sampled_from([b"\x42", b"\x4d", b"\x42\x4d", b"\x00\x1c", PMS, PMS[:17], b"\xff"]), max_size=20
)


@given(st.lists(st.binary(max_size=50), max_size=8) | START_HEAVY)
def test_only_verified_frames_come_out_of_any_bytes(pieces: list[bytes]) -> None:
    got, ends, counters = run(PMS5003, pieces)
    whole = b"".join(pieces)
    for frame, end in zip(got, ends, strict=True):
        assert whole[end - 32 : end] == frame
        assert frame[:4] == PMS[:4]
        assert int.from_bytes(frame[30:], "big") == sum(frame[:30])
    assert counters["frames"] == len(got)
    again, _, _ = run(PMS5003, [whole])
    assert again == got


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"A[0]>", b"1,2,3", b"\n", b"\r\n", b"4.5"]), max_size=12))
def test_lines_survive_any_bytes(pieces: list[bytes]) -> None:
    got, ends, _ = run(LOOPS, pieces)
    whole = b"".join(pieces)
    for line, end in zip(got, ends, strict=True):
        assert whole[:end].endswith(line + b"\n")
    points = [point("a", LOOPS, field=0), point("c", LOOPS, field=2)]
    columns = codec.Decoder(points).decode(got)
    assert columns.value.shape == (len(columns.kept), 2)
    assert run(LOOPS, [whole])[0] == got


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_are_told_apart_and_counted(size: int) -> None:
    data = b"22,1,1\nA[0]>1,2,3\r\nERROR[2]>\nA[0]>1,2\nA[0]>4,5,6\nA[0]>7,"
    got, _, counters = run(LOOPS, pieces_of(data, size))
    assert got == [b"A[0]>1,2,3\r", b"A[0]>4,5,6"]
    assert (counters["other_lines"], counters["malformed"]) == (1, 1)


def test_without_prefix_the_first_line_may_lack_its_head() -> None:
    plain = Options("lines", fields=1)
    assert run(plain, [b"2.5\n12.5\n"])[0] == [b"12.5"]
    assert codec.parser(plain, synchronised=True).push(b"2.5\n12.5\n").frames == [b"2.5", b"12.5"]


def test_lost_bytes_never_join_two_halves() -> None:
    parser = codec.parser(Options("lines", fields=1))
    parser.push(b"1\n12")
    parser.reset()
    assert parser.push(b"34\n5\n").frames == [b"5"]


def test_a_line_without_end_is_given_up() -> None:
    parser = codec.parser(LOOPS)
    for _ in range(100):
        parser.push(b"A" * 100)
    assert parser.push(b"\nA[0]>1,2,3\n").frames == [b"A[0]>1,2,3"]


def test_lines_that_hold_no_numbers_are_left_out() -> None:
    points = [point("a", LOOPS, 2.0, field=0), point("b", LOOPS, field=1, nan=(-1,))]
    lines = [b"A[0]>1,2,x", b"A[0]>,2,3", b"A[0]>3, -1 ,0", b"A[0]>1_0,2,3", b"A[0]>nan,5,0", b"A[0]>9,8,7\r"]
    columns = codec.Decoder(points).decode(lines)
    assert list(columns.kept) == [0, 2, 4, 5]
    assert np.array_equal(columns.value, [[2, 2], [6, np.nan], [np.nan, 5], [18, 8]], equal_nan=True)
    assert np.array_equal(columns.absent, np.isnan(columns.value))


def test_a_number_beyond_all_numbers_is_none() -> None:
    columns = codec.Decoder([point("a", LOOPS, 1e300, field=0)]).decode([b"A[0]>1e300,0,0", b"A[0]>1e999,0,0"])
    assert columns.absent.tolist() == [[True], [True]]
    assert np.isnan(columns.value).all()


@pytest.mark.parametrize(
    ("keys", "data", "expected"),
    [
        ({"type": "uint8"}, "FE", 254),
        ({"type": "int8"}, "FE", -2),
        ({"type": "int16"}, "FFFE", -2),
        ({"type": "int16", "order": "little"}, "FEFF", -2),
        ({"type": "uint32"}, "00010000", 65536),
        ({"type": "int32", "order": "little"}, "FFFFFFFF", -1),
        ({"type": "float32"}, "43663333", 230.2),
        ({"type": "float32", "order": "little"}, "33336643", 230.2),
        ({"type": "float32"}, "7FC00000", math.nan),
        ({"type": "int16", "nan": (0x8000,)}, "8000", math.nan),
        ({"nan": (0xFFFF,)}, "FFFF", math.nan),
    ],
)
def test_types_of_a_binary_frame(keys: dict[str, object], data: str, expected: float) -> None:
    options = Options("binary", start="55", length=6, check="none")
    frame = bytes.fromhex("55" + data + "00" * (5 - len(data) // 2))
    columns = codec.Decoder([point("x", options, offset=1, **keys)]).decode([frame, frame])
    assert columns.value[:, 0].tolist() == pytest.approx([expected, expected], nan_ok=True)


@pytest.mark.parametrize(
    ("options", "spec", "key"),
    [
        (Options("binary", start="42", length=8), Field(offset=1), "check"),
        (Options("binary", start="42", length=0, check="none"), Field(offset=1), "length"),
        (Options("binary", start="", length=8, check="none"), Field(offset=1), "start"),
        (Options("binary", start="4", length=8, check="none"), Field(offset=1), "start"),
        (Options("binary", start="42", length=8, check=Check("sum16", 0, 7, 6)), Field(offset=1), "check.at"),
        (Options("binary", start="42", length=8, check=Check("sum16", 0, 7, 7)), Field(offset=1), "check.at"),
        (Options("binary", start="42", length=8, check=Check("sum8", 0, 9, 7)), Field(offset=1), "check.start"),
        (Options("binary", start="42", length=8, check="none", fixed=(Fixed(7, "00 01"),)), Field(offset=1), "fixed"),
        (Options("binary", start="42", length=8, check=Check("sum8", 0, 7, 7)), Field(offset=6), "offset"),
        (Options("binary", start="42", length=8, check="none"), Field(offset=7), "offset"),
        (Options("binary", start="42", length=8, check="none"), Field(), "offset"),
        (Options("binary", start="42", length=8, check="none"), Field(offset=1, nan=(70000,)), "nan"),
        (Options("binary", start="42", length=8, check="none", mode="request"), Field(offset=1), "request"),
        (Options("lines"), Field(field=0), "fields"),
        (Options("lines", fields=2), Field(field=2), "field"),
        (Options("lines", fields=2), Field(), "field"),
        (Options("lines", fields=2, separator=""), Field(field=1), "separator"),
        (Options("lines", fields=2, on_start=("zz",)), Field(field=1), "on_start"),
        (Options("lines", fields=2, rate_hz=-1.0), Field(field=1), "rate_hz"),
    ],
)
def test_faults(options: Options, spec: Field, key: str) -> None:
    device = Device("d", 0, options)
    faults = check(device, [Point(0, "x", device, spec, 1.0)])
    assert key in [where for _, where, _ in faults], faults


@pytest.mark.parametrize("options", [PMS5003, SDS011, MHZ19B])
def test_real_layouts_have_no_faults(options: Options) -> None:
    assert check(Device("d", 0, options), [point("x", options, offset=4)]) == ()


def test_profile_keys() -> None:
    table = {
        "frame": "binary",
        "start": "42 4D",
        "length": 32,
        "fixed": [{"at": 2, "bytes": "00 1C"}],
        "check": {"kind": "sum16", "start": 0, "end": 30, "at": 30},
    }
    assert TypeAdapter(Options).validate_python(table) == PMS5003
    assert TypeAdapter(Options).validate_python({"frame": "lines", "fields": 2, "check": "none"}).check == "none"
    for wrong in ({"frame": "line"}, {"check": {"kind": "sum9"}}, {"speed": 9600}):
        with pytest.raises(ValidationError):
            TypeAdapter(Options).validate_python(table | wrong)
