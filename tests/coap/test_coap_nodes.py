"""Nodes that are asked: blocks, sizes, refusals, times, units, writes, OSCORE, and what must not end a link."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nodes
import pytest

from gateway.site.plan import Plan
from gateway.site.site import port_of
from gateway.site.units import conversions
from gateway.wire import coap, credentials, secure
from gateway.wire.coap import Message
from protocols.api import Device, Link, LinkDown, Point, Quality
from protocols.coap import oscore
from protocols.coap.driver import DRIVER
from protocols.coap.endpoint import Endpoint
from protocols.coap.points import Options, Resource
from protocols.streams import now_ns

DEVICE = Device("node", 0, Options())
PATIENT_S = 2.0  # answers come at once on loopback; a busy machine may be slow


def point(channel: int, path: str, device: Device = DEVICE, **keys: Any) -> Point:
    own = {name: keys.pop(name) for name in ("scale", "offset", "writable", "units", "period_s") if name in keys}
    return Point(channel, f"p{channel}", device, Resource(path, **keys), own.pop("period_s", 1.0), **own)


@asynccontextmanager
async def opened(node: nodes.Node, *points: Point, credentials: str = "") -> AsyncIterator[tuple[Any, Any]]:
    async with node.serve() as rig:
        ops = DRIVER.plan(points)
        link = Link("node", rig.link.url, credentials=credentials)
        async with DRIVER.connect(link, ops) as reader:
            yield reader, ops


async def values(node: nodes.Node, *points: Point) -> tuple[list[float], list[int], dict[str, int]]:
    async with opened(node, *points) as (reader, ops):
        batch = await reader.read(ops, PATIENT_S)
        return batch.value.tolist(), batch.quality.tolist(), dict(reader.counters)


async def read_on(reader: Any, ops: Any) -> None:
    for _ in range(20):
        await reader.read(ops, 0.1)


async def test_blocks_are_joined() -> None:
    body = json.dumps({"pad": "x" * 5000, "v": 3}).encode()
    found, quality, counters = await values(nodes.Node({"/a": lambda: (50, body)}), point(1, "/a", at="v"))
    assert (found, quality) == ([3.0], [Quality.GOOD])
    assert counters["requests"] == math.ceil(len(body) / 1024)


async def test_a_node_that_sends_a_megabyte_is_refused_early() -> None:
    node = nodes.Node({"/a": lambda: (0, b"1" * 1_000_000)})
    _, quality, counters = await values(node, point(1, "/a"))
    assert quality == [Quality.BAD_REPLY]
    assert counters["too_large"] == 1
    assert counters["requests"] <= 17


async def test_one_datagram_beyond_the_limit_is_refused() -> None:
    small = Device("node", 0, Options(largest=100))
    node = nodes.Node({"/a": lambda: (0, b"1" * 500)})
    _, quality, counters = await values(node, point(1, "/a", small))
    assert quality == [Quality.BAD_REPLY]
    assert counters["too_large"] == 1


async def test_a_representation_that_changes_between_blocks_is_no_value() -> None:
    node = nodes.Node({"/a": lambda: (0, b"1" * 3000)})
    whole = node.content

    def changed(*args: Any) -> Message:
        message = whole(*args)
        tag = len(node.asked).to_bytes(2, "big")
        return Message(
            message.code,
            tuple((n, tag if n == nodes.ETAG else v) for n, v in message.options),
            message.payload, message.token, message.kind, message.mid,
        )  # fmt: skip

    setattr(node, "content", changed)  # noqa: B010 a stand-in, whatever its signature
    _, quality, counters = await values(node, point(1, "/a"))
    assert quality == [Quality.BAD_REPLY]
    assert counters["malformed"] == 1


async def test_refusals_and_nonsense_are_data() -> None:
    node = nodes.Node({"/a": lambda: (0, b"\xff\xff"), "/b": lambda: (9999, b"1"), "/c": nodes.text(4)})
    found, quality, counters = await values(node, point(1, "/a"), point(2, "/b"), point(3, "/none"), point(4, "/c"))
    assert quality == [Quality.BAD_REPLY, Quality.BAD_REPLY, Quality.REFUSED, Quality.GOOD]
    assert found[3] == 4.0
    assert (counters["malformed_payload"], counters["refused"]) == (2, 1)


async def test_a_silent_node_costs_one_timeout_however_many_points() -> None:
    node = nodes.Node({"/a": nodes.text(1)})
    node.mute = True
    async with opened(node, point(1, "/a"), point(2, "/b"), point(3, "/c")) as (reader, ops):
        batch = await reader.read(ops, 0.07)
        assert set(batch.quality.tolist()) == {Quality.NO_REPLY}
        assert reader.counters["requests"] == 1


async def test_units_are_converted_and_foreign_ones_counted() -> None:
    body = json.dumps([{"n": "t", "u": "K", "v": 300.0}, {"n": "p", "u": "furlong", "v": 1}, {"n": "x", "v": 2}])
    node = nodes.Node({"/a": lambda: (110, body.encode())})
    celsius, bar = conversions("Cel"), conversions("bar")
    found, quality, counters = await values(
        node,
        point(1, "/a", record="t", units=celsius),
        point(2, "/a", record="p", units=bar),
        point(3, "/a", record="x", units=bar),
    )
    assert found[0] == pytest.approx(26.85)
    assert (found[2], quality) == (2.0, [Quality.GOOD, Quality.BAD_REPLY, Quality.GOOD])
    assert counters["foreign_units"] == 1


async def test_times_of_a_node_are_kept_relative_to_each_other() -> None:
    """Absolute times of a clock that is years off, and relative ones: both land on our own clock."""
    pack = [{"n": "v", "v": 7, "t": 1_300_000_000.25}]
    node = nodes.Node({"/a": lambda: (110, json.dumps(pack).encode()), "/b": nodes.text(1)})
    async with opened(node, point(1, "/a")) as (reader, ops):
        first = await reader.read(ops, PATIENT_S)
        pack[0]["t"] = 1_300_000_000.35
        second = await reader.read(ops, PATIENT_S)
        pack[:] = [{"n": "v", "v": 8, "t": -3.5}]
        before = now_ns()
        third = await reader.read(ops, PATIENT_S)
    assert first.time_ns[0] <= second.time_ns[0] <= third.time_ns[0] <= now_ns()
    assert third.time_ns[0] <= max(int(second.time_ns[0]), before - 2_500_000_000)


async def test_well_known_core_names_the_node() -> None:
    node = nodes.Node(
        {
            "/.well-known/core": lambda: (40, b"</3/0>,</3303/0/5700>;obs"),
            "/3/0/0": nodes.text("Open Mobile Alliance"),
            "/3/0/1": lambda: (0, b"node \xff"),
            "/3303/0/5700": nodes.text(1),
        }
    )
    async with opened(node, point(1, "/3303/0/5700")) as (reader, _):
        said = await reader.identify(DEVICE, PATIENT_S)
    assert said == {
        "resources": "/3/0 /3303/0/5700",
        "manufacturer": "Open Mobile Alliance",
        "model": "node \N{REPLACEMENT CHARACTER}",
    }


class Lamp(nodes.Node):
    """A resource that keeps what is put, up to `most`."""

    def __init__(self, most: int = 100) -> None:
        self.level = 0
        super().__init__({"/3416/0/1": lambda: (0, str(self.level).encode())})
        self.most = most

    def answer(self, message: Message, path: str, addr: Any) -> None:
        if message.code == nodes.PUT:
            self.level = min(self.most, int(message.payload))
        super().answer(message, path, addr)


async def test_writes_are_read_back() -> None:
    dim = point(1, "/3416/0/1", writable=(0.0, 100.0))
    lamp = Lamp(most=60)
    async with opened(lamp, dim) as (reader, _):
        assert (await reader.write(dim, 40.0, PATIENT_S))[:2] == (Quality.GOOD, 40.0)
        assert (await reader.write(dim, 80.0, PATIENT_S))[:2] == (Quality.SUSPECT, 60.0)
        assert (await reader.write(dim, 101.0, PATIENT_S)).quality == Quality.OUT_OF_RANGE
        assert (await reader.write(point(2, "/3416/0/1"), 1.0, PATIENT_S)).quality == Quality.REFUSED
        lamp.mute = True
        assert (await reader.write(dim, 10.0, 0.05)).quality == Quality.NO_REPLY
    assert [payload for _, _, payload in lamp.put] == [b"40", b"80"]


async def test_a_node_out_of_reach_is_a_dead_link() -> None:
    node = nodes.Node({"/a": nodes.text(1)})
    async with opened(node, point(1, "/a")) as (reader, ops):
        await reader.read(ops, PATIENT_S)
        node.transport.close()
        await asyncio.sleep(0)
        with pytest.raises(LinkDown) as down:
            await read_on(reader, ops)
    assert down.value.code == "CG-3005"


async def test_a_name_that_nobody_knows_is_a_dead_link() -> None:
    ops = DRIVER.plan([point(1, "/a")])
    with pytest.raises(LinkDown) as down:
        async with DRIVER.connect(Link("node", "coap://nobody.invalid"), ops):
            pass
    assert down.value.code == "CG-3006"


async def test_two_links_to_one_node_are_refused() -> None:
    node = nodes.Node({"/a": nodes.text(1)})
    async with opened(node, point(1, "/a")) as (_, ops):
        with pytest.raises(LinkDown) as down:
            async with DRIVER.connect(Link("other", node.url), ops):
                pass
    assert down.value.code == "CG-3042"


async def test_hostile_datagrams_close_nothing() -> None:
    """Options that are no UTF-8, requests, chatter of a stranger: the next poll is answered all the same."""
    node = nodes.Node({"/a": nodes.text(1)})
    async with opened(node, point(1, "/a")) as (reader, ops):
        await reader.read(ops, PATIENT_S)
        home = reader._node._endpoint._udp.transport.get_extra_info("socket").getsockname()[1]
        for datagram in (b"", b"@", bytes.fromhex("50455a5ab2ffff"), bytes.fromhex("60450001ff"), os.urandom(40)):
            node.transport.sendto(datagram, ("127.0.0.1", home))
        node.transport.sendto(coap.to_datagram(Message(coap.GET, ((coap.URI_PATH, b"a"),))), ("127.0.0.1", home))
        batch = await reader.read(ops, PATIENT_S)
        assert batch.quality.tolist() == [Quality.GOOD]
        assert reader.counters["malformed"] >= 2


async def test_a_chattering_node_is_cut_short_before_it_is_decoded() -> None:
    calm = Device("node", 0, Options(per_s=5.0))
    node = nodes.Node({"/a": nodes.text(1)})
    async with opened(node, point(1, "/a", calm)) as (reader, ops):
        await reader.read(ops, PATIENT_S)
        home = reader._node._endpoint._udp.transport.get_extra_info("socket").getsockname()[1]
        for _ in range(100):
            node.transport.sendto(bytes.fromhex("504500010a"), ("127.0.0.1", home))
        while reader.counters["limited"] < 80:
            await asyncio.sleep(0)


class Protected(nodes.Node):
    """A node with OSCORE on the center's half of a pair of folders."""

    def __init__(self, folder: Path, body: nodes.Body) -> None:
        super().__init__({"/a": body})
        self.context = credentials.SecurityContext(folder, own=False)
        self.heard: dict[tuple[Any, bytes], Any] = {}

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = coap.from_datagram(data)
        if not message.is_request or self.mute:
            return
        try:
            inner, self.identifiers = secure.open_request(self.context, message)
        except secure.Unfresh as stale:
            answer = stale.answer
            self.transport.sendto(
                coap.to_datagram(
                    Message(answer.code, answer.options, answer.payload, message.token, coap.ACK, message.mid)
                ),
                addr,
            )
            return
        path = "/" + "/".join(inner.texts(coap.URI_PATH))
        self.asked.append((inner.code, path))
        self.answer(Message(inner.code, inner.options, inner.payload, message.token, coap.CON, message.mid), path, addr)

    def send(self, message: Message, addr: nodes.Address) -> None:
        outer = secure.protect_response(self.context, message, self.identifiers)
        self.transport.sendto(coap.to_datagram(outer), addr)


