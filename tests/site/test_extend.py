"""Variants of a profile: what they say, what they inherit, and where their faults stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.site.check import check_profile
from gateway.site.faults import Fault, Faults
from gateway.site.profile import DeviceProfile, load_profile, read_profile

VARIANT = """schema = 1
extends = "streetlight/eastron-sdm120"
omit = ["frequency"]
[device]
model = "SDM120-X"
source = "its own manual"
[[points]]
name = "voltage"
range = [180, 260]
[[points]]
name = "leakage"
unit = "mA"
function = 4
address = 0x60
type = "float32"
"""


def written(folder: Path, text: str, name: str = "streetlight/eastron-sdm120x") -> Path:
    path = folder / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def base() -> DeviceProfile:
    import device_profiles

    return load_profile(Path(device_profiles.__path__[0]) / "streetlight/eastron-sdm120.toml")


def test_a_variant_says_what_differs_and_inherits_the_rest(tmp_path: Path) -> None:
    variant, whole = load_profile(written(tmp_path, VARIANT)), base()
    assert variant.extends == "streetlight/eastron-sdm120"
    assert (variant.identity.model, variant.identity.vendor) == ("SDM120-X", whole.identity.vendor)
    assert {point.name for point in variant.points} == {point.name for point in whole.points} - {"frequency"} | {
        "leakage"
    }
    assert variant.point("voltage").low == 180
    assert variant.point("voltage").spec == whole.point("voltage").spec
    assert variant.point("current") == whole.point("current")
    assert variant.options == whole.options


def test_inherited_captures_prove_the_variant_or_say_why_not(tmp_path: Path) -> None:
    assert check_profile(written(tmp_path, VARIANT)) == []
    assert not load_profile(written(tmp_path, VARIANT)).unproven
    faults = check_profile(written(tmp_path, VARIANT.replace("range = [180, 260]", "scale = 0.5")))
    assert [(fault.code, fault.line) for fault in faults] == [("CG-1030", 2)]


def test_a_variant_of_a_variant_is_refused(tmp_path: Path) -> None:
    written(tmp_path, VARIANT)
    again = 'schema = 1\nextends = "streetlight/eastron-sdm120x"\n[device]\nmodel = "Y"\n'
    profile, faults = read_profile(written(tmp_path, again, "streetlight/eastron-y"))
    assert profile is None
    assert [fault.code for fault in faults] == ["CG-1037"]


def test_a_profile_does_not_extend_itself(tmp_path: Path) -> None:
    path = written(tmp_path, VARIANT.replace("sdm120", "sdm120x"))
    with pytest.raises(Faults):
        load_profile(path)


def test_a_base_that_cannot_be_read_is_told_with_its_own_line(tmp_path: Path) -> None:
    written(tmp_path, "schema = 1\n[device\n", "streetlight/broken")
    path = written(tmp_path, VARIANT.replace("streetlight/eastron-sdm120", "streetlight/broken"))
    profile, faults = read_profile(path)
    assert profile is None
    [fault] = faults
    assert isinstance(fault, Fault)
    assert fault.file.endswith("broken.toml")
    assert fault.line == 2


def test_omit_without_extends_is_unknown(tmp_path: Path) -> None:
    profile, faults = read_profile(written(tmp_path, 'schema = 1\nomit = ["a"]\n'))
    assert profile is None
    assert "CG-1003" in [fault.code for fault in faults]
