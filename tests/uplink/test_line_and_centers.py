"""Lines that change under way, centers that answer oddly, clocks that jump, files that cannot be used."""

import asyncio
import errno
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from gateway import cli
from gateway.center import main as center_main
from gateway.center.datagrams import Datagrams, open_socket
from gateway.site.upstream import Catalog, Upstream
from gateway.spool.records import Event, Item, Lane, Phase, Severity, Window, Windows
from gateway.spool.spool import Spool
from gateway.spool.trouble import Trouble
from gateway.uplink import main as uplink_main
from gateway.uplink.port import GROWTH, TIMES, Port
from gateway.uplink.roundtrip import DOUBTFUL, RoundTrip
from gateway.uplink.uplink import Uplink
from gateway.uplink.way import Kind, Way, classify
from gateway.wire import coap, credentials, state
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create
from gateway.wire.proxy import UdpProxy
from tests.ports import begun, free_port

CATALOG = Catalog("cab", tuple((f"dev.p{i}", "dev", f"p{i}", "Cel", 0, 0.1) for i in range(2)))
YEAR_NS = 31_557_600 * 10**9


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def event(subject: str) -> Event:
    at = now_ns()
    return Event(
        "water.burst", Phase.ONSET, Severity.MAJOR, "city", subject, at, at, 8.0, "burst", "파손", "WM", "p", "곳",
        37.5, 127.0,
    )  # fmt: skip


def windows(k: int) -> Windows:
    end = now_ns()
    row = (60, 60, 1.0, 2.0 + k, 1.5, 0.1, 1.0, 1.2, end, 1.5, 1.9, 0)
    return Windows(tuple(Window(c, end - 10**9, end, *row) for c in range(2)))


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


def to(folder: Path, port: int, how: str = "datagram") -> Upstream:
    return Upstream("city", f"coap://127.0.0.1:{port}", str(folder / "gw"), False, ("",), bulk=how)


def plain(port: int) -> Upstream:
    return Upstream("city", f"coap://127.0.0.1:{port}", "", True, ("",), bulk="datagram")


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
async def sending(folder: Path, upstream: Upstream) -> AsyncIterator[Uplink]:
    uplink = Uplink("cab", folder / "spool.db")
    try:
        assert await uplink.apply([upstream]) == []
        yield uplink
    finally:
        await uplink.close()


async def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < within_s, "it did not happen"
        await asyncio.sleep(0.005)


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "c.db")) as db:
        return db.execute(sql).fetchall()


def again(folder: Path) -> int:
    return int(rows(folder, "SELECT coalesce(sum(n), 0) FROM duplicate")[0][0])


# -- the line


def test_a_lost_message_is_no_slow_way_and_a_slow_way_is_learnt() -> None:
    trip = RoundTrip()
    for n in range(60):
        trip.answered(0.5 if n % 3 == 2 else 0.02)
    assert trip.timeout_s < 0.15, "every third answer came after a retransmission"
    for _ in range(DOUBTFUL + 8):
        trip.answered(1.0)
    assert trip.timeout_s > 1.0


def test_a_message_is_sent_often_enough_for_a_line_that_loses_a_fifth() -> None:
    sent_at = [sum(GROWTH**n for n in range(k)) for k in range(TIMES)]
    assert 0.2**TIMES < 0.001
    assert sent_at[3] < 5.0, "the fourth goes out before five time-outs are over"


