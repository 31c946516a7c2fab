"""A center's wish, a gateway's cache and a node: an update from end to end, on real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from node_rig import FIRMWARE, MAKER_KEY, SENSOR, served, written

from benchmarks.agent_node_rig import Maker
from gateway.agent.download import Cut, Missing, Piece
from gateway.agent.nodes import Nodes
from gateway.agent.resource import Refused, Request, Role
from gateway.node import boot, state
from gateway.node.boot import RESTART
from gateway.node.disk import Disk
from gateway.node.settings import load
from gateway.node.state import Phase, Result
from gateway.site.site import load_site
from gateway.spool import audit
from gateway.wire import coap, credentials
from tests.ports import free_port

MAKER = Maker(MAKER_KEY)
IMAGE = os.urandom(5 * 1024 + 11)
PATIENT_S = 15.0


class Center:
    """Files of a center. `cuts`: answers that are lost first."""

    def __init__(self, files: dict[str, bytes], cuts: int = 0) -> None:
        self.files, self.cuts, self.asked = files, cuts, 0

    async def fetch(self, path: str, offset: int) -> Piece:
        self.asked += 1
        await asyncio.sleep(0)
        if self.cuts:
            self.cuts -= 1
            raise Cut("no answer")
        if path not in self.files:
            raise Missing("4.04")
        data = self.files[path]
        return Piece(data[offset : offset + 2048], len(data))


def site_of(folder: Path, url: str, keys: str = "", nodes: str | None = None) -> Any:
    nodes = f"127.0.0.1:{free_port()}" if nodes is None else nodes
    path = folder / "site.toml"
    path.write_text(f"""
