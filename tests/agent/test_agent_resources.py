"""What the agent's own resources say, with a field half behind them, and without one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from agent_rig import ALL, asker

from gateway import VERSION
from gateway.agent import compose, machine
from gateway.agent.control import Control, NotThere
from gateway.agent.health import shares
from gateway.agent.live import Live
from gateway.agent.reboot import Reboot
from gateway.agent.resource import Refused, Request, Resource, Role
from gateway.agent.tree import Tree
from gateway.field import control
from gateway.site.site import Site, load_site
from gateway.spool import audit
from gateway.tools.ask import _told
from gateway.tools.asking import Answer
from gateway.wire import coap

SITE = """schema = 1
[gateway]
id = "cab"
timezone = "Asia/Seoul"
state_dir = "state"
[[links]]
name = "bus"
url = "tcp://127.0.0.1:1"
[[devices]]
name = "meter1"
profile = "streetlight/eastron-sdm120"
link = "bus"
unit = 1
"""
LIVE = {
    "channels": [
        {"name": "meter1.voltage", "unit": "V", "value": 231.5, "quality": 0, "age_s": 0.5, "readings": 9},
        {"name": "meter1.current", "unit": "A", "value": None, "quality": 160, "age_s": 0.5, "readings": 9},
        {"name": "meter12.voltage", "unit": "V", "value": None, "quality": 224, "age_s": None, "readings": 0},
        {"name": "lamp.level", "unit": "%", "value": 40.0, "quality": 0, "age_s": 0.1, "readings": 9},
    ],
    "alarms": [{"code": "air.pm", "subject": "meter1.voltage", "en": "e", "ko": "k", "since_ns": 1}],
}
HEALTH = {
    "uptime_s": 5.0,
    "clock": {"uncertainty_s": 0.5, "is_set": True},
    "links": {"bus": {"up": True, "polls": 7, "used": 0.1, "counters": {"crc": 2}, "identity": {"meter1": {"v": "1"}}}},
    "spool": {"depth": {"main/bulk": 3}, "oldest_s": 12.0},
    "ways": {"secret": "not told twice"},
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "state").mkdir()
    return load_site(tmp_path / "site.toml")


@pytest.fixture
async def live(site: Site) -> AsyncIterator[dict[str, Any]]:
    """A field half's control socket; what it tells of its channels can be changed."""
    told: dict[str, Any] = dict(LIVE) | {"asked": 0}

    def latest() -> dict[str, Any]:
        told["asked"] += 1
        return told

    async def tape(request: Mapping[str, Any]) -> dict[str, Any]:
        pieces = [[i, 1000 + i, bool(i % 2), "01 03".replace(" ", "")] for i in range(300)]
        return {"line": {"name": request["tape"]}, "pieces": pieces, "next": 300}

    async def logged(request: Mapping[str, Any]) -> dict[str, Any]:
        return {"lines": [{"n": 1, "text": "polling"}][: int(request["log"])]}

    answers = {"live": latest, "health": lambda: HEALTH}
    server = await control.serve(Path(site.state_dir) / "field.sock", answers, errands={"tape": tape, "log": logged})
    yield told
    server.close()


def made(site: Site) -> Tree:
    return Tree(compose.resources(site, Control(site.state_dir), (), lambda: {"main": {"state": "stored"}}))


async def told(tree: Tree, path: str) -> Any:
    path, _, query = path.partition("?")
    options = [(coap.URI_PATH, part.encode()) for part in path.split("/")]
    options += [(coap.URI_QUERY, part.encode()) for part in query.split("&") if part]
    answer = await tree.answer(asker(), coap.Message(coap.GET, tuple(options)))
    assert answer.first(coap.BLOCK2) is None
    return _told(Answer(answer.code, answer.uint(coap.CONTENT_FORMAT), answer.payload))


async def test_health_with_a_field_half_and_without(site: Site, live: dict[str, Any]) -> None:
    health = await told(made(site), "health")
    assert health["field"]["links"]["bus"] == {"up": True, "polls": 7, "used": 0.1, "counters": {"crc": 2}}
    assert health["field"]["spool"]["oldest_s"] == 12.0
    assert health["field"]["clock"]["uncertainty_s"] == 0.5
    assert health["quality"] == {"good": 0.5, "never read": 0.25, "no reply": 0.25}
    assert health["ways"] == {"main": {"state": "stored"}}
    assert 0 < health["machine"]["disk"]["free"] <= 1
    assert health["machine"]["uptime_s"] > 0
    (Path(site.state_dir) / "field.sock").unlink()
    health = await told(made(site), "health")
    assert health["field"] is None
    assert "does not answer" in health["field_error"]
    assert "disk" in health["machine"]


