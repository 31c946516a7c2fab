"""An EdgeX device profile (YAML or JSON) in, one device out. Forms of version 1 and of 2, 3 and 4.

`startingAddress` counts from 1 in version 1 (device-modbus-go took one off), from 0 since. Only 32 bits are ever
swapped there. A fraction of the address is a bit, printed with two digits: 10.1 is bit 10, 10.05 bit 5; "10.5" in
quotes is bit 5.
"""

from __future__ import annotations

from typing import Any

from gateway.importers import reasons
from gateway.importers.modbus import add_text, keys, swapped
from gateway.importers.model import (
    BITS,
    Found,
    FoundDevice,
    Imported,
    number,
    table,
    tables,
    text,
    unit_of,
    whole,
    yes,
)

TABLES = {
    "COILS": 1, "DISCRETES_INPUT": 2, "DISCRETE_INPUTS": 2, "DISCRETES_INPUTS": 2, "DISCRETE_INPUT": 2,
    "HOLDING_REGISTERS": 3, "INPUT_REGISTERS": 4,
}  # fmt: skip
TYPES = {
    "bool": "bool", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64", "int16": "int16", "int32": "int32",
    "int64": "int64", "float32": "float32", "float64": "float64", "uint8": "uint16", "int8": "int16",
}  # fmt: skip
ATTRIBUTES = {"primaryTable", "startingAddress", "rawType", "isByteSwap", "isWordSwap", "stringRegisterSize"}
PROPERTIES = {
    "valueType",
    "type",
    "readWrite",
    "units",
    "scale",
    "offset",
    "minimum",
    "maximum",
    "mask",
    "shift",
    "base",
}
QUIET = {"defaultValue", "size", "assertion", "mediaType", "floatEncoding", "precision", "lsb"}


def edgex(data: Any) -> Imported:
    """One device for each profile in the file."""
    found = Imported("EdgeX device profile")
    every = data if isinstance(data, list) else [data]
    for at, one in enumerate(every):
        profile = table(table(one).get("profile")) or table(one)
        _profile(found, f"[{at}]." if len(every) > 1 else "", profile)
    return found


def _profile(found: Imported, base: str, profile: dict[str, Any]) -> None:
    resources = tables(profile.get("deviceResources"))
    device = FoundDevice(
        text(profile.get("manufacturer")) or "edgex",
        text(profile.get("model")) or text(profile.get("name")) or "device",
        text(profile.get("name")) or text(profile.get("model")) or "device",
        "modbus",
        f"{base}deviceResources",
        period_s=10.0,
    )
    if text(profile.get("description")):
        device.caveats.append(" ".join(text(profile.get("description")).split()))
    first = _first_address(resources)
    if first:
        zero = any(_address(one) == 0 for one in resources if _is_modbus(one))
        found.leave(f"{base}deviceResources", "startingAddress", reasons.BASE_ZERO if zero else reasons.BASE_ONE)
        first = 0 if zero else 1
    words = _mappings(profile)
    for at, one in enumerate(resources):
        _resource(found, device, f"{base}deviceResources[{at}]", one, first, words)
    if device.points:
        found.devices.append(device)


def _first_address(resources: list[dict[str, Any]]) -> int:
    """1 where the profile is of version 1, which keeps `properties.value`."""
    return int(any("value" in table(one.get("properties")) for one in resources))


def _is_modbus(one: dict[str, Any]) -> bool:
    return "primaryTable" in table(one.get("attributes"))


def _address(one: dict[str, Any]) -> int | None:
    return _place(table(one.get("attributes")).get("startingAddress"))[0]


def _place(said: object) -> tuple[int | None, int | None]:
    """Address and bit, as device-modbus-go prints and splits them."""
    shown = f"{said:.2f}" if isinstance(said, float) else text(said)
    head, dot, tail = shown.partition(".")
    return whole(head), (whole(tail.lstrip("0") or "0") if dot else None)


