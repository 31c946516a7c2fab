"""The simulated street from the other side: libmodbus as its master reads what the world says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.sim.line import PtyLine
from gateway.sim.street import Street
from gateway.sim.world import Incident, Sent, Signal, World
from gateway.site.compile import load_plan

pytestmark = pytest.mark.peers

SITE = """schema = 1
[gateway]
id = "bench"
[[links]]
name = "cabinet"
url = "tcp://127.0.0.1:{port}"
[[devices]]
name = "meter"
profile = "streetlight/eastron-sdm120"
link = "cabinet"
unit = 1
[[devices]]
name = "loop"
profile = "traffic/pce-ld120"
link = "cabinet"
unit = 2
[[links]]
name = "bus"
url = "serial:{path}"
baud = 9600
[[devices]]
name = "flow"
profile = "water/tuf-2000m"
link = "bus"
unit = 3
[[devices]]
name = "gone"
profile = "water/tuf-2000m"
link = "bus"
unit = 4
"""
WORLD = World(
    {
        "meter.voltage": Signal(230.25),
        "meter.current": Signal(12.5),
        "loop.detect": Signal(1),
        "loop.vehicles": Signal(65538),
        "flow.flow": Signal(36.625),
        "flow.velocity": Signal(-1.75),
        "flow.volume_positive": Signal(1_234_567),
        "flow.error": Signal(5),
        "flow.signal_quality": Signal(87),
    },
    [Incident("gone", 0, 1e9, dead=("gone",))],
)


async def read(program: str, *arguments: str) -> list[str]:
    """Lines of modbus_reader."""
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().splitlines()


async def test_libmodbus_reads_the_simulated_street(
    tmp_path: Path, unused_port: int, compiled: Callable[[str], str]
) -> None:
    reader, line, sent = compiled("modbus_reader"), PtyLine(9600), Sent()
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(port=unused_port, path=line.path), encoding="utf-8")
    street = Street(load_plan(site), {"bus": line}, WORLD, sent, lambda: (time.monotonic_ns(), 1.0))
    await street.start()
    try:
        tcp = ("tcp", f"127.0.0.1:{unused_port}")
        meter = await read(reader, *tcp, "1", "4:0:float_abcd", "4:6:float_abcd", "4:200:float_abcd", "6:0:uint16")
        assert meter == ["230.25", "12.5", "0", "0"]
        loop = await read(reader, *tcp, "2", "2:0:bit", "2:1:bit", "2:5:bit", "3:9:int32_abcd")
        assert loop == ["0", "1", "0", "65538"]

        rtu = ("rtu", f"{line.path}:9600", "3")
        items = ("3:0:float_cdab", "3:4:float_cdab", "3:71:uint16", "3:91:uint16", "3:0:float_cdab")
        assert await read(reader, *rtu, *items) == ["36.625", "-1.75", "5", "87", "36.625"]
        words = await read(reader, *rtu, "3:8:uint16", "3:9:uint16")  # half a value each: nothing of it
        assert words == ["0", "0"]
        assert await read(reader, *rtu, "3:8:int32_cdab") == ["1234567"]
    finally:
        await street.close()


async def test_mbpoll_reads_the_simulated_street(tmp_path: Path, unused_port: int) -> None:
    line = PtyLine(9600)
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(port=unused_port, path=line.path), encoding="utf-8")
    street = Street(load_plan(site), {"bus": line}, WORLD, Sent(), lambda: (time.monotonic_ns(), 1.0))
    await street.start()
    try:
        # -t 3:float input registers as floats, -B high word first, -0 PDU addresses, -1 once, -q only values
        options = (
            "-m",
            "tcp",
            "-p",
            str(unused_port),
            "-a",
            "1",
            "-t",
            "3:float",
            "-B",
            "-0",
            "-r",
            "0",
            "-c",
            "1",
            "-1",
        )
        lines = await read("mbpoll", *options, "127.0.0.1")
        assert any("230.25" in text for text in lines), lines
    finally:
        await street.close()
