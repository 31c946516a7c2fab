"""`citygate capture --replay FILE`: a captured link as a simulated device: what was asked then is answered as then.

In: a capture of a Modbus or serial link. Out: a pty or a TCP port. A request that was seen gets the replies it got,
in turn, silence where it got none. A Modbus read that was not seen is answered from the registers that the capture
shows; what nothing is known of stays unanswered and is counted. A line that only spoke speaks again, at its own pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.field.capture import Frame, Line
from gateway.sim.line import PtyLine
from gateway.spool.trouble import Trouble
from gateway.tools.capture import opened
from protocols.modbus.crc import crc16

LATEST_S = 2.0  # a reply is not kept back longer than this
_BITS, _REGISTERS = (1, 2), (3, 4)


@dataclass(slots=True)
class Reply:
    """`data` came `after_s` behind its request."""

    data: bytes
    after_s: float


@dataclass(slots=True)
class Recorded:
    """Requests without their transaction, what each got in turn, and the registers seen: (unit, function, address)."""

    replies: dict[bytes, list[Reply | None]] = field(default_factory=dict)
    registers: dict[tuple[int, int, int], int] = field(default_factory=dict)
    spoken: list[Reply] = field(default_factory=list)  # what came unasked, `after_s` since the one before
    turn: Counter[bytes] = field(default_factory=Counter)
    unknown: int = 0
    answered: int = 0

    def answer(self, request: bytes, is_modbus: bool) -> Reply | None:
        """What this request gets; None for silence."""
        known = self.replies.get(request)
        if known is not None:
            self.turn[request] += 1
            found = known[(self.turn[request] - 1) % len(known)]
            self.answered += found is not None
            return found
        made = self._from_registers(request) if is_modbus else None
        self.answered += made is not None
        self.unknown += made is None
        return made

    def _from_registers(self, request: bytes) -> Reply | None:
        if len(request) != 6 or request[1] not in (*_BITS, *_REGISTERS):
            return None
        unit, function, first, count = struct.unpack(">BBHH", request)
        values = [self.registers.get((unit, function, first + at)) for at in range(count)]
        if not count or any(value is None for value in values):
            return None
        if function in _REGISTERS:
            body = struct.pack(f">{count}H", *(value or 0 for value in values))
        else:
            packed = sum(1 << at for at, value in enumerate(values) if value)
            body = packed.to_bytes((count + 7) // 8, "little")
        return Reply(bytes((unit, function, len(body))) + body, 0.0)


def recorded(line: Line, frames: Sequence[Frame]) -> Recorded:
    """What a capture of one link knows."""
    found = Recorded()
    asked: list[tuple[bytes, bytes, int]] = []  # (bare request, how it was framed, time) that wait for their reply
    last_ns = frames[0].time_ns if frames else 0
    for frame in frames:
        for bare, tag in _bare(line, frame.data):
            if frame.sent:
                _unanswered(found, asked if line.kind != "mbtcp" else [], bare)
                asked.append((bare, tag, frame.time_ns))
                continue
            match = next((one for one in asked if one[1] == tag), None)
            if match is None:
                if not asked:
                    found.spoken.append(Reply(bare, (frame.time_ns - last_ns) / 1e9))
                    last_ns = frame.time_ns
                continue
            asked.remove(match)
            wait_s = min(LATEST_S, max(0.0, (frame.time_ns - match[2]) / 1e9))
            found.replies.setdefault(match[0], []).append(Reply(bare, wait_s))
            _learn(found, match[0], bare)
    for bare, _, _ in asked:
        found.replies.setdefault(bare, []).append(None)
    return found


def _unanswered(found: Recorded, asked: list[tuple[bytes, bytes, int]], bare: bytes) -> None:
    """On a line the next request says that the one before got nothing."""
    for old, _, _ in asked:
        found.replies.setdefault(old, []).append(None)
    asked.clear()


def _learn(found: Recorded, request: bytes, reply: bytes) -> None:
    if len(request) != 6 or request[:2] != reply[:2] or request[1] not in (*_BITS, *_REGISTERS):
        return
    unit, function, first, count = struct.unpack(">BBHH", request)
    data = reply[3:]
    if function in _REGISTERS and len(data) == 2 * count:
        for at, value in enumerate(struct.unpack(f">{count}H", data)):
            found.registers[unit, function, first + at] = value
    elif function in _BITS and len(data) == (count + 7) // 8:
        for at in range(count):
            found.registers[unit, function, first + at] = data[at // 8] >> at % 8 & 1


def _bare(line: Line, data: bytes) -> list[tuple[bytes, bytes]]:
    """(unit and PDU, or the bytes of any other protocol; what request and reply have in common)."""
    if line.kind == "mbtcp":
        found = []
        while len(data) >= 8:
            size = 6 + struct.unpack_from(">H", data, 4)[0]
            found.append((data[6:size], data[:2]))
            data = data[size:]
        return found
    if line.kind == "mbrtu" and len(data) >= 4 and struct.pack("<H", crc16(data[:-2])) == data[-2:]:
        return [(data[:-2], b"")]
    return [(data, b"")]


def run(path: str, *, link: str, port: int | None) -> int:
    """Until Ctrl-C. 1 where the capture cannot be replayed."""
    found = opened(path)
    if found is None:
        return 1
    lines, frames = found
    named = [number for number, line in enumerate(lines) if link in ("", line.name)]
    fits = [number for number in named if lines[number].kind in ("mbtcp", "mbrtu", "serial")]
    if len(fits) != 1:
        names = ", ".join(f"{line.name} ({line.kind})" for line in lines)
        print(
            Trouble(
                "CG-5154",
                f"{path} has {len(fits)} links that can be replayed: {names}",
                f"{path}: 재생할 링크를 하나로 정할 수 없습니다: {names}",
                next_en="Name one with --link; Modbus RTU, Modbus TCP and serial lines can be replayed",
                next_ko="--link 로 하나를 지정하십시오. Modbus RTU/TCP 와 시리얼만 재생할 수 있습니다",
            ),
            file=sys.stderr,
        )
        return 1
    line = lines[fits[0]]
    known = recorded(line, [frame for frame in frames if frame.line == fits[0]])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(line, known, port, lambda where: print(where, flush=True)))
    print(f"{known.answered} requests answered, {known.unknown} unknown")
    return 0


async def serve(line: Line, known: Recorded, port: int | None, told: Callable[[str], None]) -> None:
    """Until cancelled. `told` gets the address once it can be opened."""
    over_tcp = port is not None or "tcp" in line.url.partition(":")[0]
    if over_tcp:
        async with await asyncio.start_server(_handler(line, known), "127.0.0.1", port or 0) as server:
            scheme = {"mbtcp": "tcp", "mbrtu": "rtu+tcp"}.get(line.kind, "tcp")
            told(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await server.serve_forever()
    bits = 1 + line.data_bits + (line.parity != "N") + line.stop_bits
    async with PtyLine(line.baud, bits) as pty:
        told(f"serial:{pty.path}")
        await _speak(line, known, pty.receive, pty.put)


def _handler(line: Line, known: Recorded) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def receive() -> bytes:
            data = await reader.read(4096)
            if not data:
                raise ConnectionResetError("the client has gone")
            return data

        def put(data: bytes) -> bool:
            writer.write(data)
            return True

        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if line.kind == "mbtcp":
                await _speak_tcp(known, reader, writer)
            else:
                await _speak(line, known, receive, put)
        writer.close()

    return handle


async def _speak_tcp(known: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readexactly(6)
        body = await reader.readexactly(struct.unpack_from(">H", head, 4)[0])
        reply = known.answer(body, True)
        if reply is not None:
            await asyncio.sleep(reply.after_s)
            writer.write(head[:4] + struct.pack(">H", len(reply.data)) + reply.data)


async def _speak(
    line: Line, known: Recorded, receive: Callable[[], Awaitable[bytes]], put: Callable[[bytes], bool]
) -> None:
    speaking = asyncio.ensure_future(_recite(known, put)) if known.spoken and not known.replies else None
    buffer = b""
    try:
        while True:
            buffer += await receive()
            for end in range(1, len(buffer) + 1):  # a request may come in pieces, and behind noise
                bare = _request(line, buffer[:end], known.replies)
                if bare is not None:
                    buffer = buffer[end:]
                    await _reply(line, known.answer(bare, line.kind == "mbrtu"), put)
                    break
            buffer = buffer[-512:]
    finally:
        if speaking is not None:
            speaking.cancel()


async def _reply(line: Line, reply: Reply | None, put: Callable[[bytes], bool]) -> None:
    if reply is None:
        return
    await asyncio.sleep(reply.after_s)
    whole = line.kind == "mbrtu" and len(reply.data) >= 2
    put(reply.data + struct.pack("<H", crc16(reply.data)) if whole else reply.data)


def _request(line: Line, data: bytes, replies: Mapping[bytes, object]) -> bytes | None:
    if line.kind != "mbrtu":
        return data if data in replies else None
    is_whole = len(data) >= 4 and struct.pack("<H", crc16(data[:-2])) == data[-2:]
    return data[:-2] if is_whole else None


async def _recite(known: Recorded, put: Callable[[bytes], bool]) -> None:
    while True:
        for one in known.spoken:
            await asyncio.sleep(max(0.001, one.after_s))
            put(one.data)
        await asyncio.sleep(0.1)
