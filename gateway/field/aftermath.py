"""What came after an onset: an alarm goes out at once with the readings before it, and those that follow are sent once
there are enough of them, as an update of the same alarm.

In: events as they are raised, and after each batch the question what is due. Out: updates. Pure: it knows readings by
`recall`, no clock and no file. An update is told at the latest with the end of its alarm. A restart forgets what
is still to follow; the alarm itself stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gateway.spool.records import Event, Phase

SAMPLES = 12  # readings of the deciding channel that are waited for
MOST = 64  # alarms followed at a time; the oldest is told early when more come
LATEST_NS = 3_600_000_000_000  # what has come by then is told, where anything has

Recall = Callable[[int], tuple[NDArray[np.int64], NDArray[np.float64]]]
Samples = tuple[tuple[int, float], ...]


@dataclass(slots=True)
class _Followed:
    event: Event
    channels: tuple[int, ...]
    enough: int  # count of the deciding channel's readings at which the update is due


class Aftermath:
    """`recall(channel)` gives times and values of its latest readings, oldest first; `count(channel)` how many it ever
    had."""

    def __init__(self, recall: Recall, count: Callable[[int], int]) -> None:
        self._recall = recall
        self._count = count
        self._followed: dict[str, _Followed] = {}

    def follow(self, events: Iterable[Event]) -> list[Event]:
        """`events` as they are to be told: updates that the end of an alarm brings stand before it."""
        told: list[Event] = []
        for event in events:
            if event.phase is Phase.ONSET and event.evidence:
                told.append(event)
                told += self._begin(event)
                continue
            followed = self._followed.pop(event.key, None) if event.phase is Phase.CLEAR else None
            told += self._told(followed, event.time_ns) if followed else ()
            told.append(event)
        return told

    def due(self, now_ns: int | None = None) -> list[Event]:
        """Updates whose readings are complete; with `now_ns` those that have waited long enough, too."""
        if not self._followed:
            return []
        ready = [
            key
            for key, one in self._followed.items()
            if self._count(one.channels[0]) >= one.enough
            or (now_ns is not None and now_ns - one.event.time_ns >= LATEST_NS)
        ]
        return [update for key in ready for update in self._told(self._followed.pop(key))]

    def _begin(self, event: Event) -> list[Event]:
        channels = tuple(channel for channel, _ in event.evidence)
        already = len(self._after(channels[0], event.time_ns))
        enough = self._count(channels[0]) - already + SAMPLES
        self._followed[event.key] = _Followed(event, channels, enough)
        if len(self._followed) <= MOST:
            return []
        return self._told(self._followed.pop(next(iter(self._followed))))

    def _told(self, followed: _Followed, until_ns: int | None = None) -> list[Event]:
        """The update, unless nothing has been read since."""
        onset = followed.event
        evidence = tuple(
            (channel, samples)
            for channel in followed.channels
            if (samples := self._after(channel, onset.time_ns, until_ns))
        )
        if not evidence:
            return []
        deciding = evidence[0][1]
        return [
            replace(
                onset,
                phase=Phase.UPDATE,
                time_ns=max(samples[-1][0] for _, samples in evidence),
                text_en=f"{onset.subject}: {len(deciding)} readings after the onset, the last {deciding[-1][1]:.4g}",
                text_ko=f"{onset.subject}: 발생 이후 측정 {len(deciding)}건, 마지막 {deciding[-1][1]:.4g}",
                place_en="",
                place_ko="",
                latitude=None,
                longitude=None,
                evidence=evidence,
            )
        ]

    def _after(self, channel: int, time_ns: int, until_ns: int | None = None) -> Samples:
        times, values = self._recall(channel)
        fits = times > time_ns
        if until_ns is not None:
            fits &= times <= until_ns
        return tuple(zip(times[fits][:SAMPLES].tolist(), values[fits][:SAMPLES].tolist(), strict=True))
