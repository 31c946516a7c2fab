"""What a center hands to its gateways: files below one folder, GET f/PATH, block by block (RFC 7959, Block2).

In: a request that was opened and proven. Out: a block of a regular file, with its size (Size2) and an ETag that changes
with the file. Over a stream a block with size exponent 7 carries PIECE bytes (BERT, RFC 8323, section 6). Nothing above
the folder is reached, by no name and no link; nothing is listed, nothing is written.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from gateway.wire import coap
from gateway.wire.coap import Message

PATH = "f"
PIECE = 8192  # bytes of a block of exponent 7: what a cut loses is the blocks under way
SEGMENTS = 8
ETAG = 4  # CoAP option number
_SEGMENT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_%-]{0,159}")
_BERT = 7


class Files:
    """`answer` each GET below `f`."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(os.path.realpath(folder))

    def answer(self, request: Message) -> Message:
        """`request` with its whole path, "f" first. The answer has no token yet."""
        if request.code != coap.GET:
            return Message(coap.NOT_ALLOWED)
        block = _wanted(request)
        if block is None:
            return Message(coap.BAD_OPTION)
        offset, size, exponent = block
        path = self._path(request)
        if path is None:
            return Message(coap.NOT_FOUND)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return Message(coap.NOT_FOUND)
        try:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                return Message(coap.NOT_FOUND)
            if offset and offset >= state.st_size:
                return Message(coap.BAD_REQUEST, ((coap.SIZE2, coap.uint(state.st_size)),))
            data = os.pread(fd, size, offset)
        except OSError:
            return Message(coap.INTERNAL_ERROR)
        finally:
            os.close(fd)
        more = offset + len(data) < state.st_size
        if more and len(data) < size:  # it shrank while it was read
            return Message(coap.UNAVAILABLE, ((coap.MAX_AGE, coap.uint(1)),))
        step = 1 << (min(exponent, 6) + 4)
        value = offset // step << 4 | (8 if more else 0) | exponent
        options = ((ETAG, _tag(state)), (coap.BLOCK2, coap.uint(value)), (coap.SIZE2, coap.uint(state.st_size)))
        return Message(coap.CONTENT, options, data)

    def _path(self, request: Message) -> Path | None:
        try:
            first, *names = request.texts(coap.URI_PATH)
        except (coap.BadMessage, ValueError):
            return None
        if first != PATH or not 0 < len(names) <= SEGMENTS or not all(map(_SEGMENT.fullmatch, names)):
            return None
        found = Path(os.path.realpath(self._folder.joinpath(*names)))
        return found if found.is_relative_to(self._folder) else None


def _wanted(request: Message) -> tuple[int, int, int] | None:
    """(offset, bytes, size exponent) of the block asked for; None for an option that is none."""
    raw = request.first(coap.BLOCK2)
    if raw is None:
        return 0, 1024, 6
    if len(raw) > 3:
        return None
    value = int.from_bytes(raw, "big")
    exponent = value & 7
    step = 1 << (min(exponent, 6) + 4)
    return (value >> 4) * step, PIECE if exponent == _BERT else step, exponent


def _tag(state: os.stat_result) -> bytes:
    return hashlib.sha256(f"{state.st_ino} {state.st_size} {state.st_mtime_ns}".encode()).digest()[:8]
