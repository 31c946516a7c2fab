"""What a restart, a closed port or an overrun declares as lost: bounds that leave out what was delivered."""

from __future__ import annotations

from collections.abc import Callable

from gateway.field.coverage import Coverage
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


def restart(plan: Plan, covered: dict[str, int], **keys: object) -> Coverage:
    """A process begun at 19 s that asks from 20 s on."""
    settings: dict[str, object] = {
        "boot": "b", "covered_boot": "b", "clean": False, "started_ns": 20 * S, "since_ns": 19 * S, **keys
    }  # fmt: skip
    return Coverage(plan.channels, covered, **settings)  # type: ignore[arg-type]


def test_a_kill_is_a_gap_from_the_last_committed_reading_to_the_start_told_before_anything_is_asked(
    make_plan: Callable[[str], Plan],
) -> None:
    coverage = restart(make_plan(SITE), {"m.voltage": 10 * S})
    [found], covered = coverage.begin()
    assert (found.reason, found.entries, found.from_boot) == ("crash", (((0,), 10 * S, 20 * S),), "")
    assert set(covered.values()) == {20 * S}
    coverage.heard(0, 22 * S)
    assert coverage.take() == []


def test_a_first_start_covers_every_channel_so_that_a_kill_before_the_first_commit_is_told(
    make_plan: Callable[[str], Plan],
) -> None:
    plan = make_plan(SITE)
    gaps, covered = restart(plan, {}).begin()
    assert gaps == []
    assert covered == {channel.name: 20 * S for channel in plan.channels}
    [found], _ = restart(plan, covered, started_ns=30 * S).begin()
    assert found.entries == ((tuple(c.index for c in plan.channels), 20 * S, 30 * S),)


def test_channels_with_nearly_the_same_bounds_share_an_entry_and_no_reading_slips_between(
    make_plan: Callable[[str], Plan],
) -> None:
    plan = make_plan(SITE)
    names = [channel.name for channel in plan.channels[:3]]
    lows = dict(zip(names, (10 * S, 10 * S + S // 10, 11 * S), strict=True))
    [found], _ = restart(plan, lows).begin()
    assert found.entries == (((2,), 11 * S, 20 * S), ((0, 1), 10 * S + S // 10, 20 * S))


def test_a_clean_stop_is_said(make_plan: Callable[[str], Plan]) -> None:
    [found], _ = restart(make_plan(SITE), {"m.voltage": 9 * S}, clean=True).begin()
    assert found.reason == "stopped"


def test_after_another_boot_everything_is_told_at_once_for_the_old_coverage_is_about_to_go(
    make_plan: Callable[[str], Plan],
) -> None:
    plan = make_plan(SITE)
    old = {"m.voltage": 99 * S, "m.current": 99 * S}
    coverage = restart(plan, old, covered_boot="old", listens={1})
    gaps, covered = coverage.begin()
    assert [(gap.from_boot, entry) for gap in gaps for entry in gap.entries] == [
        ("old", ((0,), 99 * S, 20 * S)),
        ("old", ((1,), 99 * S, 19 * S)),
    ]
    assert covered[plan.channels[0].name] == 20 * S
    assert covered[plan.channels[1].name] == 19 * S
    coverage.heard(1, 25 * S)
    [found] = coverage.take()
    assert (found.reason, found.entries, found.from_boot) == ("start", (((1,), 19 * S, 24 * S),), "")


def test_a_listener_is_a_gap_until_half_a_period_before_it_is_heard_again(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    coverage = restart(plan, {"m.voltage": 10 * S}, listens={0})
    gaps, covered = coverage.begin()
    assert gaps == []
    assert "m.voltage" not in covered, "a second kill before it is heard must find the old coverage"
    coverage.heard(0, 22 * S)
    [found] = coverage.take()
    assert (found.reason, found.entries) == ("crash", (((0,), 10 * S, 21 * S),))


def test_a_listener_on_its_first_start_declares_what_it_said_since_the_process_began(
    make_plan: Callable[[str], Plan],
) -> None:
    coverage = restart(make_plan(SITE), {}, listens={0})
    _, covered = coverage.begin()
    assert covered["m.voltage"] == 19 * S
    coverage.heard(0, 25 * S)
    [found] = coverage.take()
    assert (found.reason, found.entries) == ("start", (((0,), 19 * S, 24 * S),))


def test_a_port_that_was_closed_is_a_gap_of_what_listens_on_it_and_of_nothing_else(
    make_plan: Callable[[str], Plan],
) -> None:
    coverage = restart(make_plan(SITE), {}, listens={0})
    coverage.begin()
    coverage.heard(0, 25 * S)
    coverage.take()
    assert coverage.missed({0: 31 * S, 1: 31 * S}, "link") == [0]
    assert coverage.missed({0: 31 * S}, "link") == [], "told once"
    coverage.heard(0, 41 * S)
    [found] = coverage.take()
    assert (found.reason, found.entries) == ("link", (((0,), 31 * S, 40 * S),))


def test_a_listener_that_is_not_heard_again_is_a_gap_up_to_the_stop(make_plan: Callable[[str], Plan]) -> None:
    coverage = restart(make_plan(SITE), {"m.voltage": 10 * S}, listens={0})
    coverage.begin()
    coverage.give_up(50 * S)
    assert coverage.take()[0].entries == (((0,), 10 * S, 50 * S),)


def test_the_first_answer_of_an_observed_node_ends_the_gap_right_before_it(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    coverage = restart(plan, {"m.voltage": 10 * S}, listens={0}, asked={0})
    coverage.begin()
    coverage.heard(0, 22 * S)
    [found] = coverage.take()
    [(channels, low, high)] = found.entries
    assert (channels, low) == ((0,), 10 * S)
    assert 22 * S - S // 10 < high < 22 * S
