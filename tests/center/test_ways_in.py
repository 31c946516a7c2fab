"""What leads into a center: connections, datagrams and their answers, blocks, and how much one sender may ask."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.center import datagrams, streams
from gateway.center.blocks import LARGEST, Blocks
from gateway.center.datagrams import Datagrams
from gateway.center.limits import Buckets, source
from gateway.center.streams import Streams
from gateway.wire import coap
from gateway.wire.coap import Message

Say = Callable[[Message, str], Awaitable[tuple[Message | None, bool]]]


@asynccontextmanager
async def listening(say: Say) -> AsyncIterator[socket.socket]:
    """A client's socket towards a center that says this."""
    sock = datagrams.open_socket("127.0.0.1", 0)
    center = Datagrams(sock, say)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.setblocking(False)
        ours.connect(sock.getsockname())
        yield ours
    await center.close()


async def heard(sock: socket.socket) -> Message:
    async with asyncio.timeout(5):
        return coap.from_datagram(await asyncio.get_running_loop().sock_recv(sock, 2000))


async def nothing_more(sock: socket.socket) -> bool:
    """Whether the center is silent: a ping is answered after whatever else it had to say."""
    sock.send(b"\x40\x00\xab\xcd")
    return (await heard(sock)).kind == coap.RST


async def test_a_message_that_comes_again_is_answered_from_memory_once_its_sender_is_known() -> None:
    asked: list[Message] = []

    async def say(request: Message, _: str) -> tuple[Message | None, bool]:
        asked.append(request)
        return Message(coap.CHANGED, payload=bytes([len(asked)])), request.payload == b"known"

    async with listening(say) as ours:
        for payload, answers in ((b"known", [1, 1, 1]), (b"stranger", [2, 3])):
            packet = coap.to_datagram(Message(coap.POST, payload=payload, token=b"t", mid=len(payload)))
            for expected in answers:
                ours.send(packet)
                answer = await heard(ours)
                assert (answer.kind, answer.mid, answer.token, answer.payload[0]) == (
                    coap.ACK,
                    len(payload),
                    b"t",
                    expected,
                )
        assert await nothing_more(ours)
    assert len(asked) == 3


async def test_an_answer_that_takes_long_is_acknowledged_first_and_sent_until_it_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datagrams, "ACK_AFTER_S", 0.01)
    monkeypatch.setattr(datagrams, "RESENT_S", (0.02, 5.0))
    ready = asyncio.Event()

    async def say(request: Message, _: str) -> tuple[Message | None, bool]:
        await ready.wait()
        return Message(coap.CHANGED), True

    async with listening(say) as ours:
        packet = coap.to_datagram(Message(coap.POST, token=b"t", mid=7))
        ours.send(packet)
        empty = await heard(ours)
        assert (empty.kind, empty.code, empty.mid) == (coap.ACK, coap.EMPTY, 7)
        ours.send(packet)
        assert await heard(ours) == empty
        ready.set()
        first, again = await heard(ours), await heard(ours)
        assert (first, first.kind, first.code, first.token) == (again, coap.CON, coap.CHANGED, b"t")
        ours.send(coap.to_datagram(Message(coap.EMPTY, kind=coap.ACK, mid=first.mid)))
        assert await nothing_more(ours)


async def test_garbage_pings_and_stray_answers() -> None:
    async def say(request: Message, _: str) -> tuple[Message | None, bool]:
        return None, False

    async with listening(say) as ours:
        for stray in (
            b"",
            b"\x40",
            b"\xc0\x01\x00\x00",
            b"\x60\x44\x00\x01",
            b"\x40\x01\x00\x01\xff",
            b"\x50\x02\x00\x05",
        ):
            ours.send(stray)
        ours.send(coap.to_datagram(Message(coap.CHANGED, mid=9)))
        assert (await heard(ours)).kind == coap.RST
        assert await nothing_more(ours)


async def test_strangers_connections_are_few_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "UNPROVEN_OF_ONE_SOURCE", 2)
    monkeypatch.setattr(streams, "PROVE_S", 0.3)

    async def say(request: Message, *_: object) -> tuple[Message | None, bool]:
        known = request.payload == b"known"
        return Message(coap.CHANGED if known else coap.UNAUTHORIZED), known

    center = Streams(say)
    sock = streams.open_socket("127.0.0.1", 0)
    address = sock.getsockname()
    await center.listen(sock)
    links = []
    for payload in (b"known", b"stranger", b"stranger", b"stranger"):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(coap.to_frame(Message(coap.CSM)) + coap.to_frame(Message(coap.POST, payload=payload)))
        links.append((reader, writer))
        if payload == b"known":
            async with asyncio.timeout(5):
                await reader.readuntil(bytes([coap.CHANGED]))
    async with asyncio.timeout(5):
        for reader, _ in links[1:]:
            while await _more(reader):
                pass
    links[0][1].write(coap.to_frame(Message(coap.PING)))
    async with asyncio.timeout(5):
        assert await links[0][0].readuntil(bytes([coap.PONG])), "the one that is known stays"
    for _, writer in links:
        writer.close()
    await center.close()


async def _more(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1000)
    except ConnectionError:
        return b""


def blocks_of(body: bytes, exponent: int) -> list[Message]:
    size = 16 << exponent
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return [
        Message(
            coap.POST,
            ((coap.URI_PATH, b"w"), (coap.BLOCK1, coap.uint(n << 4 | (part is not parts[-1]) << 3 | exponent))),
            part,
        )
        for n, part in enumerate(parts)
    ]


def test_blocks_become_the_body_they_were() -> None:
    blocks, body = Blocks(), bytes(range(256)) * 20
    for exponent in (0, 2, 6):
        *first, last = blocks_of(body, exponent)
        for part in first:
            whole, answer = blocks.take("cab", part, 0.0)
            assert whole is None
            assert answer
            assert answer.code == coap.CONTINUE
        whole, answer = blocks.take("cab", last, 0.0)
        assert whole
        assert (whole.payload, answer) == (body, None)
    first, second, *_ = blocks_of(body, 6)
    assert [blocks.take(sender, part, 0.0)[1].dotted for sender, part in (("a", first), ("b", second))] == [  # type: ignore[union-attr]
        "2.31",
        "4.08",
    ]
    assert blocks.take("a", second, 99.0)[1].dotted == "4.08", "too late"  # type: ignore[union-attr]


def test_blocks_are_bounded() -> None:
    blocks = Blocks()
    answers = [blocks.take("cab", part, 0.0)[1] for part in blocks_of(bytes(LARGEST + 2000), 6)]
    assert [answer.dotted for answer in answers if answer][64] == "4.13"
    for n in range(1000):
        blocks.take(f"cab-{n}", blocks_of(bytes(2000), 6)[0], 0.0)
    assert len(blocks._begun) <= 256


def test_tokens_come_back_with_time_and_names_are_bounded() -> None:
    buckets = Buckets(10.0, 5.0)
    assert [buckets.take("a", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert buckets.take("b", 0.0)
    assert [buckets.take("a", 0.2) for _ in range(3)] == [True, True, False]
    for n in range(30_000):
        buckets.take(str(n), 1.0)
    assert len(buckets._left) <= 20_000


def test_strangers_are_counted_by_site() -> None:
    assert source("10.0.0.1") == source("::ffff:10.0.0.1") == "10.0.0.1"
    assert source("2001:db8:1:2::3") == source("2001:db8:1:2:ffff::9") != source("2001:db8:1:3::3")
    assert source("fe80::1%eth0") == source("fe80::2")
