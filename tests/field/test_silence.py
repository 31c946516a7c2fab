"""Devices that stop talking: one alarm each, at their deadline; one for a whole link; one end each."""

from __future__ import annotations

from collections.abc import Callable

from gateway.field.silence import Silence
from gateway.site.plan import Plan
from gateway.spool.records import Event, Phase

SITE = """
[[links]]
name = "bus"
url = "tcp://127.0.0.1:1502"
[[devices]]
name = "a"
profile = "streetlight/eastron-sdm120"
link = "bus"
unit = 1
silent_s = 3
[[devices]]
name = "b"
profile = "streetlight/eastron-sdm120"
link = "bus"
unit = 2
silent_s = 5
"""
S = 1_000_000_000


def told(events: list[Event]) -> list[tuple[str, str, str, int]]:
    return [(e.code, e.phase.name, e.subject, e.time_ns) for e in events]


def test_silence_is_told_once_at_its_deadline_and_ends_with_the_next_reading(
    make_plan: Callable[[str], Plan],
) -> None:
    silence = Silence(make_plan(SITE), 0)
    assert silence.next_deadline_ns() == 3 * S
    silence.heard(0, 1 * S)
    silence.heard(1, 1 * S)
    assert silence.overdue(4 * S - 1, lambda link: False) == []
    assert told(silence.overdue(4 * S, lambda link: False)) == [("health.device_silent", "ONSET", "a", 4 * S)]
    assert silence.overdue(5 * S, lambda link: False) == []
    assert silence.next_deadline_ns() == 6 * S
    assert told(silence.heard(0, 9 * S)) == [("health.device_silent", "CLEAR", "a", 9 * S)]
    assert silence.heard(0, 10 * S) == []


def test_a_link_that_is_down_is_one_alarm_and_holds_back_its_devices(make_plan: Callable[[str], Plan]) -> None:
    silence = Silence(make_plan(SITE), 0)
    events = silence.overdue(9 * S, lambda link: True)
    assert told(events) == [("health.link_down", "ONSET", "bus", 3 * S)]
    assert told(silence.heard(1, 10 * S)) == [("health.link_down", "CLEAR", "bus", 10 * S)]
    assert silence.heard(0, 11 * S) == []


def test_a_device_that_stays_silent_when_its_link_is_back_is_missed_after_its_own_time(
    make_plan: Callable[[str], Plan],
) -> None:
    silence = Silence(make_plan(SITE), 0)
    silence.overdue(9 * S, lambda link: True)
    silence.heard(1, 10 * S)
    assert silence.next_deadline_ns() == 13 * S
    assert told(silence.overdue(13 * S, lambda link: False)) == [("health.device_silent", "ONSET", "a", 13 * S)]


def test_an_alarm_that_stood_before_a_restart_ends_when_the_device_is_heard(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    before = Silence(plan, 0)
    standing = before.overdue(4 * S, lambda link: False)
    silence = Silence(plan, 100 * S)
    silence.restore(standing)
    assert silence.overdue(200 * S, lambda link: False)[0].subject == "b"
    assert [e.phase for e in silence.heard(0, 201 * S)] == [Phase.CLEAR]
