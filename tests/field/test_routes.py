"""Who gets what: summaries by channel, events by what they are, gaps and health by what is whose business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gateway.field.routes import Routes
from gateway.services.rules import event
from gateway.site.plan import Place, Plan
from gateway.spool.records import Event, Gap, Item, Lane, Phase, Severity, Window, Windows, lane_of
from gateway.spool.spool import Spool

SITE = """
[[upstreams]]
name = "police"
uri = "coap://127.0.0.1:5684"
insecure = true
role = "agency"
events = ["traffic.incident"]

[[upstreams]]
name = "works"
uri = "coap://127.0.0.1:5685"
insecure = true
role = "agency"
events = [{ families = ["water"], severity = "major" }, "!water.leak"]
summaries = ["flow", { devices = ["meter"], roles = ["meter_error"] }]
evidence = false

[[links]]
name = "road"
url = "tcp://127.0.0.1:1502"
[[links]]
name = "pit"
url = "tcp://127.0.0.1:1503"
[[devices]]
name = "lane1"
profile = "traffic/canoga-900"
link = "road"
unit = 1
[[devices]]
name = "lane2"
profile = "traffic/canoga-900"
link = "road"
unit = 2
zone = "z2"
[[devices]]
name = "meter"
profile = "water/tuf-2000m"
link = "pit"
unit = 1
zone = "pit-3"
points.velocity.upstreams = ["works"]
points.volume_net.upstreams = []
"""
S = 1_000_000_000
PLACE = Place("", "", "", "", None, None)
STATS = (60, 60, 1.0, 2.0, 1.5, 0.1, 1.0, 1.2, 60 * S, 1.5, 1.9, 0)


def told(items: list[tuple[str, Item]]) -> list[str]:
    return [name for name, _ in items]


def raised(code: str, subject: str, phase: Phase = Phase.ONSET) -> Event:
    """An event as a service makes it, but for its words."""
    severity = Severity.CRITICAL if code in ("water.burst", "water.leak") else Severity.MAJOR
    return Event(
        code, phase, severity, "city", subject, 9 * S, 8 * S, 1.0, "", "", "", "", "", None, None, ((0, ((S, 1.0),)),)
    )


def channels(plan: Plan, upstream: str) -> set[str]:
    return {channel.name for channel in plan.channels if upstream in channel.upstreams}


def test_volumes_go_to_the_center_and_the_incident_to_the_police_too(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    routes = Routes(plan)
    rows = [Window(channel.index, 0, 60 * S, *STATS) for channel in plan.channels if channel.device == "lane1"]
    assert set(told(list(routes.windows(rows)))) == {"center"}
    assert told(routes.event(raised("traffic.incident", "lane1"))) == ["center", "police"]
    assert told(routes.event(raised("traffic.detector_fault", "lane1"))) == ["center"]


def test_the_point_comes_before_its_device_and_that_before_the_upstream(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    assert channels(plan, "police") == set()
    assert channels(plan, "works") == {"meter.flow", "meter.error", "meter.velocity"}
    everything = {channel.name for channel in plan.channels}
    assert channels(plan, "center") == everything - {"meter.velocity", "meter.volume_net"}
    device = make_plan(SITE + 'upstreams = ["police"]\n[devices.options]\n')
    assert channels(device, "police") == {"meter.flow", "meter.volume_positive", "meter.error", "meter.signal_quality"}
    assert channels(device, "works") == {"meter.velocity"}


def test_a_family_is_that_of_the_code_or_of_the_device(make_plan: Callable[[str], Plan]) -> None:
    """The water works hear that their meter is silent, and that its link is down, and nothing of the road."""
    routes = Routes(make_plan(SITE))

    def health(code: str, subject: str) -> list[str]:
        numbers: dict[str, float | str] = {"seconds": 3.0}
        made = event(code, Phase.ONSET, subject, PLACE, time_ns=1, onset_ns=1, numbers=numbers)
        return told(routes.event(made))

    assert health("health.device_silent", "meter") == ["center", "works"]
    assert health("health.device_silent", "lane1") == ["center"]
    assert health("health.link_down", "pit") == ["center", "works"]
    assert health("health.link_down", "road") == ["center"]


def test_severity_exclusion_zone_and_evidence(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE.replace('events = ["traffic.incident"]', 'events = [{ zones = ["z2"] }, "air."]'))
    routes = Routes(plan)
    assert told(routes.event(raised("water.leak", "meter"))) == ["center"]
    assert told(routes.event(replace(raised("water.burst", "meter"), severity=Severity.MINOR))) == ["center"]
    (_, whole), (name, bare) = routes.event(raised("water.burst", "pit-3"))
    assert isinstance(whole, Event)
    assert isinstance(bare, Event)
    assert (name, len(whole.evidence), bare.evidence) == ("works", 1, ())
    no_evidence = replace(raised("traffic.detector_fault", "lane2.volume"), evidence=())
    assert told(routes.event(no_evidence)) == ["center", "police"]
    assert told(routes.event(replace(no_evidence, subject="lane1.volume"))) == ["center"]


def test_who_was_told_of_an_alarm_is_told_of_its_end_over_a_restart_too(make_plan: Callable[[str], Plan]) -> None:
    """An end may be less severe, and has no evidence to tell its devices by."""
    plan = make_plan(SITE)
    routes, onset = Routes(plan), raised("water.burst", "pit-3")
    end = replace(onset, phase=Phase.CLEAR, severity=Severity.NOTICE, evidence=())
    assert told(routes.event(onset)) == ["center", "works"]
    assert told(routes.event(replace(end, phase=Phase.UPDATE))) == ["center", "works"]
    assert told(routes.event(end)) == ["center", "works"]
    assert told(routes.event(end)) == ["center"]
    assert told(Routes(plan, [onset]).event(end)) == ["center", "works"]


def test_an_alarm_that_grows_reaches_those_who_ask_for_worse(make_plan: Callable[[str], Plan]) -> None:
    routes = Routes(make_plan(SITE))
    small = replace(raised("water.burst", "meter"), severity=Severity.MINOR)
    assert told(routes.event(small)) == ["center"]
    assert told(routes.event(replace(small, severity=Severity.CRITICAL, phase=Phase.UPDATE))) == ["center", "works"]
    assert told(routes.event(replace(small, phase=Phase.CLEAR))) == ["center", "works"]


def test_a_gap_is_told_to_those_who_miss_something_by_it(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    routes = Routes(plan)
    row = {channel.name: channel.index for channel in plan.channels}
    lane, flow, hidden = row[plan.channels[0].name], row["meter.flow"], row["meter.volume_net"]
    whole = Gap("crash", (((lane,), 0, S), ((lane, flow, hidden), 0, 2 * S)), from_boot="ab" * 8)
    assert routes.gap(whole) == [("center", whole), ("works", replace(whole, entries=(((flow,), 0, 2 * S),)))]
    only_road = replace(whole, entries=whole.entries[:1])
    assert told(routes.gap(only_road)) == ["center"]


def test_an_agency_is_told_of_its_own_devices(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    routes = Routes(plan)
    center, police, works = plan.upstreams
    assert routes.devices_of(center) == {"lane1", "lane2", "meter"}
    assert routes.devices_of(police) == set()
    assert routes.devices_of(works) == {"meter"}
    facts = routes.health(5, lambda upstream: {"devices": len(routes.devices_of(upstream))})
    assert [(name, dict(item.facts)) for name, item in facts if not isinstance(item, (Event, Gap, Windows))] == [
        ("center", {"devices": 3}),
        ("police", {"devices": 0}),
        ("works", {"devices": 1}),
    ]


def test_numbers_have_no_holes_for_any_upstream_and_lane(make_plan: Callable[[str], Plan], tmp_path: Path) -> None:
    plan = make_plan(SITE)
    routes = Routes(plan)
    spool = Spool.open(tmp_path / "spool.db")
    catalog = spool.put_catalog(plan.catalog)
    numbers: dict[tuple[str, Lane], list[int]] = {}
    for k in range(30):
        items: list[tuple[str, Item]] = [*routes.event(raised("traffic.incident" if k % 3 else "water.burst", f"s{k}"))]
        items += routes.windows([Window(k % len(plan.channels), 0, 60 * S, *STATS)])
        items += routes.gap(Gap("overrun", (((k % len(plan.channels),), 0, S),)))
        for (name, item), made in zip(items, spool.append(items, catalog=catalog), strict=True):
            assert made[:2] == (name, lane_of(item))
            numbers.setdefault(made[:2], []).append(made[2])
    spool.close()
    assert {name for name, _ in numbers} == {"center", "police", "works"}
    for found in numbers.values():
        assert found == list(range(len(found)))


def test_without_upstreams_nothing_is_sent_and_alarms_stand(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SITE)
    alone = Routes(replace(plan, upstreams=()))
    assert alone.event(raised("water.burst", "meter")) == []
    assert alone.gap(Gap("crash", (((0,), 0, S),))) == []
    assert (plan.mode, replace(plan, upstreams=()).mode) == ("center", "local")
    assert replace(plan, upstreams=plan.upstreams[1:]).mode == "agency"
