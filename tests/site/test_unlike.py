"""What does not agree with the rest of its own profile: each planted mistake is named at its line, in two languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.site.check import check_profile
from gateway.site.faults import render

METER = """schema = 1
[device]
family = "streetlight"
vendor = "Carlo Gavazzi"
model = "EM111"
name = { en = "meter", ko = "전력량계" }
protocol = "modbus"
source = "EM111 communication protocol, table 2.3"
period_s = 5.0
[link]
baud = 9600
"""
POINT = """
[[points]]
name = "{name}"
function = {function}
address = {address}
type = "{type}"
order = "CDAB"
scale = 0.1
unit = "{unit}"
range = [0, 300]
"""
CAPTURE = """
[[captures]]
request = "01 04 00 00 00 02 71 CB"
reply = "01 04 04 08 FE 00 00 {crc}"
values = {{ voltage = 230.2 }}
source = "computed from the manual"
"""


def meter(*, capture: bool = False) -> str:
    from protocols.modbus.crc import crc16

    rows = [("voltage", 0, "V"), ("current", 2, "A"), ("power", 4, "W"), ("apparent", 6, "VA"), ("energy", 16, "kWh")]
    text = METER
    for name, address, unit in rows:
        text += POINT.format(name=name, function=4, address=address, type="int32", unit=unit)
    text += 'kind = "counter"\nrole = "energy"\n'
    if capture:
        crc = crc16(bytes.fromhex("01040408FE0000")).to_bytes(2, "little").hex(" ")
        text += CAPTURE.format(crc=crc)
    return text


def doubts(path: Path, text: str) -> dict[str, int]:
    """Code -> line of what is said of `text`, without "unproven"."""
    file = path / "one.toml"
    file.write_text(text)
    found = [one for one in check_profile(file) if one.code not in ("CG-1032", "CG-1090")]
    assert all(render([one], "ko") != render([one], "en") for one in found)
    return {one.code: one.line for one in found}


@pytest.mark.parametrize("capture", [False, True])
def test_a_profile_of_one_cast_is_not_doubted(tmp_path: Path, capture: bool) -> None:
    assert doubts(tmp_path, meter(capture=capture)) == {}


@pytest.mark.parametrize(
    ("right", "wrong", "code", "at"),
    [
        ("baud = 9600", "baud = 960", "CG-1111", "baud = 960"),
        ('kind = "counter"\n', "", "CG-1112", 'role = "energy"'),
        (
            'address = 2\ntype = "int32"\norder = "CDAB"',
            'address = 2\ntype = "int32"\norder = "ABCD"',
            "CG-1114",
            "ABCD",
        ),
        ("function = 4\naddress = 6", "function = 3\naddress = 6", "CG-1114", "function = 3"),
        ('address = 2\ntype = "int32"\norder = "CDAB"', 'address = 2\ntype = "int16"', "CG-1114", "int16"),
        ('address = 16\ntype = "int32"', 'address = 16\ntype = "int16"', "CG-1113", 'int16"\norder'),
    ],
)
def test_a_mistake_against_its_neighbours(tmp_path: Path, right: str, wrong: str, code: str, at: str) -> None:
    text = meter().replace(right, wrong)
    line = text[: text.index(at)].count("\n") + 1 + ("order" in at)
    assert doubts(tmp_path, text) == {code: line}


def test_a_captured_value_outside_its_range(tmp_path: Path) -> None:
    text = meter(capture=True).replace("range = [0, 300]", "range = [0, 200]", 1)
    assert list(doubts(tmp_path, text)) == ["CG-1110"]
