"""A technician on a running field half: capture, maintenance, a replaced meter, a test message, the signed record."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.center import main as center_main
from gateway.field import capture as captured
from gateway.field.field import Field
from gateway.services.rules import event
from gateway.site.compile import load_plan
from gateway.spool import audit
from gateway.spool.records import Phase
from gateway.tools import audit as audit_tool
from gateway.tools import capture, capture_replay, commission, maintenance, push_test, replace, status
from gateway.uplink.uplink import Uplink
from protocols.api import Device, Link, Point
from protocols.modbus.driver import DRIVER
from protocols.modbus.points import Options, Register
from tests.ports import begun, free_port

SITE = """schema = 1
[gateway]
id = "cab-7"
profiles = ["profiles"]
{gateway}
[[links]]
name = "bus"
url = "tcp://127.0.0.1:{port}"
[[devices]]
name = "m1"
profile = "other/m2"
link = "bus"
unit = 1
place = {{ en = "Pump room", ko = "펌프실" }}
{upstream}
"""
PROFILE = """schema = 1
[device]
family = "other"
vendor = "Acme"
model = "M2"
name = { en = "Meter", ko = "계량기" }
protocol = "modbus"
source = "bench"
period_s = 0.05
silent_s = 600
[modbus]
timeout_ms = 60
[[points]]
name = "flow"
function = 3
address = 0
[[points]]
name = "volume"
function = 3
address = 1
kind = "counter"
rollover = 6553.6
unit = "m3"
scale = 0.1
"""


class Meter:
    """Registers of unit 1; `mute` answers nothing."""

    def __init__(self) -> None:
        self.registers = [23, 48_211]
        self.mute = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(12)
                unit, function, first, count = struct.unpack(">6xBBHH", head)
                if self.mute or function != 3:
                    continue
                body = struct.pack(f">BBB{count}H", unit, 3, 2 * count, *self.registers[first : first + count])
                writer.write(head[:4] + struct.pack(">H", len(body)) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Rig:
    def __init__(self, site: Path, field: Field, meter: Meter) -> None:
        self.site, self.field, self.meter = str(site), field, meter

    async def run(self, verb: Callable[..., int], *words: Any, **named: Any) -> int:
        return await asyncio.to_thread(verb, *words, **named)

    @property
    def state(self) -> Path:
        return Path(self.site).parent / "state"

    async def until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(20.0):
            while not true():
                await asyncio.sleep(0.01)

    def value(self, point: str) -> float | None:
        found = next(c for c in self.field.shown.live()["channels"] if c["name"] == f"m1.{point}")["value"]
        return None if found is None else float(found)


@asynccontextmanager
async def running(folder: Path, meter: Meter, *, gateway: str = "", upstream: str = "") -> AsyncIterator[Rig]:
    (folder / "profiles" / "other").mkdir(parents=True, exist_ok=True)
    (folder / "profiles" / "other" / "m2.toml").write_text(PROFILE)
    server = await asyncio.start_server(meter.serve, "127.0.0.1", 0)
    site = folder / "site.toml"
    port = server.sockets[0].getsockname()[1]
    site.write_text(SITE.format(port=port, gateway=gateway, upstream=upstream))
    field, stop = Field(load_plan(site)), asyncio.Event()
    task = asyncio.create_task(field.run(stop))
    rig = Rig(site, field, meter)
    try:
        await rig.until(lambda: rig.state.joinpath("field.sock").exists() and rig.value("volume") is not None)
        yield rig
    finally:
        stop.set()
        await task
        server.close()


async def test_frames_of_a_running_gateway_are_kept_shown_and_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bus.pcapng"
    async with running(tmp_path, Meter()) as rig:
        await rig.until(lambda: rig.field.links["bus"].polls >= 3)
        assert await rig.run(capture.run, rig.site, link="bus", out=str(out), for_="", json=True) == 0
        assert json.loads(capsys.readouterr().out)["links"]["bus"]["pieces"] >= 6
        assert await rig.run(capture.run, rig.site, link="bus", out=str(out), for_="", json=False) == 1
        assert "CG-5152" in capsys.readouterr().err
        assert await rig.run(capture.run, rig.site, link="no", out=str(tmp_path / "b"), for_="", json=False) == 1
        assert "CG-5150" in capsys.readouterr().err
    assert capture.show(str(out), link="", json=False) == 0
    shown = capsys.readouterr().out.splitlines()
    assert any("read holding 0-1" in line and " -> bus " in line for line in shown)
    assert any("= 23 48211" in line and " <- bus " in line for line in shown)
    assert max(map(len, shown)) <= 80
    lines, frames = captured.read(out.read_bytes())
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        capture_replay.serve(lines[0], capture_replay.recorded(lines[0], frames), 0, told.set_result)
    )
    options = Options()
    device = Device("m1", 1, options)
    points = [Point(0, "volume", device, Register(function=3, address=1), 1.0, 0.1)]
    ops = DRIVER.plan(points)  # one register alone was never asked for: it comes from what the capture shows
    async with DRIVER.connect(Link("replayed", await told), ops) as reader:
        batch = await reader.read(ops, 1.0)
    assert batch.value.tolist() == pytest.approx([4821.1])
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def test_a_file_that_is_no_capture_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_bytes(b"\x0a\x0d\x0d\x0anonsense")
    assert capture.show(str(tmp_path / "x"), link="", json=False) == 1
    assert capture_replay.run(str(tmp_path / "nothing"), link="", port=None) == 1
    assert capsys.readouterr().err.count("CG-5153") == 4


async def test_a_device_that_falls_out_leaves_its_last_frames(tmp_path: Path) -> None:
    async with running(tmp_path, Meter()) as rig:
        rig.meter.mute = True
        await rig.until(lambda: rig.field._work.freezer.kept())
        (kept,) = (await rig.field.shown.health())["captures"]
        lines, frames = captured.read(await asyncio.to_thread(Path(kept["file"]).read_bytes))
        assert lines[0].why == "m1: no answer"
        assert [frame.sent for frame in frames[-3:]] == [True, True, True]
        assert any(not frame.sent for frame in frames)
        assert f"capture 캡처: {kept['file']}" in status.work_lines(await rig.field.shown.health())[-1]


async def test_without_a_ring_nothing_is_tapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running(tmp_path, Meter(), gateway="capture_kb = 0") as rig:
        assert rig.field.links["bus"].reader.tap is None  # type: ignore[union-attr]
        assert await rig.run(capture.run, rig.site, link="bus", out=str(tmp_path / "a"), for_="", json=False) == 1
        assert "CG-5151" in capsys.readouterr().err


async def test_alarms_are_held_and_come_back_after_a_restart_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = Meter()
    async with running(tmp_path, meter) as rig:
        words = {"device": "m1", "for_": "45m", "why": "new sensor", "by": "Kim", "json": False}
        assert await rig.run(maintenance.run, rig.site, "on", **words) == 0
        assert "m1, 45 min 0 s left, by Kim: new sensor" in capsys.readouterr().out.replace("44 min 59 s", "45 min 0 s")
        engine = rig.field.engine
        assert [e.subject for e in engine.standing.values() if e.code == "health.maintenance"] == ["m1"]
        silent = engine._silence._event(0, Phase.ONSET, 10, 5)
        broken = event("water.cable_break", Phase.ONSET, "m1", rig.field.plan.place, time_ns=10, onset_ns=5)
        engine.emit([silent, broken])
        assert not {silent.key, broken.key} & engine.standing.keys()
        assert await rig.run(maintenance.run, rig.site, "show", **words) == 0
        assert "보류: health.device_silent" in capsys.readouterr().out
        await rig.until(lambda: len(json.loads((rig.state / "maintenance.json").read_text())["held"]) == 2)
        assert await rig.run(maintenance.run, rig.site, "on", **(words | {"for_": "9h"})) == 1
        assert "CG-5140" in capsys.readouterr().err
    async with running(tmp_path, meter) as rig:
        engine = rig.field.engine
        held = rig.field._work.maintenance.held
        await rig.until(lambda: list(held) == [broken.key])  # the device answers: that it was silent is over
        assert await rig.run(maintenance.run, rig.site, "off", **words) == 0
        assert broken.key in engine.standing
        assert not any(e.code == "health.maintenance" for e in engine.standing.values())
        assert await rig.run(maintenance.run, rig.site, "off", **words) == 1
        entries = audit.entries(rig.state / audit.FILE)
        assert [(e["what"], e["by"]) for e in entries] == [("maintenance on", "Kim"), ("maintenance off", "Kim")]
        assert audit.verify(rig.state / audit.FILE).faults == ()
        assert await rig.run(audit_tool.run, rig.site, json=False) == 0
        assert "Kim        maintenance off" in capsys.readouterr().out
        await asyncio.to_thread(_cut, rig.state / audit.FILE)
        assert await rig.run(audit_tool.run, rig.site, json=True) == 1
        assert "CG-5143" in capsys.readouterr().err


def _cut(path: Path) -> None:
    """Leave the first line out."""
    path.write_bytes(path.read_bytes().partition(b"\n")[2])


async def test_a_new_meter_counts_on_from_the_old_one_and_so_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = Meter()
    none = {"old_total": None, "new_total": None, "serial": "N-2", "old_serial": "A-1", "by": "Kim", "json": True}
    async with running(tmp_path, meter) as rig:
        words = {"device": "m1", "for_": "45m", "why": "", "by": "", "json": True}
        assert await rig.run(maintenance.run, rig.site, "on", **words) == 0
        meter.registers[1] = 12  # the new one: 1.2 m3
        await rig.until(lambda: rig.field._carry.withheld)
        await rig.until(lambda: rig.value("volume") is None)
        capsys.readouterr()
        assert await rig.run(replace.run, rig.site, "m1", point="", **none) == 0
        done = json.loads(capsys.readouterr().out)["points"]["volume"]
        assert (done["old"], done["new"], done["total"]) == pytest.approx((4821.1, 1.2, 4821.1))
        meter.registers[1] = 13
        await rig.until(lambda: rig.value("volume") == pytest.approx(4821.2))
        assert await rig.run(replace.run, rig.site, "m1", point="flow", **(none | {"old_total": 1.0})) == 1
        assert "CG-5147" in capsys.readouterr().err
        assert await rig.run(status.run, rig.site, json=False) == 0
        assert "m1.volume counts on from 4821.1" in capsys.readouterr().out
    async with running(tmp_path, meter) as rig:
        meter.registers[1] = 20
        await rig.until(lambda: rig.value("volume") == pytest.approx(4821.9))


@asynccontextmanager
async def center(folder: Path, port: int) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    (folder / "keys").mkdir(exist_ok=True)
    serving = asyncio.create_task(
        center_main.serve(
            f"127.0.0.1:{port}", str(folder / "c.db"), str(folder / "keys"), insecure=True, stop=stop, ready=ready
        )
    )
    await begun(serving, ready)
    try:
        yield
    finally:
        stop.set()
        await serving


async def test_a_test_message_is_acknowledged_and_the_record_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    upstream = f'[[upstreams]]\nname = "city"\nuri = "coap://127.0.0.1:{port}"\ninsecure = true\n'
    photo = tmp_path / "dial.jpg"
    photo.write_bytes(b"\xff\xd8picture")
    async with running(tmp_path, Meter(), upstream=upstream) as rig:
        assert await rig.run(push_test.run, rig.site, upstream="", within_s=0.05, by="", json=False) == 1
        told = capsys.readouterr().out
        assert "FAIL city: waiting" in told
        assert "no uplink runs" in told
        uplink = Uplink("cab-7", rig.state / "spool.db")
        async with center(tmp_path, port):
            await uplink.apply(load_plan(Path(rig.site)).upstreams)
            assert await rig.run(push_test.run, rig.site, upstream="city", within_s=20.0, by="", json=True) == 0
            answer = json.loads(capsys.readouterr().out)["upstreams"]["city"]
            assert answer["state"] == "acknowledged"
            assert 0 < answer["seconds"] < 20
            assert await rig.run(commission.found, rig.site, "m1", out=str(tmp_path)) == 0
            assert await rig.run(commission.found, rig.site, "m1", out=str(tmp_path)) == 1
            words: dict[str, Any] = {
                "by": "Kim",
                "displays": ["volume=4821.1", "flow=23"],
                "photos": [str(photo)],
                "serial": "A-1",
                "notes": "",
                "watch_s": 0.2,
                "push": True,
                "key": "",
                "out": str(tmp_path),
                "json": True,
            }
            capsys.readouterr()
            assert await rig.run(commission.run, rig.site, "m1", **words) == 0
            done = json.loads(capsys.readouterr().out)
            wrong = words | {"displays": ["volume=4900"], "push": False, "out": str(tmp_path / "b")}
            assert await rig.run(commission.run, rig.site, "m1", **wrong) == 1
            await uplink.close()
    record = done["record"]
    assert record["passed"]
    assert record["line"]["requests"] > 0
    assert record["line"]["error_rate"] == 0
    assert [one["point"] for one in record["as_found"]["points"]] == ["flow", "volume"]
    assert record["push"]["city"]["state"] == "acknowledged"
    await asyncio.to_thread(_alter, Path(done["file"]))
    assert capsys.readouterr().err.count("CG-5162") == 6


def _alter(page: Path) -> None:
    """A record is as it was signed, and what is altered in its page or its JSON is found out."""
    assert [path.name for path in page.parent.glob("*.found.json")] == [f"{page.stem}.found.json"]  # used once
    assert commission.verify(str(page), signer="", json=False) == 0
    assert commission.verify(str(page), signer="0000", json=False) == 1
    text = page.read_text()
    for altered in (text.replace(">4821.1<", ">9821.1<"), text.replace('"displayed": "23"', '"displayed": "24"')):
        assert altered != text
        page.write_text(altered)
        assert commission.verify(str(page), signer="", json=False) == 1
