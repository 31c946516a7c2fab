"""What simulated devices measure, and what they have said.

`World` gives the value of a channel at a moment: a quiet course with noise, changed by incidents while they last.
`Sent` is the ledger of readings that left a device, the only truth the demo's account starts from.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Signal:
    """base + swing * sin(2 pi t / period_s) + noise * N(0,1); counters grow by `per_s`."""

    base: float = 0.0
    noise: float = 0.0
    swing: float = 0.0
    period_s: float = 600.0
    per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Incident:
    """From `start_s` to `end_s` of the play, `set` channels to other signals or keep `dead` devices silent."""

    name: str
    start_s: float
    end_s: float
    set: Mapping[str, Signal] = field(default_factory=dict)
    dead: Sequence[str] = ()

    def on(self, at_s: float) -> bool:
        return self.start_s <= at_s < self.end_s


class World:
    """Values of channels (`device.point`) by play time in seconds. Seeded: the same play has the same noise."""

    def __init__(self, signals: Mapping[str, Signal], incidents: Sequence[Incident] = (), seed: int = 1) -> None:
        self._signals = dict(signals)
        self._incidents = tuple(incidents)
        self._random = np.random.default_rng(seed)

    def value(self, channel: str, at_s: float) -> float:
        signal = self._signals.get(channel, Signal())
        for incident in self._incidents:
            if channel in incident.set and incident.on(at_s):
                signal = incident.set[channel]
        value = signal.base + signal.per_s * at_s
        if signal.swing:
            value += signal.swing * math.sin(2 * math.pi * at_s / signal.period_s)
        if signal.noise:
            value += signal.noise * float(self._random.standard_normal())
        return value

    def alive(self, device: str, at_s: float) -> bool:
        return not any(device in incident.dead and incident.on(at_s) for incident in self._incidents)

    def incident(self, channel: str, at_s: float) -> Incident | None:
        """The incident that changes `channel` now."""
        return next((i for i in self._incidents if channel in i.set and i.on(at_s)), None)


class Sent:
    """Readings that left a device: per channel CLOCK_BOOTTIME ns just before the bytes were written, and the value."""

    def __init__(self) -> None:
        self.times: dict[str, array[int]] = {}
        self.values: dict[str, array[float]] = {}
        self.wire_bytes = 0
        self.samples = 0  # raw loop samples: not readings

    def add(self, channel: str, time_ns: int, value: float) -> None:
        self.times.setdefault(channel, array("q")).append(time_ns)
        self.values.setdefault(channel, array("d")).append(value)

    @property
    def readings(self) -> int:
        return sum(len(times) for times in self.times.values())
