"""What the sending half says of its ways to the centers, told to the half that polls: over a unix datagram socket
beside the spool, nothing on disk. A lost word is harmless: the next comes within EVERY_S.

    {"center": {"state": "stored", "open": true, "heard_s": 3.2, "round_trip_ms": 41.0}, ...}

`state` is what the last message met (gateway.uplink.way.Kind), `open` whether messages go out at all, `heard_s` the
seconds since one was stored, None if never.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVERY_S = 5.0
OLD_S = 3 * EVERY_S  # then the sending half is not there
LARGEST = 65_536


def address(spool: Path) -> str:
    return f"{spool}.ways"


class Teller:
    """The sending half's side. Never blocks."""

    def __init__(self, spool: Path) -> None:
        self._address = address(spool)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def tell(self, ways: Mapping[str, Mapping[str, Any]]) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(json.dumps(ways).encode(), self._address)

    def close(self) -> None:
        self._socket.close()


class Listener:
    """The polling half's side, in its event loop."""

    def __init__(self, spool: Path) -> None:
        self._address = address(spool)
        self._ways: dict[str, dict[str, Any]] = {}
        self._at_s = -OLD_S  # time.monotonic
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        with contextlib.suppress(OSError):
            os.unlink(self._address)
        # No socket (a path over 107 bytes, a read-only folder): nothing is known of the ways.
        with contextlib.suppress(OSError):
            self._socket.bind(self._address)
            os.chmod(self._address, 0o660)  # the sender may be another user of the same group
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def ways(self) -> dict[str, dict[str, Any]] | None:
        """As last told, by upstream; None while the sending half is not there."""
        late_s = time.monotonic() - self._at_s
        if late_s >= OLD_S:
            return None
        return {
            name: way | {"heard_s": None if way.get("heard_s") is None else round(float(way["heard_s"]) + late_s, 1)}
            for name, way in self._ways.items()
        }

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while said := self._socket.recv(LARGEST):
                with contextlib.suppress(ValueError):
                    ways = json.loads(said)
                    if isinstance(ways, dict) and all(isinstance(way, dict) for way in ways.values()):
                        self._ways, self._at_s = ways, time.monotonic()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._address)
