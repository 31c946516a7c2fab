"""libcoap on both ends: its server read and observed by our driver, straight and over a bad line; its client asking a
node that `gateway.sim` plays from a profile."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cbor2
import pytest
from needs import coap_client, coap_server
from processes import Process

from gateway.sim.coap import Server
from gateway.sim.world import Sent, Signal, World
from gateway.wire.proxy import UdpProxy
from protocols.api import Batch, Device, Link, LinkDown, Point, Quality
from protocols.coap.driver import DRIVER
from protocols.coap.points import Options, Resource
from tests.ports import free_port

pytestmark = pytest.mark.peers

ASKED = Device("node", 0, Options())
HEARD = Device("node", 0, Options(mode="observe", check_s=1.0, timeout_ms=2000))
LOOKS = 400


def point(channel: int, path: str, device: Device = ASKED, **keys: Any) -> Point:
    return Point(channel, f"p{channel}", device, Resource(path, **keys), 1.0, writable=(-1e6, 1e6))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """libcoap's own server; the port it listens on."""
    program = coap_server()
    assert program is not None
    port = free_port()
    with Process([program, "-A", "127.0.0.1", "-p", str(port)], tmp_path / "server.log") as process:
        process.until("the server answers", lambda: told(port, "get", "/.well-known/core"))
        yield port


def told(port: int, method: str, path: str, *more: str) -> str:
    """What libcoap's client prints."""
    program = coap_client()
    assert program is not None
    command = [program, "-m", method, "-B", "10", *more, f"coap://127.0.0.1:{port}{path}"]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=30).stdout


async def tell(port: int, value: object) -> None:
    await asyncio.to_thread(told, port, "put", "/example_data", "-e", str(value))


@asynccontextmanager
async def opened(port: int, *points: Point) -> AsyncIterator[tuple[Any, Any]]:
    ops = DRIVER.plan(points)
    async with DRIVER.connect(Link("node", f"coap://127.0.0.1:{port}"), ops) as reader:
        yield reader, ops


async def until(reader: Any, ops: Any, so: Callable[[Batch], bool]) -> Batch:
    for _ in range(LOOKS):
        batch = await reader.read(ops, 0.1)
        if so(batch):
            return batch
    raise AssertionError(f"it never came: {dict(reader.counters)}")


def has(value: float) -> Callable[[Batch], bool]:
    return lambda batch: value in batch.value.tolist()


async def test_its_server_is_polled_named_and_written(server: int) -> None:
    dim = point(2, "/example_data")
    async with opened(server, point(1, "/time?ticks"), dim) as (reader, ops):
        await tell(server, 21.5)
        batch = await reader.read(ops, 5.0)
        found = dict(zip(batch.channel.tolist(), batch.value.tolist(), strict=True))
        assert found[1] == pytest.approx(time.time(), abs=120)
        assert found[2] == 21.5
        said = await reader.identify(ASKED, 5.0)
        assert said["resources"].split() == ["/", "/time", "/async", "/example_data"]
        assert (await reader.write(dim, 40.0, 5.0))[:2] == (Quality.GOOD, 40.0)
        assert (await reader.read(ops, 5.0)).value.tolist()[1] == 40.0


