"""What those who show no key get from a center: little, seldom, and never more than three times what they sent."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from test_center_intake import center, event, message, rows
from test_ways_in import listening

from gateway.center import datagrams, intake
from gateway.wire import coap, secure
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create


def request(path: str, body: bytes = b"", code: int = coap.POST, *more: tuple[int, bytes]) -> Message:
    return Message(code, (*((coap.URI_PATH, part.encode()) for part in path.split("/")), *more), body)


def packet(outer: Message, mid: int, kind: int = coap.CON) -> bytes:
    return coap.to_datagram(Message(outer.code, outer.options, outer.payload, b"t", kind, mid))


@asynccontextmanager
async def line(port: int) -> AsyncIterator[Any]:
    """Send a packet; everything that comes back for it."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))

        async def until_pinged(answers: list[bytes]) -> None:
            sock.send(b"\x40\x00\xab\xcd")
            async with asyncio.timeout(5):
                while (answer := await loop.sock_recv(sock, 4000)) != b"\x70\x00\xab\xcd":
                    answers.append(answer)

        async def send(data: bytes) -> list[bytes]:
            answers: list[bytes] = []
            sock.send(data)
            await until_pinged(answers)
            for _ in range(20):
                await asyncio.sleep(0)  # the center runs in this loop: its turn to answer
            await until_pinged(answers)
            return answers

        yield send


async def test_nothing_is_answered_with_more_than_three_times_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "STRANGER_BURST", 10_000.0)
    async with center(tmp_path) as port, line(port) as send:
        create("cab-99", tmp_path / "unknown", tmp_path / "elsewhere")
        unknown, known = SecurityContext(tmp_path / "unknown"), SecurityContext(tmp_path / "gw7")
        sealed, _ = secure.protect_request(known, request("e", message(event())[1]))
        spoilt = Message(sealed.code, sealed.options, sealed.payload[:-1] + bytes([sealed.payload[-1] ^ 1]))
        short = Message(sealed.code, sealed.options, b"x")
        odd = [
            request("e", b""),
            request("e", message(event())[1]),
            request(".well-known/core", b"", coap.GET),
            request(".well-known/core", b"", coap.GET, (coap.URI_QUERY, b"rt=core.rd*")),
            request("rd-lookup/ep", b"", coap.GET),
            request("rd", b"</a>", coap.POST, (coap.URI_QUERY, b"ep=cab-07")),
            request("rd/cab-07", b"", coap.DELETE),
            request("e", bytes(16), coap.POST, (coap.BLOCK1, b"\x08")),
            request("", b"", 0x1F),
            secure.protect_request(unknown, request("e", b"x"))[0],
            spoilt,
            short,
            Message(coap.POST, ((coap.OSCORE, b""),), b"x"),
            Message(coap.POST, ((coap.OSCORE, b"\xff\xff"),), b""),
            Message(coap.GET, ((coap.OSCORE, b"\x09\x00\x01"),), b"x"),
        ]
        for mid, one in enumerate(odd):
            for kind in (coap.CON, coap.NON):
                data = packet(one, 2 * mid + kind, kind)
                answers = await send(data)
                assert sum(map(len, answers)) <= 3 * len(data), (one, answers)
                for answer in answers:
                    assert coap.from_datagram(answer).code in (coap.UNAUTHORIZED, coap.BAD_REQUEST)
                    assert coap.from_datagram(answer).payload == b""
        # a recorded packet at a center that has just started, then once more
        for mid in (100, 101):
            data = packet(sealed, mid)
            assert sum(map(len, await send(data))) <= 3 * len(data)
        unknown.close()
        known.close()
    assert rows(tmp_path, "SELECT count(*) FROM message") == [(0,)]


async def test_a_source_that_shows_no_key_is_soon_answered_no_more_and_gateways_beside_it_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "STRANGER_RATE", 0.0)
    monkeypatch.setattr(intake, "STRANGER_BURST", 3.0)
    async with center(tmp_path) as port, line(port) as send:
        answered = [len(await send(packet(request("e"), mid))) for mid in range(8)]
        assert answered == [1, 1, 1, 0, 0, 0, 0, 0]
        key, echo = SecurityContext(tmp_path / "gw7"), b""
        for mid in (50, 51):
            more = ((coap.ECHO, echo),) if echo else ()
            outer, identifiers = secure.protect_request(key, request("e", message(event())[1], coap.POST, *more))
            inner = await _answer(send, packet(outer, mid), key, identifiers)
            echo = inner.first(coap.ECHO) or b""
        assert inner.code == coap.CHANGED
        key.close()


async def test_a_gateway_that_sends_too_much_is_slowed_by_its_key_and_no_other_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "KEY_RATE", 0.0)
    monkeypatch.setattr(intake, "KEY_BURST", 3.0)
    async with center(tmp_path, insecure=True) as port, line(port) as send:
        codes = []
        for mid, name in enumerate([b"loud"] * 5 + [b"calm"]):
            one = request("e", message(event(), mid)[1], coap.POST, (coap.URI_QUERY, b"g=" + name))
            (answer,) = await send_until_answered(send, packet(one, mid))
            codes.append(coap.from_datagram(answer).dotted)
        assert codes == ["2.04"] * 3 + ["4.29"] * 2 + ["2.04"]


async def test_a_slow_answer_to_a_stranger_goes_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "ACK_AFTER_S", 0.01)
    monkeypatch.setattr(datagrams, "RESENT_S", (0.01, 0.01, 0.01))

    async def say(asked: Message, _: str) -> tuple[Message | None, bool]:
        await asyncio.sleep(0.05)
        return Message(coap.UNAUTHORIZED, payload=asked.payload * 4), False

    async with listening(say) as ours:
        loop = asyncio.get_running_loop()
        for size, expected in ((0, [coap.EMPTY, coap.UNAUTHORIZED]), (50, [coap.EMPTY])):
            ours.send(packet(request("e", bytes(size)), size))
            got = []
            async with asyncio.timeout(5):
                got.append(coap.from_datagram(await loop.sock_recv(ours, 2000)).code)
            await asyncio.sleep(0.2)
            ours.send(b"\x40\x00\xab\xcd")
            async with asyncio.timeout(5):
                while (answer := await loop.sock_recv(ours, 2000)) != b"\x70\x00\xab\xcd":
                    got.append(coap.from_datagram(answer).code)
            assert got == expected


async def _answer(send: Any, data: bytes, key: SecurityContext, identifiers: Any) -> Message:
    (answer,) = await send_until_answered(send, data)
    return secure.open_response(key, coap.from_datagram(answer), identifiers)


async def send_until_answered(send: Any, data: bytes) -> list[bytes]:
    """A ping overtakes a commit: the answer is then kept, and comes when the packet does again."""
    async with asyncio.timeout(5):
        while not (found := [one for one in await send(data) if coap.from_datagram(one).code != coap.EMPTY]):
            await asyncio.sleep(0.01)
    return found[:1]
