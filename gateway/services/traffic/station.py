"""A loop station: the raw waveforms of one device's loops to vehicles, readings and events.

Waveforms come in as columns and go to the loop kernel and from there to `Passages`; what comes out are vehicles,
readings of the device's derived channels (one a loop and interval; speed and length at each vehicle) and events:
loops out of order, drivers that go the wrong way.

What it takes from the site, options of a loop's point or else of its device: `lane` (neighbours differ by 1),
`loop_len_m`; options of the point that is the speed of two loops, or else of the device: `spacing_m`, leading edge to
leading edge."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fastpath.loop import LoopBank, LoopRows
from fastpath.loop_state import (
    CHATTER_CLEAR,
    CHATTER_ON,
    DOUBTFUL,
    OPEN_CLEAR,
    OPEN_ON,
    STUCK_CLEAR,
    STUCK_ON,
    VEHICLE,
)
from gateway.services.rules import event
from gateway.services.traffic.passage import Pair, Passages, Vehicle, neighbours
from gateway.site.plan import Channel, Kind, Plan, SiteDevice
from gateway.spool.records import Event, Phase
from protocols.api import Batch, Quality

DEFAULT_RATE_HZ = 500.0
LOOP_LEN_M = 2.0
KEPT_VEHICLES = 10_000
WRONG_WAY_KMH = 10.0  # slower ones manoeuvre
WRONG_WAY_S = 60.0  # without another, it is over
LOST_S = 1.0  # a pause so long between two samples is a hole
LOST_MOST_S = 30.0
SAME_SIGNAL = {
    STUCK_ON: "traffic.loop_stuck",
    STUCK_CLEAR: "traffic.loop_stuck",
    CHATTER_ON: "traffic.loop_chatter",
    CHATTER_CLEAR: "traffic.loop_chatter",
    OPEN_ON: "traffic.loop_open",
    OPEN_CLEAR: "traffic.loop_open",
}
Readings = list[tuple[int, int, float]]


@dataclass(frozen=True, slots=True)
class LoopVehicle:
    """One vehicle over one loop: channel row of the loop, CLOCK_BOOTTIME of nose and tail over the loop's edges, km/h
    (negative against the lane's direction), metres; NaN where unknown."""

    channel: int
    on_ns: int
    off_ns: int
    speed_kmh: float
    length_m: float


@dataclass(frozen=True, slots=True)
class _Derived:
    channel: int
    what: str
    loops: tuple[int, ...]


class LoopStation:
    """All loops of one device. `vehicles` holds the last 10,000, oldest first; who wants them all takes them away."""

    LEARNT: ClassVar[tuple[str, ...]] = ("crosstalk",)
    PARTS: ClassVar[tuple[type, ...]] = ()

    def __init__(self, plan: Plan, device: SiteDevice) -> None:
        settings = plan.services.traffic
        self.device = device
        self.channels = [i for i in device.channels if plan.channels[i].kind is Kind.WAVEFORM]
        self.vehicles: deque[LoopVehicle] = deque(maxlen=KEPT_VEHICLES)
        self.rate_hz = float(getattr(device.protocol.options, "rate_hz", None) or DEFAULT_RATE_HZ)
        self._names = [plan.channels[i].name for i in self.channels]
        self._stuck_s = min(settings.stuck_on_s, settings.stuck_after_jump_s)
        loops = [plan.channels[i] for i in self.channels]
        lane = [round(_option(loop, device, "lane", 0.0)) for loop in loops]
        length = [_option(loop, device, "loop_len_m", LOOP_LEN_M) for loop in loops]
        point_loop = {loop.point: n for n, loop in enumerate(loops)}
        self._derived = [
            _Derived(i, plan.channels[i].derived, tuple(point_loop[p] for p in plan.channels[i].source))
            for i in device.channels
            if plan.channels[i].derived
        ]
        self._pairs = [
            Pair(d.loops[0], d.loops[1], spacing)
            for d in self._derived
            if d.what == "speed" and len(d.loops) == 2
            if (spacing := _option(plan.channels[d.channel], device, "spacing_m", 0.0)) > 0.0
        ]
        self._bank = LoopBank(len(loops), self.rate_hz, stuck_s=self._stuck_s, near=neighbours(lane))
        self._bank.warm()
        self._passages = Passages(self._bank, self._pairs, lane, length)
        self._classes = (settings.medium_from_m, settings.long_from_m)
        self._interval = max(1, round(settings.interval_s * self.rate_hz))
        self._occupied_before = np.zeros(len(loops))
        self._counts = np.zeros((4, len(loops)))  # all, short, medium, long
        self._last_ns: int | None = None
        self._standing: set[tuple[str, int]] = set()  # (code, loop)
        self._taken_back: set[tuple[str, int]] = set()  # of these, known from before a restart
        self._wrong_way: dict[int, int] = {}  # loop -> sample after which it is over

    def push(self, batch: Batch) -> tuple[Readings, list[Event]]:
        """Samples of this device's loops, in order, to ([(channel, time_ns, value)], events)."""
        samples, times = self._rows(batch)
        if not len(times):
            return [], []
        samples, times = self._with_hole(samples, times)
        readings: Readings = []
        events: list[Event] = []
        at = 0
        while at < len(times):
            # an interval ends between two samples: cut the burst there so that counts belong to their interval
            step = min(len(times) - at, self._interval - self._bank.samples % self._interval)
            rows = self._bank.push(np.ascontiguousarray(samples[at : at + step]))
            self._last_ns = int(times[at + step - 1])
            if len(rows.kind):
                events += self._faults(rows)
            for vehicle in self._passages.take(rows):
                readings += self._passed(vehicle)
                events += self._against(vehicle)
            if self._bank.samples % self._interval == 0:
                readings += self._interval_rows()
            at += step
        return readings, events + self._wrong_way_over()

    def _rows(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        columns = [batch.channel == c for c in self.channels]
        count = min(int(column.sum()) for column in columns)
        samples = np.stack([batch.value[column][:count] for column in columns], axis=1)
        return samples, batch.time_ns[columns[0]][:count]

    def _with_hole(
        self, samples: NDArray[np.float64], times: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Where samples are missing before these, NaN in their place: what happened meanwhile is not known."""
        first_ns = int(times[0])
        pause_s = 0.0 if self._last_ns is None else (first_ns - self._last_ns) / 1e9 - len(times) / self.rate_hz
        if pause_s < LOST_S:
            return samples, times
        lost = round(min(pause_s, LOST_MOST_S) * self.rate_hz)
        hole = np.full((lost, samples.shape[1]), np.nan)
        before = first_ns - (np.arange(lost, 0, -1) * 1e9 / self.rate_hz).astype(np.int64)
        return np.concatenate([hole, samples]), np.concatenate([before, times])

    def _ns(self, sample: float) -> int:
        """When a sample was taken, from the last one that came."""
        assert self._last_ns is not None
        return self._last_ns - round((self._bank.samples - 1 - sample) / self.rate_hz * 1e9)

    # --- vehicles

    def _passed(self, vehicle: Vehicle) -> Readings:
        loop = vehicle.loop
        self.vehicles.append(
            LoopVehicle(
                self.channels[loop], self._ns(vehicle.on), self._ns(vehicle.off), vehicle.speed_kmh, vehicle.length_m
            )
        )
        self._counts[0, loop] += 1
        if vehicle.length_m == vehicle.length_m:
            self._counts[1 + sum(vehicle.length_m >= limit for limit in self._classes), loop] += 1
        assert self._last_ns is not None
        said = {"speed": vehicle.speed_kmh, "length": vehicle.length_m}
        return [
            (derived.channel, self._last_ns, said[derived.what])
            for derived in self._derived
            # once a vehicle, and only those that go the lane's way: the others are events
            if derived.what in said and derived.loops[-1] == loop and said[derived.what] >= 0.0
            if vehicle.speed_kmh >= 0.0
        ]

    def _against(self, vehicle: Vehicle) -> list[Event]:
        """A driver against the lane's direction, told once over both loops."""
        if not vehicle.speed_kmh <= -WRONG_WAY_KMH or vehicle.loop not in {pair.lead for pair in self._pairs}:
            return []
        new = vehicle.loop not in self._wrong_way
        self._wrong_way[vehicle.loop] = self._bank.samples + round(WRONG_WAY_S * self.rate_hz)
        numbers: dict[str, float | str] = {"kmh": -vehicle.speed_kmh, "length": vehicle.length_m}
        return [self._event("traffic.wrong_way", vehicle.loop, Phase.ONSET, vehicle.on, numbers)] if new else []

    def _wrong_way_over(self) -> list[Event]:
        over = [loop for loop, until in self._wrong_way.items() if self._bank.samples >= until]
        for loop in over:
            del self._wrong_way[loop]
        return [
            self._event("traffic.wrong_way", loop, Phase.CLEAR, self._bank.samples, {"seconds": WRONG_WAY_S})
            for loop in over
        ]

    def _interval_rows(self) -> Readings:
        assert self._last_ns is not None
        occupied = np.asarray(self._bank.occupied_samples, np.float64)
        share = np.minimum((occupied - self._occupied_before) / self._interval * 100.0, 100.0)
        self._occupied_before = occupied
        counts, self._counts = self._counts, np.zeros_like(self._counts)
        values: dict[str, Callable[[list[int]], float]] = {
            "volume": lambda loops: float(counts[0, loops].sum()),
            "volume_short": lambda loops: float(counts[1, loops].sum()),
            "volume_medium": lambda loops: float(counts[2, loops].sum()),
            "volume_long": lambda loops: float(counts[3, loops].sum()),
            "occupancy": lambda loops: float(share[loops].mean()),
        }
        return [
            (derived.channel, self._last_ns, values[derived.what](list(derived.loops)))
            for derived in self._derived
            if derived.what in values
        ]

    # --- loops out of order

    def _faults(self, rows: LoopRows) -> list[Event]:
        events: list[Event] = []
        for kind, loop, on, off in zip(
            rows.kind.tolist(), rows.loop.tolist(), rows.on.tolist(), rows.off.tolist(), strict=True
        ):
            if kind in (VEHICLE, DOUBTFUL):
                events += [
                    self._over(code, loop, self._bank.samples - 1)
                    for code, there in sorted(self._taken_back)
                    if there == loop  # it lets go of something: what stood before the restart is over
                ]
            elif kind in (STUCK_ON, CHATTER_ON, OPEN_ON):
                key = (SAME_SIGNAL[kind], loop)
                if key not in self._standing:
                    self._standing.add(key)
                    events.append(self._event(key[0], loop, Phase.ONSET, on, self._numbers(on, off)))
            elif (SAME_SIGNAL[kind], loop) in self._standing:
                events.append(self._over(SAME_SIGNAL[kind], loop, off))
        return events

    def _numbers(self, on: float, off: float) -> dict[str, float | str]:
        return {"seconds": max((off - on) / self.rate_hz, 0.0), "stuck_s": self._stuck_s}

    def _over(self, code: str, loop: int, sample: float) -> Event:
        self._standing.discard((code, loop))
        self._taken_back.discard((code, loop))
        return self._event(code, loop, Phase.CLEAR, sample, {})

    def _event(self, code: str, loop: int, phase: Phase, sample: float, numbers: dict[str, float | str]) -> Event:
        assert self._last_ns is not None
        return event(
            code,
            phase,
            self._names[loop],
            self.device.place,
            time_ns=self._last_ns,
            onset_ns=self._ns(sample),
            numbers=numbers,
        )

    # --- through a restart

    @property
    def name(self) -> str:
        """Unique to the device and the order of its loops: what is learnt lies in columns."""
        return f"{self.device.name}:{','.join(self._names)}"

    @property
    def crosstalk(self) -> NDArray[np.float64]:
        """What each loop shows of vehicles over the others (fastpath.loop)."""
        return self._bank.crosstalk

    @crosstalk.setter
    def crosstalk(self, learnt: NDArray[np.float64]) -> None:
        self._bank.crosstalk = learnt

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
        """Take back a loop out of order. It counts as standing until it lets go."""
        if standing.subject not in self._names:
            return
        loop = self._names.index(standing.subject)
        if standing.code in SAME_SIGNAL.values():
            self._standing.add((standing.code, loop))
            self._taken_back.add((standing.code, loop))
        elif standing.code == "traffic.wrong_way":
            self._wrong_way[loop] = round(WRONG_WAY_S * self.rate_hz)


def _option(channel: Channel, device: SiteDevice, name: str, otherwise: float) -> float:
    return channel.options.get(name, device.options.get(name, otherwise))


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
