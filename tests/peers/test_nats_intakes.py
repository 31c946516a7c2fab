"""Two centers as processes on one JetStream: a gateway moves, one is killed, packets are replayed at the other."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nats
import pytest
from nats_rig import NatsServer
from processes import Process, center, citygate

from gateway.site.upstream import Catalog
from gateway.spool.records import Event, Phase, Record, Severity, lane_of
from gateway.wire import coap, hello, pack, secure
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create
from tests.ports import free_port

pytestmark = pytest.mark.peers

CATALOG = Catalog("cab-07", ())
BOOT = "00112233445566aa"


class Gateway:
    """One that speaks in datagrams and keeps what it sent."""

    def __init__(self, folder: Path) -> None:
        self.key = SecurityContext(folder)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(20)
        self.sent: tuple[bytes, Any] = (b"", None)  # the last request, and what opens its answers

    def close(self) -> None:
        self.key.close()
        self.sock.close()

    def raw(self, packet: bytes, port: int) -> Message:
        """The answer to bytes, acknowledged first or not."""
        self.sock.sendto(packet, ("127.0.0.1", port))
        while True:
            answer = coap.from_datagram(self.sock.recv(2000))
            if answer.code != coap.EMPTY:
                return answer

    def post(self, path: str, body: bytes, port: int) -> tuple[Message, Message]:
        """(outer, inner) of the answer that is not a question for freshness."""
        echo: tuple[tuple[int, bytes], ...] = ()
        while True:
            options = ((coap.URI_PATH, path.encode()), (coap.CONTENT_FORMAT, coap.uint(112)), *echo)
            outer, identifiers = secure.protect_request(self.key, Message(coap.POST, options, body))
            token, mid = secrets.token_bytes(4), secrets.randbelow(1 << 16)
            packet = coap.to_datagram(Message(outer.code, outer.options, outer.payload, token, coap.CON, mid))
            self.sent = (packet, identifiers)
            answer = self.raw(packet, port)
            inner = secure.open_response(self.key, answer, identifiers)
            if (asked := inner.first(coap.ECHO)) is None:
                return answer, inner
            echo = ((coap.ECHO, asked),)

    def alarm(self, number: int, port: int) -> int:
        event = Event(
            "water.burst", Phase.ONSET, Severity.MAJOR, "city", "z", 5, 4, 8.0, "a", "b", "c", "d", "e", 1.0, 2.0
        )
        kind, body = pack.encode(
            Record(BOOT, "city", lane_of(event), number, CATALOG.id, event), CATALOG, lambda _: 10**18
        )
        return self.post(kind, body, port)[1].code


def again(packet: bytes) -> bytes:
    """The same protected request in another message, as somebody would who has recorded it."""
    return packet[:2] + secrets.token_bytes(2) + packet[4:]


def own_number(answer: Message) -> int:
    """The Partial IV of an answer (RFC 8613, section 6.1)."""
    option = answer.first(coap.OSCORE) or b"\0"
    assert option[0] & 7, "an answer without a number of its own"
    return int.from_bytes(option[1 : 1 + (option[0] & 7)], "big")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[tuple[NatsServer, Path, ExitStack]]:
    create("cab-07", tmp_path / "gw", tmp_path / "keys")
    with NatsServer(tmp_path) as server, ExitStack() as stack:
        yield server, tmp_path, stack


def intake(rig: tuple[NatsServer, Path, ExitStack], port: int) -> Process:
    server, folder, stack = rig
    log = folder / f"{port}-{secrets.token_hex(2)}.log"
    return stack.enter_context(center(log, port, "--sink", server.url("city"), "--credentials", folder / "keys"))


def kept(server: NatsServer) -> list[str]:
    async def look() -> list[str]:
        client = await nats.connect(server.url())
        stream = client.jetstream()
        count = (await stream.stream_info("city")).state.messages
        found = [(await stream.get_msg("city", seq=n + 1)).headers["Nats-Msg-Id"] for n in range(count)]
        await client.close()
        return found

    return asyncio.run(look())


def test_a_killed_intake_loses_nothing_and_doubles_nothing(rig: tuple[NatsServer, Path, ExitStack]) -> None:
    one, two = free_port(), free_port()
    first, _ = intake(rig, one), intake(rig, two)
    gateway = Gateway(rig[1] / "gw")
    assert gateway.alarm(0, one) == coap.CHANGED
    first.kill()
    assert [gateway.alarm(number, two) for number in (0, 1)] == [coap.CHANGED] * 2
    intake(rig, one)
    assert [gateway.alarm(number, one) for number in (1, 0, 2)] == [coap.CHANGED] * 3
    gateway.close()
    assert kept(rig[0]) == [f"cab-07/{BOOT}/city/0/{number}" for number in range(3)]


def test_what_one_has_heard_cannot_be_replayed_at_the_other(rig: tuple[NatsServer, Path, ExitStack]) -> None:
    one, two = free_port(), free_port()
    for port in (one, two):
        intake(rig, port)
    gateway = Gateway(rig[1] / "gw")
    said = hello.encode("cab-07", BOOT, "city", 1_700_000_000, hello.Hello(60.0, ()))
    numbers, recorded = [], []
    for port in (one, two, one, one, two):
        answer, inner = gateway.post("n", said, port)
        assert inner.code == coap.CHANGED
        numbers.append(own_number(answer))
        recorded.append(gateway.sent)
        for packet, identifiers in reversed(recorded):
            for at in (port, one + two - port):
                replayed = gateway.raw(again(packet), at)
                if replayed.first(coap.OSCORE) is None:
                    assert (replayed.code, replayed.payload) == (coap.UNAUTHORIZED, b"Replay detected")
                    continue
                numbers.append(own_number(replayed))
                inner = secure.open_response(gateway.key, replayed, identifiers)
                if packet == gateway.sent[0] and at != port and inner.code == coap.CHANGED:
                    continue  # what has just been said may reach both before the news that the gateway has moved
                assert (inner.code, len(inner.first(coap.ECHO) or b"")) == (coap.UNAUTHORIZED, 8)
    gateway.close()
    assert len(set(numbers)) == len(numbers), "no number is used twice, whoever answers"


def test_a_center_that_counts_for_itself_does_not_start_on_shared_credentials(
    rig: tuple[NatsServer, Path, ExitStack],
) -> None:
    server, folder, _ = rig
    running = intake(rig, free_port())
    arguments = ("--bind", "127.0.0.1:0", "--credentials", folder / "keys")
    for sink in (str(folder / "c.db"), server.url("another")):
        with citygate(folder / "refused.log", "center", *arguments, "--sink", sink) as refused:
            assert refused._child.wait(60) == 2
            assert "CG-4209" in refused.said
            assert "Traceback" not in refused.said
    assert running.stop() == 0


def test_without_the_server_gateways_are_asked_to_wait(rig: tuple[NatsServer, Path, ExitStack]) -> None:
    port = free_port()
    running = intake(rig, port)
    gateway = Gateway(rig[1] / "gw")
    assert gateway.alarm(0, port) == coap.CHANGED
    rig[0].kill()
    running.until_said("CG-4211")
    said = hello.encode("cab-07", BOOT, "city", 1_700_000_000, hello.Hello(60.0, ()))
    _, busy = gateway.post("n", said, port)
    assert (busy.code, busy.uint(coap.MAX_AGE)) == (coap.UNAVAILABLE, 5)
    assert gateway.alarm(1, port) == coap.UNAVAILABLE
    rig[0].start()
    running.until_said("reached again")
    running.until("the alarm is stored", lambda: gateway.alarm(1, port) == coap.CHANGED)
    gateway.close()
    assert kept(rig[0]) == [f"cab-07/{BOOT}/city/0/{number}" for number in range(2)]
