"""A site file: TOML in, a frozen `Site` out, or every fault of the file at once. No numpy, drivers or profiles: the
half that sends reads its upstreams from here.

What needs the profiles of the devices (overridden points, settings of the line, addresses) is checked by cross.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from gateway.site import generations
from gateway.site.choice import EVERY_EVENT, EVERY_SUMMARY, EventWish, SummaryWish, event_rules, summary_rules
from gateway.site.document import ID_PATTERN, Document, read_document
from gateway.site.faults import NOTHING, Both, Fault, Faults, failures, guess, listed, unique
from gateway.site.lines import Path
from gateway.site.settings import ServiceSettings
from gateway.site.tuning import DetectorName, FilterName, Tuning
from gateway.site.upstream import AGENCY, CENTER, LOCAL, OneM2M, Upstream

Positive = Annotated[FiniteFloat, Field(gt=0)]
DOC = "site.md"
KEYS = ("schema", "gateway", "links", "devices", "upstreams", "services", "agent")
PORTS = ("serial", "ascii")  # schemes of links that open a serial port
_HOST_PORT = re.compile(r"(tcp|rtu\+tcp|ascii\+tcp|coap)://(\[[0-9A-Fa-f:.]+\]|[^:/\[\]\s]+)(?::(\d{1,5}))?/?")
_UPSTREAM = re.compile(r"coap(?:\+tcp)?://(?:\[[0-9A-Fa-f:.]+\]|[^:/\[\]\s?#@]+)(?::(\d{1,5}))?(?:/[^\s?#]*)?")
_ADAPTER = re.compile(r"hci\d{1,3}")  # as the kernel and BlueZ name Bluetooth adapters
COAP_PORT = 5683
STATE_DIR_LONGEST = 96  # bytes: a unix socket's address has 107, and the longest name in the folder is `field.sock`
MODBUS_PORT = 502  # where a tcp:// address names none


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Name(Table):
    en: str = ""
    ko: str = ""


class GatewayTable(Table):
    """`[gateway]`."""

    id: str = Field(pattern=ID_PATTERN)
    name: Name = Name()
    asset: str = ""
    zone: str = ""
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    state_dir: str = "state"
    spool_limit_mb: Positive = 64.0
    capture_kb: float = Field(default=64.0, ge=0, le=16_384, allow_inf_nan=False)
    window_s: Positive = 60.0
    timezone: str = "Asia/Seoul"
    profiles: tuple[str, ...] = ()
    mode: Literal["center", "agency", "local"] | None = None
    local_events: tuple[str, ...] = ()


class LinkTable(Table):
    """One of `[[links]]`. None: as the profiles on it say."""

    name: str = Field(pattern=ID_PATTERN)
    url: str
    baud: int | None = Field(default=None, gt=0)
    parity: Literal["N", "E", "O"] | None = None
    stop_bits: Literal[1, 2] | None = None
    data_bits: Literal[7, 8] | None = None
    rs485: bool | None = None
    timeout_s: Positive = 1.0
    connections: int = Field(default=1, ge=1, le=16)
    credentials: str = ""

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]


class PointOverride(Table):
    """What a site may change about one point of a device. None: as the profile says."""

    enabled: bool = True
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    step: Positive | None = None
    period_s: Positive | None = None
    rate: Positive | None = None
    filter: FilterName | None = None
    detector: DetectorName | None = None
    tuning: Tuning | None = None
    group: str | None = None
    upstreams: tuple[str, ...] | None = None
    options: dict[str, FiniteFloat] = Field(default_factory=dict)


class DeviceTable(Table):
    """One of `[[devices]]`. None: as the gateway or the profile says."""

    name: str = Field(pattern=ID_PATTERN)
    profile: str
    link: str
    unit: int = Field(default=0, ge=0, le=0xFFFF)
    address: str = ""
    secret: str = ""
    asset: str | None = None
    zone: str | None = None
    place: Name | None = None
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    group: str = ""
    period_s: Positive | None = None
    silent_s: Positive | None = None
    window_s: Positive | None = None
    upstreams: tuple[str, ...] | None = None
    joint: bool = False
    options: dict[str, FiniteFloat] = Field(default_factory=dict)
    points: dict[str, PointOverride] = Field(default_factory=dict)


class OneM2MTable(Table):
    """`onem2m` of an upstream. "": made from the gateway's id."""

    originator: str = Field(default="", max_length=255)
    app: str = Field(default="Ncitygate", min_length=2, max_length=255)
    release: Literal["2a", "3", "4", "5"] = "3"
    content_format: int = Field(default=50, ge=0, le=0xFFFF)


