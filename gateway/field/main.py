"""`citygate field SITE.toml`: the whole field half as one process.

Order at the start: open the spool, poll, send first values; only then load the kernels. SIGHUP reads the site again
and keeps the old one if anything is wrong with it; SIGTERM and Ctrl-C finish the readings in flight, close the
windows and commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway import VERSION
from gateway.field import bench, control
from gateway.field.acknowledged import Acknowledged
from gateway.field.audited import Audited
from gateway.field.background import in_background, leave
from gateway.field.carry import Carry
from gateway.field.clock import boottime_ns, known_utc_offset, process_start_ns, utc_offset
from gateway.field.commands import Commands
from gateway.field.configuration import Configuration
from gateway.field.coverage import Coverage
from gateway.field.engine import Engine
from gateway.field.lock import StateLock
from gateway.field.maintenance import Maintenance
from gateway.field.ongoing import Ongoing, same_links
from gateway.field.record import Recorder
from gateway.field.scheduler import LinkRunner
from gateway.field.telling import Telling
from gateway.field.watchdog import Watchdog
from gateway.field.work import Refused as WorkRefused
from gateway.field.work import Work
from gateway.field.writer import SpoolWriter
from gateway.notify import notify
from gateway.site.faults import Faults
from gateway.site.plan import Kind, Plan
from gateway.site.upstream import AGENCY, Upstream
from gateway.spool import tail, ways
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError
from gateway.spool.waits import Waiting, waits
from protocols import registry
from protocols.api import Batch, Quality

log = logging.getLogger("citygate.field")

TICK_S = 1.0
FIRST_COMMIT_S = 2.0  # polling does not wait longer for a disk that is slow
LEVELS_NS = 600_000_000_000  # baselines older than this may have drifted away
MEMORY, MEMORY_NS = "link/", 60_000_000_000  # names in the spool, and how often: what a kill may let in again
FIRST_HEALTH_NS, HEALTH_NS = 3_000_000_000, 600_000_000_000


class Field:
    """One compiled plan, running."""

    def __init__(
        self,
        plan: Plan,
        since_ns: int = 0,
        record: str | None = None,
        *,
        ongoing: Ongoing | None = None,
        before: Field | None = None,
        errands: control.Errands = MappingProxyType({}),
    ) -> None:
        """`since_ns`: when the process began, for its first plan. `record`: a file for raw readings. `ongoing`: links
        that run already, under the plan `before`. `errands`: more that the control socket takes. Raises SpoolError;
        then nothing is held."""
        self._ongoing = ongoing or Ongoing()
        self._before = before
        self._more = errands
        self.following: Callable[[], Plan | None] = lambda: None  # the plan after this one, when this one ends
        self._state = Path(plan.state_dir)
        self._plan = plan
        self._started_ns = boottime_ns()
        self._offset_ns, self._uncertainty_ns = utc_offset()
        self._clock_is_set = False
        self._watchdog = Watchdog()
        self._is_stuck = False
        self._lock = StateLock(self._state)
        self._recorder: Recorder | None = None
        try:
            if record:
                self._recorder = _recorder(record, plan, self._offset_ns)
            self._open(since_ns)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, since_ns: int) -> None:
        plan, state = self._plan, self._state
        self.spool = Spool.open(state / "spool.db", role="writer", limit_mb=plan.spool_limit_mb)
        self.spool.clock_unset()
        self._set_clock()
        covered_boot, covered = self.spool.coverage()
        standing = self.spool.standing()
        self._standing = standing
        at_ns, levels = self.spool.levels()
        self._learnt = self.spool.learnt()
        self._levels = levels if self._started_ns - at_ns < LEVELS_NS else {}
        self.writer = SpoolWriter(
            self.spool,
            self.spool.put_catalog(plan.catalog),
            covered if covered_boot == self.spool.boot else {},
        )
        coverage = Coverage(
            plan.channels,
            covered,
            boot=self.spool.boot,
            covered_boot=covered_boot,
            clean=self.spool.was_clean,
            started_ns=self._started_ns,
            since_ns=since_ns,
            listens=_listening(plan) - self._going_on(plan),
            asked=_asked(plan),
            going_on=self._going_on(plan),
        )
        maintenance = Maintenance(plan)
        offset_ns = self._offset_ns if self._clock_is_set else None
        ended = maintenance.restore(state, standing, self._started_ns, offset_ns)
        self._carry = Carry(plan, state, maintenance.is_on)
        self._work = Work(plan, maintenance, self._carry)
        self.engine = Engine(plan, self.writer, coverage, standing, self._started_ns, maintenance)
        self.engine.begin()
        self.engine.emit(ended)
        self.writer.turn(FIRST_COMMIT_S)
        going = {name: one.runner for name, one in self._ongoing.running.items()}
        for name, runner in going.items():
            runner.fell_out = self._work.freezer.fell_out
            if runner.tape is not None and name in self._work.tapes:
                self._work.tapes[name] = runner.tape
        self.links = {
            link.link.name: going.get(link.link.name)
            or LinkRunner(
                link,
                self._take,
                number / len(plan.links),
                tape=self._work.tapes.get(link.link.name),
                fell_out=self._work.freezer.fell_out,
            )
            for number, link in enumerate(plan.links)
        }
        for name, runner in self.links.items():
            if name not in going:
                runner.memory = _memory(self._learnt.get(f"{MEMORY}{name}", b""))
        self._told_memory = {name: dict(runner.memory) for name, runner in self.links.items()}
        self._work.begin(self.engine, self.links, self.spool, self.writer)
        self._commands = Commands(plan, maintenance.is_on)
        self._commands.begin(self.links, self.engine.emit, self.engine.standing)
        self._audited = Audited(plan, self.writer, self._learnt, boottime_ns)
        acknowledged = Acknowledged(state, self.engine.standing.keys)
        self._telling = Telling(plan, self.engine, self.health, acknowledged.shown)
        self.engine.tell, acknowledged.told = self._telling.heard, self._telling.said
        self._panel: control.Errands = {
            "follow": self._telling.follow,
            "acknowledge": acknowledged.acknowledge,
            "log": _logged,
        }
        self._ways: ways.Listener | None = None
        self._socket = state / "field.sock"
        if self._before is not None:
            self._recall(self._before)
            self._before = None
        self._ongoing.take_over(plan, self._take)

    def _recall(self, before: Field) -> None:
        """What was read last on links that go on."""
        numbers = {channel.name: channel.index for channel in before.plan.channels}
        ours = {c for device in self._plan.devices if device.link in self._ongoing.running for c in device.channels}
        names = {index: self._plan.channels[index].name for index in ours}
        self.engine.recall(before.engine, {index: numbers[name] for index, name in names.items() if name in numbers})

    @property
    def plan(self) -> Plan:
        return self._plan

    def good(self) -> set[str]:
        """Names of the channels whose latest reading is good."""
        engine = self.engine
        good = (engine.last_quality < Quality.SENTINEL) & (engine.last_ns > 0)
        return {channel.name for channel, is_good in zip(self._plan.channels, good.tolist(), strict=True) if is_good}

    async def acknowledged(self, within_s: float, upstream: str = "") -> bool:
        """Whether a center acknowledges a message made now: the one of that name, if one is given."""
        try:
            answer = await self._work.push({"push": upstream, "within_s": within_s, "by": "probation"})
        except WorkRefused:
            return False
        return any(one["state"] == "acknowledged" for one in answer.get("upstreams", {}).values())

    def _going_on(self, plan: Plan) -> set[int]:
        """Channels whose link was never closed."""
        return {c for device in plan.devices if device.link in self._ongoing.running for c in device.channels}

    def _take(self, batch: Batch) -> None:
        if self._recorder is not None:
            self._recorder.take(batch)
        self.engine.take(self._carry.take(batch))

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what is in flight then is finished and committed."""
        errands = {
            **bench.errands(self._plan, self.links, self.engine),
            **self._work.errands(),
            **self._commands.errands(),
            **self._panel,
            **self._more,
        }
        self._ways = ways.Listener(self.spool.path)
        server = await control.serve(self._socket, {"live": self.live, "health": self.health}, self.write, errands)
        log.info("polling %d devices on %d links", len(self._plan.devices), len(self.links))
        async with asyncio.TaskGroup() as group:
            for name, runner in self.links.items():
                if name not in self._ongoing.running:
                    self._ongoing.start(runner, self._plan)
            group.create_task(self._watch_links(stop), name="links")
            group.create_task(self._tick(stop), name="tick")
            group.create_task(self._watch_silence(stop), name="silence")
            group.create_task(self._load_judge(stop), name="kernels")
            group.create_task(self._commands.run(stop), name="commands")
        following = self.following()
        going = same_links(self._plan, following) if following is not None else frozenset()
        self._ongoing.hold(going)
        await self._ongoing.end(going)
        self._remember()
        self.engine.close()
        await self._work.keep()
        await self._work.freezer.settle()
        if self._recorder is not None:
            self._recorder.close()
        server.close()
        self._telling.close()
        self._ways.close()
        with contextlib.suppress(OSError):  # a file system that went read-only keeps it; the next start replaces it
            self._socket.unlink()
        committed = await asyncio.to_thread(self.writer.close)
        if committed:
            self.spool.mark_clean()
        else:
            log.error("%d records could not be committed and are lost", self.writer.held)
        self.spool.close()
        self._lock.release()
        log.info("stopped")

    def _remember(self) -> None:
        """What readers must not believe again goes to the spool where it changed."""
        now = {name: dict(runner.remembered()) for name, runner in self.links.items()}
        changed = {name: one for name, one in now.items() if one != self._told_memory.get(name, {})}
        if changed:
            self._told_memory = now
            self.writer.submit(
                (), learnt={f"{MEMORY}{name}": json.dumps(one).encode() for name, one in changed.items()}
            )

    async def _watch_links(self, stop: asyncio.Event) -> None:
        """What a link's task dies of ends the process: a mistake of ours must not stop a link silently."""
        broken, over = asyncio.ensure_future(self._ongoing.broken()), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((broken, over), return_when=asyncio.FIRST_COMPLETED)
            if broken.done():
                broken.result()
        finally:
            broken.cancel()
            over.cancel()

    async def _load_judge(self, stop: asyncio.Event) -> None:
        """Numba is imported after the first readings are on their way, in a thread that nobody waits for: where nothing
        is cached it compiles for longer than a stop may take."""
        await asyncio.sleep(TICK_S / 4)
        loading = in_background(self._make_judge, "kernels")
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not loading.done():
            return
        self.engine.begin_judging(loading.result())
        log.info("every reading is judged: kernels loaded")

    def _make_judge(self) -> Any:
        # numba loads scipy where it is installed, for linear algebra: 13 MB that no kernel uses
        sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]
        from gateway.field.judge import Judge, warm

        warm(loops=any(channel.kind is Kind.WAVEFORM for channel in self._plan.channels))
        learnt, self._learnt = self._learnt, {}
        known = [*self._standing, *self._work.maintenance.held.values()]  # what is held is no news to it either
        return Judge(self._plan, self._started_ns, self._offset_ns, known, self._levels, learnt)

    async def _tick(self, stop: asyncio.Event) -> None:
        ready = False
        health_due_ns = self._started_ns + FIRST_HEALTH_NS
        memory_due_ns = self._started_ns + MEMORY_NS
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await stop.wait()
            self.engine.tick(boottime_ns())
            await self._work.keep()
            if self._clock_is_set and not self.writer.held:
                await asyncio.to_thread(self._audited.turn)
            with contextlib.suppress(SpoolError):  # the disk refuses: tried again with the next tick
                if await asyncio.to_thread(self._set_clock):
                    self.engine.set_clock(self._offset_ns)
            if boottime_ns() >= health_due_ns:
                health_due_ns = boottime_ns() + HEALTH_NS
                waiting = await asyncio.to_thread(self._depth)
                self.engine.report(boottime_ns(), lambda upstream, waiting=waiting: self._facts(upstream, waiting))  # type: ignore[misc]
            if boottime_ns() >= memory_due_ns:
                memory_due_ns = boottime_ns() + MEMORY_NS
                self._remember()
            self._feed()
            if not ready:
                ready = True
                notify("READY=1\nSTATUS=polling")

    def _feed(self) -> None:
        """Tell systemd's watchdog that polls and commits end; where one hangs, tell why it will be killed."""
        stuck = self._watchdog.stuck(
            [*(link.pulse() for link in self.links.values()), self.writer.pulse()], boottime_ns()
        )
        if not stuck:
            self._is_stuck = False
            notify("WATCHDOG=1")
        elif not self._is_stuck:
            self._is_stuck = True
            names = ", ".join(f"{name} ({waited_s:.0f} s)" for name, waited_s in stuck.items())
            log.critical("CG-6005 no end of work in sight: %s. The watchdog is not fed any more", names)
            notify(f"STATUS=stuck: {names}")

    def _set_clock(self) -> bool:
        """Enter the boot's offset to UTC once it is known, and again whenever the clock was set. True where it was.
        Raises SpoolError; then nothing is changed."""
        known = known_utc_offset()
        if known is None:
            return False
        has_moved = abs(known[0] - self._offset_ns) > max(1_000_000, known[1] // 4)
        is_surer = known[1] < self._uncertainty_ns // 2
        if self._clock_is_set and not has_moved and not is_surer:
            return False
        self.spool.set_offset(*known)
        if not self._clock_is_set:
            log.info("the clock is set, to within %.3f s", known[1] / 1e9)
        self._offset_ns, self._uncertainty_ns = known
        self._clock_is_set = True
        return True

    async def _watch_silence(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            deadline_ns = self.engine.next_deadline_ns()
            wait_s = TICK_S if deadline_ns is None else (deadline_ns - boottime_ns()) / 1e9
            if wait_s <= 0:
                for told in self.engine.overdue(boottime_ns(), lambda link: not self.links[link].up):
                    if told.code == "health.device_silent":
                        device = self._plan.device(told.subject)
                        self._work.freezer.fell_out(device.link, device.name, "silent")
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, TICK_S)):
                    await stop.wait()

    def _depth(self) -> dict[str, int]:
        """Records waiting, by upstream and lane. Not from the event loop: it reads the disk."""
        return {lane: one.records for lane, one in self._waiting().items()}

    def _waiting(self) -> dict[str, Waiting]:
        try:
            return {f"{u}/{lane.name.lower()}": one for (u, lane), one in waits(self.spool.path).items()}
        except SpoolError:
            return {}

    def _oldest_s(self, waiting: Mapping[str, Waiting]) -> float | None:
        """Age of the oldest record that waits, as far as the clock can tell."""
        known = [one.oldest_utc_ns for one in waiting.values() if one.oldest_utc_ns is not None]
        if not known or not self._clock_is_set:
            return None
        return max(0.0, round((boottime_ns() + self._offset_ns - min(known)) / 1e9, 1))

    def _facts(self, upstream: Upstream, waiting: Mapping[str, int]) -> dict[str, str | int | float]:
        """What `upstream` must know of the box itself, as short as it can be said."""
        seen = self.engine.devices_of(upstream)
        links = {self._plan.device(name).link for name in seen}
        down = [name for name in links if name in self.links and not self.links[name].up]
        quarantined = [name for runner in self.links.values() for name in runner.quarantined]
        facts: dict[str, str | int | float] = {
            "version": VERSION,
            "mode": self._plan.mode,
            "uptime_s": round((boottime_ns() - self._started_ns) / 1e9),
            "clock_uncertainty_s": round(self._uncertainty_ns / 1e9, 3),
            "links": len(links),
            "links_down": len(down),
            "devices_quarantined": len(seen.intersection(quarantined)),
            "devices_silent": len(seen.intersection(self.engine.silent)),
            "overruns": sum(self.links[name].overruns for name in links if name in self.links),
            "commits_refused": self.writer.refused,
        }
        if upstream.role == AGENCY:  # who else is told, and how much waits for them, is not an agency's business
            own = f"{upstream.name}/"
            facts["spool_records"] = sum(count for lane, count in waiting.items() if lane.startswith(own))
            return facts | ({"insecure": upstream.name} if upstream.insecure else {})
        facts["spool_records"] = sum(waiting.values())
        insecure = [u.name for u in self._plan.upstreams if u.insecure]
        return facts | ({"insecure": ", ".join(insecure)} if insecure else {})

    # -- what the control socket tells ----------------------------------------------------------------------------

    def live(self) -> dict[str, Any]:
        """Latest value of every channel and the alarms that stand."""
        engine, now_ns = self.engine, boottime_ns()
        return {
            "gateway": self._plan.gateway,
            "boottime_ns": now_ns,
            "channels": [
                {
                    "name": channel.name,
                    "unit": channel.unit,
                    "label": {"en": channel.label_en, "ko": channel.label_ko},
                    "unproven": channel.unproven,
                    "word": dict(channel.words).get(round(value), "") if channel.words and value == value else "",
                    "value": None if math.isnan(value) else value,
                    "quality": quality,
                    "age_s": round((now_ns - last_ns) / 1e9, 3) if last_ns else None,
                    "readings": readings,
                }
                for channel, value, quality, last_ns, readings in zip(
                    self._plan.channels,
                    engine.last_value.tolist(),
                    engine.last_quality.tolist(),
                    engine.last_ns.tolist(),
                    engine.readings.tolist(),
                    strict=True,
                )
            ],
            "alarms": [
                {
                    "code": e.code,
                    "subject": e.subject,
                    "since_ns": e.onset_ns,
                    "en": e.text_en,
                    "ko": e.text_ko,
                }
                for e in engine.standing.values()
            ],
        }

    async def write(self, name: str, value: float) -> dict[str, Any]:
        """Write one point, ahead of all polls; what became of it in words. Refused unless its profile declares it."""
        channel = next((channel for channel in self._plan.channels if channel.name == name), None)
        if channel is None:
            return {"quality": "unknown", "value": None, "detail": f"no channel is called {name}"}
        link = self.links[self._plan.device(channel.device).link]
        async with self._commands.by_hand(name) as took:
            written = await link.write(channel.index, value)
            if written.quality == Quality.GOOD:
                took()
        quality = Quality(written.quality).name.lower()
        log.warning("write %s = %g: %s %s", name, value, quality, written.detail)
        read_back = None if math.isnan(written.value) else written.value
        return {"quality": quality, "value": read_back, "detail": written.detail}

    async def health(self) -> dict[str, Any]:
        """Links, devices, spool."""
        waiting = await asyncio.to_thread(self._waiting)
        return {
            "gateway": self._plan.gateway,
            "mode": self._plan.mode,
            "upstreams": {
                u.name: {"role": u.role, "uri": u.uri, "format": u.format, "insecure": u.insecure}
                for u in self._plan.upstreams
            },
            "ways": self._ways.ways() if self._ways is not None else None,
            "uptime_s": round((boottime_ns() - self._started_ns) / 1e9, 1),
            "clock": {"uncertainty_s": utc_offset()[1] / 1e9, "is_set": self._clock_is_set},
            "readings": int(self.engine.readings[self.engine.counted].sum()),
            "events": self.engine.events,
            "links": {
                name: {
                    "up": runner.up,
                    "fault": None if runner.fault is None else f"{runner.fault} [{runner.fault.code}]",
                    "polls": runner.polls,
                    "overruns": runner.overruns,
                    "reconnects": runner.reconnects,
                    "quarantined": runner.quarantined,
                    "planned": round(runner.planned, 4),
                    "used": round(runner.used, 4),
                    "devices": runner.learned(),
                    "identity": runner.identity,
                    "counters": dict(runner.reader.counters) if runner.reader is not None else {},
                }
                for name, runner in self.links.items()
            },
            "silent": self.engine.silent,
            **self._work.shown(),
            "spool": {
                "depth": {lane: one.records for lane, one in waiting.items()},
                "oldest_s": self._oldest_s(waiting),
                "commits": self.writer.commits,
                "refused": self.writer.refused,
                "held": self.writer.held,
                "fault": None if self.writer.fault is None else str(self.writer.fault),
            },
            "insecure": [u.name for u in self._plan.upstreams if u.insecure],
            "version": VERSION,
        }


