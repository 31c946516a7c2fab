"""What the half that sends must know of a site: its receivers, and the names behind channel numbers. No numpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cbor2


@dataclass(frozen=True, slots=True)
class Upstream:
    """One receiver. `credentials` is a folder with an OSCORE context; `insecure` sends plain CoAP, as health says."""

    name: str
    uri: str
    credentials: str
    insecure: bool
    events: tuple[str, ...]  # event codes (prefixes such as "water.") it gets; ("",) for all
    bulk: str = "auto"  # how a backlog goes: "tcp", "datagram", or "auto": tcp where the center takes it
    promise_s: float = 90.0  # something is heard from this gateway at least so often
    format: str = "senml"  # or "columnar", "onem2m"
    monthly_mb: float = 0.0  # 10^6 bytes a calendar month that its SIM card may carry, both ways; 0 for no limit
    shares: tuple[str, ...] = ()  # lines, masts, feeders: gateways that share one fall silent together


@dataclass(frozen=True, slots=True)
class Catalog:
    """Names and units of the channels, stored in the spool under `id` so that old records stay readable after a
    configuration change. Rows: (channel name, device, point, unit, kind, resolution)."""

    gateway: str
    rows: tuple[tuple[str, str, str, str, int, float], ...]

    @property
    def id(self) -> str:
        return hashlib.sha256(self.blob()).hexdigest()[:16]

    def blob(self) -> bytes:
        return cbor2.dumps([self.gateway, [list(row) for row in self.rows]])

    @staticmethod
    def from_blob(blob: bytes) -> Catalog:
        gateway, rows = cbor2.loads(blob)
        return Catalog(gateway, tuple(tuple(row) for row in rows))
