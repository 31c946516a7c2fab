"""Frames to rows in time order, from streams and from devices that are asked."""

from __future__ import annotations

import asyncio

import numpy as np
import peers
import pytest
from test_serial_codec import LOOPS, MHZ19B, PMS, PMS5003, pms

from protocols.api import Device, Link, PlanError, Point, Quality
from protocols.serial.driver import RequestReader, StreamReader, connect, plan
from protocols.serial.points import Field, Options
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
    other = Device("co2b", 0, MHZ19B)
    assert len(plan([*PPM, Point(10, "co2", other, Field(offset=2), 5.0)])) == 2


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
    async with connect(pty.link(), ops):
        pass
    pty.close()
    assert heard == b"\x7e\x01\x7e\x02"


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


async def test_a_cancelled_wait_for_fast_lines_loses_none() -> None:
    stream = FakeStream()
    (op,) = plan(COILS)
    reader = StreamReader(stream, LINE, op)
    stream.arrive(b"A[0]>1,2,3\nA[0]>4,")
    task = asyncio.ensure_future(reader.read([op], 1.0))
    while not reader.counters["frames"]:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stream.arrive(b"5,6\n")
    assert (await reader.read([op], 1.0)).value.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
