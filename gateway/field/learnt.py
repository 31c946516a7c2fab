"""What judging has learnt, as named blobs for the spool, and back. In: a chain, its channels and conditions, the
watches and loop stations. Out: blobs. It reads no clock and no file.

    device/NAME   zlib(CBOR {point: [fingerprint, bytes]})     filters and detectors
    conditions    zlib(CBOR [utc_ns, {name: bytes}])           holds that run
    watch/NAME    see gateway.services.memory
    loops/NAME    the same, of a station of inductive loops

A channel is known again by its name and by what its profile says of its numbers: after a change of unit or range it
begins anew. A hold is taken up again only where the process was away for less than HOLD_NS: nobody knows what the value
was meanwhile.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import cbor2

from fastpath.chain import Chain
from gateway.services.memory import recall, remember
from gateway.services.rules import Condition
from gateway.services.traffic import LoopStation
from gateway.services.watch import Learning, Watch
from gateway.site.plan import Channel, Plan

CONDITIONS = "conditions"
HOLD_NS = 1_200_000_000_000  # two checkpoints


class Memory:
    """The names under which a site's learning is kept, and how to give and take it."""

    def __init__(
        self,
        plan: Plan,
        chain: Chain,
        conditions: Sequence[Condition],
        watches: Sequence[Watch],
        stations: Sequence[LoopStation] = (),
    ) -> None:
        self._plan = plan
        self._chain = chain
        self._conditions = {_name_of(plan, one): row for row, one in enumerate(conditions)}
        self._watches: dict[str, Learning] = {f"watch/{watch.name}": watch for watch in watches}
        self._watches |= {f"loops/{station.name}": station for station in stations}
        self._devices = {f"device/{device.name}": device.channels for device in plan.devices}

    @property
    def names(self) -> list[str]:
        return [*self._devices, *self._watches, CONDITIONS]

    def of(self, names: Sequence[str], utc_ns: int) -> dict[str, bytes]:
        """The blobs of these names as they are now."""
        return {name: self._blob(name, utc_ns) for name in names}

    def take(self, kept: Mapping[str, bytes], utc_ns: int) -> list[str]:
        """Start with what was kept. Names of what could not be used, in part or whole."""
        return [name for name in self.names if name in kept and not self._take(name, kept[name], utc_ns)]

    def _blob(self, name: str, utc_ns: int) -> bytes:
        if name in self._watches:
            return remember(self._watches[name])
        if name == CONDITIONS:
            learnt = self._chain.conditions_learnt()
            known = {name: learnt[row] for name, row in self._conditions.items() if row in learnt}
            return zlib.compress(cbor2.dumps([utc_ns, known]), 1)
        channels = self._plan.channels
        rows = self._chain.learnt(self._devices[name])
        known_of = {channels[row].point: [_fingerprint(channels[row]), blob] for row, blob in rows.items()}
        return zlib.compress(cbor2.dumps(known_of), 1)

    def _take(self, name: str, blob: bytes, utc_ns: int) -> bool:
        if name in self._watches:
            return recall(self._watches[name], blob)
        try:
            known = cbor2.loads(zlib.decompress(blob))
            return self._holds(known, utc_ns) if name == CONDITIONS else self._channels(name, known)
        except (zlib.error, cbor2.CBORDecodeError, AttributeError, KeyError, TypeError, ValueError):
            return False

    def _holds(self, known: Any, utc_ns: int) -> bool:
        at_ns, holds = known
        if not 0 <= utc_ns - at_ns <= HOLD_NS:
            return True
        fits = True
        for name, blob in holds.items():
            row = self._conditions.get(name)
            if row is not None:
                fits &= self._chain.restore_condition_learnt(row, blob)
                if self._chain.is_met(row):  # the alarms that stand say which are, and their services know of it
                    self._chain.restore_condition(row, False, 0)
        return fits

    def _channels(self, name: str, known: Any) -> bool:
        fits = True
        for row in self._devices[name]:
            channel = self._plan.channels[row]
            fingerprint, blob = known.get(channel.point, ("", b""))
            if blob:
                fits &= fingerprint == _fingerprint(channel) and self._chain.restore_learnt(row, blob)
        return fits


def _name_of(plan: Plan, condition: Condition) -> str:
    return "|".join(map(str, (plan.channels[condition.channel].name, condition.of, int(condition.test))))


def _fingerprint(channel: Channel) -> str:
    """What the numbers of a channel mean: learnt habits are of no use for other ones."""
    meant = (channel.unit, int(channel.kind), channel.resolution, channel.low, channel.high, channel.rollover)
    return hashlib.sha256(repr(meant).encode()).hexdigest()[:12]