async def test_an_address_that_a_nat_gives_anew_costs_nothing(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    proxy = UdpProxy(("127.0.0.1", 0), ("127.0.0.1", port))
    await proxy.start()
    async with center(tmp_path, port), sending(tmp_path, to(tmp_path, proxy.listen[1])):
        for number in range(4):
            put(writer, event(f"z{number}"), windows(number))
            await until(lambda: not writer.depth())
            for back in list(proxy._back.values()):
                back.close()
            proxy._back.clear()  # the next datagram comes from another port
        put(writer, event("last"))
        await until(lambda: not writer.depth())
    await proxy.stop()
    assert rows(tmp_path, "SELECT count(*) FROM event") == [(5,)]
    assert again(tmp_path) <= 4, "an answer may get lost with the old address, no more"


async def test_a_path_that_goes_and_comes_is_found_within_ten_seconds_and_without_a_storm(
    tmp_path: Path, writer: Spool
) -> None:
    port = free_port()
    proxy = UdpProxy(("127.0.0.1", 0), ("127.0.0.1", port))
    await proxy.start()
    async with center(tmp_path, port), sending(tmp_path, to(tmp_path, proxy.listen[1])) as uplink:
        ((sender, _),) = uplink._running.values()
        for number in range(2):
            put(writer, event(f"a{number}"))
            await until(lambda: not writer.depth())
            proxy.cut = True
            put(writer, event(f"b{number}"), *(windows(k) for k in range(20)))
            await until(lambda: not sender._way.open.is_set())
            before = proxy.datagrams_up
            proxy.cut = False
            await until(lambda: not writer.depth(), 10.0)
            assert proxy.datagrams_up - before < 60, "a handful of bundles, not every message many times"
    await proxy.stop()
    assert again(tmp_path) == 0


async def test_a_center_that_starts_anew_is_found_within_ten_seconds_and_gets_nothing_twice(
    tmp_path: Path, writer: Spool
) -> None:
    port = free_port()
    async with sending(tmp_path, to(tmp_path, port)):
        for number in range(3):
            put(writer, event(f"down{number}"), *(windows(k) for k in range(10)))
            async with center(tmp_path, port):
                await until(lambda: not writer.depth(), 10.0)
    assert rows(tmp_path, "SELECT count(*) FROM message") == [(33,)]
    assert again(tmp_path) <= 3, "what was on its way when it went"


# -- centers


def test_what_a_busy_center_asks_for_is_kept_within_a_minute() -> None:
    assert classify(coap.UNAVAILABLE, b"", 7).wait_s == 7.0
    assert classify(coap.UNAVAILABLE, b"", None).wait_s == 0.0
    assert classify(coap.TOO_MANY, b"", 10**9).wait_s == 60.0
    assert classify(coap.TOO_LARGE, b"", None).kind is Kind.REFUSED


async def test_a_center_that_says_when_is_not_asked_before(tmp_path: Path, writer: Spool) -> None:
    port, asked_s = free_port(), []

    async def say(request: Message, _: str) -> tuple[Message, bool]:
        if request.texts(coap.URI_PATH) != ("e",):
            return Message(coap.CHANGED), True
        asked_s.append(time.monotonic())
        first = len(asked_s) == 1
        return (Message(coap.UNAVAILABLE, ((coap.MAX_AGE, b"\x01"),)) if first else Message(coap.CHANGED)), True

    udp = Datagrams(open_socket("127.0.0.1", port), say)
    put(writer, event("x"))
    async with sending(tmp_path, plain(port)):
        await until(lambda: not writer.depth())
    await udp.close()
    assert asked_s[1] - asked_s[0] >= 1.0


async def test_truncated_and_foreign_acknowledgements_acknowledge_nothing(tmp_path: Path) -> None:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    context = SecurityContext(tmp_path / "gw")
    loop, replies = asyncio.get_running_loop(), 0

    class Liar(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            nonlocal replies
            message = coap.from_datagram(data)
            mid, token = message.mid, message.token
            good = coap.to_datagram(Message(coap.CHANGED, token=token, kind=coap.ACK, mid=mid))
            foreign = Message(coap.CHANGED, token=bytes(3), kind=coap.ACK, mid=mid)
            other = Message(coap.CHANGED, token=token, kind=coap.ACK, mid=mid ^ 1)
            lies = [good[:n] for n in range(len(good))]
            lies += [coap.to_datagram(foreign), coap.to_datagram(other), good + b"\xff", b"\xff" * 40]
            for lie in lies:
                self.transport.sendto(lie, addr)
            replies += 1
            if replies == TIMES:  # and one that fits, but shows no key
                self.transport.sendto(good, addr)

    transport, _ = await loop.create_datagram_endpoint(Liar, local_addr=("127.0.0.1", 0))
    way = Way(to(tmp_path, transport.get_extra_info("sockname")[1]), "cab", context)
    way.trip.timeout_s = 0.02
    port = Port(way)
    answer = await port.send("e", b"pack")
    assert replies == TIMES
    assert answer.kind is Kind.STRANGER
    await port.close()
    transport.close()
    context.close()


# -- clocks


async def test_clocks_that_jump_lose_and_double_nothing(
    tmp_path: Path, writer: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway begins in 1970, is set right, goes back by an hour; then the center's clock does the same."""
    port, really, shift_ns = free_port(), time.time_ns, 0
    monkeypatch.setattr(time, "time_ns", lambda: really() + shift_ns)
    monkeypatch.setattr(time, "time", lambda: (really() + shift_ns) / 1e9)
    true_ns = really() - now_ns()
    async with center(tmp_path, port), sending(tmp_path, to(tmp_path, port)):
        for number, off_ns in enumerate((-50 * YEAR_NS, 0, -3600 * 10**9, 0)):
            writer.set_offset(true_ns + off_ns, 10**9)
            put(writer, event(f"gateway{number}"), windows(number))
            await until(lambda: not writer.depth())
        for number, off_ns in enumerate((-50 * YEAR_NS, 0, -3600 * 10**9, 0)):
            shift_ns = off_ns
            put(writer, event(f"center{number}"), windows(number))
            await until(lambda: not writer.depth())
    assert rows(tmp_path, "SELECT count(*) FROM event WHERE subject LIKE 'gateway%' OR subject LIKE 'center%'") == [
        (8,)
    ]
    assert rows(tmp_path, "SELECT lane, count(*), max(seq) FROM message WHERE gateway = 'cab' GROUP BY lane") == [
        (0, 8, 7),
        (1, 8, 7),
    ]
    assert again(tmp_path) == 0
    assert rows(tmp_path, "SELECT count(*) FROM gateway WHERE silent <> ''") == [(0,)]
    (early,) = rows(tmp_path, "SELECT time_ns FROM event WHERE subject = 'gateway0'")
    assert abs(early[0] - really()) > 40 * YEAR_NS, "the time is the gateway's own, as it knew it"


# -- files


SITE = """
schema = 1
[gateway]
id = "cab"
state_dir = "{state}"
[[upstreams]]
name = "city"
uri = "coap://127.0.0.1:9"
credentials = "{gw}"
"""


def test_a_spool_of_a_newer_release_stops_the_sending_half_and_is_left_alone(
    tmp_path: Path, writer: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    put(writer, windows(0))
    writer.close()
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (tmp_path / "spool.db").read_bytes()
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(state=tmp_path, gw=tmp_path / "gw"))
    assert uplink_main.run(str(site)) == 2
    said = capsys.readouterr().err
    assert "CG-2005" in said
    assert "더 새로운 버전" in said
    assert (tmp_path / "spool.db").read_bytes() == before


def read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


async def test_on_a_read_only_file_system_numbers_are_not_used(
    tmp_path: Path, writer: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "citygate.uplink")
    put(writer, event("x"))
    with monkeypatch.context() as broken:
        broken.setattr(state.os, "open", _opening(os.open))
        with pytest.raises(Trouble, match="CG-4001") as refused:
            SecurityContext(tmp_path / "gw")
        assert "Read-only" in str(refused.value)
        uplink = Uplink("cab", tmp_path / "spool.db")
        assert [bad.code for bad in await uplink.apply([to(tmp_path, 9)])] == ["CG-4001"]
        await uplink.close()
    assert writer.depth()["city", Lane.ALARM][0] == 1


def _opening(really: Callable[..., int]) -> Callable[..., int]:
    def opened(path: Any, flags: int, *more: Any, **how: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return really(path, flags, *more, **how)

    return opened


def test_numbers_that_cannot_be_reserved_are_not_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = create("cab", tmp_path / "gw", tmp_path / "keys")
    context = SecurityContext(folder)
    promised = int((folder / state.FILE).read_text().split('"next": ')[1].split(",")[0])
    with monkeypatch.context() as broken:
        broken.setattr(state, "write", read_only)
        broken.setattr("threading.excepthook", lambda _: None)
        used: list[int] = []
        with pytest.raises(OSError, match="Read-only"):
            used.extend(context.new_sequence_number() for _ in range(10 * state.RESERVE))
        assert max(used) < promised
    context.new_sequence_number()
    context.close()


# -- what systemd hands over


def test_a_key_may_come_from_systemd_while_the_numbers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = create("cab", tmp_path / "city", tmp_path / "keys")
    handed = tmp_path / "handed"
    handed.mkdir()
    os.replace(folder / credentials.FILE, handed / "citygate.city")
    with pytest.raises(Trouble, match="CG-4001"):
        SecurityContext(folder)
    monkeypatch.setenv(credentials.SYSTEMD, str(handed))
    SecurityContext(folder).close()
    os.unlink(folder / state.FILE)
    with pytest.raises(Trouble, match="CG-4002"):
        SecurityContext(folder)
    assert cli.main(["credentials", "begin", "--out-gateway", str(folder)]) == 0
    SecurityContext(folder).close()
    assert cli.main(["credentials", "begin", "--out-gateway", str(folder)]) == 2, "never from 0 again"


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder, _ = create("cab", tmp_path / "gw", tmp_path / "keys")
    (folder / credentials.FILE).chmod(0o640)
    with pytest.raises(Trouble, match="others can read it"):
        SecurityContext(folder)


async def test_an_upstream_without_a_key_sends_nothing_unless_it_is_declared_insecure(
    tmp_path: Path, writer: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    heard = 0

    async def say(_: Message, __: str) -> tuple[Message, bool]:
        nonlocal heard
        heard += 1
        return Message(coap.CHANGED), True

    port = free_port()
    udp = Datagrams(open_socket("127.0.0.1", port), say)
    put(writer, event("x"))
    uplink = Uplink("cab", tmp_path / "spool.db")
    bare = Upstream("city", f"coap://127.0.0.1:{port}", str(tmp_path / "none"), False, ("",), bulk="datagram")
    assert [bad.code for bad in await uplink.apply([bare])] == ["CG-4001"]
    assert heard == 0
    assert await uplink.apply([plain(port)]) == []
    await until(lambda: not writer.depth())
    assert "is insecure" in caplog.text
    await uplink.close()
    await udp.close()
