"""A site and its profiles become a plan: rows in order, overrides applied, the same every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.site.check import check_site
from gateway.site.compile import compile_site, load_plan, read_site, survey
from gateway.site.faults import Faults, render
from gateway.site.plan import Detector, Filter, Kind, Plan
from gateway.site.site import load_site, port_of

CASES = Path(__file__).parent / "cases"
GATEWAY = 'schema = 1\n[gateway]\nid = "g1"\n'
UPSTREAM = '[[upstreams]]\nname = "center"\nuri = "coap://127.0.0.1"\ninsecure = true\n'


def link(name: str, url: str, more: str = "") -> str:
    return f'[[links]]\nname = "{name}"\nurl = "{url}"\n{more}\n'


def device(name: str, profile: str, link: str, unit: int = 0, more: str = "") -> str:
    return f'[[devices]]\nname = "{name}"\nprofile = "{profile}"\nlink = "{link}"\nunit = {unit}\n{more}\n'


def write(folder: Path, *parts: str) -> Path:
    path = folder / "site.toml"
    path.write_text(GATEWAY + "".join(parts) + UPSTREAM)
    return path


def codes(path: Path) -> list[str]:
    return [one.code for one in check_site(path) if one.code != "CG-1048"]


@pytest.fixture
def plan() -> Plan:
    return load_plan(CASES / "site-good.toml")


def test_rows_stand_in_the_order_of_site_and_profile(plan: Plan) -> None:
    assert [channel.name for channel in plan.channels] == [
        "meter1.voltage",
        "meter1.current",
        "meter1.power",
        "meter1.frequency",
        "meter1.energy",
        "press1.pressure",
    ]
    assert [channel.index for channel in plan.channels] == list(range(6))
    assert plan.device("meter1").channels == (0, 1, 2, 3, 4)
    assert [point.channel for link in plan.links for point in link.points] == list(range(6))
    assert [row[0] for row in plan.catalog.rows] == [channel.name for channel in plan.channels]


def test_overrides_of_the_site(plan: Plan) -> None:
    voltage, current = plan.channels[:2]
    assert (voltage.low, voltage.high, voltage.step) == (180, 260, 20)
    assert (voltage.detector, voltage.filter) == (Detector.NONE, Filter.HAMPEL)
    assert (voltage.group, current.group) == ("F2", "F1")
    assert (voltage.window_s, plan.channels[5].window_s) == (10, 30)
    assert plan.device("meter1").options == {"rated_watt": 100}
    assert plan.channels[5].period_s == 0.5
    assert plan.channels[4].period_s == 10  # the point's own
    assert (voltage.upstreams, plan.channels[5].upstreams) == (("center",), ())


def test_a_device_stands_where_the_gateway_does_unless_it_says_otherwise(plan: Plan) -> None:
    meter, press = plan.device("meter1").place, plan.device("press1").place
    assert (meter.asset, meter.zone, meter.name_ko, meter.latitude) == ("CAB-7", "Z1", "7블록", 37.5)
    assert (press.asset, press.zone, press.name_ko, press.longitude) == ("P-1", "Z1", "1번 맨홀", 127.0)


def test_what_a_profile_says_of_a_point(plan: Plan) -> None:
    energy = plan.channels[4]
    assert (energy.unit, energy.role, energy.kind) == ("kWh", "energy", Kind.COUNTER)
    assert (energy.label_en, energy.label_ko) == ("Imported energy", "수전 전력량")
    assert (energy.low, energy.high, energy.rollover) == (-float("inf"), float("inf"), float("inf"))
    assert not energy.unproven


def test_links_are_opened_as_site_and_profiles_say(plan: Plan) -> None:
    cabinet, bus = plan.links
    assert (cabinet.link.url, cabinet.timeout_s, cabinet.driver) == ("tcp://127.0.0.1:1502", 0.5, "modbus")
    assert (bus.link.baud, bus.link.parity, bus.link.stop_bits) == (9600, "N", 1)
    assert [op.describe() for op in bus.ops] == ["unit 3 FC3 2-3 (2 registers)"]


def test_silence_is_three_periods_and_at_least_three_seconds(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        link("a", "serial:/dev/ttyA"),
        link("b", "serial:/dev/ttyB"),
        device("slow", "water/keller-30x", "a", 1, "period_s = 10"),
        device("told", "water/keller-30x", "a", 2, "silent_s = 42"),
        device("air", "air/plantower-pms5003", "b"),
    )
    plan = load_plan(path)
    assert [one.silent_s for one in plan.devices] == [30, 42, 10]
    assert [one.listens for one in plan.devices] == [False, False, True]


def test_derived_points_are_channels_but_nothing_is_read_for_them(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        link("loops", "serial:/dev/ttyA"),
        device("lane1", "traffic/raw-loop-stream", "loops"),
        "[services.traffic]\ninterval_s = 5\n",
    )
    plan = load_plan(path)
    assert [point.name for point in plan.links[0].points] == ["loop1", "loop2"]
    speed = next(channel for channel in plan.channels if channel.point == "speed")
    assert (speed.derived, speed.source) == ("speed", ("loop1", "loop2"))
    assert [c.kind for c in plan.channels[:2]] == [Kind.WAVEFORM, Kind.WAVEFORM]
    assert {c.period_s for c in plan.channels if c.derived == "volume"} == {5}
    assert plan.links[0].link.baud == 115200


def test_compiling_is_pure() -> None:
    site, profiles = read_site(CASES / "site-good.toml")
    first, second = compile_site(site, profiles), compile_site(site, profiles)
    assert first.channels == second.channels
    assert first.devices == second.devices
    assert first.catalog.id == second.catalog.id


def test_compile_refuses_what_check_would_have_found(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        link("a", "tcp://127.0.0.1:1502"),
        device("one", "water/keller-30x", "a", 1),
        device("two", "water/keller-30x", "a", 1),
    )
    site, profiles, _ = survey(path)
    assert site is not None
    with pytest.raises(Faults, match="CG-1041"):
        compile_site(site, profiles)
    with pytest.raises(Faults, match="CG-1041"):
        load_plan(path)


def test_a_streaming_device_has_its_line_alone(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        link("a", "serial:/dev/ttyA"),
        device("air1", "air/plantower-pms5003", "a"),
        device("air2", "air/nova-sds011", "a"),
    )
    (one,) = [one for one in check_site(path) if one.code == "CG-1046"]
    assert '"air2" speaks by itself' in one.words_en
    assert path.read_text().splitlines()[one.line - 1] == 'link = "a"'


def test_a_link_its_driver_cannot_use(tmp_path: Path) -> None:
    path = write(tmp_path, link("a", "rtu+tcp://10.0.0.1:4001"), device("air", "air/nova-sds011", "a"))
    assert codes(path) == ["CG-1044"]


def test_two_protocols_on_one_link(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        link("a", "serial:/dev/ttyA"),
        device("press", "water/keller-30x", "a", 1),
        device("co2", "air/winsen-mhz19b", "a"),
    )
    assert codes(path) == ["CG-1051"]


def test_a_derived_point_needs_its_sources(tmp_path: Path) -> None:
    more = "points = { loop2 = { enabled = false } }"
    path = write(tmp_path, link("a", "serial:/dev/ttyA"), device("l", "traffic/raw-loop-stream", "a", 0, more))
    assert codes(path) == ["CG-1053"] * 4
    off = "{ enabled = false }"
    more = f"points = {{ loop2 = {off}, volume2 = {off}, occupancy2 = {off}, speed = {off}, length = {off} }}"
    path = write(tmp_path, link("a", "serial:/dev/ttyA"), device("l", "traffic/raw-loop-stream", "a", 0, more))
    assert codes(path) == []


def test_the_site_settles_what_profiles_disagree_about(tmp_path: Path) -> None:
    devices = device("a", "water/tuf-2000m", "bus", 1), device("b", "streetlight/eastron-sdm120", "bus", 2)
    assert codes(write(tmp_path, link("bus", "serial:/dev/ttyA"), *devices)) == ["CG-1045"]
    path = write(tmp_path, link("bus", "serial:/dev/ttyA", "baud = 9600"), *devices)
    assert codes(path) == []
    assert load_plan(path).links[0].link.baud == 9600


def test_one_port_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to("/dev/null")
    path = write(
        tmp_path,
        link("a", "serial:/dev/null"),
        link("b", f"serial:{tmp_path}/by-id"),
        device("one", "water/keller-30x", "a", 1),
        device("two", "water/keller-30x", "b", 1),
    )
    (one,) = [one for one in check_site(path) if one.code == "CG-1042"]
    assert one.words_en.endswith("(line 6): /dev/null")


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("tcp://localhost:502", "127.0.0.1:502"),
        ("tcp://127.0.0.1", "127.0.0.1:502"),
        ("rtu+tcp://Meter.local:4001/", "meter.local:4001"),
        ("tcp://[::1]:502", "[::1]:502"),
        ("serial:/dev/null", "/dev/null"),
        ("tcp://host:99999", ""),
        ("udp://host:1", ""),
        ("serial:", ""),
        ("", ""),
    ],
)
def test_ports(url: str, port: str) -> None:
    assert port_of(url) == port


def test_profiles_of_the_site_come_first(tmp_path: Path) -> None:
    own = tmp_path / "profiles" / "water"
    own.mkdir(parents=True)
    text = (Path(__file__).parents[2] / "device_profiles/water/keller-30x.toml").read_text()
    (own / "keller-30x.toml").write_text(text.replace("range = [-1, 25]", "range = [0, 3]"))
    site = write(tmp_path, link("a", "tcp://127.0.0.1"), device("p", "water/keller-30x", "a", 1)).read_text()
    path = tmp_path / "site.toml"
    path.write_text(site.replace('id = "g1"', 'id = "g1"\nprofiles = ["profiles"]'))
    assert load_plan(path).channels[0].high == 3


def test_faults_of_a_profile_are_told_with_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "bad.toml").write_text((CASES / "profile-meaning.toml").read_text())
    path = write(tmp_path, link("a", "tcp://127.0.0.1"), device("x", "p/bad", "a", 1))
    path.write_text(path.read_text().replace('id = "g1"', f'id = "g1"\nprofiles = ["{tmp_path}"]'))
    with pytest.raises(Faults) as caught:
        load_plan(path)
    assert "bad.toml:15: " in caught.value.text("en")
    assert "\n    -> " in render(caught.value.faults, "ko")


def test_credentials_are_found_where_the_site_says(tmp_path: Path) -> None:
    path = write(tmp_path, link("a", "tcp://127.0.0.1"), device("p", "water/keller-30x", "a", 1))
    path.write_text(path.read_text().replace("insecure = true", 'credentials = "credentials/center"'))
    assert codes(path) == ["CG-4001"]
    load_plan(path)  # a gateway polls and stores without them
    folder = tmp_path / "credentials" / "center"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    assert codes(path) == []
    (upstream,) = load_site(path).upstreams
    assert upstream.credentials == str(folder)
    assert load_site(path).state_dir == str(tmp_path / "state")


def test_the_sending_half_reads_a_site_without_numpy() -> None:
    code = (
        "import sys; from gateway.site.site import load_site; "
        f"site = load_site({str(CASES / 'site-good.toml')!r}); "
        "print(site.upstreams[0].uri, 'numpy' in sys.modules, 'numba' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["coap://127.0.0.1:5683", "False", "False"]
