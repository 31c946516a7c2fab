"""Simulated Modbus devices on TCP and on a paced RTU line, behind pymodbus's framers and PDUs.

A dead device answers nothing, as one without power does; its neighbours on the line go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsResponse, ReadDiscreteInputsResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse

from gateway.sim.image import ModbusImage
from gateway.sim.line import PtyLine
from gateway.sim.world import Sent, World
from gateway.site.plan import LinkPlan
from protocols.api import Point

ILLEGAL_FUNCTION = 1
DEVICE_DELAY_S = 0.004  # a slave's own time before it answers
RESPONSES: dict[int, type[ModbusPDU]] = {
    1: ReadCoilsResponse,
    2: ReadDiscreteInputsResponse,
    3: ReadHoldingRegistersResponse,
    4: ReadInputRegistersResponse,
}
Now = Callable[[], tuple[int, float]]  # (CLOCK_BOOTTIME ns, play time s)


class Units:
    """The devices behind one address, by unit number."""

    def __init__(self, link: LinkPlan, world: World, sent: Sent, now: Now) -> None:
        points = link.points
        self._asked = _asked(link)
        by_unit: dict[int, list[Point]] = {}
        for point in points:
            by_unit.setdefault(point.device.unit, []).append(point)
        self._images = {unit: ModbusImage(mine) for unit, mine in by_unit.items()}
        self._names = {point.device.unit: point.device.name for point in points}
        self._world, self._sent, self._now = world, sent, now

    def answer(self, request: ModbusPDU) -> tuple[ModbusPDU, Mapping[str, float]] | None:
        """The reply and the values in it (by channel name); None where nobody with that number is alive."""
        _, at_s = self._now()
        name = self._names.get(request.dev_id)
        if name is None or not self._world.alive(name, at_s):
            return None
        image, function = self._images[request.dev_id], request.function_code
        if function not in RESPONSES:
            return self._address(ExceptionResponse(function, ILLEGAL_FUNCTION), request), {}

        def value(point: Point) -> float:
            return self._world.value(f"{name}.{point.name}", at_s)

        if function in (1, 2):
            bits, told = image.bits(function, request.address, request.count, value)
            reply = RESPONSES[function](bits=bits)
        else:
            registers, told = image.registers(function, request.address, request.count, value)
            reply = RESPONSES[function](registers=registers)
        asked = self._asked.get((request.dev_id, function, request.address, request.count), frozenset())
        return self._address(reply, request), {f"{name}.{p}": v for p, v in told.items() if p in asked}

    @staticmethod
    def _address(reply: ModbusPDU, request: ModbusPDU) -> ModbusPDU:
        reply.dev_id, reply.transaction_id = request.dev_id, request.transaction_id
        return reply

    def note(self, frame: bytes, told: Mapping[str, float]) -> None:
        """These bytes are about to leave."""
        time_ns, _ = self._now()
        self._sent.wire_bytes += len(frame)
        for channel, value in told.items():
            self._sent.add(channel, time_ns, value)


def _asked(link: LinkPlan) -> dict[tuple[int, int, int, int], frozenset[str]]:
    """(unit, function, address, count) -> the points that a planned request is for. Registers read along with a
    block, and the reads of another length that follow a time-out, carry values that nobody asked for: no readings."""
    names = {point.channel: point.name for point in link.points}
    asked: dict[tuple[int, int, int, int], frozenset[str]] = {}
    for op in link.ops:
        wanted = frozenset(names[channel] for channel in op.channels)
        unit, function = op.device.unit, op.function
        for cut in op.cuts:
            asked[unit, function, op.address, cut] = wanted
            asked[unit, function, op.address + cut, op.count - cut] = wanted
        # after a time-out the same block is asked for with more registers behind it, so that a late answer shows
        for longer in range(9):
            count = op.count + longer * (8 if function in (1, 2) else 1)
            asked.setdefault((unit, function, op.address, count), wanted)
    return asked


async def serve_tcp(port: int, units: Units) -> asyncio.Server:
    """Modbus TCP on loopback."""
    framer = FramerSocket(DecodePDU(True))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = b""
        with contextlib.suppress(OSError, ModbusException):
            while data := await reader.read(4096):
                buffer += data
                while buffer:
                    used, request = framer.handleFrame(buffer, 0, 0)
                    if not used:
                        break
                    buffer = buffer[used:]
                    if request is None:
                        continue
                    answered = units.answer(request)
                    if answered is not None:
                        frame = framer.buildFrame(answered[0])
                        units.note(frame, answered[1])
                        writer.write(frame)
        writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", port)


async def serve_rtu(line: PtyLine, units: Units) -> None:
    """Answer on `line` until cancelled, each answer when its last byte would have left the wire."""
    framer = FramerRTU(DecodePDU(True))
    buffer = b""
    while True:
        buffer += await line.receive()
        with contextlib.suppress(ModbusException):
            used, request = framer.handleFrame(buffer, 0, 0)
            if not used and len(buffer) < 256:
                continue
            arrived, buffer = len(buffer), buffer[used:] if used else b""
            answered = units.answer(request) if request is not None else None
            if answered is None:
                continue
            frame = framer.buildFrame(answered[0])
            silence_s = max(3.5 * line.char_s, 0.00175)
            await asyncio.sleep((arrived + len(frame)) * line.char_s + silence_s + DEVICE_DELAY_S)
            units.note(frame, answered[1])
            line.put(frame)
            continue
        buffer = b""
