"""What a resource of the agent is: a request that was opened and proven in, a reply out. No sockets, no OSCORE.

Who asks is the OSCORE context of an upstream; what it may do are the roles that the site grants that upstream. The tree
checks role, size and, for what changes something, freshness (Echo) before a resource sees the request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import cbor2

from gateway.wire import coap

CBOR = 60  # content formats (IANA, CoAP Content-Formats)
SENML_CBOR = 112
LINK_FORMAT = 40
LARGEST_BODY = 1 << 20  # bytes of a request, put together from its blocks


class Role(Enum):
    """What the site lets an upstream do on this gateway."""

    OBSERVE = "observe"  # read
    OPERATE = "operate"  # commands to devices, maintenance
    RELEASE = "release"  # configuration, software, firmware of nodes


@dataclass(frozen=True, slots=True)
class Request:
    """`upstream`: whose context opened it. `path` without the resource's own, as ("bus1",) below "links"."""

    upstream: str
    roles: frozenset[Role]
    method: int  # coap.GET, POST, DELETE, FETCH or PUT
    path: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    content_format: int | None = None
    payload: bytes = b""

    def body(self) -> Any:
        """The payload as CBOR. Raises Refused for anything else."""
        try:
            return cbor2.loads(self.payload)
        except Exception as bad:  # cbor2 lets a dozen kinds of error through for bytes from outside
            raise Refused(
                coap.BAD_REQUEST, "CG-6100", f"the body is no CBOR: {bad}", f"CBOR 본문이 아닙니다: {bad}"
            ) from bad


@dataclass(frozen=True, slots=True)
class Reply:
    code: int = coap.CONTENT
    payload: bytes = b""
    content_format: int | None = CBOR
    max_age: int | None = None

    @classmethod
    def of(cls, body: Any, code: int = coap.CONTENT) -> Reply:
        return cls(code, cbor2.dumps(body))


class Refused(Exception):
    """What a resource does not do: a CoAP code, a code of ours, and words in English and Korean."""

    def __init__(self, status: int, code: str, en: str, ko: str) -> None:
        super().__init__(f"{code} {en}")
        self.status, self.code, self.en, self.ko = status, code, en, ko

    def reply(self) -> Reply:
        return Reply.of({"code": self.code, "error": self.en, "error_ko": self.ko}, self.status)


@dataclass(frozen=True, slots=True)
class About:
    """What `.well-known/core` says of a resource, and who may use it. `change` None: it cannot be changed."""

    path: str  # "health", "3/0"
    title: str
    read: Role | None = Role.OBSERVE  # None: it cannot be read
    change: Role | None = None
    kind: str = ""  # rt=
    observable: bool = False


class Resource(Protocol):
    """One resource, or a folder of them: all paths below `about.path` are its own."""

    @property
    def about(self) -> About: ...

    async def answer(self, request: Request) -> Reply:
        """Raises Refused. Anything else it raises is told as 5.00 and logged."""
        ...


@runtime_checkable
class Observable(Protocol):
    """A resource that tells of its changes."""

    def changes(self, request: Request) -> AsyncIterator[Reply]:
        """What `answer` would say, at first and after each change; closed when nobody observes any longer."""
        ...
