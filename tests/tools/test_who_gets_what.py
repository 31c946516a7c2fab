"""What `plan`, `status` and health say of who gets what, in each of the three modes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.field.field import Field
from gateway.site.check import check_site
from gateway.site.compile import load_plan
from gateway.tools import plan as plan_tool
from gateway.tools import status

HEAD = """
schema = 1
[gateway]
id = "cab-7"
{gateway}
[[links]]
name = "pit"
url = "tcp://127.0.0.1:1"
[[links]]
name = "road"
url = "tcp://127.0.0.1:2"
[[devices]]
name = "meter"
profile = "water/tuf-2000m"
link = "pit"
unit = 1
points.velocity.upstreams = []
[[devices]]
name = "lane1"
profile = "traffic/canoga-900"
link = "road"
unit = 1
"""
CENTER = '[[upstreams]]\nname = "city"\nuri = "coap://127.0.0.1:9"\ninsecure = true\n'
WORKS = """[[upstreams]]
name = "works"
uri = "coap://127.0.0.1:10"
insecure = true
role = "agency"
events = ["water.", { codes = ["health."], families = ["water"] }]
summaries = ["flow"]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site.toml"


def write(site: Path, upstreams: str, gateway: str = "") -> str:
    site.write_text(HEAD.format(gateway=gateway) + upstreams)
    return str(site)


def test_plan_shows_who_gets_what(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only_traffic = CENTER + 'events = ["traffic.", "health."]\nsummaries = ["traffic"]\n'
    assert plan_tool.run(write(site, only_traffic + WORKS), json=True) == 0
    told = json.loads(capsys.readouterr().out)
    city, works = told["upstreams"]
    assert told["mode"] == "center"
    assert {name.partition(".")[0] for name in city["summaries"]} == {"lane1"}
    assert (works["role"], works["summaries"], works["events"][0]) == ("agency", ["meter.flow"], "water.burst")
    assert "health.device_silent" in works["events"]
    assert "traffic.incident" in city["events"]
    assert "meter.velocity" in told["stays"]["summaries"]
    assert {code.partition(".")[0] for code in told["stays"]["events"]} == {"anomaly"}
    assert plan_tool.run(str(site), json=False) == 0
    shown = capsys.readouterr().out
    assert "city  coap://127.0.0.1:9  center, senml, insecure\n  summaries: lane1\n" in shown
    assert "  events: health.*, traffic.*\n" in shown
    assert "works  coap://127.0.0.1:10  agency, senml, insecure\n  summaries: meter.flow\n" in shown
    assert "stays here, events: anomaly.*" in shown


def test_a_site_of_its_own_says_so_and_is_not_warned(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_tool.run(write(site, ""), json=False) == 0
    assert "mode local: nothing is sent" in capsys.readouterr().out
    assert [one.code for one in check_site(site)] == ["CG-1054"]
    write(site, "", 'mode = "local"')
    assert check_site(site) == []
    write(site, WORKS, 'mode = "local"')
    assert "CG-1080" in [one.code for one in check_site(site)]


async def test_health_is_told_to_each_as_far_as_it_is_his_business(site: Path) -> None:
    field = Field(load_plan(write(site, CENTER + WORKS)))
    waiting = {"city/alarm": 3, "works/summary": 2}
    city, works = (field.shown.facts(upstream, waiting) for upstream in field.plan.upstreams)
    assert (city["mode"], city["links"], city["spool_records"], city["insecure"]) == ("center", 2, 5, "city, works")
    assert (works["links"], works["spool_records"], works["insecure"]) == (1, 2, "works")
    health = await field.shown.health()
    assert health["upstreams"]["works"] == {
        "role": "agency", "uri": "coap://127.0.0.1:10", "format": "senml", "insecure": True
    }  # fmt: skip
    assert status.mode_line(health) == "mode: center-integrated, city (center, insecure), works (agency, insecure)"
    assert status.mode_line({"mode": "local", "upstreams": {}}) == "mode: local only, nothing is sent"
    stop = asyncio.Event()
    stop.set()
    await field.run(stop)


async def test_a_site_of_its_own_judges_and_its_alarms_stand(site: Path) -> None:
    text = write(site, "", 'mode = "local"')
    field = Field(load_plan(text))
    limit_ns = round(max(device.silent_s for device in field.plan.devices) * 1e9)
    field.engine.overdue(field._started_ns + limit_ns + 1, lambda link: False)
    assert {alarm["code"] for alarm in field.shown.live()["alarms"]} == {"health.device_silent"}
    stop = asyncio.Event()
    stop.set()
    await field.run(stop)
    again = Field(load_plan(text))
    assert {event.subject for event in again.engine.standing.values()} == {"meter", "lane1"}
    assert await asyncio.to_thread(again.shown.depth) == {}
    await again.run(stop)
