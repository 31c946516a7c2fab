"""The judging half of the engine: kernels and services over a compiled plan. Imported after polling has begun,
because numba takes longer to load than the first readings take to arrive.

In: batches. Out: closed windows and events. It knows no clock, no file and no device.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

import fastpath.chain
import fastpath.replaced
from gateway.field.aftermath import Aftermath
from gateway.field.learnt import Memory
from gateway.field.rows import RowBoard
from gateway.services import traffic
from gateway.services.families import FAMILIES
from gateway.services.rules import Change, Condition, Service, event
from gateway.services.traffic.station import LoopVehicle
from gateway.services.watch import Deriving, Finding, Row, Watch
from gateway.site.plan import Detector, Kind, Plan
from gateway.spool.records import Event, Phase, Window
from protocols.api import Batch

log = logging.getLogger("citygate.field")

ANOMALY = {
    Detector.DEFAULT: "anomaly.level",
    Detector.LEVEL: "anomaly.level",
    Detector.SPIKE: "anomaly.spike",
    Detector.DRIFT: "anomaly.drift",
    Detector.VARIANCE: "anomaly.variance",
    Detector.STUCK: "anomaly.stuck",
    Detector.MISSING: "anomaly.missing",
    Detector.SEASONAL: "anomaly.seasonal",
    Detector.CUSUM: "anomaly.level",
    Detector.PAGE_HINKLEY: "anomaly.level",
}
EVIDENCE_MOST = 32
INNER = 15  # columns of a window before p05, p25, p75
EVIDENCE_SAMPLES = 12  # what an alarm carries of its channel's recent past


def warm(*, loops: bool = True) -> float:
    """Compile or load the kernels, those of inductive loops where wanted; seconds it took."""
    return fastpath.chain.warm(loops=loops)


@dataclass(slots=True)
class Verdict:
    windows: list[Window] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    derived: list[tuple[int, int, float]] = field(default_factory=list)  # (channel, time_ns, value) services computed
    vehicles: list[LoopVehicle] = field(default_factory=list)
    learnt: dict[str, bytes] = field(default_factory=dict)  # what must be kept together with these events


class Judge:
    """Every reading of the site, in order, through the chain and the services."""

    def __init__(
        self,
        plan: Plan,
        start_ns: int,
        utc_offset_ns: int,
        standing: Sequence[Event],
        levels: Mapping[str, float] | None = None,
        learnt: Mapping[str, bytes] | None = None,
    ) -> None:
        """`standing`, `levels` and `learnt`: what the one before it knew at its last commit."""
        self._plan = plan
        self._utc_offset_ns = utc_offset_ns
        self._services: list[Service] = [service for family in FAMILIES for service in family.services(plan)]
        self._watches = [
            (watch, _board(plan, watch, utc_offset_ns)) for family in FAMILIES for watch in family.watches(plan)
        ]
        self._stations = traffic.stations(plan)
        self._place = {index: device.place for device in plan.devices for index in device.channels}
        self._waveform = np.array([c.kind is Kind.WAVEFORM for c in plan.channels], bool)
        self._has_waveforms = bool(self._waveform.any())
        self._owners, conditions = _by_channel(self._services)
        self._chain = fastpath.chain.Chain(
            _channel_params(plan),
            _condition_params(conditions),
            start_ns=start_ns,
            align_ns=utc_offset_ns + _local_ns(plan.timezone, start_ns + utc_offset_ns),
        )
        self._memory = Memory(plan, self._chain, conditions, [watch for watch, _ in self._watches], self._stations)
        for name in self._memory.take(learnt or {}, start_ns + utc_offset_ns):
            log.warning("%s begins anew: what was learnt before does not fit it", name)
        self._aftermath = Aftermath(lambda channel: self._chain.evidence(channel, EVIDENCE_MOST), self._chain.gathered)
        self._restore(standing)
        for station in self._stations:
            station.restore_levels(levels or {})

    def _restore(self, standing: Sequence[Event]) -> None:
        rows = {owner: row for row, owner in enumerate(self._owners)}
        names = {channel.name: channel.index for channel in self._plan.channels}
        for old in standing:
            if old.code in ANOMALY.values() and old.subject in names:
                self._chain.restore_alert(names[old.subject])
            for number, service in enumerate(self._services):
                for condition in service.restore(old):
                    self._chain.restore_condition(rows[number, condition], True, old.onset_ns)
            for station in self._stations:
                station.restore(old)

    def kept(self) -> NDArray[np.float64]:
        """f64[channels]: latest values behind their filters, NaN where there is none."""
        return self._chain.kept()

    def bands(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """f64[channels] twice: see `fastpath.band`."""
        return self._chain.band()

    def push(self, batch: Batch) -> Verdict:
        verdict = Verdict()
        if self._has_waveforms:
            wave = self._waveform[batch.channel]
            if wave.any():
                self._waves(Batch(*(np.ascontiguousarray(column[wave]) for column in batch)), verdict)
                batch = Batch(*(np.ascontiguousarray(column[~wave]) for column in batch))
        if len(batch.channel):
            self._readings(batch, verdict)
        verdict.events = [*self._aftermath.follow(verdict.events), *self._aftermath.due()]
        return verdict

    def _waves(self, batch: Batch, verdict: Verdict) -> None:
        for station in self._stations:
            derived, events = station.push(batch)
            verdict.events += events
            verdict.vehicles += station.vehicles
            station.vehicles.clear()
            if derived:
                verdict.derived += derived
                self._readings(traffic.as_batch(derived), verdict)

    def _rows(self, batch: Batch, verdict: Verdict) -> None:
        for watch, board in self._watches:
            for row in board.push(batch):
                self._watched(watch, *row, verdict)

    def _watched(self, watch: Watch, start_ns: int, known_ns: int, values: Row, verdict: Verdict) -> None:
        found = watch.row((start_ns + self._utc_offset_ns) / 1e9, values)
        if found:
            verdict.events += [self._with_evidence(self._event(watch, finding, known_ns)) for finding in found]
            verdict.learnt |= self._memory.of([f"watch/{watch.name}"], 0)
        computed = watch.derived() if isinstance(watch, Deriving) else ()
        if computed:
            derived = [(channel, known_ns, value) for channel, value in computed]
            verdict.derived += derived
            self._through_chain(traffic.as_batch(derived), verdict)

    def _event(self, watch: Watch, finding: Finding, known_ns: int) -> Event:
        return event(
            finding.code,
            finding.phase,
            finding.subject,
            finding.place,
            time_ns=known_ns,
            onset_ns=round(finding.since_s * 1e9) - self._utc_offset_ns,
            score=finding.score,
            numbers=dict(finding.numbers),
            channels=[watch.channels[column] for column in finding.columns],
        )

    def _readings(self, batch: Batch, verdict: Verdict) -> None:
        kept = self._through_chain(batch, verdict)
        if self._watches:
            self._rows(Batch(batch.channel, batch.time_ns, kept, batch.quality), verdict)

    def _through_chain(self, batch: Batch, verdict: Verdict) -> NDArray[np.float64]:
        """f64[readings]: what gate and filters let pass."""
        pushed = self._chain.push(*batch)
        if len(pushed.windows.channel):
            verdict.windows += _windows(pushed.windows)
        if len(pushed.changes.condition):
            verdict.events += self._changes(pushed.changes)
        if len(pushed.alerts.channel):
            verdict.events += self._anomalies(pushed.alerts)
        kept: NDArray[np.float64] = pushed.kept
        return kept

    def _changes(self, changes: Any) -> list[Event]:
        events: list[Event] = []
        for row, time_ns, met, since_ns, value in zip(*(column.tolist() for column in changes), strict=True):
            service, condition = self._owners[row]
            change = Change(condition, bool(met), time_ns, since_ns, value, self._latest)
            events += self._services[service].changed(change)
        return [self._with_evidence(event) for event in events]

    def _latest(self, channel: int, time_ns: int) -> float:
        """The reading of a channel at `time_ns`, or the last before; NaN without one. What came later in the same batch
        is not looked at: a replay cuts its batches elsewhere."""
        times, values = self._chain.evidence(channel, EVIDENCE_MOST)
        there = values[times <= time_ns]
        return float(there[-1]) if len(there) else math.nan

    def _anomalies(self, alerts: Any) -> list[Event]:
        events: list[Event] = []
        for channel, time_ns, onset, score, value, expected, detector in zip(
            *(column.tolist() for column in alerts), strict=True
        ):
            events.append(
                event(
                    ANOMALY[detector],
                    Phase.ONSET if onset else Phase.CLEAR,
                    self._plan.channels[channel].name,
                    self._place[channel],
                    time_ns=time_ns,
                    onset_ns=time_ns,
                    score=score,
                    numbers={k: v for k, v in (("value", value), ("expected", expected)) if math.isfinite(v)},
                    channels=(channel,),
                )
            )
        return [self._with_evidence(event) for event in events]

    def _with_evidence(self, event: Event) -> Event:
        """Fill in the raw samples of the channels that an event asked for."""
        if event.phase is Phase.CLEAR:
            return replace(event, evidence=())
        filled = []
        for channel, _ in event.evidence:
            times, values = self._chain.evidence(channel, EVIDENCE_SAMPLES)
            filled.append((channel, tuple(zip(times.tolist(), values.tolist(), strict=True))))
        return replace(event, evidence=tuple(filled))

    def meter_replaced(self, channels: Sequence[int]) -> None:
        """The next readings of these counters are no step from those before."""
        for channel in channels:
            fastpath.replaced.begin_anew(self._chain, channel)

    def set_clock(self, utc_offset_ns: int) -> None:
        """The wall clock was set: night and day of the rows to come follow it."""
        self._utc_offset_ns = utc_offset_ns
        for _, board in self._watches:
            board.align_ns = utc_offset_ns

    def levels(self) -> dict[str, float]:
        """What a successor must know besides the alarms that stand: baselines by channel name."""
        return {name: level for station in self._stations for name, level in station.levels.items()}

    @property
    def memories(self) -> list[str]:
        """Names of what is learnt."""
        return self._memory.names

    def learnt(self, now_ns: int, names: Sequence[str] | None = None) -> dict[str, bytes]:
        """What a successor starts from, by name (all, if none are given)."""
        return self._memory.of(self._memory.names if names is None else names, now_ns + self._utc_offset_ns)

    def due(self, now_ns: int) -> Verdict:
        """Rows and windows whose time is over, whoever is silent."""
        verdict = Verdict(windows=_windows(self._chain.close_due(now_ns)))
        for watch, board in self._watches:
            for row in board.close_due(now_ns):
                self._watched(watch, *row, verdict)
        verdict.events = [*self._aftermath.follow(verdict.events), *self._aftermath.due(now_ns)]
        return verdict

    def open_windows(self, now_ns: int) -> list[Window]:
        """What `close_all` would give now; nothing is closed."""
        return _windows(self._chain.open_windows(now_ns))

    def close_all(self, now_ns: int) -> list[Window]:
        return _windows(self._chain.close_all(now_ns))


def _windows(rows: Any) -> list[Window]:
    return [_window(row) for row in zip(*(column.tolist() for column in rows), strict=True)]


def _window(row: Sequence[Any]) -> Window:
    """The quantiles that only serve merging go along where there are any."""
    known = row[INNER] == row[INNER]
    return Window(*row[:INNER], *((tuple(row[INNER:]),) if known else ()))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _local_ns(timezone: str, utc_ns: int) -> int:
    """What local time is ahead of UTC: a channel's days and weekends are those of the people around it."""
    ahead = datetime.fromtimestamp(utc_ns / 1e9, ZoneInfo(timezone)).utcoffset()
    return round(ahead.total_seconds() * 1e9) if ahead else 0


