"""A device profile: TOML in, a frozen `DeviceProfile` out, or every fault of the file at once.

What a point means (unit, range, role) is checked here; how it is read belongs to the driver named by `protocol`,
whose dataclasses are the schema of the keys unknown to this module. Captures are decoded by check.py, not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from gateway.site.document import NAME_PATTERN, Document, read_document
from gateway.site.extend import extended
from gateway.site.faults import NOTHING, Both, Fault, Faults, failures, guess, listed, unique
from gateway.site.library import Library
from gateway.site.lines import Path
from gateway.site.plan import Detector, Filter, Kind
from gateway.site.reach import reach
from gateway.site.roles import ROLES
from gateway.site.tuning import DetectorName, FilterName, Tuning
from gateway.site.units import UNITS, conversions, is_known, spelled
from protocols import registry
from protocols.api import Device, Driver, PlanError, Point

Drivers = Callable[[str], Driver[Any]]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Span = tuple[FiniteFloat, FiniteFloat]
FAMILIES = ("water", "streetlight", "air", "traffic", "other")
DOC = "profiles.md"
TOP_KEYS = ("schema", "extends", "omit", "device", "link", "points", "probes", "captures")


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Label(Table):
    en: str
    ko: str = ""


class DeviceTable(Table):
    """`[device]`: what the device is."""

    family: Literal["water", "streetlight", "air", "traffic", "other"]
    vendor: str = Field(min_length=1)
    model: str = Field(min_length=1)
    name: Label
    protocol: str
    source: str = Field(min_length=1)
    firmware: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    certification: str = ""
    period_s: Positive = 1.0
    silent_s: Annotated[FiniteFloat, Field(ge=0)] = 0.0


class LinkTable(Table):
    """`[link]`: how the vendor ships the line; None where the profile does not say."""

    baud: int | None = Field(default=None, gt=0)
    parity: Literal["N", "E", "O"] | None = None
    stop_bits: Literal[1, 2] | None = None
    data_bits: Literal[7, 8] | None = None
    rs485: bool | None = None


class Derived(Table):
    what: Literal[
        "volume", "volume_short", "volume_medium", "volume_long", "occupancy", "speed", "length",
        "cai", "aqi", "burn_hours", "energy",
    ]  # fmt: skip
    source: tuple[str, ...] = Field(alias="from", min_length=1)


class PointTable(Table):
    """One of `[[points]]`, less the driver's own keys."""

    name: str = Field(pattern=NAME_PATTERN)
    label: Label | None = None
    unit: str = ""
    scale: FiniteFloat = 1.0
    offset: FiniteFloat = 0.0
    range: Span | None = None
    writable: Span | None = None
    rest: FiniteFloat | None = None
    enum: dict[str, int] = Field(default_factory=dict)
    step: Positive | None = None
    rollover: Positive | None = None
    resolution: Annotated[FiniteFloat, Field(ge=0)] | None = None
    period_s: Positive | None = None
    kind: Literal["gauge", "counter", "state", "waveform"] = "gauge"
    rate: Positive | None = None
    filter: FilterName = "none"
    detector: DetectorName = "none"
    tuning: Tuning = Tuning()
    role: str = ""
    derived: Derived | None = None


class Probe(Table):
    """One of `[[probes]]`: what tells this device from others. Either a text that the device says of itself
    (`identity`, by the name the driver has for it) which the pattern `matches`, or a point whose value `equals` one of
    some numbers."""

    identity: str = ""
    matches: str = ""
    point: str = ""
    equals: tuple[FiniteFloat, ...] = ()


