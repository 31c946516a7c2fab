"""Ports for servers that a test starts a moment later: nobody else is given them meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
from itertools import count
from typing import Any

FIRST, EACH = 20000, 1000  # below what kernels hand out by themselves (32768 on), so many a process

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1")[2:]) + 1
_next = count(os.getpid())


def free_port() -> int:
    """A port of 127.0.0.1 that is free for datagrams and for streams, each time another one."""
    for _ in range(EACH):
        port = FIRST + EACH * (_worker % 12) + next(_next) % EACH
        if _is_free(port, socket.SOCK_DGRAM) and _is_free(port, socket.SOCK_STREAM):
            return port
    raise RuntimeError(f"none of {EACH} ports is free")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def begun(serving: asyncio.Future[Any], ready: asyncio.Event) -> None:
    """Wait until `ready`; a server that fails before raises here what it failed from."""
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        serving.result()
