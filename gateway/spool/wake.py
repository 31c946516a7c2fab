"""A hint that something was committed, over a unix datagram socket beside the spool. A lost hint is harmless.

In: `Bell.ring` after a commit (b"a" with alarms, b"s" without). Out: the listener's callback. Never blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

ALARM = b"a"
SUMMARY = b"s"


def address(spool: Path) -> str:
    return f"{spool}.wake"


class Bell:
    """The committing side."""

    def __init__(self, spool: Path) -> None:
        self._address = address(spool)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def ring(self, hint: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(hint, self._address)

    def close(self) -> None:
        self._socket.close()


class Listener:
    """The sending side: calls `heard(hint)` in the event loop."""

    def __init__(self, spool: Path, heard: Callable[[bytes], None]) -> None:
        self._address = address(spool)
        self._heard = heard
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        with contextlib.suppress(OSError):
            os.unlink(self._address)
        # No socket (a path over 107 bytes, a read-only folder): polling alone still works.
        with contextlib.suppress(OSError):
            self._socket.bind(self._address)
            os.chmod(self._address, 0o660)  # the writer may be another user of the same group
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while hint := self._socket.recv(16):
                self._heard(hint)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._address)
