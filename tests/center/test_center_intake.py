"""The center over real sockets: who may speak, what is stored, what strangers and broken messages get."""

import asyncio
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import aiocoap
import pytest
from aiocoap.message import UndecidedRemote
from aiocoap.numbers.codes import BAD_REQUEST, CHANGED, POST, UNAUTHORIZED
from aiocoap.transports.oscore import OSCOREAddress

from gateway.center import intake, look, main
from gateway.center.intake import parse_bind
from gateway.center.store import Store, StoreError
from gateway.site.upstream import Catalog
from gateway.spool.records import Event, Gap, Health, Item, Phase, Record, Severity, Values, Window, Windows, lane_of
from gateway.spool.trouble import Trouble
from gateway.wire import coap, pack
from gateway.wire.credentials import SecurityContext, create
from tests.ports import begun, free_port

CATALOG = Catalog("cab-07", (("ufm.flow", "ufm", "flow", "m3/h", 0, 0.01), ("ufm.p", "ufm", "p", "bar", 0, 0.01)))
BOOT = "00112233445566aa"


@asynccontextmanager
async def center(folder: Path, *, insecure: bool = False) -> AsyncIterator[int]:
    """A listening center with gateways cab-07 and cab-08 known; yields its port."""
    port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
    if not (folder / "keys").exists():
        create("cab-07", folder / "gw7", folder / "keys")
        create("cab-08", folder / "gw8", folder / "keys")
    serving = asyncio.create_task(
        main.serve(
            f"127.0.0.1:{port}", str(folder / "c.db"), str(folder / "keys"), insecure=insecure, stop=stop, ready=ready
        )
    )
    await begun(serving, ready)
    try:
        yield port
    finally:
        stop.set()
        await serving


@asynccontextmanager
async def client() -> AsyncIterator[Any]:
    context = await aiocoap.Context.create_client_context(transports=["oscore", "simple6"])
    try:
        yield context
    finally:
        await context.shutdown()


async def post(context: Any, port: int, path: str, payload: bytes, key: Any = None, **options: Any) -> Any:
    message = aiocoap.Message(code=POST, uri_path=(path,), payload=payload, content_format=112, **options)
    remote = UndecidedRemote("coap", f"127.0.0.1:{port}")
    message.remote = OSCOREAddress(key, remote) if key else remote
    return await asyncio.wait_for(context.request(message, handle_blockwise=False).response, 5)


def message(item: Item, seq: int = 0, boot: str = BOOT) -> tuple[str, bytes]:
    return pack.encode(Record(boot, "city", lane_of(item), seq, CATALOG.id, item), CATALOG, lambda _: 10**18)


def event(subject: str = "zone-3") -> Event:
    return Event(
        "water.burst", Phase.ONSET, Severity.MAJOR, "city", subject, 5, 4, 8.0, "burst", "파손",
        "WM-1", "p", "곳", 37.5, 127.0, ((0, ((3, 1.5), (4, 2.5))),),
    )  # fmt: skip


WINDOWS = Windows(
    tuple(Window(c, 0, 60 * 10**9, 60, 61, 1.0, 2.0, 1.5, 0.1, 1.0, 1.2, 59, 1.5, 1.9, 0) for c in (0, 1))
)


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "c.db")) as db:
        return db.execute(sql).fetchall()


async def test_every_kind_is_stored_once_and_known_again(tmp_path: Path) -> None:
    items: list[Item] = [
        WINDOWS,
        Values(((0, 5, 1.25, 0),)),
        event(),
        Gap("crash", (((0, 1), 10, 20),), "", "", ((1, BOOT, 7, 7),)),
        Health(5, {"cpu": 0.5}),
    ]
    async with center(tmp_path) as port, client() as context:
        key = SecurityContext(tmp_path / "gw7")
        for _ in range(2):
            for seq, item in enumerate(items):
                assert (await post(context, port, *message(item, seq), key)).code == CHANGED
        key.close()
    assert rows(tmp_path, "SELECT gateway, boot, upstream, lane, seq FROM message ORDER BY seq") == [
        ("cab-07", BOOT, "city", lane, seq) for seq, lane in enumerate([1, 1, 0, 2, 2])
    ]
    assert rows(tmp_path, "SELECT sum(n) FROM duplicate") == [(5,)]
    assert rows(tmp_path, "SELECT channel, n, expected, min, max, p95 FROM window ORDER BY channel") == [
        ("ufm.flow", 60, 61, 1.0, 2.0, 1.9),
        ("ufm.p", 60, 61, 1.0, 2.0, 1.9),
    ]
    assert rows(tmp_path, "SELECT channel, value FROM value") == [("ufm.flow", 1.25)]
    ((code, asset, evidence, committed),) = rows(
        tmp_path, "SELECT code, asset, evidence, committed_boottime_ns FROM event"
    )
    assert (code, asset) == ("water.burst", "WM-1")
    assert json.loads(evidence) == [["ufm.flow", [[10**18, 1.5], [10**18, 2.5]]]]
    assert committed > 0
    assert rows(tmp_path, "SELECT channel, from_ns, to_boottime_ns FROM gap") == [
        ("ufm.flow", 10**18 + 10, 20),
        ("ufm.p", 10**18 + 10, 20),
    ]