schema = 1
[gateway]
id = "cab-7"
mode = "local"
[agent]
nodes = "{nodes}"
[[links]]
name = "lan"
url = "{url}"
{f'credentials = "{keys}"' if keys else ""}
[[devices]]
name = "air7"
profile = "other/citygate-node"
link = "lan"
""")
    return load_site(path)


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0.01)


def wish(node: str = "air7", manifest: str = "air/node.suit", **body: Any) -> Request:
    payload = cbor2.dumps({"node": node, "manifest": manifest, "by": "kim", **body})
    return Request("center", frozenset({Role.RELEASE}), coap.POST, payload=payload)


def look(*path: str) -> Request:
    return Request("center", frozenset({Role.OBSERVE}), coap.GET, path)


@asynccontextmanager
async def working(site: Any, center: Center) -> AsyncIterator[Nodes]:
    nodes = Nodes(site, center, pause=at_once)
    work = asyncio.ensure_future(nodes.run())
    try:
        yield nodes
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def until(nodes: Nodes, so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(PATIENT_S):
        async for reply in nodes.changes(look("air7")):
            offer: dict[str, Any] = cbor2.loads(reply.payload)
            if so(offer):
                return offer
    raise AssertionError("it ended")


def files(image: bytes = IMAGE, sequence: int = 2) -> dict[str, bytes]:
    return {"air/node.suit": MAKER.manifest(image, sequence, "node-2.image"), "air/node-2.image": image}


async def test_an_update_from_end_to_end(tmp_path: Path) -> None:
    """Over a way to the center that breaks at first."""
    path = written(tmp_path, "insecure = true", FIRMWARE + SENSOR)
    url = f"coap://127.0.0.1:{load(path).port}"
    async with working(site_of(tmp_path, url), Center(files(), cuts=5)) as nodes:
        async with served(path) as (node, _):
            reply = await nodes.answer(wish())
            assert reply.code == coap.CHANGED
            async with asyncio.timeout(PATIENT_S):
                assert await node.over() == RESTART
        disk = Disk(tmp_path / "node-state")
        kept, slot = boot.choose(state.load(disk), boot.intact(disk))  # as the launcher does
        assert slot == "a"
        assert disk.path("a.image").read_bytes() == IMAGE
        state.save(disk, kept)
        seconds = count()
        async with served(path, lambda: float(next(seconds))):
            offer = await until(nodes, lambda offer: offer["step"] == "done")
        assert (offer["result"], offer["sequence"], offer["by"]) == (Result.SUCCESS, 2, "kim")
        assert offer["image"] == hashlib.sha256(IMAGE).hexdigest()
        said = cbor2.loads((await nodes.answer(look())).payload)
        assert sum(said["cache"].values()) == len(IMAGE) + len(files()["air/node.suit"])
        assert said["blocks"] >= 7
    lines = audit.entries(tmp_path / "state" / audit.FILE)
    assert [line["what"] for line in lines] == ["node_update", "node_told", "node_updated"]
    assert {line["by"] for line in lines} == {"center:center"}


async def test_with_keys_of_its_own(tmp_path: Path) -> None:
    """The field half has the link's context; the agent's lies beside it, so that no number is used by both."""
    fields, nodes_field = credentials.create("field", tmp_path / "keys" / "air7", tmp_path / "node-keys")
    ours, nodes_ours = credentials.create("agent", tmp_path / "keys" / "air7.agent", tmp_path / "node-keys")
    assert fields != ours
    named = ", ".join(f'"{one.relative_to(tmp_path)}"' for one in (nodes_field, nodes_ours))
    path = written(tmp_path, f"credentials = [{named}]", FIRMWARE + "automatic = false\n" + SENSOR)
    async with served(path) as (node, url), working(site_of(tmp_path, url, "keys/air7"), Center(files())) as nodes:
        assert node.firmware is not None
        await nodes.answer(wish())
        await until(nodes, lambda offer: "waits to be started" in offer["why"])
        assert node.firmware.phase is Phase.DOWNLOADED


async def test_a_node_that_refuses_says_why(tmp_path: Path) -> None:
    """The gateway hands on what it cannot judge; the node does."""
    stranger = Maker(Ed25519PrivateKey.generate())
    forged = {"air/node.suit": stranger.manifest(IMAGE, 2, "node-2.image"), "air/node-2.image": IMAGE}
    path = written(tmp_path, "insecure = true", FIRMWARE + SENSOR)
    async with served(path) as (node, url), working(site_of(tmp_path, url), Center(forged)) as nodes:
        await nodes.answer(wish())
        offer = await until(nodes, lambda offer: offer["step"] == "failed")
        assert offer["result"] == Result.BAD_PACKAGE
        assert node.firmware is not None
        assert node.firmware.kept.slots == {}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "4.04"),
        ({"air/node.suit": b"no manifest"}, "CBOR"),
        ({"air/node.suit": bytes(9000)}, "at most 8192"),
        ({"air/node.suit": MAKER.manifest(IMAGE, 2, "../../etc/passwd")}, "beside the manifest"),
        ({"air/node.suit": MAKER.manifest(IMAGE, 2, "coap://elsewhere/x")}, "beside the manifest"),
        ({"air/node.suit": MAKER.manifest(IMAGE, 2, "node-2.image")}, "4.04"),
        ({**files(), "air/node-2.image": IMAGE[:-1]}, "signed"),
        ({**files(), "air/node-2.image": IMAGE[:-1] + b"x"}, "SHA-256"),
    ],
)
async def test_what_the_center_has_is_no_firmware(tmp_path: Path, found: dict[str, bytes], why: str) -> None:
    site = site_of(tmp_path, "coap://127.0.0.1:1")
    async with working(site, Center(found)) as nodes:
        await nodes.answer(wish())
        offer = await until(nodes, lambda offer: offer["step"] == "failed")
        assert why in offer["why"]


async def test_wishes_that_are_refused(tmp_path: Path) -> None:
    nodes = Nodes(site_of(tmp_path, "coap://127.0.0.1:1"), Center(files()))
    for request, code in (
        (wish("lamp"), "CG-6225"),
        (wish(manifest=""), "CG-6224"),
        (wish(manifest="x" * 300), "CG-6224"),
        (Request("center", frozenset(), coap.POST, payload=b"\xff"), "CG-6100"),
        (Request("center", frozenset(), coap.POST, payload=cbor2.dumps([1])), "CG-6224"),
        (Request("center", frozenset(), coap.DELETE, ("air7",)), "CG-6225"),
        (Request("center", frozenset(), coap.DELETE), "CG-6224"),
        (look("air7"), "CG-6225"),
    ):
        with pytest.raises(Refused) as no:
            await nodes.answer(request)
        assert no.value.code == code
    await nodes.answer(wish())
    await nodes.answer(wish())  # the same once more is the same
    with pytest.raises(Refused, match="CG-6227"):
        await nodes.answer(wish(manifest="other.suit"))
    (tmp_path / "closed").mkdir()
    closed = Nodes(site_of(tmp_path / "closed", "coap://127.0.0.1:1", nodes=""), Center({}))
    with pytest.raises(Refused, match="CG-6226"):
        await closed.answer(wish())


async def test_what_was_under_way_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = written(tmp_path, "insecure = true", FIRMWARE + "automatic = false\n" + SENSOR)
    async with served(path) as (_, url):
        site = site_of(tmp_path, url)
        nodes = Nodes(site, Center(files()), pause=at_once)
        await nodes.answer(wish())
        center = Center(files())
        async with working(site, center) as again:
            await until(again, lambda offer: "waits to be started" in offer["why"])
            asked = center.asked
        async with working(site, center) as again:
            offer = cbor2.loads((await again.answer(look("air7"))).payload)
            assert offer["step"] == "following"
            while again._port is None:
                await asyncio.sleep(0)
            await again.answer(Request("center", frozenset(), coap.DELETE, ("air7",)))
            assert center.asked == asked
        assert json.loads((tmp_path / "state" / "nodes" / "offers.json").read_text()) == {}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"air7": {"step": "no"}}', '{"air7": 5}'])
def test_a_damaged_note_of_offers_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    site = site_of(tmp_path, "coap://127.0.0.1:1")
    (tmp_path / "state" / "nodes").mkdir(parents=True)
    (tmp_path / "state" / "nodes" / "offers.json").write_text(content)
    assert Nodes(site, Center({}))._offers == {}
