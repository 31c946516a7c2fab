"""The JetStream sink with Debian's nats-server: what is told apart, what is kept, who watches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import DeliverPolicy, StorageType, StreamConfig
from nats_rig import NatsServer

from gateway.center import jetstream, jetstream_setup, watch
from gateway.center.jetstream import JetStream
from gateway.center.sink import Heard, StoreError, Taken
from gateway.spool.records import Lane
from gateway.spool.trouble import Trouble
from gateway.wire.rows import Message

pytestmark = pytest.mark.peers

BOOT = "00112233445566aa"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path) as running:
        yield running


def taken(*numbers: int, lane: Lane = Lane.SUMMARY) -> list[Taken]:
    return [Taken("w", Message(BOOT, "city", lane, number, 60.0, ()), b"%d" % number) for number in numbers]


async def kept(server: NatsServer, name: str = "city") -> Counter[str]:
    """How often the stream holds each Nats-Msg-Id."""
    client = await nats.connect(server.url())
    stream = client.jetstream()
    left = (await stream.stream_info(name)).state.messages
    reader = await stream.subscribe(
        f"{name}.pack.>", stream=name, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
    )
    found: Counter[str] = Counter()
    for _ in range(left):
        found[(await reader.next_msg(timeout=10)).headers["Nats-Msg-Id"]] += 1
    await client.close()
    return found


async def killed(sink: JetStream) -> None:
    """As kill -9: nothing is written any more."""
    for task in sink._tasks:
        task.cancel()
    sink.ended.set_result(None)
    await sink._client.close()


async def until(so: Any) -> None:
    async with asyncio.timeout(20):
        while not so():
            await asyncio.sleep(0.02)


async def test_each_pack_once_whoever_hears_it(server: NatsServer) -> None:
    a, b = await JetStream.open(server.url("city")), await JetStream.open(server.url("city"))
    assert a.blocks.block != b.blocks.block
    gone: list[str] = []
    a.lost = gone.append
    assert await a.put_all("cab.7", taken(0, 1, 2), Heard(60, ("mast",))) == [True] * 3
    assert await b.put_all("cab.7", taken(2, 3), Heard()) == [False, True]
    await until(lambda: gone == ["cab.7"])
    assert await a.put_all("cab.7", taken(3, 4), Heard()) == [False, True]
    assert await a.put_all("cab=2E7", taken(3, lane=Lane.ALARM), Heard()) == [True], "another gateway"
    assert set((await kept(server)).values()) == {1}
    assert await kept(server) == Counter(
        [f"cab=2E7/{BOOT}/city/1/{n}" for n in range(5)] + [f"cab=3D2E7/{BOOT}/city/0/3"]
    )
    assert ("cab.7", 0, 60, ("mast",), "") in b.heard()
    await a.aclose()
    await b.aclose()


async def test_a_duplicate_later_than_the_servers_window_and_after_a_kill(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream_setup, "WINDOW_S", 0.2)
    monkeypatch.setattr(jetstream_setup, "LEAST_WINDOW_S", 0.1)
    a = await JetStream.open(server.url("city"))
    await a.put_all("cab", taken(*range(50)), Heard())
    await a._note(a._owned["cab"])
    await a.put_all("cab", taken(60, lane=Lane.ALARM), Heard())
    await a.put_all("cab", taken(60, 61), Heard())
    await a.put_all("cab", taken(9, lane=Lane.DIAGNOSTIC), Heard())
    await killed(a)  # these are in the stream only
    await asyncio.sleep(0.5)
    b = await JetStream.open(server.url("city"))
    assert await b.put_all("cab", taken(49, 50, 60, 61, 62), Heard()) == [False, True, False, False, True]
    assert await b.put_all("cab", taken(60, 61, lane=Lane.ALARM), Heard()) == [False, True]
    assert await b.put_all("cab", taken(8, 9, lane=Lane.DIAGNOSTIC), Heard()) == [True, False]
    assert set((await kept(server)).values()) == {1}
    await b.aclose()


async def test_an_answer_that_is_lost_leaves_no_doubt(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publication whose acknowledgement never came is in the stream: it is told again after any time."""
    monkeypatch.setattr(jetstream_setup, "WINDOW_S", 0.2)
    monkeypatch.setattr(jetstream_setup, "LEAST_WINDOW_S", 0.1)
    sink = await JetStream.open(server.url("city"))
    await sink.put_all("cab", taken(0), Heard())
    putting = asyncio.ensure_future(sink.put_all("cab", taken(1), Heard()))
    published = sink._publisher.publish

    async def deaf(*arguments: Any, **more: Any) -> Any:
        await published(*arguments, **more)
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(sink._publisher, "publish", deaf)
    monkeypatch.setattr(jetstream, "ACK_S", 0.3)
    with pytest.raises(StoreError):
        await putting
    monkeypatch.undo()
    assert await sink.put_all("cab", taken(2), Heard()) == [True]
    await asyncio.sleep(0.4)
    assert await sink.put_all("cab", taken(1), Heard()) == [False]
    assert set((await kept(server)).values()) == {1}
    await sink.aclose()


