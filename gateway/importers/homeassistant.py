"""Home Assistant's `modbus:` in YAML in, devices out: one a hub and device address.

Addresses count from 0 there; a missing device address is 1; swap `byte`, `word` and `word_byte` are the orders BADC,
CDAB and DCBA. Files that are included (`!include`) are not read: import them by themselves.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.importers import reasons
from gateway.importers.documents import Tagged
from gateway.importers.modbus import add_text, keys, swapped
from gateway.importers.model import Found, FoundDevice, Imported, number, table, tables, text, unit_of, whole, yes

TABLES = {
    "holding": 3, "holdings": 3, "input": 4, "coil": 1, "coils": 1, "discrete_input": 2,
    "discrete_inputs": 2,
}  # fmt: skip
TYPES = {
    "int8": "int8", "uint8": "uint8", "int16": "int16", "int32": "int32", "int64": "int64", "uint16": "uint16",
    "uint32": "uint32", "uint64": "uint64", "float16": "float16", "float32": "float32", "float64": "float64",
}  # fmt: skip
OLD = {"int": "int", "uint": "uint", "float": "float"}  # as wide as `count` says
WIDTH = {1: "16", 2: "32", 4: "64"}
WORDS = {"16": 1, "32": 2, "64": 4}
CODES = {
    "b": "int8", "B": "uint8", "h": "int16", "H": "uint16", "i": "int32", "I": "uint32", "l": "int32", "L": "uint32",
    "q": "int64", "Q": "uint64", "e": "float16", "f": "float32", "d": "float64",
}  # fmt: skip
SENSORS = ("sensors", "binary_sensors", "numbers")
WRITTEN = ("switches", "lights", "fans")
TOGETHER = ("climates", "covers", "selects")
HUB = {
    "name",
    "type",
    "host",
    "port",
    "baudrate",
    "bytesize",
    "parity",
    "stopbits",
    "method",
    "timeout",
    "message_wait_milliseconds",
}
USED = {
    "name", "address", "register", "slave", "device_address", "data_type", "structure", "count", "swap",
    "reverse_order", "scale", "offset", "input_type", "register_type", "scan_interval", "unit_of_measurement",
    "state_class", "nan_value", "virtual_count", "slave_count", "write_type", "command_on", "command_off", "verify",
    "min_value", "max_value", "device_class", "hub",
}  # fmt: skip
COUNTING = ("total_increasing", "total")


@dataclass(slots=True)
class _Hub:
    """One connection, and the devices met on it."""

    where: str
    said: dict[str, Any]
    devices: dict[int, FoundDevice]


def homeassistant(data: Any) -> Imported:
    """Every hub of a configuration, a package or a file that one of them includes."""
    found = Imported("Home Assistant modbus")
    hubs = [_Hub(where, said, {}) for where, said in _hubs(data)]
    for hub in hubs:
        _hub(found, hub)
    if isinstance(data, dict):
        _platforms(found, data, hubs)
    for hub in hubs:
        found.devices += [one for one in hub.devices.values() if one.points]
        for one in hub.devices.values():
            if not one.points:
                found.leave(hub.where, f"device address {one.unit}", reasons.NO_POINT)
    return found


def _hubs(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(data, list):  # what `modbus: !include` or `sensors: !include` names
        every = tables(data)
        if any({*SENSORS, *WRITTEN, *TOGETHER, "host", "port"} & one.keys() for one in every):
            yield from ((f"[{at}]", one) for at, one in enumerate(every))
        elif every:
            yield "", {"sensors": every}
        return
    top = table(data)
    if "modbus" in top:
        yield from ((f"modbus[{at}]", one) for at, one in enumerate(tables(top["modbus"])))
    elif {*SENSORS, *WRITTEN, *TOGETHER} & top.keys():
        yield "", top
    for name, package in table(table(top.get("homeassistant")).get("packages")).items():
        for at, one in enumerate(tables(table(package).get("modbus"))):
            yield f"homeassistant.packages.{name}.modbus[{at}]", one


def _platforms(found: Imported, data: dict[str, Any], hubs: list[_Hub]) -> None:
    """The form of before 2021: platforms of `sensor:` and others with a hub's name."""
    lists = {
        "sensor": ("sensors", "registers"),
        "binary_sensor": ("binary_sensors", "inputs", "coils"),
        "switch": ("switches", "coils", "registers"),
    }
    for platform, (kind, *names) in lists.items():
        for at, one in enumerate(tables(data.get(platform))):
            if text(one.get("platform")) != "modbus":
                continue
            for name in names:
                for row, entity in enumerate(tables(one.get(name))):
                    where = f"{platform}[{at}].{name}[{row}]"
                    known = {text(hub.said.get("name")) or "modbus_hub": hub for hub in hubs}
                    hub = known.get(text(entity.get("hub")) or "modbus_hub") or (hubs[0] if len(hubs) == 1 else None)
                    if hub is None:
                        hub = _Hub(where, {"name": text(entity.get("hub")) or "modbus"}, {})
                        hubs.append(hub)
                    plain = {"address": entity.get("coil", entity.get("register"))} | entity
                    plain.pop("coil", None)
                    if name == "coils":
                        plain.setdefault("write_type", "coil")
                        plain.setdefault("input_type", "coil")
                    _entity(found, hub, where, kind, plain)