def _board(plan: Plan, watch: Watch, utc_offset_ns: int) -> RowBoard:
    channels = [plan.channels[index] for index in watch.channels]
    return RowBoard(
        watch.channels,
        len(plan.channels),
        averaged=[channel.kind is Kind.GAUGE for channel in channels],
        period_s=[channel.period_s for channel in channels],
        step_s=watch.step_s,
        align_ns=utc_offset_ns,
    )


def _by_channel(services: Sequence[Service]) -> tuple[list[tuple[int, int]], list[Condition]]:
    """(service, its condition) for each row, and all conditions, sorted by channel."""
    rows: list[tuple[Condition, tuple[int, int]]] = [
        (condition, (s, c)) for s, service in enumerate(services) for c, condition in enumerate(service.conditions)
    ]
    rows.sort(key=lambda row: row[0].channel)
    return [owner for _, owner in rows], [condition for condition, _ in rows]


def _condition_params(conditions: Sequence[Condition]) -> fastpath.chain.ConditionParams:
    return fastpath.chain.ConditionParams(
        channel=np.array([c.channel for c in conditions], np.int32),
        op=np.array([c.test for c in conditions], np.uint8),
        threshold=np.array([c.threshold for c in conditions], np.float64),
        clear=np.array([c.clear for c in conditions], np.float64),
        hold_ns=np.array([_ns(c.hold_s) for c in conditions], np.int64),
        clear_hold_ns=np.array([_ns(c.clear_hold_s) for c in conditions], np.int64),
    )


