"""`citygate bus` on a running field half whose devices answer, refuse a register, or are silent."""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path

import pytest

from gateway.field.field import Field
from gateway.site.compile import load_plan
from gateway.tools import bus

HEAD = """schema = 1
[gateway]
id = "cab-7"
profiles = ["profiles"]
"""
PROFILE = """schema = 1
[device]
family = "other"
vendor = "Acme"
model = "M2"
name = { en = "Meter" }
protocol = "modbus"
source = "bench"
period_s = 0.05
[modbus]
timeout_ms = 60
[[points]]
name = "a"
function = 3
address = 0
[[points]]
name = "b"
function = 3
address = 1
"""


async def _device(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Unit 1 has register 0 only, unit 2 is silent."""
    try:
        while True:
            head = await reader.readexactly(12)
            unit, first, count = struct.unpack(">6xBxHH", head)
            if unit == 1:
                pdu = b"\x83\x02" if first + count > 1 else b"\x03\x02\x00\x07"
                writer.write(head[:4] + struct.pack(">HB", len(pdu) + 1, unit) + pdu)
    except asyncio.IncompleteReadError:
        writer.close()


async def test_a_technician_sees_what_a_line_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "profiles" / "other").mkdir(parents=True)
    (tmp_path / "profiles" / "other" / "m2.toml").write_text(PROFILE)
    server = await asyncio.start_server(_device, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    devices = "".join(
        f'[[devices]]\nname = "m{unit}"\nprofile = "other/m2"\nlink = "bus"\nunit = {unit}\n' for unit in (1, 2)
    )
    site = tmp_path / "site.toml"
    site.write_text(f'{HEAD}[[links]]\nname = "bus"\nurl = "tcp://127.0.0.1:{port}"\n{devices}')
    field, stop = Field(load_plan(site)), asyncio.Event()
    task = asyncio.create_task(field.run(stop))
    runner = field.links["bus"]
    async with asyncio.timeout(20.0):
        while not runner.quarantined or not runner.learned()["m1"]["holes"]:
            await asyncio.sleep(0.02)
    assert await asyncio.to_thread(bus.run, str(site), json=True) == 0
    link = json.loads(capsys.readouterr().out)["links"]["bus"]
    assert link["devices"]["m1"]["holes"] == ["unit 1 FC3 1-1 (1 register)"]
    assert link["counters"]["timeouts"] >= 3
    assert link["quarantined"] == ["m2"]
    assert await asyncio.to_thread(bus.run, str(site), json=False) == 0
    shown = capsys.readouterr().out
    assert "bus  up" in shown
    assert "refuses unit 1 FC3 1-1 (1 register)" in shown
    assert "m2: does not answer, asked less often" in shown
    stop.set()
    await task
    server.close()
    assert await asyncio.to_thread(bus.run, str(site), json=False) == 2
    assert "CG-5001" in capsys.readouterr().err