def _hub(found: Imported, hub: _Hub) -> None:
    for key, said in hub.said.items():
        here = f"{hub.where}.{key}" if hub.where else key
        if isinstance(said, Tagged):
            found.leave(here, str(said), reasons.UNREAD_TAG)
        elif key in (*SENSORS, *WRITTEN):
            rows = said if isinstance(said, list) else [said]
            for at, one in enumerate(rows):
                if isinstance(one, dict):
                    _entity(found, hub, f"{here}[{at}]", key, table(one))
                elif isinstance(one, Tagged):
                    found.leave(f"{here}[{at}]", str(one), reasons.UNREAD_TAG)
        elif key in TOGETHER:
            for at, one in enumerate(tables(said)):
                found.leave(f"{here}[{at}]", f"{key[:-1]} {text(one.get('name'))}", reasons.PLATFORM)
        elif key not in HUB and key not in USED:
            found.leave(here, f"{key}: {said}", reasons.THEIRS)


def _device(found: Imported, hub: _Hub, one: dict[str, Any], where: str) -> FoundDevice:
    said = one.get("device_address", one.get("slave"))
    unit = whole(said)
    if unit is None and said is not None:
        found.leave(
            where, f"device_address: {said}", reasons.UNREAD_TAG if isinstance(said, Tagged) else reasons.NOT_A_NUMBER
        )
    unit = unit if unit is not None and 0 <= unit <= 255 else 1
    if unit not in hub.devices:
        name = text(hub.said.get("name")) or "modbus"
        device = FoundDevice("homeassistant", name, name, "modbus", hub.where, unit=unit, period_s=15.0)
        device.url, device.line = _way(found, hub)
        device.timeout_s = float(number(hub.said.get("timeout")) or 0)
        pause = number(hub.said.get("message_wait_milliseconds"))
        if pause and pause > 0:
            device.options["pause_ms"] = pause
        hub.devices[unit] = device
    return hub.devices[unit]


def _way(found: Imported, hub: _Hub) -> tuple[str, dict[str, Any]]:
    said = hub.said
    kind, port = text(said.get("type")), said.get("port")
    hidden = [f"{key}: {said[key]}" for key in ("host", "port") if isinstance(said.get(key), Tagged)]
    if hidden:
        found.leave(hub.where, ", ".join(hidden), reasons.UNREAD_TAG)
        return "", {}
    if kind == "serial":
        line: dict[str, Any] = {}
        for theirs, ours in (
            ("baudrate", "baud"),
            ("parity", "parity"),
            ("stopbits", "stop_bits"),
            ("bytesize", "data_bits"),
        ):
            if theirs in said:
                line[ours] = whole(said[theirs]) if ours != "parity" else text(said[theirs]).upper()
        return f"{'ascii' if text(said.get('method')) == 'ascii' else 'serial'}:{text(port)}", line
    if kind in ("tcp", "rtuovertcp"):
        return f"{'tcp' if kind == 'tcp' else 'rtu+tcp'}://{text(said.get('host'))}:{whole(port) or 502}", {}
    if kind:
        found.leave(hub.where, f"type: {kind}", reasons.NO_LINK)
    return "", {}


