"""Water and streetlight profiles: what their captures alone do not show."""

from __future__ import annotations

import math

import pytest

from gateway.site.check import decode
from gateway.site.library import Library
from gateway.site.profile import DeviceProfile, driver_points, load_profile
from protocols.modbus.crc import crc16


def profile(name: str) -> DeviceProfile:
    path = Library.of([]).find(name)
    assert path is not None
    return load_profile(path, name)


def told(name: str, request: str, data: str) -> dict[str, float]:
    """What a reply with these data bytes means."""
    asked = bytes.fromhex(request)
    head = asked[:2] + bytes((len(bytes.fromhex(data)),)) + bytes.fromhex(data)
    return decode(profile(name), asked + crc16(asked).to_bytes(2, "little"), head + crc16(head).to_bytes(2, "little"))


def test_an_abb_meter_that_has_no_value_says_none() -> None:
    none = told("streetlight/abb-b23", "01 03 50 00 00 04", "FF FF FF FF FF FF FF FF")
    assert math.isnan(none.get("energy", math.nan))
    assert told("streetlight/abb-b23", "01 03 50 00 00 04", "00 00 00 00 00 00 00 64") == {"energy": 1.0}


def test_a_carlo_gavazzi_meter_that_exports_reads_below_zero_low_word_first() -> None:
    assert told("streetlight/carlo-gavazzi-em340", "01 04 00 28 00 02", "FF 9C FF FF") == {
        "power": pytest.approx(-10.0)
    }


def test_probes_below_the_freezing_point() -> None:
    assert told("water/aquaread-leveline", "01 04 00 00 00 01", "FF 9C") == {"temperature": pytest.approx(-1.0)}


@pytest.mark.parametrize(
    ("variant", "parent"),
    [
        ("streetlight/eastron-sdm230", "streetlight/eastron-sdm120"),
        ("streetlight/eastron-sdm630", "streetlight/eastron-sdm120"),
        ("streetlight/eastron-sdm72d-v2", "streetlight/eastron-sdm120"),
        ("streetlight/carlo-gavazzi-em24", "streetlight/carlo-gavazzi-em340"),
        ("water/taco-00e-vr", "water/imp-nmtc"),
        ("water/aquaread-leveline-ctd", "water/aquaread-leveline"),
    ],
)
def test_a_variant_reads_what_it_shares_with_its_parent_at_the_same_place(variant: str, parent: str) -> None:
    ours, theirs = profile(variant), profile(parent)
    assert ours.extends == parent
    at = {point.name: point.spec for point in ours.points}
    both = [point for point in theirs.points if point.name in at]
    assert len(both) >= 2
    for point in both:
        assert point.spec == at[point.name]


def test_only_relays_and_a_pump_set_point_may_be_written() -> None:
    library = Library.of([])
    names = [name for name in library.names() if name.split("/")[0] in ("water", "streetlight")]
    writable = {name: {p.name for p in profile(name).points if p.writable} for name in names}
    assert {name for name, points in writable.items() if points} == {
        "streetlight/lwm2m-3416-lamp",
        "streetlight/waveshare-relay8",
        "water/imp-nmtc",
        "water/taco-00e-vr",
    }
    assert len(writable["streetlight/waveshare-relay8"]) == 8


def test_nothing_of_a_relay_module_is_asked_beyond_its_eight_coils() -> None:
    """Behind them stand commands that switch or flash every relay."""
    relay = profile("streetlight/waveshare-relay8")
    for op in relay.driver.plan(driver_points(dict(enumerate(relay.points)), relay.as_device())):
        assert op.function == 1
        assert op.address + op.count <= 8
