"""A center and a gateway's line on loopback, in one loop: real connections, real OSCORE, resources of the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.agent.desk import Desk
from gateway.agent.freshness import Freshness
from gateway.agent.line import Line
from gateway.agent.resource import About, Refused, Reply, Request, Resource, Role
from gateway.agent.tree import Asker, Tree
from gateway.center import streams
from gateway.center.agents import Agents
from gateway.center.intake import Intake, Keyring
from gateway.center.sinks import open_sink
from gateway.center.streams import Streams
from gateway.wire import coap, credentials

ALL = frozenset(Role)


LAMP = About("lamp", 'a "lamp"', change=Role.OPERATE, kind="test.lamp other", observable=True)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Lamp:
    """A resource that can be read, changed and observed, and notes what it was asked."""

    about: About = LAMP
    value: Any = 1
    asked: list[Request] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    watching: int = 0

    async def answer(self, request: Request) -> Reply:
        self.asked.append(request)
        if request.path == ("broken",):
            raise RuntimeError("a mistake of ours")
        if request.path == ("refused",):
            raise Refused(coap.BAD_REQUEST, "CG-6199", "not so", "안 됩니다")
        if request.path:
            raise Refused(coap.NOT_FOUND, "CG-6101", "nothing", "없음")
        if request.method in (coap.GET, coap.FETCH):
            return Reply.of(self.value)
        self.value = request.body()
        self.changed.set()
        return Reply.of(self.value, coap.CHANGED)

    async def changes(self, request: Request) -> AsyncIterator[Reply]:
        self.watching += 1
        try:
            while True:
                self.changed.clear()
                yield Reply.of(self.value)
                await self.changed.wait()
        finally:
            self.watching -= 1


def asker(*roles: Role, clock: Clock | None = None, largest: int = 65_536) -> Asker:
    of = clock or Clock()
    return Asker("main", frozenset(roles or ALL), Freshness(of), largest, at_s=of())


@dataclass
class Center:
    agents: Agents
    keys: Keyring
    port: int


@asynccontextmanager
async def a_center(folder: Path, agents: Agents | None = None) -> AsyncIterator[Center]:
    """With the credentials of the gateway "cab" in folder/intake; the gateway's half is folder/ours."""
    if not (folder / "ours").exists():
        credentials.create("cab", folder / "ours", folder / "intake")
    store, _ = await open_sink(str(folder / "center.db"))
    keys = Keyring(folder / "intake")
    found = agents or Agents()
    serving = Streams(Intake(store, keys, insecure=True, agents=found).answer)
    sock = streams.open_socket("127.0.0.1", 0)
    await serving.listen(sock)
    try:
        yield Center(found, keys, sock.getsockname()[1])
    finally:
        await serving.close()
        sock.close()
        keys.close()
        await store.aclose()


@dataclass
class Rig:
    agents: Agents
    keys: Keyring
    line: Line

    async def ask(self, path: str, method: int = coap.GET, body: bytes = b"", within_s: float = 5.0) -> Any:
        path, _, query = path.partition("?")
        pairs = dict(part.split("=") for part in query.split("&") if part)
        return await self.agents.ask("cab", method, path, pairs, body, within_s, 60 if body else None)


@asynccontextmanager
async def rig(
    folder: Path,
    resources: Sequence[Resource],
    roles: frozenset[Role] = ALL,
    agents: Agents | None = None,
) -> AsyncIterator[Rig]:
    async with a_center(folder, agents) as center:
        context = credentials.SecurityContext(folder / "ours")
        tree = Tree(resources)

        async def address() -> str:
            return f"127.0.0.1:{center.port}"

        desk = lambda: Desk("main", roles, context, lambda: tree)  # noqa: E731
        line = Line("main", context, address, desk, first_pause_s=0.01)
        running = asyncio.get_running_loop().create_task(line.run())
        try:
            async with asyncio.timeout(5):
                await line.up.wait()
            yield Rig(center.agents, center.keys, line)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            context.close()


async def until(what: Any, within_s: float = 5.0) -> None:
    end_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end_s, "it did not happen"
        await asyncio.sleep(0.005)
