"""The vocabulary of a service: conditions in, events out.

A `Condition` is judged by fastpath for every reading of its channel: true for `hold_s` without a break, it is met;
its clear condition true for `clear_hold_s`, it is over. Services see only these changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from gateway.services.sentence import say
from gateway.services.words import WORDS
from gateway.site.plan import Place, Plan, SiteDevice
from gateway.spool.records import Event, Phase


class Test(IntEnum):
    """How a value is compared; the numbers are fastpath.condition's."""

    AT_LEAST = 0  # over when value < clear
    AT_MOST = 1  # over when value > clear
    ANY_BIT = 2  # int(value) & int(threshold) != 0
    EQUAL = 3
    NOT_EQUAL = 4


@dataclass(frozen=True, slots=True)
class Condition:
    """One question about one channel. `of` names the verdict it belongs to, for the service's own use."""

    channel: int
    test: Test
    threshold: float
    clear: float
    hold_s: float
    clear_hold_s: float
    of: str


def _unknown(channel: int, time_ns: int) -> float:
    return math.nan


@dataclass(frozen=True, slots=True)
class Change:
    """A condition was met (or is over): `time_ns` is the reading that decided it, `since_ns` the first of its run."""

    condition: int
    met: bool
    time_ns: int
    since_ns: int
    value: float
    latest: Callable[[int, int], float] = _unknown  # the reading of (channel, time_ns) or the last before


class Service(Protocol):
    """One family's verdicts."""

    @property
    def conditions(self) -> Sequence[Condition]:
        """What it wants judged. `Change.condition` counts through this list."""
        ...

    def changed(self, change: Change) -> Sequence[Event]:
        """The events that a change brings about."""
        ...

    def restore(self, standing: Event) -> Sequence[int]:
        """Take back an alarm that stood before a restart; the conditions that it rests on count as met."""
        ...


def event(
    code: str,
    phase: Phase,
    subject: str,
    place: Place,
    *,
    time_ns: int,
    onset_ns: int,
    score: float = 1.0,
    numbers: dict[str, float | str] | None = None,
    channels: Sequence[int] = (),
) -> Event:
    """An event in the words of its code, at its place. `channels` asks the engine for their evidence."""
    word = WORDS[code]
    text_en, text_ko = say(word, phase, subject, numbers or {})
    there = phase is not Phase.CLEAR  # who is told of the end was told the place at the onset
    return Event(
        code=code,
        phase=phase,
        severity=word.severity,
        cause=word.cause,
        subject=subject,
        time_ns=time_ns,
        onset_ns=onset_ns,
        score=score,
        text_en=text_en,
        text_ko=text_ko,
        asset=place.asset,
        place_en=place.name_en if there else "",
        place_ko=place.name_ko if there else "",
        latitude=place.latitude if there else None,
        longitude=place.longitude if there else None,
        evidence=tuple((channel, ()) for channel in channels),
    )


def channels_by_role(plan: Plan, device: SiteDevice) -> dict[str, list[int]]:
    """role -> channel rows of one device, in profile order."""
    found: dict[str, list[int]] = {}
    for index in device.channels:
        role = plan.channels[index].role
        if role:
            found.setdefault(role, []).append(index)
    return found
