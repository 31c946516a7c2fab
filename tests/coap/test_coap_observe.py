"""Nodes that tell by themselves: order, loss, refusal, chatter, and a node that came back without its memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nodes
from test_coap_nodes import PATIENT_S, Protected, point

from gateway.wire import coap, credentials
from protocols.api import Batch, Device, Link, Quality
from protocols.coap import observe
from protocols.coap.driver import DRIVER
from protocols.coap.points import Options

HEARD = Device("node", 0, Options(mode="observe"))
CHECKED = Device("node", 0, Options(mode="observe", check_s=0.5, timeout_ms=300))


@asynccontextmanager
async def listening(
    node: nodes.Node, device: Device = HEARD, credentials: str = "", **keys: Any
) -> AsyncIterator[tuple[Any, Any]]:
    async with node.serve() as rig:
        ops = DRIVER.plan([point(1, "/a", device, **keys)])
        async with DRIVER.connect(Link("node", rig.link.url, credentials=credentials), ops) as reader:
            yield reader, ops


async def until(reader: Any, ops: Any, true: Callable[[Batch], bool]) -> Batch:
    for _ in range(200):
        batch: Batch = await reader.read(ops, 0.05)
        if true(batch):
            return batch
    raise AssertionError(f"it never came: {dict(reader.counters)}")


def has(value: float) -> Callable[[Batch], bool]:
    return lambda batch: value in batch.value.tolist()


class Counting(nodes.Node):
    """Says a number that the test sets."""

    def __init__(self, **keys: Any) -> None:
        self.value = 1.0
        super().__init__({"/a": lambda: (0, str(self.value).encode())}, **keys)

    def say(self, value: float, **keys: Any) -> None:
        self.value = value
        self.notify("/a", **keys)


async def test_notifications_arrive_and_old_ones_do_not() -> None:
    node = Counting()
    async with listening(node) as (reader, ops):
        await until(reader, ops, has(1.0))
        node.say(2.0, sequence=5)
        await until(reader, ops, has(2.0))
        node.say(99.0, sequence=4)
        node.say(3.0, sequence=6, kind=coap.CON)
        batch = await until(reader, ops, has(3.0))
        assert 99.0 not in batch.value.tolist()
        assert reader.counters["reordered"] == 1
        assert node.asked == [(coap.GET, "/a")]


async def test_a_node_that_forgot_is_registered_again_with_the_same_token() -> None:
    node = Counting()
    async with listening(node, CHECKED) as (reader, ops):
        await until(reader, ops, has(1.0))
        node.observers.clear()
        node.value = 2.0
        await until(reader, ops, has(2.0))
        assert len(node.observers) == 1
        assert len(set(node.tokens)) == 1
        assert (reader.counters["refreshed"], reader.counters["lost"]) == (1, 1)
        node.say(3.0)
        await until(reader, ops, has(3.0))


async def test_an_old_notification_does_not_pass_for_the_answer_of_a_refreshment() -> None:
    """It has the token of the question, and it is on its way while the question is open."""
    node = Counting()
    async with listening(node, CHECKED) as (reader, ops):
        await until(reader, ops, has(1.0))
        node.say(2.0, sequence=20)
        await until(reader, ops, has(2.0))
        answer = node.answer

        def first_an_old_one(*what: Any) -> None:
            node.answer = answer  # type: ignore[method-assign]
            node.say(99.0, sequence=10, kind=coap.CON)
            node.value, node.sequence = 3.0, 21
            answer(*what)

        setattr(node, "answer", first_an_old_one)  # noqa: B010 a stand-in, whatever its signature
        batch = await until(reader, ops, lambda batch: len(batch.channel) > 0)
        assert batch.value.tolist() == [3.0]
        assert reader.counters["reordered"] == 1


async def test_silence_is_asked_before_max_age_ends() -> None:
    node = Counting(max_age=1)
    async with listening(node, period_s=60.0) as (reader, ops):
        await until(reader, ops, has(1.0))
        await until(reader, ops, lambda batch: len(batch.channel) > 0)
        assert (reader.counters["refreshed"], reader.counters["lost"]) == (1, 0)


async def test_a_node_that_stops_is_told_and_comes_back() -> None:
    node = Counting()
    async with listening(node, CHECKED) as (reader, ops):
        await until(reader, ops, has(1.0))
        node.mute = True
        await until(reader, ops, lambda batch: Quality.NO_REPLY in batch.quality.tolist())
        node.mute = False
        node.value = 4.0
        await until(reader, ops, has(4.0))
        node.say(5.0)
        await until(reader, ops, has(5.0))


async def test_what_cannot_be_observed_is_asked() -> None:
    node = Counting(observable=False)
    async with listening(node, period_s=0.05) as (reader, ops):
        await until(reader, ops, has(1.0))
        node.value = 2.0
        await until(reader, ops, has(2.0))
        assert reader.counters["notifications"] == 0


async def test_a_refused_resource_is_data_and_tried_again() -> None:
    node = Counting()
    body = node.bodies.pop("/a")
    async with listening(node) as (reader, ops):
        await until(reader, ops, lambda batch: Quality.REFUSED in batch.quality.tolist())
        node.bodies["/a"] = body
        await until(reader, ops, has(1.0))


async def test_a_notification_of_many_blocks_is_fetched() -> None:
    pad = {"size": 10}
    node = nodes.Node({"/a": lambda: (50, b'{"x":"' + b"y" * pad["size"] + b'","v":%d}' % pad["size"])})
    async with listening(node, at="v") as (reader, ops):
        await until(reader, ops, has(10.0))
        pad["size"] = 3000
        node.notify("/a")
        await until(reader, ops, has(3000.0))
        pad["size"] = 40_000
        node.notify("/a")
        await until(reader, ops, lambda batch: Quality.BAD_REPLY in batch.quality.tolist())
        assert reader.counters["too_large"] == 1


async def test_a_chattering_node_fills_no_queue() -> None:
    loud = Device("node", 0, Options(mode="observe", per_s=1000.0))
    node = Counting()
    async with listening(node, loud) as (reader, ops):
        await until(reader, ops, has(1.0))
        for number in range(500):
            node.say(float(number))
        while reader.counters["notifications"] + reader.counters["limited"] < 400:
            await asyncio.sleep(0)
        assert len(reader._queue) <= observe.QUEUE
        assert reader.counters["dropped"] >= 400 - observe.QUEUE
        batch = await reader.read(ops, 0.0)
        assert len(batch.channel) <= observe.QUEUE


async def test_a_closed_link_leaves_no_observer_behind() -> None:
    node = Counting()
    async with node.serve() as rig:
        ops = DRIVER.plan([point(1, "/a", HEARD)])
        async with DRIVER.connect(rig.link, ops) as reader:
            await until(reader, ops, has(1.0))
            assert len(node.observers) == 1
        while node.observers:
            await asyncio.sleep(0)


async def test_observed_values_can_be_written_and_the_node_named() -> None:
    node = Counting()
    node.bodies["/.well-known/core"] = lambda: (40, b"</a>;obs")
    async with listening(node, writable=(0.0, 9.0)) as (reader, ops):
        await until(reader, ops, has(1.0))
        dim = ops[0].points[0]
        node.value = 7.0
        assert (await reader.write(dim, 7.0, PATIENT_S)).quality == Quality.GOOD
        assert await reader.identify(HEARD, PATIENT_S) == {"resources": "/a"}


async def test_oscore_notifications_are_opened(tmp_path: Path) -> None:
    ours, theirs = credentials.create("node", tmp_path / "ours", tmp_path / "theirs")
    said = {"value": 1}
    node = Protected(theirs, lambda: (0, b"%d" % said["value"]))
    async with listening(node, credentials=str(ours)) as (reader, ops):
        await until(reader, ops, has(1.0))
        said["value"] = 2
        node.notify("/a")
        await until(reader, ops, has(2.0))
        assert reader.counters["unprotected"] == 0