class Capture(Table):
    """One of `[[captures]]`: bytes as hexadecimal text and the values they mean, after scale and offset."""

    request: str = ""
    reply: str
    values: dict[str, FiniteFloat]
    source: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class ProfilePoint:
    """One value a device offers. `spec` is the driver's own point; None for a derived one."""

    name: str
    label_en: str
    label_ko: str
    unit: str
    scale: float
    offset: float
    low: float
    high: float
    step: float
    rollover: float
    resolution: float
    period_s: float
    kind: Kind
    filter: Filter
    detector: Detector
    role: str
    spec: Any
    derived: str = ""
    source: tuple[str, ...] = ()
    has_own_period: bool = False  # not the device's default
    writable: tuple[float, float] | None = None
    rest: float | None = None  # what a command goes back to; None: what it was before
    words: tuple[tuple[int, str], ...] = ()
    rate: float = float("inf")
    tuning: Tuning = field(default_factory=Tuning)


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device as its vendor made it. `name` is `family/vendor-model`; `options` the driver's own."""

    name: str
    file: str
    identity: DeviceTable
    driver: Driver[Any]
    link: LinkTable
    options: Any
    points: tuple[ProfilePoint, ...]
    captures: tuple[Capture, ...]
    probes: tuple[Probe, ...] = ()
    extends: str = ""  # the profile this one is a variant of
    warnings: tuple[Fault, ...] = ()
    document: Document | None = field(default=None, repr=False, compare=False)

    @property
    def unproven(self) -> bool:
        return not any(capture.values for capture in self.captures)

    def point(self, name: str) -> ProfilePoint:
        return next(point for point in self.points if point.name == name)

    def as_device(self, name: str = "device", unit: int = 1, address: str = "", secret: bytes = b"") -> Device:
        return Device(name, unit, self.options, address, secret)


def load_profile(path: str | FilePath, name: str = "", drivers: Drivers = registry.driver) -> DeviceProfile:
    """The profile in the file at `path`. Raises Faults."""
    profile, faults = read_profile(path, name, drivers)
    if profile is None:
        raise Faults(faults)
    return profile


def read_profile(
    path: str | FilePath, name: str = "", drivers: Drivers = registry.driver
) -> tuple[DeviceProfile | None, tuple[Fault, ...]]:
    """The profile, None where its faults keep it from being used, and all its faults and warnings."""
    profile, faults = partial_profile(path, name, drivers)
    return (None if failures(faults) else profile), faults


def partial_profile(
    path: str | FilePath, name: str = "", drivers: Drivers = registry.driver
) -> tuple[DeviceProfile | None, tuple[Fault, ...]]:
    """As much of the profile as is valid: points and captures with faults are left out, so that the rest can be checked
    too. None where it is not known which protocol it speaks, or where the file says nothing at all."""
    doc = read_document(path, DOC)
    if isinstance(doc, Fault):
        return None, (doc,)
    whole = _whole(doc)
    if whole is None:
        return None, unique(doc.faults)
    profile = _profile(whole, name or _name_of(FilePath(path)), str(doc.data.get("extends", "")), drivers)
    return profile, unique(whole.faults)


def _whole(doc: Document) -> Document | None:
    """The document with what it extends: a profile beside it, of /etc/citygate/profiles or of the library. None, with
    a fault, where that cannot be used."""
    if "extends" not in doc.data:
        if "omit" in doc.data:
            doc.add("CG-1003", ("omit",), key="omit", guess=NOTHING, known="extends")
        return doc
    name = doc.data["extends"]
    library = Library.of([FilePath(doc.file).absolute().parent.parent])
    path = library.find(name) if isinstance(name, str) else None
    if path is None or path.resolve() == FilePath(doc.file).resolve():
        doc.add("CG-1036", ("extends",), value=name, guess=guess(str(name), library.names()))
        return None
    base = read_document(path, DOC)
    if isinstance(base, Fault):
        doc.faults.append(base)
        return None
    if "extends" in base.data:
        doc.add("CG-1037", ("extends",), value=name, base=base.data["extends"])
        return None
    return extended(doc, base)


