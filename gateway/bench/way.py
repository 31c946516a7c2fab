"""How a tool reaches one device: through the running field half that holds its line, or by opening the line itself.

In: a device's name and its site, or a profile with a link and a unit. Out: a `Way` to look at the device and to ask it.
Heavy parts (profiles, drivers) are imported only where the line is opened here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gateway.bench.findings import Finding, finding, not_asked

if TYPE_CHECKING:
    from gateway.field.asking import Said

SITE = "/etc/citygate/site.toml"
SERVICE_WAITS_S = 20.0
LISTEN_S = 15.0  # how long a device that speaks by itself is waited for


class Unreachable(Exception):
    """Why nothing can be asked."""

    def __init__(self, why: Finding) -> None:
        super().__init__(f"{why.code} {why.en}")
        self.finding = why


class Way(Protocol):
    """`look` gives what `gateway.field.reading.facts_of` makes; `ask` makes one Modbus read. Both raise Unreachable."""

    async def look(self) -> dict[str, Any]: ...
    async def ask(self, pdu: bytes) -> Said: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person named: a device of a site, or a profile with its link and unit."""

    device: str = ""
    site: str = ""
    profile: str = ""
    url: str = ""
    unit: int = 1
    address: str = ""
    baud: int = 0
    parity: str = ""
    folders: tuple[str, ...] = ()


def site_file(given: str) -> str:
    """The site a tool works at: named, by CITYGATE_SITE, ./site.toml, else the installed one."""
    return given or os.environ.get("CITYGATE_SITE", "") or ("site.toml" if os.path.isfile("site.toml") else SITE)


def socket_of(site: str) -> Path | None:
    """The control socket of the site's field half, by the file alone; None where it cannot be read."""
    import tomllib

    try:
        with open(site, "rb") as file:
            gateway = tomllib.load(file).get("gateway", {})
    except (OSError, ValueError):
        return None
    state = gateway.get("state_dir", "state") if isinstance(gateway, dict) else "state"
    return Path(site).absolute().parent / str(state) / "field.sock"


@asynccontextmanager
async def way_to(wanted: Wanted) -> AsyncIterator[Way]:
    """The running field half where one answers for the site, else the line itself. Raises Unreachable."""
    if wanted.device:
        site = site_file(wanted.site)
        socket = socket_of(site)
        if socket is not None and socket.exists():
            way = ServiceWay(socket, wanted.device)
            if await way.answers():
                yield way
                return
        async with _own_of_site(wanted.device, site) as own:
            yield own
        return
    async with _own_of_profile(wanted) as own:
        yield own


