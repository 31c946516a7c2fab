"""What is done the same way over TCP and on a line, once a PDU can be exchanged: a write with its read back, and a
device's identity. No sockets, no clocks: the reader's own `ask` carries the PDUs.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from protocols.api import Batch, Device, Point, Quality, Written
from protocols.modbus.codec import EXCEPTIONS, ILLEGAL_FUNCTION, BadReply, Refused, byte_count, read_request, reply_data
from protocols.modbus.encoding import ONE, REPLY_SIZE, encode, tolerance, write_request
from protocols.modbus.identity import BASIC, FUNCTION, HEAD, identity_request, identity_size, parse_identity, text_of
from protocols.modbus.learned import Learned
from protocols.modbus.planner import ReadBlock, alone
from protocols.modbus.points import Options

ACKNOWLEDGE = 5
MOST_PAGES = 8  # of a device's identity


class Shape(NamedTuple):
    """What the good reply to a request looks like: how it begins and how long it is, from its own first bytes."""

    head: bytes
    size: Callable[[bytes], int | None]

    @staticmethod
    def fixed(head: bytes, size: int) -> Shape:
        return Shape(head, lambda pdu: size)


class Reply(NamedTuple):
    """GOOD with a PDU of the right shape, REFUSED with the exception's PDU, or a failure without one."""

    quality: Quality
    pdu: bytes
    time_ns: int

    @property
    def exception(self) -> int:
        return self.pdu[1] if self.quality == Quality.REFUSED and len(self.pdu) == 2 else 0


Ask = Callable[[Device, bytes, Shape], Awaitable[Reply]]
Fetch = Callable[[ReadBlock], Awaitable[Batch]]


async def write(ask: Ask, fetch: Fetch, point: Point, value: float, learned: Learned, now_ns: int) -> Written:
    """Write `value` once and read it back."""
    if point.writable is None:
        return Written(Quality.REFUSED, math.nan, now_ns, f"{point.name} is not declared writable")
    low, high = point.writable
    if not low <= value <= high:
        return Written(Quality.OUT_OF_RANGE, math.nan, now_ns, f"{value:g} is not within {low:g} to {high:g}")
    try:
        data = encode(point, value)
    except ValueError as bad:
        return Written(Quality.OUT_OF_RANGE, math.nan, now_ns, f"{value:g}: {bad}")
    reply = await _send(ask, point, data, learned)
    if reply.quality != Quality.GOOD and reply.exception != ACKNOWLEDGE:
        words = EXCEPTIONS.get(reply.exception, f"exception {reply.exception}")
        return Written(reply.quality, math.nan, reply.time_ns, words if reply.exception else "no valid answer")
    return _compared(await fetch(alone([point], learned)), point, value)


async def _send(ask: Ask, point: Point, data: bytes, learned: Learned) -> Reply:
    """By the function that writes one, unless the device is known to lack it."""
    one = ONE[point.spec.function]
    several = one in learned.multiple
    request = write_request(point, data, several=several)
    reply = await ask(point.device, request.pdu, Shape.fixed(request.reply, REPLY_SIZE))
    if reply.exception != ILLEGAL_FUNCTION or request.pdu[0] != one:
        return reply
    learned.multiple.add(one)
    request = write_request(point, data, several=True)
    return await ask(point.device, request.pdu, Shape.fixed(request.reply, REPLY_SIZE))


def _compared(back: Batch, point: Point, value: float) -> Written:
    got, quality, time_ns = float(back.value[0]), Quality(int(back.quality[0])), int(back.time_ns[0])
    if quality != Quality.GOOD:
        return Written(quality, math.nan, time_ns, "written, but it cannot be read back")
    if abs(got - value) <= tolerance(point, value):
        return Written(Quality.GOOD, got, time_ns)
    return Written(Quality.SUSPECT, got, time_ns, f"written {value:g}, reads back {got:g}")


async def identify(ask: Ask, device: Device) -> dict[str, str]:
    """By function 43/14 where the profile says that the device has it, and its texts in registers."""
    options: Options = device.options
    found: dict[str, str] = {}
    if options.device_id:
        found |= await device_id(ask, device)
    for text in options.identity:
        shape = Shape.fixed(bytes((text.function, byte_count(text.function, text.registers))), 2 + 2 * text.registers)
        reply = await ask(device, read_request(text.function, text.address, text.registers), shape)
        if reply.quality == Quality.GOOD:
            found[text.name] = text_of(reply_data(reply.pdu, text.function, text.registers), text)
    return found


async def device_id(ask: Ask, device: Device, code: int = BASIC) -> dict[str, str]:
    """What function 43/14 tells, page by page; what came before a failure is kept."""
    found: dict[str, str] = {}
    first: int | None = 0
    for _ in range(MOST_PAGES):
        if first is None:
            break
        reply = await ask(device, identity_request(code, first), Shape(HEAD + bytes((code,)), identity_size))
        if reply.quality != Quality.GOOD:
            break
        try:
            page = parse_identity(reply.pdu)
        except (BadReply, Refused):
            break
        found |= page.objects
        first = page.more
    return found


__all__ = ["FUNCTION", "Ask", "Fetch", "Reply", "Shape", "device_id", "identify", "write"]
