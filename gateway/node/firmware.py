"""The machine behind LwM2M object 5: what it is told, in; an image that is proven and on trial, or a reason, out.

    PUT 5/0/1 URI ──▶ manifest ──▶ proven ──▶ image, block by block ──▶ digest ──▶ (POST 5/0/2) ──▶ trial at next start

Every step is on disk before the next begins (`state.py`), so that a node whose power was cut goes on where it was. It
believes nobody but the keys in `trust`: where an image came from does not matter. It starts nothing itself: `boot.py`
decides that, in the process above.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.node import pull, state
from gateway.node.boot import file_of, intact
from gateway.node.disk import Disk
from gateway.node.pull import Cut, Fetch, Refusal
from gateway.node.state import Event, Image, Kept, NotNow, Phase, Result
from gateway.wire import suit

SPARE = 1 << 20  # bytes of the disk that an image leaves free
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)  # after tries without a byte in between
MOST_TRIES = 100  # of those: eight hours
LONGEST_URI = 255  # 5/0/1

Pause = Callable[[float], Awaitable[None]]
log = logging.getLogger("citygate.node")


@dataclass(frozen=True, slots=True)
class Demands:
    """What an update must be to be taken."""

    vendor: UUID
    kind: UUID  # class identifier
    trust: Sequence[Ed25519PublicKey]
    limit_bytes: int
    automatic: bool = True  # a trial follows a download without being asked for


class Firmware:
    """`restart` is set when the process above shall start anew: there is something to try."""

    def __init__(self, disk: Disk, demands: Demands, fetch: Fetch, *, pause: Pause = asyncio.sleep) -> None:
        """Raises OSError."""
        self._disk, self._demands, self._fetch, self._pause = disk, demands, fetch, pause
        self.kept = state.load(disk)
        self.on_trial = self.kept.phase is Phase.TRIAL  # what runs here, not what it has made ready for the next start
        self.restart = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None
        self._bell = asyncio.Event()
        self._under_way: asyncio.Task[None] | None = None

    @property
    def phase(self) -> Phase:
        return self.kept.phase

    def told(self, uri: str) -> None:
        """An address of a manifest; "" gives up what is under way (LwM2M 1.2, E.6). Raises NotNow, Refusal, OSError."""
        if not uri:
            self.cancel(Result.NONE)
            return
        if where(uri) is None or len(uri.encode()) > LONGEST_URI:
            raise Refusal(Result.BAD_URI, "CG-6201", "an address is coap://HOST[:PORT]/PATH of at most 255 bytes")
        if self.phase is Phase.DOWNLOADED:  # what lies there has been overtaken
            self._keep(state.failed(self.kept, Result.CANCELLED, Event.CANCELLED))
        self._keep(state.told(self.kept, uri))
        self._bell.set()

    def cancel(self, result: Result = Result.CANCELLED) -> None:
        """Raises NotNow on trial, OSError."""
        self._keep(state.failed(self.kept, result, Event.CANCELLED))
        if self._under_way is not None:
            self._under_way.cancel()

    def update(self, good: int = 0) -> None:
        """Try what lies there. `good`: sensors that read well now. Raises NotNow, OSError."""
        slot = self.kept.candidate
        if self.phase is Phase.DOWNLOADED and not intact(self._disk)(slot, self.kept.slots[slot]):
            self._keep(state.failed(self.kept, Result.BAD_DIGEST))
            log.error("CG-6206 what was downloaded has changed on disk, the update is given up")
            return
        self._keep(state.after(self.kept, Event.UPDATE, boots=0, good=good))
        self.restart.set()

    def confirm(self) -> None:
        """What runs is fit: it stays. Raises NotNow where something else is on trial, OSError."""
        if not self.on_trial:
            raise NotNow("confirmed while another firmware runs")
        self._keep(state.confirmed(self.kept))
        log.info("firmware sequence %d stays", self.kept.sequence)

    async def run(self, good: Callable[[], int] = lambda: 0) -> None:
        """Downloads what it is told of, until cancelled. Raises OSError."""
        while True:
            self._bell.clear()
            try:
                if self.phase is Phase.DOWNLOADING:
                    await self._one(self._download())
                elif self.phase is Phase.DOWNLOADED and self._demands.automatic:
                    self.update(good())
                else:
                    await self._bell.wait()
            except OSError as bad:
                log.error("CG-6209 the state of the firmware cannot be written: %s", bad.strerror or bad)
                await self._pause(PAUSES_S[-1])

    async def _one(self, work: Coroutine[None, None, None]) -> None:
        """`work`, which `cancel` may end."""
        self._under_way = asyncio.ensure_future(work)
        try:
            await asyncio.wait([self._under_way])
            if not self._under_way.cancelled():
                self._under_way.result()
        finally:
            self._under_way.cancel()
            self._under_way = None

    async def _download(self) -> None:
        fruitless = 0
        while True:
            before = self._progress()
            try:
                await self._proceed()
                return
            except Cut as cut:
                fruitless = 0 if self._progress() != before else fruitless + 1
                log.info("the download is held up (%s)", cut)
            except Refusal as no:
                log.error("%s", no)
                self._give_up(no.result)
                return
            except OSError as bad:
                if bad.errno in (errno.ENOSPC, errno.EDQUOT):
                    log.error("CG-6208 the disk is full, the update is given up")
                    self._give_up(Result.NO_ROOM)
                    return
                raise
            if fruitless >= MOST_TRIES:
                log.error("CG-6207 nobody answers at %s, the update is given up", self.kept.uri)
                self._give_up(Result.CONNECTION_LOST)
                return
            await self._pause(PAUSES_S[min(fruitless, len(PAUSES_S) - 1)])

    async def _proceed(self) -> None:
        """Raises Cut, Refusal, OSError."""
        if not self.kept.manifest:
            envelope = await pull.manifest(self._fetch, self.kept.uri)
            self._check(envelope)
            self._keep(state.accepted(self.kept, envelope))
        wanted = self._check(self.kept.manifest)
        source = resolved(self.kept.uri, wanted.uri)
        name = file_of(self.kept.candidate)
        room = self._disk.free() + self._disk.size(name)
        if wanted.size + SPARE > room:
            raise Refusal(Result.NO_ROOM, "CG-6208", f"the image has {wanted.size} bytes, the disk has {room} free")
        await pull.image(self._fetch, source, self._disk, name, wanted.size, wanted.sha256.hex())
        self._keep(state.whole(self.kept, Image(wanted.sha256.hex(), wanted.size, wanted.sequence, wanted.version)))
        log.info("firmware sequence %d has arrived in slot %s", wanted.sequence, self.kept.candidate)

    def _give_up(self, result: Result) -> None:
        """What has arrived of an image gives its room back first."""
        if self.kept.candidate:
            self._disk.shorten(file_of(self.kept.candidate), 0)
        self._keep(state.failed(self.kept, result))

    def _check(self, envelope: bytes) -> suit.Manifest:
        """Raises Refusal."""
        try:
            found = suit.proven(envelope, self._demands.trust)
        except suit.BadManifest as bad:
            raise Refusal(Result.BAD_PACKAGE, "CG-6202", f"the manifest is refused: {bad}") from bad
        if (found.vendor, found.kind) != (self._demands.vendor, self._demands.kind):
            raise Refusal(
                Result.BAD_PACKAGE, "CG-6203", f"the image is for {found.vendor}/{found.kind}, another kind of node"
            )
        if found.sequence <= self.kept.sequence:
            raise Refusal(
                Result.BAD_PACKAGE, "CG-6204", f"sequence number {found.sequence}, here runs {self.kept.sequence}"
            )
        if found.size > self._demands.limit_bytes:
            raise Refusal(
                Result.NO_ROOM, "CG-6208", f"the image has {found.size} bytes, at most {self._demands.limit_bytes} fit"
            )
        return found

    def _progress(self) -> tuple[bool, int]:
        size = 0
        with suppress(OSError):
            size = self._disk.size(file_of(self.kept.candidate)) if self.kept.candidate else 0
        return bool(self.kept.manifest), size

    def _keep(self, kept: Kept) -> None:
        state.save(self._disk, kept)
        self.kept = kept
        self.changed()


def where(uri: str) -> tuple[str, int] | None:
    """Host and port of an address to fetch from."""
    try:
        found = urlsplit(uri)
        if found.scheme != "coap" or not found.hostname or found.username is not None or found.fragment:
            return None
        return found.hostname, found.port or 5683
    except ValueError:
        return None


def resolved(base: str, reference: str) -> str:
    """Where a manifest from `base` says its image is (RFC 3986, section 5). Raises Refusal."""
    try:
        is_absolute = bool(urlsplit(reference).scheme)
        # urljoin knows no coap, and resolves any hierarchical scheme as it does http
        found = reference if is_absolute else "coap" + urljoin("http" + base.removeprefix("coap"), reference)[4:]
    except ValueError:
        found = ""
    if where(found) is None:
        raise Refusal(Result.BAD_URI, "CG-6201", f"the manifest says that its image is at {reference!r}")
    return found
