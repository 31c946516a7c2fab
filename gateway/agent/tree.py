"""The agent's resources by their paths. In: requests that were opened and proven, and who asks. Out: answers, and the
changes of what is observed. No sockets, no OSCORE.

    4.00 not a request of CoAP   4.01 with an Echo: ask again to prove it was made now    4.02 an option it must know
    4.03 its role does not allow it   4.04   4.05   4.06   4.08 blocks out of order   4.13   4.29   5.00   5.04

What it says with 4.03 to 4.06 and in its own refusals is CBOR: {"code": "CG-nnnn", "error": ..., "error_ko": ...}.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.agent.blocks import Coming, Going
from gateway.agent.freshness import Freshness
from gateway.agent.resource import CBOR, LINK_FORMAT, About, Observable, Refused, Reply, Request, Resource, Role
from gateway.wire import coap
from gateway.wire.coap import BadMessage, Message

log = logging.getLogger("citygate.agent")

WELL_KNOWN = ".well-known/core"
SEGMENTS, QUERIES, LONGEST_TEXT = 16, 16, 255  # of a path, of a query, bytes of each (RFC 7252, section 5.10)
RATE, BURST = 50.0, 300.0  # requests a second of one upstream
WITHIN_S = 120.0
READING = (coap.GET, coap.FETCH)
METHODS = (*READING, coap.POST, coap.PUT, coap.DELETE)
UNDERSTOOD = frozenset(
    (coap.URI_HOST, coap.URI_PORT, coap.URI_PATH, coap.URI_QUERY, coap.ACCEPT, coap.BLOCK1, coap.BLOCK2)
)
ONCE = frozenset((coap.URI_HOST, coap.URI_PORT, coap.ACCEPT, coap.BLOCK1, coap.BLOCK2))


@dataclass(slots=True)
class Asker:
    """One upstream on one connection. `largest`: bytes of a message that it takes."""

    upstream: str
    roles: frozenset[Role]
    freshness: Freshness
    largest: int = coap.UNSAID_MESSAGE_SIZE
    left: float = field(default=BURST)
    at_s: float = 0.0


class Tree:
    """Made of resources; the first of two at one path has it."""

    def __init__(self, resources: Iterable[Resource], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._coming, self._going = Coming(), Going()
        self._at: dict[tuple[str, ...], Resource] = {}
        for one in resources:
            self._at.setdefault(_parts(one.about.path), one)
        self._at.setdefault(_parts(WELL_KNOWN), _Links(self))

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(self._at.values())

    async def answer(self, asker: Asker, message: Message) -> Message:
        """Never raises but for being cancelled."""
        now_s = self._clock_s()
        try:
            request, resource = self._judged(asker, message, now_s)
            if isinstance(request, Message):
                return request
            assert resource is not None
            async with asyncio.timeout(WITHIN_S):
                reply = await resource.answer(request)
        except Refused as refused:
            reply = refused.reply()
        except TimeoutError:
            reply = _refused(coap.TIMED_OUT, "CG-6104", "it took too long", "시간이 너무 오래 걸렸습니다").reply()
        except Exception:
            log.exception("a request for %s of %s", _shown(message), asker.upstream)
            reply = _refused(coap.INTERNAL_ERROR, "CG-6103", "it failed here", "내부 오류입니다").reply()
        return self.written(asker, message, reply)

    def changes(self, asker: Asker, message: Message) -> AsyncIterator[Reply] | None:
        """Of the resource that a GET with Observe asks for; None where it cannot be observed by this asker."""
        try:
            request, resource = self._judged(asker, message, self._clock_s())
        except Refused:
            return None
        if isinstance(request, Message) or not isinstance(resource, Observable) or not resource.about.observable:
            return None
        return resource.changes(request)

    def written(self, asker: Asker, message: Message, reply: Reply, observe: bytes | None = None) -> Message:
        """The answer to `message`, or its first block."""
        accepted = message.uint(coap.ACCEPT)
        if (
            accepted not in (None, reply.content_format)
            and reply.code == coap.CONTENT
            and reply.content_format is not None
        ):
            reply = _refused(
                coap.NOT_ACCEPTABLE,
                "CG-6102",
                f"it is told in content format {reply.content_format}",
                f"콘텐츠 형식 {reply.content_format} 으로만 제공됩니다",
            ).reply()
        options: list[tuple[int, bytes]] = []
        if reply.content_format is not None and reply.payload:
            options.append((coap.CONTENT_FORMAT, coap.uint(reply.content_format)))
        if reply.max_age is not None:
            options.append((coap.MAX_AGE, coap.uint(reply.max_age)))
        if observe is not None:
            options.append((coap.OBSERVE, observe))
        if (block := message.first(coap.BLOCK1)) is not None:
            options.append((coap.BLOCK1, block))
        whole = Message(reply.code, tuple(options), reply.payload)
        return self._going.cut(asker.upstream, message, whole, asker.largest, self._clock_s())

    # -- inside

    def _judged(self, asker: Asker, message: Message, now_s: float) -> tuple[Request | Message, Resource | None]:
        """What the resource is asked, or what is answered without it. Raises Refused."""
        if not _take(asker, now_s):
            return Message(coap.TOO_MANY, ((coap.MAX_AGE, coap.uint(1)),)), None
        if message.code not in METHODS:
            return Message(coap.NOT_ALLOWED), None
        counted = Counter(number for number, _ in message.options)
        if any(
            number % 2 and (number not in UNDERSTOOD or (n > 1 and number in ONCE)) for number, n in counted.items()
        ):
            return Message(coap.BAD_OPTION), None
        try:
            path, query = _texts(message)
        except BadMessage as bad:
            raise _refused(
                coap.BAD_REQUEST, "CG-6100", f"the request cannot be read: {bad}", f"요청을 읽을 수 없습니다: {bad}"
            ) from bad
        resource, below = self._find(path)
        self._check_role(asker, message, resource.about)
        if message.code not in READING and not asker.freshness.proves(message.first(coap.ECHO)):
            return Message(coap.UNAUTHORIZED, ((coap.ECHO, asker.freshness.echo()),)), None
        later = self._going.again(asker.upstream, message, asker.largest, now_s)
        if later is not None:
            return later, None
        whole, response = self._coming.take(asker.upstream, message, now_s)
        if whole is None:
            assert response is not None
            return response, None
        return Request(
            asker.upstream,
            asker.roles,
            message.code,
            below,
            MappingProxyType(query),
            message.uint(coap.CONTENT_FORMAT),
            whole.payload,
        ), resource

    def _find(self, path: tuple[str, ...]) -> tuple[Resource, tuple[str, ...]]:
        """The resource with the longest path that this one begins with. Raises Refused."""
        for length in range(len(path), 0, -1):
            if (found := self._at.get(path[:length])) is not None:
                return found, path[length:]
        where = "/".join(path)[:80]
        raise _refused(
            coap.NOT_FOUND,
            "CG-6101",
            f"there is no {where!r} here; {WELL_KNOWN} lists what there is",
            f"{where!r} 자원이 없습니다. {WELL_KNOWN} 에서 목록을 확인하십시오",
        )

    def _check_role(self, asker: Asker, message: Message, about: About) -> None:
        """Raises Refused."""
        needed = about.read if message.code in READING else about.change
        if needed is None:
            raise _refused(
                coap.NOT_ALLOWED,
                "CG-6101",
                f"{about.path} cannot be {'read' if message.code in READING else 'changed'}",
                f"{about.path} 자원은 {'읽을' if message.code in READING else '변경할'} 수 없습니다",
            )
        if needed not in asker.roles:
            raise _refused(
                coap.FORBIDDEN,
                "CG-6105",
                f"{about.path} needs the role {needed.value!r}; the site grants upstream {asker.upstream} "
                f"{', '.join(sorted(role.value for role in asker.roles)) or 'none'}",
                f"{about.path} 에는 {needed.value!r} 권한이 필요합니다. "
                f"사이트 파일의 업스트림 {asker.upstream} agent 항목을 확인하십시오",
            )


class _Links:
    """`.well-known/core` (RFC 6690)."""

    def __init__(self, tree: Tree) -> None:
        self.about = About(WELL_KNOWN, "what there is")
        self._tree = tree

    async def answer(self, request: Request) -> Reply:
        if request.path:
            raise _refused(coap.NOT_FOUND, "CG-6101", "there is nothing below", "하위 자원이 없습니다")
        links = [
            _link(one.about, getattr(one, "content_format", CBOR))
            for one in self._tree.resources
            if one.about.path != WELL_KNOWN and _wanted(one.about, request.query)
        ]
        return Reply(coap.CONTENT, ",".join(links).encode(), LINK_FORMAT)


def _link(about: About, content_format: int) -> str:
    said = f'</{about.path}>;title="{_quoted(about.title)}"'
    if about.kind:
        said += f';rt="{_quoted(about.kind)}"'
    interfaces = [word for word, role in (("r", about.read), ("w", about.change)) if role is not None]
    said += f';if="cg.{"".join(interfaces)}"'
    if about.read is not None:
        said += f';ct="{content_format}"'
    return said + ";obs" * about.observable


def _wanted(about: About, query: object) -> bool:
    """As RFC 6690, section 4.1, for rt and href."""
    assert isinstance(query, MappingProxyType)
    its = {"rt": about.kind.split(), "href": [f"/{about.path}"]}
    return all(
        any(one.startswith(value[:-1]) if value.endswith("*") else one == value for one in its.get(key, ()))
        for key, value in query.items()
    )


def _quoted(text: str) -> str:
    return "".join(sign for sign in text if sign >= " ").replace("\\", "\\\\").replace('"', '\\"')


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("/"))


def _texts(message: Message) -> tuple[tuple[str, ...], dict[str, str]]:
    """Path and query. Raises BadMessage."""
    path, query = message.texts(coap.URI_PATH), message.texts(coap.URI_QUERY)
    if len(path) > SEGMENTS or len(query) > QUERIES:
        raise BadMessage("a path or query of too many parts")
    if any(len(text.encode()) > LONGEST_TEXT for text in (*path, *query)):
        raise BadMessage("a part of the path or query is too long")
    if path and path[-1] == "":
        path = path[:-1]
    pairs = (text.partition("=") for text in query)
    return path, {key: value for key, _, value in pairs}


def _take(asker: Asker, now_s: float) -> bool:
    asker.left = min(BURST, asker.left + (now_s - asker.at_s) * RATE)
    asker.at_s = now_s
    if asker.left < 1:
        return False
    asker.left -= 1
    return True


def _shown(message: Message) -> str:
    parts = [value for number, value in message.options if number == coap.URI_PATH]
    return b"/".join(parts)[:80].decode("utf-8", "replace")


def _refused(status: int, code: str, en: str, ko: str) -> Refused:
    return Refused(status, code, en, ko)
