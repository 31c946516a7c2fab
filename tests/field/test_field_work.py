"""Maintenance and replaced meters by themselves: no process, no clock but the one that is given."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateway.field import maintenance as module
from gateway.field.carry import Carry
from gateway.field.maintenance import CODE, Maintenance
from gateway.services.rules import event
from gateway.site.plan import Plan
from gateway.spool.records import Event, Phase
from protocols.api import Batch, Quality

S = 1_000_000_000
SITE = """
[[links]]
name = "bus"
url = "rtu+tcp://127.0.0.1:1502"
[[devices]]
name = "flow"
profile = "water/tuf-2000m"
link = "bus"
unit = 1
[[devices]]
name = "rope"
profile = "water/rle-ld5000"
link = "bus"
unit = 3
"""


@pytest.fixture
def plan(make_plan: Callable[[str], Plan]) -> Plan:
    return make_plan(SITE)


def alarm(plan: Plan, device: str, phase: Phase = Phase.ONSET, at_ns: int = 5 * S) -> Event:
    place = plan.device(device).place
    return event("water.cable_break", phase, device, place, time_ns=at_ns, onset_ns=at_ns)


def subject(one: Event) -> frozenset[str]:
    return frozenset((one.subject,))


def test_a_window_holds_its_device_only_and_gives_back_what_stands(plan: Plan) -> None:
    work = Maintenance(plan)
    (told,) = work.on("rope", 600, "new rope", "Kim", 0)
    assert (told.code, told.phase, told.subject) == (CODE, Phase.ONSET, "rope")
    assert told.text_en == "rope: maintenance by Kim for 10 min (new rope), alarms are held"
    assert "점검 시작: Kim, 10분 (new rope)" in told.text_ko
    gone = replace(alarm(plan, "rope"), code="water.leak")
    events = [alarm(plan, "rope"), alarm(plan, "flow"), gone]
    assert work.passing(events, {}, subject) == [events[1]]
    assert work.passing([replace(events[0], phase=Phase.UPDATE)], {}, subject) == []
    assert work.passing([replace(gone, phase=Phase.CLEAR)], {}, subject) == []
    assert work.due(599 * S) == []
    end, back = work.due(600 * S)
    assert (end.code, end.phase) == (CODE, Phase.CLEAR)
    assert end.text_en == "rope: maintenance is over, 2 alarms were held, 1 still stand"
    assert back == events[0]
    assert work.passing([back], {}, subject) == [back]


def test_the_end_of_an_alarm_that_was_told_before_is_told(plan: Plan) -> None:
    work = Maintenance(plan)
    stands = alarm(plan, "rope")
    work.on("", 600, "", "", 0)
    over = alarm(plan, "rope", Phase.CLEAR)
    assert work.passing([stands, over], {stands.key: stands}, subject) == [stands, over]


def test_an_alarm_of_many_devices_is_held_where_it_rests_on_one_that_is_worked_on(plan: Plan) -> None:
    work = Maintenance(plan)
    work.on("flow", 600, "", "", 0)
    zone = alarm(plan, "rope")
    both = frozenset(("flow", "rope"))
    assert work.passing([zone], {}, lambda one: both) == [zone]
    assert work.passing([replace(zone, evidence=((0, ()),))], {}, lambda one: both) == []


@pytest.mark.parametrize(
    ("device", "for_s"), [("nobody", 600), ("rope", 9), ("rope", 8 * 3600 + 1), ("rope", math.nan)]
)
def test_a_window_that_cannot_be_is_refused(plan: Plan, device: str, for_s: float) -> None:
    work = Maintenance(plan)
    with pytest.raises(ValueError, match=r"device|window"):
        work.on(device, for_s, "", "", 0)
    assert not work.windows


def test_a_window_outlives_process_and_boot(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Maintenance(plan)
    work.on("rope", 600, "", "Kim", 100 * S)
    held = replace(alarm(plan, "rope", at_ns=150 * S), evidence=((3, ((149 * S, 1.0),)),))
    work.passing([held], {}, subject)
    work.write(tmp_path, work.content(200 * S, 1000 * S))
    again = Maintenance(plan)
    assert again.restore(tmp_path, [], 210 * S, 1000 * S) == []
    assert again.windows["rope"].until_ns == 700 * S
    assert list(again.held.values()) == [held]
    monkeypatch.setattr(module, "kernel_boot", lambda: "another")
    later = Maintenance(plan)  # 300 s of UTC after it was written, in the 5th second of a new boot
    later.restore(tmp_path, [], 5 * S, 1495 * S)
    assert later.windows["rope"].until_ns == (5 + 200) * S
    (moved,) = later.held.values()
    assert moved.time_ns + 1495 * S == held.time_ns + 1000 * S
    assert moved.evidence[0][1][0][0] == moved.time_ns - S
    blind = Maintenance(plan)  # nobody knows what time it is: what was left when it was written
    blind.restore(tmp_path, [], 5 * S, None)
    assert blind.windows["rope"].until_ns == (5 + 500) * S
    assert next(iter(blind.held.values())).time_ns == 5 * S


def test_a_file_that_cannot_be_read_holds_nothing_and_ends_what_was_told(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / module.FILE).write_text('{"windows": [')
    (told,) = Maintenance(plan).on("rope", 600, "", "", 0)
    work = Maintenance(plan)
    (end,) = work.restore(tmp_path, [told, alarm(plan, "flow")], 9 * S, None)
    assert (end.key, end.phase) == (told.key, Phase.CLEAR)
    assert not work.windows


class Meter:
    """One counter of a plan, reading by reading."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.on = False
        self.carry = Carry(plan, folder, lambda device: self.on)
        self.channel = next(c.index for c in plan.channels if self.carry._counts[c.index])

    def read(self, value: float) -> tuple[float, int]:
        one = Batch(
            np.array([self.channel], np.int32), np.array([S]), np.array([value]), np.array([Quality.GOOD], np.uint8)
        )
        out = self.carry.take(one)
        assert one.value.tolist() == [value]
        return float(out.value[0]), int(out.quality[0])


