"""Bad replies against the transaction layers, on a line with a virtual clock: how many values were believed wrongly.

Every register's value tells its unit, its address and the request it was read by, so whatever is delivered as good can
be held against what that very request had to bring. Faults come at random between honest answers:

    late        the answer to a request comes 1 to 4.9 s after its time-out
    duplicated  the answer comes twice: RTU while its line is still busy with it, TCP up to 5 s later
    foreign     a whole frame of another unit, function, length or transaction, before the answer or in its place
    truncated   the answer stops anywhere
    corrupted   bits flipped, bytes replaced, bytes lost or put in; on TCP, whose checksum guards the data, in the head

A CRC of 16 bits passes one in 65,536 of those corruptions that it does not catch by construction (up to 3 bits, or a
burst of 16): `crc_bound` is the Poisson 99.9 % quantile of the number to be expected.
"""

from __future__ import annotations

import asyncio
import math
import random
import struct
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from protocols.api import Batch, Device, Link, LinkDown, Point, Quality
from protocols.modbus.crc import crc16
from protocols.modbus.planner import ReadBlock, plan
from protocols.modbus.points import Options, Register
from protocols.modbus.rtu import RtuReader
from protocols.modbus.tcp import TcpReader
from protocols.testing import FakeStream

RTU_SHARE = 0.6
UNITS = 4
TIMEOUT_S = 0.2
FAULTY = 0.5  # of all answers
FAULTS = ("late", "duplicated", "foreign", "truncated", "corrupted")
A_STREAM = 2_000  # frames, then a fresh one
CHAR_S = 10 / 19_200

Later = list[tuple[float, bytes]]


def fuzz(frames: int) -> dict[str, Any]:
    """Figures over `frames` bad replies."""
    random_source = random.Random(20_26)
    tallies = [
        asyncio.run(_trial(_Rtu(random_source), round(frames * RTU_SHARE))),
        asyncio.run(_trial(_Tcp(random_source), round(frames * (1 - RTU_SHARE)))),
    ]
    for tally in tallies:
        print(f"bad replies, {tally}", flush=True)
    undetected = sum(tally.wide for tally in tallies) / 65_536
    return {
        "frames_tried": sum(tally.frames for tally in tallies),
        "crashes": sum(tally.crashes for tally in tallies),
        "wrong_accepted": sum(tally.wrong for tally in tallies),
        "crc_bound": poisson_quantile(undetected, 0.999),
    }


def poisson_quantile(mean: float, share: float) -> int:
    """The least k of which P(N <= k) >= `share`."""
    if not mean:
        return 0
    k = max(0, math.floor(mean - 12.0 * math.sqrt(mean)))  # below lies less than a float can add
    term = math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
    total = term
    while total < share:
        k += 1
        term *= mean / k
        total += term
    return k


class _Far:
    """The far end of one kind of line: answers requests, some of them badly."""

    name = ""

    def __init__(self, random_source: random.Random) -> None:
        self.random = random_source
        self.number = 0  # of the request: part of every value
        self.asked: dict[int, list[int]] = {}  # unit -> requests of this read
        self.by_kind = dict.fromkeys(FAULTS, 0)
        self.wide = self.wrong = self.crashes = self.good = self.downs = 0

    @property
    def frames(self) -> int:
        return sum(self.by_kind.values())

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.by_kind}, {self.good} good values, {self.wrong} wrong, {self.crashes} crashes, "
            f"{self.downs} links given up"
        )

    def reader(self, stream: FakeStream) -> Any:
        raise NotImplementedError

    def peer(self, data: bytes) -> Later:
        raise NotImplementedError

    def told(self, unit: int, address: int, count: int) -> bytes:
        """The registers' bytes as the answer to a request that just came in."""
        self.number += 1
        self.asked.setdefault(unit, []).append(self.number)
        return b"".join(value(self.number, unit, address + i).to_bytes(2, "big") for i in range(count))

    def fault(self) -> str:
        if self.random.random() >= FAULTY:
            return ""
        kind = self.random.choice(FAULTS)
        self.by_kind[kind] += 1
        return kind

    def spoilt(self, frame: bytes, low: int, high: int) -> bytes:
        """Damage between bytes `low` and `high`."""
        damaged = bytearray(frame)
        match self.random.randrange(5):
            case 0:  # 1 to 3 bits: a CRC catches them all
                for _ in range(self.random.randint(1, 3)):
                    damaged[self.random.randrange(low, high)] ^= 1 << self.random.randrange(8)
            case 1:
                self.wide += 1
                for at in range(low, high):
                    damaged[at] ^= self.random.getrandbits(8)
            case 2:
                self.wide += 1
                for _ in range(self.random.randint(4, 20)):
                    damaged[self.random.randrange(low, high)] ^= 1 << self.random.randrange(8)
            case 3:
                self.wide += 1
                del damaged[self.random.randrange(low, high)]
            case 4:
                self.wide += 1
                damaged.insert(self.random.randrange(low, high), self.random.getrandbits(8))
        return bytes(damaged)


def value(number: int, unit: int, address: int) -> int:
    return (number * 40_503 + unit * 10_007 + address * 257) & 0xFFFF


