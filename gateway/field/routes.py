"""Which upstream gets what: summaries by channel, events by code prefix and by the upstreams of the device. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.site.plan import Plan
from gateway.spool.records import Event, Gap, Health, Item, Values, Window, Windows
from gateway.wire.pack import chunk

VALUES_A_RECORD = 40  # keeps a pack of first values below one datagram of about 1 kB

Value = tuple[int, int, float, int]  # channel, time_ns, value, quality


class Routes:
    def __init__(self, plan: Plan) -> None:
        self._upstreams = plan.upstreams
        self._catalog = plan.catalog
        self._takes = {
            upstream.name: {c.index for c in plan.channels if upstream.name in c.upstreams}
            for upstream in plan.upstreams
        }

    def event(self, event: Event) -> list[tuple[str, Item]]:
        return [
            (upstream.name, event)
            for upstream in self._upstreams
            if any(event.code.startswith(prefix) for prefix in upstream.events)
        ]

    def windows(self, rows: Sequence[Window]) -> list[tuple[str, Windows]]:
        """Windows in the order given, cut into records of about one datagram."""
        return [
            (name, part)
            for name, takes in self._takes.items()
            for part in chunk([row for row in rows if row.channel in takes], self._catalog)
        ]

    def values(self, rows: Sequence[Value]) -> list[tuple[str, Item]]:
        return [
            (name, Values(tuple(part)))
            for name, takes in self._takes.items()
            for part in _parts([row for row in rows if row[0] in takes])
        ]

    def everyone(self, item: Gap | Health) -> list[tuple[str, Item]]:
        return [(upstream.name, item) for upstream in self._upstreams]


def _parts(rows: Sequence[Value]) -> Iterable[Sequence[Value]]:
    return (rows[at : at + VALUES_A_RECORD] for at in range(0, len(rows), VALUES_A_RECORD))
