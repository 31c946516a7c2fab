"""The machine starts anew: a request to the root one-shot citygate-reboot (systemd), put where only the sending half
writes. Audited first; refused where nobody follows such requests. Reboots nothing itself."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from gateway.agent.resource import Refused
from gateway.spool import audit
from gateway.wire import coap

log = logging.getLogger("citygate.agent")

REQUEST = Path("/var/lib/citygate/releases/reboot")
FOLLOWER = Path("/usr/lib/systemd/system/citygate-reboot.path")  # there where the package has put it


class Reboot:
    """Call it with the upstream that asks. Raises Refused."""

    def __init__(self, state_dir: str, request: Path = REQUEST, follower: Path = FOLLOWER) -> None:
        self._state_dir, self._request, self._follower = state_dir, request, follower

    async def __call__(self, upstream: str) -> None:
        if not self._follower.exists() or not os.access(self._request.parent, os.W_OK):
            raise Refused(
                coap.UNAVAILABLE,
                "CG-6116",
                "this machine cannot be rebooted from afar: citygate is not installed as a package here",
                "패키지로 설치되지 않아 원격으로 재부팅할 수 없습니다",
            )
        await asyncio.to_thread(self._ask, upstream)
        log.warning("%s asks for a reboot", upstream)

    def _ask(self, upstream: str) -> None:
        """What is not on record is not done. Raises Refused."""
        try:
            audit.append(self._state_dir, "reboot", f"center:{upstream}", {})
            fresh = self._request.with_name(".reboot.new")
            fresh.write_text(f"{upstream}\n")
            os.replace(fresh, self._request)
        except OSError as bad:
            raise Refused(
                coap.UNAVAILABLE,
                "CG-6117",
                f"the request cannot be written ({bad.strerror or bad}); nothing was done",
                f"요청을 기록할 수 없습니다 ({bad.strerror or bad}). 아무것도 수행하지 않았습니다",
            ) from bad