def _channel_params(plan: Plan) -> fastpath.chain.ChannelParams:
    def floats(name: str) -> NDArray[np.float64]:
        return np.array([getattr(c, name) for c in plan.channels], np.float64)

    def tuned(name: str, otherwise: float) -> NDArray[np.float64]:
        told = [getattr(c.tuning, name) for c in plan.channels]
        return np.array([otherwise if one is None else one for one in told], np.float64)

    return fastpath.chain.channel_params(
        len(plan.channels),
        kind=np.array([c.kind for c in plan.channels], np.uint8),
        filter=np.array([c.filter for c in plan.channels], np.uint8),
        detector=np.array([c.detector for c in plan.channels], np.uint8),
        low=floats("low"),
        high=floats("high"),
        step=floats("step"),
        rollover=floats("rollover"),
        window_ns=np.array([_ns(c.window_s) for c in plan.channels], np.int64),
        period_ns=np.array([_ns(c.period_s) for c in plan.channels], np.int64),
        rate=floats("rate"),
        band=tuned("band", 0.0),
        settle_ns=np.array([_ns(c.tuning.settle_s or 0.0) for c in plan.channels], np.int64),
        target=tuned("target", math.nan),
        size=tuned("size", math.nan),
        span_ns=np.array([_ns(c.tuning.span_s or 0.0) for c in plan.channels], np.int64),
        onset=tuned("onset", math.nan),
    )
