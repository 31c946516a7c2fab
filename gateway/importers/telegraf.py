"""Telegraf's `inputs.modbus` in, devices out. Understands all three configuration types: register, request and metric.

In Telegraf addresses count from 0, byte orders mean what they mean here, and `scale` is the only change of a value.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.importers import reasons
from gateway.importers.modbus import add_text, keys
from gateway.importers.model import (
    TURNED,
    Found,
    FoundDevice,
    Imported,
    number,
    table,
    tables,
    text,
    whole,
)

TABLES = {"coils": 1, "discrete_inputs": 2, "holding_registers": 3, "input_registers": 4}
REGISTERS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
ORDERS = {
    "AB": "ABCD", "ABCD": "ABCD", "ABCDEFGH": "ABCD", "MSW-BE": "ABCD", "": "ABCD",
    "BA": "DCBA", "DCBA": "DCBA", "HGFEDCBA": "DCBA", "LSW-LE": "DCBA",
    "BADC": "BADC", "BADCFEHG": "BADC", "MSW-LE": "BADC",
    "CDAB": "CDAB", "GHEFCDAB": "CDAB", "LSW-BE": "CDAB",
}  # fmt: skip
TYPES = {
    "INT16": "int16", "UINT16": "uint16", "INT32": "int32", "UINT32": "uint32", "INT64": "int64", "UINT64": "uint64",
    "FLOAT16": "float16", "FLOAT32": "float32", "FLOAT64": "float64",
    "INT8L": "int8", "INT8H": "int8", "UINT8L": "uint8", "UINT8H": "uint8", "": "uint16",
}  # fmt: skip
IEEE = {"FLOAT16-IEEE": "float16", "FLOAT32-IEEE": "float32", "FLOAT64-IEEE": "float64"}
WORDS = {"16": 1, "32": 2, "64": 4}
PLUGIN = {
    "name", "controller", "slave_id", "timeout", "baud_rate", "data_bits", "parity", "stop_bits", "transmission_mode",
    "configuration_type", "interval", "request", "metric", "workarounds", *TABLES,
}  # fmt: skip
OF_FIELD = {
    "name",
    "address",
    "type",
    "data_type",
    "byte_order",
    "scale",
    "omit",
    "register",
    "bit",
    "length",
    "measurement",
}
_SPAN = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def telegraf(data: dict[str, Any]) -> Imported:
    """Every `[[inputs.modbus]]` of a configuration, or the part of one that a sample file shows."""
    found = Imported("Telegraf inputs.modbus")
    plugins = tables(table(data.get("inputs")).get("modbus")) or tables(data if TABLES.keys() & data.keys() else None)
    default_s = seconds(table(data.get("agent")).get("interval")) or 10.0
    for index, plugin in enumerate(plugins):
        _plugin(found, f"inputs.modbus[{index}]", plugin, default_s)
    return found


def seconds(said: object) -> float:
    """Go's durations ("1m30s"), and plain numbers; 0 for what is none."""
    plain = number(said)
    if plain is not None:
        return float(plain)
    return sum(float(n) * _SECONDS[unit] for n, unit in _SPAN.findall(text(said)) if n.count(".") < 2 and n != ".")


def _plugin(found: Imported, where: str, plugin: dict[str, Any], default_s: float) -> None:
    devices: dict[int, FoundDevice] = {}
    for key in plugin.keys() - PLUGIN:
        found.leave(f"{where}.{key}", f"{key} = {plugin[key]!r}", reasons.THEIRS)

    def device(unit: int | None) -> FoundDevice:
        unit = 1 if unit is None else unit
        if unit not in devices:
            devices[unit] = _device(found, where, plugin, unit, default_s)
        return devices[unit]

    for name in TABLES:
        for at, row in enumerate(tables(plugin.get(name))):
            _register(found, device(whole(plugin.get("slave_id"))), f"{where}.{name}[{at}]", TABLES[name], row)
    for kind in ("request", "metric"):
        for at, request in enumerate(tables(plugin.get(kind))):
            here = f"{where}.{kind}[{at}]"
            unit = whole(request.get("slave_id", plugin.get("slave_id")))
            _request(found, device(unit), here, request, plugin)
    found.devices += [one for one in devices.values() if one.points]
    for empty in (one for one in devices.values() if not one.points):
        found.leave(where, f"slave_id {empty.unit}", reasons.NO_POINT)


def _device(found: Imported, where: str, plugin: dict[str, Any], unit: int, default_s: float) -> FoundDevice:
    name = text(plugin.get("name")) or "modbus"
    one = FoundDevice("telegraf", name, name, "modbus", where, unit=unit)
    one.period_s = seconds(plugin.get("interval")) or default_s
    one.timeout_s = seconds(plugin.get("timeout"))
    one.url, one.line = _way(found, where, plugin)
    quirks = table(plugin.get("workarounds"))
    pause = seconds(quirks.get("pause_between_requests"))
    if pause:
        one.options["pause_ms"] = round(1000 * pause, 3)
    if quirks.get("one_request_per_field") is True:
        one.options["max_gap"] = 0
    for key in quirks.keys() - {"pause_between_requests"}:
        found.leave(f"{where}.workarounds.{key}", f"{key} = {quirks[key]!r}", reasons.THEIRS)
    return one


