"""The center's CoAP side: requests in, `Store.put`, an answer after the commit. Keeps no state of its own.

    2.04  stored, or known already        4.00  not a message of ours, with a few words; nothing stored
    4.01  nobody we know                  4.15  not SenML-CBOR        5.03  cannot store now, Max-Age says when

Who sends is the name of the OSCORE context's folder, never what the message says. Without OSCORE the answer is 4.01
and nothing more, unless the center runs insecure: then `?g=` names the gateway, but never one that has credentials.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import aiocoap
import aiocoap.message
import aiocoap.resource
from aiocoap import oscore
from aiocoap.credentials import CredentialsMap
from aiocoap.numbers.codes import BAD_REQUEST, CHANGED, INTERNAL_SERVER_ERROR, SERVICE_UNAVAILABLE, UNAUTHORIZED
from aiocoap.numbers.codes import UNSUPPORTED_CONTENT_FORMAT as UNSUPPORTED
from aiocoap.numbers.constants import TransportTuning
from aiocoap.oscore_sitewrapper import OscoreSiteWrapper
from aiocoap.transports.oscore import OSCOREAddress

from gateway.center.store import Store, StoreError
from gateway.spool.trouble import Trouble
from gateway.wire import pack, senml, state
from gateway.wire.credentials import FILE, SecurityContext

log = logging.getLogger("citygate.center")

KINDS = "wvegh"
RETRY_S = 5
RESCAN_S = 1.0


class Keyring(CredentialsMap):  # type: ignore[misc]
    """The OSCORE contexts under a folder, one a gateway; for one center at a time. A folder added later is found when
    it is first needed."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self._folder = folder
        self._by_id: dict[tuple[bytes, bytes | None], SecurityContext] = {}
        self._bad: set[str] = set()
        self._scanned = 0.0
        self.names: set[str] = set()
        self._lock = state.exclusive(folder) if folder and folder.is_dir() else -1
        self._scan()

    def find_oscore(self, unprotected: Any) -> SecurityContext:
        """Raises KeyError."""
        key = (unprotected.get(oscore.COSE_KID), unprotected.get(oscore.COSE_KID_CONTEXT))
        if key not in self._by_id and time.monotonic() - self._scanned > RESCAN_S:
            self._scan()
        return self._by_id[key]

    def close(self) -> None:
        for context in self._by_id.values():
            context.close()
        if self._lock >= 0:
            os.close(self._lock)

    def _scan(self) -> None:
        self._scanned = time.monotonic()
        for folder in sorted(path.parent for path in self._folder.glob(f"*/{FILE}")) if self._folder else ():
            if folder.name in self.names:
                continue
            try:
                context = SecurityContext(folder, own=False)
            except Trouble as bad:
                if folder.name not in self._bad:
                    log.error("gateway %s cannot be heard: %s", folder.name, bad)
                self._bad.add(folder.name)
                continue
            self.names.add(folder.name)
            self._by_id[context.recipient_id, context.id_context] = context


class Gate(OscoreSiteWrapper):  # type: ignore[misc]
    """Answers strangers with an empty 4.01 before anything else looks at what they sent."""

    def __init__(self, site: Any, keys: Keyring, insecure: bool) -> None:
        super().__init__(site, keys)
        self._insecure = insecure

    async def render_to_pipe(self, pipe: Any) -> None:
        request = pipe.request
        plain = request.opt.oscore is None
        if plain and (not self._insecure or request.opt.uri_path == (".well-known", "edhoc")):
            pipe.add_response(aiocoap.Message(code=UNAUTHORIZED), is_last=True)
            return
        if not plain and not self._known(request):
            pipe.add_response(aiocoap.Message(code=UNAUTHORIZED), is_last=True)
            return
        await super().render_to_pipe(pipe)

    def _known(self, request: Any) -> bool:
        try:
            self.server_credentials.find_oscore(oscore.verify_start(request))
        except (KeyError, ValueError, IndexError):
            return False
        return True


class Intake(aiocoap.resource.Resource):  # type: ignore[misc]
    """POST of one kind of message."""

    def __init__(self, kind: str, store: Store, keys: Keyring, heard: dict[str, str]) -> None:
        super().__init__()
        self._kind = kind
        self._store = store
        self._keys = keys
        self._heard = heard

    async def render_post(self, request: Any) -> Any:
        gateway = self._gateway(request)
        if not gateway:
            return aiocoap.Message(code=UNAUTHORIZED)
        if request.opt.content_format not in (None, senml.CONTENT_FORMAT):
            return aiocoap.Message(code=UNSUPPORTED)
        try:
            message = pack.decode(self._kind, request.payload)
            await self._store.put(gateway, message, len(request.payload))
        except StoreError as bad:
            self._note(gateway, f"cannot store: {bad}")
            return aiocoap.Message(code=SERVICE_UNAVAILABLE, max_age=RETRY_S)
        except ValueError as bad:
            self._note(gateway, f"sends what cannot be read: {bad}")
            return aiocoap.Message(code=BAD_REQUEST, payload=str(bad)[:64].encode())
        except Exception:
            log.exception("gateway %s: a %s message of %d bytes", gateway, self._kind, len(request.payload))
            return aiocoap.Message(code=INTERNAL_SERVER_ERROR)
        self._note(gateway, "is heard")
        return aiocoap.Message(code=CHANGED)

    def _gateway(self, request: Any) -> str:
        if isinstance(request.remote, OSCOREAddress):
            return str(request.remote.security_context.name)
        named = [q[2:] for q in request.opt.uri_query if q.startswith("g=")]
        return named[0] if len(named) == 1 and 0 < len(named[0]) <= 64 and named[0] not in self._keys.names else ""

    def _note(self, gateway: str, state: str) -> None:
        """Log changes only."""
        if self._heard.get(gateway) != state:
            self._heard[gateway] = state
            log.log(logging.INFO if state == "is heard" else logging.WARNING, "gateway %s %s", gateway, state)
        if len(self._heard) > 100_000:
            self._heard.clear()


def site(store: Store, keys: Keyring, *, insecure: bool) -> Gate:
    inner = aiocoap.resource.Site()
    heard: dict[str, str] = {}
    for kind in KINDS:
        inner.add_resource([kind], Intake(kind, store, keys, heard))
    return Gate(inner, keys, insecure)


class _Forgetful(TransportTuning):  # type: ignore[misc]
    EXCHANGE_LIFETIME = 30.0


def forget_sooner() -> None:
    """Keep answered requests 30 s, not 247 s (2.3 kB each): retransmissions end after a few seconds, and a message
    that comes again later is told by its number. For the whole process."""
    aiocoap.message.TransportTuning = _Forgetful


def parse_bind(bind: str) -> tuple[str, int]:
    """`HOST:PORT`, `[V6]:PORT` or `:PORT`. Raises ValueError."""
    host, _, port = bind.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) < 1 << 16:
        raise ValueError(f"{bind!r} is not HOST:PORT")
    return host.strip("[]") or "::", int(port)
