"""A CoRE resource directory of the gateways that are heard (RFC 9176). Requests in, answers out; no sockets, no clock.

    GET  /.well-known/core?rt=core.rd*   where the directory is
    POST /rd?ep=&d=&lt=&base=            a gateway registers itself, links as the body; 2.01 with its location
    POST, GET, DELETE /rd/NAME           it updates, reads or removes its registration
    GET  /rd-lookup/ep, /rd-lookup/res   with any attribute as a filter, `page` and `count`

A gateway that registers nothing is in it all the same: the center is its commissioning tool (section 5) and registers
what each message shows, that it is there, for twice the time it promises. Everybody who asks has shown a key: a
gateway sees itself and no other, an observer sees all.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from gateway.wire import coap
from gateway.wire.coap import Message

LINK_FORMAT = 40
ENDPOINTS = 50_000
LONGEST_BODY = 2048
LONGEST = 128  # bytes of a value
LEAST_LT, MOST_LT, LT = 1, 4_294_967_295, 90_000  # section 5
PATIENCE = 2.0
PAGE = 100
BLOCK = 6  # 1,024 bytes
WELL_KNOWN, RD, LOOKUP_EP, LOOKUP_RES = ".well-known/core", "rd", "rd-lookup/ep", "rd-lookup/res"
ENTRIES = (
    ("/rd", "core.rd"),
    ("/rd-lookup/ep", "core.rd-lookup-ep"),
    ("/rd-lookup/res", "core.rd-lookup-res"),
)

_LINK = re.compile(r'\s*<([^<>"]*)>((?:\s*;\s*[A-Za-z0-9*._-]+(?:=(?:"[^"\\]*"|[^\s",;]+))?)*)\s*')
_ATTRIBUTE = re.compile(r';\s*([A-Za-z0-9*._-]+)(?:=(?:"([^"\\]*)"|([^\s",;]+)))?')

Attributes = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Link:
    target: str
    attributes: Attributes = ()

    def written(self) -> str:
        return f"<{self.target}>" + "".join(
            f';{key}="{value}"' if value else f";{key}" for key, value in self.attributes
        )


@dataclass(frozen=True, slots=True)
class _Endpoint:
    name: str
    until_s: float
    lt: int
    base: str = ""
    sector: str = ""
    extra: Attributes = ()
    links: tuple[Link, ...] = ()
    own: bool = False  # it has registered itself


class Directory:
    def __init__(self, observers: Iterable[str] = ()) -> None:
        self._observers = frozenset(observers)
        self._endpoints: OrderedDict[str, _Endpoint] = OrderedDict()

    def heard(self, name: str, next_s: float, now_s: float) -> None:
        """A message of a gateway, which promises the next one in `next_s` seconds."""
        known = self._endpoints.pop(name, None)
        lt = max(LEAST_LT, round(PATIENCE * next_s)) if next_s else known.lt if known else LT
        one = known or _Endpoint(name, 0.0, lt)
        if not one.own:
            one = replace(one, lt=lt, until_s=now_s + lt)
        self._keep(one)

    def wants(self, path: str) -> bool:
        return path in (WELL_KNOWN, RD, LOOKUP_EP, LOOKUP_RES) or path.startswith("rd/")

    def answer(self, gateway: str, path: str, request: Message, host: str, now_s: float) -> Message:
        """Raises ValueError."""
        query = _pairs(request.texts(coap.URI_QUERY))
        if path == RD or path.startswith("rd/"):
            return self._registration(gateway, path, request, query, host, now_s)
        if request.code != coap.GET:
            return Message(coap.NOT_ALLOWED)
        accepted = request.uint(coap.ACCEPT)
        if accepted not in (None, LINK_FORMAT):
            return Message(coap.NOT_ACCEPTABLE)
        if path == WELL_KNOWN:
            links = [Link(target, (("rt", kind), ("ct", str(LINK_FORMAT)))) for target, kind in ENTRIES]
            found = [link for link in links if _matches({"href": [link.target]} | _grouped(link.attributes), query)]
        else:
            found = self._lookup(gateway, path, query, now_s)
        return _sliced(request, ",".join(link.written() for link in found).encode())

    # -- inside

    def _keep(self, one: _Endpoint) -> None:
        self._endpoints.pop(one.name, None)
        self._endpoints[one.name] = one
        if len(self._endpoints) > ENDPOINTS:
            self._endpoints.popitem(last=False)

    def _registration(
        self, gateway: str, path: str, request: Message, query: Sequence[tuple[str, str]], host: str, now_s: float
    ) -> Message:
        said = dict(query)
        name = said.pop("ep", gateway)
        if name != gateway or (path != RD and path != f"rd/{gateway}"):
            return Message(coap.FORBIDDEN)
        known = self._endpoints.get(gateway)
        if known is not None and known.until_s <= now_s:
            known = None
        if path != RD and (known is None or not known.own):
            return Message(coap.NOT_FOUND)
        if request.code == coap.DELETE and path != RD:
            del self._endpoints[gateway]
            return Message(coap.DELETED)
        if request.code == coap.GET and path != RD:
            assert known is not None
            return _sliced(request, ",".join(link.written() for link in known.links).encode())
        if request.code != coap.POST:
            return Message(coap.NOT_ALLOWED)
        if path != RD and request.payload:
            raise ValueError("an update has no body")
        if any(len(key) > LONGEST or len(value) > LONGEST for key, value in query) or len(query) > 16:
            raise ValueError("too much is said")
        old = known if known is not None and path != RD else None
        lt = _lt(said.pop("lt", str(old.lt if old else LT)))
        base = said.pop("base", old.base if old else _base(host))
        if not urlsplit(base).scheme or _unwritable(base):
            raise ValueError("base is no URI")
        one = _Endpoint(
            gateway, now_s + lt, lt, base, said.pop("d", old.sector if old else ""),
            tuple((key, value) for key, value in said.items() if key not in ("page", "count", "href")),
            old.links if old else _links(request), own=True,
        )  # fmt: skip
        self._keep(replace(one, extra=one.extra or (old.extra if old else ())))
        if old is not None:
            return Message(coap.CHANGED)
        return Message(coap.CREATED, ((coap.LOCATION_PATH, b"rd"), (coap.LOCATION_PATH, gateway.encode())))

    def _lookup(self, gateway: str, path: str, query: Sequence[tuple[str, str]], now_s: float) -> list[Link]:
        wanted = [(key, value) for key, value in query if key not in ("page", "count")]
        said = dict(query)
        page, count = _whole(said.get("page", "0")), _whole(said.get("count", str(PAGE)))
        first, found = page * count, []
        names = sorted(self._endpoints) if gateway in self._observers else [gateway]
        for one in (self._endpoints[name] for name in names if name in self._endpoints):
            if one.until_s <= now_s:
                continue
            itself = _described(one)
            if path == LOOKUP_EP:
                links = [itself]
            else:
                links = [replace(link, target=_resolved(one.base, link.target)) for link in one.links]
            about = _grouped(itself.attributes)
            for link in links:
                hrefs = [link.target, itself.target]
                if _matches({**about, **_grouped(link.attributes), "href": hrefs}, wanted):
                    found.append(link)
            if len(found) >= first + count:
                break
        return found[first : first + count]


def _described(one: _Endpoint) -> Link:
    attributes = [("ep", one.name), ("lt", str(one.lt)), ("rt", "core.rd-ep")]
    attributes[1:1] = [(key, value) for key, value in (("d", one.sector), ("base", one.base)) if value]
    return Link(f"/rd/{one.name}", (*attributes, *one.extra))


def _links(request: Message) -> tuple[Link, ...]:
    """Raises ValueError."""
    if request.uint(coap.CONTENT_FORMAT) not in (None, LINK_FORMAT) or len(request.payload) > LONGEST_BODY:
        raise ValueError("links come as link format, not too many")
    text, at, links = request.payload.decode("utf-8"), 0, []
    while at < len(text):
        found = _LINK.match(text, at)
        if found is None or (found.end() < len(text) and text[found.end()] != ","):
            raise ValueError("not link format")
        attributes = tuple((key, quoted or bare) for key, quoted, bare in _ATTRIBUTE.findall(found[2]))
        links.append(Link(found[1], attributes))
        at = found.end() + 1
    return tuple(links)


def _pairs(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Raises ValueError for what could not be written into an answer."""
    pairs = [(key, value) for key, _, value in (text.partition("=") for text in texts)]
    if any(_unwritable(key + value) for key, value in pairs):
        raise ValueError("a query with quotes or control characters")
    return pairs