async def test_oscore(tmp_path: Path) -> None:
    ours, theirs = credentials.create("node", tmp_path / "ours", tmp_path / "theirs")
    node = Protected(theirs, nodes.text(12.5))
    async with opened(node, point(1, "/a"), credentials=str(ours)) as (reader, ops):
        for _ in range(3):
            batch = await reader.read(ops, PATIENT_S)
            assert batch.value.tolist() == [12.5]
    before = json.loads((ours / "sequence.json").read_text())["next"]
    async with opened(Protected(theirs, nodes.text(13.5)), point(1, "/a"), credentials=str(ours)) as (reader, ops):
        assert json.loads((ours / "sequence.json").read_text())["next"] == before + oscore.RESERVE
        assert (await reader.read(ops, PATIENT_S)).value.tolist() == [13.5]


async def test_a_plain_answer_is_no_value_where_the_link_has_a_key(tmp_path: Path) -> None:
    ours, _ = credentials.create("node", tmp_path / "ours", tmp_path / "theirs")
    node = nodes.Node({"/": nodes.text(66)})
    async with opened(node, point(1, "/a"), credentials=str(ours)) as (reader, ops):
        batch = await reader.read(ops, PATIENT_S)
        assert batch.quality.tolist() == [Quality.BAD_REPLY]
        assert reader.counters["unprotected"] == 1