async def test_the_gateway_is_who_holds_the_key_not_what_the_message_says(tmp_path: Path) -> None:
    async with center(tmp_path) as port, client() as context:
        key = SecurityContext(tmp_path / "gw8")
        assert (await post(context, port, *message(event()), key, uri_query=("g=cab-07",))).code == CHANGED
        key.close()
    assert rows(tmp_path, "SELECT gateway FROM event") == [("cab-08",)]


async def test_strangers_get_an_empty_unauthorized_and_nothing_is_stored(tmp_path: Path) -> None:
    create("cab-07", tmp_path / "stranger", tmp_path / "elsewhere")
    async with center(tmp_path) as port, client() as context:
        for path in ("e", "w", "nowhere", ".well-known/core"):
            answer = await post(context, port, path, message(event())[1])
            assert (answer.code, answer.payload) == (UNAUTHORIZED, b"")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port))
            loop = asyncio.get_running_loop()
            for stray, code in (
                (b"\x40\x01\x00\x01\xbb.well-known\x04core", 0x81),
                (b"\x40\x02\x00\x02\xbb.well-known\x05edhoc\xff\xf5\x01", 0x80),
            ):
                sock.send(stray)
                answer = await asyncio.wait_for(loop.sock_recv(sock, 2000), 2)
                assert answer[1] == code
                assert len(answer) <= 3 * len(stray)
    assert rows(tmp_path, "SELECT count(*) FROM message") == [(0,)]


async def test_an_unknown_key_is_unauthorized_until_its_folder_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "RESCAN_S", 0.0)
    async with center(tmp_path) as port, client() as context:
        create("cab-09", tmp_path / "gw9", tmp_path / "later")
        key = SecurityContext(tmp_path / "gw9")
        with pytest.raises(aiocoap.oscore.NotAProtectedMessage) as plain:
            await post(context, port, *message(event()), key)
        assert plain.value.plain_message.code == UNAUTHORIZED
        assert plain.value.plain_message.payload == b""
        (tmp_path / "later" / "cab-09").rename(tmp_path / "keys" / "cab-09")
        assert (await post(context, port, *message(event()), key)).code == CHANGED
        key.close()


async def test_an_insecure_center_takes_the_name_but_not_that_of_a_known_gateway(tmp_path: Path) -> None:
    async with center(tmp_path, insecure=True) as port, client() as context:
        assert (await post(context, port, *message(event()), uri_query=("g=demo",))).code == CHANGED
        for query in ((), ("g=",), ("g=cab-07",), ("g=a", "g=b")):
            assert (await post(context, port, *message(event()), uri_query=query)).code == UNAUTHORIZED
    assert rows(tmp_path, "SELECT gateway FROM event") == [("demo",)]


async def test_what_cannot_be_read_is_refused_in_a_few_words(tmp_path: Path) -> None:
    async with center(tmp_path, insecure=True) as port, client() as context:
        for payload in (b"", b"\xff" * 30, message(WINDOWS)[1], message(event())[1][:-9], b"\x81\xa0"):
            answer = await post(context, port, "e", payload, uri_query=("g=demo",))
            assert answer.code == BAD_REQUEST
            assert 0 < len(answer.payload) <= 64
    assert rows(tmp_path, "SELECT count(*) FROM message") == [(0,)]


async def test_mutated_packs_and_datagrams_never_stop_it(tmp_path: Path) -> None:
    chance = random.Random(7)
    plain = [message(item, 1) for item in (WINDOWS, event(), Gap("x", (((0,), 1, 2),)), Values(((0, 5, 1.0, 0),)))]
    async with center(tmp_path, insecure=True) as port, client() as context:
        for _ in range(400):
            path, payload = chance.choice(plain)
            payload = bytearray(payload)
            for _ in range(chance.randint(1, 4)):
                payload[chance.randrange(len(payload))] = chance.randrange(256)
            answer = await post(context, port, path, bytes(payload), uri_query=("g=fuzz",))
            assert answer.code in (CHANGED, BAD_REQUEST)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for k in range(2000):
                head = bytes([0x40 + chance.randrange(9), chance.choice([1, 2, 69, 0])]) + k.to_bytes(2, "big")
                sock.sendto(head + chance.randbytes(chance.randrange(60)), ("127.0.0.1", port))
                if k % 50 == 0:
                    await asyncio.sleep(0)
            sock.sendto(b"\x40\x02\x00\x01\xb3\xff\xfe\xfd", ("127.0.0.1", port))
        assert (await post(context, port, *message(event("last")), uri_query=("g=demo",))).code == CHANGED
    assert rows(tmp_path, "SELECT count(*) FROM event WHERE gateway = 'demo'") == [(1,)]


