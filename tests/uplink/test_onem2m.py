"""Records as contentInstances: what is asked of a platform, what its answers mean, and that nothing is lost or doubled.

The platform here keeps a tree and answers by it; tests say what it does wrong. A real one is asked in tests/peers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.site.upstream import Catalog, OneM2M, Upstream
from gateway.spool import wake
from gateway.spool.records import Event, Gap, Health, Item, Lane, Phase, Record, Severity, Values, Window, Windows
from gateway.spool.spool import Spool
from gateway.uplink import onem2m
from gateway.uplink import onem2m_request as request
from gateway.uplink.onem2m_content import LARGEST, instances
from gateway.uplink.onem2m_request import Status
from gateway.uplink.uplink import Uplink
from gateway.wire import coap
from gateway.wire.coap import Message

S = 1_000_000_000
BOOT = "0123456789abcdef"
CATALOG = Catalog(
    "cab",
    (
        ("meter.flow", "meter", "flow", "m3/h", 0, 0.1),
        ("meter.total", "meter", "total", "m3", 1, 1.0),
        ("meter.la", "meter", "la", "", 2, 0.0),
    ),
)
PATIENCE_S = 10.0


def window(channel: int = 0, start_ns: int = 0, **more: Any) -> Window:
    row = Window(channel, start_ns, start_ns + 60 * S, 60, 60, 1.0, 2.0, 1.5, 0.1, 1.0, 1.2, 59 * S, 1.4, 1.9, 0)
    return replace(row, **more)


def event(subject: str = "meter", phase: Phase = Phase.ONSET, samples: int = 3) -> Event:
    evidence = tuple((k * S, 1.0 + k) for k in range(samples))
    return Event(
        "water.burst", phase, Severity.CRITICAL, "city", subject, 9 * S, 8 * S, 8.0, "burst", "파손", "WM-7",
        "Pit 7", "7번 맨홀", 37.5, 127.0, ((0, evidence),),
    )  # fmt: skip


def record(item: Item, lane: Lane = Lane.SUMMARY, seq: int = 7) -> Record:
    return Record(BOOT, "city", lane, seq, CATALOG.id, item)


def contents(one: Record, offset: int | None = 1_700_000_000 * S) -> dict[str, Any]:
    return {"/".join((*i.path, i.name)): json.loads(i.content) for i in instances(one, CATALOG, lambda _: offset)}


# -- what a record becomes


def test_a_window_is_a_pack_that_any_reader_of_senml_understands() -> None:
    rows = Windows((window(), window(1, mean=5.0, sd=1.0), window(2, sd=4.0, mean=0.25)))
    found = contents(record(rows))
    assert found[f"meter/flow/{BOOT}-s-7"] == [
        {"bn": "cab/meter.flow", "bt": 1_700_000_060, "v": 1.5, "u": "m3/h"},
        {"n": "/min", "u": "m3/h", "v": 1},
        {"n": "/max", "u": "m3/h", "v": 2},
        {"n": "/last", "u": "m3/h", "v": 1.2},
        {"n": "/p50", "u": "m3/h", "v": 1.4},
        {"n": "/p95", "u": "m3/h", "v": 1.9},
        {"n": "/sd", "u": "m3/h", "v": 0.1},
        {"n": "/n", "v": 60},
        {"n": "/duration", "u": "s", "v": 60},
    ]
    assert {"n": "/rollovers", "v": 1} in found[f"meter/total/{BOOT}-s-7"]
    assert f"meter/la_/{BOOT}-s-7" in found, "a container may not bear the name of a virtual resource"


def test_a_window_without_readings_says_so_and_two_of_a_channel_have_two_names() -> None:
    nothing = window(n=0, mean=math.nan, min=math.nan, max=math.nan, sd=math.nan, last=math.nan, p50=math.nan,
                     p95=math.nan, quality=5)  # fmt: skip
    found = contents(record(Windows((nothing, window(0, 60 * S, mean=1.0, min=1.0, max=1.0, last=1.0, p50=1.0,
                                                     p95=1.0, sd=0.0)))))  # fmt: skip
    assert found[f"meter/flow/{BOOT}-s-7"] == [
        {"n": "/n", "bn": "cab/meter.flow", "bt": 1_700_000_060, "v": 0},
        {"n": "/expected", "v": 60},
        {"n": "/quality", "v": 5},
        {"n": "/duration", "u": "s", "v": 60},
    ]  # fmt: skip
    assert found[f"meter/flow/{BOOT}-s-7-2"] == [
        {"bn": "cab/meter.flow", "bt": 1_700_000_120, "v": 1, "u": "m3/h"},
        {"n": "/n", "v": 60},
        {"n": "/duration", "u": "s", "v": 60},
    ]


@given(st.floats(-1e6, 1e6), st.sampled_from((0.1, 0.25, 1.0, 0.001)))
def test_numbers_are_within_half_a_step(value: float, step: float) -> None:
    catalog = Catalog("cab", (("a.b", "a", "b", "Cel", 0, step),))
    (one,) = instances(record(Values(((0, 5 * S, value, 0),))), catalog, lambda _: 0)
    assert abs(json.loads(one.content)[0]["v"] - value) <= step / 2


def test_first_values_health_and_secondary_units() -> None:
    catalog = Catalog("cab", (("m.p", "m", "p", "hPa", 0, 1.0),))
    values = record(Values(((0, 5 * S, 1013.0, 2), (0, 5 * S, math.nan, 4))))
    (one,) = instances(values, catalog, lambda _: 0)
    head, quality = json.loads(one.content)
    assert head == {"bver": 26, "bn": "cab/m.p", "bt": 5, "v": 1013, "u": "hPa"}
    assert quality == {"n": "/quality", "v": 2}
    found = contents(record(Health(5 * S, {"version": "1.2", "links": 3}), Lane.DIAGNOSTIC))
    assert found[f"health/{BOOT}-d-7"] == [
        {"bn": "cab", "bt": 1_700_000_005, "n": "/version", "vs": "1.2"},
        {"n": "/links", "v": 3},
    ]


def test_an_alarm_has_what_dispatch_needs_and_fits_a_datagram() -> None:
    one = contents(record(event(samples=2), Lane.ALARM))[f"alarms/{BOOT}-a-7"]
    assert one == {
        "code": "water.burst", "phase": "onset", "severity": "critical", "cause": "city", "subject": "meter",
        "time": "2023-11-14T22:13:29.000Z", "onset": "2023-11-14T22:13:28.000Z", "score": 8,
        "text": {"en": "burst", "ko": "파손"}, "asset": "WM-7", "place": {"en": "Pit 7", "ko": "7번 맨홀"},
        "latitude": 37.5, "longitude": 127.0,
        "evidence": {"meter.flow": [["2023-11-14T22:13:20.000Z", 1], ["2023-11-14T22:13:21.000Z", 2]]},
    }  # fmt: skip
    (large,) = instances(record(event(samples=500), Lane.ALARM), CATALOG, lambda _: 0)
    assert len(large.content.encode()) <= LARGEST
    newest = json.loads(large.content)["evidence"]["meter.flow"][-1]
    assert newest == ["1970-01-01T00:08:19.000Z", 500], "the oldest goes first"


def test_a_gap_tells_channels_and_records_and_large_ones_are_cut() -> None:
    gap = Gap("crash", (((0, 1), S, 2 * S),), from_boot="ab" * 8, records=((1, "ab" * 8, 3, 5),))
    offsets = {"ab" * 8: None, BOOT: 0}
    first, second = instances(record(gap, Lane.DIAGNOSTIC), CATALOG, offsets.__getitem__)
    assert (first.path, first.name, second.name) == (("gaps",), f"{BOOT}-d-7", f"{BOOT}-d-7-2")
    assert json.loads(first.content) == {
        "reason": "crash", "channels": ["meter.flow", "meter.total"], "from": None, "to": "1970-01-01T00:00:02.000Z"
    }  # fmt: skip
    lost = {"lane": "summary", "boot": "ab" * 8, "first": 3, "last": 5}
    assert json.loads(second.content) == {"reason": "crash", "records": lost}
    catalog = Catalog("cab", tuple((f"device{i}.point", f"device{i}", "point", "", 0, 0.1) for i in range(200)))
    many = instances(record(Gap("disk", ((tuple(range(200)), 0, S),)), Lane.DIAGNOSTIC), catalog, lambda _: 0)
    assert all(len(one.content) <= LARGEST for one in many)
    assert [name for one in many for name in json.loads(one.content)["channels"]] == [row[0] for row in catalog.rows]


def test_a_record_that_does_not_fit_its_catalog_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit its catalog"):
        instances(record(Windows((window(9),))), CATALOG, lambda _: 0)


# -- what an answer means


@pytest.mark.parametrize(
    ("rsc", "resource", "status"),
    [
        (2001, request.CIN, Status.CREATED),
        (4105, request.CIN, Status.EXISTS),
        (5106, request.CNT, Status.EXISTS),
        (4117, request.AE, Status.EXISTS),
        (4117, request.CIN, Status.REFUSED),
        (4004, request.CIN, Status.ORPHAN),
        (4103, request.CIN, Status.STRANGER),
        (4000, request.CIN, Status.REFUSED),
        (5207, request.CIN, Status.REFUSED),
        (5000, request.CIN, Status.BUSY),
        (4008, request.CIN, Status.BUSY),
        (2000, request.CIN, Status.ODD),
    ],
)
def test_status_codes(rsc: int, resource: int, status: Status) -> None:
    assert request.read(Message(0x41, ((request.RSC, coap.uint(rsc)),)), resource) is status


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0x41, Status.CREATED),
        (0x44, Status.ODD),
        (0x81, Status.STRANGER),
        (0x83, Status.STRANGER),
        (0x84, Status.ORPHAN),
        (0x9D, Status.BUSY),
        (0xA3, Status.BUSY),
        (0x80, Status.ODD),
    ],
)
def test_answers_without_a_status_code(code: int, status: Status) -> None:
    assert request.read(Message(code), request.CIN) is status


@given(st.binary(max_size=40), st.binary(max_size=6))
def test_any_answer_can_be_read_and_told(payload: bytes, rsc: bytes) -> None:
    answer = Message(0x44, ((request.RSC, rsc),), payload)
    assert request.read(answer, request.CIN) in Status
    assert request.said(answer).startswith("2.04/")


# -- the platform


class Platform(asyncio.DatagramProtocol):
    """A CSEBase named `cse`, its tree, and what it does wrong."""

    def __init__(self) -> None:
        self.tree: dict[str, dict[str, Any]] = {"cse": {}}
        self.asked: list[Message] = []
        self.created: list[str] = []  # in order, over all lives of the tree
        self.wrong: Callable[[str, int], Message | None] = lambda path, resource: None
        self.hold: Callable[[str], bool] = lambda path: False
        self.lose = 0  # answers that do not arrive
        self.held: list[tuple[bytes, Any]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = coap.from_datagram(data)
        if message.code != coap.POST:
            return
        self.asked.append(message)
        path, answer = self._answer(message)
        packet = coap.to_datagram(replace(answer, token=message.token, kind=coap.ACK, mid=message.mid))
        if self.lose:
            self.lose -= 1
        elif self.hold(path):
            self.held.append((packet, addr))
        else:
            self.transport.sendto(packet, addr)

    def release(self) -> None:
        for packet, addr in self.held:
            self.transport.sendto(packet, addr)
        self.held.clear()

    def _answer(self, message: Message) -> tuple[str, Message]:
        parent = "/".join(message.texts(coap.URI_PATH))
        ((_, body),) = json.loads(message.payload).items()
        path, resource = f"{parent}/{body['rn']}", message.uint(request.TY) or 0
        if (bad := self.wrong(path, resource)) is not None:
            return path, bad
        if parent not in self.tree:
            return path, status(4004)
        if path in self.tree:
            return path, status(4117 if resource == request.AE else 4105)
        self.tree[path] = body
        self.created.append(path)
        return path, status(2001)

    def instances(self) -> list[str]:
        return sorted(path for path, body in self.tree.items() if "con" in body)


def status(rsc: int) -> Message:
    return Message(0x41 if rsc == 2001 else 0x80, ((request.RSC, coap.uint(rsc)),))


@asynccontextmanager
async def platform() -> AsyncIterator[tuple[Platform, int]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Platform, local_addr=("127.0.0.1", 0))
    try:
        yield protocol, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
        await asyncio.sleep(0)


def to(port: int, name: str = "city") -> Upstream:
    how = OneM2M(originator="Ccity-7", content_format=10001)
    return Upstream(name, f"coap://127.0.0.1:{port}/cse", "", True, format="onem2m", onem2m=how)


@asynccontextmanager
async def sending(folder: Path, *upstreams: Upstream) -> AsyncIterator[Uplink]:
    uplink = Uplink("cab", folder / "spool.db")
    try:
        assert await uplink.apply(upstreams) == []
        yield uplink
    finally:
        await uplink.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with_file = Spool.open(tmp_path / "spool.db")
    with_file.set_offset(1_700_000_000 * S, 0)
    yield with_file
    with_file.close()


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr(onem2m, "backoff_s", lambda failures: 0.0)
    monkeypatch.setattr(onem2m, "PAUSE_S", 0.05)
    monkeypatch.setattr(onem2m, "POLL_S", 0.02)


def put(spool: Spool, *items: Item, to: str = "city") -> None:
    spool.append([(to, item) for item in items], catalog=spool.put_catalog(CATALOG))


def left(spool: Spool, name: str = "city") -> int:
    return sum(spool.waiting(name, lane, 1000) for lane in Lane)


async def until(so: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not so():
            await asyncio.sleep(0.005)


async def test_what_is_missing_is_made_and_a_request_is_as_the_standard_says(tmp_path: Path, spool: Spool) -> None:
    put(spool, Windows((window(), window(1))), event())
    async with platform() as (cse, port), sending(tmp_path, to(port)):
        await until(lambda: not left(spool))
    boot = spool.boot
    assert cse.instances() == [
        f"cse/cab/alarms/{boot}-a-0",
        f"cse/cab/meter/flow/{boot}-s-0",
        f"cse/cab/meter/total/{boot}-s-0",
    ]
    assert cse.tree["cse/cab"] == {"rn": "cab", "api": "Ncitygate", "rr": False, "srv": ["3"]}
    assert len(cse.created) == len(set(cse.created)) == 8
    one = next(m for m in cse.asked if m.uint(267) == 4)
    assert (one.code, one.kind) == (coap.POST, coap.CON)
    assert {number: one.first(number) for number in (279, 271, 12, 17)} == {
        279: b"Ccity-7", 271: b"3", 12: coap.uint(10001), 17: coap.uint(10001)
    }  # fmt: skip
    assert one.texts(coap.URI_QUERY) == ("rcn=0",)
    identifiers = [m.first(283) for m in cse.asked]
    assert len(set(identifiers)) == len(identifiers)


async def test_an_answer_that_is_lost_doubles_nothing(tmp_path: Path, spool: Spool) -> None:
    put(spool, *(Windows((window(0, k * 60 * S), window(1, k * 60 * S))) for k in range(3)))
    async with platform() as (cse, port), sending(tmp_path, to(port)):
        cse.lose = 4
        await until(lambda: not left(spool))
    assert len(cse.instances()) == 6
    assert len(cse.created) == len(set(cse.created))


async def test_a_tree_that_is_lost_is_made_again(tmp_path: Path, spool: Spool) -> None:
    async with platform() as (cse, port), sending(tmp_path, to(port)):
        put(spool, Windows((window(), window(1))))
        await until(lambda: not left(spool))
        cse.tree = {"cse": {}}
        put(spool, Windows((window(), window(1))), event(), Gap("disk", (((0,), 0, S),)))
        await until(lambda: not left(spool))
    boot = spool.boot
    assert cse.instances() == [
        f"cse/cab/alarms/{boot}-a-0",
        f"cse/cab/gaps/{boot}-d-0",
        f"cse/cab/meter/flow/{boot}-s-1",
        f"cse/cab/meter/total/{boot}-s-1",
    ]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (status(4103), "CG-4102"),
        (status(5000), "CG-4104"),
        (Message(0xA3), "CG-4104"),
        (Message(0x44, payload=b"hello"), "CG-4105"),
    ],
)
async def test_what_cannot_be_stored_now_is_kept_and_said_once(
    tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture, answer: Message, code: str
) -> None:
    caplog.set_level(logging.INFO)
    put(spool, Windows((window(),)), event())
    async with platform() as (cse, port):
        cse.wrong = lambda path, resource: answer
        async with sending(tmp_path, to(port)):
            await until(lambda: len(cse.asked) > 8)
            assert left(spool) == 2
            assert sum(code in line for line in caplog.messages) == 1
            cse.wrong = lambda path, resource: None
            await until(lambda: not left(spool))
    assert len(cse.instances()) == 2
    assert sum("takes instances again" in line for line in caplog.messages) == 1


async def test_a_csebase_of_another_name_is_said(
    tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, event())
    async with platform() as (cse, port):
        cse.tree = {"Mobius": {}}
        async with sending(tmp_path, to(port)):
            await until(lambda: len(cse.asked) > 6)
    assert left(spool) == 1
    assert sum("has no such CSEBase" in line for line in caplog.messages) == 1


async def test_what_is_refused_three_times_is_declared_and_the_rest_goes_on(
    tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, *(Windows((window(0, k * 60 * S), window(1, k * 60 * S))) for k in range(3)))
    boot = spool.boot
    async with platform() as (cse, port):
        cse.wrong = lambda path, resource: status(4000) if path.endswith(f"flow/{boot}-s-1") else None
        async with sending(tmp_path, to(port)):
            await until(lambda: not left(spool))
    flow = [path for path in cse.instances() if "/flow/" in path]
    assert flow == [f"cse/cab/meter/flow/{boot}-s-0", f"cse/cab/meter/flow/{boot}-s-2"]
    gaps = [json.loads(body["con"]) for path, body in cse.tree.items() if "/gaps/" in path]
    assert {"reason": "refused", "records": {"lane": "summary", "boot": boot, "first": 1, "last": 1}} in gaps
    assert sorted(name for gap in gaps for name in gap.get("channels", ())) == ["meter.flow", "meter.total"]
    assert sum("CG-4103" in line for line in caplog.messages) == 1


async def test_an_alarm_is_not_behind_a_backlog(tmp_path: Path, spool: Spool) -> None:
    """The platform answers no summary until it has the alarm."""
    put(spool, *(Windows((window(0, k * 60 * S),)) for k in range(40)))
    async with platform() as (cse, port):
        cse.hold = lambda path: "/meter/flow/" in path
        async with sending(tmp_path, to(port)) as uplink:
            await until(lambda: cse.held)
            put(spool, event())
            uplink._heard(wake.ALARM)
            await until(lambda: any("/alarms/" in path for path in cse.instances()))
            assert spool.waiting("city", Lane.SUMMARY, 100) == 40
            cse.hold = lambda path: False
            cse.release()
            await until(lambda: not left(spool))
    order = [path for path in cse.created if "/flow/" in path]
    assert order == sorted(order, key=lambda path: int(path.rpartition("-")[2])), "the latest stays the latest"


async def test_an_end_does_not_overtake_its_beginning(tmp_path: Path, spool: Spool) -> None:
    put(spool, event("a"), event("a", Phase.CLEAR), event("b"))
    boot = spool.boot
    async with platform() as (cse, port):
        cse.hold = lambda path: path.endswith(f"{boot}-a-0")
        async with sending(tmp_path, to(port)) as uplink:
            await until(lambda: cse.held and f"cse/cab/alarms/{boot}-a-2" in cse.tree)
            assert f"cse/cab/alarms/{boot}-a-1" not in cse.tree
            put(spool, event("c"))
            uplink._heard(wake.ALARM)
            await until(lambda: f"cse/cab/alarms/{boot}-a-3" in cse.tree)
            assert cse.held, "what comes later waits for nobody"
            cse.hold = lambda path: False
            cse.release()
            await until(lambda: not left(spool))
    assert len(cse.instances()) == 4


async def test_a_dead_platform_holds_up_nobody_and_is_served_when_it_comes(tmp_path: Path, spool: Spool) -> None:
    reserved = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # nobody reads it yet
    reserved.bind(("127.0.0.1", 0))
    reserved.setblocking(False)
    put(spool, event(), Windows((window(),)), to="dead")
    async with platform() as (cse, port), sending(tmp_path, to(reserved.getsockname()[1], "dead"), to(port)):
        for k in range(20):
            put(spool, event(f"s{k}"), Windows((window(0, k * 60 * S),)))
        await until(lambda: not left(spool))
        assert len(cse.instances()) == 40
        assert left(spool, "dead") == 2
        transport, late = await asyncio.get_running_loop().create_datagram_endpoint(Platform, sock=reserved)
        try:
            await until(lambda: not left(spool, "dead"))
        finally:
            transport.close()
    assert len(late.instances()) == 2


async def test_a_record_that_cannot_be_told_is_set_aside(
    tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, replace(event(), evidence=((9, ((S, 1.0),)),)), event("b"))
    async with platform() as (cse, port), sending(tmp_path, to(port)):
        await until(lambda: not left(spool))
    boot = spool.boot
    assert any("CG-2006" in line for line in caplog.messages)
    assert cse.instances() == [f"cse/cab/alarms/{boot}-a-1", f"cse/cab/gaps/{boot}-d-0"]
    lost = {"lane": "alarm", "boot": boot, "first": 0, "last": 0}
    assert json.loads(cse.tree[f"cse/cab/gaps/{boot}-d-0"]["con"]) == {"reason": "damaged", "records": lost}


def test_the_clock_of_the_running_boot_is_this_machines(tmp_path: Path) -> None:
    with_file = Spool.open(tmp_path / "spool.db")
    now = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    offset = onem2m._offset(with_file, with_file.boot)
    assert offset is not None
    assert abs(offset - now) < 3600 * S
    assert onem2m._offset(with_file, "ab" * 8) is None
    with_file.close()
