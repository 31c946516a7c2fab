"""The Modbus driver: `tcp://` speaks Modbus TCP, `rtu+tcp://` and `serial:` RTU, `ascii+tcp://` and `ascii:` ASCII."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from protocols.api import Device, Driver, Link, Reader
from protocols.modbus.codec import decode
from protocols.modbus.planner import ReadBlock, plan
from protocols.modbus.points import Options, Register, check, check_link
from protocols.modbus.rtu import RtuReader
from protocols.modbus.several import SeveralReaders
from protocols.modbus.tcp import TcpReader
from protocols.streams import open_stream, scheme


@asynccontextmanager
async def connect(link: Link, ops: Sequence[ReadBlock]) -> AsyncIterator[Reader[ReadBlock]]:
    """Raises LinkDown."""
    async with AsyncExitStack() as streams:
        if scheme(link) != "tcp":
            yield RtuReader(await streams.enter_async_context(open_stream(link)), link, ops)
        elif link.connections == 1:
            yield TcpReader(await streams.enter_async_context(open_stream(link)), link.url, ops)
        else:
            opened = [await streams.enter_async_context(open_stream(link)) for _ in range(link.connections)]
            yield SeveralReaders([TcpReader(stream, link.url, ops) for stream in opened], ops)


async def identify(link: Link, unit: int, timeout_s: float = 1.0) -> dict[str, str]:
    """What function 43/14 tells of `unit` on `link`; empty where it tells nothing. Raises LinkDown."""
    device = Device(f"unit {unit}", unit, Options())
    async with open_stream(link) as stream:
        reader = TcpReader(stream, link.url) if scheme(link) == "tcp" else RtuReader(stream, link)
        return await reader.device_id(device, timeout_s)


DRIVER: Driver[ReadBlock] = Driver(
    name="modbus",
    point=Register,
    device=Options,
    plan=plan,
    connect=connect,
    listens=lambda device: False,
    urls=("tcp", "rtu+tcp", "serial", "ascii", "ascii+tcp"),
    decode=decode,
    check=check,
    check_link=check_link,
)