class UpstreamTable(Table):
    """One of `[[upstreams]]`. None: as its role says."""

    name: str = Field(pattern=ID_PATTERN)
    uri: str
    credentials: str = ""
    insecure: bool = False
    format: Literal["senml", "columnar", "onem2m"] = "senml"
    monthly_mb: Positive | None = None
    role: Literal["center", "agency"] = "center"
    events: tuple[EventWish, ...] | None = None
    summaries: SummaryWish | None = None
    evidence: bool = True
    onem2m: OneM2MTable = OneM2MTable()
    agent: tuple[Literal["observe", "operate", "release"], ...] | None = None
    bulk: Literal["auto", "tcp", "datagram"] = "auto"
    promise_s: float = Field(default=90.0, ge=5, le=86_400)
    shares: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(default=(), max_length=16)


class AgentTable(Table):
    """`[agent]`: what may be done to this gateway from afar."""

    commands: tuple[str, ...] = ()  # device.point that a center may set; * stands for any name
    commands_a_minute: float = Field(default=6.0, gt=0, le=600)  # of one point
    longest_lease_s: float = Field(default=3600.0, gt=0, le=86_400)
    trust: tuple[str, ...] = ()  # files with public keys (Ed25519, PEM) that sign configurations
    releases: str = ""  # TUF root metadata that releases are proven by
    probation_s: float = Field(default=120.0, ge=5, le=3600)
    nodes: str = ""  # HOST:PORT towards the nodes, where they fetch firmware; "" serves none


@dataclass(frozen=True, slots=True)
class Site:
    """A site file, valid by itself. Paths in it are absolute."""

    file: str
    gateway: GatewayTable
    links: tuple[LinkTable, ...]
    devices: tuple[DeviceTable, ...]
    upstreams: tuple[Upstream, ...]
    services: ServiceSettings
    agent: AgentTable  # its paths are absolute
    state_dir: str
    profile_folders: tuple[str, ...]
    warnings: tuple[Fault, ...] = ()
    document: Document = field(repr=False, compare=False, kw_only=True)

    def link(self, name: str) -> LinkTable:
        return next(link for link in self.links if link.name == name)


def load_site(path: str | FilePath) -> Site:
    """The site that the file at `path` stands for (see generations.py). Raises Faults."""
    site, faults = parse_site(generations.file_of(path), path)
    if site is None:
        raise Faults(faults)
    return site


def parse_site(path: str | FilePath, named: str | FilePath = "") -> tuple[Site | None, tuple[Fault, ...]]:
    """The site, None where its faults keep it from being used, and all its faults and warnings. Paths in it belong to
    the file that was `named`, where `path` is a generation of that."""
    doc = read_document(path, DOC)
    if isinstance(doc, Fault):
        return None, (doc,)
    site = _site(doc, FilePath(named or path))
    return (None if failures(doc.faults) else site), unique(doc.faults)


def partial_site(path: str | FilePath, named: str | FilePath = "") -> tuple[Site | None, Document | Fault]:
    """As far as the file goes: tables with faults are left out, so that the rest can be checked too."""
    doc = read_document(path, DOC)
    return (None, doc) if isinstance(doc, Fault) else (_site(doc, FilePath(named or path)), doc)


def credential_faults(site: Site) -> tuple[Fault, ...]:
    """Upstreams whose OSCORE context is not there (CG-4001). Looks at the disk."""
    doc = Document(site.file, site.document.data, site.document.lines, DOC)
    names = [table.get("name") for _, table in doc.tables("upstreams")]
    for one in site.upstreams:
        if one.credentials and not one.insecure and not _has_files(FilePath(one.credentials)):
            doc.add("CG-4001", ("upstreams", names.index(one.name), "credentials"), folder=one.credentials)
    return tuple(doc.faults)


def port_of(url: str) -> str:
    """What a link's url occupies, however it is written: the device behind any symbolic link, or `host:port`.
    "" for an address that is none."""
    scheme, _, path = url.partition(":")
    if scheme in PORTS and path:
        return os.path.realpath(path.removeprefix("//"))
    if scheme == "ble":
        return f"ble {path}" if _ADAPTER.fullmatch(path) else ""
    match = _HOST_PORT.fullmatch(url)
    if not match:
        return ""
    number = int(match[3] or (COAP_PORT if scheme == "coap" else MODBUS_PORT))
    if not 0 < number < 0x10000:
        return ""
    host = "127.0.0.1" if match[2].lower() == "localhost" else match[2].lower()
    return f"{'udp ' if scheme == 'coap' else ''}{host}:{number}"


