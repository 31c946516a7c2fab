"""Windows as columns for one center: which dictionaries it has been told, and what to do when it has forgotten.

In: records and their catalogs, the center's answers. Out: packs. A dictionary goes along until a pack with it is
stored; after that its name is enough, and a record of fewer channels goes by a larger one that the center knows. A
center that says `columnar.UNKNOWN` has started anew: the same record goes out once more, with its dictionary.
No I/O; memory is bounded by the dictionaries kept.
"""

from __future__ import annotations

from collections import OrderedDict

from gateway.site.upstream import Catalog
from gateway.spool.records import Record
from gateway.uplink.bulk import UNKNOWN_HERE
from gateway.uplink.parcel import Packed
from gateway.wire import columnar
from gateway.wire.columnar_dictionary import Dictionary

MOST = 512  # dictionaries that one center is taken to know
NO_SUCH_KIND = "unknown kind of message"  # a center says that does not know the form, of a pack in a bundle
WIDEST = 4  # times the channels of a record: by a wider dictionary it would cost more than by its own


class Columns:
    """One upstream's."""

    def __init__(self) -> None:
        self.understood = True  # until the center says that it does not know such packs
        self._told: OrderedDict[bytes, Dictionary] = OrderedDict()
        self._pending: OrderedDict[bytes, Dictionary] = OrderedDict()

    def fits(self, record: Record) -> bool:
        return self.understood and columnar.fits(record)

    def pack(
        self, record: Record, catalog: Catalog, offset_of: columnar.OffsetOf, before: set[bytes], *, next_s: int
    ) -> Packed:
        """`before`: dictionaries that go out just before this pack; this one's is added. Raises ValueError for a record
        that does not fit its catalog."""
        own = columnar.dictionary_of(record, catalog)
        chosen = self._find(own)
        name = own.name if chosen is None else chosen.name
        tells = chosen is None and name not in before
        if tells:
            before.add(name)
            _keep(self._pending, name, own)
        payload = columnar.encode(record, catalog, offset_of, chosen or own, tell=tells, next_s=next_s)
        return Packed(record, columnar.PATH, payload, name, tells)

    def stored(self, one: Packed) -> None:
        """The center has this pack, so it knows the dictionary."""
        if one.tells and (known := self._pending.pop(one.dictionary, None)) is not None:
            _keep(self._told, one.dictionary, known)

    def is_about_form(self, one: Packed, code: int, why: str) -> bool:
        """Whether a refusal is about the form and not about the record: then the record goes out again in another."""
        if one.kind != columnar.PATH:
            return False
        if columnar.UNKNOWN in why and not one.tells:
            self._told.pop(one.dictionary, None)
            return True
        if code in UNKNOWN_HERE or why == NO_SUCH_KIND:
            self.understood = False
            return True
        return False

    def _find(self, own: Dictionary) -> Dictionary | None:
        """One that the center knows and that has these columns, in this order."""
        for name, known in reversed(self._told.items()):
            if known.boot != own.boot or known.upstream != own.upstream:
                continue
            if len(known.columns) <= WIDEST * len(own.columns) and _holds(known, own):
                self._told.move_to_end(name)
                return known
        return None


def _holds(known: Dictionary, own: Dictionary) -> bool:
    rest = iter(known.columns)
    return all(column in rest for column in own.columns)


def _keep(kept: OrderedDict[bytes, Dictionary], name: bytes, one: Dictionary) -> None:
    kept[name] = one
    kept.move_to_end(name)
    if len(kept) > MOST:
        kept.popitem(last=False)
