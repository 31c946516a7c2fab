"""Verdicts that rest on one condition: it is met, the alarm begins; it is over, the alarm ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.services.rules import Change, Condition, event
from gateway.site.plan import Place
from gateway.spool.records import Event, Phase


@dataclass(frozen=True, slots=True)
class Single:
    """One condition with the words it leads to. `numbers` are added to those of the reading; `at` is a channel that
    tells where, with its unit: `where_en` and `where_ko` in the words."""

    condition: Condition
    code: str
    subject: str
    place: Place
    numbers: dict[str, float | str] = field(default_factory=dict)
    at: tuple[int, str] | None = None

    def event(self, change: Change) -> Event:
        return event(
            self.code,
            Phase.ONSET if change.met else Phase.CLEAR,
            self.subject,
            self.place,
            time_ns=change.time_ns,
            onset_ns=change.since_ns,
            numbers={"value": change.value, **self.numbers, **self._where(change)},
            channels=(self.condition.channel, *(self.at or ())[:1]),
        )

    def _where(self, change: Change) -> dict[str, float | str]:
        if self.at is None:
            return {}
        channel, unit = self.at
        distance = change.latest(channel, change.time_ns)
        if not math.isfinite(distance):
            return {}
        return {"where_en": f", {distance:.4g} {unit} along it", "where_ko": f" ({distance:.4g} {unit} 지점)"}


class Singles:
    """A service of independent single conditions."""

    def __init__(self, singles: Sequence[Single]) -> None:
        self._singles = tuple(singles)
        self.conditions = tuple(single.condition for single in singles)

    def changed(self, change: Change) -> Sequence[Event]:
        return (self._singles[change.condition].event(change),)

    def restore(self, standing: Event) -> Sequence[int]:
        return [
            i
            for i, single in enumerate(self._singles)
            if (single.code, single.subject) == (standing.code, standing.subject)
        ]