async def test_what_needs_the_field_half_says_so(site: Site) -> None:
    for path in ("live", "diagnostics/bus", "diagnostics/clock", "diagnostics/capture"):
        answer = await told(made(site), path)
        assert answer["code"] == "CG-6114", path


async def test_live_is_told_by_device_and_as_it_changes(site: Site, live: dict[str, Any]) -> None:
    tree = made(site)
    everything = await told(tree, "live")
    assert everything["values"]["meter1.voltage"] == [231.5, "good", 0.5, "V"]
    assert [one["code"] for one in everything["alarms"]] == ["air.pm"]
    assert list((await told(tree, "live?device=meter1"))["values"]) == ["meter1.voltage", "meter1.current"]
    assert len((await told(tree, "live?device=meter*"))["values"]) == 3
    assert (await told(tree, "live?device=lamp")) == {"values": {"lamp.level": [40.0, "good", 0.1, "%"]}, "alarms": []}

    request = Request("main", ALL, coap.GET, query=MappingProxyType({"device": "lamp"}))
    async with aclosing(Live(Control(site.state_dir), 0.01).changes(request)) as changes:  # type: ignore[type-var]
        assert (await anext(changes)).payload
        older = dict(live["channels"][3]) | {"age_s": 9.0}
        live["channels"] = [*live["channels"][:3], older]  # no change: a reading grew older
        following = asyncio.ensure_future(anext(changes))
        asked = live["asked"]
        while live["asked"] < asked + 3:
            await asyncio.sleep(0)
        assert not following.done()
        live["channels"] = [*live["channels"][:3], older | {"value": 60.0}]
        assert b"lamp.level" in (await asyncio.wait_for(following, 5)).payload


async def test_inventory_names_devices_profiles_and_software(site: Site, live: dict[str, Any]) -> None:
    found = await told(made(site), "inventory")
    assert found["devices"][0]["profile"] == "streetlight/eastron-sdm120"
    assert len(found["profiles"]["streetlight/eastron-sdm120"]) == 64
    assert found["software"]["citygate"] == VERSION
    assert found["software"]["kernel"]
    assert found["software"]["python"]
    assert found["identities"] == {"bus": {"meter1": {"v": "1"}}}
    assert "cbor2" in found["software"]["libraries"]


async def test_lwm2m_objects_are_senml(site: Site, live: dict[str, Any]) -> None:
    tree = made(site)
    device = await told(tree, "3/0")
    assert device["2"] == "cab"
    assert device["3"] == VERSION
    assert device["11/0"] == 0
    assert device["15"] == "Asia/Seoul"
    assert abs(device["13"] - __import__("time").time()) < 60
    assert device["14"][3] == ":"
    assert await told(tree, "3/0/2") == {"2": "cab"}
    assert list(await told(tree, "3/0/11")) == ["11/0"]
    assert (await told(tree, "3/0/99"))["code"] == "CG-6101"
    assert (await told(tree, "5/0"))["3"] == 0
    assert (await told(tree, "1/0"))["7"] == "T"
    assert (await told(tree, "4/0"))["0"] == 41


async def test_links_say_how_a_resource_is_told(site: Site) -> None:
    links = str(await told(made(site), ".well-known/core"))
    assert '</3/0>;title="LwM2M device";rt="oma.lwm2m";if="cg.rw";ct="112"' in links
    live = '</live>;title="latest values and standing alarms; ?device=";rt="citygate.live";if="cg.r";ct="60";obs'
    assert live in links


async def test_an_object_tells_that_the_field_half_is_gone(site: Site) -> None:
    assert (await told(made(site), "3/0/11"))["11/0"] == 32


async def test_the_log_is_bounded_and_of_both_halves(site: Site, live: dict[str, Any]) -> None:
    from gateway.spool import tail

    tail.keep()
    try:
        for number in range(30):
            logging.getLogger("citygate.uplink").warning("line %d password=hunter2", number)
        found = await told(made(site), "log?n=5&half=uplink")
        assert list(found) == ["uplink"]
        assert len(found["uplink"]) == 5
        assert found["uplink"][-1]["text"] == "line 29 password=…"
        assert (await told(made(site), "log?n=1"))["field"] == [{"n": 1, "text": "polling"}]
        assert (await told(made(site), "log?n=-1"))["code"] == "CG-6102"
    finally:
        logging.getLogger().removeHandler(tail.tail)