async def test_a_restarted_center_recovers_freshness_and_rejects_replays(tmp_path: Path) -> None:
    key = None
    for round_ in range(2):
        async with center(tmp_path) as port, client() as context:
            key = key or SecurityContext(tmp_path / "gw7")
            for seq in range(3):
                assert (await post(context, port, *message(event(), round_ * 3 + seq), key)).code == CHANGED
            protected, _ = key.protect(aiocoap.Message(code=POST, uri_path=("e",), payload=message(event(), 99)[1]))
            for expected in ("protected", "replay"):
                again = aiocoap.Message(code=protected.code, payload=protected.payload, oscore=protected.opt.oscore)
                again.remote = UndecidedRemote("coap", f"127.0.0.1:{port}")
                answer = await asyncio.wait_for(context.request(again, handle_blockwise=False).response, 5)
                assert (answer.opt.oscore is not None) == (expected == "protected")
    assert key
    key.close()
    assert rows(tmp_path, "SELECT count(*) FROM event") == [(7,)]


async def test_a_full_database_answers_later_and_keeps_what_it_has(tmp_path: Path) -> None:
    store = Store(tmp_path / "c.db")
    path, payload = message(event())
    decoded = pack.decode(path, payload)
    store._db.execute("PRAGMA max_page_count = 1")
    stored = 0
    with suppress(StoreError):
        while True:
            path, payload = message(event(), stored)
            await store.put("cab", pack.decode(path, payload), len(payload))
            stored += 1
    with pytest.raises(StoreError, match="full"):
        await store.put("cab", pack.decode(path, payload), len(payload))
    store._db.execute("PRAGMA max_page_count = 100000")
    assert await store.put("cab", pack.decode(*message(event(), stored)), 1)
    assert not await store.put("cab", decoded, 1)
    store.close()
    assert rows(tmp_path, "SELECT count(*) FROM event") == [(stored + 1,)]


def serving_port_is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


async def test_a_store_that_dies_takes_the_center_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a mistake of ours")

    async def ask() -> None:
        async with center(tmp_path, insecure=True) as port:
            monkeypatch.setattr(Store, "_one", broken)
            path, payload = message(event())
            options = ((coap.URI_PATH, path.encode()), (coap.URI_QUERY, b"g=demo"))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(coap.to_datagram(coap.Message(coap.POST, options, payload)), ("127.0.0.1", port))
                while serving_port_is_taken(port):
                    await asyncio.sleep(0.01)

    with pytest.raises(TypeError, match="mistake"):
        await ask()


async def test_what_keeps_it_from_starting_is_named(tmp_path: Path) -> None:
    stop = asyncio.Event()
    (tmp_path / "keys").mkdir()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Trouble, match="CG-4201"):
            await main.serve(bind, str(tmp_path / "c.db"), str(tmp_path / "keys"), insecure=False, stop=stop)
    with pytest.raises(Trouble, match="CG-4205"):
        await main.serve("nonsense", str(tmp_path / "c.db"), str(tmp_path / "keys"), insecure=False, stop=stop)
    with pytest.raises(Trouble, match="CG-4203"):
        await main.serve("127.0.0.1:0", str(tmp_path / "c.db"), str(tmp_path / "none"), insecure=False, stop=stop)
    (tmp_path / "bad.db").write_bytes(b"x" * 5000)
    with pytest.raises(Trouble, match="CG-4202"):
        await main.serve("127.0.0.1:0", str(tmp_path / "bad.db"), None, insecure=True, stop=stop)


def test_a_taken_port_ends_the_command_with_3(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        db = str(tmp_path / "c.db")
        code = f"import sys; from gateway.center.main import run; sys.exit(run({bind!r}, {db!r}, None, True))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 3
    assert "CG-4201" in done.stderr
    assert "Traceback" not in done.stderr


def test_bind_addresses() -> None:
    assert parse_bind("127.0.0.1:5683") == ("127.0.0.1", 5683)
    assert parse_bind("[::1]:1") == ("::1", 1)
    assert parse_bind(":5683") == ("::", 5683)


async def test_looking_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "c.db")
    lost = Gap("disk", (((0,), 10, 20),), "", "", ((0, BOOT, 1, 2),))
    for seq, item in ((0, event()), (3, event()), (5, event()), (0, WINDOWS), (0, lost)):
        await store.put("cab", pack.decode(*message(item, seq)), 10)
    store.close()
    path = str(tmp_path / "c.db")
    assert look.tail(path, False) == look.gateways(path, False) == look.gaps(path, False) == 0
    text = capsys.readouterr().out
    assert "water.burst onset zone-3: burst" in text
    assert "2 windows, 120 readings" in text
    assert look.gaps(path, True) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(g["channel"], g["what"]) for g in found["gaps"]] == [("ufm.flow", "disk")]
    assert [(h["first"], h["last"], h["declared"]) for h in found["missing records"]] == [
        (1, 2, "disk"),
        (4, 4, "not declared"),
    ]
    assert look.tail(str(tmp_path / "none.db"), True) == 2
    assert "CG-4204" in capsys.readouterr().err
