"""One connection's requests to the agent: OSCORE off, the tree, OSCORE on; observations, which end with the connection.

Without OSCORE there is no answer, whatever is asked. What cannot be opened, or comes twice, is told so in a bare code
(RFC 8613, section 8.2). Knows one upstream's context and no other.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiocoap import oscore

from gateway.agent.freshness import Freshness
from gateway.agent.resource import Refused, Reply, Role
from gateway.agent.tree import Asker, Tree
from gateway.wire import coap, secure
from gateway.wire.coap import Message
from gateway.wire.credentials import WINDOW
from gateway.wire.proven import REPLAY
from gateway.wire.stream import Closed, Stream

log = logging.getLogger("citygate.agent")

OBSERVATIONS = 8  # of one connection


class Desk:
    """Made anew for each connection; `close` ends its observations."""

    def __init__(
        self,
        upstream: str,
        roles: frozenset[Role],
        context: Any,
        tree: Callable[[], Tree],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context, self._tree = context, tree
        self._asker = Asker(upstream, roles, Freshness(clock_s), at_s=clock_s())
        self._observing: dict[bytes, asyncio.Task[None]] = {}
        unsettle(context)

    def close(self) -> None:
        for task in self._observing.values():
            task.cancel()
        self._observing.clear()

    async def answer(self, stream: Stream, request: Message) -> Message | None:
        if request.first(coap.OSCORE) is None:
            return None
        self._asker.largest = stream.largest
        try:
            if secure.key_id(request) != (self._context.recipient_id, self._context.id_context):
                return _bare(coap.UNAUTHORIZED)
            inner, identifiers = secure.open_request(self._context, request)
        except secure.Unfresh as stale:
            return stale.answer
        except secure.Replayed:
            return _bare(coap.UNAUTHORIZED, REPLAY)
        except secure.Invalid:
            return _bare(coap.BAD_REQUEST)
        secure.number_anew(identifiers)
        response = await self._served(stream, request, inner, identifiers)
        return secure.protect_response(self._context, response, identifiers)

    async def _served(self, stream: Stream, outer: Message, inner: Message, identifiers: Any) -> Message:
        tree, wish = self._tree(), outer.uint(coap.OBSERVE)
        if wish is not None and (task := self._observing.pop(outer.token, None)) is not None:
            task.cancel()
        if wish == 0 and inner.code in (coap.GET, coap.FETCH) and len(self._observing) < OBSERVATIONS:
            changes = tree.changes(self._asker, inner)
            if changes is not None:
                return await self._observed(stream, outer.token, inner, identifiers, changes)
        return await tree.answer(self._asker, inner)

    async def _observed(
        self, stream: Stream, token: bytes, inner: Message, identifiers: Any, changes: AsyncIterator[Reply]
    ) -> Message:
        tree = self._tree()
        try:
            first = await anext(changes)
        except StopAsyncIteration:
            return await tree.answer(self._asker, inner)
        except Refused as refused:
            return tree.written(self._asker, inner, refused.reply())
        except Exception:
            log.exception("what %s observes", self._asker.upstream)
            return Message(coap.INTERNAL_ERROR)
        telling = self._told(stream, token, inner, identifiers, changes)
        task = asyncio.get_running_loop().create_task(telling, name="observed")
        self._observing[token] = task
        task.add_done_callback(lambda _: self._over(token, task))
        return tree.written(self._asker, inner, first, b"")

    async def _told(
        self, stream: Stream, token: bytes, inner: Message, identifiers: Any, changes: AsyncIterator[Reply]
    ) -> None:
        """Each change, but no faster than the peer reads."""
        try:
            async for reply in changes:
                await stream.drained()
                self._tell(stream, token, inner, identifiers, reply)
        except Refused as refused:  # a notification that is an error ends the observation (RFC 7641, section 3.2)
            self._tell(stream, token, inner, identifiers, refused.reply())
        except Closed:
            pass
        finally:
            closing = getattr(changes, "aclose", None)
            if closing is not None:
                with suppress(Exception):
                    await closing()

    def _tell(self, stream: Stream, token: bytes, inner: Message, identifiers: Any, reply: Reply) -> None:
        """Raises Closed."""
        response = self._tree().written(self._asker, inner, reply, b"")
        protected = secure.protect_response(self._context, response, identifiers)
        stream.tell(replace(protected, token=token))

    def _over(self, token: bytes, task: asyncio.Task[None]) -> None:
        if self._observing.get(token) is task:
            del self._observing[token]
        if not task.cancelled() and (bad := task.exception()) is not None:
            log.error("an observation ended badly: %r", bad)


def unsettle(context: Any) -> None:
    """Take nothing under this context until it was proven fresh (RFC 8613, appendix B.1.2): a connection may lead to
    another center of several, whose numbers are its own. Every answer has a number of ours, so that a request that is
    played back after that never shares a nonce."""
    context.recipient_replay_window = oscore.ReplayWindow(WINDOW, lambda: None)
    context.echo_recovery = secrets.token_bytes(8)


def _bare(code: int, payload: bytes = b"") -> Message:
    return Message(code, ((coap.MAX_AGE, b""),) if payload else (), payload)
