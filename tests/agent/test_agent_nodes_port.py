"""The gateway's port towards its nodes: blocks out, short questions, and everything that a stranger may send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.agent import nodes_port
from gateway.agent.nodes_port import NoAnswer, NodesPort
from gateway.wire import coap
from gateway.wire.coap import ACK, CON, NON, RST, Message

FILE = bytes(range(256)) * 10  # 2,560 bytes
HERE = ("127.0.0.1", 40_000)
CHANGED = coap.CHANGED


def read(path: tuple[str, ...], offset: int, length: int) -> tuple[bytes, int, bytes] | None:
    return (FILE[offset : offset + length], len(FILE), b"tag") if path == ("f", "1", "m") else None


class Wire:
    """Where the port's datagrams go."""

    def __init__(self) -> None:
        self.sent: list[tuple[Message, tuple[str, int]]] = []
        self.bell = asyncio.Event()

    def sendto(self, data: bytes, to: tuple[str, int]) -> None:
        self.sent.append((coap.from_datagram(data), to))
        self.bell.set()

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def get_extra_info(self, _: str) -> Any:
        return ("127.0.0.1", 5690)

    async def next(self) -> Message:
        while not self.sent:
            self.bell.clear()
            await self.bell.wait()
        return self.sent.pop(0)[0]


def port() -> tuple[NodesPort, Wire]:
    ours, wire = NodesPort(read), Wire()
    ours.connection_made(wire)  # type: ignore[arg-type]
    ours.known.add(HERE[0])
    return ours, wire


def get(block: int | None = None, path: str = "f/1/m", kind: int = CON, code: int = coap.GET) -> bytes:
    options = [(coap.URI_PATH, one.encode()) for one in path.split("/")]
    if block is not None:
        options.append((coap.BLOCK2, coap.uint(block)))
    return coap.to_datagram(Message(code, tuple(options), b"", b"tk", kind, 77))


def answered(request: bytes) -> Message:
    ours, wire = port()
    ours.datagram_received(request, HERE)
    return wire.sent[0][0]


@pytest.mark.parametrize("exponent", range(7))
async def test_blocks_of_every_size(exponent: int) -> None:
    size, whole, number = 1 << (exponent + 4), b"", 0
    while True:
        answer = answered(get(number << 4 | exponent))
        assert (answer.kind, answer.mid, answer.token) == (ACK, 77, b"tk")
        assert answer.uint(coap.SIZE2) == len(FILE)
        whole += answer.payload
        block = answer.uint(coap.BLOCK2)
        assert block is not None
        assert block & 7 == exponent
        if not block & 8:
            break
        assert len(answer.payload) == size
        number += 1
    assert whole == FILE


async def test_without_a_block_option_the_first_one_comes() -> None:
    answer = answered(get())
    assert (answer.code, answer.payload, answer.uint(coap.BLOCK2)) == (coap.CONTENT, FILE[:1024], 8 | 6)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (get(path="f/1/image"), coap.NOT_FOUND),
        (get(path="etc/passwd"), coap.NOT_FOUND),
        (get(3 << 4 | 6), coap.BAD_OPTION),  # beyond the end
        (get(0 << 4 | 7), coap.BAD_OPTION),  # BERT is for streams
        (get(code=coap.POST), coap.NOT_ALLOWED),
        (get(code=3), coap.NOT_ALLOWED),
    ],
)
async def test_what_is_not_served(request_: bytes, code: int) -> None:
    answer = answered(request_)
    assert (answer.code, answer.kind, answer.payload) == (code, ACK, b"")


async def test_non_confirmable_requests_get_such_answers() -> None:
    assert answered(get(kind=NON)).kind == NON


async def test_strangers_get_nothing() -> None:
    ours, wire = port()
    ours.datagram_received(get(), ("192.0.2.9", 5683))
    assert wire.sent == []


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: get()[:4] + tail))
def test_whatever_comes_is_survived(data: bytes) -> None:
    async def heard() -> None:
        ours, wire = port()
        ours.datagram_received(data, HERE)
        assert len(wire.sent) <= 1
        assert sum(len(message.payload) for message, _ in wire.sent) <= 1024

    asyncio.run(heard())


@asynccontextmanager
async def asking(monkeypatch: pytest.MonkeyPatch, ack_timeout_s: float = 20.0) -> AsyncIterator[Any]:
    monkeypatch.setattr(nodes_port, "ACK_TIMEOUT_S", ack_timeout_s)
    ours, wire = port()
    asked = asyncio.ensure_future(ours.ask(HERE, Message(3, ((coap.URI_PATH, b"5"),), b"x")))
    try:
        yield ours, wire, asked
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert ours._waiting == ours._acknowledged == {}


def from_node(message: Message) -> bytes:
    return coap.to_datagram(message)


async def test_an_answer_in_the_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(monkeypatch) as (ours, wire, asked):
        sent = await wire.next()
        assert (sent.kind, sent.code) == (CON, 3)
        ours.datagram_received(from_node(Message(CHANGED, token=sent.token, kind=ACK, mid=sent.mid)), HERE)
        assert (await asked).code == CHANGED


async def test_an_answer_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledged first, answered later; the answer is acknowledged once, and its copy is reset."""
    async with asking(monkeypatch) as (ours, wire, asked):
        sent = await wire.next()
        ours.datagram_received(from_node(Message(coap.EMPTY, kind=ACK, mid=sent.mid)), HERE)
        answer = from_node(Message(CHANGED, token=sent.token, kind=CON, mid=9))
        ours.datagram_received(answer, HERE)
        assert (await asked).code == CHANGED
        acknowledged = await wire.next()
        assert (acknowledged.kind, acknowledged.mid, acknowledged.code) == (ACK, 9, coap.EMPTY)
        ours.datagram_received(answer, HERE)
        assert (await wire.next()).kind == RST


async def test_answers_to_nothing_and_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(monkeypatch) as (ours, wire, asked):
        sent = await wire.next()
        ours.datagram_received(from_node(Message(CHANGED, token=b"other", kind=ACK, mid=sent.mid)), HERE)
        ours.datagram_received(
            from_node(Message(CHANGED, token=sent.token, kind=ACK, mid=sent.mid)), ("192.0.2.9", 5683)
        )
        await asyncio.sleep(0)
        assert not asked.done()


async def test_a_node_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again as RFC 7252 says, then given up."""
    async with asking(monkeypatch, ack_timeout_s=0.001) as (_, wire, asked):
        with pytest.raises(NoAnswer):
            await asked
        assert len(wire.sent) == 5
        assert len({(message.mid, message.token) for message, _ in wire.sent}) == 1


async def test_one_question_at_a_time_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(monkeypatch) as (ours, wire, asked):
        second = asyncio.ensure_future(ours.ask(HERE, Message(coap.GET)))
        first_sent = await wire.next()
        await asyncio.sleep(0)
        assert wire.sent == []
        ours.datagram_received(from_node(Message(CHANGED, token=first_sent.token, kind=ACK, mid=first_sent.mid)), HERE)
        await asked
        sent = await wire.next()
        ours.datagram_received(from_node(Message(coap.CONTENT, (), b"1", sent.token, ACK, sent.mid)), HERE)
        assert (await second).payload == b"1"