def driver_points(points: Mapping[int, ProfilePoint], device: Device) -> tuple[Point, ...]:
    """The points of one device that its driver reads, by channel row."""
    return tuple(
        Point(
            row,
            point.name,
            device,
            point.spec,
            point.period_s,
            point.scale,
            point.offset,
            _writable(point),
            conversions(point.unit),
            point.rest,
        )
        for row, point in points.items()
        if point.spec is not None
    )


def _writable(point: ProfilePoint) -> tuple[float, float] | None:
    """What may be written: never beyond the range that is believed, which a site may have narrowed."""
    if point.writable is None:
        return None
    low, high = point.writable
    return max(low, point.low), min(high, point.high)


def _profile(doc: Document, name: str, extends: str, drivers: Drivers) -> DeviceProfile | None:
    """As much of the profile as is valid."""
    _check_schema(doc)
    identity = doc.salvage(DeviceTable, ("device",), doc.table(("device",)))
    link = doc.salvage(LinkTable, ("link",), doc.table(("link",)))
    driver = _driver(doc, drivers)
    doc.unknown_keys((), [*TOP_KEYS, *([driver.name] if driver else registry.DRIVERS)])
    options = driver and doc.salvage(driver.device, (driver.name,), doc.table((driver.name,)))
    doc.distinct("points")
    period_s = identity.period_s if identity else 1.0
    points = [_point(doc, path, table, driver, period_s) for path, table in doc.tables("points")]
    captures = [doc.parse(Capture, path, table) for path, table in doc.tables("captures")]
    probes = [doc.parse(Probe, path, table) for path, table in doc.tables("probes")]
    if not points:
        doc.add("CG-1034", ("points",))
    if not any(table.get("values") for _, table in doc.tables("captures")):  # a capture of no value proves none
        doc.add("CG-1032", ("device",))
    _check_sources(doc)
    _check_captures(doc)
    _check_probes(doc)
    valid = tuple(point for point in points if point)
    if driver and options is not None:
        _check_driver(doc, driver, Device("device", 1, options), valid)
    if not (identity and link and driver and options is not None):
        return None
    return DeviceProfile(
        name,
        doc.file,
        identity,
        driver,
        link,
        options,
        valid,
        tuple(capture for capture in captures if capture),
        tuple(probe for probe in probes if probe),
        extends,
        tuple(doc.faults),
        doc,
    )


def _name_of(path: FilePath) -> str:
    return f"{path.absolute().parent.name}/{path.stem}"


def _check_schema(doc: Document) -> None:
    if "schema" not in doc.data:
        doc.add("CG-1004", (), key="schema", doc=doc.doc)
    elif doc.data["schema"] != 1 or isinstance(doc.data["schema"], bool):
        doc.add("CG-1009", ("schema",), value=doc.data["schema"])


def _driver(doc: Document, drivers: Drivers) -> Driver[Any] | None:
    name = doc.table(("device",)).get("protocol")
    if not isinstance(name, str):
        return None
    try:
        return drivers(name)
    except KeyError:
        valid = registry.DRIVERS
        doc.add("CG-1020", ("device", "protocol"), value=name, guess=guess(name, valid), allowed=", ".join(valid))
        return None


def _point(
    doc: Document, path: Path, table: dict[str, Any], driver: Driver[Any] | None, period_s: float
) -> ProfilePoint | None:
    theirs = {one.name for one in fields(driver.point)} if driver else set()
    known = [name for name in PointTable.model_fields if name not in theirs]  # a driver's word goes before ours
    own = {key: value for key, value in table.items() if key not in known}
    common = doc.salvage(PointTable, path, {key: value for key, value in table.items() if key in known})
    derived = "derived" in table
    spec = None
    if derived:
        for key in own:
            doc.add("CG-1029", (*path, key), key=key)
        if "writable" in table:
            doc.add("CG-1029", (*path, "writable"), key="writable")
    elif driver:
        spec = doc.parse(driver.point, path, own, also=known)
    _check_meaning(doc, path, table)
    if common is None or (driver and not derived and spec is None):
        return None
    _check_reach(doc, path, common, spec)
    _check_rest(doc, path, common)
    return _compiled(common, spec, period_s)


