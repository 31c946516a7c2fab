"""Firmware of nodes as a gateway keeps it: a manifest and its image from the center, bounded, by digest, untrusted.

    FOLDER/files/SHA256        whole files, named by what they hold
    FOLDER/files/SHA256.part   an image on its way

What a file holds is compared with its name when it comes, so that a node is not sent through a whole transfer for
nothing; whether the node may take it, the node decides by the signature.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from gateway.agent.download import Download, Source
from gateway.wire import suit

LIMIT_BYTES = 64_000_000
LARGEST_IMAGE = 60_000_000
_RELATIVE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]*(/[A-Za-z0-9_-][A-Za-z0-9._~-]*)*")


class Unfit(Exception):
    """A file of the center that is no firmware this gateway can hand on; the words say why."""


class NodesCache:
    """Raises OSError wherever the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self._files = folder / "files"
        self._files.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self._files / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def held(self) -> dict[str, int]:
        """Whole files and their bytes."""
        return {one.name: one.stat().st_size for one in self._files.iterdir() if len(one.name) == 64}

    async def fetch_manifest(self, source: Source, name: str) -> str:
        """The digest under which it lies here. Raises Unfit, download's Cut and Missing."""
        data = b""
        while True:
            piece = await source.fetch(name, len(data))
            data += piece.data
            if piece.total > suit.LARGEST:
                raise Unfit(f"a manifest has at most {suit.LARGEST} bytes, this file has {piece.total}")
            if len(data) >= piece.total or not piece.data:
                break
        self.manifest_of(data)
        sha256 = hashlib.sha256(data).hexdigest()
        fresh = self.path(f"{sha256}.part")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path(sha256))
        return sha256

    async def fetch_image(self, source: Source, name: str, manifest: suit.Manifest) -> None:
        """Beside `name` at the center. Takes up where it was left. Raises as `Download.run` does."""
        sha256 = manifest.sha256.hex()
        if self.has(sha256):
            return
        part = self.path(f"{sha256}.part")
        beside = f"{name.rpartition('/')[0]}/{manifest.uri}".lstrip("/")
        await Download(part, manifest.size, sha256).run(source, beside)
        os.replace(part, self.path(sha256))
        part.with_name(part.name + ".marks").unlink(missing_ok=True)

    def manifest(self, sha256: str) -> suit.Manifest:
        """Raises Unfit."""
        return self.manifest_of(self.path(sha256).read_bytes())

    def manifest_of(self, data: bytes) -> suit.Manifest:
        """What it says, unproven. Raises Unfit."""
        try:
            found = suit.read(data)
        except suit.BadManifest as bad:
            raise Unfit(str(bad)) from bad
        if not _RELATIVE.fullmatch(found.uri):
            raise Unfit(f"its image is at {found.uri!r}; through a gateway only names beside the manifest can be had")
        if found.size > LARGEST_IMAGE:
            raise Unfit(f"its image has {found.size} bytes, at most {LARGEST_IMAGE} are kept here")
        return found

    def make_room(self, needed: int, keep: set[str]) -> None:
        """The oldest that nobody in `keep` needs go first. Raises Unfit where that is not enough."""
        held = sorted((one for one in self._files.iterdir() if one.is_file()), key=lambda one: one.stat().st_mtime)
        total = sum(one.stat().st_size for one in held)
        for one in held:
            if total + needed <= LIMIT_BYTES:
                return
            if one.name.partition(".")[0] not in keep:
                total -= one.stat().st_size
                with suppress(FileNotFoundError):
                    one.unlink()
        if total + needed > LIMIT_BYTES:
            raise Unfit(f"the cache for nodes holds {LIMIT_BYTES} bytes, and other updates are under way")

    def read(self, sha256: str, offset: int, length: int) -> tuple[bytes, int, bytes] | None:
        """Bytes of a whole file, its size, its tag."""
        try:
            with self.path(sha256).open("rb") as file:
                total = os.fstat(file.fileno()).st_size
                return os.pread(file.fileno(), length, offset), total, bytes.fromhex(sha256[:16])
        except FileNotFoundError:
            return None