def _entity(found: Imported, hub: _Hub, where: str, kind: str, one: dict[str, Any]) -> None:
    name = text(one.get("name")) or f"address {one.get('address')}"
    here = f'{where} "{name}"'
    for key in sorted(one.keys() - USED):
        of_device = key.endswith(("_address", "_register"))
        found.leave(f"{where}.{key}", f"{key}: {one[key]}", reasons.PLATFORM if of_device else reasons.THEIRS)
    address = whole(one.get("address", one.get("register")))
    if address is None or not 0 <= address <= 0xFFFF:
        found.leave(here, f"address: {one.get('address')}", reasons.NO_ADDRESS)
        return
    device = _device(found, hub, one, where)
    common: dict[str, Any] = {}
    period = number(one.get("scan_interval"))
    if period and period > 0:
        common["period_s"] = period
    if kind in WRITTEN:
        _switch(found, device, here, name, address, one, common)
        return
    default = "coil" if kind == "binary_sensors" else "holding"
    function = TABLES.get(text(one.get("input_type", one.get("register_type"))) or default)
    if function is None:
        found.leave(here, f"input_type: {one.get('input_type')}", reasons.NO_TABLE)
    elif kind == "binary_sensors" or function < 3:
        _bits(device, here, name, function, address, one, common)
    else:
        _sensor(found, device, here, name, function, address, one, common, is_number=kind == "numbers")


def _count(one: dict[str, Any]) -> int:
    """How many alike: the first and `virtual_count` more."""
    more = whole(one.get("virtual_count", one.get("slave_count"))) or 0
    return 1 + max(0, min(more, 100))


def _named(name: str, at: int) -> str:
    return f"{name} {at}" if at else name


def _bits(
    device: FoundDevice, here: str, name: str, function: int, address: int, one: dict[str, Any], common: dict[str, Any]
) -> None:
    for at in range(_count(one)):
        # of registers the next one is the next register's lowest bit, not the next bit
        point = keys(function, address + at, bit=None if function < 3 else 0)
        device.points.append(Found(_named(name, at), here, point | common))


def _switch(
    found: Imported,
    device: FoundDevice,
    here: str,
    name: str,
    address: int,
    one: dict[str, Any],
    common: dict[str, Any],
) -> None:
    function = TABLES.get(text(one.get("write_type")) or "holding")
    if function not in (1, 3):
        found.leave(here, f"write_type: {one.get('write_type')}", reasons.NO_TABLE)
        return
    on, off = whole(one.get("command_on")), whole(one.get("command_off"))
    on, off = 1 if on is None else on, off or 0
    point = keys(function, address) | {"kind": "state"} | common
    if function == 1:
        on, off = 1, 0
    if on != off:
        point |= {"writable": [min(on, off), max(on, off)], "enum": {"off": off, "on": on}}
    device.points.append(Found(name, here, point))
    verify = table(one.get("verify"))
    seen = whole(verify.get("address"))
    kind = text(verify.get("input_type"))
    if verify and ((seen is not None and seen != address) or (kind and TABLES.get(kind) != function)):
        read = TABLES.get(kind or "holding")
        if read is None:
            found.leave(here, f"verify.input_type: {kind}", reasons.NO_TABLE)
            return
        state = keys(read, address if seen is None else seen) | {"kind": "state"} | common
        words = {word: whole(verify.get(f"state_{word}", one.get(f"command_{word}"))) for word in ("off", "on")}
        if read > 2 and None not in words.values() and words["off"] != words["on"]:
            state["enum"] = words
        elif read > 2:
            said = {key: verify[key] for key in ("state_on", "state_off") if key in verify}
            found.leave(here, f"verify: {said}", reasons.MANY_VALUES)
        device.points.append(Found(f"{name} state", here, state))


def _sensor(
    found: Imported,
    device: FoundDevice,
    here: str,
    name: str,
    function: int,
    address: int,
    one: dict[str, Any],
    common: dict[str, Any],
    *,
    is_number: bool,
) -> None:
    said = text(one.get("data_type")) or "int16"
    swap = text(one.get("swap"))
    order = swapped(byte="byte" in swap, word=swap.startswith("word") or yes(one.get("reverse_order")))
    count = whole(one.get("count"))
    if said == "string":
        add_text(found, device, name, here, function, address, count or 0, order)
        return
    if said == "custom":
        for label, at, kind, how in _structure(found, here, name, text(one.get("structure")), order):
            point = keys(function, address + at, kind, how)
            device.points.append(Found(label, here, point | _meaning(found, here, one, kind) | common))
        return
    kind = TYPES.get(said, "")
    if said in OLD:
        width = WIDTH.get(count or 1, "")
        kind = OLD[said] + width if width else ""
    if not kind:
        found.leave(here, f"data_type: {said}", reasons.NO_TYPE)
        return
    words = WORDS.get(kind[-2:], 1)
    for at in range(_count(one)):
        point = keys(function, address + at * words, kind, order) | _meaning(found, here, one, kind)
        if is_number:
            point |= _limits(found, here, name, one)
        device.points.append(Found(_named(name, at), here, point | common))


