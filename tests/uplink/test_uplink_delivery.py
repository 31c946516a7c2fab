"""From the spool to a center and back, over real sockets and bad lines."""

import asyncio
import logging
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiocoap
import aiocoap.resource
import pytest
from aiocoap.numbers.codes import Code

from gateway.center import main as center_main
from gateway.center.blocks import Blocks
from gateway.center.datagrams import Datagrams, open_socket
from gateway.site.upstream import Catalog, Upstream
from gateway.spool.records import Event, Gap, Item, Lane, Phase, Severity, Values, Window, Windows
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError, Trouble
from gateway.uplink import converse, lanes, port, roundtrip, way
from gateway.uplink.roundtrip import FLOOR_S, RoundTrip
from gateway.uplink.uplink import Uplink, run
from gateway.wire import coap, secure
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create
from gateway.wire.proxy import UdpProxy
from tests.ports import begun, free_port

CATALOG = Catalog("cab", tuple((f"dev.p{i}", "dev", f"p{i}", "Cel", 0, 0.1) for i in range(8)))


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def event(subject: str) -> Event:
    return Event(
        "water.burst", Phase.ONSET, Severity.MAJOR, "city", subject, now_ns(), now_ns(), 8.0, "burst",
        "파손", "WM", "p", "곳", 37.5, 127.0
    )  # fmt: skip


def windows(k: int) -> Windows:
    end = now_ns()
    return Windows(
        tuple(Window(c, end - 10**9, end, 60, 60, 1.0, 2.0 + k, 1.5, 0.1, 1.0, 1.2, end, 1.5, 1.9, 0) for c in range(8))
    )


@asynccontextmanager
async def center(folder: Path, port: int) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(
        center_main.serve(
            f"127.0.0.1:{port}", str(folder / "c.db"), str(folder / "keys"), insecure=False, stop=stop, ready=ready
        )
    )
    await begun(serving, ready)
    try:
        yield
    finally:
        stop.set()
        await serving


@asynccontextmanager
async def sending(folder: Path, *upstreams: Upstream) -> AsyncIterator[Uplink]:
    uplink = Uplink("cab", folder / "spool.db")
    try:
        await uplink.apply(upstreams)
        yield uplink
    finally:
        await uplink.close()


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    spool = Spool.open(tmp_path / "spool.db")
    spool.put_catalog(CATALOG)
    spool.set_offset(time.time_ns() - now_ns(), 1000)
    yield spool
    spool.close()


def put(spool: Spool, *items: Item, to: str = "city") -> None:
    spool.append([(to, item) for item in items], catalog=CATALOG.id)


def secure_to(folder: Path, port: int, name: str = "city") -> Upstream:
    return Upstream(name, f"coap://127.0.0.1:{port}", str(folder / "gw"), False, ("",))


