"""Frames to rows in time order, from streams and from devices that are asked."""

from __future__ import annotations

import asyncio
import struct
from functools import reduce
from itertools import pairwise
from operator import xor

import numpy as np
import peers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_serial_codec import LOOPS, MHZ19B, PMS, PMS5003, pms

from protocols.api import Device, Link, PlanError, Point, Quality
from protocols.serial.driver import RequestReader, StreamReader, connect
from protocols.serial.operations import plan
from protocols.serial.points import Check, Command, Field, Length, Options, RequestCheck, Time
from protocols.testing import FakeStream

LINE = Link("line", "serial:/dev/ttyS0", baud=9600)
CHAR_NS = 10 * 1_000_000_000 / 9600
AIR, LOOP, CO2 = Device("air", 0, PMS5003), Device("loop", 0, LOOPS), Device("co2", 0, MHZ19B)
PM = [Point(4, "pm1", AIR, Field(offset=10), 1.0), Point(5, "pm25", AIR, Field(offset=12), 1.0)]
COILS = [Point(i, f"loop{i}", LOOP, Field(field=i), 0.002) for i in range(3)]
PPM = [Point(9, "co2", CO2, Field(offset=2), 1.0)]
CO2_REPLY = bytes.fromhex("ff86027c42000000ba")


async def test_frames_of_a_burst_are_rows_in_time_order() -> None:
    stream = FakeStream()
    (op,) = plan(PM)
    reader = StreamReader(stream, LINE, op)
    stream.arrive(b"\x99" + pms(1) + pms(2) + pms(3)[:7])
    batch = await reader.read([op], 1.0)
    assert batch.channel.tolist() == [4, 5, 4, 5]
    assert batch.value.tolist() == [0.0, 1.0, 0.0, 2.0]
    arrived = stream.last_byte_ns
    late = [arrived - int(39 * CHAR_NS), arrived - int(7 * CHAR_NS)]
    assert batch.time_ns.tolist() == [late[0], late[0], late[1], late[1]]
    stream.arrive(pms(3)[7:], 0.025)
    batch = await reader.read([op], 1.0)
    assert batch.time_ns.tolist() == [stream.last_byte_ns] * 2
    assert reader.counters["resyncs"] == 1


async def test_a_quiet_line_is_an_empty_batch_at_the_time_out() -> None:
    stream = FakeStream()
    (op,) = plan(PM)
    begun = stream.now_ns()
    assert len((await StreamReader(stream, LINE, op).read([op], 2.0)).channel) == 0
    assert stream.now_ns() - begun == 2_000_000_000


async def test_half_a_frame_is_waited_for() -> None:
    stream = FakeStream()
    (op,) = plan(PM)
    stream.arrive(PMS[:10])
    stream.arrive(PMS[10:], 0.5)
    assert (await StreamReader(stream, LINE, op).read([op], 2.0)).value.tolist() == [0.0, 8.0]


async def test_samples_of_a_waveform_keep_their_distance() -> None:
    stream = FakeStream()
    (op,) = plan(COILS)
    reader = StreamReader(stream, Link("fast", "serial:/dev/ttyS0", baud=921_600), op)
    stream.arrive(b"".join(b"A[0]>%d,2,3\n" % i for i in range(10)))
    batch = await reader.read([op], 1.0)
    assert batch.value[0::3].tolist() == [float(i) for i in range(10)]
    assert np.diff(batch.time_ns[0::3]).tolist() == [2_000_000] * 9


async def test_devices_that_speak_share_no_line() -> None:
    with pytest.raises(PlanError, match="cannot share"):
        plan([*PM, *COILS])
    with pytest.raises(PlanError, match="cannot share"):
        plan([*PPM, *PM])
    with pytest.raises(PlanError, match="same request"):
        plan([*PPM, Point(10, "co2", Device("co2b", 0, MHZ19B), Field(offset=2), 5.0)])


async def test_a_device_that_is_asked() -> None:
    stream = FakeStream(lambda request: [(0.03, CO2_REPLY)])
    (op,) = plan(PPM)
    reader = RequestReader(stream, LINE)
    for _ in range(3):
        batch = await reader.read([op], 0.2)
        assert (batch.value.tolist(), batch.time_ns.tolist()) == ([636.0], [stream.last_byte_ns])
    assert {data for _, data in stream.sent} == {bytes.fromhex("FF0186000000000079")}
    assert reader.counters["replies"] == 3


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        ([], Quality.NO_REPLY),
        ([(0.03, CO2_REPLY[:8] + b"\x00")], Quality.BAD_REPLY),
        ([(0.03, CO2_REPLY[:5])], Quality.BAD_REPLY),
    ],
)
async def test_failures_are_data(reply: list[tuple[float, bytes]], quality: Quality) -> None:
    reader = RequestReader(FakeStream(lambda request: reply), LINE)
    batch = await reader.read(plan(PPM), 0.2)
    assert batch.quality.tolist() == [quality]
    assert np.isnan(batch.value).all()


