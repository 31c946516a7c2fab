"""The JSON Schema takes what `check` takes, and refuses what a type or a name can show to be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import tomli

from gateway.cli import main
from gateway.site.library import installed
from gateway.site.schema import profile_schema, site_schema

CASES = Path(__file__).parent / "cases"
PROFILES = jsonschema.Draft202012Validator(profile_schema())
SITES = jsonschema.Draft202012Validator(site_schema())
METER = (installed() / "streetlight/eastron-sdm120.toml").read_text(encoding="utf-8")


def faults(validator: jsonschema.Draft202012Validator, text: str) -> list[str]:
    return [fault.message for fault in validator.iter_errors(tomli.loads(text))]


def test_the_schemas_are_schemas() -> None:
    for schema in (profile_schema(), site_schema()):
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", sorted(installed().rglob("*.toml")), ids=lambda path: path.stem)
def test_every_profile_of_the_library_is_valid(path: Path) -> None:
    assert faults(PROFILES, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("function = 4", "funktion = 4", "funktion"),
        ('unit = "V"', 'unit = "Volt"', "Volt"),
        ('role = "voltage"', 'role = "voltge"', "voltge"),
        ("function = 4", "function = 9", "9"),
        ("address = 0x00", 'address = "0"', "'0'"),
        ('family = "streetlight"', 'family = "street"', "street"),
        ("[modbus]", "[serial]", ""),
        ("schema = 1", "schema = 2", "1 was expected"),
    ],
)
def test_a_mistake_is_marked(old: str, new: str, words: str) -> None:
    assert old in METER
    found = faults(PROFILES, METER.replace(old, new, 1))
    assert found
    assert any(words in one for one in found)


def test_a_variant_needs_only_what_differs() -> None:
    variant = (
        'schema = 1\nextends = "streetlight/eastron-sdm120"\n[device]\nmodel = "X"\n[[points]]\nname = "voltage"\n'
    )
    assert faults(PROFILES, variant) == []
    assert faults(PROFILES, variant + "adress = 4\n")
    assert faults(PROFILES, variant.replace("extends", "extend"))


def test_a_site_is_checked_too() -> None:
    assert faults(SITES, (CASES / "site-good.toml").read_text(encoding="utf-8")) == []
    assert any("assett" in one for one in faults(SITES, (CASES / "site-keys.toml").read_text(encoding="utf-8")))


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "site"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "citygate site"
    out = tmp_path / "p.json"
    assert main(["schema", "profile", "--out", str(out)]) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["title"] == "citygate device profile"
    assert main(["schema", "profile", "--out", str(tmp_path / "none" / "p.json")]) == 2
