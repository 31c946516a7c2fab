"""systemd's notification socket: READY, RELOADING, STOPPING and what the service says of itself."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send `state` (`READY=1`, `STATUS=...`) where systemd listens; nothing where it does not."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(state.encode())
