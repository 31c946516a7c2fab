"""SenML packs: examples of RFC 8428, short numbers, and anything at all as input."""

import math

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import senml

# RFC 8428, section 6: the multiple-datapoint example in CBOR.
RFC_EXAMPLE = bytes.fromhex(
    "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c74616765"
    "01615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e74062302fb3ff4cccccccc"
    "cccda3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a3006763757272656e74062002fb3f"
    "f999999999999aa3006763757272656e74060002fb3ffb333333333333"
)


def test_the_example_of_the_standard_resolves() -> None:
    first, *others = senml.decode(RFC_EXAMPLE)
    assert (first.base + first.name, first.value, first.unit) == ("urn:dev:ow:10e2073a0108006:voltage", 120.1, "V")
    assert [round(e.value or 0, 1) for e in others] == [1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    assert [e.unit for e in others] == ["A"] * 6
    assert [round(e.time - first.time) for e in others] == [-5, -4, -3, -2, -1, 0]


@pytest.mark.parametrize(
    ("value", "tolerance", "size"),
    [
        (0, 0, 1),
        (23.0, 0.005, 1),
        (12.34, 0.005, 3),
        (229.8, 0.05, 5),
        (1e5, 0.5, 5),
        (229.8, 0.1, 3),
        (123456.7, 0.05, 5),
        (0.1, 0, 9),
    ],
)
def test_numbers_take_the_shortest_form_within_the_tolerance(value: float, tolerance: float, size: int) -> None:
    short = senml.number(value, tolerance)
    assert abs(short - value) <= tolerance
    assert len(cbor2.dumps(short, canonical=True)) <= size


@given(st.floats(allow_nan=False, allow_infinity=False, width=64), st.floats(0, 1e6))
def test_no_number_leaves_its_tolerance(value: float, tolerance: float) -> None:
    assert abs(senml.number(value, tolerance) - value) <= tolerance


def test_secondary_units_raise_the_version() -> None:
    assert cbor2.loads(senml.encode([{0: "t", 1: "Cel", 2: 1}])) == [{0: "t", 1: "Cel", 2: 1}]
    assert cbor2.loads(senml.encode([{0: "p", 2: 1}, {0: "q", -4: "ug/m3", 2: 1}]))[0][-1] == 26


@pytest.mark.parametrize(
    "pack",
    [
        b"",
        b"\xff",
        cbor2.dumps([]),
        cbor2.dumps({}),
        cbor2.dumps([1]),
        cbor2.dumps([{0: 1}]),
        cbor2.dumps([{0: "a", 2: "x"}]),
        cbor2.dumps([{0: "a", 2: math.nan}]),
        cbor2.dumps([{0: "a", 2: 10**400}]),
        cbor2.dumps([{0: "a", 2: True}]),
        cbor2.dumps([{-1: 11, 0: "a", 2: 1}]),
        cbor2.dumps([{0: "a", 2: 1, "must_": 1}]),
        cbor2.dumps([{0: "a", 8: "text"}]),
    ],
)
def test_what_is_no_pack_is_refused(pack: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        senml.decode(pack)


@given(st.binary(max_size=200))
def test_any_bytes_give_entries_or_a_value_error(payload: bytes) -> None:
    try:
        entries = senml.decode(payload)
    except ValueError:
        return
    assert entries
