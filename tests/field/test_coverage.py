"""What a restart declares as lost: bounds that leave out what was delivered on either side."""

from __future__ import annotations

from collections.abc import Callable

from gateway.field.coverage import RestartGap
from gateway.site.plan import Plan

SITE = """
[[links]]
name = "l"
url = "tcp://127.0.0.1:1502"
[[devices]]
name = "m"
profile = "streetlight/eastron-sdm120"
link = "l"
unit = 1
period_s = 2.0
"""
S = 1_000_000_000


def restart(plan: Plan, covered: dict[str, int], **keys: object) -> RestartGap:
    settings: dict[str, object] = {"boot": "b", "covered_boot": "b", "clean": False, "started_ns": 20 * S, **keys}
    return RestartGap(plan.channels, covered, **settings)  # type: ignore[arg-type]


def test_a_kill_is_a_gap_from_the_last_committed_reading_to_half_a_period_before_the_first(
    make_plan: Callable[[str], Plan],
) -> None:
    gap = restart(make_plan(SITE), {"m.voltage": 10 * S})
    gap.first(0, 22 * S)
    [found], coverage = gap.take()
    assert (found.reason, found.entries, found.from_boot) == ("crash", (((0,), 10 * S, 21 * S),), "")
    assert coverage == {"m.voltage": 21 * S}
    assert gap.take() == ([], {})


def test_the_gap_ends_no_earlier_than_the_new_process_began(make_plan: Callable[[str], Plan]) -> None:
    gap = restart(make_plan(SITE), {"m.voltage": 10 * S})
    gap.first(0, 20 * S + 1000)
    assert gap.take()[0][0].entries == (((0,), 10 * S, 20 * S),)


def test_channels_with_the_same_bounds_share_an_entry_and_strangers_have_none(
    make_plan: Callable[[str], Plan],
) -> None:
    gap = restart(make_plan(SITE), {"m.voltage": 10 * S, "m.current": 10 * S})
    for channel in (0, 1, 2):
        gap.first(channel, 30 * S)
    assert gap.take()[0][0].entries == (((0, 1), 10 * S, 29 * S),)


def test_a_clean_stop_and_another_boot_are_said(make_plan: Callable[[str], Plan]) -> None:
    gap = restart(make_plan(SITE), {"m.voltage": 99 * S}, clean=True, covered_boot="old")
    gap.first(0, 30 * S)
    [found], _ = gap.take()
    assert (found.reason, found.from_boot) == ("stopped", "old")


def test_a_device_that_never_answers_again_is_a_gap_up_to_the_stop(make_plan: Callable[[str], Plan]) -> None:
    gap = restart(make_plan(SITE), {"m.voltage": 10 * S})
    gap.give_up(50 * S)
    assert gap.take()[0][0].entries == (((0,), 10 * S, 50 * S),)


def test_a_listener_on_its_first_start_declares_what_it_could_not_hear(make_plan: Callable[[str], Plan]) -> None:
    gap = restart(make_plan(SITE), {}, listens={0})
    gap.first(0, 25 * S)
    [found], _ = gap.take()
    assert (found.reason, found.entries) == ("start", (((0,), 20 * S, 24 * S),))
