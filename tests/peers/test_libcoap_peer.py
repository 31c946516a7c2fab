"""libcoap's client and `citygate center`, over UDP and TCP: what it stores without OSCORE, and that it does so only
when told to. libcoap's server and the uplink's connection: it is spoken to, and what it does not know is noticed."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from needs import coap_client, coap_server
from processes import Process, center

from gateway.site.upstream import Catalog, Upstream
from gateway.spool.records import Item, Lane, Record, Values, Window, Windows, lane_of
from gateway.uplink.bulk import UNKNOWN_HERE
from gateway.uplink.link import Link
from gateway.uplink.way import Way
from gateway.wire import bundle, pack
from tests.ports import free_port

pytestmark = pytest.mark.peers

BOOT = "0123456789abcdef"
MINUTE_NS = 60_000_000_000
CATALOG = Catalog("bench", tuple((f"dev.point_{n:02}", "dev", f"point_{n:02}", "Cel", 0, 0.1) for n in range(40)))


@dataclass
class Center:
    """A running center, and libcoap's client to it."""

    folder: Path
    port: int

    def post(
        self,
        path: str,
        payload: bytes,
        *options: str,
        query: str = "?g=bench",
        content_format: int = 112,
        scheme: str = "coap",
    ) -> str:
        """Code of the answer, `2.04`."""
        file = self.folder / "payload"
        file.write_bytes(payload)
        client = coap_client()
        assert client is not None
        uri = f"{scheme}://127.0.0.1:{self.port}/{path}{query}"
        done = subprocess.run(
            [client, "-v", "7", "-B", "60", "-m", "post", "-t", str(content_format), "-f", str(file), *options, uri],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
        )
        codes = re.findall(r"process incoming (\d\.\d\d) response", done.stdout + done.stderr)
        assert codes, done.stdout + done.stderr
        return codes[-1]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.folder / "center.db")) as db:
            return db.execute(query).fetchall()


@pytest.fixture
def insecure(tmp_path: Path) -> Iterator[Center]:
    yield from listening(tmp_path, "--insecure")


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Center]:
    (tmp_path / "intake").mkdir()
    yield from listening(tmp_path)


def listening(folder: Path, *arguments: str) -> Iterator[Center]:
    port = free_port()
    files = ("--db", folder / "center.db", "--credentials", folder / "intake")
    with center(folder / "center.log", port, *files, *arguments) as process:
        yield Center(folder, port)
        assert process.stop() == 0, process.said


def encoded(item: Item, seq: int = 0) -> tuple[str, bytes]:
    record = Record(BOOT, "center", lane_of(item), seq, CATALOG.id, item)
    return pack.encode(record, CATALOG, lambda boot: 1_800_000_000_000_000_000)


def values() -> tuple[str, bytes]:
    return encoded(Values(((0, MINUTE_NS, 21.5, 0), (1, MINUTE_NS, -4.0, 0))))


@pytest.mark.parametrize("scheme", ["coap", "coap+tcp"])
def test_a_pack_from_libcoap_is_stored_by_an_insecure_center(insecure: Center, scheme: str) -> None:
    path, payload = values()
    assert insecure.post(path, payload, scheme=scheme) == "2.04"
    stored = insecure.rows("SELECT gateway, channel, unit, time_ns, value FROM value ORDER BY channel")
    time_ns = 1_800_000_000_000_000_000 + MINUTE_NS
    assert stored == [
        ("bench", "dev.point_00", "Cel", time_ns, 21.5),
        ("bench", "dev.point_01", "Cel", time_ns, -4.0),
    ]
    message = insecure.rows("SELECT gateway, boot, upstream, lane, seq, bytes FROM message")
    assert message == [("bench", BOOT, "center", int(Lane.SUMMARY), 0, len(payload))]

    assert insecure.post(path, payload) == "2.04", "a duplicate is acknowledged"
    assert insecure.rows("SELECT gateway, n FROM duplicate") == [("bench", 1)]
    assert len(insecure.rows("SELECT * FROM message")) == 1

    command = [sys.executable, "-m", "gateway.cli", "center", "gateways", "--json", "--db"]
    seen = subprocess.run([*command, str(insecure.folder / "center.db")], capture_output=True, text=True, check=True)
    assert [row["gateway"] for row in json.loads(seen.stdout)["gateways"]] == ["bench"]


