"""Every driver, on every kind of link, keeps the rules of protocols.testing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import peers
import pytest

from protocols.api import Device, Link, Point
from protocols.registry import driver
from protocols.serial.points import Check, Field, Options
from protocols.testing import RULES, DriverCase, Rig, Rule

METER, ROPE = peers.device("meter", 1), peers.device("rope", 2)
MODBUS = (
    *(peers.point(i, METER, i, scale=0.1) for i in range(20)),
    peers.point(20, METER, 400, type="int16"),
    peers.point(21, METER, 7, function=4),
    peers.point(22, METER, 9, function=1),
    peers.point(23, ROPE, 5),
)
REGISTERS = {i: peers.register(i) * 0.1 for i in range(20)} | {
    20: peers.register(400) - 65536 * (peers.register(400) > 32767),
    21: peers.register(7),
    22: peers.register(9) & 1,
    23: peers.register(5),
}

PMS5003 = bytes.fromhex("424d001c00000008000800000008000800d20046002d001e00000000970002c5")
AIR = Device("air", 0, Options("binary", start="42 4D", length=32, check=Check("sum16", start=0, end=30, at=30)))
PM = (Point(4, "pm1", AIR, Field(offset=10), 1.0), Point(5, "pm25", AIR, Field(offset=12), 1.0))
LOOPS = Device("loops", 0, Options("lines", prefix="A[0]>", fields=2, rate_hz=500.0))
LOOP = (Point(1, "loop1", LOOPS, Field(field=0), 0.002), Point(2, "loop2", LOOPS, Field(field=1), 0.002))
ASKED = Device(
    "co2",
    0,
    Options(
        "binary",
        mode="request",
        request="FF 01 86 00 00 00 00 00 79",
        start="FF 86",
        length=9,
        check=Check("sum8-negated", start=1, end=8, at=8),
    ),
)
CO2 = (Point(3, "co2", ASKED, Field(offset=2), 1.0),)
MHZ19B = bytes.fromhex("ff86027c42000000ba")


@asynccontextmanager
async def tcp() -> AsyncIterator[Rig]:
    async with peers.TcpSlave().serve() as rig:
        yield rig


@asynccontextmanager
async def rtu() -> AsyncIterator[Rig]:
    async with peers.rtu_slave() as (rig, _):
        yield rig


@asynccontextmanager
async def rtu_over_tcp() -> AsyncIterator[Rig]:
    slave = peers.RawSlave(8, peers.rtu_answer)
    async with slave.serve() as rig:
        rig.link = Link("converter", rig.link.url.replace("tcp:", "rtu+tcp:"), baud=115_200)
        yield rig


@asynccontextmanager
async def ascii_port() -> AsyncIterator[Rig]:
    async with peers.ascii_slave() as rig:
        yield rig


@asynccontextmanager
async def ascii_over_tcp() -> AsyncIterator[Rig]:
    async with peers.RawSlave(17, peers.ascii_answer).serve() as rig:
        rig.link = Link("converter", rig.link.url.replace("tcp:", "ascii+tcp:"), baud=115_200)
        yield rig


@asynccontextmanager
async def several() -> AsyncIterator[Rig]:
    async with peers.TcpSlave().serve() as rig:
        rig.link = Link("several", rig.link.url, connections=3)
        yield rig


@asynccontextmanager
async def co2_sensor() -> AsyncIterator[Rig]:
    async with peers.RawSlave(9, lambda request: MHZ19B).serve() as rig:
        yield rig


@asynccontextmanager
async def pms5003() -> AsyncIterator[Rig]:
    async with peers.talker(PMS5003) as rig:
        yield rig


@asynccontextmanager
async def loops() -> AsyncIterator[Rig]:
    async with peers.talker(b"A[0]>12.5,-3\r\n") as rig:
        yield rig


CASES = (
    DriverCase("modbus-tcp", driver("modbus"), MODBUS, REGISTERS, tcp),
    DriverCase("modbus-rtu", driver("modbus"), MODBUS, REGISTERS, rtu),
    DriverCase("modbus-rtu-over-tcp", driver("modbus"), MODBUS, REGISTERS, rtu_over_tcp),
    DriverCase("modbus-ascii", driver("modbus"), MODBUS, REGISTERS, ascii_port),
    DriverCase("modbus-ascii-over-tcp", driver("modbus"), MODBUS, REGISTERS, ascii_over_tcp),
    DriverCase("modbus-tcp-several", driver("modbus"), MODBUS, REGISTERS, several),
    DriverCase("serial-stream", driver("serial"), PM, {4: 0.0, 5: 8.0}, pms5003),
    DriverCase("serial-lines", driver("serial"), LOOP, {1: 12.5, 2: -3.0}, loops),
    DriverCase("serial-request", driver("serial"), CO2, {3: 636.0}, co2_sensor),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_driver_keeps_the_rule(case: DriverCase, rule: Rule) -> None:
    await rule(case)
