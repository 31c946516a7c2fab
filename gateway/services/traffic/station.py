"""Traffic: raw inductive loops to vehicles, volume, occupancy and speed; a loop that never lets go is a fault.

Waveforms come in as columns and go to the loop kernel; what comes out are readings of the device's derived channels
(one a loop and interval; speed at each vehicle) and events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastpath.loop import LoopBank
from gateway.services.rules import event
from gateway.site.plan import Kind, Plan, SiteDevice
from gateway.spool.records import Event, Phase
from protocols.api import Batch, Quality

DEFAULT_RATE_HZ = 500.0
PAIR_WINDOW_S = 10.0  # a vehicle needs no longer from the leading to the trailing loop


@dataclass(frozen=True, slots=True)
class _Derived:
    channel: int
    loops: tuple[int, ...]


class LoopStation:
    """All loops of one device."""

    def __init__(self, plan: Plan, device: SiteDevice) -> None:
        settings = plan.services.traffic
        self.device = device
        self.channels = [i for i in device.channels if plan.channels[i].kind is Kind.WAVEFORM]
        self.rate_hz = float(getattr(device.protocol.options, "rate_hz", None) or DEFAULT_RATE_HZ)
        self._names = [plan.channels[i].name for i in self.channels]
        self._stuck_s = settings.stuck_on_s
        self._bank = LoopBank(len(self.channels), self.rate_hz, stuck_s=settings.stuck_on_s)
        self._spacing_m = device.options.get("spacing_m", 0.0)
        self._interval = max(1, round(settings.interval_s * self.rate_hz))
        self._samples = 0
        self._vehicles_before = np.zeros(len(self.channels))
        self._occupied_before = np.zeros(len(self.channels))
        self._led: list[float] = []
        self._standing: set[int] = set()
        self._derived: dict[str, list[_Derived]] = {}
        point_loop = {plan.channels[i].point: n for n, i in enumerate(self.channels)}
        for index in device.channels:
            channel = plan.channels[index]
            if channel.derived:
                loops = tuple(point_loop[p] for p in channel.source)
                self._derived.setdefault(channel.derived, []).append(_Derived(index, loops))

    def push(self, batch: Batch) -> tuple[list[tuple[int, int, float]], list[Event]]:
        """Samples of this device's loops, in order, to ([(channel, time_ns, value)], events)."""
        samples, times = self._rows(batch)
        if not len(times):
            return [], []
        readings: list[tuple[int, int, float]] = []
        events: list[Event] = []
        at = 0
        while at < len(times):
            # an interval ends between two samples: cut the burst there so that counts belong to their interval
            step = min(len(times) - at, self._interval - self._samples % self._interval)
            rows = self._bank.push(np.ascontiguousarray(samples[at : at + step]))
            last_ns = int(times[at + step - 1])
            self._samples += step
            for kind, loop, on in zip(rows.kind, rows.loop, rows.on_index, strict=True):
                if kind == 0:
                    readings += self._vehicle(int(loop), int(on), last_ns)
                    events += self._stuck(int(loop), False, last_ns)  # a loop that counts is not stuck
                else:
                    events += self._stuck(int(loop), kind == 1, last_ns)
            if self._samples % self._interval == 0:
                readings += self._interval_rows(last_ns)
            at += step
        return readings, events

    def _rows(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        columns = [batch.channel == c for c in self.channels]
        count = min(int(column.sum()) for column in columns)
        samples = np.stack([batch.value[column][:count] for column in columns], axis=1)
        return samples, batch.time_ns[columns[0]][:count]

    def _vehicle(self, loop: int, on: int, now_ns: int) -> list[tuple[int, int, float]]:
        """Speed from a vehicle over both loops of a pair: spacing over the time between the two onsets."""
        rows: list[tuple[int, int, float]] = []
        for derived in self._derived.get("speed", ()):
            if len(derived.loops) != 2 or not self._spacing_m:
                continue
            if loop == derived.loops[0]:
                self._led.append(on)
            elif loop == derived.loops[1]:
                self._led = [led for led in self._led if on - led < PAIR_WINDOW_S * self.rate_hz]
                passed = [led for led in self._led if led < on]
                if passed:
                    speed_kmh = self._spacing_m * self.rate_hz / (on - passed[0]) * 3.6
                    self._led.remove(passed[0])
                    rows.append((derived.channel, now_ns, speed_kmh))
        return rows

    def _interval_rows(self, now_ns: int) -> list[tuple[int, int, float]]:
        vehicles = np.asarray(self._bank.vehicles, np.float64)
        occupied = np.asarray(self._bank.occupied_samples, np.float64)
        volume = vehicles - self._vehicles_before
        share = (occupied - self._occupied_before) / self._interval * 100.0
        self._vehicles_before, self._occupied_before = vehicles.copy(), occupied.copy()
        rows = [
            (derived.channel, now_ns, float(volume[list(derived.loops)].sum()))
            for derived in self._derived.get("volume", ())
        ]
        return rows + [
            (derived.channel, now_ns, float(share[list(derived.loops)].mean()))
            for derived in self._derived.get("occupancy", ())
        ]

    def _stuck(self, loop: int, onset: bool, now_ns: int) -> list[Event]:
        if onset == (loop in self._standing):
            return []
        (self._standing.add if onset else self._standing.discard)(loop)
        return [
            event(
                "traffic.loop_stuck",
                Phase.ONSET if onset else Phase.CLEAR,
                self._names[loop],
                self.device.place,
                time_ns=now_ns,
                onset_ns=now_ns - round(self._stuck_s * 1e9) if onset else now_ns,
                numbers={"seconds": self._stuck_s},
            )
        ]

    @property
    def levels(self) -> dict[str, float]:
        """Baselines of the loops, by channel name."""
        pairs = zip(self._names, self._bank.baselines, strict=True)
        return {name: baseline for name, baseline in pairs if baseline == baseline}

    def restore_levels(self, levels: Mapping[str, float]) -> None:
        """Baselines of shortly before: a loop on which something stood through the restart is still judged."""
        for loop, name in enumerate(self._names):
            if name in levels:
                self._bank.restore(loop, levels[name])

    def restore(self, standing: Event) -> None:
        """Take back a stuck loop. It counts as standing until it lets go."""
        if standing.code == "traffic.loop_stuck" and standing.subject in self._names:
            self._standing.add(self._names.index(standing.subject))


def as_batch(readings: Sequence[tuple[int, int, float]]) -> Batch:
    """Derived readings as a batch."""
    channel, time_ns, value = zip(*readings, strict=True)
    return Batch(
        np.array(channel, np.int32),
        np.array(time_ns, np.int64),
        np.array(value, np.float64),
        np.full(len(readings), int(Quality.GOOD), np.uint8),
    )


def stations(plan: Plan) -> list[LoopStation]:
    """One station a device that has waveform points with the role `loop`."""
    return [
        LoopStation(plan, device)
        for device in plan.devices
        if any(plan.channels[i].kind is Kind.WAVEFORM and plan.channels[i].role == "loop" for i in device.channels)
    ]
