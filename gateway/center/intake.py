"""What a center does with a request, however it came: OSCORE off, `Sink`, an answer after the commit, OSCORE on.

    2.04  stored, or known already        4.00  not a message of ours, with a few words; nothing stored
    4.01  nobody we know                  4.15  not SenML-CBOR        4.29, 5.03  not now, Max-Age says when

Who sends is the name of the OSCORE context's folder, never what the message says. Without OSCORE the answer is 4.01
and nothing more, unless the center runs insecure: then `?g=` names the gateway, but never one that has credentials.
A stranger's answer is never larger than what it sent, and there are only so many a second for one source.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.center.agents import Agents
from gateway.center.blocks import Blocks
from gateway.center.directory import Directory
from gateway.center.enrolment import Enrolment
from gateway.center.limits import Buckets, source
from gateway.center.numbers import Blocks as NumberBlocks
from gateway.center.numbers import SharedContext, refuse_marked, share
from gateway.center.sink import Heard, Sink, StoreError, Taken
from gateway.spool.records import Lane
from gateway.spool.trouble import Trouble
from gateway.wire import bundle, coap, columnar, hello, pack, secure, senml, state
from gateway.wire.coap import BadMessage, Message
from gateway.wire.credentials import FILE, SecurityContext
from gateway.wire.secure import KeyId
from gateway.wire.stream import Stream

log = logging.getLogger("citygate.center")

FORMATS = {
    **dict.fromkeys(("w", "v", "e", "g", "h", hello.PATH), (senml.CONTENT_FORMAT,)),
    bundle.PATH: (bundle.CBOR, bundle.DEFLATED),
    columnar.PATH: (columnar.CONTENT_FORMAT,),
}
RETRY_S = 5
RESCAN_S = 1.0
SETTLED_S = 60.0
SLICE_S = 0.002  # of one bundle decoded before others get their turn
KEY_RATE, KEY_BURST = 500.0, 2000.0  # messages a second of one gateway
STRANGER_RATE, STRANGER_BURST = 20.0, 60.0  # answers a second to one source that shows no key
WAITING = 32 << 20  # bytes that the sink has not yet made safe; more is answered 5.03, alarms from twice that on
ROUND_ABOUT = 200  # bytes that a message costs beside its body
REPLAY = b"Replay detected"  # gateways of ours know these words
UNDERSTOOD = frozenset(
    (coap.URI_HOST, coap.URI_PORT, coap.URI_PATH, coap.URI_QUERY, coap.ACCEPT, coap.BLOCK1, coap.BLOCK2, coap.OSCORE)
)

Heed = Callable[[str, float, tuple[str, ...]], None]  # gateway, seconds to its next message, what it falls silent with


class Keyring:
    """The OSCORE contexts under a folder, one a gateway; for one center at a time. A folder added later is found when
    it is first needed. `shared` (where numbers are counted, the block in use): other centers hold the folder, too."""

    def __init__(self, folder: Path | None, shared: tuple[str, NumberBlocks] | None = None) -> None:
        """Raises Trouble CG-4001, CG-4004, CG-4209."""
        self._folder = folder
        self._blocks = shared[1] if shared else None
        self._shared: dict[str, SharedContext] = {}
        self._by_id: dict[KeyId, SecurityContext] = {}
        self._bad: set[str] = set()
        self._scanned = self._looked = self._checked = 0.0  # time.monotonic
        self._touched_s = 0.0  # the folder's modification time when it was looked through
        self.names: set[str] = set()
        self.gone: Callable[[str], None] = lambda _: None  # told of each gateway that is forgotten
        self._lock = -1
        if folder and folder.is_dir():
            if shared is None:
                refuse_marked(folder)
            self._lock = share(folder, shared[0]) if shared else state.exclusive(folder)
        self._scan()

    @property
    def folder(self) -> Path | None:
        return self._folder

    def find(self, key: KeyId) -> SecurityContext | None:
        if (time.monotonic() - self._scanned > RESCAN_S and key not in self._by_id) or self._is_touched():
            self._scan()
        return self._by_id.get(key)

    def unsettle(self, name: str) -> None:
        """Another center has heard this gateway."""
        if context := self._shared.get(name):
            context.unsettle()

    def is_taken(self, key_id: bytes) -> bool:
        return any(its == key_id for its, _ in self._by_id)

    def forget(self, name: str) -> None:
        """The gateway's context is gone, or another one lies there."""
        self.names.discard(name)
        self._shared.pop(name, None)
        self._bad.discard(name)
        for key in [key for key, context in self._by_id.items() if context.name == name]:
            self._by_id.pop(key).close()
        self._scanned = self._looked = 0.0
        self.gone(name)

    def close(self) -> None:
        for context in self._by_id.values():
            context.close()
        if self._lock >= 0:
            os.close(self._lock)

    def _context(self, folder: Path) -> SecurityContext:
        """Raises Trouble."""
        if self._blocks is None:
            return SecurityContext(folder, own=False)
        shared = self._shared[folder.name] = SharedContext(folder, self._blocks)
        return shared

    def _is_touched(self) -> bool:
        """Looked at once in RESCAN_S."""
        now_s = time.monotonic()
        if now_s - self._checked < RESCAN_S:
            return False
        self._checked = now_s
        try:
            return self._folder is not None and self._folder.stat().st_mtime != self._touched_s
        except OSError:
            return False

    def _scan(self) -> None:
        """Thousands of folders are looked through only when one has just come, and once a minute."""
        now_s = self._scanned = time.monotonic()
        try:
            changed_s = self._folder.stat().st_mtime if self._folder else 0.0
        except OSError:
            return
        if self._looked and time.time() - changed_s > SETTLED_S and now_s - self._looked < SETTLED_S:
            return
        self._looked, self._touched_s = now_s, changed_s
        found = sorted(path.parent for path in self._folder.glob(f"*/{FILE}")) if self._folder else []
        for gone in self.names - {folder.name for folder in found}:
            log.warning("gateway %s is revoked", gone)
            self.forget(gone)
        for folder in found:
            if folder.name in self.names:
                continue
            try:
                context = self._context(folder)
            except Trouble as bad:
                if folder.name not in self._bad:
                    log.error("gateway %s cannot be heard: %s", folder.name, bad)
                self._bad.add(folder.name)
                continue
            self.names.add(folder.name)
            self._by_id[context.recipient_id, context.id_context] = context


