"""One POST and what came of it, whatever it travels on: OSCORE on and off, proof of freshness, blocks, an `Answer`.

In: a way, a message, and `ask`, which carries one protected message there and its answer back. No sockets. Lets pass
what `ask` raises.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

from gateway.uplink.way import AGAIN, REPLAY, Answer, Kind, Way, classify
from gateway.wire import coap, secure
from gateway.wire.coap import Message

Ask = Callable[[Message], Awaitable[Message]]

BLOCK = 1024  # bytes; szx 6
BLOCK_SZX = 6
STALE = "asks for fresh numbers"


async def post(way: Way, path: str, content_format: int, payload: bytes, ask: Ask, *, largest: int) -> Answer:
    """Bodies over `largest` go block by block (RFC 7959)."""
    options = [(coap.URI_PATH, part.encode()) for part in (*way.prefix, path)]
    options += [(coap.URI_QUERY, query.encode()) for query in way.query]
    options.append((coap.CONTENT_FORMAT, coap.uint(content_format)))
    message = Message(coap.POST, tuple(options), payload)
    if len(payload) <= largest:
        return way.heard(await _fresh(way, message, ask))
    tagged = replace(message, options=(*message.options, (coap.REQUEST_TAG, secrets.token_bytes(2))))
    for at in range(0, len(payload), BLOCK):
        more = at + BLOCK < len(payload)
        block = coap.uint((at // BLOCK) << 4 | more << 3 | BLOCK_SZX)
        part = replace(tagged, options=(*tagged.options, (coap.BLOCK1, block)), payload=payload[at : at + BLOCK])
        answer = await _fresh(way, part, ask)
        if answer.code == coap.INCOMPLETE:
            return Answer(Kind.BUSY, answer.detail)  # it has forgotten how we began
        if not more or answer.code != coap.CONTINUE:
            return way.heard(answer)
    raise AssertionError


async def _fresh(way: Way, message: Message, ask: Ask) -> Answer:
    """A center that started anew asks for freshness (RFC 8613, appendix B.1.2). When it starts once more in between, or
    another lane answers first with a higher number, the message was just unlucky: it goes out under a new number."""
    for _ in range(AGAIN):
        try:
            response = await _protected(way, message, ask)
        except secure.NotProtected as plain:
            if plain.plain.code == coap.UNAUTHORIZED and plain.plain.payload == REPLAY:
                continue
            return Answer(Kind.BUSY if plain.plain.code_class == 5 else Kind.STRANGER, plain.plain.dotted)
        except secure.Invalid as bad:
            return Answer(Kind.STRANGER, str(bad))
        echo = response.first(coap.ECHO)
        if response.code != coap.UNAUTHORIZED or echo is None:
            return classify(response.code, response.payload, response.uint(coap.MAX_AGE))
        message = replace(message, options=(*coap.without(message.options, coap.ECHO), (coap.ECHO, echo)))
    return Answer(Kind.BUSY, STALE)


async def _protected(way: Way, message: Message, ask: Ask) -> Message:
    if way.context is None:
        return await ask(message)
    outer, identifiers = secure.protect_request(way.context, message)
    return secure.open_response(way.context, await ask(outer), identifiers)