async def until(true: Callable[[], bool], within_s: float = 10.0) -> float:
    """Wait for a state, not for a time; returns how long it took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < within_s, "it did not happen"
        await asyncio.sleep(0.005)
    return time.monotonic() - started


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "c.db")) as db:
        return db.execute(sql).fetchall()


def whole(folder: Path) -> bool:
    """Every number from 0 on is there, in every lane."""
    return not rows(folder, "SELECT 1 FROM message GROUP BY boot, upstream, lane HAVING count(*) <> max(seq) + 1")


async def test_everything_arrives_once_and_the_spool_empties(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    put(writer, Values(((0, now_ns(), 1.0, 0),)), event("early"), *(windows(k) for k in range(30)))
    async with center(tmp_path, port), sending(tmp_path, secure_to(tmp_path, port)):
        await until(lambda: not writer.depth())
        put(writer, event("late"), Gap("stopped", (((0,), 5, 6),)))
        await until(lambda: not writer.depth())
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT count(*) FROM window") == [(240,)]
    assert rows(tmp_path, "SELECT subject FROM event ORDER BY message") == [("early",), ("late",)]
    assert rows(tmp_path, "SELECT * FROM duplicate") == []


async def test_a_cut_way_loses_nothing_sends_little_and_recovers_soon(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    proxy = UdpProxy(("127.0.0.1", 0), ("127.0.0.1", port))
    await proxy.start()
    async with center(tmp_path, port), sending(tmp_path, secure_to(tmp_path, proxy.listen[1])) as uplink:
        put(writer, event("before"))
        await until(lambda: not writer.depth())
        proxy.cut = True
        put(writer, *(windows(k) for k in range(40)), event("during"))
        paths = [lanes._way for lanes, _ in uplink._running.values()]
        await until(lambda: not paths[0].open.is_set())
        before = proxy.bytes_up
        pinged = proxy.datagrams_up
        await until(lambda: proxy.datagrams_up >= pinged + 3)
        assert proxy.bytes_up - before < 3000, "a dead way must not be filled"
        proxy.cut = False
        assert await until(lambda: rows(tmp_path, "SELECT 1 FROM event WHERE subject = 'during'") != []) < 2.0
        await until(lambda: not writer.depth())
    await proxy.stop()
    assert whole(tmp_path)


@pytest.mark.parametrize(("loss", "duplicate", "reorder"), [(0.2, 0.0, 0.0), (0.0, 0.5, 0.5), (0.1, 0.3, 0.3)])
async def test_a_bad_line_loses_and_doubles_nothing(
    tmp_path: Path, writer: Spool, loss: float, duplicate: float, reorder: float
) -> None:
    port = free_port()
    proxy = UdpProxy(("127.0.0.1", 0), ("127.0.0.1", port), seed=3)
    proxy.loss, proxy.duplicate, proxy.reorder = loss, duplicate, reorder
    await proxy.start()
    async with center(tmp_path, port), sending(tmp_path, secure_to(tmp_path, proxy.listen[1])):
        for k in range(12):
            put(writer, windows(k), event(f"z{k}"))
        await until(lambda: not writer.depth(), 30)
    await proxy.stop()
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT count(*), count(DISTINCT seq) FROM message WHERE lane = 0") == [(12, 12)]
    assert rows(tmp_path, "SELECT count(*) FROM window") == [(96,)]


async def test_a_restarted_center_gets_the_rest(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    async with sending(tmp_path, secure_to(tmp_path, port)):
        for round_ in range(3):
            async with center(tmp_path, port):
                put(writer, event(f"r{round_}"), windows(round_))
                await until(lambda: not writer.depth())
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT count(*) FROM event") == [(3,)]


async def test_a_restarted_uplink_goes_on(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    async with center(tmp_path, port):
        for round_ in range(3):
            put(writer, *(windows(k) for k in range(5)), event(f"r{round_}"))
            async with sending(tmp_path, secure_to(tmp_path, port)):
                await until(lambda: not writer.depth())
    assert whole(tmp_path)


async def test_a_dead_upstream_holds_up_nobody(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    dead = Upstream("dead", f"coap://127.0.0.1:{free_port()}", "", True, ("",))
    put(writer, event("x"), to="dead")
    async with center(tmp_path, port), sending(tmp_path, dead, secure_to(tmp_path, port)):
        put(writer, event("x"), windows(0))
        await until(lambda: {name for name, _ in writer.depth()} == {"dead"})
    assert writer.depth()["dead", Lane.ALARM][0] == 1


class Scripted(aiocoap.resource.Resource):  # type: ignore[misc]
    """Answers what it is told, then 2.04."""

    def __init__(self, answers: list[aiocoap.Message]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[bytes] = []

    async def render_post(self, request: Any) -> Any:
        self.asked.append(request.payload)
        return self.answers.pop(0) if self.answers else aiocoap.Message(code=Code.CHANGED)


@asynccontextmanager
async def scripted(port: int, *answers: aiocoap.Message) -> AsyncIterator[Scripted]:
    resource = Scripted(list(answers))
    site = aiocoap.resource.Site()
    for kind in "wvegh":
        site.add_resource([kind], resource)
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port), transports=["udp6"])
    try:
        yield resource
    finally:
        await context.shutdown()


def plain(port: int) -> Upstream:
    return Upstream("city", f"coap://127.0.0.1:{port}", "", True, ("",))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda: aiocoap.Message(code=Code.SERVICE_UNAVAILABLE, max_age=0), "CG-4104"),
        (lambda: aiocoap.Message(code=Code.INTERNAL_SERVER_ERROR, payload=b"\xff\xfe"), "CG-4104"),
        (lambda: aiocoap.Message(code=Code.UNAUTHORIZED), "CG-4102"),
        (lambda: aiocoap.Message(code=Code.CONTENT, payload=b"hello"), "CG-4105"),
        (lambda: aiocoap.Message(code=Code.BAD_REQUEST, payload=b"no"), "CG-4103"),
    ],
)
async def test_any_other_answer_keeps_the_record_and_is_logged_once(
    tmp_path: Path, writer: Spool, caplog: pytest.LogCaptureFixture, answer: Callable[[], aiocoap.Message], code: str
) -> None:
    caplog.set_level(logging.INFO, "citygate.uplink")
    port = free_port()
    put(writer, event("x"))
    async with scripted(port, answer(), answer()) as city, sending(tmp_path, plain(port)):
        await until(lambda: not writer.depth())
    assert len(city.asked) == 3
    assert len([r for r in caplog.records if r.getMessage().startswith(code)]) == 1
    assert [r for r in caplog.records if "stores again" in r.getMessage()]


async def test_a_record_refused_again_and_again_is_set_aside_and_declared(tmp_path: Path, writer: Spool) -> None:
    port = free_port()

    def refuse() -> aiocoap.Message:
        return aiocoap.Message(code=Code.REQUEST_ENTITY_TOO_LARGE)

    put(writer, windows(0))
    async with scripted(port, refuse(), refuse(), refuse()) as city, sending(tmp_path, plain(port)):
        await until(lambda: len(city.asked) == 4 and not writer.depth())
    assert b"refused" in city.asked[3]
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        assert [seq for (seq,) in db.execute("SELECT seq FROM refused")] == [0]


async def test_garbage_on_the_wire_is_no_acknowledgement(
    tmp_path: Path, writer: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "ANSWER_S", 0.1)
    monkeypatch.setattr(roundtrip, "FIRST_S", 0.1)
    loop = asyncio.get_running_loop()
    replies: list[bytes] = []

    class Garbage(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            mid = data[2:4]
            for reply in (
                b"\x60\x44" + mid,
                b"\x60\x44\x00\x00",
                b"\xff" * 9,
                b"\x68\x44" + mid + b"\x01" * 8 + b"\xff",
                b"",
            ):
                self.transport.sendto(reply, addr)
            replies.append(data)

    transport, _ = await loop.create_datagram_endpoint(Garbage, local_addr=("127.0.0.1", 0))
    put(writer, event("x"))
    async with sending(tmp_path, secure_to(tmp_path, transport.get_extra_info("sockname")[1])):
        await until(lambda: len(replies) >= 3)
    transport.close()
    assert writer.depth()["city", Lane.ALARM][0] == 1


async def test_a_wrong_key_is_named_and_nothing_is_lost(
    tmp_path: Path, writer: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    create("cab", tmp_path / "wrong", tmp_path / "other-keys")
    put(writer, event("x"))
    async with center(tmp_path, port):
        async with sending(
            tmp_path, Upstream("city", f"coap://127.0.0.1:{port}", str(tmp_path / "wrong"), False, ("",))
        ):
            await until(lambda: "CG-4102" in caplog.text)
        assert writer.depth()
        async with sending(tmp_path, secure_to(tmp_path, port)):
            await until(lambda: not writer.depth())


async def test_missing_credentials_are_refused_with_a_code(tmp_path: Path, writer: Spool) -> None:
    bad = Upstream("city", "coap://127.0.0.1:1", str(tmp_path / "none"), False, ("",))
    with pytest.raises(Trouble, match="CG-4001"):
        await run("cab", [bad], tmp_path / "spool.db", stop=asyncio.Event())
    bad = Upstream("city", "https://example.org", "", True, ("",))
    with pytest.raises(Trouble, match="CG-4006"):
        await run("cab", [bad], tmp_path / "spool.db", stop=asyncio.Event())


async def test_another_list_of_upstreams_is_taken_over_while_running(tmp_path: Path, writer: Spool) -> None:
    first, second = free_port(), free_port()
    async with scripted(first) as one, scripted(second) as two, sending(tmp_path, plain(first)) as uplink:
        put(writer, event("a"))
        await until(lambda: not writer.depth())
        task = uplink._running[plain(first)][1]
        await uplink.apply([plain(first)])
        assert uplink._running[plain(first)][1] is task, "unchanged goes on undisturbed"
        await uplink.apply([plain(second)])
        put(writer, event("b"))
        await until(lambda: not writer.depth())
    assert (len(one.asked), len(two.asked)) == (1, 1)


async def test_a_replaced_spool_is_followed(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    async with scripted(port) as city, sending(tmp_path, plain(port)):
        put(writer, event("a"))
        await until(lambda: not writer.depth())
        with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
            db.execute("DROP TABLE counter")
        put(writer, event("b"))
        assert writer.quarantined
        await until(lambda: not writer.depth())
    assert len(city.asked) == 2


def test_the_time_out_follows_the_way() -> None:
    trip = RoundTrip()
    for _ in range(20):
        trip.answered(0.02)
    assert trip.timeout_s == FLOOR_S
    for _ in range(30):
        trip.answered(0.3)
    assert 0.3 < trip.timeout_s < 1.5
    for _ in range(50):
        trip.answered(9.0)
    assert trip.timeout_s == 5.0


def test_backing_off_is_bounded_and_scattered() -> None:
    waits = [way.backoff_s(n) for n in range(40)]
    assert 0.1 < waits[0] <= 0.2
    assert max(waits) <= 15.0
    assert len(set(waits)) > 30


async def test_what_a_full_disk_cannot_forget_is_not_sent_again_and_said_once(
    tmp_path: Path, writer: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port, refusals, forget = free_port(), 0, Spool.ack

    def full(*args: object) -> None:
        nonlocal refusals
        refusals += 1
        raise SpoolError("CG-2001", "no room left", "공간 부족")

    monkeypatch.setattr(Spool, "ack", full)
    monkeypatch.setattr(lanes, "POLL_S", 0.01)
    put(writer, event("one"), *(windows(k) for k in range(3)))
    async with center(tmp_path, port), sending(tmp_path, secure_to(tmp_path, port)):
        await until(lambda: refusals > 20)
        put(writer, event("two"))
        await until(lambda: rows(tmp_path, "SELECT count(*) FROM event") == [(2,)])
        monkeypatch.setattr(Spool, "ack", forget)
        await until(lambda: not writer.depth())
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT * FROM duplicate") == []
    assert sum("CG-2001" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("bad_luck", [1, 3, 9])
async def test_a_number_that_came_too_late_for_a_restarted_center_is_replaced_not_called_a_stranger(
    bad_luck: int, tmp_path: Path
) -> None:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    ours, theirs = SecurityContext(tmp_path / "gw"), SecurityContext(tmp_path / "keys" / "cab", own=False)
    theirs.recipient_replay_window.initialize_empty()
    asked = 0

    async def ask(outer: Message) -> Message:
        nonlocal asked
        asked += 1
        _, identifiers = secure.open_request(theirs, outer)
        if asked > bad_luck:
            return secure.protect_response(theirs, Message(coap.CHANGED), identifiers)
        if asked % 2:
            return Message(coap.UNAUTHORIZED, payload=way.REPLAY)
        stale = Message(coap.UNAUTHORIZED, ((coap.ECHO, b"12345678"),))
        return secure.protect_response(theirs, stale, identifiers)

    one = way.Way(secure_upstream(tmp_path), "cab", ours)
    got = await converse.post(one, "w", 112, b"pack", ask, largest=1024)
    assert got.kind is (way.Kind.STORED if bad_luck < way.AGAIN else way.Kind.BUSY)
    ours.close()
    theirs.close()


def secure_upstream(folder: Path) -> Upstream:
    return secure_to(folder, 5683)


async def test_a_large_body_goes_in_blocks_and_is_begun_anew_where_the_center_forgot(tmp_path: Path) -> None:
    blocks, forgetful, got = Blocks(), True, b""

    async def ask(request: Message) -> Message:
        nonlocal forgetful, got
        if request.uint(coap.BLOCK1) == 2 << 4 | 8 | 6 and forgetful:
            forgetful = False
            return Message(coap.INCOMPLETE)
        whole, answer = blocks.take("cab", request, 0.0)
        got = whole.payload if whole else b""
        return answer or Message(coap.CHANGED)

    one = way.Way(plain(5683), "cab", None)
    body = bytes(range(256)) * 20
    assert (await converse.post(one, "w", 112, body, ask, largest=1024)).kind is way.Kind.BUSY
    assert (await converse.post(one, "w", 112, body, ask, largest=1024)).kind is way.Kind.STORED
    assert got == body


async def test_a_name_is_asked_again_when_the_way_is_shut_and_the_last_good_address_kept(
    tmp_path: Path, writer: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, asked = free_port(), free_port(), 0
    answers: list[int] = [first]

    loop = asyncio.get_running_loop()
    really = loop.getaddrinfo

    async def getaddrinfo(host: str, port: int, **how: Any) -> list[Any]:
        nonlocal asked
        if host != "center.example":
            return list(await really(host, port, **how))
        asked += 1
        if not answers:
            raise OSError("the name server is gone")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.1", answers[0]))]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    upstream = Upstream("city", "coap://center.example", "", True, ("",))
    async with sending(tmp_path, upstream):
        async with scripted(first) as one:
            put(writer, event("a"))
            await until(lambda: not writer.depth())
            answers.clear()
        put(writer, event("b"))
        await until(lambda: asked >= 2)
        async with scripted(first) as again:
            await until(lambda: not writer.depth())
        answers.append(second)
        put(writer, event("c"))
        async with scripted(second) as moved:
            await until(lambda: not writer.depth(), 20)
    assert [len(city.asked) for city in (one, again, moved)] == [1, 1, 1]


async def test_alarms_do_not_wait_for_one_another(tmp_path: Path, writer: Spool) -> None:
    port, let_go = free_port(), asyncio.Event()
    asked: list[str] = []

    async def say(request: Message, _: str) -> tuple[Message, bool]:
        (subject, *_) = [one for one in (b"first", b"second", b"third") if one in request.payload] or [b"hello"]
        asked.append(subject.decode())
        if subject == b"first":
            await let_go.wait()
        return Message(coap.CHANGED), True

    udp = Datagrams(open_socket("127.0.0.1", port), say)
    put(writer, event("first"))
    async with sending(tmp_path, plain(port)):
        await until(lambda: "first" in asked)
        put(writer, event("second"), event("third"))
        await until(lambda: writer.depth()["city", Lane.ALARM][0] == 1)
        let_go.set()
        await until(lambda: not writer.depth())
    await udp.close()


@pytest.mark.parametrize("turns", range(5))
async def test_a_stop_is_heard_even_as_a_ping_fails(turns: int) -> None:
    """Whichever turn of the loop the cancellation falls into: a sender that misses it is waited for for ever."""
    one, refused = way.Way(plain(5683), "cab", None), asyncio.Event()

    async def ping() -> None:
        await refused.wait()
        raise ConnectionRefusedError

    one._ping = ping  # type: ignore[method-assign]
    pinging = asyncio.create_task(one._ping_until_answer())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    refused.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    pinging.cancel()
    done, _ = await asyncio.wait([pinging], timeout=5)
    assert pinging in done
    assert pinging.cancelled()
