"""What a center needs of whatever keeps its packs. No input or output here.

A sink answers when a pack is safe and not before, tells a duplicate by (gateway, boot, upstream, lane, seq) however
late it comes, and says so with StoreError when it cannot take more now: the gateway keeps the pack and comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from gateway.site.upstream import Catalog
from gateway.spool.records import Event, Lane, Record
from gateway.wire import pack
from gateway.wire.rows import EventRow, Message

SELF = "(center)"  # the center's own alarms; no gateway's id has brackets

HeardRow = tuple[str, int, float, tuple[str, ...], str]


class StoreError(Exception):
    """The sink cannot take more now; what was put may be stored or not, and may come again."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a message says beside its packs: seconds to the next one (0: no promise), and what the gateway shares with
    others, () where it does not say."""

    next_s: float = 0.0
    shares: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """One pack: the resource it came to, what it says, and its bytes as they came."""

    kind: str
    message: Message
    body: bytes


class Sink(Protocol):
    """Made inside a running loop."""

    ended: Future[None]  # with what it died of

    @property
    def leads(self) -> bool:
        """Whether this center is the one that raises alarms for silent gateways."""
        ...

    async def put_all(self, gateway: str, packs: Sequence[Taken], heard: Heard) -> list[bool | ValueError]:
        """For each pack: True when it is safe for the first time, False for a duplicate, ValueError for one that can
        never be taken. Without packs only that the gateway was heard. Raises StoreError."""
        ...

    async def mark_silent(self, names: Sequence[str], incident: str) -> None:
        """Note which incident these gateways are silent in, "" for none any more. Raises StoreError."""
        ...

    def heard(self) -> list[HeardRow]:
        """By gateway: when it was last heard (UTC ns, 0 where that is not kept), its promise, what it shares, the
        incident it is silent in."""
        ...

    async def aclose(self) -> None:
        """Bring what was taken to safety and stop."""
        ...


def own_alarm(boot: str, number: int, said: EventRow) -> Taken:
    """The center's own alarm as the pack that a gateway would have sent. Evidence is by gateway, without resolution."""
    catalog = Catalog(SELF, tuple((name, name, "", "s", 0, 0.0) for name, _ in said.evidence))
    event = Event(
        said.code, said.phase, said.severity, said.cause, said.subject, said.time_ns, said.onset_ns, said.score,
        said.text_en, said.text_ko, said.asset, said.place_en, said.place_ko, said.latitude, said.longitude,
        tuple((row, samples) for row, (_, samples) in enumerate(said.evidence)),
    )  # fmt: skip
    record = Record(boot, "", Lane.ALARM, number, catalog.id, event)
    kind, body = pack.encode(record, catalog, lambda _: 0)
    return Taken(kind, Message(boot, "", Lane.ALARM, number, 0.0, said), body)
