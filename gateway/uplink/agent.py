"""The agent's place in the sending half: one standing connection to each center that may ask, one tree behind them all.

In: the site, and the ways and keys that the half sends with. Out: `Line`s, and what resources do by themselves, until
`close`. A site that is read again leaves lines alone whose upstream is as it was.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any

from gateway.agent.control import Control
from gateway.agent.desk import Desk
from gateway.agent.line import Line, ping_every_s
from gateway.agent.resource import Role
from gateway.agent.tree import Tree
from gateway.site.site import Site
from gateway.site.upstream import Upstream
from gateway.uplink import budget
from gateway.uplink.uplink import Uplink
from gateway.uplink.way import Way

FIRST_S = 2.0  # what is kept goes out before anybody asks

log = logging.getLogger("citygate.agent")


class Agent:
    """`apply` a site, after the uplink has; `leave` before it does. `begin` where what is kept should go out first."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._tree = Tree(())
        self._lines: dict[Upstream, tuple[Line, asyncio.Task[None]]] = {}
        self._working: list[asyncio.Task[None]] = []
        self._turn = asyncio.Lock()
        self._beginning: asyncio.Task[None] | None = None

    def begin(self, site: Site) -> None:
        """`apply` in a moment."""
        self._beginning = asyncio.get_running_loop().create_task(
            _kept("the agent", lambda: self._begin(site)), name="agent"
        )

    async def leave(self, upstreams: Sequence[Upstream]) -> None:
        """Close the lines to all but these: their keys may be closed next."""
        gone = [one for one in self._lines if one not in upstreams]
        await _ended([self._lines.pop(one)[1] for one in gone])

    async def apply(self, site: Site) -> None:
        if self._beginning is not None:
            self._beginning.cancel()
        async with self._turn:
            await self._apply(site)

    async def close(self) -> None:
        if self._beginning is not None:
            self._beginning.cancel()
        async with self._turn:
            await self.leave(())
            await self._rest()

    # -- inside

    async def _begin(self, site: Site) -> None:
        await asyncio.sleep(FIRST_S)
        async with self._turn:
            await self._apply(site)

    async def _apply(self, site: Site) -> None:
        allowed = [one for one in site.upstreams if one.agent]
        wanted = [one for one in allowed if self._uplink.context(one) is not None]
        await self.leave(wanted)
        if not allowed:  # a gateway that nobody may ask needs none of it
            await self._rest()
            self._tree = Tree(())
            return
        compose = await asyncio.to_thread(import_module, "gateway.agent.compose")
        lines = {one: self._lines[one][0] if one in self._lines else self._line(one) for one in wanted}
        await self._rest()
        resources = compose.resources(site, Control(site.state_dir), tuple(lines.values()), self._uplink.shown)
        self._tree = Tree(resources)
        loop = asyncio.get_running_loop()
        for resource in resources:
            run: Callable[[], Awaitable[None]] | None = getattr(resource, "run", None)
            if run is not None:
                self._working.append(loop.create_task(_kept(resource.about.path, run), name=resource.about.path))
        for upstream, line in lines.items():
            if upstream not in self._lines:
                self._lines[upstream] = (line, loop.create_task(line.run(), name=f"agent {upstream.name}"))

    def _line(self, upstream: Upstream) -> Line:
        context, way = self._uplink.context(upstream), self._uplink.way(upstream)
        roles = frozenset(map(Role, upstream.agent))
        return Line(
            upstream.name,
            context,
            way.address,
            lambda: Desk(upstream.name, roles, context, lambda: self._tree),
            spent=_counted(way),
            ping_s=ping_every_s(upstream.monthly_mb),
        )

    async def _rest(self) -> None:
        working, self._working = self._working, []
        await _ended(working)


def _counted(way: Way) -> Callable[[socket.socket | None, bool], None]:
    """What a connection has cost, into its upstream's budget; each one from 0."""
    counted = 0

    def spent(sock: socket.socket | None, ended: bool) -> None:
        nonlocal counted
        passed = max(counted, budget.passed(sock, ended=ended))
        way.carried(passed - counted, True)
        counted = 0 if ended else passed

    return spent


async def _kept(what: str, run: Callable[[], Awaitable[None]]) -> None:
    """What the agent does by itself must not end the half that sends."""
    try:
        await run()
    except Exception:
        log.exception("CG-6113 what %s does by itself has ended", what)


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("the agent: %r", result)
