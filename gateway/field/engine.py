"""Batches in, spool records out: first values at once, then every reading through the judge.

The engine lives on the event loop and never waits: kernels load in a thread while batches queue here, commits happen
in the writer's thread. `tick` must be called about once a second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gateway.field.clock import boottime_ns
from gateway.field.coverage import Coverage
from gateway.field.doubled import Doubled
from gateway.field.maintenance import Maintenance
from gateway.field.routes import Routes
from gateway.field.silence import Silence
from gateway.field.writer import SpoolWriter
from gateway.site.plan import Kind, Plan
from gateway.site.upstream import Upstream
from gateway.spool.records import Draft, Event, Gap, Item, Phase, Window
from protocols.api import Batch, Quality

if TYPE_CHECKING:
    from gateway.field.judge import Judge, Verdict

log = logging.getLogger("citygate.field")

DRAFT_NS = 5_000_000_000  # open windows are noted in the spool this often: what a kill can take
DRAFT_NS_A_CHANNEL = 10_000_000  # ... or less often on a large gateway: about 5 kB a second at most
MISSED = {int(Quality.LINK_DOWN): "link", int(Quality.NOT_POLLED): "overrun"}  # what each means where a device speaks
LEARNT_NS = 600_000_000_000  # what judging rests on is kept this often, spread over half of it
TICK_NS = 1_000_000_000  # how often `tick` is called
QUEUED_ROWS = 500_000  # readings that may wait for the kernels; beyond, the oldest are a declared gap


class Engine:
    def __init__(
        self,
        plan: Plan,
        writer: SpoolWriter,
        coverage: Coverage,
        standing: Sequence[Event],
        started_ns: int,
        maintenance: Maintenance | None = None,
    ) -> None:
        channels = len(plan.channels)
        self._plan = plan
        self._writer = writer
        self._routes = Routes(plan, standing)
        self._coverage = coverage
        self._silence = Silence(plan, started_ns)
        self._maintenance = maintenance or Maintenance(plan)
        self._silence.restore([*standing, *self._maintenance.held.values()])
        self._doubled = Doubled(self._all_silent)
        self._judge: Judge | None = None
        self._queue: list[Batch] = []
        self._queued = 0
        self._overrun: dict[int, tuple[int, int]] = {}
        self._closed: list[Window] = []
        self._draft_due_ns = 0
        self._unsaved: list[str] = []  # names of what is learnt, still to be kept in this round
        self._round_ns = started_ns
        self._share = 1
        self._device_of = np.full(channels, -1, np.int64)
        for number, device in enumerate(plan.devices):
            self._device_of[list(device.channels)] = number
        self._fresh = np.array([c.kind is not Kind.WAVEFORM and not c.derived for c in plan.channels], bool)
        self._firsts: list[int] = []
        self._awaiting = int(self._fresh.sum())
        self._values_sent = False
        self.counted = self._fresh.copy()  # channels whose values are readings: no raw samples, nothing derived
        self._heard_ns = np.zeros(channels, np.int64)  # last reading with a number
        self.last_value = np.full(channels, np.nan)
        self.last_ns = np.zeros(channels, np.int64)
        self.last_quality = np.full(channels, int(Quality.NOT_POLLED), np.uint8)
        self.readings = np.zeros(channels, np.int64)
        self.standing: dict[str, Event] = {event.key: event for event in standing}
        self.events = 0
        self.tell: Callable[[Event], None] = lambda event: None  # called for each event that passes, updates too

    def begin(self) -> None:
        """Before anything is asked: what the time since the last commit took. On disk as soon as the writer's next turn
        is over."""
        gaps, coverage = self._coverage.begin()
        self._writer.submit([item for gap in gaps for item in self._routes.gap(gap)], coverage=coverage)

    # -- from the scheduler ---------------------------------------------------------------------------------------

    def take(self, batch: Batch) -> None:
        """One batch of readings or failures."""
        if not len(batch.channel):
            return
        good = batch.quality < Quality.SENTINEL
        self.last_value[batch.channel] = batch.value
        self.last_ns[batch.channel] = batch.time_ns
        self.last_quality[batch.channel] = batch.quality
        all_good = bool(good.all())
        if not all_good:
            self._missed(batch)
        heard = batch.channel if all_good else batch.channel[good]
        if len(heard):
            np.add.at(self.readings, heard, 1)
            self._heard(batch, good, heard)
            np.maximum.at(self._heard_ns, heard, batch.time_ns if all_good else batch.time_ns[good])
        if self._judge is None:
            self._hold(batch)
        else:
            self._file(self._judge.push(batch))

    def _heard(self, batch: Batch, good: np.typing.NDArray[np.bool_], channels: np.typing.NDArray[np.int32]) -> None:
        if self._awaiting:
            new = self._fresh[channels]
            if new.any():
                self._first_readings(batch, good, new)
        time_ns = int(batch.time_ns[-1])
        for device in set(self._device_of[channels].tolist()):
            events = self._silence.heard(device, time_ns)
            if events:
                self._emit(events)

    def _missed(self, batch: Batch) -> None:
        """A port that is closed, or input nobody took in time: what a listening device says meanwhile is lost."""
        for quality, reason in MISSED.items():
            rows = batch.channel[batch.quality == quality]
            if len(rows):
                again = self._coverage.missed({c: int(self._heard_ns[c]) for c in rows.tolist()}, reason)
                self._awaiting += int((~self._fresh[again]).sum())
                self._fresh[again] = True

    def _first_readings(
        self, batch: Batch, good: np.typing.NDArray[np.bool_], new: np.typing.NDArray[np.bool_]
    ) -> None:
        for channel, time_ns in zip(batch.channel[good][new].tolist(), batch.time_ns[good][new].tolist(), strict=True):
            if self._fresh[channel]:
                self._fresh[channel] = False
                self._awaiting -= 1
                self._coverage.heard(channel, time_ns)
                if not self._heard_ns[channel] and not (self._values_sent and self._coverage.known(channel)):
                    self._firsts.append(channel)
        if not self._values_sent:
            self._values_sent = True
            self._send_firsts()

    def _send_firsts(self) -> None:
        """The first values go out without waiting for a window: the center sees a started gateway at once."""
        rows = [(c, int(self.last_ns[c]), float(self.last_value[c]), int(self.last_quality[c])) for c in self._firsts]
        self._firsts = []
        self._writer.submit(self._routes.values(rows))

    def _hold(self, batch: Batch) -> None:
        self._queue.append(batch)
        self._queued += len(batch.channel)
        while self._queued > QUEUED_ROWS:
            lost = self._queue.pop(0)
            self._queued -= len(lost.channel)
            for channel, time_ns in zip(lost.channel.tolist(), lost.time_ns.tolist(), strict=True):
                low, _ = self._overrun.get(channel, (time_ns - 1, 0))
                self._overrun[channel] = (low, time_ns + 1)

    # -- kernels and services -------------------------------------------------------------------------------------

    def begin_judging(self, judge: Judge) -> None:
        """The kernels are there: what queued goes through first."""
        self._judge = judge
        queue, self._queue, self._queued = self._queue, [], 0
        for batch in queue:
            self._file(judge.push(batch))
        if self._overrun:
            entries = tuple(((channel,), low, high) for channel, (low, high) in self._overrun.items())
            self._overrun = {}
            log.error("readings arrived faster than the kernels loaded: %d channels have a gap", len(entries))
            self._writer.submit(self._routes.gap(Gap("overrun", entries)))

    def _file(self, verdict: Verdict) -> None:
        self._closed += verdict.windows
        for channel, time_ns, value in verdict.derived:
            self.last_value[channel], self.last_ns[channel] = value, time_ns
            self.last_quality[channel] = int(Quality.GOOD)
        if verdict.events:
            self._emit(self._doubled.passing(verdict.events), verdict.learnt)

    def _all_silent(self, channels: Sequence[int]) -> bool:
        devices = set(self._device_of[list(channels)].tolist())
        return all(self._silence.is_silent(device) for device in devices)

    def _emit(self, events: Sequence[Event], learnt: Mapping[str, bytes] | None = None) -> None:
        items: list[tuple[str, Item]] = []
        news: list[Event] = []
        for event in self._maintenance.passing(events, self.standing, self._routes.devices_behind):
            if event.phase is Phase.UPDATE:
                if event.key in self.standing:
                    items += self._routes.event(event)
                    self.tell(event)
                continue
            if event.phase is Phase.CLEAR:
                if self.standing.pop(event.key, None) is None:
                    continue  # it was over before a restart
            elif event.key in self.standing:
                continue  # it stood before a restart and stands still
            else:
                self.standing[event.key] = event
            self.events += 1
            log.info("%s %s %s", event.code, event.phase.name.lower(), event.subject)
            items += self._routes.event(event)
            news.append(event)
            self.tell(event)
        self._writer.submit(items, events=news, learnt=learnt)

    def emit(self, events: Sequence[Event]) -> None:
        """Events that no reading brought about."""
        if events:
            self._emit(events)

    def meter_replaced(self, channels: Sequence[int]) -> None:
        """The next readings of these counters are no step from those before."""
        if self._judge is not None:
            self._judge.meter_replaced(channels)

    def recall(self, before: Engine, channels: Mapping[int, int]) -> None:
        """The latest readings of channels that go on, by their numbers here and those they had `before`."""
        if channels:
            now, then = np.array(list(channels), np.int64), np.array(list(channels.values()), np.int64)
            for name in ("last_value", "last_ns", "last_quality", "readings", "_heard_ns"):
                getattr(self, name)[now] = getattr(before, name)[then]

    def kept(self) -> NDArray[np.float64] | None:
        """f64[channels]: latest values behind their filters; None before the kernels are there."""
        return None if self._judge is None else self._judge.kept()

    def bands(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """f64[channels] twice: between which values the next reading would be nothing new to its detector."""
        return None if self._judge is None else self._judge.bands()

    def set_clock(self, utc_offset_ns: int) -> None:
        if self._judge is not None:
            self._judge.set_clock(utc_offset_ns)

    def report(self, time_ns: int, facts: Callable[[Upstream], Mapping[str, str | int | float]]) -> None:
        """State of the gateway itself, as far as it is the business of each upstream."""
        self._writer.submit(self._routes.health(time_ns, facts))

    def devices_of(self, upstream: Upstream) -> set[str]:
        """Devices whose state is the business of `upstream`."""
        return self._routes.devices_of(upstream)

    # -- time -----------------------------------------------------------------------------------------------------

    def next_deadline_ns(self) -> int | None:
        return self._silence.next_deadline_ns()

    def overdue(self, now_ns: int, link_is_down: Callable[[str], bool]) -> Sequence[Event]:
        """Devices whose deadline has passed, and links that are down; told as alarms here already."""
        events = self._silence.overdue(now_ns, link_is_down)
        if events:
            self._emit(events)
        return events

    def tick(self, now_ns: int) -> None:
        """Close due windows of silent channels, commit closed ones together, send late first values and gaps."""
        self.emit(self._maintenance.due(now_ns))
        self.emit(self._doubled.due(now_ns))
        if self._judge is not None:
            self._file(self._judge.due(now_ns))
            self._keep(self._judge, now_ns)
        if self._firsts and self._values_sent:
            self._send_firsts()
        self._flush(now_ns)

    def _keep(self, judge: Judge, now_ns: int) -> None:
        """A share of what is learnt, so that all of it is kept once in LEARNT_NS and no commit is large."""
        if not self._unsaved:
            if now_ns - self._round_ns < LEARNT_NS // 2:
                return
            self._round_ns, self._unsaved = now_ns, judge.memories
            self._share = -(-len(self._unsaved) * TICK_NS * 2 // LEARNT_NS)
        names, self._unsaved = self._unsaved[: self._share], self._unsaved[self._share :]
        self._writer.submit((), learnt=judge.learnt(now_ns, names))

    def _flush(self, now_ns: int, *, closing: bool = False) -> None:
        gaps = self._coverage.take()
        items: list[tuple[str, Item]] = [item for gap in gaps for item in self._routes.gap(gap)]
        rows, self._closed = sorted(self._closed, key=lambda row: (row.end_ns, row.channel)), []
        items += self._routes.windows(rows)
        draft = None
        if closing:
            draft = Draft(levels=self._judge.levels() if self._judge else {}, time_ns=now_ns)
        elif self._judge is not None and (rows or now_ns >= self._draft_due_ns):
            draft = self._draft(self._judge, now_ns)
            self._draft_due_ns = now_ns + max(DRAFT_NS, len(draft.coverage) * DRAFT_NS_A_CHANNEL)
        self._writer.submit(items, coverage=self._covered(rows), draft=draft)

    def _draft(self, judge: Judge, now_ns: int) -> Draft:
        """What a kill would otherwise take: the open windows as they are now."""
        rows = [row for row in judge.open_windows(now_ns) if row.n]
        return Draft(tuple(self._routes.windows(rows)), self._covered(rows), judge.levels(), now_ns)

    def _covered(self, rows: Sequence[Window]) -> dict[str, int]:
        """By channel name, the last reading that windows in order of time hold."""
        return {self._plan.channels[row.channel].name: row.last_ns for row in rows if row.n}

    def close(self) -> None:
        """A clean stop: every open window is closed and committed as it is."""
        now_ns = boottime_ns()
        if self._firsts:
            self._send_firsts()
        if self._judge is not None:
            self._closed += self._judge.close_all(now_ns)
            self._writer.submit((), learnt=self._judge.learnt(now_ns))
        self._coverage.give_up(now_ns)
        self._flush(now_ns, closing=True)

    @property
    def silent(self) -> list[str]:
        return sorted(self._silence.silent())
