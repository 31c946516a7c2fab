"""Bodies that come block by block (RFC 7959, Block1), put together. No sockets, no clock of its own.

Bounded: bodies begun, bytes of each, and how long one may take. A body belongs to a sender, a path and a Request-Tag.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from gateway.wire import coap
from gateway.wire.coap import Message

BODIES = 256
LARGEST = 65_536
PATIENCE_S = 30.0


@dataclass(slots=True)
class _Body:
    began_s: float
    data: bytearray = field(default_factory=bytearray)


class Blocks:
    """`take` each request that came."""

    def __init__(self) -> None:
        self._begun: OrderedDict[tuple[object, ...], _Body] = OrderedDict()

    def take(self, sender: str, request: Message, now_s: float) -> tuple[Message | None, Message | None]:
        """(the whole request, None) when this was all of it, else (None, what to answer)."""
        raw = request.first(coap.BLOCK1)
        if raw is None:
            return request, None
        if len(raw) > 3:
            return None, Message(coap.BAD_OPTION)
        value = int.from_bytes(raw, "big")
        number, more, exponent = value >> 4, bool(value & 8), value & 7
        size = 1 << min(exponent, 6) + 4  # exponent 7: several blocks of 1,024 bytes (RFC 8323, section 6)
        key = (sender, request.code, request.first(coap.REQUEST_TAG), request.texts(coap.URI_PATH))
        while self._begun and next(iter(self._begun.values())).began_s < now_s - PATIENCE_S:
            self._begun.popitem(last=False)
        if number == 0:
            self._begun.pop(key, None)
            self._begun[key] = _Body(now_s)
            if len(self._begun) > BODIES:
                self._begun.popitem(last=False)
        body = self._begun.get(key)
        here = ((coap.BLOCK1, raw),)
        if body is None or number * size != len(body.data):
            return None, Message(coap.INCOMPLETE, here)
        if more and not _fits(len(request.payload), size, exponent):
            return None, Message(coap.BAD_REQUEST, here)
        if len(body.data) + len(request.payload) > LARGEST:
            del self._begun[key]
            return None, Message(coap.TOO_LARGE, (*here, (coap.SIZE1, coap.uint(LARGEST))))
        body.data += request.payload
        if more:
            return None, Message(coap.CONTINUE, here)
        del self._begun[key]
        return replace(request, payload=bytes(body.data)), None


def _fits(length: int, size: int, exponent: int) -> bool:
    """Whether a block with more to come has its size."""
    return length == size if exponent < 7 else length > 0 and length % size == 0
