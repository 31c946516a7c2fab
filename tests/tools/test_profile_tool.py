"""`citygate profile`: what a technician finds, sees, proves and begins with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.site.check import check_profile
from gateway.site.faults import failures
from protocols import registry


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["profile", *words])
    return code, capsys.readouterr().out


def test_the_library_is_listed_by_family_and_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "list", "--family", "water", "--json")
    listed = json.loads(text)["profiles"]
    assert code == 0
    assert {one["family"] for one in listed} == {"water"}
    assert "water/tuf-2000m" in [one["name"] for one in listed]
    code, text = said(capsys, "list", "--protocol", "serial")
    assert "air/plantower-pms5003" in text
    assert "water/tuf-2000m" not in text


@pytest.mark.parametrize("words", [("초음파",), ("TUF",), ("taosonics", "flow"), ("유량", "modbus")])
def test_a_search_finds_by_label_name_role_and_both_languages(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, "search", *words)
    assert code == 0
    assert "water/tuf-2000m" in text


def test_a_search_without_a_result_says_what_comes_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "search", "tuf-2000n"]) == 1
    assert 'did you mean "tuf-2000m"' in capsys.readouterr().err
    code, text = said(capsys, "search", "nothinglikeit", "--json")
    assert (code, json.loads(text)["profiles"]) == (1, [])


def test_a_profile_is_shown_with_its_source_and_caveats(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "show", "water/tuf-2000m")
    assert code == 0
    assert "source: TUF-2000M user manual" in text
    assert "note: Low word first" in text
    assert all(len(line) <= 130 for line in text.splitlines())
    code, text = said(capsys, "show", "water/tuf-2000m", "--json")
    assert {"flow", "velocity"} <= {point["name"] for point in json.loads(text)["points"]}


def test_captures_are_decoded_one_by_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = said(capsys, "test", "streetlight/eastron-sdm120")
    assert code == 0
    assert "capture 1: PASS" in text
    assert "proven" in text
    written = Path(__file__).parents[2] / "device_profiles/streetlight/eastron-sdm120.toml"
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(written.read_text(encoding="utf-8").replace("230.2", "231.2"), encoding="utf-8")
    code, text = said(capsys, "test", str(wrong), "--json")
    told = json.loads(text)
    assert (code, told["proven"]) == (1, False)
    assert told["captures"][0]["values"][0]["got"] == pytest.approx(230.2)
    wrong.write_text(written.read_text(encoding="utf-8").replace("5A FA", "5A FB"), encoding="utf-8")
    code, text = said(capsys, "test", str(wrong))
    assert code == 1
    assert "FAIL" in text


def test_an_unknown_profile_is_guessed_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "show", "water/tuf-2000"]) == 1
    assert "water/tuf-2000m" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", sorted(registry.DRIVERS))
def test_a_new_profile_is_valid_as_it_stands(protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("new", "water/acme-f100", "--protocol", protocol, "--out", str(tmp_path))
    assert said(capsys, *words)[0] == 0
    path = tmp_path / "water/acme-f100.toml"
    faults = check_profile(path)
    assert not failures(faults)
    assert [fault.code for fault in faults] == ["CG-1032"]
    before = path.read_text(encoding="utf-8")
    assert said(capsys, *words)[0] == 2  # never over another
    assert path.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("protocol", ["modbus", "serial"])
def test_the_capture_of_a_new_profile_is_a_real_exchange(
    protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "new", "water/acme-f100", "--protocol", protocol, "--out", str(tmp_path))
    path = tmp_path / "water/acme-f100.toml"
    text = path.read_text(encoding="utf-8")
    head, _, capture = text.partition("# [[captures]]")
    scaled = head.replace("# scale = 0.1 #", "scale = 0.1 #")
    path.write_text(scaled + "[[captures]]" + capture.replace("\n# ", "\n"), encoding="utf-8")
    assert check_profile(path) == []


@pytest.mark.parametrize("name", ["acme", "water/", "sewer/acme-1", "water/acme/1"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "new", name, "--out", str(tmp_path)]) == 2
    assert "CG-5021" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
