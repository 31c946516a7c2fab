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
        ("baud = 9600", "baud = 192000", "CG-1111", "baud = 192000"),
        ("address = 16", "address = 17", "CG-1114", "address = 17"),
    ],
)
def test_a_mistake_against_its_neighbours(tmp_path: Path, right: str, wrong: str, code: str, at: str) -> None:
    text = meter().replace(right, wrong)
    line = text[: text.index(at)].count("\n") + 1 + ("order" in at)
    assert doubts(tmp_path, text) == {code: line}


def test_a_captured_value_outside_its_range(tmp_path: Path) -> None:
    text = meter(capture=True).replace("range = [0, 300]", "range = [0, 200]", 1)
    assert list(doubts(tmp_path, text)) == ["CG-1110"]


ROW = """
[[points]]
name = "{name}"
function = 4
address = {address}
type = "int16"
scale = {scale}
nan = [{nan}]
unit = "Cel"
range = [-40, 60]
"""


def station(**other: object) -> str:
    """Three temperatures of one kind; `other` is said of the second."""
    usual: dict[str, object] = {"scale": 0.1, "nan": 32767}
    rows = [("air", 1, usual), ("dew_point", 2, usual | other), ("soil", 3, usual)]
    return METER + "".join(ROW.format(name=name, address=30 + at, **said) for name, at, said in rows)


def test_points_of_one_unit_and_range_have_one_scale(tmp_path: Path) -> None:
    assert doubts(tmp_path, station()) == {}
    assert doubts(tmp_path, station(scale=0.01)) == {"CG-1114": 28}


def test_a_mark_for_nothing_that_is_a_reading(tmp_path: Path) -> None:
    """65535 of a signed register is -1, -0.1 degrees; 0x8000 is far outside the range, as such a mark should be."""
    assert doubts(tmp_path, station(nan=65535)) == {"CG-1115": 29}
    assert doubts(tmp_path, station(nan="0x8000")) == {}


@pytest.mark.parametrize(("rollover", "said"), [(65536, ["CG-1116"]), (655.36, []), (655.35, []), (99.99, [])])
def test_a_counter_begins_again_where_its_register_does(tmp_path: Path, rollover: float, said: list[str]) -> None:
    text = METER + ROW.format(name="rain", address=48, scale=0.01, nan=65535).replace("int16", "uint16").replace(
        "range = [-40, 60]", f'range = [0, 655]\nkind = "counter"\nrollover = {rollover}'
    )
    assert list(doubts(tmp_path, text)) == said


def test_a_range_beyond_four_digits_a_register(tmp_path: Path) -> None:
    text = METER + ROW.format(name="energy", address=48, scale=1, nan=-1).replace("int16", "mod10k32").replace(
        "Cel", "kWh"
    )
    assert doubts(tmp_path, text.replace("[-40, 60]", "[0, 99999999]")) == {}
    assert list(doubts(tmp_path, text.replace("[-40, 60]", "[0, 100000000]"))) == ["CG-1025"]
