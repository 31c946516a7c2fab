"""One CoAP node: a request and its answer, within a time and a size.

In: paths. Out: `Answer`s, whole and opened where the node has OSCORE, or one of `NoAnswer`, `BadAnswer` and `LinkDown`.
Only the driver above knows points.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import aiocoap
from aiocoap import error, oscore
from aiocoap.numbers.constants import TransportTuning
from aiocoap.optiontypes import BlockOption

from protocols.api import Link, LinkDown, Tap
from protocols.coap.endpoint import Caller, Endpoint
from protocols.coap.oscore import BadCredentials, NodeContext
from protocols.coap.points import Options, split
from protocols.streams import HINTS, now_ns

RETRANSMISSIONS = 2
_SHARES = 2 ** (RETRANSMISSIONS + 1) - 1  # of the time-out: after 1 the first retransmission, after 3 the second
_SLACK_S = 0.02  # aiocoap gives up first: what it still sends would stand before the next request
_LOST_AFTER = 3  # time-outs in a row after which a name is looked up again
_UNREACHABLE = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
DEFAULT_MAX_AGE_S = 60
COUNTERS = (
    "requests", "replies", "timeouts", "refused", "malformed", "too_large", "unprotected", "limited", "moved",
)  # fmt: skip


class NoAnswer(Exception):
    """Nothing came in time."""


class BadAnswer(Exception):
    """An answer that cannot be used: too large, not protected, blocks that do not fit together."""


class Answer(NamedTuple):
    """A whole representation. `observe` None where the node does not let this resource be observed."""

    code: int
    content_format: int
    payload: bytes
    max_age_s: float
    observe: int | None
    arrived_ns: int

    @property
    def is_good(self) -> bool:
        return self.code >> 5 == 2

    @property
    def dotted(self) -> str:
        return f"{self.code >> 5}.{self.code & 0x1F:02}"


Heard = Callable[["Answer | None", bool], None]
"""What an observation says: an answer, None where the rest of it must be fetched or it ended; and whether it ended."""


class Node:
    """The far end of a link. Requests of one node never overlap: the constrained nodes of RFC 7252 take one."""

    def __init__(self, link: Link, options: Options, endpoint: Endpoint, context: NodeContext | None) -> None:
        self._link, self._options, self._endpoint, self._context = link, options, endpoint, context
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._caller = Caller(options.per_s, self.counters)
        self._remote: Any = None
        self._silent = 0
        self._one = asyncio.Lock()

    @classmethod
    async def open(cls, link: Link, options: Options) -> Node:
        """Raises LinkDown."""
        context = None
        if link.credentials:
            try:
                context = NodeContext(link.credentials)
            except BadCredentials as bad:
                raise _down("CG-3041", f"{link.url}: {bad}") from bad
        try:
            node = cls(link, options, await Endpoint.shared(), context)
        except BaseException:
            if context:
                context.close()
            raise
        try:
            await node._find()
        except BaseException:
            await node.close()
            raise
        return node

    async def close(self) -> None:
        if self._remote is not None:
            self._endpoint.ignore(self._remote)
        if self._context:
            self._context.close()
        await self._endpoint.release()

    @property
    def tap(self) -> Tap | None:
        """Shown every datagram, as it is on the wire: encrypted where OSCORE is used."""
        return self._caller.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._caller.tap = tap

    @property
    def is_protected(self) -> bool:
        return self._context is not None

    async def ask(
        self,
        code: str,
        path: str,
        timeout_s: float,
        *,
        payload: bytes = b"",
        content_format: int | None = None,
        accept: int | None = None,
    ) -> Answer:
        """`code` GET or PUT. Raises NoAnswer, BadAnswer, LinkDown; codes that refuse are answers."""
        message = self._message(code, path, accept)
        message.payload = payload
        message.opt.content_format = content_format
        async with self._one:
            return await self._whole(message, await self._exchange(message, timeout_s), timeout_s)

    def observe(
        self, path: str, accept: int | None, heard: Heard, replaces: Observation | None, is_newer: Callable[[int], bool]
    ) -> Observation:
        """Not yet registered. `replaces`: the same resource's observation, which it refreshes; `is_newer` knows the
        order of its notifications."""
        return Observation(self, self._message("GET", path, accept), heard, replaces, is_newer)

    # -- how

    def _message(self, code: str, path: str, accept: int | None) -> Any:
        message = aiocoap.Message(code=getattr(aiocoap, code))
        message.opt.uri_path, message.opt.uri_query = split(path)
        message.opt.accept = accept
        return message

    async def _find(self) -> None:
        """Look the address up, and up again when the node may have moved. Raises LinkDown."""
        try:
            found = await self._endpoint.resolve(self._link.url)
        except (error.Error, OSError, ValueError) as bad:
            raise _down("CG-3006", f"{self._link.url}: {bad}") from bad
        if self._remote is not None:
            if found == self._remote:
                return
            self._endpoint.ignore(self._remote)
            self.counters["moved"] += 1
        self._remote = None
        if not self._endpoint.hear(found, self._caller):
            raise _down("CG-3042", f"{self._link.url}: another link has this address")
        self._remote = found

    async def _exchange(self, message: Any, timeout_s: float) -> Any:
        """One request and its opened answer; once more where the node asks for freshness (RFC 8613, B.1.2)."""
        answer = await self._once(message, timeout_s)
        if self._context and answer.code == aiocoap.UNAUTHORIZED and answer.opt.echo is not None:
            message.opt.echo = answer.opt.echo
            answer = await self._once(message, timeout_s)
        return answer

    async def _once(self, message: Any, timeout_s: float) -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()

        def heard(event: Any) -> bool:
            if not done.done():
                done.set_result(event)
            return False

        sent, secret = self.protect(message)
        sent.transport_tuning = _tuning(timeout_s)
        sent.remote = self._remote
        pipe = self._endpoint.request(sent)
        stop = pipe.on_event(heard)
        timer = loop.call_later(timeout_s + _SLACK_S, _give_up, done)
        self.counters["requests"] += 1
        try:
            self._endpoint.send(pipe)
            event = await done
        finally:
            timer.cancel()
            stop()
        if event is None:
            await self.missed("nothing came")
        if event.exception is not None:
            await self.failed(event.exception)
        self.answered()
        return self.unprotect(event.message, secret)

    async def _whole(self, message: Any, first: Any, timeout_s: float) -> Answer:
        """All blocks of the answer (RFC 7959). Raises BadAnswer, NoAnswer, LinkDown."""
        largest = self._options.largest
        body, part = bytearray(first.payload), first
        self._check_size(first.opt.size2 or 0, largest)
        self._check_size(len(body), largest)
        while (block := part.opt.block2) is not None and block.more:
            if block.start != len(body) - len(part.payload) or len(part.payload) != block.size or not part.payload:
                raise self._bad("malformed", "blocks that do not follow each other")
            following = aiocoap.Message(code=message.code)
            following.opt.uri_path, following.opt.uri_query = message.opt.uri_path, message.opt.uri_query
            following.opt.accept = message.opt.accept
            number = len(body) // block.size
            following.opt.block2 = BlockOption.BlockwiseTuple(number, False, block.size_exponent)
            part = await self._exchange(following, timeout_s)
            given = part.opt.block2
            if given is None or given.block_number << given.size_exponent != number << block.size_exponent:
                raise self._bad("malformed", "another block than asked for")
            if part.opt.etag != first.opt.etag or part.code != first.code:
                raise self._bad("malformed", "the representation changed while it was fetched")
            body += part.payload
            self._check_size(len(body), largest)
        return answer_of(first, bytes(body))

    def _check_size(self, size: int, largest: int) -> None:
        if size > largest:
            raise self._bad("too_large", f"{size} bytes or more, {largest} at most")

    def _bad(self, counter: str, words: str) -> BadAnswer:
        self.counters[counter] += 1
        return BadAnswer(words)

    def protect(self, message: Any) -> tuple[Any, Any]:
        """Raises LinkDown when the key's numbers are used up or cannot be kept."""
        if self._context is None:
            return message.copy(), None
        try:
            return self._context.protect(message)  # type: ignore[no-any-return]
        except (oscore.ContextUnavailable, OSError) as bad:
            raise _down("CG-3041", f"{self._link.url}: {bad}") from bad

    def unprotect(self, message: Any, secret: Any) -> Any:
        """Raises BadAnswer for what the key does not open, and for what is not protected although it must be."""
        if self._context is None:
            return message
        try:
            opened, _ = self._context.unprotect(message, secret)
        except (error.Error, ValueError, IndexError, KeyError, TypeError, AttributeError, AssertionError) as bad:
            raise self._bad("unprotected", f"not protected with this node's key ({message.code})") from bad
        return opened

    def answered(self) -> None:
        self._silent = 0
        self.counters["replies"] += 1

    async def missed(self, words: str) -> NoReturn:
        self.counters["timeouts"] += 1
        self._silent += 1
        if self._silent % _LOST_AFTER == 0 and not _is_literal(self._link.url):
            await self._find()
        raise NoAnswer(words)

    async def failed(self, exception: Exception) -> NoReturn:
        """aiocoap's word for what happened, translated."""
        cause = exception if isinstance(exception, OSError) else exception.__cause__
        if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
            code = "CG-3005" if cause.errno == errno.ECONNREFUSED else "CG-3006"
            raise _down(code, f"{self._link.url}: {errno.errorcode[cause.errno]}") from exception
        if isinstance(exception, error.MessageError):
            raise self._bad("malformed", "the node did not take the message (reset)")
        await self.missed(str(exception) or type(exception).__name__)


