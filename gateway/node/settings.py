"""The TOML file of a node: text in, a frozen `NodeSite` out, or every fault of the file at once. docs/nodes.md says
what each key is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from gateway.node.boot import PROBATION_S, STATE_DIR
from gateway.site.document import ID_PATTERN, Document, read_document
from gateway.site.faults import Fault, Faults, failures, unique
from gateway.wire import suit

DOC = "nodes.md"
KEYS = ("schema", "node", "firmware", "sensors")
_BIND = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+):(\d{1,5})")
Positive = Annotated[FiniteFloat, Field(gt=0)]
Number = Annotated[int, Field(ge=0, le=65_534)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeTable(Table):
    """`[node]`."""

    id: str = Field(pattern=ID_PATTERN)
    bind: str = "0.0.0.0:5683"
    state_dir: str = STATE_DIR
    credentials: tuple[str, ...] = ()
    insecure: bool = False
    manufacturer: str = Field(default="citygate", max_length=255)
    model: str = Field(default="node", max_length=255)
    period_s: Positive = 10.0


class FirmwareTable(Table):
    """`[firmware]`: which images this node takes. `vendor` and `class`: UUIDs, or names that they are made from."""

    vendor: str = Field(min_length=1, max_length=255)
    kind: str = Field(alias="class", min_length=1, max_length=255)
    trust: tuple[str, ...] = Field(min_length=1)
    limit_mb: float = Field(default=16.0, gt=0, le=60, allow_inf_nan=False)
    probation_s: float = Field(default=PROBATION_S, ge=1, le=3600, allow_inf_nan=False)
    automatic: bool = True


class SensorTable(Table):
    """One of `[[sensors]]`: a number from somewhere, as a resource of an LwM2M object."""

    name: str = Field(pattern=ID_PATTERN)
    object: Number
    instance: Number = 0
    resource: Number = 5700  # Sensor Value of the IPSO objects
    unit: str = Field(default="", max_length=32)
    source: Literal["file", "w1", "simulated"] = "file"
    path: str = ""
    match: str = ""
    scale: FiniteFloat = 1.0
    offset: FiniteFloat = 0.0
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    value: FiniteFloat = 20.0
    swing: FiniteFloat = 0.0
    every_s: Positive = 3600.0

    @property
    def where(self) -> str:
        return f"{self.object}/{self.instance}/{self.resource}"


@dataclass(frozen=True, slots=True)
class Updates:
    """What `[firmware]` comes to: keys are read, identifiers made."""

    vendor: UUID
    kind: UUID
    trust: tuple[Ed25519PublicKey, ...]
    limit_bytes: int
    probation_s: float
    automatic: bool


@dataclass(frozen=True, slots=True)
class NodeSite:
    """Paths in it are absolute."""

    file: str
    node: NodeTable
    host: str
    port: int
    updates: Updates | None
    sensors: tuple[SensorTable, ...]


def load(path: str | Path) -> NodeSite:
    """Raises Faults."""
    doc = read_document(path, DOC)
    if isinstance(doc, Fault):
        raise Faults((doc,))
    site = _site(doc)
    if site is None or failures(doc.faults):
        raise Faults(unique(doc.faults))
    return site


def _site(doc: Document) -> NodeSite | None:
    doc.unknown_keys((), KEYS)
    if "schema" not in doc.data:
        doc.add("CG-1004", (), key="schema", doc=doc.doc)
    elif doc.data["schema"] != 1 or isinstance(doc.data["schema"], bool):
        doc.add("CG-1009", ("schema",), value=doc.data["schema"])
    folder = Path(doc.file).absolute().parent
    node = doc.salvage(NodeTable, ("node",), doc.table(("node",)), {"id": "unknown"})
    doc.distinct("sensors")
    sensors = [_sensor(doc, path, table, folder) for path, table in doc.tables("sensors")]
    _places(doc)
    updates = _updates(doc, folder) if "firmware" in doc.data else None
    if node is None:
        return None
    bind = _BIND.fullmatch(node.bind)
    if bind is None or int(bind[2]) > 0xFFFF:
        doc.add("CG-6220", ("node", "bind"), value=node.bind)
        return None
    node = node.model_copy(
        update={
            "state_dir": str(folder / node.state_dir),
            "credentials": tuple(str(folder / one) for one in node.credentials),
        }
    )
    return NodeSite(doc.file, node, bind[1].strip("[]"), int(bind[2]), updates, tuple(one for one in sensors if one))


def _sensor(doc: Document, path: tuple[str | int, ...], table: dict[str, object], folder: Path) -> SensorTable | None:
    found = doc.salvage(SensorTable, path, table)
    if found is None:
        return None
    if found.source != "simulated" and not found.path:
        doc.add("CG-1004", path, key="path", doc=doc.doc)
    if found.range and found.range[0] >= found.range[1]:
        doc.add("CG-1024", (*path, "range"), low=found.range[0], high=found.range[1])
    try:
        if re.compile(found.match).groups > 1:
            raise re.error("more than one group")
    except re.error as bad:
        doc.add("CG-6221", (*path, "match"), value=found.match, why=bad)
    return found.model_copy(update={"path": str(folder / found.path)})


def _places(doc: Document) -> None:
    """No two sensors are one resource, and none is an object that a node has of itself."""
    first: dict[str, int] = {}
    for path, table in doc.tables("sensors"):
        place = "/".join(
            str(table.get(key, usual)) for key, usual in (("object", 0), ("instance", 0), ("resource", 5700))
        )
        if place in first:
            doc.add("CG-6222", path, resource=place, why=f"line {first[place]}")
        elif isinstance(table.get("object"), int) and table["object"] < 10:
            doc.add("CG-6222", path, resource=place, why="LwM2M")
        first.setdefault(place, doc.lines.line(path))


def _updates(doc: Document, folder: Path) -> Updates | None:
    found = doc.salvage(FirmwareTable, ("firmware",), doc.table(("firmware",)))
    if found is None:
        return None
    keys = []
    for index, name in enumerate(found.trust):
        try:
            key = load_pem_public_key((folder / name).read_bytes())
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError("not Ed25519")
            keys.append(key)
        except (OSError, ValueError, UnsupportedAlgorithm) as bad:
            doc.add("CG-6223", ("firmware", "trust", index), value=name, why=getattr(bad, "strerror", None) or bad)
    vendor = suit.vendor_id(found.vendor)
    return Updates(
        vendor,
        suit.class_id(vendor, found.kind),
        tuple(keys),
        round(found.limit_mb * 1_000_000),
        found.probation_s,
        found.automatic,
    )