def _site(doc: Document, named: FilePath) -> Site | None:
    doc.unknown_keys((), KEYS)
    if "schema" not in doc.data:
        doc.add("CG-1004", (), key="schema", doc=doc.doc)
    elif doc.data["schema"] != 1 or isinstance(doc.data["schema"], bool):
        doc.add("CG-1009", ("schema",), value=doc.data["schema"])
    gateway = doc.salvage(GatewayTable, ("gateway",), doc.table(("gateway",)), {"id": "unknown"})
    services = doc.salvage(ServiceSettings, ("services",), doc.table(("services",)))
    agent = doc.salvage(AgentTable, ("agent",), doc.table(("agent",)))
    _check_levels(doc, services)
    for key in ("links", "devices", "upstreams"):
        doc.distinct(key)
    links = [doc.salvage(LinkTable, path, table) for path, table in doc.tables("links")]
    devices = [doc.salvage(DeviceTable, path, table) for path, table in doc.tables("devices")]
    upstreams = [doc.salvage(UpstreamTable, path, table) for path, table in doc.tables("upstreams")]
    _check_links(doc)
    _check_devices(doc)
    _check_upstreams(doc, upstreams)
    folder = named.absolute().parent
    own = FilePath(doc.file).absolute().parent  # of a generation, which has its profiles beside it
    gateway = gateway or GatewayTable(id="unknown")
    _check_timezone(doc, gateway.timezone)
    if (size := len(os.fsencode(folder / gateway.state_dir))) > STATE_DIR_LONGEST:
        doc.add(
            "CG-1060", ("gateway", "state_dir"), value=folder / gateway.state_dir, size=size, most=STATE_DIR_LONGEST
        )
    return Site(
        doc.file,
        gateway,
        tuple(link for link in links if link),
        tuple(device for device in devices if device),
        tuple(_upstream(one, folder) for one in upstreams if one),
        services or ServiceSettings(),
        _agent(agent or AgentTable(), folder),
        str(folder / gateway.state_dir),
        (
            *((str(own / generations.PROFILES),) if own != folder else ()),
            *(str(folder / name) for name in gateway.profiles),
        ),
        tuple(one for one in doc.faults if one not in failures([one])),
        document=doc,
    )


def _upstream(table: UpstreamTable, folder: FilePath) -> Upstream:
    credentials = str(folder / table.credentials) if table.credentials else ""
    center = table.role == CENTER
    rules, excluded = (EVERY_EVENT if center else (), ()) if table.events is None else event_rules(table.events)
    summaries = (EVERY_SUMMARY if center else ()) if table.summaries is None else summary_rules(table.summaries)
    return Upstream(
        table.name,
        table.uri,
        credentials,
        table.insecure,
        rules,
        bulk=table.bulk,
        promise_s=table.promise_s,
        shares=table.shares,
        format=table.format,
        monthly_mb=table.monthly_mb or 0.0,
        role=table.role,
        excluded=excluded,
        summaries=summaries,
        evidence=table.evidence,
        onem2m=OneM2M(**table.onem2m.model_dump()),
        agent=_roles(table),
    )


def _roles(table: UpstreamTable) -> frozenset[str]:
    """What this upstream may ask of the agent. Nothing where nobody can tell who asks."""
    if table.insecure or table.format == "onem2m":
        return frozenset()
    if table.agent is None:
        return frozenset({"observe"}) if table.role == CENTER else frozenset()
    return frozenset(table.agent)


def _agent(table: AgentTable, folder: FilePath) -> AgentTable:
    releases = str(folder / table.releases) if table.releases else ""
    return table.model_copy(update={"trust": tuple(str(folder / one) for one in table.trust), "releases": releases})


