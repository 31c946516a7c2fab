"""A release's image, an xz-compressed tar, into a folder: whole, on disk, under its name, or not there at all.

Only folders, files and one link (bin/python3, to Debian's Python) are taken, only plain ustar headers, only names that
stay inside; modes are 0755 and 0644 whatever the image says, so nothing is set-user-id. Bounded: bytes, members, depth,
the decompressor's memory. Knows no signatures: the image was proven before.
"""

from __future__ import annotations

import errno
import lzma
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LARGEST = 1 << 30  # bytes of a tree
MEMBERS = 60_000
DEPTH = 24
DECODER = 96 << 20  # bytes of memory for xz: preset 9 needs 65 MB
LINK = "bin/python3"
PART = ".unpacking"
PADDING = 1 << 20
_BLOCK = 512
_CHUNK = 1 << 16
_INTERPRETER = re.compile(r"/usr/bin/python3\.\d{1,2}")
_PART = re.compile(r"[^/\x00-\x1f\x7f\\]{1,200}")


class BadImage(Exception):
    """Not an image of a release, or one that reaches where it must not."""


class NoRoom(Exception):
    """The disk is full; nothing of the image is left on it."""


def unpack(image: Path, folder: Path, name: str, *, limit: int = LARGEST, given_up: Callable[[], bool] = bool) -> int:
    """The tree of `image` as `folder/name`, synced; bytes of its files. `limit`: as many at most. `given_up`: asked now
    and then, true to give up. What an interrupted one left is removed first. A tree of this name is replaced.

    Raises BadImage, NoRoom, InterruptedError, OSError; then `folder/name` is as it was."""
    part = folder / PART
    _remove(part)
    try:
        part.mkdir()
        part.chmod(0o755)
        with open(image, "rb") as file:
            written = _members(_Plain(file), part, min(limit, LARGEST), given_up)
        _sync(part)
    except OSError as bad:
        _remove(part)
        if bad.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom(str(bad.strerror)) from bad
        raise
    except BaseException:
        _remove(part)
        raise
    _remove(folder / name)
    os.rename(part, folder / name)
    _sync_one(folder)
    return written


def clean(folder: Path) -> None:
    """Remove what an interrupted `unpack` left. Raises OSError."""
    _remove(folder / PART)


def remove(tree: Path) -> None:
    """A whole release; a power cut in between leaves nothing under its name. Raises OSError."""
    _remove(tree)


class _Plain:
    """The bytes inside an xz file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._xz = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=DECODER)
        self._held = b""

    def take(self, size: int) -> bytes:
        """At most `size` bytes (one chunk), b"" at the end. Raises BadImage."""
        try:
            while not self._held:
                if self._xz.eof:
                    return b""
                raw = self._file.read(_CHUNK) if self._xz.needs_input else b""
                if not raw and self._xz.needs_input:
                    raise BadImage("the compressed image is cut off")
                self._held = self._xz.decompress(raw, max_length=_CHUNK)
        except lzma.LZMAError as bad:
            raise BadImage(f"the image cannot be decompressed: {bad}") from bad
        out, self._held = self._held[:size], self._held[size:]
        return out

    def end(self) -> None:
        """Only padding follows, and the checksums hold. Raises BadImage."""
        left = PADDING
        while data := self.take(_CHUNK):
            left -= len(data)
            if left < 0 or any(data):
                raise BadImage("something follows the end")

    def exactly(self, size: int) -> bytes:
        parts = []
        while size:
            if not (data := self.take(size)):
                raise BadImage("the image is cut off")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)


def _members(plain: _Plain, root: Path, limit: int, given_up: Callable[[], bool]) -> int:
    made = {""}
    files: set[str] = set()
    written = 0
    for count, info in enumerate(_headers(plain)):
        if count >= MEMBERS:
            raise BadImage(f"more than {MEMBERS} members")
        if given_up():
            raise InterruptedError(errno.EINTR, "given up")
        name = _safe(info.name.rstrip("/") if info.isdir() else info.name)
        parent = name.rpartition("/")[0]
        if name in made or name in files or parent not in made:
            raise BadImage(f"{name!r} comes twice, or before its folder")
        if info.isdir():
            os.mkdir(root / name, 0o755)
            os.chmod(root / name, 0o755)
            made.add(name)
            continue
        files.add(name)
        if info.issym():
            if name != LINK or not _INTERPRETER.fullmatch(info.linkname) or info.size:
                raise BadImage(f"a link {name!r} to {info.linkname!r}")
            os.symlink(info.linkname, root / name)
        elif info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            written += info.size
            if written > limit:
                raise BadImage(f"more than {limit} bytes")
            _file(plain, root / name, info.size, 0o755 if info.mode & 0o100 else 0o644)
        else:
            raise BadImage(f"{name!r} is neither a file nor a folder")
    if LINK.rpartition("/")[0] not in made:
        raise BadImage("it holds no release")
    plain.end()
    return written


def _headers(plain: _Plain) -> Iterator[tarfile.TarInfo]:
    """Each header; whoever takes it reads the content before the next."""
    while any(block := plain.exactly(_BLOCK)):
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as bad:
            raise BadImage(f"a header that is none: {bad}") from bad
        if info.size < 0 or (info.size and info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE)):
            raise BadImage(f"{info.name!r} has a content that it cannot have")
        yield info


def _safe(name: str) -> str:
    parts = name.split("/")
    if len(parts) > DEPTH or not all(_PART.fullmatch(part) and part not in (".", "..") for part in parts):
        raise BadImage(f"the name {name[:200]!r}")
    return name


def _file(plain: _Plain, path: Path, size: int, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        left = size
        while left:
            if not (data := plain.take(min(left, _CHUNK))):
                raise BadImage("the image is cut off")
            done = 0
            while done < len(data):
                done += os.write(fd, data[done:])
            left -= len(data)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    plain.exactly(-size % _BLOCK)


def _sync(root: Path) -> None:
    """All of a tree on disk. One sync writes what there is; each file is asked all the same, since only its own fsync
    tells of an error."""
    os.sync()
    for at, folders, files in os.walk(root):
        for name in files:
            if not os.path.islink(os.path.join(at, name)):
                _sync_one(Path(at, name))
        for name in folders:
            _sync_one(Path(at, name))
    _sync_one(root)


def _sync_one(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove(tree: Path) -> None:
    if not os.path.lexists(tree):
        return
    gone = tree.with_name(f".gone-{tree.name}") if not tree.name.startswith(".") else tree
    if gone != tree:
        if os.path.lexists(gone):
            shutil.rmtree(gone)
        os.rename(tree, gone)
        _sync_one(tree.parent)
    with suppress(FileNotFoundError):
        if gone.is_symlink() or not gone.is_dir():
            gone.unlink()
        else:
            shutil.rmtree(gone)
