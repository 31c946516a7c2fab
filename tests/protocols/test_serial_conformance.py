"""Serial devices of every kind keep the rules of protocols.testing: stuffed frames after a start, frames of any length,
lines with a check, cards with addresses and clocks of their own on one line."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

import peers
import pytest

from gateway.site.library import Library
from gateway.site.profile import driver_points, load_profile
from protocols.api import Device, Link, Point
from protocols.registry import driver
from protocols.serial.checks import SUMS
from protocols.serial.points import Check, Field, Length, Options, stuff
from protocols.testing import RULES, DriverCase, Rig, Rule

SERIAL = driver("serial")


def profile_points(name: str, unit: int = 1, first: int = 0) -> tuple[Point, ...]:
    path = Library.of([]).find(name)
    assert path is not None
    profile = load_profile(path)
    points = {first + i: point for i, point in enumerate(profile.points)}
    return driver_points(points, profile.as_device(f"{profile.identity.model} {unit}", unit))


Answer = Callable[[bytes], bytes]


@asynccontextmanager
async def asked(answer: Answer, wanted: Callable[[bytes], int]) -> AsyncIterator[Rig]:
    """A line on a pty: `wanted(bytes heard)` bytes are a whole request, 0 while there is none."""
    pty, heard, muted = peers.Pty(), bytearray(), [False]

    def hear(data: bytes) -> None:
        heard.extend(data)
        while heard and (size := wanted(bytes(heard))):
            request = bytes(heard[:size])
            del heard[:size]
            if not muted[0]:
                pty.write(answer(request))

    pty.listen(hear)
    try:
        yield Rig(pty.link(), lambda m: muted.__setitem__(0, m), pty.close)
    finally:
        pty.close()


# ---- SPS30


def sps30(request: bytes) -> bytes:
    replies = {
        "7e007d3100ee7e": "7e007d31 4300ab7e",  # wake-up of one that was not asleep: not allowed in this state
        "7e0000020103f97e": "7e00000000ff7e",
    }
    known = replies.get(request.hex())
    if known is not None:
        return bytes.fromhex(known)
    if request != bytes.fromhex("7e000300fc7e"):
        return b""
    body = bytes((0, 3, 0, 40)) + struct.pack(">10f", *(10.0 + i for i in range(10)))
    return b"\x7e" + stuff(body + bytes((~sum(body) & 0xFF,)), b"\x7e", b"\x7d") + b"\x7e"


def shdlc_size(heard: bytes) -> int:
    return 1 if heard[0] == 0xFF else heard.find(b"\x7e", 1) + 1


def sps30_line() -> AbstractAsyncContextManager[Rig]:
    return asked(sps30, shdlc_size)


# ---- Canoga: two cards, whose clocks run on with every poll


def canoga_line() -> AbstractAsyncContextManager[Rig]:
    tick = count(1_234_567)

    def answer(request: bytes) -> bytes:
        started = next(tick)
        body = b"".join(
            (310 + loop).to_bytes(3, "big") + started.to_bytes(4, "big") + bytes((7 + request[3], 0))
            for loop in range(4)
        )
        return body + bytes((SUMS["xor8"].of(body),))

    return asked(answer, lambda heard: 8 if len(heard) >= 8 else 0)


CANOGA = profile_points("traffic/canoga-900", 0) + profile_points("traffic/canoga-900", 3, 12)
CANOGA_VALUES = {
    point.channel: {"d": 310.0 + int(point.name[-1]) - 1, "v": 7.0 + point.device.unit, "s": 0.0}[point.name[0]]
    for point in CANOGA
}

# ---- frames of any length, and lines with a check, that come by themselves

ANY = Device(
    "any",
    0,
    Options(
        "binary",
        start="AA 55",
        length=Length(at=2, plus=5, min=7, max=40),
        check=Check("crc16-ccitt", 2, -2, -2),
    ),
)
ANY_BODY = bytes.fromhex("03 12 34 56")
ANY_FRAME = b"\xaa\x55" + ANY_BODY + SUMS["crc16-ccitt"].of(ANY_BODY).to_bytes(2, "big")

WIND = Device(
    "wind",
    0,
    Options("lines", prefix="$WIMWV,", fields=5, check=Check("xor8", 1, after="*"), terminator="\r\n"),
)
WIND_TEXT = b"WIMWV,214.8,R,12.5,M,A"
WIND_LINE = b"$" + WIND_TEXT + b"*%02X\r\n" % SUMS["xor8"].of(WIND_TEXT)

CASES = (
    DriverCase(
        "sps30",
        SERIAL,
        profile_points("air/sensirion-sps30"),
        {i: (10.0 + i) * (0.001 if i == 9 else 1.0) for i in range(10)},
        sps30_line,
    ),
    DriverCase("canoga", SERIAL, CANOGA, CANOGA_VALUES, canoga_line),
    DriverCase(
        "any-length",
        SERIAL,
        (
            Point(2, "x", ANY, Field(offset=3, type="uint16"), 1.0),
            Point(3, "y", ANY, Field(offset=5, type="uint8"), 1.0),
        ),
        {2: 0x1234, 3: 0x56},
        lambda: peers.talker(ANY_FRAME),
    ),
    DriverCase(
        "lines-with-check",
        SERIAL,
        (Point(0, "angle", WIND, Field(field=0), 1.0), Point(1, "speed", WIND, Field(field=2), 1.0)),
        {0: 214.8, 1: 12.5},
        lambda: peers.talker(WIND_LINE),
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_driver_keeps_the_rule(case: DriverCase, rule: Rule) -> None:
    await rule(case)


def test_the_line_of_a_case_is_a_link() -> None:
    assert all(op.wire_s(Link("l", "serial:/dev/x")) > 0 for op in SERIAL.plan(CANOGA))
