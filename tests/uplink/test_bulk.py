"""A backlog in bulk over coap+tcp: order, cuts, hung and foreign centers, what is refused, and alarms beside it."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from gateway.center import intake
from gateway.center import main as center_main
from gateway.center.datagrams import Datagrams
from gateway.center.datagrams import open_socket as datagram_socket
from gateway.center.store import Store
from gateway.center.streams import Streams
from gateway.center.streams import open_socket as stream_socket
from gateway.site.upstream import Catalog, Upstream
from gateway.spool.records import Event, Gap, Item, Lane, Phase, Record, Severity, Window, Windows
from gateway.spool.spool import START, Spool
from gateway.uplink import lanes, link
from gateway.uplink.pace import LARGEST, SMALLEST, Line, Pace
from gateway.uplink.parcel import Packed, within
from gateway.uplink.source import STATE, Source
from gateway.uplink.uplink import Uplink
from gateway.wire import bundle, coap, hello
from gateway.wire.coap import Message
from gateway.wire.credentials import create
from tests.ports import begun, free_port

CATALOG = Catalog("cab", tuple((f"dev.p{i}", "dev", f"p{i}", "Cel", 0, 0.1) for i in range(4)))
BACKLOG = 400


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def windows(k: int) -> Windows:
    row = (60, 60, 1.0, 2.0 + k, 1.5, 0.1, 1.0, 1.2, k, 1.5, 1.9, 0)
    return Windows(tuple(Window(c, k * 10**9, (k + 1) * 10**9, *row) for c in range(4)))


def event(subject: str) -> Event:
    at = now_ns()
    return Event(
        "water.burst", Phase.ONSET, Severity.MAJOR, "city", subject, at, at, 8.0, "burst", "파손", "WM", "p", "곳",
        37.5, 127.0,
    )  # fmt: skip


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    spool = Spool.open(tmp_path / "spool.db")
    spool.put_catalog(CATALOG)
    spool.set_offset(time.time_ns() - now_ns(), 1000)
    yield spool
    spool.close()


def put(spool: Spool, *items: Item) -> None:
    spool.append([("city", item) for item in items], catalog=CATALOG.id)


def to(folder: Path, port: int, how: str = "auto", **more: Any) -> Upstream:
    return Upstream("city", f"coap://127.0.0.1:{port}", str(folder / "gw"), False, ("",), how, **more)


def plain(port: int, how: str = "auto") -> Upstream:
    return Upstream("city", f"coap://127.0.0.1:{port}", "", True, ("",), how)


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


class Scripted:
    """A plain center on both transports whose answers are told to it; 2.04 where nothing is."""

    def __init__(self, say: Callable[[Message], Message | Awaitable[Message | None] | None]) -> None:
        self.say = say
        self.asked: list[tuple[str, str, Message]] = []  # transport, path, request
        self.connections = 0

    async def answer(self, how: str, request: Message) -> tuple[Message | None, bool]:
        self.asked.append((how, "/".join(request.texts(coap.URI_PATH)), request))
        said = self.say(request)
        found = await said if isinstance(said, Awaitable) else said
        return found, True

    def packs(self, how: str) -> list[bytes]:
        return [
            pack
            for its, path, request in self.asked
            if its == how and path == "b"
            for _, pack in bundle.decode(bundle.DEFLATED, request.payload)[1]
        ]


@asynccontextmanager
async def scripted(port: int, say: Callable[[Message], Any], *, tcp: bool = True) -> AsyncIterator[Scripted]:
    one = Scripted(say)
    udp = Datagrams(datagram_socket("127.0.0.1", port), lambda request, _: one.answer("udp", request))
    streams = Streams(lambda request, *_: one.answer("tcp", request))
    if tcp:
        await streams.listen(stream_socket("127.0.0.1", port))
    try:
        yield one
    finally:
        await udp.close()
        await streams.close()


def stored(_: Message) -> Message:
    return Message(coap.CHANGED)


async def until(true: Callable[[], bool], within_s: float = 15.0) -> None:
    """Wait for a state, not for a time."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < within_s, "it did not happen"
        await asyncio.sleep(0.005)


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "c.db")) as db:
        return db.execute(sql).fetchall()


