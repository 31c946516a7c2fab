"""Serial sensors: what raw loops cost, what gets through the checks, what a damaged frame takes with it.

loop_stream_core_share    8 loops at 2,000 lines a second through a pseudo terminal, one write a line, from there to
                          the Batch: CPU time of the whole reading process over the time passed
fuzz                      1e6 damaged frames a codec: bytes overwritten, lost, put in, cut off. A frame that was never
                          sent and comes out is `wrong_accepted`; of the wrong candidates that reach a check of b bits
                          one in 2^b passes by arithmetic (2^8 for sums, which single bytes decide)
resync_frames_lost        undamaged frames that one damage to a stream ever cost
fd_growth                 descriptors more after opening and closing a port many times
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
import tty
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.modbus_fuzz import poisson_quantile
from protocols.api import Batch, Device, Link, Point
from protocols.serial.checks import SUMS
from protocols.serial.codec import Decoder, parser
from protocols.serial.driver import connect
from protocols.serial.operations import plan
from protocols.serial.points import Check, Field, Fixed, Length, Options, stuff

LOOPS, RATE_HZ = 8, 2_000
STREAM_S = 10.0
FRAMES = 1_000_000
RESYNCS = 3_000
OPENINGS = 2_000
FAULTS = ("overwritten", "lost", "put in", "cut")
A_STREAM = 500  # frames pushed together
POOL = 10_000  # different whole frames

_FEEDER = """
import os, sys, time
fd, rate, seconds, loops = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
begun = time.monotonic()
for number in range(int(rate * seconds)):
    wait = begun + number / rate - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    values = ",".join(f"{(number % 1000) / 100 + loop:.4f}" for loop in range(loops))
    os.write(fd, f"A[0]>{values}\\n".encode())
