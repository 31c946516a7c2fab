"""A node as others see it: LwM2M paths, three formats, Observe, who may change what; the gateway's driver polls it."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiocoap
import cbor2
import pytest
from node_rig import FIRMWARE, SENSOR, served, written

from gateway.node import server
from gateway.node.objects import Value
from gateway.node.server import represent
from gateway.site.library import installed
from gateway.site.profile import load_profile
from gateway.site.units import conversions
from gateway.wire import coap
from gateway.wire.credentials import create
from protocols.api import Device, Link, Point, Quality
from protocols.coap.driver import DRIVER
from protocols.coap.points import Options, Resource

PATIENT_S = 10.0


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    ours = await aiocoap.Context.create_client_context(transports=["udp6"])
    try:
        yield ours
    finally:
        await ours.shutdown()


async def asked(ours: Any, uri: str, code: Any = aiocoap.GET, text: str = "", accept: int | None = None) -> Any:
    message = aiocoap.Message(code=code, uri=uri, payload=text.encode())
    if accept is not None:
        message.opt.accept = accept
    async with asyncio.timeout(PATIENT_S):
        return await ours.request(message).response


async def until_answered(ours: Any, uri: str, code: Any) -> Any:
    """Its answer once that is `code`: a round of the node's own that began before may still end."""
    async with asyncio.timeout(PATIENT_S):
        while (answer := await asked(ours, uri)).code != code:
            await asyncio.sleep(0.01)
    return answer


async def test_what_it_says_of_itself(tmp_path: Path) -> None:
    async with served(written(tmp_path, rest=FIRMWARE + SENSOR)) as (_, url), client() as ours:
        assert (await asked(ours, f"{url}/3303/0/5700")).payload == b"21.5"
        assert (await asked(ours, f"{url}/3/0/2")).payload == b"node-7"
        assert (await asked(ours, f"{url}/3/0/11")).payload == b"0"
        assert (await asked(ours, f"{url}/5/0/3")).payload == b"0"
        pack = await asked(ours, f"{url}/3303")
        assert int(pack.opt.content_format) == 112
        assert cbor2.loads(pack.payload) == [{0: "/3303/0/5700", 1: "Cel", 2: 21.5}]
        every = json.loads((await asked(ours, f"{url}/n", accept=110)).payload)
        names = [record["n"] for record in every]
        assert {"/3/0/0", "/3/0/16", "/4/0/0", "/5/0/3", "/5/0/5", "/3303/0/5700"} <= set(names)
        assert len(names) == len(set(names))
        core = (await asked(ours, f"{url}/.well-known/core")).payload.decode()
        assert "</3303/0/5700>" in core
        assert "</5/0/2>" in core
        assert "aiocoap" not in core
        assert (await asked(ours, f"{url}/3303/0/5700", accept=50)).code == aiocoap.NOT_ACCEPTABLE
        assert (await asked(ours, f"{url}/3303/9")).code == aiocoap.NOT_FOUND


async def test_changes_are_refused_where_nobody_can_be_known(tmp_path: Path) -> None:
    async with served(written(tmp_path, rest=FIRMWARE + SENSOR)) as (node, url), client() as ours:
        for path, code in (("5/0/1", aiocoap.PUT), ("5/0/2", aiocoap.POST), ("3/0/4", aiocoap.POST)):
            assert (await asked(ours, f"{url}/{path}", code, "coap://gw/m")).code == aiocoap.UNAUTHORIZED
        assert node.firmware is not None
        assert node.firmware.kept.uri == ""


async def test_changes_where_the_file_allows_them(tmp_path: Path) -> None:
    path = written(tmp_path, "insecure = true", FIRMWARE + SENSOR)
    async with served(path) as (node, url), client() as ours:
        assert node.firmware is not None
        assert (await asked(ours, f"{url}/5/0/1", aiocoap.PUT, "http://gw/m")).code == aiocoap.BAD_REQUEST
        assert (await asked(ours, f"{url}/5/0/1", aiocoap.PUT, "x" * 1100)).code.class_ == 4
        assert (await asked(ours, f"{url}/5/0/2", aiocoap.POST)).code == aiocoap.METHOD_NOT_ALLOWED
        assert (await asked(ours, f"{url}/3303/0/5700", aiocoap.PUT, "5")).code == aiocoap.METHOD_NOT_ALLOWED
        told = "coap://127.0.0.1:1/m"  # nobody there
        assert (await asked(ours, f"{url}/5/0/1", aiocoap.PUT, told)).code == aiocoap.CHANGED
        assert (await asked(ours, f"{url}/5/0/1")).payload.decode() == told
        assert (await asked(ours, f"{url}/5/0/3")).payload == b"1"
        assert (await asked(ours, f"{url}/5/0/1", aiocoap.PUT, told)).code == aiocoap.METHOD_NOT_ALLOWED
        assert (await asked(ours, f"{url}/5/0/10", aiocoap.POST)).code == aiocoap.CHANGED
        assert (await asked(ours, f"{url}/5/0/5")).payload == b"10"


async def test_observers_hear_of_what_is_new(tmp_path: Path) -> None:
    async with served(written(tmp_path)) as (_, url), client() as ours:
        request = ours.request(aiocoap.Message(code=aiocoap.GET, uri=f"{url}/3303/0/5700", observe=0))
        async with asyncio.timeout(PATIENT_S):
            assert (await request.response).payload == b"21.5"
            (tmp_path / "air").write_text("22.25\n")
            async for told in request.observation:
                if told.payload == b"22.25":
                    break
        request.observation.cancel()


