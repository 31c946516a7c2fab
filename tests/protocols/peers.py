"""Far ends for the drivers' tests: slaves on real sockets and real ptys, as simple as can be."""

from __future__ import annotations

import asyncio
import os
import struct
import tty
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from protocols.api import Device, Link, Point
from protocols.modbus.codec import mbap_frame, rtu_frame
from protocols.modbus.framing import ASCII
from protocols.modbus.points import Options, Register
from protocols.testing import Rig


def register(address: int) -> int:
    """What every slave here holds in register `address`."""
    return (address * 257 + 3) & 0xFFFF


def answer(function: int, address: int, count: int) -> bytes:
    """The PDU of a slave that has every register and coil."""
    if function in (1, 2):
        bits = sum((register(address + i) & 1) << i for i in range(count))
        size = (count + 7) // 8
        return bytes((function, size)) + bits.to_bytes(size, "little")
    values = b"".join(struct.pack(">H", register(address + i)) for i in range(count))
    return bytes((function, 2 * count)) + values


def rtu_answer(request: bytes) -> bytes:
    unit, function, address, count = struct.unpack(">BBHH", request[:6])
    return rtu_frame(unit, answer(function, address, count))


def ascii_answer(request: bytes) -> bytes:
    unit, function, address, count = struct.unpack(">BBHHx", bytes.fromhex(request[1:-2].decode()))
    return ASCII.frame(unit, answer(function, address, count))


def device(name: str = "meter", unit: int = 1, **options: object) -> Device:
    return Device(name, unit, Options(**options))  # type: ignore[arg-type]


def point(channel: int, where: Device, address: int, period_s: float = 1.0, **keys: object) -> Point:
    keys.setdefault("function", 3)
    scale, offset = float(keys.pop("scale", 1.0)), float(keys.pop("offset", 0.0))  # type: ignore[arg-type]
    spec = Register(address=address, **keys)  # type: ignore[arg-type]
    return Point(channel, f"{where.name}.{address}.{channel}", where, spec, period_s, scale, offset)


# ---- sockets

Frames = Callable[[int, int, bytes], Iterable[tuple[float, bytes]]]
"""(transaction, unit, PDU) to (seconds later, bytes)."""


def honest(transaction: int, unit: int, pdu: bytes) -> Iterable[tuple[float, bytes]]:
    yield 0.0, mbap_frame(transaction, unit, answer(*struct.unpack(">BHH", pdu)))


class TcpSlave:
    """Modbus TCP; `frames` says what comes back for a request."""

    def __init__(self, frames: Frames = honest) -> None:
        self.frames = frames
        self.muted = False
        self.requests: list[tuple[int, int, bytes]] = []
        self.deepest = 0  # most requests found in one segment or unanswered
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Rig]:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield Rig(Link("tcp", f"tcp://127.0.0.1:{port}"), self.mute, self.cut)
        finally:
            server.close()
            self.cut()
            await asyncio.sleep(0)

    def mute(self, muted: bool) -> None:
        self.muted = muted

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                transaction, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                pdu = await reader.readexactly(length - 1)
                self.requests.append((transaction, unit, pdu))
                if self.muted:
                    continue
                for delay_s, frame in self.frames(transaction, unit, pdu):
                    if delay_s:
                        loop.call_later(delay_s, _write, writer, frame)
                    else:
                        writer.write(frame)


class RawSlave(TcpSlave):
    """Any protocol over a socket whose requests are `size` bytes and have one answer each."""

    def __init__(self, size: int, reply: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._size, self._reply = size, reply

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await reader.readexactly(self._size)
                if not self.muted:
                    writer.write(self._reply(request))


def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    if not writer.transport.is_closing():
        writer.write(frame)


# ---- ptys


class Pty:
    """A serial port: `path` for the driver, `write` and `on_data` for the far end."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._loop = asyncio.get_running_loop()
        self.is_open = True

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        self._loop.add_reader(self._master, lambda: on_data(os.read(self._master, 4096)))

    def write(self, data: bytes) -> None:
        if self.is_open:
            os.write(self._master, data)

    async def write_all(self, data: bytes) -> None:
        """As fast as the other side takes it."""
        while data:
            with suppress(BlockingIOError):
                data = data[os.write(self._master, data) :]
            await asyncio.sleep(0)

    def close(self) -> None:
        """Unplug."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._master)
            os.close(self._slave)
            os.close(self._master)

    def link(self, baud: int = 115_200) -> Link:
        return Link("line", f"serial:{self.path}", baud=baud)


@asynccontextmanager
async def rtu_slave(
    answers: Callable[[bytes], Iterable[tuple[float, bytes]]] = lambda r: [(0.0, rtu_answer(r))],
) -> AsyncIterator[tuple[Rig, list[bytes]]]:
    """A slave on a pty, and the requests it has seen. Requests are told apart by their length of 8."""
    pty, seen, heard = Pty(), [], bytearray()
    loop, muted = asyncio.get_running_loop(), [False]

    def hear(data: bytes) -> None:
        heard.extend(data)
        while len(heard) >= 8:
            request = bytes(heard[:8])
            del heard[:8]
            seen.append(request)
            if not muted[0]:
                for delay_s, frame in answers(request):
                    if delay_s:
                        loop.call_later(delay_s, pty.write, frame)
                    else:
                        pty.write(frame)

    pty.listen(hear)
    try:
        yield Rig(pty.link(), lambda m: muted.__setitem__(0, m), pty.close), seen
    finally:
        pty.close()


@asynccontextmanager
async def ascii_slave() -> AsyncIterator[Rig]:
    """Modbus ASCII on a pty; requests end with a line feed."""
    pty, heard, muted = Pty(), bytearray(), [False]

    def hear(data: bytes) -> None:
        heard.extend(data)
        while b"\n" in heard:
            request, _, rest = bytes(heard).partition(b"\n")
            heard[:] = rest
            if not muted[0]:
                pty.write(ascii_answer(request + b"\n"))

    pty.listen(hear)
    try:
        yield Rig(Link("line", f"ascii:{pty.path}", baud=115_200), lambda m: muted.__setitem__(0, m), pty.close)
    finally:
        pty.close()


@asynccontextmanager
async def talker(frame: bytes, every_s: float = 0.005) -> AsyncIterator[Rig]:
    """A device on a pty that sends `frame` over and over."""
    pty, muted = Pty(), [False]

    async def talk() -> None:
        while True:
            if not muted[0]:
                pty.write(frame)
            await asyncio.sleep(every_s)

    pty.listen(lambda data: None)
    task = asyncio.ensure_future(talk())
    try:
        yield Rig(pty.link(9600), lambda m: muted.__setitem__(0, m), pty.close)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        pty.close()
