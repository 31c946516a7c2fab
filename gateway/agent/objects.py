"""LwM2M's objects 1, 3, 4 and 5 of this gateway (OMA LwM2M 1.1, appendix E), as SenML-CBOR: one instance each.

Resource numbers stand beside their names below. What LwM2M asks for and a gateway has not (a battery, APNs) is left
out, as the standard lets it be. 3/0/4 reboots, where the machine lets it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway import VERSION
from gateway.agent import machine
from gateway.agent.control import Control, NotThere
from gateway.agent.resource import SENML_CBOR, About, Refused, Reply, Request, Role
from gateway.site.site import Site
from gateway.wire import coap, senml

Values = Mapping[str, Any]
NO_ERROR, OUT_OF_MEMORY, NO_FIELD_HALF = 0, 8, 32  # 3/0/11; from 32 on a maker's own
ETHERNET = 41  # 4/0/0, network bearer; unknown bearers count as wired
LOW_SHARE = 0.02  # of the disk left


class Object:
    """One instance: `values` gives resource numbers (as text, "11" or "11/0") and what they are."""

    content_format = SENML_CBOR

    def __init__(self, about: About, values: Callable[[], Awaitable[Values]]) -> None:
        self.about, self._values = about, values

    async def answer(self, request: Request) -> Reply:
        if request.method not in (coap.GET, coap.FETCH):
            raise not_here(
                coap.NOT_ALLOWED, f"{self.about.path} is only read", f"{self.about.path} 은(는) 읽기 전용입니다"
            )
        values = await self._values()
        wanted = "/".join(request.path)
        found = {key: value for key, value in values.items() if _is_below(key, wanted)}
        if not found:
            where = f"{self.about.path}/{wanted}"[:80]
            raise not_here(coap.NOT_FOUND, f"there is no {where} here", f"{where} 자원이 없습니다")
        return Reply(coap.CONTENT, written(self.about.path, found), SENML_CBOR)


class Server(Object):
    """1/0: the center's side, as far as it makes sense with one that the gateway pushes to."""

    def __init__(self, site: Site) -> None:
        promises = [int(one.promise_s) for one in site.upstreams if one.agent]

        async def values() -> Values:
            return {"0": 1, "1": min(promises, default=0), "6": True, "7": "T"}  # id, lifetime, storing, TCP

        super().__init__(About("1/0", "LwM2M server", kind="oma.lwm2m"), values)


class Device(Object):
    """3/0, and the reboot below it. `reboot` raises Refused or OSError."""

    def __init__(self, site: Site, control: Control, reboot: Callable[[str], Awaitable[None]]) -> None:
        self._site, self._control, self._reboot = site, control, reboot
        super().__init__(About("3/0", "LwM2M device", change=Role.OPERATE, kind="oma.lwm2m"), self._said)

    async def answer(self, request: Request) -> Reply:
        if request.method not in (coap.POST, coap.PUT):
            return await super().answer(request)
        if request.method != coap.POST or request.path != ("4",):
            raise not_here(coap.NOT_ALLOWED, "only 3/0/4 can be executed", "3/0/4 만 실행할 수 있습니다")
        await self._reboot(request.upstream)
        return Reply(coap.CHANGED, content_format=None)

    async def _said(self) -> Values:
        maker, model = await asyncio.to_thread(machine.model)
        disk = await asyncio.to_thread(machine.disk, self._site.state_dir)
        memory = machine.memory() or {}
        said: dict[str, Any] = {
            "0": maker or "unknown",
            "1": model or "unknown",
            "2": self._site.gateway.id,  # serial number
            "3": VERSION,
            "11/0": await self._error(disk),
            "13": int(time.time()),
            "14": time.strftime("%z", time.localtime())[:3] + ":" + time.strftime("%z", time.localtime())[3:],
            "15": self._site.gateway.timezone,
            "16": "T",  # binding: TCP
            "17": "citygate gateway",
            "18": machine.software()["machine"],  # hardware version
            "19": f"citygate {VERSION}, Linux {machine.software()['kernel']}",
        }
        if "available_mb" in memory:
            said["10"] = int(memory["available_mb"] * 1e6 / 1024)
        if disk is not None:
            said["21"] = int(disk["total_mb"] * 1e6 / 1024)
        return said

    async def _error(self, disk: Mapping[str, float] | None) -> int:
        """The worst that stands."""
        if disk is not None and disk["free"] < LOW_SHARE:
            return OUT_OF_MEMORY
        try:
            await self._control.request({"get": "health"})
        except NotThere:
            return NO_FIELD_HALF
        return NO_ERROR


class Connectivity(Object):
    """4/0."""

    def __init__(self) -> None:
        async def values() -> Values:
            found = await asyncio.to_thread(machine.addresses)
            addresses = {f"4/{i}": address for i, address in enumerate(found[:16])}
            return {"0": ETHERNET, "1/0": ETHERNET, **addresses}

        super().__init__(About("4/0", "LwM2M connectivity", kind="oma.lwm2m"), values)


class Firmware(Object):
    """5/0: the release's state as LwM2M names it; releases themselves are asked for at `releases`. `told`: the numbers
    of 5/0/3 and 5/0/5."""

    def __init__(self, told: Callable[[], tuple[int, int]]) -> None:
        async def values() -> Values:
            state, result = told()
            return {"3": state, "5": result, "6": "citygate", "7": VERSION, "9": 0}  # package name, version, pull

        super().__init__(About("5/0", "LwM2M firmware update", kind="oma.lwm2m"), values)


def written(path: str, values: Values) -> bytes:
    """A SenML pack with base name /3/0/."""
    records: list[dict[Any, Any]] = []
    for name, value in values.items():
        record: dict[Any, Any] = {senml.N: name}
        record[senml.VB if isinstance(value, bool) else senml.VS if isinstance(value, str) else senml.V] = value
        records.append(record)
    records[0] = {senml.BN: f"/{path}/", **records[0]}
    return senml.encode(records)


def not_here(status: int, en: str, ko: str) -> Refused:
    return Refused(status, "CG-6101", en, ko)


def _is_below(name: str, wanted: str) -> bool:
    return not wanted or name == wanted or name.startswith(f"{wanted}/")