def _way(found: Imported, where: str, plugin: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    said, mode = text(plugin.get("controller")), text(plugin.get("transmission_mode")).lower()
    scheme, _, rest = said.partition("://")
    line = {
        ours: plugin[theirs]
        for theirs, ours in (
            ("baud_rate", "baud"),
            ("parity", "parity"),
            ("stop_bits", "stop_bits"),
            ("data_bits", "data_bits"),
        )
        if theirs in plugin
    }
    if scheme == "tcp":
        return {"rtuovertcp": "rtu+tcp", "asciiovertcp": "ascii+tcp"}.get(mode, "tcp") + "://" + rest, {}
    if scheme in ("file", "serial") or said.startswith(("/", "COM")):
        path = rest if scheme in ("file", "serial") else said
        return f"{'ascii' if mode == 'ascii' else 'serial'}:{path}", line
    if said:
        found.leave(f"{where}.controller", said, reasons.NO_LINK)
    return "", line


def _register(found: Imported, device: FoundDevice, where: str, function: int, one: dict[str, Any]) -> None:
    """A field of configuration type "register": a list of addresses and an order as long."""
    said = one.get("address")
    addresses = [whole(a) for a in (said if isinstance(said, list) else [said])]
    if not addresses or any(a is None or not 0 <= a <= 0xFFFF for a in addresses):
        found.leave(where, f"{one.get('name')}: address = {said!r}", reasons.NO_ADDRESS)
        return
    run = [a for a in addresses if a is not None]
    falls = len(run) > 1 and run == list(range(run[0], run[0] - len(run), -1))
    if not falls and run != list(range(run[0], run[0] + len(run))):
        found.leave(where, f"{one.get('name')}: address = {said!r}", reasons.GAPS)
        return
    order = ORDERS.get(text(one.get("byte_order")).upper())
    kind = _fixed(text(one.get("data_type")).upper(), len(run)) if function > 2 else "uint16"
    if order and falls:
        found.leave(where, f"{one.get('name')}: address = {said!r}", reasons.DESCENDING)
        order = TURNED[order]
    _add(found, device, where, one, function, min(run), kind, order, text(one.get("data_type")).upper(), len(run))


def _fixed(said: str, words: int) -> str:
    """FIXED, UFIXED and the old FLOAT32 are integers as wide as their addresses."""
    width = {1: "16", 2: "32", 4: "64"}.get(words, "")
    if said in ("FIXED", "UFIXED", "FLOAT32"):
        return ("int" if said == "FIXED" else "uint") + width if width else ""
    return IEEE.get(said) or (TYPES.get(said, "") if not said.startswith("FLOAT") else "")


def _request(found: Imported, device: FoundDevice, where: str, request: dict[str, Any], plugin: dict[str, Any]) -> None:
    """The fields of one request or metric."""
    for at, one in enumerate(tables(request.get("fields"))):
        here = f"{where}.fields[{at}]"
        name = text(one.get("name")) or f"address {one.get('address')}"
        if one.get("omit") is True:
            found.leave(here, name, reasons.OMITTED)
            continue
        function = REGISTERS.get(text(one.get("register", request.get("register"))).lower() or "holding")
        address = whole(one.get("address"))
        said = text(one.get("type")).upper()
        order = ORDERS.get(text(request.get("byte_order", plugin.get("byte_order"))).upper())
        if function is None:
            found.leave(here, f"{name}: register = {one.get('register', request.get('register'))!r}", reasons.NO_TABLE)
        elif address is None or not 0 <= address <= 0xFFFF:
            found.leave(here, f"{name}: address = {one.get('address')!r}", reasons.NO_ADDRESS)
        elif said == "STRING" and function > 2:
            add_text(found, device, name, here, function, address, whole(one.get("length")) or 0, order or "ABCD")
        else:
            _add(
                found,
                device,
                here,
                one,
                function,
                address,
                TYPES.get(said, "bit" if said == "BIT" else ""),
                order,
                said,
            )
    for key in request.keys() - {"fields", "slave_id", "byte_order", "register"}:
        found.leave(f"{where}.{key}", f"{key} = {request[key]!r}", reasons.THEIRS)


def _add(
    found: Imported,
    device: FoundDevice,
    where: str,
    one: dict[str, Any],
    function: int,
    address: int,
    kind: str,
    order: str | None,
    said: str,
    words: int = 0,
) -> None:
    name = " ".join(filter(None, (text(one.get("measurement")), text(one.get("name"))))) or f"address {address}"
    if function > 2 and not kind:
        found.leave(where, f"{name}: {said}", reasons.NO_TYPE)
        return
    if function > 2 and (order is None or (words and kind != "bit" and words != WORDS.get(kind[-2:], 1))):
        found.leave(
            where, f"{name}: byte_order = {one.get('byte_order')!r} of {said} in {words} register(s)", reasons.NO_ORDER
        )
        return
    order = order or "ABCD"
    if said.endswith("8H"):  # the high byte: the low one of the register with its bytes swapped
        order = "ABCD" if order in ("BADC", "DCBA") else "BADC"
    bit = whole(one.get("bit")) or 0 if kind == "bit" else None
    if said == "FLOAT32" and kind.startswith("uint"):
        found.leave(where, f"{name}: FLOAT32", reasons.FLOAT_TWO)
    point = keys(function, address, kind, order, bit)
    scale = number(one.get("scale"))
    if scale not in (None, 0, 1) and function > 2:
        point["scale"] = scale
    device.points.append(Found(name, where, point))
    _leave_rest(found, where, one)


def _leave_rest(found: Imported, where: str, one: dict[str, Any]) -> None:
    for key in one.keys() - OF_FIELD:
        found.leave(f"{where}.{key}", f"{key} = {one[key]!r}", reasons.THEIRS)
