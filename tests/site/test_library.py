"""The profiles that come with citygate: every one checks, every capture decodes, every claim has a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.site.check import check_profile, decode
from gateway.site.faults import render
from gateway.site.library import Library, installed
from gateway.site.profile import load_profile
from gateway.site.roles import ROLES
from gateway.site.units import UNITS, is_known, is_secondary

PROFILES = sorted(installed().rglob("*.toml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_profile_is_without_fault_and_proven(path: Path) -> None:
    found = check_profile(path)
    assert not found, render(found, "en")
    profile = load_profile(path)
    assert profile.captures
    assert profile.name == f"{profile.identity.family}/{path.stem}"
    for point in profile.points:
        assert point.label_en
        assert point.label_ko
        assert point.label_en != point.name.replace("_", " ")


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_byte_of_a_capture_matters(path: Path) -> None:
    """A capture proves nothing if a damaged reply decodes as well."""
    profile = load_profile(path)
    if profile.driver.name == "serial" and profile.options.frame == "lines":
        pytest.skip("lines carry no check")
    if profile.driver.name == "coap":
        pytest.skip("UDP's checksum is not part of a CoAP message")
    if profile.driver.name == "ble":
        pytest.skip("the radio's CRC is not part of an advert")
    for capture in profile.captures:
        request, reply = bytes.fromhex(capture.request), bytearray(bytes.fromhex(capture.reply))
        for at in range(len(reply)):
            reply[at] ^= 0x10
            with pytest.raises(ValueError, match=r"\w"):
                decode(profile, request, bytes(reply))
            reply[at] ^= 0x10


def test_names_and_search_order(tmp_path: Path) -> None:
    (tmp_path / "water").mkdir()
    (tmp_path / "water" / "tuf-2000m.toml").write_text("")
    library = Library.of([tmp_path])
    assert library.find("water/tuf-2000m") == tmp_path / "water" / "tuf-2000m.toml"
    assert library.find("water/keller-30x") == installed() / "water" / "keller-30x.toml"
    assert library.find("water/nothing") is None
    assert library.find("../site/cases/neither") is None
    assert library.find("/etc/passwd") is None
    assert "air/plantower-pms5003" in library.names()
    assert len(library.paths()) == len(library.names())


def test_roles_name_units_that_exist_but_for_two_spellings() -> None:
    named = {unit for _, units, _ in ROLES.values() for unit in units}
    assert {unit for unit in named if not is_known(unit)} <= {"L", "L/s"}


def test_units_convert_to_units_of_the_main_registry() -> None:
    for unit in UNITS.values():
        assert UNITS[unit.base].base == unit.base
        assert unit.factor > 0
    assert is_secondary("ug/m3")
    assert not is_secondary("m")
    assert not is_secondary("m3/h")
    assert UNITS["km/h"].factor == pytest.approx(1 / 3.6)
