"""Bodies in blocks (RFC 7959; several of 1,024 bytes in one over TCP: RFC 8323, section 6). No sockets, no clock.

`Coming` puts the bodies of requests together (Block1), `Going` cuts those of answers (Block2) and keeps each while
it is fetched, so that a value which changes meanwhile is never mixed. Bounded: bodies, bytes, patience.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from gateway.agent.resource import LARGEST_BODY
from gateway.wire import coap
from gateway.wire.coap import Message

BODIES = 4  # at once, of all upstreams
PATIENCE_S = 60.0
KEPT = 8  # answers of several blocks
KEPT_BYTES = 4 << 20
PIECE = 16_384  # bytes of a block of exponent 7
BERT = 7

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The value of a Block1 or Block2 option (RFC 7959, section 2.2)."""

    number: int
    more: bool
    exponent: int

    @classmethod
    def read(cls, raw: bytes) -> Block | None:
        if len(raw) > 3:
            return None
        value = int.from_bytes(raw, "big")
        return cls(value >> 4, bool(value & 8), value & 7)

    @property
    def step(self) -> int:
        """Bytes that `number` counts in."""
        return 1 << min(self.exponent, 6) + 4

    @property
    def offset(self) -> int:
        return self.number * self.step

    def fits(self, length: int) -> bool:
        """Whether so many bytes may be this block."""
        if not self.more:
            return length <= self.step or self.exponent == BERT
        return length == self.step if self.exponent < BERT else length > 0 and length % self.step == 0


@dataclass(slots=True)
class _Body:
    began_s: float
    data: bytearray = field(default_factory=bytearray)


class Coming:
    """`take` each request that came."""

    def __init__(self) -> None:
        self._begun: OrderedDict[Key, _Body] = OrderedDict()

    def take(self, sender: str, request: Message, now_s: float) -> tuple[Message | None, Message | None]:
        """(the whole request, None) when this was all of it, else (None, what to answer)."""
        raw = request.first(coap.BLOCK1)
        if raw is None:
            if len(request.payload) > LARGEST_BODY:
                return None, _too_large()
            return request, None
        block = Block.read(raw)
        if block is None:
            return None, Message(coap.BAD_OPTION)
        here = (coap.BLOCK1, raw)
        key = (sender, request.code, request.first(coap.REQUEST_TAG), _where(request))
        while self._begun and next(iter(self._begun.values())).began_s < now_s - PATIENCE_S:
            self._begun.popitem(last=False)
        if block.number == 0:
            if (request.uint(coap.SIZE1) or 0) > LARGEST_BODY:
                return None, _too_large(here)
            self._begun.pop(key, None)
            if len(self._begun) >= BODIES:
                self._begun.popitem(last=False)
            self._begun[key] = _Body(now_s)
        body = self._begun.get(key)
        if body is None or block.offset != len(body.data):
            return None, Message(coap.INCOMPLETE, (here,))
        if not block.fits(len(request.payload)):
            return None, Message(coap.BAD_REQUEST, (here,))
        if len(body.data) + len(request.payload) > LARGEST_BODY:
            del self._begun[key]
            return None, _too_large(here)
        body.data += request.payload
        if block.more:
            return None, Message(coap.CONTINUE, (here,))
        del self._begun[key]
        return replace(request, payload=bytes(body.data)), None


def _too_large(*options: tuple[int, bytes]) -> Message:
    return Message(coap.TOO_LARGE, (*options, (coap.SIZE1, coap.uint(LARGEST_BODY))))


class Going:
    """`cut` each answer; `again` for the blocks after the first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[float, Message]] = OrderedDict()

    def cut(self, sender: str, request: Message, whole: Message, largest: int, now_s: float) -> Message:
        """`whole`, or its first block where it is larger than a block or than the peer's messages."""
        wanted = Block.read(request.first(coap.BLOCK2) or b"")
        if wanted is None:
            return Message(coap.BAD_OPTION)
        said = request.first(coap.BLOCK2) is not None
        exponent = wanted.exponent if said else BERT if largest > PIECE else 6
        room = _piece(Block(0, False, exponent), largest)
        if len(whole.payload) <= (room if said else min(PIECE, max(room, largest))):
            return whole
        tag = (coap.ETAG, hashlib.sha256(whole.payload).digest()[:8])
        kept = replace(whole, options=(*coap.without(whole.options, coap.OBSERVE), tag))
        key = self._key(sender, request)
        self._kept.pop(key, None)
        self._kept[key] = (now_s, kept)
        while len(self._kept) > KEPT or (len(self._kept) > 1 and self._bytes() > KEPT_BYTES):
            self._kept.popitem(last=False)
        observed = tuple(option for option in whole.options if option[0] == coap.OBSERVE)
        first = _block(kept, Block(0, False, exponent), largest)
        return replace(first, options=(*first.options, *observed))

    def again(self, sender: str, request: Message, largest: int, now_s: float) -> Message | None:
        """The answer to a request for a later block, None for a request that is not one."""
        raw = request.first(coap.BLOCK2)
        if raw is None:
            return None
        block = Block.read(raw)
        if block is None:
            return Message(coap.BAD_OPTION)
        if block.number == 0:
            return None
        while self._kept and next(iter(self._kept.values()))[0] < now_s - PATIENCE_S:
            self._kept.popitem(last=False)
        found = self._kept.get(self._key(sender, request))
        if found is None:
            return Message(coap.INCOMPLETE)
        if block.offset >= len(found[1].payload):
            return Message(coap.BAD_REQUEST)
        return _block(found[1], block, largest)

    def _key(self, sender: str, request: Message) -> Key:
        return (sender, request.code, _where(request))

    def _bytes(self) -> int:
        return sum(len(message.payload) for _, message in self._kept.values())


def _piece(block: Block, largest: int) -> int:
    """Bytes of a block for a peer that takes messages of `largest` bytes."""
    if block.exponent < BERT:
        return block.step
    return max(1024, min(PIECE, largest - 200) // 1024 * 1024)


def _block(whole: Message, wanted: Block, largest: int) -> Message:
    size = len(whole.payload)
    part = whole.payload[wanted.offset : wanted.offset + _piece(wanted, largest)]
    more = wanted.offset + len(part) < size
    value = wanted.number << 4 | more << 3 | wanted.exponent
    options = (*whole.options, (coap.BLOCK2, coap.uint(value)), (coap.SIZE2, coap.uint(size)))
    return replace(whole, options=options, payload=part)


def _where(request: Message) -> tuple[bytes, ...]:
    """Path and query, apart."""
    path = [value for number, value in request.options if number == coap.URI_PATH]
    query = [value for number, value in request.options if number == coap.URI_QUERY]
    return (*path, b"?", *query)
