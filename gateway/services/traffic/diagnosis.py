"""Detector diagnosis: do volume and occupancy look like traffic, or like a broken detector? One watch a device, row
by row; what comes out are findings on single detectors and on the two of a lane. Thresholds are those road
authorities use: 38 vehicles in 30 s is chatter, 100 % occupancy for 2 min is locked on (30 min on a ramp), no vehicle
in 4 h on a mainline is no hits, 24 h without a change is no change, two loops of a lane agree within 10 %.

A detector is the volume and the occupancy of the same loops: of the same source where they are computed here, else the
first volume with the first occupancy of its device, and so on. `vehicle_count` counts on, volume is per row then.
Options of a volume's point or of its device: `ramp` (1: a ramp), `pair` (detectors with one number see the same lane).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import ClassVar

from gateway.services.watch import Finding, Row
from gateway.site.plan import Channel, Plan, SiteDevice
from gateway.spool.records import Phase

FULL_PCT = 99.5
PERIOD_S = 30.0  # of the chatter threshold
HOLE_S = 600.0  # without rows for longer, what lasted is not known to last
SETTLED_S = 120.0  # chatter is over after so long without
PAIR_S = 900.0  # two detectors of a lane are compared over at least so long, and
PAIR_VEHICLES = 100.0  # so many vehicles


@dataclass(frozen=True, slots=True)
class Detector:
    """Columns of one detector in its device's rows; -1 where it has none."""

    name: str
    volume: int
    occupancy: int
    counts_on: bool  # volume is a running count
    judged_by_shape: bool  # a raw loop: its waveform tells a parked car from a stuck loop
    rollover: float
    period_s: float  # in which its volume was counted
    ramp: bool
    pair: tuple[str, ...]


@dataclass(slots=True)
class Seen:
    """What a detector has done so far; times in UTC seconds, NaN for not at present."""

    count: float = math.nan
    full_since: float = math.nan
    empty_since: float = math.nan
    same_since: float = math.nan
    chatter_last: float = math.nan
    volume: float = math.nan
    occupancy: float = math.nan
    standing: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Compared:
    """Vehicles that two detectors of one lane counted since `since`."""

    since: float = math.nan
    first: float = 0.0
    second: float = 0.0
    standing: bool = False


class Diagnosis:
    """The watch of one device."""

    LEARNT: ClassVar[tuple[str, ...]] = ("seen", "compared", "last_s")
    PARTS: ClassVar[tuple[type, ...]] = (Seen, Compared)

    def __init__(self, plan: Plan, device: SiteDevice) -> None:
        self._settings = plan.services.traffic
        self._place = device.place
        self.name = f"traffic/{device.name}"
        self.detectors, self.channels = detectors(plan, device)
        periods = [plan.channels[i].period_s for i in self.channels]
        self.step_s = max(self._settings.interval_s, *periods)
        self._pairs = [
            (a, b)
            for a, b in combinations(range(len(self.detectors)), 2)
            if self.detectors[a].pair and self.detectors[a].pair == self.detectors[b].pair
        ]
        self.seen = [Seen() for _ in self.detectors]
        self.compared = [Compared() for _ in self._pairs]
        self.last_s = math.nan

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        hole = not utc_s - self.last_s <= HOLE_S
        self.last_s = utc_s
        found: list[Finding] = []
        volumes: list[float] = []
        for detector, seen in zip(self.detectors, self.seen, strict=True):
            if hole:
                seen.full_since = seen.empty_since = seen.same_since = math.nan
            volume = self._volume(detector, seen, values)
            occupancy = float(values[detector.occupancy]) if detector.occupancy >= 0 else math.nan
            volumes.append(volume)
            found += self._judged(detector, seen, utc_s, volume, occupancy)
        for (a, b), compared in zip(self._pairs, self.compared, strict=True):
            if hole:
                compared.since = math.nan
            found += self._agreed(compared, a, b, utc_s, volumes[a], volumes[b])
        return found

    def _volume(self, detector: Detector, seen: Seen, values: Row) -> float:
        """Vehicles of this row."""
        if detector.volume < 0:
            return math.nan
        value = float(values[detector.volume])
        if not detector.counts_on:
            return float(value * self.step_s / detector.period_s)  # the mean of the readings of a row
        before, seen.count = seen.count, value if value == value else seen.count
        more = value - before
        if more < 0.0 and math.isfinite(detector.rollover):
            more += detector.rollover
        return max(more, 0.0) if more == more else math.nan

    def _judged(
        self, detector: Detector, seen: Seen, utc_s: float, volume: float, occupancy: float
    ) -> Iterator[Finding]:
        end_s = utc_s + self.step_s
        per_period = volume * PERIOD_S / self.step_s
        if per_period >= self._settings.chatter_vehicles:
            yield from self._change(detector, seen, "traffic.detector_chatter", True, utc_s, vehicles=per_period)
            seen.chatter_last = end_s
        elif utc_s - seen.chatter_last >= SETTLED_S:
            yield from self._change(detector, seen, "traffic.detector_chatter", False, utc_s)
        if occupancy == occupancy and not detector.judged_by_shape:
            seen.full_since = _lasts(seen.full_since, occupancy >= FULL_PCT, utc_s)
            limit = self._settings.ramp_stuck_on_s if detector.ramp else self._settings.stuck_on_s
            if end_s - seen.full_since >= limit:
                minutes = (end_s - seen.full_since) / 60.0
                yield from self._change(
                    detector, seen, "traffic.detector_locked_on", True, seen.full_since, minutes=minutes
                )
            elif occupancy < FULL_PCT:
                yield from self._change(detector, seen, "traffic.detector_locked_on", False, utc_s)
        if volume == volume:
            idle = volume == 0.0 and not occupancy >= FULL_PCT
            seen.empty_since = _lasts(seen.empty_since, idle, utc_s)
            if not detector.ramp and end_s - seen.empty_since >= self._settings.no_hits_s:
                hours = (end_s - seen.empty_since) / 3600.0
                yield from self._change(detector, seen, "traffic.detector_no_hits", True, seen.empty_since, hours=hours)
            elif not idle:
                yield from self._change(detector, seen, "traffic.detector_no_hits", False, utc_s)
            same = volume == seen.volume and (occupancy == seen.occupancy or occupancy != occupancy) and not idle
            seen.same_since = _lasts(seen.same_since, same, utc_s)
            seen.volume, seen.occupancy = volume, occupancy
            if end_s - seen.same_since >= self._settings.no_change_s:
                hours = (end_s - seen.same_since) / 3600.0
                yield from self._change(
                    detector, seen, "traffic.detector_no_change", True, seen.same_since, hours=hours, volume=volume
                )
            elif not same:
                yield from self._change(detector, seen, "traffic.detector_no_change", False, utc_s)

    def _change(
        self, detector: Detector, seen: Seen, code: str, onset: bool, since_s: float, **numbers: float
    ) -> Iterator[Finding]:
        if onset == (code in seen.standing):
            return
        (seen.standing.add if onset else seen.standing.discard)(code)
        columns = tuple(column for column in (detector.volume, detector.occupancy) if column >= 0)
        phase = Phase.ONSET if onset else Phase.CLEAR
        yield Finding(code, phase, detector.name, self._place, since_s, numbers=numbers, columns=columns)

    def _agreed(
        self, compared: Compared, a: int, b: int, utc_s: float, first: float, second: float
    ) -> Iterator[Finding]:
        """Whether two detectors of one lane counted the same, within the tolerance and one vehicle between them."""
        if not math.isfinite(first + second):
            return
        if math.isnan(compared.since):
            compared.since, compared.first, compared.second = utc_s, 0.0, 0.0
        compared.first += first
        compared.second += second
        more = max(compared.first, compared.second)
        if utc_s + self.step_s - compared.since < PAIR_S or more < PAIR_VEHICLES:
            return
        apart = (abs(compared.first - compared.second) - 1.0) / more * 100.0
        onset = apart > self._settings.pair_mismatch_pct
        if onset != compared.standing:
            compared.standing = onset
            names = (self.detectors[a].name, self.detectors[b].name)
            numbers: dict[str, float | str] = {
                "other": names[1], "first": compared.first, "second": compared.second,
                "minutes": (utc_s + self.step_s - compared.since) / 60.0,
            }  # fmt: skip
            columns = (self.detectors[a].volume, self.detectors[b].volume)
            yield Finding(
                "traffic.pair_mismatch", Phase.ONSET if onset else Phase.CLEAR, names[0], self._place, compared.since,
                numbers=numbers, columns=columns,
            )  # fmt: skip
        compared.since = math.nan