print(number + 1)
"""


def run(full: bool) -> dict[str, Any]:
    figures = asyncio.run(_stream(STREAM_S * (6 if full else 1)))
    print(f"loop stream: {figures}", flush=True)
    figures |= _fuzz(FRAMES)
    figures["resync_frames_lost"] = _resync(RESYNCS * (10 if full else 1))
    figures["fd_growth"] = asyncio.run(_openings(OPENINGS * (5 if full else 1)))
    print({name: figures[name] for name in ("resync_frames_lost", "fd_growth")}, flush=True)
    return figures


# ---- raw loops


async def _stream(seconds: float) -> dict[str, Any]:
    device = Device("loops", 0, Options("lines", prefix="A[0]>", fields=LOOPS, rate_hz=float(RATE_HZ)))
    ops = plan([Point(i, f"loop{i}", device, Field(field=i), 1 / RATE_HZ) for i in range(LOOPS)])
    master, slave = os.openpty()
    tty.setraw(slave)
    link = Link("loops", f"serial:{os.ttyname(slave)}", baud=3_000_000)
    batches: list[Batch] = []
    async with connect(link, ops) as reader:
        arguments = [str(master), str(RATE_HZ), str(seconds), str(LOOPS)]
        feeder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _FEEDER, *arguments, pass_fds=(master,), stdout=asyncio.subprocess.PIPE
        )
        await reader.read(ops, 5.0)
        begun, cpu = time.monotonic(), time.process_time()
        while feeder.returncode is None:
            batches.append(await reader.read(ops, 0.5))
        passed_s = time.monotonic() - begun
        share = (time.process_time() - cpu) / passed_s
        counters = dict(reader.counters)
        told, _ = await feeder.communicate()
    os.close(master)
    os.close(slave)
    whole = Batch.join(batches)
    return {
        "loop_stream_core_share": round(share, 4),
        "loop_stream_samples_per_s": round(len(whole.channel) / passed_s),
        "loop_stream_lines_lost": int(told) - counters["frames"],
        "loop_stream_in_order": not whole.quality.any() and bool((np.diff(whole.time_ns) >= 0).all()),
    }


# ---- bad bytes


class _Codec(NamedTuple):
    name: str
    options: Options
    make: Callable[[random.Random], bytes]
    bits: int  # of which one in 2^bits passes
    field: Field


def _sealed(kind: str, body: bytes, order: Any = "big") -> bytes:
    return SUMS[kind].of(body).to_bytes(SUMS[kind].size, order)


def _pms(chance: random.Random) -> bytes:
    body = b"\x42\x4d\x00\x1c" + chance.randbytes(26)
    return body + _sealed("sum16", body)


def _mhz(chance: random.Random) -> bytes:
    body = b"\x86" + chance.randbytes(6)
    return b"\xff" + body + _sealed("sum8-negated", body)


def _sized(chance: random.Random) -> bytes:
    size = chance.randrange(1, 33)
    body = bytes((size,)) + chance.randbytes(size)
    return b"\xaa\x55" + body + _sealed("crc16-ccitt", body)


def _sps(chance: random.Random) -> bytes:
    body = b"\x00\x03\x00\x28" + chance.randbytes(40)
    return b"\x7e" + stuff(body + _sealed("sum8-inverted", body), b"\x7e", b"\x7d") + b"\x7e"


def _nmea(chance: random.Random) -> bytes:
    text = f"WIMWV,{chance.random() * 360:.1f},R,{chance.random() * 60:.2f},M,A".encode()
    return b"$" + text + b"*" + _sealed("xor8", text).hex().upper().encode() + b"\r\n"


CODECS = (
    _Codec(
        "fixed length, sum16",
        Options("binary", start="42 4D", length=32, fixed=(Fixed(2, "00 1C"),), check=Check("sum16", 0, 30, 30)),
        _pms,
        8,
        Field(offset=10),
    ),
    _Codec(
        "fixed length, sum8",
        Options("binary", start="FF 86", length=9, check=Check("sum8-negated", 1, 8, 8)),
        _mhz,
        8,
        Field(offset=2),
    ),
    _Codec(
        "any length, crc16",
        Options("binary", start="AA 55", length=Length(2, 6, 37, 5), check=Check("crc16-ccitt", 2, -2, -2)),
        _sized,
        16,
        Field(offset=3, type="uint8"),
    ),
    _Codec(
        "stuffed, sum8",
        Options("stuffed", start="00 03 00", length=Length(3, 5, 45, 5), check=Check("sum8-inverted", 0, -1, -1)),
        _sps,
        8,
        Field(offset=4, type="float32"),
    ),
    _Codec(
        "lines, xor8",
        Options("lines", prefix="$WIMWV,", fields=5, check=Check("xor8", 1, after="*"), terminator="\r\n"),
        _nmea,
        8,
        Field(field=0),
    ),
)


def _fuzz(frames: int) -> dict[str, Any]:
    chance = random.Random(20_26)
    by_codec = {}
    for codec in CODECS:
        tally = _fuzz_one(codec, frames, chance)
        print(f"damaged frames, {codec.name}: {tally}", flush=True)
        by_codec[codec.name] = tally
    return {
        "fuzz_frames": min(tally["frames"] for tally in by_codec.values()),
        "crashes": sum(tally["crashes"] for tally in by_codec.values()),
        "wrong_accepted": sum(tally["wrong_accepted"] for tally in by_codec.values()),
        "wrong_bound": sum(tally["bound"] for tally in by_codec.values()),
        "wrong_within_bound": all(tally["wrong_accepted"] <= tally["bound"] for tally in by_codec.values()),
        "fuzz_by_codec": by_codec,
    }


def _fuzz_one(codec: _Codec, frames: int, chance: random.Random) -> dict[str, int]:
    """Damaged frames, every second one followed by a whole one."""
    decoder = Decoder([Point(0, "x", Device("d", 0, codec.options), codec.field, 1.0)])
    pool = [codec.make(chance) for _ in range(POOL)]
    right = set(parser(codec.options).push(b"".join(pool)).frames)
    reader, crashes, wrong, good = parser(codec.options), 0, 0, 0
    for _ in range(frames // A_STREAM):
        whole = chance.choices(pool, k=A_STREAM)
        sent = b"".join([_damaged(frame, chance) + (frame if i % 2 else b"") for i, frame in enumerate(whole)])
        try:
            found = reader.push(sent).frames
            decoder.decode(found)
        except Exception as crash:
            print(f"crash in {codec.name}: {crash!r}", flush=True)
            crashes += 1
            reader = parser(codec.options)
            continue
        known = sum(map(right.__contains__, found))
        good, wrong = good + known, wrong + len(found) - known
    candidates = reader.counters["check_errors"] + wrong
    bound = poisson_quantile(candidates / 2**codec.bits, 0.999)
    return {
        "frames": frames,
        "crashes": crashes,
        "wrong_accepted": wrong,
        "candidates": candidates,
        "bound": bound,
        "right": good,
    }


def _damaged(frame: bytes, chance: random.Random) -> bytes:
    at = int(chance.random() * len(frame))
    upto = min(len(frame), at + 1 + int(chance.random() * 4))
    match FAULTS[int(chance.random() * 4)]:
        case "overwritten":
            return frame[:at] + chance.randbytes(upto - at) + frame[upto:]
        case "lost":
            return frame[:at] + frame[upto:]
        case "put in":
            return frame[:at] + chance.randbytes(upto - at) + frame[at:]
        case _:
            return frame[:at]


def _resync(trials: int) -> int:
    """The most undamaged frames that one damage cost, be it to a frame or between two."""
    chance = random.Random(4)
    worst = 0
    for number in range(trials):
        codec = CODECS[number % len(CODECS)]
        frames = [codec.make(chance) for _ in range(9)]
        hurt = chance.randrange(1, 6)
        if number % 3:
            sent = [*frames[:hurt], _damaged(frames[hurt], chance), *frames[hurt + 1 :]]
            kept = [*frames[:hurt], *frames[hurt + 1 :]]
        else:
            sent = [*frames[:hurt], chance.randbytes(chance.randrange(1, 60)), *frames[hurt:]]
            kept = frames
        wanted = parser(codec.options).push(b"".join(kept)).frames
        reader, data = parser(codec.options), b"".join(sent)
        found = {frame for i in range(0, len(data), 7) for frame in reader.push(data[i : i + 7]).frames}
        worst = max(worst, sum(frame not in found for frame in wanted[:-2]))
    return worst


# ---- descriptors


async def _openings(times: int) -> int:
    device = Device("air", 0, CODECS[0].options)
    ops = plan([Point(0, "x", device, Field(offset=10), 1.0)])
    master, slave = os.openpty()
    tty.setraw(slave)
    link = Link("air", f"serial:{os.ttyname(slave)}")
    before = 0
    for number in range(times + 1):
        async with connect(link, ops) as reader:
            await reader.read(ops, 0.0)
        if not number:
            before = len(os.listdir("/proc/self/fd"))
    after = len(os.listdir("/proc/self/fd"))
    os.close(master)
    os.close(slave)
    return after - before
