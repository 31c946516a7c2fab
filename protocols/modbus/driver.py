"""The Modbus driver: `tcp://` speaks Modbus TCP, `rtu+tcp://` and `serial:` speak RTU."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from protocols.api import Driver, Link, Reader
from protocols.modbus.codec import decode
from protocols.modbus.planner import ReadBlock, plan
from protocols.modbus.points import Options, Register, check, check_link
from protocols.modbus.rtu import RtuReader
from protocols.modbus.tcp import TcpReader
from protocols.streams import open_stream, scheme


@asynccontextmanager
async def connect(link: Link, ops: Sequence[ReadBlock]) -> AsyncIterator[Reader[ReadBlock]]:
    """Raises LinkDown."""
    async with open_stream(link) as stream:
        yield TcpReader(stream, link.url) if scheme(link) == "tcp" else RtuReader(stream, link)


DRIVER: Driver[ReadBlock] = Driver(
    name="modbus",
    point=Register,
    device=Options,
    plan=plan,
    connect=connect,
    listens=lambda device: False,
    urls=("tcp", "rtu+tcp", "serial"),
    decode=decode,
    check=check,
    check_link=check_link,
)