class _Rtu(_Far):
    name = "RTU"

    def reader(self, stream: FakeStream) -> Any:
        return RtuReader(stream, Link("fuzz", "serial:/dev/none", 19_200))

    def peer(self, data: bytes) -> Later:
        unit, function, address, count = struct.unpack_from(">BBHH", data)
        frame = self.sealed(bytes((unit, function, 2 * count)) + self.told(unit, address, count))
        took_s = (len(data) + len(frame)) * CHAR_S + 0.004
        match self.fault():
            case "late":
                return [(took_s + TIMEOUT_S + self.random.uniform(1.0, 4.9), frame)]
            case "duplicated":
                return [(took_s, frame), (took_s + self.random.uniform(0.0, 3.0) * CHAR_S, frame)]
            case "foreign":
                stranger = self.stranger(unit, function, count)
                return [(took_s, stranger), *([(took_s * 2, frame)] if self.random.random() < 0.5 else [])]
            case "truncated":
                return [(took_s, frame[: self.random.randrange(1, len(frame))])]
            case "corrupted":
                return [(took_s, self.spoilt(frame, 0, len(frame)))]
        return [(took_s, frame)]

    def stranger(self, unit: int, function: int, count: int) -> bytes:
        match self.random.randrange(3):
            case 0:
                unit = unit % UNITS + 1
            case 1:
                function = 4
            case 2:
                count += self.random.randint(9, 20)  # further than a request after a time-out is lengthened
        return self.sealed(bytes((unit, function, 2 * count)) + self.random.randbytes(2 * count))

    @staticmethod
    def sealed(body: bytes) -> bytes:
        return body + crc16(body).to_bytes(2, "little")


class _Tcp(_Far):
    name = "TCP"

    def reader(self, stream: FakeStream) -> Any:
        return TcpReader(stream, "tcp://fuzz")

    def peer(self, data: bytes) -> Later:
        return [later for at in range(0, len(data), 12) for later in self.one(data[at : at + 12])]

    def one(self, request: bytes) -> Later:
        transaction, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", request)
        frame = self.framed(transaction, unit, bytes((function, 2 * count)) + self.told(unit, address, count))
        took_s = self.random.uniform(0.001, 0.01)
        match self.fault():
            case "late":
                return [(TIMEOUT_S + self.random.uniform(0.001, 5.0), frame)]
            case "duplicated":
                return [(took_s, frame), (took_s + self.random.uniform(0.0, 5.0), frame)]
            case "foreign":
                pdu = bytes((function, 2 * count)) + self.random.randbytes(2 * count)
                stranger = self.framed(transaction, unit % UNITS + 1, pdu)
                if self.random.random() < 0.5:
                    stranger = self.framed((transaction + self.random.randint(20, 60_000)) & 0xFFFF, unit, pdu)
                return [(took_s, stranger), (took_s * 2, frame)]
            case "truncated":
                return [(took_s, self.shortened(transaction, unit, frame))]
            case "corrupted":
                wide = self.wide
                spoilt = self.spoilt(frame, 4, 9)
                self.wide = wide  # no CRC to be passed here
                return [(took_s, spoilt)]
        return [(took_s, frame)]

    def shortened(self, transaction: int, unit: int, frame: bytes) -> bytes:
        """Half of them say so in their length, as a device that answers too little; the rest stop short of it."""
        cut = self.random.randrange(9, len(frame))
        return self.framed(transaction, unit, frame[7:cut]) if self.random.random() < 0.5 else frame[:cut]

    @staticmethod
    def framed(transaction: int, unit: int, pdu: bytes) -> bytes:
        return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


async def _trial(far: _Far, frames: int) -> _Far:
    ops = plan(_points())
    by_channel = {channel: (op.unit, op.address + i) for op in ops for i, channel in enumerate(op.channels)}
    while far.frames < frames:
        stream = FakeStream(far.peer)
        reader, until = far.reader(stream), far.frames + A_STREAM
        while far.frames < min(until, frames):
            try:
                for turn in _turns(far, ops):
                    far.asked.clear()
                    _check(far, await reader.read(turn, TIMEOUT_S), by_channel)
                    await stream.wait_until(stream.now_ns() + 20_000_000)
                stream.sent.clear()
            except LinkDown:  # what a connection that talks nonsense is: opened again
                far.downs += 1
                break
            except Exception:  # the count is the figure
                traceback.print_exc()
                far.crashes += 1
                break
    return far


def _turns(far: _Far, ops: Sequence[ReadBlock]) -> Iterator[Sequence[ReadBlock]]:
    """RTU is asked one block at a time, as the scheduler does; TCP all at once."""
    if far.name == "TCP":
        yield ops
    else:
        yield from ((op,) for op in ops)


def _check(far: _Far, batch: Batch, by_channel: dict[int, tuple[int, int]]) -> None:
    for channel, got, quality in zip(batch.channel.tolist(), batch.value.tolist(), batch.quality.tolist(), strict=True):
        if quality < Quality.SENTINEL:
            far.good += 1
            unit, address = by_channel[channel]
            if not any(value(number, unit, address) == got for number in far.asked.get(unit, ())):
                far.wrong += 1


def _points() -> list[Point]:
    """Four units with three blocks each, two of them of the same length: what a late answer could be taken for."""
    points: list[Point] = []
    for unit in range(1, UNITS + 1):
        device = Device(f"d{unit}", unit, Options(depth=4))
        for first, count in ((0, 8), (100, 8), (200, 5)):
            for address in range(first, first + count):
                points.append(Point(len(points), f"{unit}.{address}", device, Register(3, address), 1.0))
    return points