def _lasts(since: float, holds: bool, utc_s: float) -> float:
    if not holds:
        return math.nan
    return utc_s if math.isnan(since) else since


def detectors(plan: Plan, device: SiteDevice) -> tuple[list[Detector], tuple[int, ...]]:
    """The detectors of a device and the channels that they need, in the order of the columns."""
    channels = [plan.channels[i] for i in device.channels]
    volumes = [c for c in channels if c.role == "vehicle_count" or (c.role == "volume" and _of_all(c))]
    occupancies = [c for c in channels if c.role == "occupancy"]
    speeds = [c for c in channels if c.derived == "speed" and len(c.source) == 2]
    columns = tuple(c.index for c in (*volumes, *occupancies))
    found: list[Detector] = []
    for n, volume in enumerate(volumes):
        occupancy = _occupancy(volume, n, occupancies)
        lane = next((s.source for s in speeds if len(volume.source) == 1 and volume.source[0] in s.source), ())
        number = _option(volume, device, "pair")
        found.append(
            Detector(
                name=volume.name,
                volume=n,
                occupancy=len(volumes) + occupancies.index(occupancy) if occupancy else -1,
                counts_on=volume.role == "vehicle_count",
                judged_by_shape=bool(volume.derived),
                rollover=volume.rollover,
                period_s=volume.period_s,
                ramp=_option(volume, device, "ramp") != 0.0,
                pair=lane or ((str(number),) if number else ()),
            )
        )
    return found, columns


def _of_all(channel: Channel) -> bool:
    """Not the volume of one class only."""
    return channel.derived in ("", "volume")


def _occupancy(volume: Channel, n: int, occupancies: Sequence[Channel]) -> Channel | None:
    if volume.source:
        return next((o for o in occupancies if o.source == volume.source), None)
    return occupancies[n] if n < len(occupancies) else None


def _option(channel: Channel, device: SiteDevice, name: str) -> float:
    return channel.options.get(name, device.options.get(name, 0.0))


def diagnoses(plan: Plan) -> list[Diagnosis]:
    """One watch a device that counts vehicles."""
    counting = ("volume", "vehicle_count")
    return [
        Diagnosis(plan, device)
        for device in plan.devices
        if any(plan.channels[i].role in counting for i in device.channels)
    ]