def test_a_bundle_from_libcoap_is_stored_over_tcp(insecure: Center) -> None:
    packs = [encoded(Values(((0, n * MINUTE_NS, 20.0 + n, 0),)), seq=n) for n in range(50)]
    body = bundle.encode(packs, 60)
    assert insecure.post("b", body, content_format=bundle.DEFLATED, scheme="coap+tcp") == "2.04"
    assert insecure.rows("SELECT count(*), sum(value) FROM value") == [(50, 50 * 20.0 + 49 * 25.0)]
    assert insecure.rows("SELECT next_s FROM gateway") == [(60.0,)]


@pytest.mark.parametrize("scheme", ["coap", "coap+tcp"])
def test_a_pack_in_blocks_of_libcoap_is_stored_whole(insecure: Center, scheme: str) -> None:
    row = (40, 60, 20.0, 22.5, 21.2, 0.4, 20.5, 21.0, MINUTE_NS, 21.1, 22.2, 0)
    path, payload = encoded(Windows(tuple(Window(channel, 0, MINUTE_NS, *row) for channel in range(40))))
    assert len(payload) > 1200
    assert insecure.post(path, payload, "-b", "256", scheme=scheme) == "2.04"
    stored = insecure.rows("SELECT count(*), sum(n), min(min), max(max) FROM window")
    assert stored == [(40, 40 * 40, pytest.approx(20.0), pytest.approx(22.5))]


def test_what_is_not_a_pack_is_refused_with_4_00(insecure: Center) -> None:
    path, payload = values()
    damaged = payload[:-3]
    assert [insecure.post("v", rubbish) for rubbish in (b"garbage", b"", damaged)] == ["4.00", "4.00", "4.00"]
    assert insecure.post("w", payload) == "4.00", "values are not windows"
    assert insecure.post(path, payload, content_format=60) == "4.15"
    assert insecure.post(path, payload, query="") == "4.01", "a plain message must name its gateway"
    assert insecure.post("nowhere", payload) == "4.04"
    assert insecure.rows("SELECT * FROM message") == []
    assert insecure.post(path, payload) == "2.04", "and the center goes on"


def test_a_center_that_is_not_insecure_refuses_libcoap_with_4_01(secure: Center) -> None:
    path, payload = values()
    assert [secure.post(path, payload), secure.post("v", b"garbage"), secure.post(path, payload, query="")] == [
        "4.01"
    ] * 3
    assert [secure.post(path, payload, scheme="coap+tcp"), secure.post("b", b"x", scheme="coap+tcp")] == ["4.01"] * 2
    assert secure.rows("SELECT * FROM message") == []
    assert secure.rows("SELECT * FROM value") == []


async def test_libcoaps_server_is_spoken_to_over_tcp(tmp_path: Path) -> None:
    server = coap_server()
    assert server is not None
    port = free_port()
    with Process([server, "-v", "7", "-A", "127.0.0.1", "-p", str(port)], tmp_path / "server.log") as process:
        process.until("it listens", lambda: listens(port))
        way = Way(Upstream("city", f"coap+tcp://127.0.0.1:{port}", "", True, ("",)), "bench", None)
        link = await Link.open(way)
        assert link.room > 1000
        for path, payload in (values(), ("b", bundle.encode([values()] * 60, 60))):
            answer = await link.deliver(path, 112, payload)
            assert answer.code in UNKNOWN_HERE, answer
        link.close()
        assert process.running


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