class Intake:
    """One for all the ways that lead into a center."""

    def __init__(
        self,
        store: Sink,
        keys: Keyring,
        *,
        insecure: bool,
        heed: Heed = lambda *_: None,
        directory: Directory | None = None,
        agents: Agents | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._insecure = insecure
        self._heed = heed
        self._directory = directory or Directory()
        self._agents = agents or Agents()
        keys.gone = self._agents.forget
        self._blocks = Blocks()
        self._by_key = Buckets(KEY_RATE, KEY_BURST)
        self._strangers = Buckets(STRANGER_RATE, STRANGER_BURST)
        self._enrolment = Enrolment(keys.folder, keys.forget, keys.is_taken)
        self._said: dict[str, str] = {}
        self._waiting = 0  # bytes in the sink's hands

    async def answer(self, request: Message, host: str, stream: Stream | None = None) -> tuple[Message | None, bool]:
        """What to send back, if anything, and whether the sender has shown a key (or may do without one). `stream`: the
        connection that it came over, None for a datagram."""
        if request.first(coap.OSCORE) is None:
            if self._enrolment.wants(request):
                return await self._enrolment.answer(request, host), False
            return await self._plain(request, host)
        try:
            context = self._keys.find(secure.key_id(request))
            if context is None or request.code not in (coap.POST, coap.FETCH):
                return self._stranger(host), False
            inner, identifiers = secure.open_request(context, request)
            if isinstance(context, SharedContext):
                identifiers.get_reusable_kid_and_piv()  # another center may answer the same request
        except secure.Unfresh as stale:
            return stale.answer, True
        except secure.Replayed:
            return self._stranger(host, REPLAY), False
        except secure.Invalid:
            return self._stranger(host, code=coap.BAD_REQUEST), False
        if self._agents.wants(_first(inner)):
            response = await self._agent(context, inner, stream)
        else:
            response = await self._known(context.name, inner, host)
        return secure.protect_response(context, response, identifiers), True

    async def _agent(self, context: SecurityContext, request: Message, stream: Stream | None) -> Message:
        if not self._by_key.take(context.name, time.monotonic()):
            self._note(context.name, "sends more than it may")
            return _answer(coap.TOO_MANY, max_age=1)
        try:
            return await self._agents.answer(context, request, stream)
        except Exception:
            log.exception("gateway %s: a request of its agent", context.name)
            return _answer(coap.INTERNAL_ERROR)

    async def _plain(self, request: Message, host: str) -> tuple[Message | None, bool]:
        try:
            gateway = self._named(request) if self._insecure else ""
        except BadMessage:
            gateway = ""
        if not gateway:
            return self._stranger(host), False
        return await self._known(gateway, request, host), True

    def _stranger(self, host: str, payload: bytes = b"", code: int = coap.UNAUTHORIZED) -> Message | None:
        if not self._strangers.take(source(host), time.monotonic()):
            return None
        return Message(code, ((coap.MAX_AGE, b""),) if payload else (), payload)

    def _named(self, request: Message) -> str:
        named = [query[2:] for query in request.texts(coap.URI_QUERY) if query.startswith("g=")]
        return named[0] if len(named) == 1 and 0 < len(named[0]) <= 64 and named[0] not in self._keys.names else ""

    async def _known(self, gateway: str, request: Message, host: str) -> Message:
        if not self._by_key.take(gateway, time.monotonic()):
            self._note(gateway, "sends more than it may")
            return _answer(coap.TOO_MANY, max_age=1)
        try:
            whole, response = self._blocks.take(gateway, request, time.monotonic())
            if whole is None:
                assert response is not None
                return response
            response = await self._judge(gateway, whole, host)
        except StoreError as bad:
            self._note(gateway, f"cannot store: {bad}")
            response = _answer(coap.UNAVAILABLE, max_age=RETRY_S)
        except ValueError as bad:
            self._note(gateway, f"sends what cannot be read: {bad}")
            response = _answer(coap.BAD_REQUEST, str(bad)[:64].encode())
        except Exception:
            log.exception("gateway %s: a message of %d bytes", gateway, len(request.payload))
            response = _answer(coap.INTERNAL_ERROR)
        if (block := request.first(coap.BLOCK1)) is not None:
            response = replace(response, options=(*response.options, (coap.BLOCK1, block)))
        return response

    async def _judge(self, gateway: str, request: Message, host: str) -> Message:
        """Raises ValueError, StoreError."""
        if any(number % 2 and number not in UNDERSTOOD for number, _ in request.options):
            return _answer(coap.BAD_OPTION)
        path = "/".join(request.texts(coap.URI_PATH))
        content_format = request.uint(coap.CONTENT_FORMAT)
        if self._directory.wants(path):
            return self._directory.answer(gateway, path, request, host, time.monotonic())
        if path not in FORMATS:
            return _answer(coap.NOT_FOUND)
        if request.code != coap.POST:
            return _answer(coap.NOT_ALLOWED)
        if content_format is not None and content_format not in FORMATS[path]:
            return _answer(coap.UNSUPPORTED_FORMAT)
        if path == bundle.PATH:
            return await self._bundle(gateway, content_format or bundle.CBOR, request.payload)
        if path == hello.PATH:
            said = hello.decode(request.payload)
            await self._keep(gateway, (), Heard(said.next_s, said.shares))
            self._heed(gateway, said.next_s, said.shares)
        else:
            message = pack.decode(path, request.payload)
            (result,) = await self._keep(gateway, (Taken(path, message, request.payload),), Heard(message.next_s))
            if isinstance(result, ValueError):
                raise result
            self._heed(gateway, message.next_s, ())
        self._note(gateway, "is heard")
        return _answer(coap.CHANGED)

    async def _bundle(self, gateway: str, content_format: int, body: bytes) -> Message:
        """Packs are decoded a few at a time, so that an alarm of another gateway need not wait for all of them."""
        next_s, packs = bundle.decode(content_format, body)
        refused: dict[int, str] = {}
        good: list[tuple[int, Taken]] = []
        until = time.monotonic() + SLICE_S
        for index, (kind, payload) in enumerate(packs):
            try:
                good.append((index, Taken(kind, pack.decode(kind, payload), payload)))
            except ValueError as bad:
                refused[index] = str(bad)
            if time.monotonic() > until:
                await asyncio.sleep(0)
                until = time.monotonic() + SLICE_S
        stored = await self._keep(gateway, [one for _, one in good], Heard(next_s))
        for (index, _), result in zip(good, stored, strict=True):
            if isinstance(result, ValueError):
                refused[index] = str(result)
        self._heed(gateway, next_s, ())
        self._note(gateway, f"sends what cannot be read: {next(iter(refused.values()))}" if refused else "is heard")
        return _answer(coap.CHANGED, bundle.encode_refusals(refused))

    async def _keep(self, gateway: str, packs: Sequence[Taken], heard: Heard) -> list[bool | ValueError]:
        """Into the sink, unless too much waits for it already; alarms have room of their own. Raises StoreError."""
        size = sum(len(one.body) for one in packs) + ROUND_ABOUT
        urgent = any(one.message.lane is Lane.ALARM for one in packs)
        if self._waiting + size > WAITING * (1 + urgent):
            raise StoreError("more comes than can be stored")
        self._waiting += size
        try:
            return await self._store.put_all(gateway, packs, heard)
        finally:
            self._waiting -= size

    def _note(self, gateway: str, state: str) -> None:
        """Log changes only."""
        if self._said.get(gateway) != state:
            self._said[gateway] = state
            log.log(logging.INFO if state == "is heard" else logging.WARNING, "gateway %s %s", gateway, state)
        if len(self._said) > 100_000:
            self._said.clear()


def _first(request: Message) -> bytes:
    """Of its path."""
    return request.first(coap.URI_PATH) or b""


def _answer(code: int, payload: bytes = b"", *, max_age: int | None = None) -> Message:
    return Message(code, () if max_age is None else ((coap.MAX_AGE, coap.uint(max_age)),), payload)


def parse_bind(bind: str) -> tuple[str, int]:
    """`HOST:PORT`, `[V6]:PORT` or `:PORT`. Raises ValueError."""
    host, _, port = bind.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) < 1 << 16:
        raise ValueError(f"{bind!r} is not HOST:PORT")
    return host.strip("[]") or "::", int(port)