class ServiceWay:
    """Through the control socket."""

    def __init__(self, socket: Path, device: str) -> None:
        self._socket, self._device = socket, device
        self._facts: dict[str, Any] = {}

    async def answers(self) -> bool:
        """Whether a field half listens. Raises Unreachable where this user may not ask it."""
        try:
            await self._request({"lines": True}, 5.0)
        except PermissionError as no:
            hint = (
                "run this as the user of citygate field, or as a member of its group / "
                "citygate field 와 같은 사용자 또는 그 그룹의 사용자로 실행하십시오"
            )
            raise Unreachable(not_asked(str(self._socket), str(no.strerror), hint)) from no
        except (OSError, ValueError):
            return False
        return True

    async def _request(self, words: dict[str, Any], within_s: float = SERVICE_WAITS_S) -> Any:
        from gateway.field.control import request

        return await asyncio.to_thread(request, self._socket, words, within_s)

    async def _asked(self, words: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await self._request(words)
        except (OSError, ValueError) as gone:
            hint = "look at it: citygate status / citygate status 로 확인하십시오"
            raise Unreachable(not_asked(str(self._socket), str(gone), hint)) from gone
        if "error" in answer:
            raise Unreachable(_refusal(answer, self._device))
        return answer

    async def look(self) -> dict[str, Any]:
        self._facts = await self._asked({"read": self._device})
        return self._facts | {"through": "field half"}

    async def ask(self, pdu: bytes) -> Said:
        from gateway.field.asking import Said
        from protocols.api import Quality

        facts = self._facts or await self.look()
        answer = await self._asked({"exchange": facts["link"], "unit": facts["unit"], "pdu": pdu.hex()})
        return Said(Quality(answer["quality"]), bytes.fromhex(answer["pdu"]))


def _refusal(answer: dict[str, Any], device: str) -> Finding:
    if answer.get("code") == "CG-5110":
        return finding("CG-5110", name=device, known=", ".join(answer.get("known", ())))
    if str(answer.get("code", "")).startswith("CG-3"):
        return not_asked(device, answer["error"], answer.get("hint", ""))
    hint = (
        "restart citygate field: it may be of an older release / "
        "citygate field 를 다시 시작하십시오. 이전 릴리스일 수 있습니다"
    )
    return not_asked(device, answer["error"], hint)


@asynccontextmanager
async def _own_of_site(device: str, site: str) -> AsyncIterator[Way]:
    from gateway.site.compile import load_plan
    from gateway.site.faults import Faults

    try:
        plan = load_plan(site)
    except Faults as faults:
        first = faults.text().splitlines()[0]
        raise Unreachable(finding("CG-5111", what=site, why=first, verb="check")) from faults
    one = next((d for d in plan.devices if d.name == device), None)
    if one is None:
        known = ", ".join(d.name for d in plan.devices)
        raise Unreachable(finding("CG-5110", name=device, known=known))
    link = next(link for link in plan.links if link.link.name == one.link)
    meanings = {plan.channels[i].point: plan.channels[i] for i in one.channels}
    points = [p for p in link.points if p.device.name == device]
    ops = [op for op in link.ops if op.device.name == device]
    label = {"device": device, "profile": one.profile, "link": link.link.name, "unit": one.protocol.unit}
    async with _own(link.driver, link.link, ops, points, meanings, link.timeout_s, label) as way:
        yield way


@asynccontextmanager
async def _own_of_profile(wanted: Wanted) -> AsyncIterator[Way]:
    from gateway.bench.lending import link_for, profile_called
    from gateway.site.profile import driver_points
    from protocols.api import PlanError

    profile = profile_called(wanted.profile, wanted.folders)
    link = link_for(profile, wanted.url, wanted.baud, wanted.parity)
    device = profile.as_device("device", wanted.unit, wanted.address.upper())
    points = driver_points(dict(enumerate(profile.points)), device)
    try:
        ops = profile.driver.plan(points)
    except PlanError as bad:
        raise Unreachable(finding("CG-5111", what=profile.name, why=bad, verb="check")) from bad
    meanings = {point.name: point for point in profile.points}
    label = {"device": "", "profile": profile.name, "link": "", "unit": wanted.unit}
    async with _own(profile.driver.name, link, ops, points, meanings, 1.0, label) as way:
        yield way


@asynccontextmanager
async def _own(
    driver: str, link: Any, ops: Any, points: Any, meanings: Any, timeout_s: float, label: dict[str, Any]
) -> AsyncIterator[Way]:
    from protocols import registry
    from protocols.api import LinkDown

    try:
        async with AsyncExitStack() as stack:
            if link.url.startswith("serial:"):
                from gateway.bench.line import as_told

                opened = stack.enter_context(as_told(link))
            else:
                opened = link
            reader = await stack.enter_async_context(registry.driver(driver).connect(opened, ops))
            listens = bool(points) and registry.driver(driver).listens(points[0].device)
            label = label | {"url": link.url}
            yield OwnWay(reader, ops, points, meanings, timeout_s, label, driver, LISTEN_S if listens else 0.0)
    except LinkDown as down:
        raise Unreachable(not_asked(link.url, f"{down} [{down.code}]", down.hint)) from down


class OwnWay:
    """The line opened here."""

    def __init__(
        self,
        reader: Any,
        ops: Any,
        points: Any,
        meanings: Any,
        timeout_s: float,
        label: dict[str, Any],
        driver: str,
        listen_s: float,
    ) -> None:
        self._reader, self._ops, self._points, self._meanings = reader, ops, points, meanings
        self._timeout_s, self._label, self._driver, self._listen_s = timeout_s, label, driver, listen_s

    async def look(self) -> dict[str, Any]:
        from gateway.field.reading import facts_of, read_device

        sight = await read_device(self._reader, self._ops, self._points, self._timeout_s, self._listen_s)
        return self._label | facts_of(sight, self._points, self._meanings, self._driver) | {"through": ""}

    async def ask(self, pdu: bytes) -> Said:
        from gateway.field.asking import ask_reader

        try:
            return await ask_reader(self._reader, self._label["unit"], pdu, self._timeout_s)
        except ValueError as bad:
            raise Unreachable(finding("CG-5111", what=pdu.hex(" "), why=bad, verb="read")) from bad