async def test_what_the_server_cannot_take_is_refused_and_holds_up_nothing(server: NatsServer) -> None:
    sink = await JetStream.open(server.url("city"))
    large = Taken("w", Message(BOOT, "city", Lane.SUMMARY, 7, 60.0, ()), bytes(1 << 20))
    refused, stored = await sink.put_all("cab", [large, *taken(8)], Heard())
    assert isinstance(refused, ValueError)
    assert stored is True
    await sink.aclose()


async def test_a_full_stream_is_waited_for(server: NatsServer) -> None:
    sink = await JetStream.open(server.url("city"))
    config = (await sink._stream.stream_info("city")).config
    config.max_msgs = 2
    await sink._stream.update_stream(config)
    assert await sink.put_all("cab", taken(0, 1), Heard()) == [True, True]
    with pytest.raises(StoreError, match="maximum messages"):
        await sink.put_all("cab", taken(2), Heard())
    config.max_msgs = 10
    await sink._stream.update_stream(config)
    assert await sink.put_all("cab", taken(0, 1, 2), Heard()) == [False, False, True]
    await sink.aclose()


async def test_a_killed_server_is_waited_for_and_nothing_is_lost(server: NatsServer) -> None:
    sink = await JetStream.open(server.url("city"))
    assert await sink.put_all("cab", taken(0), Heard()) == [True]
    server.kill()
    with pytest.raises(StoreError):
        await sink.put_all("cab", taken(1), Heard())
    with pytest.raises(StoreError):
        await sink.put_all("another", taken(1), Heard())
    server.start()
    await until(lambda: sink._client.is_connected)

    async def again() -> list[bool | ValueError]:
        with suppress(StoreError):
            return await sink.put_all("cab", taken(0, 1), Heard())
        return []

    result: list[bool | ValueError] = []
    async with asyncio.timeout(20):
        while not result:
            result = await again()
    assert result[0] is False
    other = await JetStream.open(server.url("city"))
    gone: list[str] = []
    sink.lost = gone.append
    await other.put_all("cab", taken(1), Heard())
    await until(lambda: "cab" in gone)
    await other.aclose()
    assert set((await kept(server)).values()) == {1}
    assert len(await kept(server)) == 2
    await sink.aclose()


async def test_what_a_stream_must_be(server: NatsServer, tmp_path: Path) -> None:
    client = await nats.connect(server.url())
    stream = client.jetstream()
    for name, config, words in (
        ("mem", StreamConfig(subjects=["mem.pack.>"], storage=StorageType.MEMORY, duplicate_window=120), "in memory"),
        ("win", StreamConfig(subjects=["win.pack.>"], storage=StorageType.FILE, duplicate_window=2), "window is 2 s"),
        ("sub", StreamConfig(subjects=["else.>"], storage=StorageType.FILE, duplicate_window=120), "subjects are else"),
    ):
        config.name = name
        await stream.add_stream(config)
        with pytest.raises(Trouble, match=f"CG-4208.*{words}"):
            await JetStream.open(server.url(name))
    await client.close()
    for url in ("nats://", "nats://host/a b", "tls:///x", f"nats://127.0.0.1:{server.port}/a.b"):
        with pytest.raises(Trouble, match="CG-4212"):
            await JetStream.open(url)
    with NatsServer(tmp_path / "plain", jetstream=False) as plain, pytest.raises(Trouble, match="CG-4208"):
        await JetStream.open(plain.url("city"))


async def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setattr(jetstream_setup, "CONNECT_S", 1.0)
    with pytest.raises(Trouble, match="CG-4212"):
        await JetStream.open(f"nats://127.0.0.1:{unused_port}/city")


async def test_one_watches_for_all_and_another_goes_on(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("RENEW_S", 0.05), ("LEASE_S", 0.5), ("WITHOUT_S", 5.0)):
        monkeypatch.setattr(watch, name, seconds)
    monkeypatch.setattr(jetstream, "BEAT_S", 0.05)
    a = await JetStream.open(server.url("city"))
    await until(lambda: a.leads)
    b = await JetStream.open(server.url("city"))
    told: list[tuple[str, float, tuple[str, ...]]] = []
    a.heed = lambda *said: told.append(said)
    await b.put_all("cab", (), Heard(60, ("feeder",)))
    await until(lambda: ("cab", 60, ("feeder",)) in told)
    await a.mark_silent(["cab", "other"], "cab")
    await a.mark_silent(["other"], "")
    assert not b.leads
    await killed(a)
    await until(lambda: b.leads)
    assert ("cab", 0, 60, ("feeder",), "cab") in b.heard()
    c = await JetStream.open(server.url("city"))
    await b.aclose()
    await until(lambda: c.leads)
    await c.aclose()