async def test_what_comes_after_the_time_out_is_thrown_away() -> None:
    replies = iter([[(0.25, b"\xff\x86\x01\x00\x00\x00\x00\x00\x79")], [(0.03, CO2_REPLY)]])
    stream = FakeStream(lambda request: next(replies))
    reader = RequestReader(stream, LINE)
    assert (await reader.read(plan(PPM), 0.1)).quality.tolist() == [Quality.NO_REPLY]
    await stream.wait_until(stream.now_ns() + 300_000_000)
    assert (await reader.read(plan(PPM), 0.1)).value.tolist() == [636.0]


async def test_wire_time_and_words() -> None:
    (asked,), (heard,), (lines,) = plan(PPM), plan(PM), plan(COILS)
    assert asked.wire_s(LINE) == pytest.approx(18 * 10 / 9600 + 0.005)
    assert heard.wire_s(LINE) == 0.0
    assert asked.describe() == "ask ff 01 86 00 00 00 00 00 79 for 9 bytes"
    assert (heard.describe(), lines.describe()) == ("listen for 32 bytes", "listen for lines of 3")


async def test_commands_are_sent_after_opening() -> None:
    options = Options("lines", fields=1, on_start=("7E 01", "7E 02"))
    device = Device("x", 0, options)
    pty, heard = peers.Pty(), bytearray()
    pty.listen(heard.extend)
    ops = plan([Point(0, "x", device, Field(field=0), 1.0)])
    async with connect(pty.link(), ops) as reader:
        await reader.read(ops, 0.0)
        await reader.read(ops, 0.0)
    pty.close()
    assert heard == b"\x7e\x01\x7e\x02"
    assert reader.counters["starts"] == 1


async def test_nobody_reads_for_a_while() -> None:
    """What overruns the buffer is dropped, counted, and never joined to what follows."""
    pty = peers.Pty()
    (op,) = plan([Point(0, "x", Device("x", 0, Options("lines", fields=1)), Field(field=0), 1.0)])
    async with connect(pty.link(), [op]) as reader:
        number = 0
        while not reader.counters["dropped"]:
            await pty.write_all(b"".join(b"%d\n" % (number + i) for i in range(200)))
            number += 200
        batch = await reader.read([op], 0.1)
    pty.close()
    values = batch.value.astype(int)
    assert len(values) > 100
    assert np.array_equal(values, np.arange(values[0], values[0] + len(values)))


