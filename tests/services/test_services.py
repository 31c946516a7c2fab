"""Verdicts from readings: each service through the real judge, reading by reading."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
import pytest

from gateway.field.judge import Judge
from gateway.services.sentence import duration, say
from gateway.services.words import WORDS
from gateway.site.plan import Plan
from gateway.spool.records import Event, Phase
from protocols.api import Batch

S = 1_000_000_000
FORMATTER = string.Formatter()

WATER = """
[[links]]
name = "bus"
url = "rtu+tcp://127.0.0.1:1502"
[[devices]]
name = "flow"
profile = "water/tuf-2000m"
link = "bus"
unit = 1
zone = "dma"
[[devices]]
name = "pressure"
profile = "water/keller-30x"
link = "bus"
unit = 2
zone = "dma"
[[devices]]
name = "rope"
profile = "water/rle-ld5000"
link = "bus"
unit = 3
place = { en = "Pump room", ko = "펌프실" }
[services.water]
burst_flow = 60.0
burst_pressure = 3.0
burst_hold_s = 3.0
"""
LAMPS = """
[[links]]
name = "dali"
url = "tcp://127.0.0.1:1502"
[[devices]]
name = "d"
profile = "streetlight/intesis-dali-modbus"
link = "dali"
unit = 1
group = "F1"
"""
AIR = """
[[links]]
name = "p"
url = "serial:/dev/ttyUSB0"
[[devices]]
name = "air"
profile = "air/plantower-pms5003"
link = "p"
"""


class Street:
    """A judge, and a way to say `channel = value` at a second."""

    def __init__(self, plan: Plan, standing: tuple[Event, ...] = ()) -> None:
        self._row = {channel.name: channel.index for channel in plan.channels}
        self._judge = Judge(plan, 0, 0, standing)

    def say(self, at_s: float, **values: float) -> list[Event]:
        names = [name.replace("__", ".") for name in values]
        verdict = self._judge.push(
            Batch(
                np.array([self._row[name] for name in names], np.int32),
                np.full(len(names), round(at_s * S), np.int64),
                np.array(list(values.values()), np.float64),
                np.zeros(len(names), np.uint8),
            )
        )
        return [event for event in verdict.events if event.phase is not Phase.UPDATE]


def brief(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(event.code, event.phase.name, event.subject) for event in events]


Make = Callable[[str], Plan]


def test_a_burst_needs_both_witnesses_held(make_plan: Make) -> None:
    street = Street(make_plan(WATER))
    assert street.say(0, flow__flow=90, pressure__pressure=4.5) == []
    assert street.say(5, flow__flow=90, pressure__pressure=2.0) == []  # the flow alone is a demand peak
    assert street.say(7, flow__flow=90, pressure__pressure=2.0) == []
    [burst] = street.say(8, flow__flow=91, pressure__pressure=2.1)
    assert (burst.code, burst.phase, burst.subject, burst.cause) == ("water.burst", Phase.ONSET, "dma", "city")
    assert burst.time_ns == 8 * S
    assert burst.onset_ns == 0
    assert "90.0 above 60.0" in burst.text_en
    assert "2.10" in burst.text_ko
    assert dict(burst.evidence).keys() == {0, 6}
    assert street.say(9, flow__flow=90, pressure__pressure=4.5) == []
    assert brief(street.say(13, flow__flow=90, pressure__pressure=4.5)) == [("water.burst", "CLEAR", "dma")]


def test_a_burst_that_stood_before_a_restart_is_not_raised_again_and_ends(make_plan: Make) -> None:
    plan = make_plan(WATER)
    street = Street(plan)
    street.say(0, flow__flow=90, pressure__pressure=2.0)
    standing = street.say(4, flow__flow=90, pressure__pressure=2.0)
    after = Street(plan, tuple(standing))
    assert after.say(100, flow__flow=90, pressure__pressure=2.0) == []
    assert after.say(110, flow__flow=36, pressure__pressure=2.0) == []
    assert brief(after.say(114, flow__flow=36, pressure__pressure=2.0)) == [("water.burst", "CLEAR", "dma")]


def test_without_limits_a_site_has_no_burst_rule(make_plan: Make) -> None:
    street = Street(make_plan(WATER.split("[services")[0]))
    for at in range(0, 600, 5):
        assert street.say(at, flow__flow=900, pressure__pressure=0.1) == []


def test_a_wet_rope_is_a_leak_after_its_hold_and_carries_its_place(make_plan: Make) -> None:
    street = Street(make_plan(WATER))
    assert street.say(0, rope__leak=1) == []
    [leak] = street.say(2, rope__leak=1)
    assert (leak.code, leak.place_en, leak.place_ko, leak.asset) == ("water.leak", "Pump room", "펌프실", "CAB-7")
    assert (leak.latitude, leak.longitude) == (37.5, 127.0)


def test_a_broken_cable_and_a_meter_error_are_the_sensors_own(make_plan: Make) -> None:
    street = Street(make_plan(WATER))
    street.say(0, rope__cable_break=1, flow__error=4)
    [cable] = street.say(2, rope__cable_break=1)
    [meter] = street.say(61, flow__error=4)
    assert (cable.code, cable.cause, meter.code, meter.cause) == (
        "water.cable_break", "sensor", "water.meter_fault", "sensor",
    )  # fmt: skip


def failures(*lamps: int, of: int = 8) -> dict[str, float]:
    return {f"d__lamp{n}_failure": float(n in lamps) for n in range(of)}


def test_most_of_a_group_is_one_alarm_and_holds_back_its_members(make_plan: Make) -> None:
    street = Street(make_plan(LAMPS))
    assert street.say(0, **failures(0, 1, 2, 3, 4, 5)) == []
    [group] = street.say(1, **failures(0, 1, 2, 3, 4, 5, 6))
    assert (group.code, group.subject, group.time_ns) == ("streetlight.group_outage", "F1", S)
    assert "7 of 8" in group.text_en
    assert street.say(100, **failures(0, 1, 2, 3, 4, 5, 6)) == []  # no member alarm under it
    assert brief(street.say(101, **failures())) == [("streetlight.group_outage", "CLEAR", "F1")]


def test_one_lamp_is_a_lamp_after_its_hold(make_plan: Make) -> None:
    street = Street(make_plan(LAMPS))
    assert street.say(0, **failures(3)) == []
    assert street.say(59, **failures(3)) == []
    assert brief(street.say(60, **failures(3))) == [("streetlight.lamp_out", "ONSET", "d.lamp3")]
    assert brief(street.say(70, **failures())) == [("streetlight.lamp_out", "CLEAR", "d.lamp3")]


def test_the_ordinance_takes_two_hours_and_clears_at_its_own_level(make_plan: Make) -> None:
    street = Street(make_plan(AIR))
    for minute in range(120):
        assert street.say(minute * 60, air__pm25=80) == []
    [advisory] = street.say(7200, air__pm25=80)
    assert (advisory.code, advisory.severity.name) == ("air.pm25_advisory", "MAJOR")
    assert "2 h" in advisory.text_en
    assert street.say(7260, air__pm25=40) == []
    assert brief(street.say(7320, air__pm25=34)) == [("air.pm25_advisory", "CLEAR", "air")]


def test_one_reading_below_the_level_starts_the_two_hours_anew(make_plan: Make) -> None:
    street = Street(make_plan(AIR))
    street.say(0, air__pm25=80)
    street.say(7000, air__pm25=74)
    assert street.say(7300, air__pm25=80) == []
    assert street.say(14_400, air__pm25=80) == []
    assert brief(street.say(14_500, air__pm25=80)) == [("air.pm25_advisory", "ONSET", "air")]


@pytest.mark.parametrize("code", sorted(WORDS))
@pytest.mark.parametrize("phase", [Phase.ONSET, Phase.CLEAR])
def test_every_code_has_its_sentence_in_both_languages(code: str, phase: Phase) -> None:
    word = WORDS[code]
    fields = [
        one for text in (word.onset_en, word.onset_ko, word.clear_en, word.clear_ko) for one in FORMATTER.parse(text)
    ]
    numbers: dict[str, float | str] = {
        name: 1.0 if form else "한" for _, name, form, _ in fields if name and name != "subject"
    }
    english, korean = say(WORDS[code], phase, "S-1", numbers)
    assert "S-1" in english
    assert "S-1" in korean
    assert any("가" <= letter <= "힣" for letter in korean)
    assert WORDS[code].cause in {"city", "sensor", "link"}


def test_durations_read_as_people_say_them() -> None:
    assert [duration(s) for s in (5.5, 90, 7200)] == ["5.5 s", "1.5 min", "2 h"]


def test_a_rope_says_how_far_along_it_the_water_is(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(WATER)
    judge = Judge(plan, 0, 0, [])
    rows = {c.point: c.index for c in plan.channels if c.device == "rope"}
    said = []
    for second in range(5):
        channel = np.array([rows["leak"], rows["distance"]], np.int32)
        times = np.full(2, second * S, np.int64)
        said += judge.push(Batch(channel, times, np.array([1.0, 42.5]), np.zeros(2, np.uint8))).events
    (leak,) = (event for event in said if event.code == "water.leak")
    assert "42.5 m along it" in leak.text_en
    assert "42.5 m 지점" in leak.text_ko
    assert {channel for channel, _ in leak.evidence} == set(channel.tolist())