def _compiled(table: PointTable, spec: Any, period_s: float) -> ProfilePoint:
    low, high = table.range or (-float("inf"), float("inf"))
    label = table.label or Label(en=table.name.replace("_", " "))
    return ProfilePoint(
        name=table.name,
        label_en=label.en,
        label_ko=label.ko or label.en,
        unit=table.unit,
        scale=table.scale,
        offset=table.offset,
        low=low,
        high=high,
        step=table.step or float("inf"),
        rollover=table.rollover or float("inf"),
        resolution=_resolution(table, spec),
        period_s=table.period_s or period_s,
        kind=Kind[table.kind.upper()],
        filter=Filter[table.filter.upper()],
        detector=Detector[table.detector.upper()],
        role=table.role,
        spec=spec,
        derived=table.derived.what if table.derived else "",
        source=table.derived.source if table.derived else (),
        has_own_period=table.period_s is not None,
        writable=table.writable,
        rest=table.rest,
        words=tuple(sorted((number, word) for word, number in table.enum.items())),
        rate=table.rate or float("inf"),
        tuning=table.tuning,
    )


def _resolution(table: PointTable, spec: Any) -> float:
    """What the device can show at best: one count of an integer, unknown for the rest."""
    if table.resolution is not None:
        return table.resolution
    span = reach(spec)
    return abs(table.scale) if span else 0.0


def _check_meaning(doc: Document, path: Path, table: dict[str, Any]) -> None:
    """Unit, role, range and scale, each on its own, whatever else is wrong with the point."""
    unit, role, scale = table.get("unit", ""), table.get("role", ""), table.get("scale", 1.0)
    name = table.get("name")
    if isinstance(unit, str) and not is_known(unit):
        doc.add("CG-1021", (*path, "unit"), value=unit, guess=_unit_guess(unit, role))
    if unit == "%":
        doc.add("CG-1035", (*path, "unit"))
    if isinstance(role, str) and role:
        _check_role(doc, path, role, unit, table.get("kind", "gauge"), name)
    if scale == 0 and not isinstance(scale, bool):
        doc.add("CG-1026", (*path, "scale"))
    for key in ("range", "writable"):
        match table.get(key):
            case [int() | float() as low, int() | float() as high] if low >= high:
                doc.add("CG-1024", (*path, key), low=low, high=high)


def _unit_guess(unit: str, role: object) -> Both:
    """The label's spelling, else the nearest unit of the role, else the nearest of all: "°C" is not coulomb."""
    fitting = ROLES[role][1] if isinstance(role, str) and role in ROLES else ()
    near = (guess(unit, fitting) if fitting else NOTHING) if not spelled(unit) else guess(spelled(unit), UNITS)
    return near if near != NOTHING else guess(unit, UNITS)


def _check_role(doc: Document, path: Path, role: str, unit: object, kind: object, name: object) -> None:
    if role not in ROLES:
        doc.add("CG-1022", (*path, "role"), value=role, guess=guess(role, ROLES), allowed=", ".join(ROLES))
        return
    _, units, meaning = ROLES[role]
    if isinstance(unit, str) and is_known(unit) and units and unit not in units:
        near = guess(unit, units) if unit else NOTHING
        if isinstance(name, str) and unit in ROLES.get(name, ("", (), ""))[1]:
            near = Both(f', did you mean role = "{name}"?', f'. role = "{name}" 아닙니까?')
        doc.add(
            "CG-1023",
            (*path, "unit"),
            unit=unit,
            role=role,
            meaning=meaning,
            guess=near,
            allowed=listed(name for name in units if is_known(name)),
        )
    if role == "loop" and kind != "waveform":
        doc.add("CG-1033", (*path, "kind" if kind != "gauge" else "role"), role=role, kind="waveform")


