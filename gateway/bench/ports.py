"""Serial ports of this machine by the names that stay: /dev/serial/by-id, then what has no such name. Opens nothing."""

from __future__ import annotations

import glob
import os
from typing import NamedTuple


class Port(NamedTuple):
    """`path` stays the same after a reboot where it is below by-id; `words`: what the adapter calls itself."""

    path: str
    words: str


def serial_ports(root: str = "/dev") -> list[Port]:
    """By-id names first, each device once; on-board ports only where they have hardware behind them."""
    found: dict[str, Port] = {}
    for path in sorted(glob.glob(f"{root}/serial/by-id/*")):
        words = os.path.basename(path).removeprefix("usb-").rpartition("-if")[0].replace("_", " ")
        found.setdefault(os.path.realpath(path), Port(path, words or os.path.basename(path)))
    for pattern in ("ttyUSB*", "ttyACM*", "ttyAMA*", "ttymxc*", "ttyS*", "ttySC*"):
        for path in sorted(glob.glob(f"{root}/{pattern}")):
            if os.path.realpath(path) not in found and _is_there(path):
                found[os.path.realpath(path)] = Port(path, "no name of its own: it may change with the socket")
    return list(found.values())


def _is_there(path: str) -> bool:
    """ttyS* exist whether or not there is a UART: the kernel tells which are none (type 0)."""
    name = os.path.basename(path)
    if not name.startswith("ttyS") or name.startswith("ttySC"):
        return True
    try:
        with open(f"/sys/class/tty/{name}/type", encoding="ascii") as file:
            return file.read().strip() != "0"
    except OSError:
        return False
