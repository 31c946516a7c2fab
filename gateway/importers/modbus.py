"""The keys of a Modbus point from what other systems say of registers. Pure.

Orders are those of protocols/modbus: ABCD as Modbus sends, BADC bytes of each word swapped, CDAB low word first, DCBA
both.
"""

from __future__ import annotations

from typing import Any

from gateway.importers.model import FoundDevice, Imported
from gateway.importers.reasons import IDENTITY, TEXT_LEFT

COIL, DISCRETE, HOLDING, INPUT = 1, 2, 3, 4
WIDEST_TEXT = 125


def keys(
    function: int, address: int, kind: str = "uint16", order: str = "ABCD", bit: int | None = None
) -> dict[str, Any]:
    """Address keys, in the order people write them; what is the default is left out."""
    found: dict[str, Any] = {"function": function, "address": address}
    if function in (COIL, DISCRETE):
        return found | {"kind": "state"}
    if bit is not None:
        bit = bit ^ 8 if order in ("BADC", "DCBA") else bit  # a bit of the register as it arrives
        return found | {"type": "uint16", "bit": bit, "kind": "state"}
    found["type"] = kind
    if kind.endswith(("8", "16")):  # one register: only its bytes can be swapped
        order = "BADC" if order in ("BADC", "DCBA") else "ABCD"
    if order != "ABCD":
        found["order"] = order
    return found


def swapped(*, byte: bool, word: bool) -> str:
    return {(False, False): "ABCD", (True, False): "BADC", (False, True): "CDAB", (True, True): "DCBA"}[byte, word]


def add_text(
    found: Imported, device: FoundDevice, name: str, where: str, function: int, address: int, registers: int, order: str
) -> None:
    """A text in registers becomes an identity of the device; nothing else here is a text."""
    if function not in (HOLDING, INPUT) or not 1 <= registers <= WIDEST_TEXT or address + registers > 0x10000:
        found.leave(where, name, TEXT_LEFT)
        return
    one: dict[str, Any] = {"name": name, "address": address, "registers": registers}
    if function == INPUT:
        one["function"] = INPUT
    if order in ("BADC", "DCBA"):
        one["order"] = "BADC"
    device.options.setdefault("identity", []).append(one)
    found.leave(where, name, IDENTITY)