async def test_blocks_from_its_server(server: int, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text(json.dumps({"pad": "x" * 9000, "v": [1, 17.25]}))
    await asyncio.to_thread(told, server, "put", "/example_data", "-t", "50", "-f", str(body))
    async with opened(server, point(1, "/example_data", at="v.1")) as (reader, ops):
        batch = await reader.read(ops, 5.0)
        assert reader.counters["requests"] >= 9
        assert batch.value.tolist() == [17.25]


async def test_a_representation_that_is_too_large(server: int, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text("7" * 60_000)
    await asyncio.to_thread(told, server, "put", "/example_data", "-f", str(body))
    async with opened(server, point(1, "/example_data")) as (reader, ops):
        batch = await reader.read(ops, 5.0)
        assert batch.quality.tolist() == [Quality.BAD_REPLY]
        assert reader.counters["too_large"] == 1


async def test_its_server_is_observed(server: int) -> None:
    await tell(server, 1)
    async with opened(server, point(1, "/example_data", HEARD)) as (reader, ops):
        await until(reader, ops, has(1.0))
        for value in (2.0, 3.0):
            await tell(server, value)
            await until(reader, ops, has(value))
        assert reader.counters["notifications"] >= 2
        assert reader.counters["lost"] == 0


async def test_observing_over_a_bad_line(server: int) -> None:
    """Loss, delay, duplicates and reordering: every change is learnt of, and what is older never comes after."""
    proxy = UdpProxy(("127.0.0.1", 0), ("127.0.0.1", server), seed=7)
    await proxy.start()
    try:
        await tell(server, 0)
        async with opened(proxy.listen[1], point(1, "/example_data", HEARD)) as (reader, ops):
            await until(reader, ops, has(0.0))
            proxy.loss, proxy.delay_s, proxy.duplicate, proxy.reorder = 0.2, 0.01, 0.3, 0.3
            seen: list[float] = []
            for value in range(1, 9):
                await tell(server, value)
                while not seen or seen[-1] < value:
                    batch = await until(reader, ops, lambda batch: len(batch.channel) > 0)
                    seen += batch.value[batch.quality == Quality.GOOD].tolist()
            assert seen == sorted(seen)
            proxy.cut = True
            await until(reader, ops, lambda batch: Quality.NO_REPLY in batch.quality.tolist())
            proxy.cut = False
            await tell(server, 100)
            await until(reader, ops, has(100.0))
    finally:
        await proxy.stop()


async def test_a_server_that_was_restarted_is_found_again(tmp_path: Path) -> None:
    program = coap_server()
    assert program is not None
    port = free_port()
    command = [program, "-A", "127.0.0.1", "-p", str(port)]
    with Process(command, tmp_path / "first.log") as first:
        first.until("the server answers", lambda: told(port, "get", "/.well-known/core"))
        await tell(port, 5)
        ops = DRIVER.plan([point(1, "/example_data", HEARD)])
        link = Link("node", f"coap://127.0.0.1:{port}")
        async with DRIVER.connect(link, ops) as reader:
            await until(reader, ops, has(5.0))
            first.kill()
            with pytest.raises(LinkDown) as down:
                await until(reader, ops, lambda batch: False)
            assert down.value.code == "CG-3005"
    with Process(command, tmp_path / "second.log") as second:
        second.until("the server answers", lambda: told(port, "get", "/.well-known/core"))
        await tell(port, 6)
        async with DRIVER.connect(link, ops) as reader:
            await until(reader, ops, has(6.0))


async def test_its_client_asks_a_simulated_node(tmp_path: Path) -> None:
    """A node as the simulator plays it is one that libcoap's client discovers, reads, writes and observes."""
    port = free_port()
    device = Device("lane", 0, Options(mode="observe"))
    points = [
        Point(1, "speed", device, Resource("/traffic/lane1", "senml+cbor", record="speed"), 0.2),
        Point(2, "count", device, Resource("/traffic/lane1", "senml+cbor", record="count"), 0.2),
        Point(3, "level", device, Resource("/3416/0/1", "text"), 10.0, writable=(0.0, 100.0)),
    ]
    world = World({"lane.speed": Signal(47.5), "lane.count": Signal(12.0), "lane.level": Signal(80.0)})
    node = Server(f"coap://127.0.0.1:{port}", points, world, Sent(), lambda: (time.monotonic_ns(), 0.0))
    await node.start()
    try:
        core = await asyncio.to_thread(told, port, "get", "/.well-known/core")
        assert "</traffic/lane1>;obs" in core
        body = tmp_path / "body"
        await asyncio.to_thread(told, port, "get", "/traffic/lane1", "-o", str(body))
        assert cbor2.loads(body.read_bytes()) == [{0: "speed", 2: 47.5}, {0: "count", 2: 12.0}]
        assert float(await asyncio.to_thread(told, port, "get", "/3416/0/1")) == 80.0
        await asyncio.to_thread(told, port, "put", "/3416/0/1", "-e", "35")
        assert float(await asyncio.to_thread(told, port, "get", "/3416/0/1")) == 35.0
        observed = tmp_path / "observed"
        await asyncio.to_thread(told, port, "get", "/traffic/lane1", "-s", "2", "-o", str(observed))
        assert observed.read_bytes().count(body.read_bytes()) >= 3
    finally:
        await node.close()