def _resource(
    found: Imported, device: FoundDevice, where: str, one: dict[str, Any], first: int, words: dict[str, dict[str, int]]
) -> None:
    name = text(one.get("name")) or where
    here = f'{where} "{name}"'
    attributes, said = table(one.get("attributes")), table(one.get("properties"))
    properties = (
        (table(said.get("value")) | {"units": table(said.get("units")).get("defaultValue")})
        if "value" in said
        else said
    )
    function = TABLES.get(text(attributes.get("primaryTable")).upper())
    if function is None:
        found.leave(here, f"primaryTable: {attributes.get('primaryTable')}", reasons.NO_TABLE)
        return
    address, bit = _place(attributes.get("startingAddress"))
    address = None if address is None else address - first
    if address is None or not 0 <= address <= 0xFFFF:
        found.leave(here, f"startingAddress: {attributes.get('startingAddress')}", reasons.NO_ADDRESS)
        return
    for key in attributes.keys() - ATTRIBUTES:
        found.leave(here, f"attributes.{key}: {attributes[key]}", reasons.THEIRS)
    for key in properties.keys() - PROPERTIES - QUIET:
        found.leave(here, f"properties.{key}: {properties[key]}", reasons.THEIRS)
    value = text(properties.get("valueType", properties.get("type"))).lower()
    if value == "string":
        add_text(found, device, name, here, function, address, whole(attributes.get("stringRegisterSize")) or 0, "ABCD")
        return
    kind = TYPES.get(text(attributes.get("rawType")).lower() or value, "")
    if function > 2 and not kind:
        found.leave(here, f"valueType: {properties.get('valueType', properties.get('type'))}", reasons.NO_TYPE)
        return
    order = swapped(byte=yes(attributes.get("isByteSwap")), word=yes(attributes.get("isWordSwap")))
    if not kind.endswith("32"):
        order = "ABCD"
    is_bit = kind == "bool" and function > 2
    if is_bit and bit is not None and bit > 15:
        found.leave(here, f"startingAddress: {attributes.get('startingAddress')}", reasons.NO_TYPE)
        return
    point = keys(function, address, kind, order, bit or 0 if is_bit else None)
    if function > 2 and not is_bit:
        point |= _transformed(found, here, properties, kind)
    unit = unit_of(properties.get("units"))
    if unit:
        point["unit"] = unit
    elif unit is None:
        found.leave(here, f"units: {properties.get('units')}", reasons.NO_UNIT)
    point |= _limits(found, here, name, properties, is_bit=is_bit, function=function)
    if text(one.get("name")) in words and function > 2:
        point["enum"] = words[text(one.get("name"))]
    device.points.append(Found(name, here, point, comment=" ".join(text(one.get("description")).split())))


def _transformed(found: Imported, here: str, said: dict[str, Any], kind: str) -> dict[str, Any]:
    """What the SDK makes of a raw number: mask, shift (below 0: down), then scale and offset."""
    keys_: dict[str, Any] = {}
    mask, shift = whole(said.get("mask")), whole(said.get("shift")) or 0
    scale = number(said.get("scale")) or 1
    if text(said.get("base")) not in ("", "0", "1") and number(said.get("base")) not in (0, 1):
        found.leave(here, f"base: {said['base']}", reasons.NOT_LINEAR)
    if kind in BITS and (mask or shift < 0):
        keys_["mask"] = mask or (1 << BITS[kind]) - 1
        if shift < 0:
            keys_["shift"] = -shift
    if shift > 0:
        scale *= 2**shift
    if scale != 1:
        keys_["scale"] = scale
    offset = number(said.get("offset"))
    if offset:
        keys_["offset"] = offset
    return keys_


def _limits(
    found: Imported, here: str, name: str, said: dict[str, Any], *, is_bit: bool, function: int
) -> dict[str, Any]:
    """Range, and what may be written, which needs limits."""
    low, high = number(said.get("minimum")), number(said.get("maximum"))
    span = [low, high] if low is not None and high is not None and low < high else None
    access = text(said.get("readWrite")).upper() or "R"
    keys_: dict[str, Any] = {"range": span} if span and function > 2 and not is_bit else {}
    if "R" not in access:
        found.leave(here, f"readWrite: {access}", reasons.ONLY_WRITTEN)
    if "W" not in access or function in (2, 4):
        return keys_
    if function == 1:
        keys_["writable"] = [0, 1]
    elif span and not is_bit:
        keys_["writable"] = span
    else:
        found.leave(here, name, reasons.NO_LIMITS)
    return keys_


def _mappings(profile: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Resource -> {word: number} of the commands that give numbers names."""
    found: dict[str, dict[str, int]] = {}
    for command in tables(profile.get("deviceCommands")):
        operations = tables(command.get("resourceOperations", command.get("get")))
        for one in operations:
            numbers = {text(word): whole(key) for key, word in table(one.get("mappings")).items()}
            if numbers and None not in numbers.values():
                found[text(one.get("deviceResource"))] = {word: n for word, n in numbers.items() if n is not None}
    return found