async def test_diagnostics_are_a_fixed_list(site: Site, live: dict[str, Any]) -> None:
    tree = made(site)
    assert (await told(tree, "diagnostics"))["diagnostics"] == sorted(
        ["bus", "capture", "clock", "memory", "upstreams", "ping"]
    )
    for path in ("diagnostics/sh", "diagnostics/bus/x", "diagnostics/..", "diagnostics/capture/%2Fetc%2Fpasswd"):
        assert (await told(tree, path))["code"] == "CG-6101"
    assert (await told(tree, "diagnostics/bus?link=bus"))["links"]["bus"]["polls"] == 7
    assert (await told(tree, "diagnostics/bus?link=../x"))["code"] == "CG-6102"
    capture = await told(tree, "diagnostics/capture?n=4")
    assert len(capture["pieces"]) == 4
    assert capture["left_out"] == 296
    assert capture["pieces"][0]["bytes"] == b"\x01\x03"
    assert (await told(tree, "diagnostics/clock"))["field"]["is_set"] is True
    assert (await told(tree, "diagnostics/upstreams"))["ways"] == {"main": {"state": "stored"}}
    assert (await told(tree, "diagnostics/memory"))["memory"]["uplink_rss_mb"] > 0
    assert (await told(tree, "diagnostics/ping"))["code"] == "CG-6102"  # no center may ask


async def test_the_audit_is_read_from_any_line(site: Site, live: dict[str, Any]) -> None:
    assert await told(made(site), "audit") == {"entries": [], "last": 0}
    for number in range(7):
        audit.append(site.state_dir, f"thing {number}", "kim", {})
    found = await told(made(site), "audit?from=5")
    assert [one["n"] for one in found["entries"]] == [5, 6, 7]
    assert found["last"] == 7
    assert [one["n"] for one in (await told(made(site), "audit?n=2"))["entries"]] == [6, 7]
    assert [one["n"] for one in (await told(made(site), "audit?from=2&n=2"))["entries"]] == [2, 3]


async def test_a_reboot_is_audited_and_asked_of_the_one_shot(site: Site, tmp_path: Path) -> None:
    requests = tmp_path / "releases"
    requests.mkdir()
    follower = tmp_path / "follower"
    reboot = Reboot(site.state_dir, requests / "reboot", follower)
    with pytest.raises(Refused) as nobody:
        await reboot("main")
    assert nobody.value.code == "CG-6116"
    assert not audit.entries(Path(site.state_dir) / audit.FILE)
    follower.touch()
    await reboot("main")
    assert (requests / "reboot").read_text() == "main\n"
    (entry,) = audit.entries(Path(site.state_dir) / audit.FILE)
    assert (entry["what"], entry["by"]) == ("reboot", "center:main")
    unwritable = Reboot(str(tmp_path / "site.toml"), requests / "again", follower)
    with pytest.raises(Refused) as refused:
        await unwritable("main")
    assert refused.value.code == "CG-6117"
    assert not (requests / "again").exists()


async def test_a_part_that_cannot_be_made_leaves_the_others(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> Resource:
        raise OSError("no space left")

    monkeypatch.setattr(compose, "Releases", broken)
    paths = {one.about.path for one in compose.resources(site, Control(site.state_dir), (), dict)}
    assert "health" in paths
    assert "releases" not in paths
    assert "CG-6115" in caplog.text


def test_who_may_change_what(site: Site) -> None:
    found = {one.about.path: one.about for one in compose.resources(site, Control(site.state_dir), (), dict)}
    reading = {"health", "live", "inventory", "log", "diagnostics", "audit", "1/0", "4/0", "5/0"}
    assert all(found[path].change is None and found[path].read is Role.OBSERVE for path in reading)
    assert found["3/0"].change is Role.OPERATE
    assert found["releases"].change is Role.RELEASE


@pytest.mark.parametrize("said", [b"", b"{", b"[]\n", b"7\n", b"{}"])
async def test_half_an_answer_of_the_field_half_is_none(tmp_path: Path, said: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    server = await asyncio.start_unix_server(handle, str(tmp_path / "field.sock"))
    with pytest.raises(NotThere):
        await Control(tmp_path).request({"get": "health"})
    server.close()


def test_the_machine_as_it_says_itself(tmp_path: Path) -> None:
    zones = tmp_path / "class/thermal"
    for name, text in (("thermal_zone0", "41500\n"), ("thermal_zone1", "48000\n"), ("thermal_zone2", "odd")):
        (zones / name).mkdir(parents=True)
        (zones / name / "temp").write_text(text)
    assert machine.temperature_c(tmp_path) == 48.0
    assert machine.temperature_c(tmp_path / "nothing") is None
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text("VmRSS:\t  1000 kB\n")
    assert (machine.memory(tmp_path) or {})["uplink_rss_mb"] == 1.0  # and the rest without /proc/meminfo
    assert (machine.memory(tmp_path) or {})["total_mb"] > 100
    assert machine.memory(tmp_path / "nothing") is None
    assert machine.load(tmp_path) is None
    assert machine.disk(tmp_path / "nothing") is None
    assert shares({"channels": []}) == {}
