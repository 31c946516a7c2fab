"""Every file under cases/ says of itself what is wrong with it: `#! CG-1012 some of the words` at the end of a line
means that exactly this fault, and no other, is reported there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.site.check import check_file
from gateway.site.faults import Faults, Severity, failures, language, nearest, render
from gateway.site.messages import MESSAGES
from gateway.tools.check import run

CASES = sorted((Path(__file__).parent / "cases").glob("*.toml"))
HANGUL = re.compile("[가-힣]")


def marks(path: Path) -> list[tuple[int, str, str]]:
    """(line, code, words) of every mark in a case."""
    found = []
    for line, text in enumerate(path.read_text().splitlines(), 1):
        said = text.partition("#!")[2]
        found += [(line, code, words.strip()) for code, words in re.findall(r"(CG-\d{4})((?:(?! CG-).)*)", said)]
    return found


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_reports_exactly_what_it_says(path: Path) -> None:
    found = check_file(path)
    assert [(one.line, one.code) for one in found] == sorted((line, code) for line, code, _ in marks(path)), render(
        found, "en"
    )
    for line, code, words in marks(path):
        here = [one for one in found if (one.line, one.code) == (line, code)]
        assert any(words in f"{one.words_en} {one.next_en}" for one in here), words


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_faults_speak_both_languages(path: Path) -> None:
    for one in check_file(path):
        english, korean = render([one], "en"), render([one], "ko")
        assert english.startswith(f"{path}:{one.line}: ")
        assert f"[{one.code}]" in english
        assert not HANGUL.search(one.next_en)
        assert f"[{one.code}]" in korean
        assert HANGUL.search(one.words_ko)
        assert HANGUL.search(one.next_ko)


def test_every_code_has_a_case() -> None:
    # the tests below, test_extend, test_compile, test_lint, test_unlike and tests/node
    elsewhere = {f"CG-{number}" for number in (*range(1110, 1117), *range(6220, 6224))}
    elsewhere |= {"CG-1090", "CG-1095", "CG-1001", "CG-1011", "CG-1037", "CG-1044", "CG-1046", "CG-1051", "CG-1053"}
    shown = {code for path in CASES for _, code, _ in marks(path)}
    assert shown | elsewhere == set(MESSAGES)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (one,) = check_file(tmp_path / "none.toml")
    assert (one.code, one.line) == ("CG-1001", 0)
    assert "No such file" in one.words_en
    assert HANGUL.search(one.words_ko)


def test_a_file_saved_by_an_old_editor(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes("schema = 1\n[gateway]\nname = '7블록'\n".encode("cp949"))
    (one,) = check_file(path)
    assert (one.code, one.line) == ("CG-1002", 3)
    assert "CP949" in one.next_en


def test_a_byte_order_mark_and_dos_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(b"\xef\xbb\xbfschema = 1\r\n\r\n[gateway]\r\nid = 3\r\n")
    assert [(one.code, one.line) for one in check_file(path)] == [("CG-1005", 4), ("CG-1054", 1)][::-1]


def test_arrays_where_tables_belong_and_the_reverse(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('schema = 1\ngateway = 3\nlinks = "bus"\ndevices = [1]\nservices = []\n')
    codes = {(one.line, one.code) for one in check_file(path)}
    assert {(2, "CG-1005"), (3, "CG-1005"), (4, "CG-1005"), (5, "CG-1005")} <= codes


def test_severity_separates_what_stops_from_what_somebody_should_know() -> None:
    found = check_file(Path(__file__).parent / "cases" / "site-good.toml")
    assert [one.severity for one in found] == [Severity.WARNING]
    assert failures(found) == ()
    assert "warning: " in render(found, "en")
    assert "주의: " in render(found, "ko")


def test_json_has_every_field() -> None:
    (one,) = check_file(Path(__file__).parent / "cases" / "site-good.toml")
    assert set(one.as_json()) == {
        "code", "file", "line", "where", "words_en", "words_ko", "next_en", "next_ko", "severity"
    }  # fmt: skip
    assert one.as_json()["severity"] == "warning"


@pytest.mark.parametrize(
    ("argument", "environ", "want"),
    [
        ("ko", {}, "ko"),
        ("en", {"LANG": "ko_KR.UTF-8"}, "en"),
        (None, {"LANG": "ko_KR.UTF-8"}, "ko"),
        (None, {"LC_ALL": "C", "LANG": "ko_KR.UTF-8"}, "en"),
        (None, {"LC_ALL": "", "LC_MESSAGES": "ko_KR", "LANG": "C"}, "ko"),
        (None, {}, "en"),
    ],
)
def test_the_language_of_the_locale(argument: str | None, environ: dict[str, str], want: str) -> None:
    assert language(argument, environ) == want


def test_nearest() -> None:
    assert nearest("unt16", ["int16", "uint16", "float32"]) == "uint16"
    assert nearest("KWH", ["kWh", "kW"]) == "kWh"
    assert nearest("banana", ["kWh", "kW"]) == ""


def test_faults_as_an_exception_carry_all() -> None:
    found = check_file(Path(__file__).parent / "cases" / "site-keys.toml")
    assert len(Faults(found).faults) == len(found)
    assert "CG-1003" in str(Faults(found))


def test_the_command_prints_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    cases = Path(__file__).parent / "cases"
    assert run([str(cases / "site-good.toml")], lang="en") == 0
    assert "1 file(s) checked: 0 fault(s), 1 warning(s)" in capsys.readouterr().out
    assert run([str(cases / "site-good.toml"), str(cases / "neither.toml")], lang="ko") == 1
    assert "파일 2개 확인: 오류 1건, 주의 1건" in capsys.readouterr().out
    assert run([str(cases / "neither.toml")], json=True) == 1
    assert '"ok": false' in capsys.readouterr().out
