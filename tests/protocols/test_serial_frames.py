"""Frames of any length, stuffed frames and lines with a check, whole, in pieces, behind and within garbage."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.api import Device, Link, Point
from protocols.modbus.crc import crc16
from protocols.serial import codec
from protocols.serial.checks import SUMS
from protocols.serial.faults import check, check_link
from protocols.serial.points import (
    Check,
    Command,
    Field,
    Fixed,
    Length,
    Options,
    RequestCheck,
    Time,
    fill,
    stuff,
    unstuff,
)

SPS30 = Options(
    "stuffed",
    mode="request",
    request="7E 00 03 00 FC 7E",
    start="00 03 00",
    length=Length(at=3, plus=5, min=5, max=45),
    check=Check("sum8-inverted", 0, -1, -1),
)
ANY = Options(
    "binary",
    start="AA 55",
    length=Length(at=2, plus=5, min=6, max=40),
    check=Check("crc16-ccitt", 2, -2, -2),
)
NMEA = Options("lines", prefix="$WIMWV,", fields=5, check=Check("xor8", start=1, after="*"), terminator="\r\n")
SPS30_REPLY = bytes.fromhex(
    "7e000300283d2001e33d5adecf3d81cc533d8c48ae3e73397d5e3e97b9033e9e8b9f3e9ff1713ea04e183f3650125a7e"
)


def point(name: str, options: Options, unit: int = 0, **keys: object) -> Point:
    return Point(0, name, Device("d", unit, options), Field(**keys), 1.0)  # type: ignore[arg-type]


def any_frame(payload: bytes) -> bytes:
    body = bytes((len(payload),)) + payload
    return b"\xaa\x55" + body + SUMS["crc16-ccitt"].of(body).to_bytes(2, "big")


def shdlc(payload: bytes) -> bytes:
    body = bytes((0, 3, 0, len(payload))) + payload
    return b"\x7e" + stuff(body + bytes((~sum(body) & 0xFF,)), b"\x7e", b"\x7d") + b"\x7e"


def run(options: Options, pieces: list[bytes]) -> tuple[list[bytes], dict[str, int]]:
    parser, frames = codec.parser(options), []
    for piece in pieces:
        frames += parser.push(piece).frames
    return frames, parser.counters


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


# ---- checks


@pytest.mark.parametrize(
    ("kind", "sum_"),
    [  # of "123456789": the check values of the catalogue of parametrised CRC algorithms
        ("crc8", 0xF4),
        ("crc8-maxim", 0xA1),
        ("crc8-sensirion", 0xF7),
        ("crc16-modbus", 0x4B37),
        ("crc16-ccitt", 0x29B1),
        ("crc16-xmodem", 0x31C3),
        ("crc16-kermit", 0x2189),
        ("crc16-x25", 0x906E),
        ("crc32", 0xCBF43926),
        ("sum8", 0xDD),
        ("sum16", 0x01DD),
        ("sum8-inverted", 0x22),
        ("sum8-negated", 0x23),
        ("sum16-inverted", 0xFE22),
        ("sum16-negated", 0xFE23),
        ("xor8", 0x31),
    ],
)
def test_checks_of_the_catalogue(kind: str, sum_: int) -> None:
    assert SUMS[kind].of(b"123456789") == sum_


def test_sensirions_own_example_of_its_crc() -> None:
    assert SUMS["crc8-sensirion"].of(b"\xbe\xef") == 0x92  # datasheets SHT3x, SCD30


@given(st.sampled_from(sorted(SUMS)), st.lists(st.binary(min_size=12, max_size=12), min_size=1, max_size=9))
def test_rows_have_the_checks_of_frames(kind: str, rows: list[bytes]) -> None:
    table = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), 12)
    assert SUMS[kind].of_rows(table).tolist() == [SUMS[kind].of(row) for row in rows]


@given(st.binary(max_size=60))
def test_checks_against_other_implementations(data: bytes) -> None:
    assert SUMS["crc32"].of(data) == zlib.crc32(data)
    assert SUMS["crc16-modbus"].of(data) == crc16(data)


# ---- stuffing


def test_escapes_are_undone_in_one_pass() -> None:
    assert unstuff(bytes.fromhex("7D 5D 31"), b"\x7d") == bytes.fromhex("7D 31")
    assert unstuff(bytes.fromhex("01 7D"), b"\x7d") is None
    assert unstuff(bytes.fromhex("7D 5D 7D 5E"), b"\x7d") == b"\x7d\x7e"


@given(st.binary(max_size=80))
def test_what_is_stuffed_comes_back(data: bytes) -> None:
    sent = stuff(data, b"\x7e", b"\x7d")
    assert not {0x7E, 0x11, 0x13} & set(sent)
    assert unstuff(sent, b"\x7d") == data


def test_a_published_reply_with_a_stuffed_byte() -> None:
    points = [point(f"v{i}", SPS30, offset=4 + 4 * i, type="float32") for i in range(10)]
    got = codec.decode(points, bytes.fromhex("7E000300FC7E"), SPS30_REPLY)
    assert got["v0"] == pytest.approx(0.0390643, rel=1e-5)
    assert got["v4"] == pytest.approx(0.237525, rel=1e-5)  # the one whose last byte is 7E
    assert got["v9"] == pytest.approx(0.712159, rel=1e-5)


def test_nothing_new_is_a_frame_without_values() -> None:
    points = [point("pm1", SPS30, offset=4, type="float32")]
    assert np.isnan(codec.decode(points, b"", bytes.fromhex("7E 00 03 00 00 FC 7E"))["pm1"])
    long = codec.parser(SPS30).push(SPS30_REPLY).frames
    short = codec.parser(SPS30).push(bytes.fromhex("7E 00 03 00 00 FC 7E")).frames
    columns = codec.Decoder(points).decode([*short, *long, *short])
    assert columns.absent[:, 0].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (SPS30_REPLY[:-1], "between two"),
        (SPS30_REPLY[:20] + b"\x00" + SPS30_REPLY[21:], "check"),
        (bytes.fromhex("7E 00 03 43 00 B9 7E"), "right length"),  # command not allowed in this state
        (SPS30_REPLY[:30] + SPS30_REPLY[31:], "right length"),
    ],
)
def test_stuffed_captures_that_prove_nothing(reply: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        codec.decode([point("x", SPS30, offset=4, type="float32")], b"", reply)


# ---- resynchronisation: never more than the damaged frame


@pytest.mark.parametrize("size", [1, 2, 5, 17, 1000])
@pytest.mark.parametrize(("options", "make"), [(ANY, any_frame), (SPS30, shdlc)])
def test_frames_of_any_length_in_pieces(options: Options, make: object, size: int) -> None:
    payloads = [bytes(range(1, n)) for n in (2, 35, 9, 17, 30)]
    data = b"\x00\x55\xaa\x99" + b"".join(make(p) for p in payloads)  # type: ignore[operator]
    got, counters = run(options, pieces_of(data, size))
    assert [
        frame[len(frame) - len(p) - (2 if options is ANY else 1) :][: len(p)]
        for frame, p in zip(got, payloads, strict=True)
    ] == payloads
    assert (counters["frames"], counters["resyncs"]) == (5, 1)


@given(st.data(), st.sampled_from([(ANY, any_frame), (SPS30, shdlc)]))
def test_damage_costs_one_frame_at_most(data: st.DataObject, kind: tuple[Options, object]) -> None:
    """Any bytes of one frame lost: the next but one at the latest is there, and nothing that was not sent."""
    options, make = kind
    frames = [make(bytes((i, i + 1, 0x7E, 0x7D, 0xAA))) for i in range(1, 8)]  # type: ignore[operator]
    first = data.draw(st.integers(0, len(frames[3]) - 1))
    last = data.draw(st.integers(first + 1, len(frames[3])))
    broken = frames[3][:first] + frames[3][last:]
    sent = b"".join((*frames[:3], broken, *frames[4:]))
    parser = codec.parser(options)
    got = parser.push(sent + b"\x00" * 64).frames
    clean = codec.parser(options).push(b"".join(frames)).frames
    assert set(got) <= set(clean)
    assert len([frame for frame in clean if frame not in got]) <= 1


@pytest.mark.parametrize("options", [ANY, SPS30, NMEA])
@given(st.data())
def test_only_verified_frames_come_out_of_any_bytes(options: Options, data: st.DataObject) -> None:
    parts = [
        st.binary(max_size=30),
        st.just(any_frame(b"abc")),
        st.just(SPS30_REPLY),
        st.sampled_from([b"\x7e", b"\xaa\x55"]),
    ]
    pieces = data.draw(st.lists(st.one_of(*parts, st.just(b"$WIMWV,214,R,1,N,A*00\r\n")), max_size=12))
    got, counters = run(options, pieces)
    assert counters["frames"] == len(got)
    assert run(options, [b"".join(pieces)])[0] == got
    if options is ANY:
        assert all(any_frame(frame[3:-2]) == frame for frame in got)


@given(st.lists(st.binary(min_size=29, max_size=29), min_size=5, max_size=40), st.data())
def test_many_at_once_are_the_same_as_one_by_one(payloads: list[bytes], data: st.DataObject) -> None:
    options = Options("binary", start="42", length=32, fixed=(Fixed(1, "00"),), check=Check("xor8", 0, 31, 31))
    frames = [b"\x42\x00" + payload + b"\x00" for payload in payloads]
    frames = [frame[:-1] + bytes((SUMS["xor8"].of(frame[:-1]),)) for frame in frames]
    frames[data.draw(st.integers(0, len(frames) - 1))] = data.draw(st.binary(max_size=40))
    whole = b"".join(frames)
    at_once, counters = run(options, [whole])
    byte_by_byte, slow = run(options, pieces_of(whole, 1))
    assert at_once == byte_by_byte
    assert counters["frames"] == slow["frames"]


# ---- lines


def test_a_line_with_its_check() -> None:
    line = b"$WIMWV,214.8,R,0.1,K,A*"
    line += b"%02X" % SUMS["xor8"].of(line[1:-1])
    angle, speed = point("angle", NMEA, field=0), point("speed", NMEA, field=2)
    assert codec.decode([angle, speed], b"", line + b"\r\n") == {"angle": 214.8, "speed": 0.1}
    got, counters = run(
        NMEA, [line.replace(b"214", b"215") + b"\r\n", line.lower() + b"\r\n", line + b"\r\n", line[:-2] + b"\r\n"]
    )
    assert len(got) == 1
    assert (counters["check_errors"], counters["other_lines"]) == (2, 1)


# ---- addresses and requests


def test_requests_with_address_and_check() -> None:
    canoga = Options(
        "binary",
        mode="request",
        length=37,
        check=Check("xor8", 0, 36, 36),
        request="3C 30 38 {unit} 2A {check} 3E",
        request_check=RequestCheck("xor8", form="hex"),
    )
    assert fill(canoga.request, 0, canoga) == bytes.fromhex("3C 30 38 00 2A 31 45 3E")  # published
    assert fill("{unit:hex}", 0x2B, canoga) == b"2B"
    modbus = Options("binary", request_check=RequestCheck("crc16-modbus", order="little"))
    assert fill("{unit} 03 00 00 00 0A {check}", 1, modbus) == bytes.fromhex("01 03 00 00 00 0A C5 CD")
    shdlc_ = Options("stuffed", request_check=RequestCheck("sum8-inverted", start=1))
    assert fill("7E {unit} 03 00 {check} 7E", 0x7D, shdlc_) == bytes.fromhex("7E 7D 5D 03 00 7F 7E")


def test_without_a_start_only_the_first_byte_begins_a_reply() -> None:
    options = Options("binary", mode="request", request="01", length=4, check=Check("xor8", 0, 3, 3))
    assert codec.parser(options).push(b"\x01\x02\x03\x00").frames == [b"\x01\x02\x03\x00"]
    assert codec.parser(options).push(b"\x09\x01\x02\x03\x00").frames == []


def test_an_implausible_value_is_no_frame() -> None:
    options = Options("binary", start="55", length=4, check="none")
    decoder = codec.Decoder([point("x", options, offset=1, type="uint24", plausible=(0, 1000))])
    columns = decoder.decode([b"\x55\x00\x01\x00", b"\x55\x01\x00\x00", b"\x55\x00\x03\xe8"])
    assert list(columns.kept) == [0, 2]
    assert columns.value[:, 0].tolist() == [256.0, 1000.0]


@pytest.mark.parametrize(
    ("type_", "order", "data", "value"),
    [
        ("uint24", "big", "01 02 03", 0x010203),
        ("uint24", "little", "01 02 03", 0x030201),
        ("int24", "big", "FF FF FE", -2),
        ("uint64", "big", "00 00 00 01 00 00 00 00", 2**32),
        ("float64", "little", "00 00 00 00 00 00 F0 3F", 1.0),
    ],
)
def test_wide_types(type_: str, order: str, data: str, value: float) -> None:
    options = Options("binary", start="55", length=9, check="none")
    frame = (b"\x55" + bytes.fromhex(data)).ljust(9, b"\x00")
    columns = codec.Decoder([point("x", options, offset=1, type=type_, order=order)]).decode([frame])
    assert columns.value[0, 0] == value


# ---- faults


BIN = {"frame": "binary", "start": "42", "length": 8, "check": Check("sum8", 0, 7, 7)}


@pytest.mark.parametrize(
    ("changed", "spec", "key"),
    [
        ({"length": Length(at=0, min=4, max=9)}, {}, "length.at"),
        ({"length": Length(at=2, min=9, max=4)}, {}, "length.min"),
        ({"length": Length(at=2, min=2, max=9)}, {}, "length.min"),
        ({"length": Length(at=2, min=4, max=400)}, {}, "length.plus"),
        ({"length": Length(at=2, min=4, max=9)}, {}, "check.end"),
        ({"fixed": (Fixed(0, "43"),)}, {}, "fixed"),
        ({"fixed": (Fixed(2, "01 02"), Fixed(3, "04"))}, {}, "fixed"),
        ({"fixed": (Fixed(7, "04"),)}, {}, "fixed"),
        ({"check": Check("sum8", 0, 7)}, {}, "check.at"),
        ({"check": Check("sum8", 0, 7, 7, after="*")}, {}, "check.after"),
        ({"check": Check("sum16", 0, -1, -1)}, {}, "check.at"),
        ({"start": ""}, {}, "start"),
        ({"frame": "stuffed", "escape": "7E"}, {}, "escape"),
        ({"frame": "stuffed", "flag": "7E 7E"}, {}, "flag"),
        ({"mode": "request", "request": "01 {check}"}, {}, "request"),
        ({"request_check": RequestCheck("sum8")}, {}, "request_check"),
        ({"start": "42 {check}"}, {}, "start"),
        ({"on_start": (Command("zz"),)}, {}, "on_start"),
        ({"on_start": (Command("01", "0"),)}, {}, "on_start"),
        ({"on_start": (Command(""),)}, {}, "on_start"),
        ({"on_start": (Command("01", pause_ms=-1),)}, {}, "on_start"),
        ({"times": (Time("t", offset=1), Time("t", offset=2))}, {}, "times"),
        ({"times": (Time("t", offset=6),)}, {}, "times"),
        ({"times": (Time("t", scale=0, offset=1),)}, {}, "times"),
        ({"times": (Time("t", 1, offset=1), Time("u", 2, 99, offset=1))}, {}, "times"),
        ({}, {"time": "t"}, "time"),
        ({}, {"plausible": (9, 1)}, "plausible"),
        ({}, {"offset": 6}, "offset"),
        ({"frame": "lines", "start": "", "length": None, "fields": 2, "check": Check("xor8")}, {}, "check.after"),
        ({"frame": "lines", "fields": 2, "check": Check("xor8", 0, 3, 4, after="*")}, {}, "check.end"),
        ({"frame": "lines", "fields": 2, "check": Check("xor8", -1, after="*")}, {}, "check.start"),
    ],
)
def test_faults(changed: dict[str, object], spec: dict[str, object], key: str) -> None:
    options = Options(**BIN | changed)  # type: ignore[arg-type]
    where = {} if options.frame == "lines" else {"offset": 1}
    device = Device("d", 0, options)
    faults = check(device, [Point(0, "x", device, Field(**where | spec), 1.0)])  # type: ignore[arg-type]
    assert key in [found for _, found, _ in faults], faults
    assert all(words for _, _, words in faults)


@pytest.mark.parametrize("options", [SPS30, ANY, NMEA])
def test_layouts_without_faults(options: Options) -> None:
    spec = {"field": 0} if options.frame == "lines" else {"offset": 4, "type": "uint8"}
    assert check(Device("d", 0, options), [point("x", options, **spec)]) == ()


def test_an_address_has_one_byte() -> None:
    line = Link("l", "serial:/dev/x")
    addressed = Options("binary", mode="request", request="{unit}", length=4, check="none")
    assert check_link(line, Device("d", 255, addressed)) == ""
    assert "256" in check_link(line, Device("d", 256, addressed))
    assert check_link(line, Device("d", 256, SPS30)) == ""
