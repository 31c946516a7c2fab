"""Several centers as one way: who is asked, and what a line that does not stand says of a release."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.agent.download import Down
from gateway.agent.fetching import Fetching, NotConnected
from gateway.agent.line import Line
from gateway.agent.lines import Lines
from gateway.agent.trial import Reach
from gateway.wire import coap
from gateway.wire.coap import Message


class OneLine:
    """As much of a line as is looked at."""

    def __init__(self, *, up: bool = False, stood: bool = False, reachable: bool = False) -> None:
        self.up = asyncio.Event()
        if up:
            self.up.set()
        self.since_s = 1.0 if up or stood else 0.0
        self.reachable = reachable

    async def one(self, message: Message, within_s: float) -> Message:
        return Message(coap.CONTENT, payload=b"here")

    async def is_reachable(self) -> bool:
        return self.reachable


def lines(*made: OneLine) -> Lines:
    found: list[Any] = list(made)
    return Lines(found)


async def test_the_first_that_stands_is_asked() -> None:
    both = lines(OneLine(), OneLine(up=True))
    assert (await Fetching(both.one).fetch("x", 0)).data == b"here"


async def test_where_none_stands_nothing_is_sent() -> None:
    with pytest.raises(NotConnected):
        await lines(OneLine(), OneLine()).one(Message(coap.GET), 1.0)
    with pytest.raises(Down):
        await Fetching(lines().one).fetch("x", 0)


@pytest.mark.parametrize(
    ("made", "reach"),
    [
        ({"up": True}, Reach.STANDS),
        ({"stood": True, "reachable": True}, Reach.STANDS),  # it broke since: no fault of the release
        ({"reachable": True}, Reach.BROKEN),
        ({}, Reach.AWAY),
    ],
)
async def test_what_a_line_says_of_a_release(made: dict[str, bool], reach: Reach) -> None:
    assert await lines(OneLine(**made)).reach() is reach
    assert await lines(OneLine(), OneLine(**made)).reach() is reach


async def test_whether_something_takes_connections_there() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def address() -> str:
        return f"127.0.0.1:{port}"

    line = Line("center", SimpleNamespace(), address, lambda: None)  # type: ignore[arg-type,return-value]
    assert await line.is_reachable()
    server.close()
    await server.wait_closed()
    assert not await line.is_reachable()
