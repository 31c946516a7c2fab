"""What follows an onset comes as an update of the same alarm, once, bounded, before its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gateway.field.aftermath import LATEST_NS, MOST, SAMPLES, Aftermath
from gateway.spool.records import Event, Phase, Severity

S = 1_000_000_000


class Readings:
    """Channels with their readings, as the evidence ring has them."""

    def __init__(self) -> None:
        self.rows: dict[int, list[tuple[int, float]]] = {}

    def add(self, channel: int, at_s: float, value: float) -> None:
        self.rows.setdefault(channel, []).append((int(at_s * S), value))

    def recall(self, channel: int):
        rows = self.rows.get(channel, [])[-32:]
        return np.array([t for t, _ in rows], np.int64), np.array([v for _, v in rows])

    def count(self, channel: int) -> int:
        return len(self.rows.get(channel, []))


def onset(at_s: float = 0.0, channels: tuple[int, ...] = (0,), subject: str = "meter.flow") -> Event:
    return Event(
        "anomaly.level", Phase.ONSET, Severity.MINOR, "city", subject, int(at_s * S), int(at_s * S), 1.2, "left", "밖",
        "A-1", "here", "여기", 37.5, 127.0, tuple((channel, ((0, 1.0),)) for channel in channels),
    )  # fmt: skip


def cleared(event: Event, at_s: float) -> Event:
    return replace(event, phase=Phase.CLEAR, time_ns=int(at_s * S), evidence=())


def test_readings_after_the_onset_come_once_and_only_they():
    readings = Readings()
    aftermath = Aftermath(readings.recall, readings.count)
    for second in range(-5, 1):
        readings.add(0, second, 1.0)
    raised = onset()
    assert aftermath.follow([raised]) == [raised]
    for second in range(1, SAMPLES):
        readings.add(0, second, 10.0 + second)
        assert aftermath.due() == []
    readings.add(0, SAMPLES, 99.0)
    (update,) = aftermath.due()
    assert (update.phase, update.key, update.time_ns) == (Phase.UPDATE, raised.key, SAMPLES * S)
    ((channel, samples),) = update.evidence
    assert channel == 0
    assert [t for t, _ in samples] == [second * S for second in range(1, SAMPLES + 1)]
    assert "99" in update.text_en
    assert "99" in update.text_ko
    assert aftermath.due(10 * LATEST_NS) == []


def test_what_the_same_batch_brought_after_the_onset_counts():
    readings = Readings()
    aftermath = Aftermath(readings.recall, readings.count)
    for second in range(20):
        readings.add(0, second, float(second))
    aftermath.follow([onset(at_s=3)])
    (update,) = aftermath.due()
    assert [t // S for t, _ in update.evidence[0][1]] == list(range(4, 4 + SAMPLES))


def test_the_end_of_an_alarm_brings_what_has_come_until_then():
    readings = Readings()
    aftermath = Aftermath(readings.recall, readings.count)
    raised = onset()
    aftermath.follow([raised])
    for second in (1, 2, 3):
        readings.add(0, second, 5.0)
    over = cleared(raised, 2)
    update, end = aftermath.follow([over])
    assert (update.phase, end) == (Phase.UPDATE, over)
    assert [t // S for t, _ in update.evidence[0][1]] == [1, 2]


def test_an_alarm_that_ends_unseen_leaves_no_update():
    readings = Readings()
    aftermath = Aftermath(readings.recall, readings.count)
    raised = onset()
    aftermath.follow([raised])
    over = cleared(raised, 1)
    assert aftermath.follow([over]) == [over]


def test_a_channel_that_stops_is_not_waited_for():
    readings = Readings()
    aftermath = Aftermath(readings.recall, readings.count)
    aftermath.follow([onset(channels=(0, 1))])
    readings.add(1, 4, 7.0)
    assert aftermath.due(LATEST_NS - 1) == []
    (update,) = aftermath.due(LATEST_NS)
    assert [channel for channel, _ in update.evidence] == [1]


def test_a_storm_of_alarms_is_bounded():
    readings = Readings()
    aftermath = Aftermath(readings.recall, readings.count)
    readings.add(0, 1, 3.0)
    told = aftermath.follow([onset(subject=f"meter{i}.flow") for i in range(MOST + 3)])
    assert [event.subject for event in told if event.phase is Phase.UPDATE] == [f"meter{i}.flow" for i in range(3)]