def whole(folder: Path) -> bool:
    return not rows(folder, "SELECT 1 FROM message GROUP BY boot, upstream, lane HAVING count(*) <> max(seq) + 1")


async def test_a_backlog_goes_over_a_connection_newest_state_first_and_arrives_once(
    tmp_path: Path, writer: Spool
) -> None:
    port = free_port()
    put(writer, *(windows(k) for k in range(BACKLOG)))
    put(writer, Gap("stopped", (((0,), 5, 6),)))
    async with center(tmp_path, port), sending(tmp_path, to(tmp_path, port)):
        await until(lambda: not writer.depth())
        put(writer, windows(BACKLOG), event("late"))
        await until(lambda: not writer.depth())
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT * FROM duplicate") == []
    assert rows(tmp_path, "SELECT count(*) FROM window") == [((BACKLOG + 1) * 4,)]
    first, *_ = rows(tmp_path, "SELECT seq FROM message WHERE lane = 1 ORDER BY id")
    assert first == (BACKLOG - 1,), "how things stand comes first"
    assert rows(tmp_path, "SELECT count(*) FROM (SELECT DISTINCT received_ns / 100000 FROM message)")[0][0] < BACKLOG


async def test_a_connection_cut_again_and_again_loses_and_doubles_nothing(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    put(writer, *(windows(k) for k in range(BACKLOG)))
    async with sending(tmp_path, to(tmp_path, port)):
        for _ in range(3):
            before = len(rows(tmp_path, "SELECT 1 FROM message")) if (tmp_path / "c.db").exists() else 0
            async with center(tmp_path, port):
                put(writer, *(windows(k) for k in range(200)))
                await until(lambda: len(rows(tmp_path, "SELECT 1 FROM message")) > before)  # noqa: B023
        async with center(tmp_path, port):
            await until(lambda: not writer.depth(), 30)
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT count(*) FROM message WHERE lane = 1") == [(BACKLOG + 600,)]


async def test_a_center_without_tcp_gets_datagrams_with_several_packs(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    put(writer, *(windows(k) for k in range(60)))
    async with scripted(port, stored, tcp=False) as city, sending(tmp_path, plain(port)):
        await until(lambda: not writer.depth())
    assert len(city.packs("udp")) == 60
    assert all(len(request.payload) <= 1000 for _, _, request in city.asked)
    assert len([1 for _, path, _ in city.asked if path == "b"]) < 20


async def test_a_center_that_knows_no_bundles_gets_each_record_alone(tmp_path: Path, writer: Spool) -> None:
    port = free_port()

    def old(request: Message) -> Message:
        known = request.texts(coap.URI_PATH)[0] in "wvegh"
        return Message(coap.CHANGED if known else coap.NOT_FOUND)

    put(writer, *(windows(k) for k in range(40)))
    async with scripted(port, old) as city, sending(tmp_path, plain(port)):
        await until(lambda: not writer.depth())
    assert len([1 for how, path, _ in city.asked if (how, path) == ("udp", "w")]) == 40


@pytest.mark.parametrize(("how", "used"), [("tcp", {"tcp"}), ("datagram", {"udp"})])
async def test_the_site_may_say_which_way(tmp_path: Path, writer: Spool, how: str, used: set[str]) -> None:
    port = free_port()
    put(writer, *(windows(k) for k in range(40)))
    async with scripted(port, stored) as city, sending(tmp_path, plain(port, how)):
        await until(lambda: not writer.depth())
    assert {how for how, path, _ in city.asked if path in ("b", "w")} == used


async def test_where_no_datagram_passes_everything_goes_over_connections(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    upstream = Upstream("city", f"coap+tcp://127.0.0.1:{port}", str(tmp_path / "gw"), False, ("",))
    put(writer, event("early"), *(windows(k) for k in range(40)))
    async with sending(tmp_path, upstream) as uplink:
        ((sender, _),) = uplink._running.values()
        await until(lambda: not sender._way.open.is_set())
        for name in ("one", "two"):
            async with center(tmp_path, port):
                put(writer, event(name), windows(1))
                await until(lambda: not writer.depth())
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT subject FROM event ORDER BY message") == [("early",), ("one",), ("two",)]


async def test_what_is_too_large_is_cut_in_two_and_what_is_refused_set_aside(tmp_path: Path, writer: Spool) -> None:
    port = free_port()

    def small(request: Message) -> Message:
        if request.texts(coap.URI_PATH) == ("b",):
            _, packs = bundle.decode(bundle.DEFLATED, request.payload)
            if len(packs) > 7:
                return Message(coap.TOO_LARGE)
            bad = {n: "no" for n, (_, pack) in enumerate(packs) if b"city\x03" in pack and b"windows" not in pack}
            return Message(coap.CHANGED, payload=bundle.encode_refusals(bad))
        return Message(coap.CHANGED if b"city\x03" not in request.payload else coap.BAD_REQUEST)

    put(writer, *(windows(k) for k in range(40)))
    async with scripted(port, small) as city, sending(tmp_path, plain(port)):
        await until(lambda: not writer.depth())
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        assert db.execute("SELECT lane, seq FROM refused").fetchall() == [(1, 3)]
    assert any(path == "g" for _, path, _ in city.asked) or any(b"refused" in pack for pack in city.packs("tcp"))


async def test_a_busy_center_is_waited_for(tmp_path: Path, writer: Spool) -> None:
    port, refusals = free_port(), 3

    def busy(request: Message) -> Message:
        nonlocal refusals
        if request.texts(coap.URI_PATH) == ("b",) and refusals:
            refusals -= 1
            return Message(coap.UNAVAILABLE, ((coap.MAX_AGE, b""),))
        return Message(coap.CHANGED)

    put(writer, *(windows(k) for k in range(40)))
    async with scripted(port, busy) as city, sending(tmp_path, plain(port)):
        await until(lambda: not writer.depth())
    assert len(set(city.packs("tcp"))) == 40


async def test_a_center_that_hangs_is_noticed_and_alarms_pass_it_by(
    tmp_path: Path, writer: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PING_S", 0.05)
    monkeypatch.setattr(link, "SILENT_S", 0.4)
    monkeypatch.setattr(lanes, "NO_STREAM_S", 0.1)
    port = free_port()

    class Deaf(asyncio.Protocol):
        made = 0

        def connection_made(self, transport: Any) -> None:
            Deaf.made += 1
            transport.write(coap.to_frame(Message(coap.CSM)))

    put(writer, *(windows(k) for k in range(60)))
    async with scripted(port, stored, tcp=False) as city:
        loop = asyncio.get_running_loop()
        deaf = await loop.create_server(Deaf, "127.0.0.1", port)
        async with sending(tmp_path, plain(port, "tcp")):
            await until(lambda: Deaf.made >= 1)
            put(writer, event("now"))
            await until(lambda: ("udp", "e") in [(how, path) for how, path, _ in city.asked], 2)
            await until(lambda: Deaf.made >= 3)
            assert writer.depth()["city", Lane.SUMMARY][0] == 60
        deaf.close()


async def test_alarms_do_not_wait_for_a_backlog(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    put(writer, *(windows(k) for k in range(2000)))
    async with center(tmp_path, port), sending(tmp_path, to(tmp_path, port)):
        await until(lambda: (tmp_path / "c.db").exists() and rows(tmp_path, "SELECT 1 FROM window LIMIT 1") != [])
        put(writer, event("now"))
        await until(lambda: rows(tmp_path, "SELECT 1 FROM event") != [])
        assert writer.depth(), "the backlog was still on its way"
        await until(lambda: not writer.depth(), 30)
    assert whole(tmp_path)


async def test_what_it_promises_is_in_every_message_and_kept_without_records(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    async with center(tmp_path, port), sending(tmp_path, to(tmp_path, port, promise_s=0.2, shares=("mast-3",))):
        await until(lambda: (tmp_path / "c.db").exists() and rows(tmp_path, "SELECT 1 FROM gateway") != [])
        ((_, heard_ns, next_s, shares, _),) = rows(tmp_path, "SELECT * FROM gateway")
        assert (next_s, shares) == (0.2, '["mast-3"]')
        await until(lambda: rows(tmp_path, "SELECT heard_ns FROM gateway") > [(heard_ns,)])
    assert rows(tmp_path, "SELECT count(*) FROM message") == [(0,)]


def test_news_goes_before_history_and_what_is_on_its_way_is_held(tmp_path: Path, writer: Spool) -> None:
    put(writer, *(windows(k) for k in range(STATE + 30)))
    arrived: set[int] = {5}
    source = Source(lambda: writer, "city", lambda record: record.seq in arrived)
    state = [record.seq for _ in range(STATE // 16) for record in source.next(16)]
    assert state == list(range(STATE + 29, 29, -1))
    put(writer, windows(0))
    assert [record.seq for record in source.next(16)] == [STATE + 30]
    assert [record.seq for record in source.next(16)] == [n for n in range(16) if n != 5]
    with closing(sqlite3.connect(writer.path)) as db:
        assert db.execute("SELECT value FROM meta WHERE name = 'held city'").fetchone()[0].endswith("527]")
        assert [record.seq for record in source.next(64)] == list(range(16, 30))
        assert source.next(16) == []
        source.close()
        assert db.execute("SELECT value FROM meta WHERE name = 'held city'").fetchone() is None


def test_marks_follow_the_order_of_boots_and_numbers(writer: Spool) -> None:
    put(writer, *(windows(k) for k in range(5)))
    found = writer.after("city", Lane.SUMMARY, START, 3)
    assert [record.seq for _, record in found] == [0, 1, 2]
    assert [record.seq for _, record in writer.after("city", Lane.SUMMARY, found[-1][0], 9)] == [3, 4]
    assert [record.seq for _, record in writer.newest("city", Lane.SUMMARY, 2)] == [4, 3]
    assert writer.waiting("city", Lane.SUMMARY, 3) == 3
    assert writer.waiting("city", Lane.ALARM, 3) == 0


def test_parcels_stay_within_their_limit_and_hold_everything_once() -> None:
    packed = [
        Packed(Record("00" * 8, "u", Lane.SUMMARY, n, "c", windows(n)), "w", bytes([n]) * (n * 40)) for n in range(40)
    ]
    packed += [
        Packed(Record("00" * 8, "u", Lane.SUMMARY, 99, "c", windows(9)), "w", b"".join(map(bytes, [range(256)] * 9)))
    ]
    parcels = within(packed, 300, 60)
    assert [one for parcel in parcels for one in parcel.packed] == packed
    assert all(len(parcel.payload) <= 300 for parcel in parcels if len(parcel.packed) > 1)


def test_the_window_grows_on_a_free_line_and_shrinks_on_a_full_one() -> None:
    pace = Pace()
    began = pace.window
    for n in range(200):
        pace.sent(16_000)
        pace.sent(16_000)
        pace.answered(16_000, Line(0.021, 0.020, n), n * 0.1)
    assert pace.window > began
    for n in range(200, 300):
        pace.answered(16_000, Line(0.400, 0.020, n), n * 0.1)
    assert pace.window == SMALLEST
    assert began < LARGEST


def test_a_hello_says_what_it_promises_and_shares() -> None:
    said = hello.Hello(60.0, ("mast-3", "전력선 7"))
    assert hello.decode(hello.encode("cab", "00" * 8, "city", 1_800_000_000, said)) == said
    with pytest.raises(ValueError, match="identity"):
        hello.decode(b"\x81\xa0")


async def test_an_intake_that_is_asked_too_often_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "KEY_BURST", 2.0)
    monkeypatch.setattr(intake, "KEY_RATE", 0.001)
    port = free_port()
    store = Store(tmp_path / "c.db")
    keys = intake.Keyring(None)
    desk = intake.Intake(store, keys, insecure=True)
    body = hello.encode("cab", "00" * 8, "city", 0, hello.Hello(60))
    request = Message(coap.POST, ((coap.URI_PATH, b"n"), (coap.URI_QUERY, b"g=cab")), body)
    answers = [await desk.answer(request, f"10.0.0.{n}") for n in range(3)]
    assert [answer.dotted for answer, _ in answers if answer] == ["2.04", "2.04", "4.29"]
    store.close()
    assert port
