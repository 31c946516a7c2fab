"""What the compile step makes of a site: channels as columns and one plan a link. Frozen, pure data.

The field half reads `Plan`; the uplink reads only `gateway.site.upstream` (no numpy there).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from gateway.site.tuning import Tuning
from gateway.site.upstream import Catalog, Upstream, mode_of
from protocols.api import Device, Link, Point


class Kind(IntEnum):
    """How a channel is summarised."""

    GAUGE = 0  # min, max, mean, sd, quantiles
    COUNTER = 1  # delta and rollovers
    STATE = 2  # time in state and changes
    WAVEFORM = 3  # raw samples for a kernel (inductive loops): no windows, no readings


class Filter(IntEnum):
    NONE = 0
    HAMPEL = 1  # doubts spikes
    HAMPEL_REPLACE = 2  # goes on with the median in their place
    MEDIAN = 3
    EWMA = 4
    DEADBAND = 5
    DEBOUNCE = 6  # states


class Detector(IntEnum):
    NONE = 0
    DEFAULT = 1  # the universal detector
    LEVEL = 2
    SPIKE = 3
    DRIFT = 4
    VARIANCE = 5
    STUCK = 6
    MISSING = 7
    SEASONAL = 8
    CUSUM = 9
    PAGE_HINKLEY = 10


@dataclass(frozen=True, slots=True)
class Channel:
    """One point of one device. `index` is its row everywhere in the running gateway; `name` is `device.point`."""

    index: int
    name: str
    device: str
    point: str
    unit: str  # SenML name, registered or secondary
    role: str  # what services know it as; "" for none
    kind: Kind
    filter: Filter
    detector: Detector
    low: float  # believable range; -inf and inf where the profile gives none
    high: float
    step: float  # largest believable change between two readings; inf for none
    rollover: float  # counters: value after which it starts at 0 again; inf for none
    resolution: float  # the smallest step the device can show (its scale), 0 if unknown
    period_s: float
    window_s: float
    upstreams: tuple[str, ...]  # who gets its summaries
    label_en: str
    label_ko: str
    unproven: bool  # its profile has no golden capture
    derived: str = (
        ""  # what a service computes here (`volume`, `occupancy`, `speed`); "" for a point read from the device
    )
    source: tuple[str, ...] = ()  # the points of the same device it is computed from
    group: str = ""  # what it is judged with (a feeder, a zone): its device's, unless the site says otherwise
    words: tuple[tuple[int, str], ...] = ()  # what its numbers mean, for people
    options: Mapping[str, float] = field(default_factory=dict)  # facts of the site about this point, for services
    rate: float = float("inf")  # largest believable change a second
    tuning: Tuning = field(default_factory=Tuning)  # of its filter and detector


@dataclass(frozen=True, slots=True)
class Place:
    """What dispatch needs to find a device."""

    asset: str
    zone: str
    name_en: str
    name_ko: str
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True, slots=True)
class SiteDevice:
    """One device as the site declares it: protocol side, place, group (a feeder, a zone) and channel rows."""

    name: str
    profile: str  # `family/vendor-model`
    family: str
    link: str
    listens: bool
    silent_s: float  # missing after so long without any reading
    place: Place
    group: str
    channels: tuple[int, ...]
    protocol: Device
    options: dict[str, float]  # device facts for services (loop spacing, rated watts ...)
    joint: bool = False  # its gauges are judged together, too


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Everything the scheduler needs for one link; `ops` are the driver's own."""

    link: Link
    driver: str
    timeout_s: float
    points: tuple[Point, ...]
    ops: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CommandRules:
    """What a center may set, from the site's `[agent]`."""

    points: tuple[str, ...] = ()  # device.point; * stands for any name
    a_minute: float = 6.0  # of one point
    longest_lease_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled site."""

    gateway: str
    place: Place
    channels: tuple[Channel, ...]
    devices: tuple[SiteDevice, ...]
    links: tuple[LinkPlan, ...]
    upstreams: tuple[Upstream, ...]
    state_dir: str
    spool_limit_mb: float
    services: Any  # gateway.site.settings.ServiceSettings
    timezone: str  # IANA name: what services mean by night and Sunday
    catalog: Catalog = field(repr=False)
    capture_kb: float = 64.0  # of the last bytes of each link; 0 keeps none
    commands: CommandRules = CommandRules()

    @property
    def mode(self) -> str:
        """`center`, `agency` or `local`: how the gateway is operated."""
        return mode_of(self.upstreams)

    def device(self, name: str) -> SiteDevice:
        return next(d for d in self.devices if d.name == name)