def _limits(found: Imported, here: str, name: str, one: dict[str, Any]) -> dict[str, Any]:
    low, high = number(one.get("min_value")), number(one.get("max_value"))
    if low is None or high is None or low >= high:
        found.leave(here, name, reasons.NO_LIMITS)
        return {}
    return {"writable": [low, high]}


def _meaning(found: Imported, here: str, one: dict[str, Any], kind: str) -> dict[str, Any]:
    """Unit, scale, offset, range, what stands for nothing."""
    keys_: dict[str, Any] = {}
    unit = unit_of(one.get("unit_of_measurement"))
    if unit:
        keys_["unit"] = unit
    elif unit is None:
        found.leave(here, f"unit_of_measurement: {one.get('unit_of_measurement')}", reasons.NO_UNIT)
    for key, default in (("scale", 1), ("offset", 0)):
        value = number(one.get(key))
        if key in one and value is None:
            found.leave(here, f"{key}: {one[key]}", reasons.NOT_A_NUMBER)
        elif value is not None and value != default and not (key == "scale" and value == 0):
            keys_[key] = value
    low, high = number(one.get("min_value")), number(one.get("max_value"))
    if low is not None and high is not None and low < high:
        keys_["range"] = [low, high]
        found.leave(here, f"min_value: {low}, max_value: {high}", reasons.CLAMPED)
    elif low is not None or high is not None:
        found.leave(here, f"min_value: {low}, max_value: {high}", reasons.CLAMPED)
    if text(one.get("state_class")) in COUNTING:
        keys_["kind"] = "counter"
    nan = _nan(one.get("nan_value"))
    if nan is not None and "float" not in kind:
        keys_["nan"] = [nan]
    elif "nan_value" in one:
        found.leave(here, f"nan_value: {one['nan_value']}", reasons.NOT_A_NUMBER if nan is None else reasons.NO_TYPE)
    return keys_


def _nan(said: object) -> int | None:
    value = whole(said)
    if value is not None or not isinstance(said, str):
        return value
    try:
        return int(said, 16)
    except ValueError:
        return None


def _structure(found: Imported, here: str, name: str, said: str, order: str) -> list[tuple[str, int, str, str]]:
    """(name, register, type, order) of each value of a format of Python's struct module."""
    match = re.fullmatch(r"([@=<>!]?)((?:\d*[xcbBhHiIlLqQefdsp?]\s*)*)", said.strip())
    if not match or not match[2].strip():
        found.leave(here, f"structure: {said}", reasons.NO_TYPE)
        return []
    values, at = [], 0
    for times, code in re.findall(r"(\d*)([A-Za-z?])", match[2]):
        if code == "s" or len(times) > 3:
            found.leave(here, f"structure: {said}", reasons.MANY_VALUES)
            return []
        for _ in range(int(times or 1)):
            size = struct.calcsize(f">{code}")
            kind = CODES.get(code, "")
            if kind and (size > 1 and at % 2 == 0):
                how = (
                    order
                    if match[1] in (">", "!")
                    else {"ABCD": "DCBA", "CDAB": "BADC", "BADC": "CDAB", "DCBA": "ABCD"}[order]
                )
                values.append((at // 2, kind, how))
            elif kind and size == 1:
                values.append((at // 2, kind, "ABCD" if at % 2 else "BADC"))
            elif code != "x":
                found.leave(here, f"structure: {said} ({code})", reasons.NO_TYPE)
            at += size
    if order in ("CDAB", "DCBA"):  # all registers were turned round together: the first value is in the last ones
        total = -(-at // 2)
        values = [(total - start - WORDS.get(kind[-2:], 1), kind, how) for start, kind, how in values]
    return [(_named(name, n), register, kind, how) for n, (register, kind, how) in enumerate(values)]