async def _logged(request: Mapping[str, Any]) -> dict[str, Any]:
    """The last lines that this half has logged."""
    return {"lines": tail.tail.shown(int(request["log"]), level=str(request.get("level", "DEBUG")))}


def _memory(blob: bytes) -> dict[str, int]:
    """Counters by device, as `_remember` kept them."""
    try:
        found = json.loads(blob) if blob else {}
        return {str(name): int(count) for name, count in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _listening(plan: Plan) -> set[int]:
    """Channels of devices that speak by themselves."""
    channels = {index for device in plan.devices if device.listens for index in device.channels}
    return {i for i in channels if plan.channels[i].kind is not Kind.WAVEFORM and not plan.channels[i].derived}


def _asked(plan: Plan) -> set[int]:
    """Those of them whose first reading is the answer to a question."""
    drivers = {link.link.name for link in plan.links if registry.driver(link.driver).asks_first}
    return {index for device in plan.devices if device.link in drivers for index in device.channels}


def _recorder(path: str, plan: Plan, utc_offset_ns: int) -> Recorder:
    try:
        return Recorder(Path(path), plan, utc_offset_ns)
    except OSError as refused:
        raise SpoolError(
            "CG-2009",
            f"the recording {path} cannot be written ({refused.strerror})",
            f"기록 파일 {path}에 쓸 수 없습니다 ({refused.strerror})",
            next_en="Name a file in a folder that the service may write to",
            next_ko="서비스가 쓸 수 있는 폴더의 파일을 지정하십시오",
        ) from refused


def run(site: str, *, record: str | None = None) -> int:
    """The process: exit code 0 after a clean stop, 1 for a broken site, 2 for a spool that cannot be opened."""
    tail.keep()
    try:
        configuration = Configuration(site)
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1
    except SpoolError as refused:
        print(refused, file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(site, configuration, record))
    except SpoolError as refused:
        print(refused, file=sys.stderr)
        return 2
    leave(0)
    return 0


async def _serve(site: str, configuration: Configuration, record: str | None) -> None:
    loop = asyncio.get_running_loop()
    over, changed, again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    configuration.changed = changed.set
    since_ns = process_start_ns()

    def end() -> None:
        """Of the process: a plan that ends for the next one is nothing that systemd may hear of."""
        notify("STOPPING=1")
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    reading = asyncio.create_task(_read_again(site, configuration, again), name="reload")
    writing = asyncio.create_task(configuration.write_again(), name="record")
    ongoing = Ongoing()
    before: Field | None = None
    plan = configuration.plan

    def following() -> Plan | None:
        """Links go on for this plan, whatever is asked for while the old one ends: that is the turn after it."""
        nonlocal plan
        changed.clear()
        plan = configuration.plan
        return None if over.is_set() else plan

    while not over.is_set():
        field = Field(plan, since_ns, record, ongoing=ongoing, before=before, errands=configuration.errands())
        stop = asyncio.Event()
        since_ns = 0
        field.following = following
        watcher = asyncio.create_task(_first_of((over, changed), stop))
        configuration.runs(field)
        judging = asyncio.create_task(_judge(configuration, field), name="probation")
        await field.run(stop)
        watcher.cancel()
        judging.cancel()
        before = field
    await ongoing.end()
    reading.cancel()
    writing.cancel()


async def _judge(configuration: Configuration, field: Field) -> None:
    """What is on trial is kept or taken back; a file that nobody has kept yet becomes a generation."""
    try:
        await asyncio.sleep(TICK_S)
        await configuration.adopt()
        await configuration.judge(field)
    except Exception:
        log.exception("the trial of a configuration has ended badly")


async def _read_again(site: str, configuration: Configuration, again: asyncio.Event) -> None:
    """SIGHUP."""
    while True:
        await again.wait()
        again.clear()
        notify("RELOADING=1")
        if await configuration.edited():
            log.info("configuration read again: %s", site)
            notify("READY=1\nSTATUS=polling")
        else:
            notify("READY=1\nSTATUS=polling; last reload refused")


async def _first_of(events: Sequence[asyncio.Event], stop: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
    finally:
        for wait in waits:
            wait.cancel()
