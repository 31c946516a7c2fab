"""An RS-485 line with Modbus slaves on it, bit by bit: wrong rates and parity, two slaves that answer at once, noise.

In: a request as the master's port sends it, and how that port is set. Out: what the port receives, and when. `Bus` is
pure but for its own random numbers; `serve_bus` plays it on a pseudo terminal, `peer` for a fake stream.

A pty tells its baud rate but keeps no parity: a master that knows writes "BAUD PARITY STOP" into the file `SETTINGS`
beside the pty's link. Without the file any parity fits.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import struct
import termios
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymodbus.framer import FramerRTU

from gateway.sim.image import ModbusImage
from gateway.sim.line import PtyLine
from gateway.sim.uart import Char, Setting, heard, wave
from protocols.api import Point

SETTINGS = ".settings"  # behind the name of the pty's link
SILENT, CRC, LATE, EXCEPTION, STUCK = FAULTS = ("silent", "crc", "late", "exception", "stuck")
LATE_S = 1.5
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4
FACTORY = Setting()
Value = Callable[[Point], float]


def with_crc(body: bytes) -> bytes:
    return body + struct.pack(">H", FramerRTU.compute_CRC(body))


class Slave:
    """One device: its tables as its profile declares them. What lies between its points reads 0, what lies beyond
    them is refused, as real devices do."""

    def __init__(
        self,
        unit: int,
        points: Sequence[Point],
        value: Value,
        setting: Setting = FACTORY,
        *,
        delay_s: float = 0.004,
        jitter_s: float = 0.0005,
        texts: Mapping[str, str] | None = None,
    ) -> None:
        """`texts`: what the device says of itself, by the names of its profile (vendor, product, revision, or those
        of `identity`)."""
        self.unit, self.setting, self.delay_s, self.jitter_s = unit, setting, delay_s, jitter_s
        self.fault = ""
        self.fault_rate = 1.0
        self._image, self._value = ModbusImage(points), value
        self._texts = dict(texts or {})
        self._options: Any = points[0].device.options if points else None
        self._windows: dict[int, list[tuple[int, int]]] = {}
        for point in sorted(points, key=lambda p: p.spec.first):
            self._windows.setdefault(point.spec.function, []).append((point.spec.first, point.spec.beyond))
        for text in self._options.identity if self._options is not None else ():
            self._windows.setdefault(text.function, []).append((text.address, text.address + text.registers))
        self._held: dict[str, float] = {}

    def answer(self, pdu: bytes) -> bytes:
        """The reply's PDU."""
        if pdu[:2] == b"\x2b\x0e":
            return self._identity(pdu)
        function = pdu[0]
        if function not in self._windows or len(pdu) != 5:
            return bytes((function | 0x80, ILLEGAL_FUNCTION))
        address, count = struct.unpack(">HH", pdu[1:])
        if not 1 <= count <= (2000 if function < 3 else self._options.max_registers):
            return bytes((function | 0x80, ILLEGAL_VALUE))
        windows = self._windows[function]
        low, high = min(start for start, _ in windows), max(end for _, end in windows)
        if address < low or address + count > high + self._options.max_gap:
            return bytes((function | 0x80, ILLEGAL_ADDRESS))
        if function in (1, 2):
            bits, _ = self._image.bits(function, address, count, self._now)
            data = bytearray((count + 7) // 8)
            for at, bit in enumerate(bits):
                data[at // 8] |= bit << at % 8
        else:
            words, _ = self._image.registers(function, address, count, self._now)
            data = bytearray(struct.pack(f">{count}H", *words))
            self._put_texts(function, address, count, data)
        return bytes((function, len(data))) + data

    def _now(self, point: Point) -> float:
        if self.fault == STUCK:
            return self._held.setdefault(point.name, self._value(point))
        self._held[point.name] = self._value(point)
        return self._held[point.name]

    def _put_texts(self, function: int, address: int, count: int, data: bytearray) -> None:
        for text in self._options.identity:
            if text.function != function:
                continue
            said = self._texts.get(text.name, "").encode("ascii", "replace")[: 2 * text.registers]
            said = said.ljust(2 * text.registers, b"\0")
            if text.order == "BADC":
                said = b"".join(said[i : i + 2][::-1] for i in range(0, len(said), 2))
            for at, byte in enumerate(said, 2 * (text.address - address)):
                if 0 <= at < 2 * count:
                    data[at] = byte

    def _identity(self, pdu: bytes) -> bytes:
        names = ("vendor", "product", "revision")
        if self._options is None or not self._options.device_id or pdu[2] != 1:
            return bytes((0xAB, ILLEGAL_FUNCTION))
        objects = b"".join(
            bytes((number, len(said))) + said
            for number, name in enumerate(names)
            for said in (self._texts.get(name, "").encode("ascii", "replace"),)
        )
        return bytes((0x2B, 0x0E, 1, 1, 0, 0, len(names))) + objects


@dataclass(slots=True)
class Bus:
    """`echo`: the adapter hears what it sends. `noise`: the chance that a received character has a bit turned over.
    `babble`: bytes that somebody else puts behind every request."""

    slaves: Sequence[Slave]
    echo: bool = False
    noise: float = 0.0
    babble: int = 0
    seed: int = 1
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def exchange(self, request: bytes, host: Setting) -> list[Char]:
        """Characters that the master's port receives, times in seconds from the first bit it sent."""
        sent = wave(request, host, 0.0)
        waves = [sent] if self.echo else []
        for slave in self.slaves:
            if (reply := self._reply(slave, request, host)) is None:
                continue
            data, late_s = reply
            silence_s = max(3.5 * slave.setting.char_s, 0.00175)
            jitter_s = self._random.uniform(0.0, slave.jitter_s)
            waves.append(wave(data, slave.setting, sent.end_s + silence_s + slave.delay_s + jitter_s + late_s))
        chars = heard(waves, host) if waves else []
        if self.babble:
            start_s = sent.end_s + 0.01
            noise = (self._random.randrange(256) for _ in range(self.babble))
            chars += [Char(start_s + i * host.char_s, byte, True) for i, byte in enumerate(noise)]
        return [self._noisy(char) for char in chars]

    def _reply(self, slave: Slave, request: bytes, host: Setting) -> tuple[bytes, float] | None:
        same = host.baud == slave.setting.baud and host.parity in ("", slave.setting.parity)
        if same:
            received = request
        else:
            chars = heard([wave(request, host, 0.0)], slave.setting)
            if not all(char.is_clean for char in chars):
                return None  # a slave drops a frame with a wrong parity or stop bit
            received = bytes(char.byte for char in chars)
        if len(received) < 4 or received[0] != slave.unit or with_crc(received[:-2]) != received:
            return None
        failing = bool(slave.fault) and self._random.random() < slave.fault_rate
        if failing and slave.fault == SILENT:
            return None
        if failing and slave.fault == EXCEPTION:
            return with_crc(bytes((slave.unit, received[1] | 0x80, DEVICE_FAILURE))), 0.0
        reply = with_crc(bytes((slave.unit,)) + slave.answer(received[1:-2]))
        if failing and slave.fault == CRC:
            at = self._random.randrange(2, len(reply))
            reply = reply[:at] + bytes((reply[at] ^ 1 << self._random.randrange(8),)) + reply[at + 1 :]
        return reply, LATE_S if failing and slave.fault == LATE else 0.0

    def _noisy(self, char: Char) -> Char:
        if self.noise and self._random.random() < self.noise:
            return char._replace(byte=char.byte ^ 1 << self._random.randrange(8))
        return char

    def peer(self, host: Setting) -> Callable[[bytes], Iterable[tuple[float, bytes]]]:
        """For `protocols.testing.FakeStream`: (seconds later, bytes)."""
        return lambda request: [(char.time_s, bytes((char.byte,))) for char in self.exchange(request, host)]


def setting_of(line: PtyLine, settings: Path | None) -> Setting:
    """How the master has set its end: the rate from the pty itself, parity and stop bits from the file, if any."""
    code = termios.tcgetattr(line.fileno())[5]
    baud = _BAUDS.get(code, 9600)
    with contextlib.suppress(OSError, ValueError):
        if settings is not None:
            told, parity, stop_bits = settings.read_text(encoding="ascii").split()
            return Setting(int(told), parity, int(stop_bits))
    return Setting(baud, "")


_BAUDS = {
    getattr(termios, name): int(name[1:]) for name in dir(termios) if re.fullmatch(r"B[1-9]\d*", name)
}  # termios' own codes


async def serve_bus(line: PtyLine, bus: Bus, settings: Path | None = None) -> None:
    """Answer on `line` until cancelled, each character when it would have left the wire."""
    loop = asyncio.get_running_loop()
    while True:
        request = await line.receive()
        begun = loop.time()
        host = setting_of(line, settings)
        with contextlib.suppress(TimeoutError):
            while not _is_whole(request):
                async with asyncio.timeout(0.05):
                    request += await line.receive()
        for chunk, end_s in _chunks(bus.exchange(request, host), host.char_s):
            await asyncio.sleep(max(0.0, begun + end_s - loop.time()))
            line.put(chunk)


def _is_whole(request: bytes) -> bool:
    return len(request) >= (7 if request[1:2] == b"\x2b" else 8)


def _chunks(chars: Sequence[Char], char_s: float) -> list[tuple[bytes, float]]:
    """Characters that follow one another closely, and when the last of them is in."""
    found: list[tuple[bytes, float]] = []
    for char in sorted(chars, key=lambda one: one.time_s):
        if found and char.time_s - found[-1][1] < 3 * char_s:
            found[-1] = found[-1][0] + bytes((char.byte,)), char.time_s
        else:
            found.append((bytes((char.byte,)), char.time_s))
    return found
