"""What `citygate check` says beyond faults: notes, hints at the one change that makes a capture fit, and silence about
profiles that are in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.site.check import check_file, check_profile
from gateway.site.faults import Severity, render
from gateway.site.library import installed
from gateway.tools.check import run

CASES = Path(__file__).parent / "cases"
HEAD = """schema = 1
[device]
family = "air"
vendor = "XY"
model = "MD02"
name = { en = "x", ko = "x" }
protocol = "modbus"
source = "manual"
period_s = 2.0
"""
CAPTURE = """
[[captures]]
request = "01 03 00 10 00 02 C5 CE"
reply = "01 03 04 43 66 80 00 {crc}"
values = { value = 230.5 }
source = "bench"
"""


def written(path: Path, point: str, capture: str = "") -> Path:
    file = path / "one.toml"
    file.write_text(f'{HEAD}\n[[points]]\nname = "value"\n{point}\n{capture}')
    return file


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ('function = 3\naddress = 16\ntype = "float32"\norder = "CDAB"', 'order = "ABCD" would give it'),
        ('function = 3\naddress = 15\ntype = "float32"', "address = 16 would give it"),
        ('function = 3\naddress = 17\ntype = "float32"', "address = 16 would give it"),
        ('function = 3\naddress = 40017\ntype = "float32"', "address = 16 would give it"),
        ('function = 4\naddress = 16\ntype = "float32"', "function = 3 would give it"),
        ('function = 3\naddress = 16\ntype = "uint32"', 'type = "float32" would give it'),
        ('function = 3\naddress = 16\ntype = "float32"\nscale = 0.1', "scale = 1 would give it"),
        ('function = 3\naddress = 16\ntype = "int32"\norder = "CDAB"', ""),
        ('function = 3\naddress = 16\ntype = "float32"\noffset = 7', "the profile says 230.5 [CG-1030]"),
    ],
)
def test_the_change_that_makes_a_capture_fit_is_named(tmp_path: Path, point: str, words: str) -> None:
    from protocols.modbus.crc import crc16

    crc = crc16(bytes.fromhex("01030443668000")).to_bytes(2, "little").hex(" ")
    file = written(tmp_path, point, CAPTURE.replace("{crc}", crc))
    found = [one for one in check_profile(file) if one.code == "CG-1030"]
    assert found, render(check_profile(file), "en")
    assert words in render(found, "en")


def test_notes_are_told_only_where_they_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proven = CASES / "profile-lint-proven.toml"
    assert [one.code for one in check_file(proven) if one.severity is Severity.NOTE] == []
    notes = [one for one in check_file(proven, notes=True) if one.severity is Severity.NOTE]
    assert [(one.code, one.words_en) for one in notes] == [
        ("CG-1090", 'the captures prove 2 of 3 points; not yet: "status"')
    ]
    floating = written(tmp_path, 'function = 3\naddress = 4\ntype = "float32"')
    assert [one.code for one in check_file(floating, notes=True)] == ["CG-1032", "CG-1095"]
    assert run([str(floating)], lang="en") == 0
    shown = capsys.readouterr().out
    assert "note: point" in shown
    assert "0 fault(s), 1 warning(s)" in shown
    assert run([str(floating), str(proven)], lang="ko") == 0
    assert "참고" not in capsys.readouterr().out


def test_the_library_is_beyond_doubt() -> None:
    doubts = [
        one
        for path in sorted(installed().rglob("*.toml"))
        for one in check_profile(path)
        if one.code != "CG-1032" and one.severity is Severity.WARNING
    ]
    assert doubts == [], render(doubts, "en")


def test_a_value_in_a_frame_that_is_off_by_some_bytes(tmp_path: Path) -> None:
    """A library profile with one offset moved: the right one is named."""
    text = (installed() / "air" / "plantower-pms5003.toml").read_text()
    file = tmp_path / "moved.toml"
    moved = text.replace("offset = 16", "offset = 18", 1)
    assert moved != text
    file.write_text(moved)
    found = [one for one in check_profile(file) if one.code == "CG-1030"]
    assert [one.words_en.partition("; ")[2] for one in found] == ["offset = 16 would give it"]
