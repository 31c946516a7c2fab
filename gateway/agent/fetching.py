"""Files of a center, asked for over the gateway's own connection: (path, offset) in, a `Piece` out.

A piece is one block of size exponent 7 (BERT, RFC 8323, section 6): as many KiB as the center puts into it. Knows no
connection: `ask` sends a request whose OSCORE somebody else does, and gives the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.agent.download import Cut, Down, Missing, Piece
from gateway.wire import coap
from gateway.wire.coap import Message

PATH = "f"  # where a center keeps what it hands out
ETAG = 4
WITHIN_S = 60.0
LARGEST_FILE = 1 << 30
_BERT = 7

Ask = Callable[[Message, float], Awaitable[Message]]
"""A request and the seconds to wait for its answer. Raises OSError or TimeoutError where there is none."""


class NotConnected(OSError):
    """No center is connected: nothing was sent."""


class Fetching:
    """A `download.Source`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def fetch(self, path: str, offset: int) -> Piece:
        """Raises Cut, Missing."""
        try:
            answer = await self._ask(request(path, offset), WITHIN_S)
        except NotConnected as bad:
            raise Down(str(bad)) from bad
        except (OSError, TimeoutError) as bad:
            raise Cut(str(bad)) from bad
        return piece(answer, offset)


def request(path: str, offset: int) -> Message:
    """`offset` is a multiple of 1,024."""
    names = tuple((coap.URI_PATH, name.encode()) for name in (PATH, *path.split("/")))
    return Message(coap.GET, (*names, (coap.BLOCK2, coap.uint(offset // 1024 << 4 | _BERT))))


def piece(answer: Message, offset: int) -> Piece:
    """Raises Missing for a center without the file, Cut for an answer of no use."""
    if answer.code in (coap.NOT_FOUND, coap.FORBIDDEN, coap.NOT_ALLOWED, coap.UNAUTHORIZED):
        raise Missing(answer.dotted)
    if answer.code != coap.CONTENT:
        raise Cut(f"the center says {answer.dotted}")
    block, total = answer.uint(coap.BLOCK2), answer.uint(coap.SIZE2)
    if block is None:  # all of it at once
        if offset:
            raise Cut("an answer without a block")
        return Piece(answer.payload, len(answer.payload), answer.first(ETAG) or b"")
    step = 1 << (min(block & 7, 6) + 4)
    if (block >> 4) * step != offset:
        raise Cut("another block than asked for")
    end = offset + len(answer.payload)
    if not block & 8:
        total = end
    if total is None or not end <= total <= LARGEST_FILE:
        raise Cut("a block of a file without an end")
    return Piece(answer.payload, total, answer.first(ETAG) or b"")
