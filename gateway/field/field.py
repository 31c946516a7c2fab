"""One compiled plan, running: its links, engine, spool and control socket, from the first poll to the last commit.

Order at the start: open the spool, poll, send first values; only then load the kernels. Where another plan follows,
the links that both have alike are handed over open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.field import bench, control
from gateway.field.acknowledged import Acknowledged
from gateway.field.audited import Audited
from gateway.field.background import in_background
from gateway.field.carry import Carry
from gateway.field.clock import BootClock, boottime_ns
from gateway.field.commands import Commands
from gateway.field.coverage import Coverage, asked, listening
from gateway.field.engine import Engine
from gateway.field.lock import StateLock
from gateway.field.maintenance import Maintenance
from gateway.field.ongoing import Ongoing, same_links
from gateway.field.record import Recorder, recorder
from gateway.field.remembered import Remembered
from gateway.field.scheduler import LinkRunner
from gateway.field.shown import Shown
from gateway.field.telling import Telling
from gateway.field.watchdog import Watchdog
from gateway.field.work import Refused as WorkRefused
from gateway.field.work import Work
from gateway.field.writer import SpoolWriter
from gateway.notify import notify
from gateway.site.plan import Kind, Plan
from gateway.spool import tail, ways
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError
from protocols.api import Batch, Quality

log = logging.getLogger("citygate.field")

TICK_S = 1.0
FIRST_COMMIT_S = 2.0  # polling does not wait longer for a disk that is slow
LEVELS_NS = 600_000_000_000  # baselines older than this may have drifted away
MEMORY_NS = 60_000_000_000  # what a kill may let in again
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
        self._clock = BootClock()
        self._watchdog = Watchdog()
        self._is_stuck = False
        self._lock = StateLock(self._state)
        self._recorder: Recorder | None = None
        try:
            if record:
                self._recorder = recorder(record, plan, self._clock.offset_ns)
            self._open(since_ns)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, since_ns: int) -> None:
        plan, state = self._plan, self._state
        self.spool = Spool.open(state / "spool.db", role="writer", limit_mb=plan.spool_limit_mb)
        self.spool.clock_unset()
        self._clock.enter(self.spool)
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
            listens=listening(plan) - self._going_on(plan),
            asked=asked(plan),
            going_on=self._going_on(plan),
        )
        maintenance = Maintenance(plan)
        offset_ns = self._clock.offset_ns if self._clock.is_set else None
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
        self._remembered = Remembered(self.links, self._learnt, self.links.keys() - going.keys())
        self._work.begin(self.engine, self.links, self.spool, self.writer)
        self._commands = Commands(plan, maintenance.is_on)
        self._commands.begin(self.links, self.engine.emit, self.engine.standing)
        self._audited = Audited(plan, self.writer, self._learnt, boottime_ns)
        acknowledged = Acknowledged(state, self.engine.standing.keys)
        self.shown = Shown(
            plan, self.engine, self.links, self._work, self.writer, self.spool.path, self._clock, self._started_ns
        )
        self._telling = Telling(plan, self.engine, self.shown.health, acknowledged.shown)
        self.engine.tell, acknowledged.told = self._telling.heard, self._telling.said
        self._panel: control.Errands = {
            "follow": self._telling.follow,
            "acknowledge": acknowledged.acknowledge,
            "log": _logged,
        }
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
        self.shown.ways = ways.Listener(self.spool.path)
        shown: control.Answers = {"live": self.shown.live, "health": self.shown.health}
        server = await control.serve(self._socket, shown, self.write, errands)
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
        self._remembered.keep(self.writer)
        self.engine.close()
        await self._work.keep()
        await self._work.freezer.settle()
        if self._recorder is not None:
            self._recorder.close()
        server.close()
        self._telling.close()
        self.shown.ways.close()
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
        return Judge(self._plan, self._started_ns, self._clock.offset_ns, known, self._levels, learnt)

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
            if self._clock.is_set and not self.writer.held:
                await asyncio.to_thread(self._audited.turn)
            with contextlib.suppress(SpoolError):  # the disk refuses: tried again with the next tick
                if await asyncio.to_thread(self._clock.enter, self.spool):
                    self.engine.set_clock(self._clock.offset_ns)
            if boottime_ns() >= health_due_ns:
                health_due_ns = boottime_ns() + HEALTH_NS
                waiting = await asyncio.to_thread(self.shown.depth)
                self.engine.report(boottime_ns(), partial(self.shown.facts, waiting=waiting))
            if boottime_ns() >= memory_due_ns:
                memory_due_ns = boottime_ns() + MEMORY_NS
                self._remembered.keep(self.writer)
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


async def _logged(request: Mapping[str, Any]) -> dict[str, Any]:
    """The last lines that this half has logged."""
    return {"lines": tail.tail.shown(int(request["log"]), level=str(request.get("level", "DEBUG")))}
