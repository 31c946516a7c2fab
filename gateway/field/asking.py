"""One Modbus read at a time, through whatever has the line: an open reader, or a running field half. Never writes.

In: a unit and the PDU of a read. Out: what came back as a PDU, how it is judged, and every byte that passed.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from protocols.api import Device, Quality, Reader, Tapped
from protocols.modbus.codec import byte_count
from protocols.modbus.exchange import Shape
from protocols.modbus.identity import HEAD, identity_request, identity_size, parse_identity
from protocols.modbus.points import Options

WORST_TIMEOUT_S = 3.0
MOST_PAGES = 8
READS = (1, 2, 3, 4)


class Said(NamedTuple):
    """What a device said to one request. `pdu` is empty unless it was a whole answer or a refusal."""

    quality: Quality
    pdu: bytes
    seconds: float = math.nan

    @property
    def is_answer(self) -> bool:
        return self.quality == Quality.GOOD

    @property
    def exception(self) -> int:
        return self.pdu[1] if self.quality == Quality.REFUSED and len(self.pdu) == 2 else 0


Ask = Callable[[int, bytes], Awaitable[Said]]  # unit, PDU


def read_only(pdu: bytes) -> None:
    """Raises ValueError for anything but a read (functions 1 to 4, 43/14)."""
    if len(pdu) == 5 and pdu[0] in READS:
        count = int.from_bytes(pdu[3:5], "big")
        if not 1 <= count <= (2000 if pdu[0] < 3 else 125):
            raise ValueError(f"a read of {count}: 1 to 125 registers, 1 to 2000 coils")
        return
    if pdu[:2] == HEAD and len(pdu) == 4:
        return
    raise ValueError(f"{pdu.hex(' ') or 'nothing'} is no read (functions 1 to 4 and 43/14)")


def shape_of(pdu: bytes) -> Shape:
    """What the good reply to a read looks like."""
    if pdu[:2] == HEAD:
        return Shape(pdu[:3], identity_size)
    size = byte_count(pdu[0], int.from_bytes(pdu[3:5], "big"))
    return Shape.fixed(bytes((pdu[0], size)), size + 2)


@contextmanager
def tapping(reader: Any) -> Iterator[list[tuple[bool, bytes, int]]]:
    """The bytes that pass while it lasts; whoever listened before goes on listening."""
    heard: list[tuple[bool, bytes, int]] = []
    if not isinstance(reader, Tapped):
        yield heard
        return
    before = reader.tap

    def tap(sent: bool, data: bytes, time_ns: int) -> None:
        heard.append((sent, data, time_ns))
        if before is not None:
            before(sent, data, time_ns)

    reader.tap = tap
    try:
        yield heard
    finally:
        reader.tap = before


async def ask_reader(reader: Reader[Any], unit: int, pdu: bytes, timeout_s: float) -> Said:
    """Raises LinkDown, and ValueError where the link does not speak Modbus or `pdu` is no read."""
    read_only(pdu)
    ask = getattr(reader, "ask", None)
    if ask is None:
        raise ValueError("this link does not speak Modbus")
    device = Device(f"unit {unit}", unit, Options())
    reply = await ask(device, pdu, shape_of(pdu), timeout_s)
    return Said(Quality(reply.quality), reply.pdu)


async def asked(reader: Reader[Any], unit: int, pdu: bytes, timeout_s: float) -> dict[str, Any]:
    """`ask_reader` with the bytes that passed, as JSON can carry them."""
    with tapping(reader) as heard:
        said = await ask_reader(reader, unit, pdu, timeout_s)
    return {
        "quality": int(said.quality),
        "pdu": said.pdu.hex(),
        "heard": b"".join(data for sent, data, _ in heard if not sent).hex(),
    }


async def identity_of(ask: Ask, unit: int) -> dict[str, str]:
    """What function 43/14 tells, page by page; nothing where the device lacks it."""
    found: dict[str, str] = {}
    first: int | None = 0
    for _ in range(MOST_PAGES):
        if first is None:
            break
        said = await ask(unit, identity_request(1, first))
        if not said.is_answer:
            break
        page = parse_identity(said.pdu)
        found |= page.objects
        first = page.more
    return found
