"""What goes to a center in one message: a record's own pack, or several packs in a bundle. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.spool.records import Record
from gateway.wire import bundle, columnar, senml

RATIO = 3.0  # what deflating wins at least, among packs of one gateway
OVERHEAD = 12  # bytes a pack besides itself, before deflating


@dataclass(frozen=True, slots=True)
class Packed:
    """A record as its message: kind is the path. `dictionary` names the one it is written by, `tells` says that this
    comes along."""

    record: Record
    kind: str
    pack: bytes
    dictionary: bytes = b""
    tells: bool = False


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message and the records it holds, in the order of its packs."""

    path: str
    content_format: int
    payload: bytes
    packed: tuple[Packed, ...]

    @property
    def is_bundle(self) -> bool:
        return self.path == bundle.PATH


def alone(one: Packed) -> Parcel:
    content_format = columnar.CONTENT_FORMAT if one.kind == columnar.PATH else senml.CONTENT_FORMAT
    return Parcel(one.kind, content_format, one.pack, (one,))


def together(packed: Sequence[Packed], next_s: float) -> Parcel:
    body = bundle.encode([(one.kind, one.pack) for one in packed], next_s)
    return Parcel(bundle.PATH, bundle.DEFLATED, body, tuple(packed))


def halves(parcel: Parcel, next_s: float) -> list[Parcel]:
    """A bundle that was too large, as two; the last one of all goes alone."""
    middle = len(parcel.packed) // 2
    return [wrapped(part, next_s) for part in (parcel.packed[:middle], parcel.packed[middle:]) if part]


def wrapped(packed: Sequence[Packed], next_s: float) -> Parcel:
    return alone(packed[0]) if len(packed) == 1 else together(packed, next_s)


def within(packed: Sequence[Packed], limit: int, next_s: float) -> list[Parcel]:
    """Parcels of at most `limit` bytes each, as few as a quick look finds; a record larger than that goes alone."""
    out: list[Parcel] = []
    part: list[Packed] = []
    size = 0.0
    for one in packed:
        cost = len(one.pack) + OVERHEAD
        if part and (size + cost > limit * RATIO or len(part) >= bundle.MOST):
            out += _fitting(part, limit, next_s)
            part, size = [], 0.0
        part.append(one)
        size += cost
    return out + (_fitting(part, limit, next_s) if part else [])


def _fitting(packed: Sequence[Packed], limit: int, next_s: float) -> list[Parcel]:
    whole = wrapped(packed, next_s)
    if len(packed) == 1 or len(whole.payload) <= limit:
        return [whole]
    middle = len(packed) // 2
    return _fitting(packed[:middle], limit, next_s) + _fitting(packed[middle:], limit, next_s)
