"""What sites say of serial lines: several devices on one by their addresses, and those that cannot share it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.site.faults import Faults
from gateway.site.plan import Plan

LINE = """
[[links]]
name = "bus"
url = "serial:/dev/none"
"""
DEVICE = """
[[devices]]
name = "d{unit}"
profile = "{profile}"
link = "bus"
unit = {unit}
"""


def site(profile: str, *units: int) -> str:
    return LINE + "".join(DEVICE.format(profile=profile, unit=unit) for unit in units)


def test_cards_are_asked_by_their_addresses(make_plan: Callable[[str], Plan]) -> None:
    (link,) = make_plan(site("traffic/canoga-900", 0, 5, 128)).links
    assert [op.request.hex() for op in link.ops] == ["3c3038002a31453e", "3c3038052a31423e", "3c3038802a39453e"]
    assert link.link.baud == 9600


def test_an_address_is_one_byte(make_plan: Callable[[str], Plan]) -> None:
    with pytest.raises(Faults, match="CG-1058") as refused:
        make_plan(site("traffic/canoga-900", 256))
    assert "an address of one byte is 0 to 255" in str(refused.value)


def test_two_that_answer_to_the_same_request_cannot_share_a_line(make_plan: Callable[[str], Plan]) -> None:
    with pytest.raises(Faults, match="CG-1027") as refused:
        make_plan(site("air/winsen-mhz19b", 1, 2))
    assert '"d1" and "d2" answer to the same request' in str(refused.value)


def test_two_with_one_address(make_plan: Callable[[str], Plan]) -> None:
    again = DEVICE.format(profile="traffic/canoga-900", unit=5).replace('"d5"', '"twin"')
    with pytest.raises(Faults, match="CG-1041"):
        make_plan(site("traffic/canoga-900", 5) + again)


def test_one_that_speaks_by_itself_needs_the_line_alone(make_plan: Callable[[str], Plan]) -> None:
    other = DEVICE.format(profile="air/nova-sds011", unit=2)
    with pytest.raises(Faults, match="CG-1046"):
        make_plan(site("traffic/canoga-900", 5) + other)
