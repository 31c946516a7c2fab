"""One fact, one alarm: what services say of missing values while the whole device is known to be silent.

In: events on their way out. Out: those that say something new. `health.device_silent` (or `health.link_down`) comes
within three periods and names what is broken; a service that misses the same values hours later is held back. Where the
device speaks again and these values still do not come, what was held back goes out after all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.spool.records import Event, Phase

MISSED = frozenset(("air.dropout", "water.sensor_dropout", "anomaly.missing"))
WAIT_NS = 3600 * 1_000_000_000  # a device that is back has delivered all its values by then


@dataclass(slots=True)
class _Held:
    event: Event
    back_ns: int  # since when its devices speak again, -1: they do not


class Doubled:
    """`silent`: whether all devices behind these channels are silent."""

    def __init__(self, silent: Callable[[Sequence[int]], bool]) -> None:
        self._silent = silent
        self._held: dict[str, _Held] = {}

    def passing(self, events: Sequence[Event]) -> list[Event]:
        """`events` without those that repeat a silence."""
        kept = []
        for event in events:
            channels = [channel for channel, _ in event.evidence]
            if event.phase is Phase.CLEAR:
                self._held.pop(event.key, None)
            if event.phase is Phase.ONSET and event.code in MISSED and channels and self._silent(channels):
                self._held[event.key] = _Held(event, -1)
            elif event.phase is not Phase.UPDATE or event.key not in self._held:
                kept.append(event)
        return kept

    def due(self, now_ns: int) -> list[Event]:
        """What was held back and is still missed by a device that speaks."""
        over = []
        for key, held in list(self._held.items()):
            if self._silent([channel for channel, _ in held.event.evidence]):
                held.back_ns = -1
            elif held.back_ns < 0:
                held.back_ns = now_ns
            elif now_ns - held.back_ns >= WAIT_NS:
                over.append(self._held.pop(key).event)
        return over
