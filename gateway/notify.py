"""What either half tells systemd: READY, RELOADING, STOPPING, WATCHDOG and what it says of itself. One socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

FEEDS = 4  # times in a watchdog interval: one or two that come late do no harm


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


def feed_every_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two feeds as systemd asks for them (sd_watchdog_enabled(3)); None where it does not watch."""
    try:
        if int(environ.get("WATCHDOG_PID", pid)) != pid:
            return None
        interval_us = int(environ["WATCHDOG_USEC"])
    except (KeyError, ValueError):
        return None
    return interval_us / 1e6 / FEEDS if interval_us > 0 else None
