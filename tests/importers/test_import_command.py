"""`citygate import`: detection, faults with a line, all or nothing, and no input that brings it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.importers.documents import FORMATS, format_of, parse
from gateway.importers.model import Unusable
from gateway.importers.writer import value
from gateway.site.check import check_profile
from gateway.tools.importing import IMPORTERS, made, run

CONF = '[[inputs.modbus]]\nname = "m"\ncontroller = "tcp://h:502"\ncoils = [{name = "a", address = [0]}]\n'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CONF, "telegraf"), ("holding_registers = []", "telegraf"), ("modbus:\n  - name: x", "homeassistant"),
        ("sensor:\n  - platform: modbus", "homeassistant"), ("- name: a\n  input_type: holding", "homeassistant"),
        ("deviceResources: []", "edgex"), ('{"deviceResources": []}', "edgex"),
        ('{"properties": {}, "forms": []}', "thing"),
    ],
)  # fmt: skip
def test_the_format_is_seen(text: str, name: str) -> None:
    assert format_of("f", text) == name


def test_what_stands_there_twice_is_taken_once() -> None:
    row = '{ address = 200, name = "v", type = "FLOAT32" }'
    found = IMPORTERS["telegraf"](
        parse(
            "f",
            f"[[inputs.modbus]]\n[[inputs.modbus.request]]\nregister = 'input'\nfields = [{row}, {row}]",
            "telegraf",
        )
    )
    (one,) = made(found, "f", "other")
    assert one.names == ["v"]
    assert [left.why.en for left in found.left] == ["stands in the file twice"]


@pytest.mark.parametrize(
    ("text", "format", "line", "words"),
    [
        ("a = 1\nb = ${X}\n", "telegraf", 2, "needs quotes"),
        ("a:\n\t- b\n", "homeassistant", 2, "never with tabs"),
        ("a: [1\nb: 2\n", "edgex", 2, ""),
        ('{"a": 1, // no\n"b": 2}', "thing", 1, "no comments"),
        ('{"a": 1}\n}', "thing", 2, "behind the end"),
        ('{"a": 1,\n}', "thing", 2, "a comma too many"),
        ("a: 2021-13-45\n", "homeassistant", 1, "cannot be read"),
        ("[" * 100_000, "thing", 1, "nested too deeply"),
        ("a: " + "[" * 20_000, "homeassistant", 1, ""),
    ],
)  # fmt: skip
def test_broken_files_name_their_line(text: str, format: str, line: int, words: str) -> None:
    with pytest.raises(Unusable, match=f"f:{line}: .*{words}") as bad:
        parse("f", text, format)
    assert bad.value.code == "CG-5172"


def test_tags_and_merges_are_kept_as_markers() -> None:
    data = parse("f", "a: !secret x\nb: {<<: !include y, c: 1}\nd: !custom [1]\n", "homeassistant")
    assert str(data["a"]) == "!secret x"
    assert data["b"] == {"c": 1}
    assert str(data["d"]) == "!custom ..."


def test_profiles_are_written_and_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "t.conf"
    conf.write_text(CONF)
    out = tmp_path / "out"
    assert run(str(conf), out=str(out), family="water") == 0
    shown = capsys.readouterr().out
    path = out / "water" / "telegraf-m.toml"
    assert str(path) in shown
    assert '[[links]]\nname = "link1"\nurl = "tcp://h:502"' in shown
    assert [fault.code for fault in check_profile(path)] == ["CG-1032"]
    before = path.read_text()
    assert run(str(conf), out=str(out), family="water", json=True) == 2  # nothing is written over
    assert json.loads(capsys.readouterr().out)["code"] == "CG-5174"
    assert path.read_text() == before


def test_json_has_all_that_was_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "t.conf"
    conf.write_text(CONF + "busy_retries = 3\n")
    assert run(str(conf), out=str(tmp_path), json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert told["profiles"][0]["name"] == "other/telegraf-m"
    assert told["left"][0]["where"] == "inputs.modbus[0].busy_retries"
    assert told["left"][0]["why"]["ko"]
    assert "[[devices]]" in told["site"]


@pytest.mark.parametrize(
    ("name", "data", "code", "exit_code"),
    [
        ("none.conf", None, "CG-5170", 2),
        ("cp949.yaml", "모드버스".encode("cp949"), "CG-5170", 2),
        ("letter.txt", b"Dear Sir", "CG-5171", 2),
        ("broken.conf", b"[[inputs.modbus]\n", "CG-5172", 2),
        ("empty.conf", b"[[inputs.modbus]]\n", "CG-5173", 1),
    ],
)
def test_what_cannot_be_imported_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    name: str, data: bytes | None, code: str, exit_code: int,
) -> None:  # fmt: skip
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    for lang in ("en", "ko"):
        monkeypatch.setenv("LC_ALL", lang)
        assert run(str(path), out=str(tmp_path / "out")) == exit_code
        assert code in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_points_that_check_refuses_are_left_out_with_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "t.conf"
    conf.write_text(
        '[[inputs.modbus]]\nname = "x"\n[[inputs.modbus.request]]\nregister = "holding"\nfields = ['
        '{address=0,name="a",type="UINT32"},{address=1,name="b",type="UINT32"},{address=65535,name="c",type="INT32"}]\n'
    )
    assert run(str(conf), out=str(tmp_path), json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["profiles"][0]["points"] == ["a"]
    assert [one["what"] for one in told["left"]] == ["b", "c"]
    assert "CG-1027" in told["left"][0]["why"]["en"]


@given(st.text())
def test_texts_are_written_as_toml_reads_them(said: str) -> None:
    plain = "".join(c for c in said if not 0xD800 <= ord(c) <= 0xDFFF)
    assert tomli.loads(f"a = {value(plain)}\nb = {value({plain: [1, True, 2.5]})}") == {
        "a": plain,
        "b": {plain: [1, True, 2.5]},
    }


WORDS = (
    "inputs", "modbus", "coils", "holding_registers", "request", "metric", "fields", "address", "name", "type",
    "data_type", "byte_order", "scale", "slave_id", "controller", "sensors", "switches", "binary_sensors",
    "structure", "count", "swap", "verify", "deviceResources", "attributes", "properties", "primaryTable",
    "startingAddress", "valueType", "mask", "shift", "readWrite", "minimum", "maximum", "forms", "href", "base",
    "op", "modv:entity", "modv:quantity", "contentType", "value", "unit_of_measurement", "nan_value",
    "workarounds", "platform", "sensor", "registers", "oneOf", "const", "title",
)  # fmt: skip
SAID = (
    "INT16", "UINT32", "FIXED", "AB", "ABCD", "custom", ">hf", "<2q", "word", "holding", "coil", "input",
    "HOLDING_REGISTERS", "COILS", "Float32", "Bool", "String", "10.5", "0x10", "RW",
    "modbus+tcp://h:502/1/40001?quantity=2", "coap://h/x", "modbus://[::", "HoldingRegister",
    "application/json", "readproperty", "writeproperty", "modbus", "number", "object", "integer", "",
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 70_000), st.floats(), st.sampled_from(SAID), st.text(max_size=5)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=8)),
    max_leaves=25,
)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(tree=TREES)
def test_no_tree_brings_an_importer_down(format: str, tree: Any) -> None:
    whole: dict[str, Any] = {
        "telegraf": {"inputs": {"modbus": [tree]}}, "homeassistant": {"modbus": [tree], "sensor": tree},
        "edgex": {"deviceResources": [tree, tree]}, "thing": {"base": "modbus+tcp://h/1/", "properties": {"a": tree}},
    }[format]  # fmt: skip
    for data in (tree, whole):
        if format == "telegraf" and not isinstance(data, dict):
            continue
        found = IMPORTERS[format](data)
        try:
            made(found, "f", "other")
        except Unusable as bad:
            assert bad.code == "CG-5173"  # noqa: PT017 - either way is right


def test_line_settings_that_are_none_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "t.conf"
    conf.write_text(CONF.replace("tcp://h:502", "file:///dev/ttyS1") + 'baud_rate = 9600\nparity = "M"\n')
    assert run(str(conf), out=str(tmp_path), json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left"][0]["what"] == "parity = M"
    assert "baud = 9600" in told["site"]
    assert "parity" not in told["site"]