@pytest.mark.parametrize("missing", ["context.json", "sequence.json"])
async def test_a_key_without_its_numbers_is_refused(tmp_path: Path, missing: str) -> None:
    ours, _ = credentials.create("node", tmp_path / "ours", tmp_path / "theirs")
    (ours / missing).unlink()
    with pytest.raises(LinkDown) as down:
        async with opened(nodes.Node({}), point(1, "/a"), credentials=str(ours)):
            pass
    assert down.value.code == "CG-3041"
    assert missing in str(down.value)


def test_numbers_are_never_used_twice_whenever_the_power_goes(tmp_path: Path) -> None:
    """What the file says at any moment is beyond every number that left."""
    ours, _ = credentials.create("node", tmp_path / "ours", tmp_path / "theirs")
    context = oscore.NodeContext(ours)
    for _ in range(3 * oscore.RESERVE):
        used = context.new_sequence_number()
        assert json.loads((ours / "sequence.json").read_text())["next"] > used
    with pytest.raises(oscore.BadCredentials, match="another process"):
        oscore.NodeContext(ours)
    context.close()
    assert json.loads((ours / "sequence.json").read_text())["next"] == used + 1


async def test_one_socket_serves_all_nodes_and_is_given_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    first, second = nodes.Node({"/a": nodes.text(1)}), nodes.Node({"/a": nodes.text(2)})
    async with opened(first, point(1, "/a")) as (one, ops), opened(second, point(1, "/a")) as (two, theirs):
        assert one._node._endpoint is two._node._endpoint
        assert (await one.read(ops, PATIENT_S)).value.tolist() == [1.0]
        assert (await two.read(theirs, PATIENT_S)).value.tolist() == [2.0]
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_capture_belongs_together() -> None:
    """Another token or message id is another exchange; another path is none of the profile's."""
    request = coap.to_datagram(Message(coap.GET, ((coap.URI_PATH, b"a"),), b"", b"\x01", coap.CON, 7))
    reply = Message(nodes.CONTENT, (), b"21.5", b"\x01", coap.ACK, 7)
    points = [point(1, "/a"), point(2, "/b")]
    assert DRIVER.decode(points, request, coap.to_datagram(reply)) == {"p1": 21.5}
    for wrong in (
        Message(nodes.CONTENT, (), b"21.5", b"\x02", coap.ACK, 7),
        Message(nodes.CONTENT, (), b"21.5", b"\x01", coap.ACK, 8),
        Message(nodes.NOT_FOUND, (), b"21.5", b"\x01", coap.ACK, 7),
        Message(nodes.CONTENT, (), b"warm", b"\x01", coap.ACK, 7),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            DRIVER.decode(points, request, coap.to_datagram(wrong))
    with pytest.raises(ValueError, match="no point"):
        DRIVER.decode(points[1:], request, coap.to_datagram(reply))


def test_faults_of_a_profile() -> None:
    options = Device("node", 0, Options(largest=0, per_s=0.1, check_s=-1.0, timeout_ms=0))
    keys = {key for _, key, _ in DRIVER.check(options, [])}
    assert keys == {"largest", "per_s", "check_s", "timeout_ms"}
    for keywords, key in (
        ({"path": "a"}, "path"),
        ({"path": "/a//b"}, "path"),
        ({"path": "/a", "format": "text", "at": "x"}, "at"),
        ({"path": "/a", "format": "json", "record": "x"}, "record"),
        ({"path": "/a", "at": "x", "record": "x"}, "record"),
        ({"path": "/a", "format": "lwm2m+tlv"}, "type"),
        ({"path": "/a", "at": "x", "writable": (0.0, 1.0)}, "writable"),
        ({"path": "/a", "format": "lwm2m+json", "writable": (0.0, 1.0)}, "writable"),
    ):
        own: dict[str, Any] = dict(keywords)
        assert [fault[1] for fault in DRIVER.check(DEVICE, [point(1, own.pop("path"), **own)])] == [key]
    assert DRIVER.check(DEVICE, [point(1, "/a?x=1", format="json", at="v.0")]) == ()


def test_aiocoap_is_loaded_when_a_link_is_opened_not_before() -> None:
    code = "import sys; from protocols.registry import driver; driver('coap'); print('aiocoap' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_a_link_of_a_site_knows_its_key_and_its_port(make_plan: Callable[[str], Plan], tmp_path: Path) -> None:
    text = """
[[links]]
name = "lane"
url = "coap://node-7.local"
credentials = "keys/lane"
[[devices]]
name = "lane"
profile = "traffic/generic-senml-lane"
link = "lane"
"""
    [plan] = make_plan(text).links
    assert plan.link.credentials == str(tmp_path / "keys" / "lane")
    assert plan.driver == "coap"
    assert port_of("coap://localhost") == port_of("coap://127.0.0.1:5683") != port_of("tcp://127.0.0.1:5683")
    assert port_of("coap://node:99999") == port_of("coap://node/path") == ""


async def test_a_node_that_moved_is_found_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up again after three time-outs."""
    here, there = nodes.Node({"/a": nodes.text(1)}), nodes.Node({"/a": nodes.text(2)})
    resolve = Endpoint.resolve
    async with here.serve(), there.serve():
        where = {"url": here.url}
        monkeypatch.setattr(Endpoint, "resolve", lambda self, url: resolve(self, where["url"]))
        ops = DRIVER.plan([point(1, "/a")])
        async with DRIVER.connect(Link("node", "coap://node.example"), ops) as reader:
            assert (await reader.read(ops, PATIENT_S)).value.tolist() == [1.0]
            here.mute, where["url"] = True, there.url
            for _ in range(3):
                assert (await reader.read(ops, 0.05)).quality.tolist() == [Quality.NO_REPLY]
            assert (await reader.read(ops, PATIENT_S)).value.tolist() == [2.0]
            assert reader.counters["moved"] == 1
