"""What a node says of itself, as LwM2M resources: objects 3 (Device), 4 (Connectivity Monitoring), 5 (Firmware Update).

Paths are object/instance/resource, with one instance more where the registry says that a resource has several. Reads
/proc and /sys, nothing else.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.node.settings import NodeTable
from gateway.node.state import Kept

ETHERNET, WLAN = 41, 21  # 4/0/0, Network Bearer
NO_ERROR, PERIPHERAL = 0, 8  # 3/0/11, Error Code
PULL, COAP = 0, 0  # 5/0/9 Delivery Method, 5/0/8 Protocol Support
SOMETIMES = ("4/0/4/0",)  # an address, when there is a network
NOWHERE = ("192.0.2.1", 9)  # RFC 5737: a route to the world, without a packet to anybody

Said = float | int | bool | str


@dataclass(frozen=True, slots=True)
class Value:
    said: Said
    unit: str = ""


def device(node: NodeTable, version: str, all_well: bool) -> dict[str, Value]:
    said = {
        "3/0/0": Value(node.manufacturer),
        "3/0/1": Value(node.model),
        "3/0/2": Value(node.id),
        "3/0/3": Value(version),
        "3/0/11/0": Value(NO_ERROR if all_well else PERIPHERAL),
        "3/0/13": Value(int(time.time())),
        "3/0/14": Value(time.strftime("%z")[:3] + ":" + time.strftime("%z")[3:]),
        "3/0/16": Value("U"),
    }
    free_kb = _memory_free_kb()
    return said if free_kb is None else said | {"3/0/10": Value(free_kb)}


def connectivity() -> dict[str, Value]:
    card = _card_outwards()
    wireless = Path("/sys/class/net", card, "wireless").exists() if card else False
    address = _own_address()
    said = {
        "4/0/0": Value(WLAN if wireless else ETHERNET),
        "4/0/1/0": Value(WLAN if wireless else ETHERNET),
        "4/0/2": Value(_signal_dbm(card) if wireless else 0, "dBm"),
    }
    return said | {"4/0/4/0": Value(address)} if address else said


def firmware(kept: Kept, slot: str, automatic: bool) -> dict[str, Value]:
    return {
        "5/0/1": Value(kept.uri),
        "5/0/3": Value(int(kept.phase)),
        "5/0/5": Value(int(kept.result)),
        "5/0/7": Value(version_of(kept, slot)),
        "5/0/8/0": Value(COAP),
        "5/0/9": Value(PULL),
        "5/0/14": Value(automatic),
    }


def version_of(kept: Kept, slot: str) -> str:
    """Of what runs from `slot`, "" for the package."""
    image = kept.slots.get(slot)
    return "" if image is None else image.version or f"sequence {image.sequence}"


def _memory_free_kb() -> int | None:
    found = _fields("/proc/meminfo").get("MemAvailable:", "")
    return int(found) if found.isdecimal() else None


def _card_outwards() -> str:
    """The interface of the default route, "" without one."""
    try:
        rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    except OSError:
        return ""
    return next((row[0] for row in rows if len(row) > 1 and row[1] == "00000000"), "")


def _signal_dbm(card: str) -> int:
    """Third number of the interface's line in /proc/net/wireless (link, level, noise)."""
    try:
        lines = Path("/proc/net/wireless").read_text().splitlines()
        return next(int(float(line.split()[3])) for line in lines if line.split()[:1] == [f"{card}:"])
    except (OSError, StopIteration, ValueError, IndexError):
        return 0


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(NOWHERE)
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def _fields(path: str) -> Mapping[str, str]:
    try:
        rows = [line.split() for line in Path(path).read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: row[1] for row in rows if len(row) > 1}
