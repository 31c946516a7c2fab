"""What the machine itself says: memory, disk, temperature, load, times. Reads /proc, /sys and statvfs; changes nothing.

What a machine does not tell is None.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PROC, SYS = Path("/proc"), Path("/sys")


def disk(folder: str | Path) -> dict[str, float] | None:
    """Of the file system that `folder` is on: 10^6 bytes, and the share that is left to us."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    total, left = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return {"total_mb": round(total / 1e6, 1), "free_mb": round(left / 1e6, 1), "free": round(left / max(1, total), 4)}


def memory(proc: Path = PROC) -> dict[str, float] | None:
    """Of the machine and of this process, 10^6 bytes."""
    page = os.sysconf("SC_PAGESIZE") // 1024
    try:
        said = dict(_pairs(_text(proc / "meminfo").splitlines()))  # a service with ProcSubset=pid sees none
        own = dict(_pairs((proc / "self/status").read_text().splitlines()))
    except OSError:
        return None
    total = said.get("MemTotal", page * os.sysconf("SC_PHYS_PAGES"))
    available = said.get("MemAvailable", page * os.sysconf("SC_AVPHYS_PAGES"))
    named = {"total_mb": total, "available_mb": available, "uplink_rss_mb": own.get("VmRSS")}
    return {key: round(kib * 1024 / 1e6, 1) for key, kib in named.items() if kib is not None}


def temperature_c(sys: Path = SYS) -> float | None:
    """The hottest of the machine's thermal zones."""
    found = []
    for path in sorted((sys / "class/thermal").glob("thermal_zone*/temp")):
        try:
            found.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def load(proc: Path = PROC) -> list[float] | None:
    """Of 1, 5 and 15 minutes."""
    try:
        return [float(word) for word in (proc / "loadavg").read_text().split()[:3]]
    except (OSError, ValueError):
        return None


def uptime_s() -> float:
    return round(time.clock_gettime(time.CLOCK_BOOTTIME), 1)


def model(sys: Path = SYS) -> tuple[str, str]:
    """(manufacturer, model) of the board: device tree, else DMI; "" where neither says."""
    tree = _text(PROC / "device-tree/model")
    if tree:
        maker, _, rest = tree.partition(" ")
        return maker, rest
    return _text(sys / "class/dmi/id/sys_vendor"), _text(sys / "class/dmi/id/product_name")


def software() -> dict[str, Any]:
    """Kernel, interpreter and architecture."""
    return {"kernel": platform.release(), "python": platform.python_version(), "machine": platform.machine()}


def addresses() -> list[str]:
    """This machine's own, without loopback, as the kernel's tables list them."""
    found = []
    for line in _text(PROC / "self/net/if_inet6").splitlines():
        raw, *_, name = line.split()
        if name != "lo":
            found.append(":".join(raw[i : i + 4] for i in range(0, 32, 4)))
    trie = _text(PROC / "self/net/fib_trie").splitlines()
    for before, line in itertools.pairwise(trie):
        if "/32 host LOCAL" in line and not (address := before.split()[-1]).startswith("127."):
            found.append(address)
    return sorted(set(found))


def _pairs(lines: Iterable[str]) -> Iterable[tuple[str, int]]:
    """`Name:  123 kB`."""
    for line in lines:
        name, _, rest = line.partition(":")
        word = rest.split()[:1]
        if word and word[0].isdigit():
            yield name, int(word[0])


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip().strip("\0")
    except OSError:
        return ""
