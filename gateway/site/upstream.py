"""What the half that sends must know of a site: its receivers, and the names behind channel numbers. No numpy."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cbor2

from gateway.site.choice import EVERY_EVENT, EVERY_SUMMARY, EventRule, SummaryRule

CENTER, AGENCY, LOCAL = "center", "agency", "local"  # how a city's operation centers are joined up


@dataclass(frozen=True, slots=True)
class OneM2M:
    """How a oneM2M platform is spoken to. The CSEBase is the path of the upstream's `uri`."""

    originator: str = ""  # AE-ID; "" for "C" and the gateway's id
    app: str = "Ncitygate"  # App-ID
    release: str = "3"  # release version indicator
    content_format: int = 50  # application/json; 10001 for application/vnd.onem2m-res+json


@dataclass(frozen=True, slots=True)
class Upstream:
    """One receiver. `credentials` is a folder with an OSCORE context; `insecure` sends plain CoAP, as health says."""

    name: str
    uri: str
    credentials: str
    insecure: bool
    events: tuple[str | EventRule, ...] = EVERY_EVENT  # which it gets; a plain string is a prefix of codes
    bulk: str = "auto"  # how a backlog goes: "tcp", "datagram", or "auto": tcp where the center takes it
    promise_s: float = 90.0  # something is heard from this gateway at least so often
    format: str = "senml"  # or "columnar", "onem2m"
    monthly_mb: float = 0.0  # 10^6 bytes a calendar month that its SIM card may carry, both ways; 0 for no limit
    shares: tuple[str, ...] = ()  # lines, masts, feeders: gateways that share one fall silent together
    role: str = CENTER  # or AGENCY: gets what it is given, and learns nothing of the rest
    excluded: tuple[str, ...] = ()  # prefixes of codes it does not get
    summaries: tuple[SummaryRule, ...] = EVERY_SUMMARY
    evidence: bool = True  # readings around an event go with it
    onem2m: OneM2M = OneM2M()
    agent: frozenset[str] = frozenset()  # of "observe", "operate", "release": what it may ask of the agent

    @property
    def event_rules(self) -> tuple[EventRule, ...]:
        return tuple(EventRule((one,)) if isinstance(one, str) else one for one in self.events)


def mode_of(upstreams: Sequence[Upstream]) -> str:
    """How a gateway is operated: integrated with a center, linked with agencies alone, or by itself."""
    if not upstreams:
        return LOCAL
    return CENTER if any(one.role == CENTER for one in upstreams) else AGENCY


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