def _unwritable(text: str) -> bool:
    return any(ord(sign) < 32 or sign in '"\\<>' for sign in text)


def _grouped(attributes: Attributes) -> dict[str, list[str]]:
    """rt, if and rel hold several values each."""
    out: dict[str, list[str]] = {}
    for key, value in attributes:
        out.setdefault(key, []).extend(value.split() if key in ("rt", "if", "rel") else [value])
    return out


def _matches(attributes: Mapping[str, Sequence[str]], wanted: Sequence[tuple[str, str]]) -> bool:
    """As RFC 6690, section 4.1: a star at the end stands for anything."""
    return all(
        any(its.startswith(value[:-1]) if value.endswith("*") else its == value for its in attributes.get(key, ()))
        for key, value in wanted
    )


def _resolved(base: str, target: str) -> str:
    return target if urlsplit(target).scheme or not base else f"{base.rstrip('/')}/{target.lstrip('/')}"


def _base(host: str) -> str:
    return f"coap://[{host}]" if ":" in host else f"coap://{host}"


def _lt(text: str) -> int:
    lt = _whole(text)
    if not LEAST_LT <= lt <= MOST_LT:
        raise ValueError("lt is out of range")
    return lt


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise ValueError("not a number")
    return int(text)


def _sliced(request: Message, body: bytes) -> Message:
    """The block that was asked for (RFC 7959, Block2), or the first of several, or all of it. Raises ValueError."""
    raw = request.first(coap.BLOCK2) or b""
    if len(raw) > 3:
        raise ValueError("not a block")
    value = int.from_bytes(raw, "big")
    exponent = min(value & 7, BLOCK) if raw else BLOCK
    number, size = value >> 4, 1 << exponent + 4
    if number * size > len(body) or (number and number * size == len(body)):
        raise ValueError("no such block")
    part = body[number * size : (number + 1) * size]
    options: list[tuple[int, bytes]] = [(coap.CONTENT_FORMAT, coap.uint(LINK_FORMAT))]
    if number or len(part) < len(body):
        more = (number + 1) * size < len(body)
        options += [(coap.BLOCK2, coap.uint(number << 4 | more << 3 | exponent)), (coap.SIZE2, coap.uint(len(body)))]
    return Message(coap.CONTENT, tuple(options), part)
