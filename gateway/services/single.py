"""Verdicts that rest on one condition: it is met, the alarm begins; it is over, the alarm ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.services.rules import Change, Condition, event
from gateway.site.plan import Place
from gateway.spool.records import Event, Phase


@dataclass(frozen=True, slots=True)
class Single:
    """One condition with the words it leads to. `numbers` are added to those of the reading."""

    condition: Condition
    code: str
    subject: str
    place: Place
    numbers: dict[str, float | str] = field(default_factory=dict)

    def event(self, change: Change) -> Event:
        return event(
            self.code,
            Phase.ONSET if change.met else Phase.CLEAR,
            self.subject,
            self.place,
            time_ns=change.time_ns,
            onset_ns=change.since_ns,
            numbers={"value": change.value, **self.numbers},
            channels=(self.condition.channel,),
        )


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