@pytest.fixture
def meter(plan: Plan, tmp_path: Path) -> Meter:
    return Meter(plan, tmp_path)


def test_a_counter_nobody_touched_passes_as_it_is(meter: Meter) -> None:
    assert [meter.read(v) for v in (100.0, 101.0, 3.0, 4.0)] == [(100.0, 0), (101.0, 0), (3.0, 0), (4.0, 0)]
    assert meter.carry.before(meter.channel, 2 * S) == 101.0  # what citygate replace would go on from
    assert math.isnan(meter.carry.before(meter.channel, 100_000 * S))  # long ago: something else


def test_a_fall_under_maintenance_is_withheld_until_told(meter: Meter, plan: Plan, tmp_path: Path) -> None:
    meter.read(500.0)
    meter.on = True
    value, quality = meter.read(2.0)
    assert math.isnan(value)
    assert quality == Quality.NOT_POLLED
    offsets, passed = meter.carry.replaced({meter.channel: 500.0}, {meter.channel: 2.0}, {"by": "Kim"}, 2 * S)
    assert (offsets, passed) == ({meter.channel: 498.0}, [])
    assert meter.read(2.5) == (500.5, 0)
    again = Meter(plan, tmp_path)
    assert again.read(3.0) == (501.0, 0)
    name = plan.channels[meter.channel].name
    assert json.loads((tmp_path / "carried.json").read_text())["counters"][name]["by"] == "Kim"


def test_a_fall_that_nobody_explains_begins_anew_with_the_end_of_maintenance(meter: Meter) -> None:
    meter.read(500.0)
    meter.on = True
    meter.read(2.0)
    meter.on = False
    assert meter.read(2.1) == (2.1, 0)
    assert not meter.carry.withheld


def test_a_bad_reading_under_maintenance_withholds_no_more_than_itself(meter: Meter) -> None:
    meter.read(500.0)
    meter.on = True
    assert math.isnan(meter.read(2.0)[0])
    assert meter.read(500.2) == (500.2, 0)


def test_what_passed_before_it_was_told_is_named(meter: Meter) -> None:
    meter.read(500.0)
    meter.read(2.0)
    _, passed = meter.carry.replaced({meter.channel: 500.0}, {meter.channel: 2.0}, {}, 2 * S)
    assert passed == [meter.channel]
    assert meter.read(3.0) == (501.0, 0)


def test_a_disk_that_refuses_changes_nothing(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    meter.read(500.0)

    def refuse(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.field.carry.state.write", refuse)
    with pytest.raises(OSError, match="No space"):
        meter.carry.replaced({meter.channel: 500.0}, {meter.channel: 2.0}, {}, 2 * S)
    assert meter.read(501.0) == (501.0, 0)


def test_a_replaced_meter_adds_no_step_to_its_window(plan: Plan, meter: Meter) -> None:
    from gateway.field.judge import Judge

    judge = Judge(plan, 0, 0, [])

    def push(value: float, at_s: int) -> None:
        one = Batch(np.array([meter.channel], np.int32), np.array([at_s * S]), np.array([value]), np.zeros(1, np.uint8))
        judge.push(meter.carry.take(one))

    push(500.0, 1)
    push(501.0, 2)
    push(2.0, 3)  # the new meter, read before anybody told of it
    _, passed = meter.carry.replaced({meter.channel: 501.0}, {meter.channel: 2.0}, {}, 2 * S)
    judge.meter_replaced(passed)
    push(2.5, 4)
    push(3.0, 5)
    (window,) = [row for row in judge.close_all(6 * S) if row.channel == meter.channel]
    assert window.last == 502.0
    assert window.mean == pytest.approx(1.0 + 0.5)  # before the exchange, and between the two readings after it
