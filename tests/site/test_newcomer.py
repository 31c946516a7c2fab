"""Mistakes a field technician made on a first day, and what `citygate check` has to say of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.site.check import check_file
from gateway.site.faults import Fault, render
from gateway.site.roles import ROLES
from gateway.tools.check import run

PROFILE = """\
schema = 1

[device]
family = "air"
vendor = "Vaisala"
model = "GMP252"
name = { en = "CO2 probe", ko = "CO2 프로브" }
protocol = "modbus"
source = "user guide M211897EN"

[link]
stop_bits = 2

[[points]]
name = "co2"
unit = "ppm"
function = 3
address = 0
type = "float32"
order = "CDAB"
range = [0, 10000]
role = "co2"

[[points]]
name = "temperature"
unit = "Cel"
function = 3
address = 4
type = "float32"
order = "CDAB"
role = "temperature"

[[captures]]
request = "F0 03 00 00 00 02 D1 2A"
reply = "F0 03 04 E6 3A 44 17 7E B7"
values = { co2 = 607.597 }
source = "published"
"""


def faults(tmp_path: Path, *edits: tuple[str, str]) -> list[Fault]:
    text = PROFILE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "vaisala-gmp252.toml"
    path.write_text(text, newline="")
    return check_file(path)


def test_the_profile_is_good(tmp_path: Path) -> None:
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("°C", "Cel"), ("℃", "Cel"), ("degC", "Cel"), ("Celsius", "Cel"),
        ("m³/h", "m3/h"), ("m^3/h", "m3/h"), ("µg/m³", "ug/m3"), ("μg/m3", "ug/m3"),
        ("kwh", "kWh"), ("Ω", "Ohm"), ("µS/cm", "uS/cm"), ("%R.H.", "%RH"),
    ],
)  # fmt: skip
def test_units_as_labels_print_them(tmp_path: Path, written: str, meant: str) -> None:
    """The nearest word to "°C" is "C", and that is coulomb."""
    (one,) = faults(tmp_path, ('unit = "Cel"', f'unit = "{written}"'), ('role = "temperature"\n', ""))
    assert (one.code, f'"{meant}"?' in one.words_en) == ("CG-1021", True), one.words_en


def test_a_misspelt_unit_is_looked_for_among_those_of_its_role(tmp_path: Path) -> None:
    (one,) = faults(tmp_path, ('"ppm"', '"pmm"'))
    assert 'did you mean "ppm"?' in one.words_en


@pytest.mark.parametrize(
    ("edit", "words", "todo"),
    [
        (("address = 4", 'address = "0x0004"'), 'the text "0x0004", must be a whole number', "write 4"),
        (("address = 4", "address = 4.0"), "must be a whole number", "write 4"),
        (("function = 3", 'function = "3"'), 'the text "3", must be a whole number', "write 3"),
        (("[0, 10000]", "[10000]"), "a list of 1, must be a list of two", "write [1, 2]"),
        (("[device]", "[[device]]"), "must be a table", "write [device]"),
        (('{ en = "CO2 probe", ko = "CO2 프로브" }', '"probe"'), "must be a table", "en ="),
        (('source = "user', 'caveats = "none"\nsource = "user'), "must be a list", 'write ["none"]'),
        (("stop_bits = 2", "stop_bits = 2026-01-01"), "2026-01-01", "write one of 1, 2"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_fault_and_shows_what_to_write(
    tmp_path: Path, edit: tuple[str, str], words: str, todo: str
) -> None:
    (one,) = faults(tmp_path, edit)
    assert words in one.words_en
    assert todo in one.next_en


def test_a_range_that_is_not_finite_is_said_once(tmp_path: Path) -> None:
    assert [one.code for one in faults(tmp_path, ("[0, 10000]", "[0, nan]"))] == ["CG-1007"]


def test_a_capture_of_no_value_proves_nothing(tmp_path: Path) -> None:
    assert [one.code for one in faults(tmp_path, ("{ co2 = 607.597 }", "{}"))] == ["CG-1032"]


def test_a_misspelt_option_does_not_hide_another_fault(tmp_path: Path) -> None:
    found = faults(tmp_path, ("[link]", "[modbus]\nmax_register = 9\nforbidden = [[5, 2]]\n\n[link]"))
    assert [one.code for one in found] == ["CG-1003", "CG-1027"]


@pytest.mark.parametrize(
    ("edit", "todo"),
    [
        (("stop_bits = 2", "stop_bits ＝ 2"), "U+FF1D"),  # a Korean keyboard left in full width
        (("stop_bits = 2", "stop_bits\u00a0= 2"), "U+00A0"),
        (("stop_bits = 2", "stop_bits = 2\0"), "not shown"),
        (("[0, 10000]", "[0, 10000"), "begins on line 21"),
        (('"user guide', '"""user guide'), "begins on line 9"),
        (("607.597 }", "607.597"), "} of { ... } is missing"),
        (("\n\n[link]", "\r\r[link]"), "old Mac"),
    ],
)
def test_broken_files_name_the_cause(tmp_path: Path, edit: tuple[str, str], todo: str) -> None:
    (one,) = faults(tmp_path, edit)
    assert one.code == "CG-1002"
    assert todo in one.next_en
    assert "{" not in one.next_ko.replace("{ ... }", "")


def test_a_folder_without_profiles_is_not_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder.toml").mkdir()
    assert run([str(tmp_path)], lang="en") == 1
    assert "it is a folder, not a TOML file [CG-1001]" in capsys.readouterr().out
    assert run([""], lang="ko") == 1
    assert "폴더" in capsys.readouterr().out


def test_a_bad_gateway_table_does_not_lose_its_profile_folders(tmp_path: Path) -> None:
    (tmp_path / "own" / "air").mkdir(parents=True)
    (tmp_path / "own" / "air" / "probe.toml").write_text(PROFILE)
    site = tmp_path / "site.toml"
    site.write_text(
        'schema = 1\n[gateway]\nid = "my gateway"\nprofiles = ["own", "none"]\n'
        '[[links]]\nname = "bus"\nurl = "tcp://127.0.0.1"\n'
        '[[devices]]\nname = "a"\nprofile = "air/probe"\nlink = "bus"\nunit = 1\n'
    )
    assert [one.code for one in check_file(site)] == ["CG-1054", "CG-1008"]
    site.write_text(site.read_text().replace("my gateway", "mine").replace("air/probe", "air/prob"))
    (one,) = [one for one in check_file(site) if one.code == "CG-1040"]
    assert f"{tmp_path}/none (no such folder)" in one.next_en
    assert "(폴더 없음)" in one.next_ko


def test_a_site_without_links_says_so(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        'schema = 1\n[gateway]\nid = "a"\n[[devices]]\nname = "a"\nprofile = "air/xy"\nlink = "bus"\nunit = 1\n'
    )
    assert "[[links]] of this file: (there is none yet)" in render(check_file(site), "en")


def test_the_roles_in_the_document_are_those_of_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (water|streetlight|air|traffic) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    said = {name: (family, tuple(re.findall("`(.*?)`", units)), meaning) for name, family, units, meaning in rows}
    want = {
        name: (family, tuple(unit or '""' for unit in units), words) for name, (family, units, words) in ROLES.items()
    }
    assert said == want