async def test_observers_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_OBSERVERS", 2)
    async with served(written(tmp_path)) as (_, url), client() as ours:
        requests = [
            ours.request(aiocoap.Message(code=aiocoap.GET, uri=f"{url}/{path}", observe=0))
            for path in ("3303/0/5700", "n", "3303", "3/0/13")
        ]
        async with asyncio.timeout(PATIENT_S):
            answers = [await request.response for request in requests]
        assert sum(answer.opt.observe is not None for answer in answers) == 2
        assert all(answer.code == aiocoap.CONTENT for answer in answers)
        for request, answer in zip(requests, answers, strict=True):
            if answer.opt.observe is not None:
                request.observation.cancel()


async def test_a_sensor_that_comes_later_is_there(tmp_path: Path) -> None:
    async with served(written(tmp_path, air="")) as (_, url), client() as ours:
        assert (await asked(ours, f"{url}/3303/0/5700")).code == aiocoap.NOT_FOUND
        (tmp_path / "air").write_text("19")
        assert (await until_answered(ours, f"{url}/3303/0/5700", aiocoap.CONTENT)).payload == b"19"


async def test_a_sensor_that_is_gone_says_nothing(tmp_path: Path) -> None:
    async with served(written(tmp_path)) as (_, url), client() as ours:
        (tmp_path / "air").unlink()
        await until_answered(ours, f"{url}/3303/0/5700", aiocoap.NOT_FOUND)
        assert (await asked(ours, f"{url}/3/0/11")).payload == b"8"


async def test_with_keys_it_speaks_to_nobody_without(tmp_path: Path) -> None:
    """OSCORE for reads too; the gateway's own driver polls it with the other half of the pair."""
    ours, theirs = create("node-7", tmp_path / "ours", tmp_path / "theirs")
    path = written(tmp_path, f'credentials = ["{theirs.relative_to(tmp_path)}"]', FIRMWARE + SENSOR)
    device = Device("node-7", 0, Options())
    air = Point(1, "air", device, Resource("/n", "senml+cbor", record="/3303/0/5700"), 1.0, units=conversions("Cel"))
    state = Point(2, "state", device, Resource("/n", "senml+cbor", record="/5/0/3"), 1.0)
    ops = DRIVER.plan([air, state])
    async with served(path) as (_, url), client() as plain:
        for uri in (f"{url}/n", f"{url}/.well-known/core", f"{url}/3303/0/5700"):
            assert (await asked(plain, uri)).code == aiocoap.UNAUTHORIZED
        assert (await asked(plain, f"{url}/5/0/1", aiocoap.PUT, "coap://gw/m")).code == aiocoap.UNAUTHORIZED
        request = plain.request(aiocoap.Message(code=aiocoap.GET, uri=f"{url}/n", observe=0))
        assert (await request.response).code == aiocoap.UNAUTHORIZED
        async with DRIVER.connect(Link("node", url, credentials=str(ours)), ops) as reader:
            batch = await reader.read(ops, PATIENT_S)
            assert batch.value.tolist() == [21.5, 0.0]
            assert batch.quality.tolist() == [Quality.GOOD] * 2


def test_its_profile_reads_what_it_writes() -> None:
    profile = load_profile(installed() / "other" / "citygate-node.toml")
    names = {point.spec.record for point in profile.points if point.spec is not None}
    assert {"/3/0/11/0", "/5/0/3", "/5/0/5", "/3303/0/5700"} <= names


@pytest.mark.parametrize(
    ("said", "text"), [(True, b"1"), (21.4375, b"21.4375"), (0.1 + 0.2, b"0.3"), (-7, b"-7"), ("도로", "도로".encode())]
)
def test_plain_text(said: float | str | bool, text: bytes) -> None:
    assert represent([("1/0/1", Value(said))], None, is_pack=False) == (0, text)


async def test_datagrams_that_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Options that are not UTF-8, reserved lengths, blocks beyond all bounds: it answers the next one all the same."""
    mutants = random.Random(5)
    reading = coap.Message(coap.GET, ((coap.URI_PATH, b"3303"), (coap.URI_PATH, b"0")), b"", b"tk", coap.CON, 5)
    whole = coap.to_datagram(reading)
    bad = [
        coap.to_datagram(replace(reading, options=((coap.URI_PATH, b"\xff\xfe"),))),
        coap.to_datagram(replace(reading, options=((coap.OSCORE, b"\x09\x01\x02"), (coap.URI_PATH, b"n")))),
        coap.to_datagram(replace(reading, options=((coap.BLOCK2, b"\xff\xff\xff"), (coap.URI_PATH, b"n")))),
        *(bytes(mutants.randrange(256) if mutants.random() < 0.1 else one for one in whole) for _ in range(200)),
        *(whole[:length] for length in range(len(whole))),
    ]
    async with served(written(tmp_path, rest=FIRMWARE + SENSOR)) as (node, url), client() as ours:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number, datagram in enumerate(bad):
                stranger.sendto(datagram, ("127.0.0.1", node.site.port))
                if number % 20 == 0:
                    await asyncio.sleep(0)
        assert (await asked(ours, f"{url}/3303/0/5700")).payload == b"21.5"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