class Observation:
    """A resource that tells by itself (RFC 7641)."""

    def __init__(
        self,
        node: Node,
        message: Any,
        heard: Heard,
        replaces: Observation | None,
        is_newer: Callable[[int], bool],
    ) -> None:
        self._node, self._message, self._heard = node, message, heard
        self._replaces, self._is_newer = replaces, is_newer
        # each request of OSCORE has a key stream of its own: notifications of two must not share a token
        self._token: bytes = replaces._token if replaces and not node.is_protected else b""
        self._is_refresh = bool(self._token)
        self.passed_over = False  # something came that may have been the answer, or not
        self._stop: Callable[[], None] | None = None
        self._secret: Any = None
        self._first: asyncio.Future[Any] | None = None

    async def start(self, timeout_s: float) -> Answer:
        """Register; what the node answers. Raises NoAnswer, BadAnswer, LinkDown."""
        self._message.opt.observe = 0
        async with self._node._one:
            try:
                opened = await self._register(timeout_s)
                if self._node.is_protected and opened.code == aiocoap.UNAUTHORIZED and opened.opt.echo is not None:
                    self.stop()
                    self._message.opt.echo = opened.opt.echo
                    opened = await self._register(timeout_s)
                return await self._node._whole(self._message.copy(observe=None), opened, timeout_s)
            except BaseException:
                self.stop()
                raise

    async def _register(self, timeout_s: float) -> Any:
        node = self._node
        sent, self._secret = node.protect(self._message)
        sent.transport_tuning = _tuning(timeout_s)
        sent.remote = node._remote
        pipe = node._endpoint.request(sent, self._token)
        loop = asyncio.get_running_loop()
        self._first = loop.create_future()
        self._stop = pipe.on_event(self._event)
        timer = loop.call_later(timeout_s + _SLACK_S, _give_up, self._first)
        node.counters["requests"] += 1
        try:
            if self._replaces is not None:  # in one step: a notification between the two would be reset
                self._replaces.stop()
                self._replaces = None
            node._endpoint.send(pipe)
            event = await self._first
        finally:
            timer.cancel()
        self._token = sent.token
        if event is None:
            await node.missed("nothing came")
        if event.exception is not None:
            await node.failed(event.exception)
        node.answered()
        return node.unprotect(event.message, self._secret)

    def stop(self) -> None:
        """No more interest; the node learns of it by a reset, or by `cancel`."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def cancel(self) -> None:
        """Tell the node, once and unconfirmed, that nobody listens any more."""
        if self._stop is None:
            return
        self.stop()
        self._message.opt.observe = 1
        try:
            sent, _ = self._node.protect(self._message)
        except LinkDown:
            return
        sent.mtype = aiocoap.NON
        sent.remote = self._node._remote
        pipe = self._node._endpoint.request(sent, self._token)
        stop = pipe.on_event(lambda event: False)
        self._node._endpoint.send(pipe)
        stop()

    def _is_late(self, event: Any) -> bool:
        """A notification of before that was long on its way has the token of the question that is open. What answers
        the question itself is an acknowledgement, or as new as any notification."""
        message = event.message
        if not self._is_refresh or message is None or message.mtype is aiocoap.ACK or message.opt.observe is None:
            return False
        late = not self._is_newer(message.opt.observe)
        self.passed_over |= late
        return late

    def _event(self, event: Any) -> bool:
        """Called by aiocoap for every response to the token."""
        if self._first is not None and not self._first.done():
            if self._is_late(event):
                return True
            self._first.set_result(event)
            return not event.is_last
        if event.exception is not None:
            self._heard(None, True)
            return False
        try:
            opened = self._node.unprotect(event.message, self._secret)
        except BadAnswer:
            return True
        if opened.opt.block2 is not None and opened.opt.block2.more:
            self._heard(None, False)
        elif len(opened.payload) > self._node._options.largest:
            self._node.counters["too_large"] += 1
        else:
            self._heard(answer_of(opened, opened.payload), event.is_last)
        return not event.is_last


def _give_up(waiting: asyncio.Future[Any]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def answer_of(message: Any, body: bytes) -> Answer:
    given = message.opt.content_format
    max_age = message.opt.max_age
    return Answer(
        int(message.code),
        -1 if given is None else int(given),
        body,
        float(DEFAULT_MAX_AGE_S if max_age is None else max_age),
        message.opt.observe,
        now_ns(),
    )


@cache
def _tuning(timeout_s: float) -> TransportTuning:
    """Retransmissions so that the last has had its time when `timeout_s` is over."""

    class Tuning(TransportTuning):  # type: ignore[misc]
        ACK_TIMEOUT = timeout_s / _SHARES
        ACK_RANDOM_FACTOR = 1.0
        MAX_RETRANSMIT = RETRANSMISSIONS

    return Tuning()


def _is_literal(url: str) -> bool:
    try:
        ipaddress.ip_address((urlsplit(url).hostname or "").partition("%")[0])
    except ValueError:
        return False
    return True


def _down(code: str, what: str) -> LinkDown:
    return LinkDown(what, code=code, hint=" / ".join(HINTS[code]))