async def test_a_cancelled_wait_for_lines_loses_none() -> None:
    stream = FakeStream()
    (op,) = plan(COILS)
    reader = StreamReader(stream, LINE, op)
    stream.arrive(b"A[0]>1,2,3\nA[0]>4,")
    task = asyncio.ensure_future(reader.read([op], 1.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stream.arrive(b"5,6\n")
    assert (await reader.read([op], 1.0)).value.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


# ---- device times, addresses, start-up


EVENTS = Options(
    "binary",
    mode="request",
    start="3C {unit}",
    length=9,
    times=(Time("start", 0.001, 2.0**32, offset=2),),
    check=Check("xor8", 0, 8, 8),
    request="3C {unit} 2A {check}",
    request_check=RequestCheck("xor8"),
)


def event(unit: int, start_ms: int, duration: int) -> bytes:
    body = bytes((0x3C, unit)) + start_ms.to_bytes(4, "big") + duration.to_bytes(2, "big")
    return body + bytes((reduce(xor, body),))


def events(unit: int = 5, channel: int = 0) -> list[Point]:
    device = Device(f"loop{unit}", unit, EVENTS)
    return [
        Point(channel, "count", device, Field(offset=7, type="uint8"), 1.0),
        Point(channel + 1, "duration", device, Field(offset=6, time="start"), 1.0),
    ]


async def test_a_value_has_the_time_of_the_devices_clock() -> None:
    replies = [event(5, 10_000, 300), event(5, 11_500, 400), event(5, 11_500, 400), event(5, 14_200, 500)]
    stream = FakeStream(lambda request: [(0.0, replies.pop(0))])
    (op,) = plan(events())
    assert op.request == bytes.fromhex("3C 05 2A 13")
    reader, times = RequestReader(stream, LINE), []
    begun = stream.now_ns()
    for second in (1, 2, 3, 4):
        await stream.wait_until(begun + second * 1_000_000_000)
        batch = await reader.read([op], 0.2)
        assert batch.channel.tolist() == [1, 0]  # what the gateway stamps is the last row
        assert batch.time_ns[1] == stream.last_byte_ns
        times.append(int(batch.time_ns[0] - begun))
    assert times[0] == 1_000_000_000  # nothing is known yet: the arrival
    assert times[1] == times[2] == 2_000_000_000 or abs(times[2] - times[1]) < 300_000
    assert times[3] <= 4_000_000_000
    assert reader.counters["time_jumps"] == 0


async def test_a_shifted_frame_that_passes_its_check_is_not_believed() -> None:
    """The first byte of the values lost and a zero behind: the XOR is the same."""
    good = [event(5, 1_000_000 + 1000 * i, 300) for i in range(6)]
    body = good[3][:2] + good[3][3:8] + b"\x00"
    good[3] = body + bytes((reduce(xor, body),))
    stream = FakeStream(lambda request: [(0.0, good.pop(0))])
    (op,) = plan(events())
    reader, qualities = RequestReader(stream, LINE), []
    begun = stream.now_ns()
    for second in range(6):
        await stream.wait_until(begun + second * 1_000_000_000)
        qualities.append(int((await reader.read([op], 0.2)).quality[0]))
    assert qualities == [0, 0, 0, Quality.BAD_REPLY, 0, 0]
    assert reader.counters["time_jumps"] == 1


async def test_a_device_that_was_restarted_is_believed_at_the_second_time() -> None:
    starts = [500_000, 501_000, 700, 1700, 2700]
    stream = FakeStream(lambda request: [(0.0, event(5, starts.pop(0), 300))])
    (op,) = plan(events())
    reader, batches = RequestReader(stream, LINE), []
    begun = stream.now_ns()
    for second in range(5):
        await stream.wait_until(begun + second * 1_000_000_000)
        batches.append(await reader.read([op], 0.2))
    assert [int(batch.quality[0]) for batch in batches] == [0, 0, Quality.BAD_REPLY, 0, 0]
    assert int(batches[3].time_ns[0]) == int(batches[3].time_ns[1])  # known anew from here
    times = [int(batch.time_ns[0]) for batch in batches]
    assert times == sorted(times)


async def test_devices_of_one_line_answer_for_themselves_only() -> None:
    """Unit 6 answers late, into the time of unit 7: its frame is not taken for that of 7."""
    late = event(6, 1000, 6)

    def answers(request: bytes) -> list[tuple[float, bytes]]:
        unit = request[1]
        return [(0.3, late)] if unit == 6 else [(0.09, late), (0.1, event(7, 1000, 7))]

    stream = FakeStream(answers)
    ops = plan([*events(6), *events(7, 10)])
    assert len({op.request for op in ops}) == 2
    batch = await RequestReader(stream, LINE).read(ops, 0.2)
    assert batch.quality.tolist() == [Quality.NO_REPLY, Quality.NO_REPLY, 0, 0]
    assert batch.value[2:].tolist() == [7.0, 7.0]


STARTED = Options(
    "stuffed",
    mode="request",
    start="00 03 00",
    length=Length(at=3, plus=5, min=5, max=9),
    check=Check("sum8-inverted", 0, -1, -1),
    request="7E 00 03 00 FC 7E",
    on_start=(Command("FF", pause_ms=5), Command("7E 00 00 02 01 03 F9 7E", "7E 00 00", pause_ms=20)),
)


class Sps:
    """A device that measures once it has been told to."""

    def __init__(self) -> None:
        self.measures, self.is_on, self.heard = False, True, []

    def __call__(self, data: bytes) -> list[tuple[float, bytes]]:
        self.heard.append(data)
        if not self.is_on or data == b"\xff":
            return []
        if data[2] == 0x00:
            self.measures = True
            return [(0.01, bytes.fromhex("7E00000000FF7E"))]
        if not self.measures:
            return [(0.01, bytes.fromhex("7E00034300B97E"))]
        body = bytes.fromhex("00030004") + struct.pack(">f", 12.5)
        return [(0.01, b"\x7e" + body + bytes((~sum(body) & 0xFF,)) + b"\x7e")]


async def test_a_device_is_started_again_when_it_comes_back() -> None:
    sensor = Sps()
    stream = FakeStream(sensor)
    (op,) = plan([Point(0, "pm25", Device("air", 0, STARTED), Field(offset=4, type="float32"), 1.0)])
    reader = RequestReader(stream, LINE)

    async def read() -> tuple[int, int]:
        sensor.heard.clear()
        quality = int((await reader.read([op], 0.2)).quality[0])
        return quality, len(sensor.heard)

    assert await read() == (Quality.GOOD, 3)
    assert await read() == (Quality.GOOD, 1)
    sensor.is_on = sensor.measures = False
    assert await read() == (Quality.NO_REPLY, 1)
    assert await read() == (Quality.NO_REPLY, 2)  # woken, not told to start: no answer, nothing further
    sensor.is_on = True
    assert await read() == (Quality.GOOD, 3)
    sensor.measures = False  # it lost its power between two polls
    assert await read() == (Quality.BAD_REPLY, 1)
    assert await read() == (Quality.GOOD, 3)
    assert reader.counters["starts"] == 4


async def test_a_quiet_streaming_device_is_told_to_start_again() -> None:
    stream = FakeStream(lambda request: [(0.01, b"7\n")])
    options = Options("lines", fields=1, prefix="", on_start=(Command("47 4F"),))
    (op,) = plan([Point(0, "x", Device("x", 0, options), Field(field=0), 1.0)])
    reader = StreamReader(stream, LINE, op)
    await reader.read([op], 0.5)
    assert len(stream.sent) == 1
    for _ in range(60):
        await reader.read([op], 0.5)
    assert len(stream.sent) == 3
    assert reader.counters["starts"] == 3


UNMARKED = Options("binary", mode="request", length=4, check=Check("xor8", 0, 3, 3), request="3C 30 31 3E")
MARKED = Options("binary", mode="request", start="55", length=4, check=Check("xor8", 0, 3, 3), request="3C 30 31 3E")


@pytest.mark.parametrize("options", [UNMARKED, MARKED])
@pytest.mark.parametrize("pieces", [[4], [1, 3], [6], [2, 2]])
async def test_an_adapter_that_echoes_the_request(options: Options, pieces: list[int]) -> None:
    sent = bytes.fromhex("3C 30 31 3E 55 00 07 52")
    sizes = [*pieces, 8 - sum(pieces)]
    cuts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    parts = [(0.01 * i, sent[a:b]) for i, (a, b) in enumerate(pairwise(cuts))]
    (op,) = plan([Point(0, "x", Device("d", 0, options), Field(offset=2, type="uint8"), 1.0)])
    batch = await RequestReader(FakeStream(lambda request: parts), LINE).read([op], 0.2)
    assert batch.value.tolist() == [7.0]


CLOCKED = Options(
    "binary",
    mode="request",
    start="55",
    length=Length(1, 4, 40, 2),
    check="none",
    request="01",
    times=(Time("t", 0.001, offset=2, type="uint64", order="little"), Time("u", 0.001, offset=4, type="float32")),
)
TALKS = Options("binary", start="55", length=10, check="none", times=(Time("t", offset=2, type="float64"),))
CLOCK_LINES = Options("lines", fields=2, times=(Time("t", field=0),))


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(lambda b: b"\x55" + b), min_size=1, max_size=12))
async def test_no_bytes_end_a_link(replies: list[bytes]) -> None:
    """Whatever an answer or a stream holds is rows with a quality, in order, or nothing."""
    left = list(replies)
    stream = FakeStream(lambda request: [(0.01, left.pop(0))] if left else [])
    points = [
        Point(0, "a", Device("d", 0, CLOCKED), Field(offset=6, type="float64", time="t"), 1.0),
        Point(1, "b", Device("d", 0, CLOCKED), Field(offset=2, type="int24", time="u"), 1.0),
    ]
    (op,) = plan(points)
    reader = RequestReader(stream, LINE)
    for _ in replies:
        batch = await reader.read([op], 0.05)
        assert sorted(batch.channel.tolist()) == [0, 1]
        assert (batch.time_ns <= stream.now_ns()).all()
        assert np.array_equal(np.isnan(batch.value), batch.quality >= Quality.SENTINEL)
    for options, spec in ((TALKS, Field(offset=3, time="t")), (CLOCK_LINES, Field(field=1, time="t"))):
        stream = FakeStream()
        for reply in replies:
            stream.arrive(reply + b"\n", 0.01)
        (op,) = plan([Point(0, "x", Device("d", 0, options), spec, 1.0)])
        talker = StreamReader(stream, LINE, op)
        times = [time_ns for _ in replies for time_ns in (await talker.read([op], 0.05)).time_ns.tolist()]
        assert times == sorted(times)
        assert all(time_ns <= stream.now_ns() for time_ns in times)
