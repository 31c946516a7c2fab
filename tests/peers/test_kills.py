"""A hundred kills of the real processes, field, uplink and center in turn, at random moments."""

from __future__ import annotations

import pytest

from benchmarks import uplink_kills

pytestmark = pytest.mark.peers


def test_a_hundred_kills_lose_and_double_nothing_that_was_committed() -> None:
    figures = uplink_kills.run(full=False)
    assert figures["kills"] == uplink_kills.KILLS
    assert figures["committed"] > 100
    assert (figures["committed_lost"], figures["duplicates"], figures["unopened"]) == (0, 0, 0)
