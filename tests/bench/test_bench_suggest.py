"""Encodings found from what a display shows."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bench_suggest import agrees, drawn
from gateway.bench.suggest import Encoding, Look, suggest, typed


def look(address: int, data: bytes, text: str) -> Look:
    return Look(address, data, *typed(text))


def test_the_meters_own_word_order_is_found() -> None:
    data = bytes(4) + struct.pack(">f", 23.4)[2:] + struct.pack(">f", 23.4)[:2] + bytes(4)
    first = suggest([look(98, data, "23.4")], 3, 100, "float32", "ABCD")[0]
    assert (first.address, first.type, first.order, first.scale) == (100, "float32", "CDAB", 1.0)


def test_an_address_one_off_and_a_scale_are_found() -> None:
    data = struct.pack(">5H", 7, 65535, 234, 65535, 9)
    [first, *_] = suggest([look(39, data, "23.4")], 4, 40)
    assert (first.address, first.type, first.scale) == (41, "uint16", 0.1)


def test_what_was_thought_already_is_first_where_it_fits() -> None:
    data = struct.pack(">3H", 234, 234, 234)
    first = suggest([look(39, data, "23.4")], 3, 40, "uint16", "ABCD", 0.1)[0]
    assert first == Encoding(3, 40, "uint16", "ABCD", 0.1, first.misses)


def test_nothing_is_made_up_where_nothing_fits() -> None:
    assert suggest([look(39, bytes(10), "23.4")], 3, 40) == []


def test_a_second_reading_rules_out_chance() -> None:
    """234 stands twice; one of the two moves with the display."""
    before, after = struct.pack(">3H", 234, 0, 234), struct.pack(">3H", 234, 0, 236)
    assert suggest([look(39, before, "23.4")], 3, 40)[0].address == 39
    both = suggest([look(39, before, "23.4"), look(39, after, "23.6")], 3, 40)
    assert {one.address for one in both} >= {41}
    assert all(agrees(one, [look(39, before, "23.4"), look(39, after, "23.6")]) for one in both)


@given(st.integers(0, 2**32))
def test_the_first_suggestion_gives_all_three_displays(seed: int) -> None:
    case = drawn(random.Random(seed))
    found = suggest(case.looks[:3], case.truth.function, case.guess)
    assert found
    assert agrees(found[0], case.looks[:3])


@pytest.mark.parametrize("text", ["", "abc", "nan", "1e3", "inf"])
def test_what_is_no_display_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"could not convert|write it as"):
        typed(text)


def test_the_toml_is_a_point_of_a_profile() -> None:
    assert Encoding(3, 8, "int32", "CDAB", 0.01).toml("total").splitlines() == [
        "[[points]]", 'name = "total"', "function = 3", "address = 8", 'type = "int32"',
        'order = "CDAB"', "scale = 0.01",
    ]  # fmt: skip