def _check_reach(doc: Document, path: Path, table: PointTable, spec: Any) -> None:
    span = reach(spec)
    if span is None or table.scale == 0:
        return
    ends = sorted((span.least * table.scale + table.offset, span.most * table.scale + table.offset))
    for key, limits in (("range", table.range), ("writable", table.writable)):
        if limits and (limits[0] < ends[0] or limits[1] > ends[1]):
            low, high = limits
            doc.add("CG-1025", (*path, key), low=low, high=high, type=span.name, least=ends[0], most=ends[1])


def _check_rest(doc: Document, path: Path, table: PointTable) -> None:
    """What a command goes back to must be something that can be written."""
    if table.rest is None:
        return
    low, high = table.writable or (float("inf"), -float("inf"))
    least, most = table.range or (-float("inf"), float("inf"))
    if not max(low, least) <= table.rest <= min(high, most):
        doc.add("CG-1039", (*path, "rest"), value=table.rest)


def _check_sources(doc: Document) -> None:
    """Derived points name points that are read from the device."""
    tables = list(doc.tables("points"))
    read = [str(table.get("name")) for _, table in tables if "derived" not in table]
    for path, table in tables:
        derived = table.get("derived")
        sources = derived.get("from", []) if isinstance(derived, dict) else []
        for index, name in enumerate(sources if isinstance(sources, list) else []):
            if isinstance(name, str) and name not in read:
                at = (*path, "derived", "from", index)
                doc.add("CG-1028", at, value=name, guess=guess(name, read), known=listed(read))


def _check_captures(doc: Document) -> None:
    """Captures are hexadecimal and speak of points that exist."""
    read = [str(table.get("name")) for _, table in doc.tables("points") if "derived" not in table]
    for path, table in doc.tables("captures"):
        for key in ("request", "reply"):
            text = table.get(key, "")
            if isinstance(text, str) and not is_hex(text):
                doc.add("CG-1031", (*path, key), why="not pairs of hexadecimal digits")
        values = table.get("values")
        for name in values if isinstance(values, dict) else ():
            if read and name not in read:
                doc.add(
                    "CG-1028",
                    (*path, "values", name),
                    value=name,
                    guess=guess(name, read),
                    known=listed(read),
                )


def _check_probes(doc: Document) -> None:
    """A probe asks one thing that can be answered."""
    read = [str(table.get("name")) for _, table in doc.tables("points") if "derived" not in table]
    for path, table in doc.tables("probes"):
        by_text = {"identity", "matches"} & table.keys()
        by_value = {"point", "equals"} & table.keys()
        if bool(by_text) == bool(by_value) or len(by_text or by_value) != 2:
            doc.add("CG-1038", path)
            continue
        point = table.get("point", "")
        if by_value and isinstance(point, str) and point not in read:
            doc.add("CG-1028", (*path, "point"), value=point, guess=guess(point, read), known=listed(read))
        try:
            re.compile(str(table.get("matches", "")))
        except re.error as bad:
            must = Both(f"a regular expression ({bad})", f"정규식 ({bad})")
            doc.add("CG-1007", (*path, "matches"), value=table.get("matches"), must=must)


def is_hex(text: str) -> bool:
    try:
        bytes.fromhex(text)
    except ValueError:
        return False
    return True


def _check_driver(doc: Document, driver: Driver[Any], device: Device, points: tuple[ProfilePoint, ...]) -> None:
    """What the driver says against its points, seen together."""
    paths = {str(table.get("name")): path for path, table in reversed(list(doc.tables("points")))}
    read = driver_points(dict(enumerate(points)), device)
    faults = list(driver.check(device, read))
    if not faults:
        try:
            driver.plan(read)
        except PlanError as bad:
            faults.append((bad.where, "", str(bad)))
    for point, key, words in faults:
        table = paths.get(point, (driver.name,))
        if key != "unit":  # the address is the site's affair
            doc.add("CG-1027", (*table, *key.split(".")) if key else table, words=words)
