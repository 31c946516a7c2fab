"""One request of either end and its answer, under OSCORE: proof of freshness (Echo), bodies cut and put together.

In: a context, a message without OSCORE, and `carry`, which takes a protected one there and its answer back. Out: the
answer as its sender meant it. No sockets, no clock. Lets pass what `carry` raises.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from gateway.wire import coap, secure
from gateway.wire.coap import Message

Carry = Callable[[Message], Awaitable[Message]]

AGAIN = 4  # a peer that started anew asks, the resource asks, a number came too late
REPLAY = b"Replay detected"  # the words of our ends, and aiocoap's
PIECE = 16_384  # bytes of a block of size exponent 7 (BERT, RFC 8323, section 6)
BERT = 7
LARGEST = 8 << 20  # bytes of an answer, put together


class Unanswered(OSError):
    """What came is no answer to the request."""


class Asking:
    """Requests to one peer over one connection; an Echo that it asked for goes along as long as it takes it."""

    def __init__(self, context: Any, carry: Carry) -> None:
        self._context, self._carry = context, carry
        self._echo: bytes | None = None

    async def whole(self, message: Message) -> Message:
        """`message` with its whole body, the answer with its whole. Raises Unanswered."""
        answer = await self._sent(message)
        raw = answer.first(coap.BLOCK2)
        if raw is None or not raw or not raw[-1] & 8:
            return answer
        return await self.rest(message, answer)

    async def rest(self, message: Message, answer: Message) -> Message:
        """The whole of which `answer` is the first block. Raises Unanswered."""
        parts, size, tag = [answer.payload], len(answer.payload), answer.first(coap.ETAG)
        plain = replace(message, options=coap.without(message.options, coap.OBSERVE, coap.BLOCK1), payload=b"")
        last = answer
        while (block := last.uint(coap.BLOCK2) or 0) & 8:
            exponent = block & 7
            if size % (step := 1 << min(exponent, 6) + 4) or not last.payload or size > LARGEST:
                raise Unanswered("blocks that do not fit")
            wanted = (coap.BLOCK2, coap.uint(size // step << 4 | exponent))
            asked = replace(plain, options=(*coap.without(plain.options, coap.BLOCK2), wanted))
            last = await self.one(asked)
            if last.code != answer.code or last.first(coap.ETAG) != tag:
                raise Unanswered(f"it changed while it was read: {last.dotted}")
            parts.append(last.payload)
            size += len(last.payload)
        return replace(answer, options=coap.without(answer.options, coap.BLOCK2), payload=b"".join(parts))

    async def _sent(self, message: Message) -> Message:
        if len(message.payload) <= PIECE:
            return await self.one(message)
        tag = (coap.REQUEST_TAG, secrets.token_bytes(4))
        for at in range(0, len(message.payload), PIECE):
            more = at + PIECE < len(message.payload)
            block = (coap.BLOCK1, coap.uint(at // 1024 << 4 | more << 3 | BERT))
            options = (*message.options, tag, block)
            if not at:
                options = (*options, (coap.SIZE1, coap.uint(len(message.payload))))
            answer = await self.one(replace(message, options=options, payload=message.payload[at : at + PIECE]))
            if answer.code != coap.CONTINUE:
                break
        return answer

    async def one(self, message: Message) -> Message:
        """One message there and back. Raises Unanswered."""
        echo = self._echo
        for _ in range(AGAIN):
            fresh = message if echo is None else _with(message, echo)
            try:
                outer, identifiers = secure.protect_request(self._context, fresh)
                response = secure.open_response(self._context, await self._carry(outer), identifiers)
            except secure.NotProtected as plain:
                if plain.plain.code == coap.UNAUTHORIZED and plain.plain.payload == REPLAY:
                    continue
                raise Unanswered(f"an answer without OSCORE: {plain.plain.dotted}") from plain
            except secure.Invalid as bad:
                raise Unanswered(str(bad)) from bad
            asked = response.first(coap.ECHO)
            if response.code != coap.UNAUTHORIZED or asked is None:
                return response
            echo = self._echo = asked
        raise Unanswered("it goes on asking for proof of freshness")


def _with(message: Message, echo: bytes) -> Message:
    return replace(message, options=(*coap.without(message.options, coap.ECHO), (coap.ECHO, echo)))
