"""CoAP nodes asked what they have: long lists in blocks over a bad line, and answers that are none. aiocoap answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiocoap
import pytest
from aiocoap import resource

from gateway.bench import coap_nodes
from gateway.bench.coap_nodes import LARGEST, scan_coap
from gateway.wire import coap
from gateway.wire.proxy import UdpProxy
from tests.ports import free_port

SENSORS = [f"building-{number:02}/floor/temperature-of-the-room" for number in range(60)]  # some 3 kB of links
TOKEN_AT = slice(4, 8)


class Sensor(resource.Resource):
    rt = "temperature-c"


@asynccontextmanager
async def node(names: list[str]) -> AsyncIterator[UdpProxy]:
    """A node behind a line that is good so far."""
    site = resource.Site()
    site.add_resource((".well-known", "core"), resource.WKCResource(site.get_resources_as_linkheader, impl_info=None))
    for name in names:
        site.add_resource(name.split("/"), Sensor())
    port = free_port()
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port), transports=["udp6"])
    proxy = UdpProxy(("127.0.0.1", 0), ("127.0.0.1", port), seed=3)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
        await context.shutdown()


class Liar(asyncio.DatagramProtocol):
    """A node that answers each question with what `says` makes of its token and number."""

    def __init__(self, says: Callable[[bytes, int], list[bytes]]) -> None:
        self._says, self._asked = says, 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if coap.from_datagram(data).is_request:
            for answer in self._says(data[TOKEN_AT], self._asked):
                self._transport.sendto(answer, addr)
            self._asked += 1


@asynccontextmanager
async def liar(says: Callable[[bytes, int], list[bytes]]) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Liar(says), local_addr=("127.0.0.1", 0))
    try:
        yield f"coap://127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


def content(token: bytes, payload: bytes, *options: tuple[int, bytes]) -> bytes:
    return coap.to_datagram(coap.Message(coap.CONTENT, options, payload, token, coap.NON, 1))


def block(number: int, more: bool) -> tuple[int, bytes]:
    return coap.BLOCK2, coap.uint(number << 4 | more << 3 | 6)


async def test_a_long_list_comes_whole_over_a_bad_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coap_nodes, "AGAIN_S", 0.05)
    async with node(SENSORS) as proxy:
        proxy.loss, proxy.duplicate, proxy.reorder = 0.2, 0.3, 0.3
        told: list[coap_nodes.Neighbour] = []
        url = f"coap://127.0.0.1:{proxy.listen[1]}"
        [found] = await scan_coap(url, told.append)
    assert told == [found]
    assert found.where == url
    assert set(found.facts["resources"]) == {"/.well-known/core", *(f"/{name}" for name in SENSORS)}
    assert found.facts["links"][f"/{SENSORS[0]}"] == {"rt": "temperature-c"}
    assert f"/{SENSORS[0]} (temperature-c)" in found.says


async def test_a_list_without_end_is_cut() -> None:
    questions: list[int] = []

    def says(token: bytes, asked: int) -> list[bytes]:
        questions.append(asked)
        return [content(token, (b"</t/%d>," % asked).ljust(1024), block(asked, True))]

    async with liar(says) as url:
        [found] = await scan_coap(url, lambda _: None)
    assert len(found.facts["resources"]) == len(questions) == LARGEST // 1024


@pytest.mark.parametrize(
    ("says", "resources"),
    [
        (lambda token, _: [b"", b"\x60", b"\xff" * 30, content(b"none", b"</t>")], []),
        (lambda token, _: [content(token, bytes(1024), block(7, True))], [[]]),
        (lambda token, asked: [] if asked else [content(token, b"</t>,</cut".ljust(1024), block(0, True))], [["/t"]]),
    ],
    ids=["not for us", "the middle first", "silent after its first block"],
)
async def test_what_cannot_be_put_together(
    says: Callable[[bytes, int], list[bytes]], resources: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ONE_S", "BLOCK_S"):
        monkeypatch.setattr(coap_nodes, name, 0.1)
    async with liar(says) as url:
        found = await scan_coap(url, lambda _: None)
    assert [one.facts["resources"] for one in found] == resources


async def test_an_error_is_a_node_without_resources_and_a_confirmable_answer_is_acknowledged() -> None:
    def says(token: bytes, _: int) -> list[bytes]:
        return [coap.to_datagram(coap.Message(coap.NOT_FOUND, token=token, kind=coap.CON, mid=77))]

    async with liar(says) as url:
        [found] = await scan_coap(url, lambda _: None)
    assert (found.where, found.says, found.facts["resources"]) == (url, "no resources", [])


async def test_a_closed_port_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coap_nodes, "ONE_S", 3600.0)
    monkeypatch.setattr(coap_nodes, "AGAIN_S", 0.05)
    assert await scan_coap(f"coap://127.0.0.1:{free_port()}", lambda _: None) == []
