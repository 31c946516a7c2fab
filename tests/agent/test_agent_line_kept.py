"""The agent in the sending half: which lines it keeps over a site that is read again, and what they cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import cbor2
import pytest
from agent_rig import Center, a_center, until

from gateway.agent import compose
from gateway.center.agents import NotAsked
from gateway.site.site import Site, load_site
from gateway.spool.spool import FILE, Spool
from gateway.uplink.agent import Agent
from gateway.uplink.uplink import Uplink
from gateway.wire import coap

SITE = """schema = 1
[gateway]
id = "cab"
state_dir = "state"
[[links]]
name = "{link}"
url = "tcp://127.0.0.1:1"
[[upstreams]]
name = "main"
uri = "coap://127.0.0.1:{port}"
credentials = "ours"
agent = {agent}
"""


def site(folder: Path, port: int, *, agent: str = '["observe"]', link: str = "bus") -> Site:
    (folder / "site.toml").write_text(SITE.format(port=port, agent=agent, link=link))
    return load_site(folder / "site.toml")


@contextlib.asynccontextmanager
async def a_gateway(folder: Path, first: Site) -> AsyncIterator[tuple[Uplink, Agent]]:
    (folder / "state").mkdir(exist_ok=True)
    Spool.open(Path(first.state_dir) / FILE, role="writer").close()
    uplink = Uplink("cab", Path(first.state_dir) / FILE)
    agent = Agent(uplink)
    try:
        assert await uplink.apply(first.upstreams) == []
        await agent.apply(first)
        yield uplink, agent
    finally:
        await agent.close()
        await uplink.close()


async def again(uplink: Uplink, agent: Agent, fresh: Site) -> None:
    """As the process does it when the site is read again."""
    await agent.leave(fresh.upstreams)
    await uplink.apply(fresh.upstreams)
    await agent.apply(fresh)


async def links(center: Center) -> list[str]:
    answer = await center.agents.ask("cab", coap.GET, "inventory", {}, b"", 5.0)
    return list(cbor2.loads(answer.payload)["links"])


async def test_a_line_stays_where_its_upstream_does(tmp_path: Path) -> None:
    async with a_center(tmp_path) as center:
        first = site(tmp_path, center.port)
        async with a_gateway(tmp_path, first) as (uplink, agent):
            await until(center.agents.connected)
            stream = center.agents._connected["cab"].stream
            assert await links(center) == ["bus"]
            await again(uplink, agent, site(tmp_path, center.port, link="other"))
            assert await links(center) == ["other"]
            assert center.agents._connected["cab"].stream is stream
            assert not stream.closed

            await again(uplink, agent, site(tmp_path, center.port, link="other", agent='["observe", "operate"]'))
            await until(lambda: center.agents._connected["cab"].stream is not stream)
            assert await links(center) == ["other"]

            await again(uplink, agent, site(tmp_path, center.port, agent="[]"))
            await until(lambda: not center.agents.connected())
            with pytest.raises(NotAsked):
                await links(center)


async def test_what_a_line_carries_counts_in_the_budget(tmp_path: Path) -> None:
    async with a_center(tmp_path) as center:
        first = site(tmp_path, center.port)
        async with a_gateway(tmp_path, first) as (uplink, agent):
            counted: list[int] = []
            (upstream,) = first.upstreams
            uplink.way(upstream).carried = lambda size, live: counted.append(size)
            await until(center.agents.connected)
            await links(center)
            await agent.leave(())
        assert 500 < sum(counted) < 20_000  # a connection, a greeting, an inventory


async def test_a_beginning_that_fails_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    async with a_center(tmp_path) as center:
        first = site(tmp_path, center.port)
        async with a_gateway(tmp_path, first) as (uplink, agent):
            monkeypatch.setattr("gateway.uplink.agent.FIRST_S", 0.0)
            monkeypatch.setattr(compose, "resources", broken)
            agent.begin(first)
            await until(lambda: "CG-6113" in caplog.text)
            monkeypatch.undo()
            await asyncio.wait_for(again(uplink, agent, first), 5)
            assert await links(center) == ["bus"]
