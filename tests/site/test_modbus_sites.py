"""What sites and profiles say of Modbus lines: writable points, ASCII, connections; what a line can carry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.site.check import check_profile, check_site
from gateway.site.compile import load_plan
from gateway.site.faults import Faults, render
from gateway.site.site import port_of
from gateway.tools import plan as plan_tool

PROFILE = """schema = 1
[device]
family = "other"
vendor = "Acme"
model = "M2"
name = { en = "Controller" }
protocol = "modbus"
source = "bench"
[modbus]
delay_ms = 4.0
device_id = true
identity = [{ name = "serial_number", address = 40, registers = 8 }]
[[points]]
name = "mode"
function = 3
address = 0
range = [0, 2]
writable = [0, 5]
enum = { off = 0, manual = 1, auto = 2 }
[[points]]
name = "setpoint"
function = 3
address = 1
scale = 0.1
writable = [10, 60]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "profiles" / "other"
    folder.mkdir(parents=True)
    (folder / "m2.toml").write_text(PROFILE)
    path = tmp_path / "site.toml"
    path.write_text(
        'schema = 1\n[gateway]\nid = "g"\nprofiles = ["profiles"]\n'
        '[[links]]\nname = "bus"\nurl = "serial:/dev/x"\n'
        '[[devices]]\nname = "d"\nprofile = "other/m2"\nlink = "bus"\nunit = 1\nperiod_s = 1.0\n'
        '[[upstreams]]\nname = "c"\nuri = "coap://127.0.0.1"\ninsecure = true\n'
    )
    return path


def changed(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def codes(path: Path) -> list[str]:
    return [one.code for one in check_site(path) if one.code not in ("CG-1032", "CG-1048")]


def test_what_may_be_written_reaches_the_driver_within_what_is_believed(site: Path) -> None:
    points = {point.name: point for link in load_plan(site).links for point in link.points}
    assert points["mode"].writable == (0.0, 2.0)
    assert points["setpoint"].writable == (10.0, 60.0)
    changed(site, "period_s = 1.0\n", "period_s = 1.0\npoints.setpoint = { range = [20, 50] }\n")
    points = {point.name: point for link in load_plan(site).links for point in link.points}
    assert points["setpoint"].writable == (20.0, 50.0)
    assert load_plan(site).channels[0].words == ((0, "off"), (1, "manual"), (2, "auto"))


@pytest.mark.parametrize(
    ("old", "new", "code", "where"),
    [
        ("writable = [10, 60]", "writable = [60, 10]", "CG-1024", "writable"),
        ("writable = [10, 60]", "writable = [0, 10000]", "CG-1025", "writable"),
        ("writable = [10, 60]", "writable = true", "CG-1005", "writable"),
        ("function = 3\naddress = 1", "function = 4\naddress = 1", "CG-1027", "writable"),
        ("registers = 8", "registers = 0", "CG-1027", "identity"),
        ("delay_ms = 4.0", "delay_ms = -4.0", "CG-1027", "delay_ms"),
        ("enum = { off = 0, manual = 1, auto = 2 }", 'enum = { off = "0" }', "CG-1005", "enum"),
    ],
)
def test_faults_of_a_profile_with_file_and_line(site: Path, old: str, new: str, code: str, where: str) -> None:
    path = changed(site.parent / "profiles" / "other" / "m2.toml", old, new)
    faults = [one for one in check_profile(path) if one.code not in ("CG-1032", "CG-1098")]
    assert [one.code for one in faults] == [code]
    assert where in render(faults, "en")


def test_ascii_links_and_connections(site: Path) -> None:
    assert port_of("ascii:/dev/ttyS7") == "/dev/ttyS7"
    assert port_of("ascii+tcp://10.0.0.1:4001") == "10.0.0.1:4001"
    assert codes(changed(site, "serial:/dev/x", "ascii:/dev/x")) == []
    assert load_plan(site).links[0].link.url == "ascii:/dev/x"
    changed(site, 'url = "ascii:/dev/x"', 'url = "ascii:/dev/x"\nconnections = 4')
    assert codes(site) == ["CG-1007"]
    changed(site, "ascii:/dev/x", "tcp://10.0.0.1")
    assert codes(site) == []
    assert load_plan(site).links[0].link.connections == 4


def test_a_line_shows_its_load_and_one_that_cannot_carry_it_is_refused(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_tool.run(str(site), json=True) == 0
    (line,) = json.loads(capsys.readouterr().out)["links"]
    # 8 + 9 characters and 2 x 3.5 of silence at 960 a second, and the device's 4 ms
    assert line["cycle_ms"] == pytest.approx(24 / 0.96 + 4)
    assert line["utilisation"] == pytest.approx(line["cycle_ms"] / 1000)
    assert (line["registers"], line["baud"]) == (2, 9600)
    assert plan_tool.run(str(site), json=False) == 0
    assert "line busy 3%: 1 requests for 2 registers, 29 ms a round at 9600 baud" in capsys.readouterr().out
    changed(site, "period_s = 1.0", "period_s = 0.02")
    assert plan_tool.run(str(site), json=False) == 1
    told = capsys.readouterr().err
    assert "145 %" in told
    assert "d.mode" in told
    with pytest.raises(Faults):
        load_plan(site)
