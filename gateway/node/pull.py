"""Manifest and image, block by block (Block2, RFC 7959), from wherever an address says. Proves length and digest alone.

Each block of an image is on disk before the next is asked for, and the file's length says how far it came: after a
power cut the transfer goes on there. What a cut made of the last block nobody can know, so the digest of the whole
decides; an image that was resumed and fails it is fetched once more from its beginning.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from gateway.node.disk import Disk
from gateway.node.state import Result

EXPONENT = 6  # SZX: blocks of 1,024 bytes
BLOCK = 1 << (EXPONENT + 4)
LARGEST_MANIFEST = 8192


class Cut(Exception):
    """Nobody answered in time, or the answer was no use; what has arrived is kept, and the next try may do better."""


class Refusal(Exception):
    """This update ends here: `result` for LwM2M, `code` and words for people."""

    def __init__(self, result: Result, code: str, why: str) -> None:
        super().__init__(f"{code} {why}")
        self.result, self.code, self.why = result, code, why


class Piece(NamedTuple):
    """`offset` of the first byte, as the answer says; `more`: something follows."""

    offset: int
    data: bytes
    more: bool


class Fetch(Protocol):
    """One block of what lies at an address."""

    async def __call__(self, uri: str, offset: int) -> Piece:
        """The block that begins at `offset`, a multiple of BLOCK or of the size of the blocks that came before.
        Raises Cut, Refusal (no such file, an address that is none)."""
        ...


async def manifest(fetch: Fetch, uri: str) -> bytes:
    """All of a small file. Raises Cut, Refusal."""
    held = b""
    while True:
        piece = await _next(fetch, uri, len(held))
        held += piece.data
        if len(held) > LARGEST_MANIFEST:
            raise Refusal(Result.BAD_PACKAGE, "CG-6205", f"a manifest has at most {LARGEST_MANIFEST} bytes")
        if not piece.more:
            return held


async def image(fetch: Fetch, uri: str, disk: Disk, name: str, size: int, sha256: str) -> None:
    """The file `name` of exactly these bytes. Raises Cut, Refusal, OSError."""
    arrived = min(disk.size(name), size) // BLOCK * BLOCK
    resumed = arrived > 0
    while True:
        disk.shorten(name, arrived)
        while arrived < size:
            piece = await _next(fetch, uri, arrived)
            if arrived + len(piece.data) > size or piece.more != (arrived + len(piece.data) < size):
                raise Refusal(Result.BAD_DIGEST, "CG-6206", f"the image is not of the {size} bytes that are signed")
            disk.append(name, arrived, piece.data)
            arrived += len(piece.data)
        found = disk.sha256(name)
        if found == sha256:
            return
        if not resumed:
            raise Refusal(Result.BAD_DIGEST, "CG-6206", f"the image has SHA-256 {found}, signed is {sha256}")
        arrived, resumed = 0, False


async def _next(fetch: Fetch, uri: str, offset: int) -> Piece:
    piece = await fetch(uri, offset)
    if piece.offset != offset or (not piece.data and piece.more):
        raise Cut(f"asked for the bytes from {offset} on, was given those from {piece.offset}")
    return piece