def _check_timezone(doc: Document, name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = guess(name, available_timezones())
        doc.add("CG-1061", ("gateway", "timezone"), value=name, guess=near)


def _check_levels(doc: Document, services: ServiceSettings | None) -> None:
    """What raises an alarm lies above what clears it."""
    air = services.air if services else None
    for one in fields(air) if air else ():
        clear = f"{one.name}_clear"
        value, low = getattr(air, one.name), getattr(air, clear, None)
        if low is not None and value <= low:
            written = one.name if one.name in doc.table(("services", "air")) else clear
            doc.add("CG-1059", ("services", "air", written), value=value, clear=clear, low=low)


def _check_links(doc: Document) -> None:
    """Addresses are well formed and no port is opened twice."""
    used = {str(table.get("link")) for _, table in doc.tables("devices")}
    first: dict[str, tuple[Path, object]] = {}
    for path, table in doc.tables("links"):
        url, name = table.get("url"), table.get("name")
        if isinstance(name, str) and name not in used:
            doc.add("CG-1055", path)
        if not isinstance(url, str):
            continue
        several = table.get("connections", 1)
        if not url.startswith("tcp:") and isinstance(several, int) and several > 1:
            must = Both("1, several are for tcp:// only", "1 (여러 연결은 tcp://에서만 가능)")
            doc.add("CG-1007", (*path, "connections"), value=several, must=must)
        port = port_of(url)
        if not port:
            doc.add("CG-1052", (*path, "url"), value=url, guess=_meant(url))
        elif port in first:
            at, other = first[port]
            line = doc.lines.line((*at, "url"))
            doc.add("CG-1042", (*path, "url"), url=url, other=other, first=line, port=port)
        else:
            first[port] = path, name


def _meant(url: str) -> Both:
    """The address with the scheme it lacks."""
    near = f"serial:{url}" if url.startswith("/dev/") else f"tcp://{url}"
    fits = "://" not in url and ":" in near.removeprefix("tcp:") and port_of(near)
    return Both(f', did you mean "{near}"?', f'. "{near}" 아닙니까?') if fits else NOTHING


def _check_devices(doc: Document) -> None:
    """Devices name links and upstreams that exist, and no unit address of a link serves two."""
    links = _names(doc, "links")
    upstreams = _names(doc, "upstreams")
    for path, table in doc.tables("devices"):
        _known(doc, (*path, "link"), table.get("link"), links, "CG-1043")
        wanted = table.get("upstreams")
        for index, name in enumerate(wanted if isinstance(wanted, list) else []):
            _known(doc, (*path, "upstreams", index), name, upstreams, "CG-1047")
        points = table.get("points")
        for name, override in points.items() if isinstance(points, dict) else ():
            _check_span(doc, (*path, "points", name, "range"), override)
            wanted = override.get("upstreams") if isinstance(override, dict) else None
            for index, one in enumerate(wanted if isinstance(wanted, list) else []):
                _known(doc, (*path, "points", name, "upstreams", index), one, upstreams, "CG-1047")


def _check_span(doc: Document, path: Path, override: object) -> None:
    match override:
        case {"range": [int() | float() as low, int() | float() as high]} if low >= high:
            doc.add("CG-1024", path, low=low, high=high)


def _check_upstreams(doc: Document, upstreams: Iterable[UpstreamTable | None]) -> None:
    _check_mode(doc)
    first: dict[str, tuple[Path, UpstreamTable]] = {}
    for (path, _), one in zip(doc.tables("upstreams"), upstreams, strict=True):
        if one is None:
            continue
        address = _UPSTREAM.fullmatch(one.uri)
        if not address or not 0 < int(address[1] or COAP_PORT) < 0x10000:
            doc.add("CG-1056", (*path, "uri"), value=one.uri)
        if one.format == "onem2m":
            _check_onem2m(doc, path, one)
        at, other = first.setdefault(one.credentials, (path, one)) if address else (path, one)
        if one.credentials and not one.insecure and _host(other.uri) != _host(one.uri):
            line = doc.lines.line((*at, "credentials"))
            doc.add("CG-1088", (*path, "credentials"), name=one.name, other=other.name, first=line)
        if one.insecure:
            doc.add("CG-1048", (*path, "insecure"))
        elif one.format != "onem2m" and not one.credentials:
            doc.add("CG-1057", path, name=one.name)


def _host(uri: str) -> str:
    """The host of an address that is well formed."""
    rest = uri.partition("://")[2].partition("/")[0]
    return (rest.partition("]") if rest.startswith("[") else rest.partition(":"))[0].lower()


def _check_mode(doc: Document) -> None:
    """The mode that is said is the one that the upstreams make."""
    said = doc.table(("gateway",)).get("mode")
    roles = [table.get("role", CENTER) for _, table in doc.tables("upstreams")]
    mode = (CENTER if CENTER in roles else AGENCY) if roles else LOCAL
    if not roles and said != LOCAL:
        doc.add("CG-1054", ())
    elif said in (CENTER, AGENCY, LOCAL) and said != mode:
        doc.add("CG-1080", ("gateway", "mode"), value=said, mode=mode)


def _check_onem2m(doc: Document, path: Path, one: UpstreamTable) -> None:
    """Such a platform speaks no OSCORE and no CoAP over TCP, and has a CSEBase."""
    if not one.insecure:
        doc.add("CG-1081", (*path, "format"))
    address = _UPSTREAM.fullmatch(one.uri)
    if address and (one.uri.startswith("coap+tcp:") or not one.uri.partition("://")[2].partition("/")[2].strip("/")):
        doc.add("CG-1082", (*path, "uri"), value=one.uri)
    if one.monthly_mb is not None:
        doc.add("CG-1087", (*path, "monthly_mb"))


def _names(doc: Document, key: str) -> list[str]:
    return [table["name"] for _, table in doc.tables(key) if isinstance(table.get("name"), str)]


def _known(doc: Document, path: Path, value: Any, valid: list[str], code: str) -> None:
    if isinstance(value, str) and value not in valid:
        doc.add(code, path, value=value, guess=guess(value, valid), allowed=listed(valid))


def _has_files(folder: FilePath) -> bool:
    try:
        return any(folder.iterdir())
    except PermissionError:
        return True  # of another user, as the sending half's are to the field half: that one looks for itself
    except OSError:
        return False
