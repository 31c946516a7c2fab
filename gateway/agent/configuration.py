"""`configuration`: GET which one is in use and how the last one fared; POST a signed bundle; DELETE goes back by one.

The bundle is put into the state folder for the field half, which proves, tries, keeps or reverts it (see
gateway/field/configuration.py): this half could be anybody's who broke into it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from gateway.agent import bundle
from gateway.agent.commands import carried_out, who
from gateway.agent.control import Control
from gateway.agent.health import field_half, nothing_below
from gateway.agent.resource import About, Refused, Reply, Request, Role
from gateway.site import generations
from gateway.site.site import Site
from gateway.spool.trouble import Trouble
from gateway.wire import coap

WITHIN_S = 90.0  # compiling a large site, and asking its changed devices
LOOK_S = 1.0
INCOMING = "incoming"


class Configuration:
    about = About(
        "configuration",
        "POST a signed bundle; DELETE goes back by one",
        change=Role.RELEASE,
        kind="citygate.configuration",
        observable=True,
    )

    def __init__(self, site: Site, control: Control) -> None:
        self._state, self._control = Path(site.state_dir), control
        self._gateway = site.gateway.id
        self._trust = site.agent.trust

    async def answer(self, request: Request) -> Reply:
        nothing_below(request)
        if request.method in (coap.GET, coap.FETCH):
            return Reply.of(await self._asked({"configuration": True}))
        if request.method == coap.DELETE:
            return Reply.of(await self._asked({"revert": True, "by": who(request, "")}), coap.CHANGED)
        if request.method != coap.POST:
            raise Refused(coap.NOT_ALLOWED, "CG-6101", "a bundle is POSTed", "번들은 POST 로 보냅니다")
        await asyncio.to_thread(self._look, request.payload)
        try:
            name = await asyncio.to_thread(put, self._state, request.payload)
        except OSError as no:
            raise Refused(
                coap.INTERNAL_ERROR, "CG-6152", f"the disk does not take it: {no}", f"디스크에 쓸 수 없습니다: {no}"
            ) from no
        try:
            return Reply.of(await self._asked({"configure": name, "by": who(request, "")}), coap.CHANGED)
        finally:
            (self._state / generations.FOLDER / INCOMING / name).unlink(missing_ok=True)

    async def changes(self, request: Request) -> AsyncIterator[Reply]:
        before: Any = None
        while True:
            now = generations.read(self._state)
            if now != before:
                before = now
                yield await self.answer(request)
            await asyncio.sleep(LOOK_S)

    def _look(self, body: bytes) -> None:
        """A clear answer at once for what the field half would refuse anyhow. Raises Refused."""
        try:
            if not self._trust:
                raise Trouble(
                    "CG-6143",
                    "this gateway trusts nobody's configuration: [agent] trust names no key",
                    "신뢰하는 키가 없습니다: [agent] trust 가 비어 있습니다",
                )
            bundle.proven(body, [bundle.public_key(path) for path in self._trust])
        except Trouble as bad:
            status = coap.FORBIDDEN if bad.code in ("CG-6140", "CG-6143") else coap.BAD_REQUEST
            raise Refused(status, bad.code, bad.en, bad.ko) from bad

    async def _asked(self, words: Mapping[str, Any]) -> dict[str, Any]:
        with field_half():
            answer = await self._control.request(words, WITHIN_S)
        return carried_out(answer)


def put(state: Path, body: bytes) -> str:
    """A bundle where the field half finds it; its name there. Raises OSError.

    The folder is the group's, whoever is the first to need it: root at the terminal, or the sending half."""
    folder = state / generations.FOLDER / INCOMING
    for made in (folder.parent, folder):
        if not made.is_dir():
            made.mkdir()
            made.chmod(0o2770)
            if os.geteuid() == 0:
                os.chown(made, state.stat().st_uid, state.stat().st_gid)
    name = f"{secrets.token_hex(8)}.bundle"
    with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660), "wb") as file:
        file.write(body)
    return name
