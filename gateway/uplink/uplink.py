"""The sending half: one `Lanes` (or `Instances`) an upstream over one spool. In: upstreams and a spool path. Never
touches a device.

`apply` takes another list of upstreams while running: those unchanged go on undisturbed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gateway.site.upstream import Upstream
from gateway.spool import wake, ways
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError, Trouble
from gateway.uplink.budget import Budget
from gateway.uplink.columns import Columns
from gateway.uplink.lanes import POLL_S, Lanes
from gateway.uplink.onem2m import Instances
from gateway.uplink.sparing import Clock
from gateway.uplink.way import Way
from gateway.wire.credentials import SecurityContext

log = logging.getLogger("citygate.uplink")


class Uplink:
    """Made inside a running loop; `close` ends it."""

    def __init__(self, gateway: str, spool_path: str | Path, *, limit_mb: float = 64, timezone: str = "") -> None:
        """`timezone`: whose calendar months a byte budget follows. Raises SpoolError."""
        self._timezone = timezone
        self._gateway = gateway
        self._path = Path(spool_path)
        self._limit_mb = limit_mb
        self._spool = Spool.open(self._path, role="reader", limit_mb=limit_mb)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._contexts: dict[str, SecurityContext] = {}
        self._running: dict[Upstream, tuple[Lanes | Instances, asyncio.Task[None]]] = {}
        self._ways: dict[str, Way] = {}
        self._listener = wake.Listener(self._path, self._heard)
        self._watch = asyncio.get_running_loop().create_task(self._follow_file())
        self._telling = asyncio.get_running_loop().create_task(self._tell())
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def apply(self, upstreams: Sequence[Upstream]) -> list[Trouble]:
        """Send to these and no others. Returns why some of them cannot be used; the rest run."""
        await self._end([upstream for upstream in self._running if upstream not in upstreams])
        faults: list[Trouble] = []
        for upstream in upstreams:
            if upstream in self._running:
                continue
            try:
                self._start(upstream)
            except Trouble as bad:
                log.error("upstream %s is not served: %s", upstream.name, bad)
                faults.append(bad)
        return faults

    async def until(self, *events: asyncio.Event) -> None:
        """Wait for one of `events`. Raises what a sender died of: a mistake of ours must not stop it silently."""
        waits = [asyncio.get_running_loop().create_task(event.wait()) for event in events]
        ends: list[asyncio.Future[Any]] = [*waits, self._broken]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if self._broken.done():
            self._broken.result()

    def context(self, upstream: Upstream) -> SecurityContext | None:
        """Under which this upstream is spoken to; None for one that is insecure or not served."""
        return self._contexts.get(upstream.credentials) if upstream in self._running else None

    def way(self, upstream: Upstream) -> Way:
        """Raises KeyError for an upstream that is not served."""
        return self._ways[upstream.name]

    async def look(self) -> None:
        """Return once the spool was asked for how much waits, in the thread all of it is read by. Raises SpoolError."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._spool.depth)

    async def close(self) -> None:
        self._watch.cancel()
        self._telling.cancel()
        self._broken.cancel()
        self._listener.close()
        await self._end(list(self._running))
        self._executor.shutdown()
        self._spool.close()
        for context in self._contexts.values():
            context.close()

    def _start(self, upstream: Upstream) -> None:
        context = None
        if upstream.insecure:
            log.warning("upstream %s is insecure: anybody on the way can read and alter it", upstream.name)
        else:
            context = self._contexts.get(upstream.credentials)
            if context is None:
                context = self._contexts[upstream.credentials] = SecurityContext(upstream.credentials)
        way = self._ways[upstream.name] = Way(upstream, self._gateway, context)
        lanes: Lanes | Instances
        if upstream.format == "onem2m":
            lanes = Instances(way, upstream, lambda: self._spool, self._executor)
        else:
            columns = Columns() if upstream.format == "columnar" else None
            clock = Clock(self._timezone)
            budget = (
                Budget(self._path.parent, upstream.name, upstream.monthly_mb, local=clock.local)
                if upstream.monthly_mb
                else None
            )
            lanes = Lanes(way, lambda: self._spool, self._executor, columns=columns, budget=budget, clock=clock)
        task = asyncio.get_running_loop().create_task(lanes.run(), name=f"upstream {upstream.name}")
        task.add_done_callback(self._ended)
        self._running[upstream] = (lanes, task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (bad := task.exception()) and not self._broken.done():
            self._broken.set_exception(bad)

    async def _end(self, upstreams: Sequence[Upstream]) -> None:
        tasks = [self._running.pop(upstream)[1] for upstream in upstreams]
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("an upstream ended badly: %r", result)
        used = {upstream.credentials for upstream in self._running}
        for folder in [folder for folder in self._contexts if folder not in used]:
            self._contexts.pop(folder).close()

    def _heard(self, hint: bytes) -> None:
        for lanes, _ in self._running.values():
            lanes.hint(hint == wake.ALARM)

    def shown(self) -> dict[str, dict[str, Any]]:
        """How each way is, for people: see gateway.spool.ways."""
        return {one.name: self._ways[one.name].shown(lanes.state) for one, (lanes, _) in self._running.items()}

    async def _tell(self) -> None:
        """The half that polls learns how the ways are: at once when one changes, else now and then."""
        teller = ways.Teller(self._path)
        before, told_s = "", -ways.EVERY_S
        try:
            while True:
                shown, now_s = self.shown(), time.monotonic()
                states = repr([(name, way["state"], way["open"]) for name, way in shown.items()])
                if states != before or now_s - told_s >= ways.EVERY_S:
                    teller.tell(shown)
                    before, told_s = states, now_s
                await asyncio.sleep(POLL_S)
        finally:
            teller.close()

    async def _follow_file(self) -> None:
        """The writer may put a corrupt spool aside and start a new file: read that one then."""
        while True:
            await asyncio.sleep(POLL_S)
            if not self._spool.moved():
                continue
            try:
                fresh = Spool.open(self._path, role="reader", limit_mb=self._limit_mb)
            except SpoolError:
                continue
            old, self._spool = self._spool, fresh
            await asyncio.get_running_loop().run_in_executor(self._executor, old.close)
            log.warning("the spool was replaced; reading the new one")


async def run(
    gateway: str, upstreams: Sequence[Upstream], spool_path: str | Path, *, stop: asyncio.Event, limit_mb: float = 64
) -> None:
    """Send until `stop`. Raises SpoolError for the spool, Trouble when not one upstream can be used."""
    uplink = Uplink(gateway, spool_path, limit_mb=limit_mb)
    try:
        faults = await uplink.apply(upstreams)
        if faults and len(faults) == len(upstreams):
            raise faults[0]
        await uplink.until(stop)
    finally:
        await uplink.close()
