"""A node's CoAP server: paths of LwM2M, each with all below it, as text, SenML-JSON or SenML-CBOR, observable.

    GET /3303/0/5700    one number as text             GET /3303/0, /3    a pack
    GET /n              everything in one pack         PUT /5/0/1, POST /5/0/2, /5/0/10, /3/0/4    see `Acts`

A node with credentials answers nobody without (OSCORE), a node without changes nothing for anybody unless its file says
`insecure`. aiocoap does the messages; nothing here waits for a sensor or a disk but what is written to `Acts`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiocoap
from aiocoap import error, resource
from aiocoap.credentials import CredentialsMap
from aiocoap.oscore_sitewrapper import OscoreSiteWrapper
from aiocoap.transports.oscore import OSCOREAddress

from gateway.node.objects import Said, Value
from gateway.wire import senml

TEXT, SENML_JSON, SENML_CBOR = 0, 110, 112
EVERYTHING = "n"
RESOURCE_DEPTH = 2  # slashes in the path of a resource; what lies above has several
MOST_OBSERVERS = 16
LONGEST_WRITE = 1024

Values = Callable[[], Mapping[str, Value]]
Acts = Mapping[tuple[int, str], Callable[[str], None]]  # (method, path) -> what takes the text; raises Declined


class Declined(Exception):
    """A write that is not followed, and the CoAP code that says so."""

    def __init__(self, code: Any, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(slots=True)
class Door:
    """Who is let in. `observers` of all resources together."""

    protected: bool
    insecure: bool
    observers: int = 0

    def read(self, request: Any) -> None:
        """Raises aiocoap's Unauthorized. What is plain passes aiocoap's OSCORE site too, so each resource asks."""
        if self.protected and not isinstance(request.remote, OSCOREAddress):
            raise error.Unauthorized

    def change(self, request: Any) -> None:
        self.read(request)
        if not self.protected and not self.insecure:
            raise error.Unauthorized


class Reading(resource.ObservableResource):  # type: ignore[misc]
    """All values at or below one path."""

    def __init__(self, path: str, values: Values, door: Door, acts: Acts, max_age_s: int) -> None:
        super().__init__()
        self.path, self._values, self._door, self._acts = path, values, door, acts
        self._max_age_s = max_age_s
        self._is_pack = path.count("/") < RESOURCE_DEPTH
        self._told: list[tuple[str, Value]] = []

    def mine(self) -> list[tuple[str, Value]]:
        every = self._values().items()
        if self.path == EVERYTHING:
            return list(every)
        return [(path, value) for path, value in every if path == self.path or path.startswith(self.path + "/")]

    def tell(self, *, anyway: bool) -> None:
        """Notify who observes, where something is new."""
        now = self.mine()
        if anyway or now != self._told:
            self._told = now
            self.updated_state()

    async def add_observation(self, request: Any, serverobservation: Any) -> None:
        self._door.read(request)
        if self._door.observers < MOST_OBSERVERS:
            await super().add_observation(request, serverobservation)
        else:  # answered once, as if it had not asked to observe (RFC 7641, section 4.1)
            serverobservation.accept(lambda: None)  # the library ends only what was begun
            serverobservation.deregister()

    def update_observation_count(self, newcount: int) -> None:
        self._door.observers += newcount - getattr(self, "_counted", 0)
        self._counted = newcount

    async def render_get(self, request: Any) -> Any:
        self._door.read(request)
        form, body = represent(self.mine(), request.opt.accept, is_pack=self._is_pack)
        message = aiocoap.Message(payload=body, content_format=form)
        message.opt.max_age = self._max_age_s
        return message

    async def render_put(self, request: Any) -> Any:
        return self._change(request)

    async def render_post(self, request: Any) -> Any:
        return self._change(request)

    def _change(self, request: Any) -> Any:
        self._door.change(request)
        act = self._acts.get((int(request.code), self.path))
        if act is None:
            raise error.MethodNotAllowed
        if request.opt.content_format not in (None, TEXT):
            raise error.UnsupportedContentFormat
        try:
            if len(request.payload) > LONGEST_WRITE:
                raise Declined(aiocoap.REQUEST_ENTITY_TOO_LARGE, "too long")
            act(request.payload.decode())
        except UnicodeDecodeError:
            return aiocoap.Message(code=aiocoap.BAD_REQUEST, payload=b"not UTF-8")
        except Declined as no:
            return aiocoap.Message(code=no.code, payload=str(no).encode())
        return aiocoap.Message(code=aiocoap.CHANGED)


class Core(resource.WKCResource):  # type: ignore[misc]
    """.well-known/core, for those who may read the rest."""

    def __init__(self, listing: Callable[[], Any], door: Door) -> None:
        super().__init__(listing, impl_info=None)
        self._door = door

    async def render_get(self, request: Any) -> Any:
        self._door.read(request)
        return await super().render_get(request)


def represent(values: Sequence[tuple[str, Value]], accept: int | None, *, is_pack: bool) -> tuple[int, bytes]:
    """Content-format and payload; `is_pack`: what is sent to those who say nothing. Raises aiocoap's NotFound,
    NotAcceptable."""
    if not values:
        raise error.NotFound
    form = accept if accept is not None else SENML_CBOR if is_pack or len(values) > 1 else TEXT
    if form == TEXT and len(values) == 1:
        return form, as_text(values[0][1].said).encode()
    if form == SENML_CBOR:
        return form, senml.encode([_record(path, value, cbor=True) for path, value in values])
    if form == SENML_JSON:
        records = [_record(path, value, cbor=False) for path, value in values]
        return form, json.dumps(records, ensure_ascii=False, separators=(",", ":")).encode()
    raise error.NotAcceptable


def as_text(said: Said) -> str:
    """OMA LwM2M 1.2, 7.4.2: plain text."""
    return str(int(said)) if isinstance(said, bool) else f"{said:.10g}" if isinstance(said, float) else str(said)


def _record(path: str, value: Value, *, cbor: bool) -> dict[Any, Any]:
    """Names are absolute paths, as LwM2M has them (1.2, 7.4.5)."""
    kind = "vs" if isinstance(value.said, str) else "vb" if isinstance(value.said, bool) else "v"
    record: dict[str, Any] = {"n": f"/{path}", "u": value.unit, kind: value.said}
    if not value.unit:
        del record["u"]
    labels = {"n": senml.N, "u": senml.U, "v": senml.V, "vs": senml.VS, "vb": senml.VB}
    return {labels[key]: one for key, one in record.items()} if cbor else record


def paths(resources: Iterable[str], acts: Acts) -> list[str]:
    """Every path that can be asked for: resources, what lies above them, and what is only executed."""
    found = {EVERYTHING: None} | {path: None for _, path in acts}
    for path in resources:
        parts = path.split("/")
        found |= {"/".join(parts[:depth]): None for depth in range(1, len(parts) + 1)}
    return list(found)


class Server:
    """Open with `start`, close with `close`."""

    def __init__(self, resources: Iterable[str], values: Values, acts: Acts, door: Door, max_age_s: int) -> None:
        """`resources`: paths of all that `values` may ever have."""
        self._site = resource.Site()
        self._site.add_resource((".well-known", "core"), Core(self._site.get_resources_as_linkheader, door))
        self._readings = [Reading(path, values, door, acts, max_age_s) for path in paths(resources, acts)]
        for one in self._readings:
            self._site.add_resource(one.path.split("/"), one)
        self._context: Any = None

    async def start(self, host: str, port: int, keys: Sequence[Any]) -> None:
        """`keys`: OSCORE contexts of those who may ask. Raises OSError."""
        site: Any = self._site
        if keys:
            known = CredentialsMap()
            known.update({f":{number}": key for number, key in enumerate(keys)})
            site = OscoreSiteWrapper(self._site, known)
        self._context = await aiocoap.Context.create_server_context(site, bind=(host, port), transports=["udp6"])

    def tell(self, *, anyway: bool = False) -> None:
        for one in self._readings:
            one.tell(anyway=anyway)

    async def close(self) -> None:
        if self._context is not None:
            await self._context.shutdown()
