"""EdgeX device profiles of version 1 and since, as device-modbus-go reads them."""

from __future__ import annotations

import struct
from pathlib import Path

from gateway.importers.documents import parse
from gateway.importers.edgex import edgex
from gateway.importers.model import Imported
from gateway.tools.importing import made
from tests.importers.frames import values, whys

PROFILE = """
name: "Test-Profile"
manufacturer: "Cool Automation"
model: "CoolMasterNet"
description: "a bridge"
deviceResources:
- {name: SwitchA,
   attributes: {primaryTable: COILS, startingAddress: 0},
   properties: {valueType: Bool, readWrite: RW}}
- {name: Mode,
   attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: 1},
   properties: {valueType: Int16, readWrite: RW, minimum: 0, maximum: 11}}
- {name: Failure,
   attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: 10.1},
   properties: {valueType: Bool, readWrite: R}}
- {name: Fault5,
   attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: "10.5"},
   properties: {valueType: Bool, readWrite: R}}
- {name: Room, description: "Room x10 °C",
   attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: 3, rawType: Int16},
   properties: {valueType: Float32, readWrite: R, scale: 0.1, offset: 1, units: furlong}}
- {name: Power,
   attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: 4, isByteSwap: true, isWordSwap: "true"},
   properties: {valueType: Float32, readWrite: R, units: W}}
- {name: Nibble,
   attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: 6},
   properties: {valueType: Uint16, readWrite: R, mask: "240", shift: "-4"}}
- {name: Free,
   attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: 7},
   properties: {valueType: Uint16, readWrite: W}}
- {name: Serial,
   attributes: {primaryTable: INPUT_REGISTERS, startingAddress: 1, stringRegisterSize: 5},
   properties: {valueType: String}}
- {name: Odd,
   attributes: {primaryTable: HEAP, startingAddress: 1},
   properties: {valueType: Uint16}}
deviceCommands:
- name: Values
  resourceOperations:
    - {deviceResource: SwitchA, mappings: {"true": "ON", "false": "OFF"}}
    - {deviceResource: Mode, mappings: {"0": Cool, "1": Heat, "11": "VAM Normal"}}
"""
FIRST = """
name: "Network Power Meter"
deviceResources:
- name: "HoldingRegister_1"
  attributes: { primaryTable: "HOLDING_REGISTERS", startingAddress: "{0}", rawType: "INT16" }
  properties:
    value: { type: "FLOAT32", readWrite: "R", scale: "0.1" }
    units: { type: "String", readWrite: "R", defaultValue: "V" }
"""


def read(text: str) -> Imported:
    return edgex(parse("p.yaml", text, "edgex"))


def test_resources_decode_as_edgex_would(tmp_path: Path) -> None:
    data = bytearray(2 * 12)
    data[2:4] = struct.pack(">h", 11)
    data[6:8] = struct.pack(">h", 234)
    whole = struct.pack(">f", 230.5)
    data[8:12] = whole[::-1]
    data[12:14] = b"\x00\xa7"
    data[20:22] = (1 << 10).to_bytes(2, "big")
    got = values(read(PROFILE), tmp_path, 3, 0, bytes(data))
    assert got == {"mode": 11, "failure": 1, "fault5": 0, "room": 24.4, "power": 230.5, "nibble": 10, "free": 0}


def test_meaning_and_what_was_left() -> None:
    found = read(PROFILE)
    (one,) = made(found, "p.yaml", "air")
    assert one.name == "air/cool-automation-coolmasternet"
    keys = {point.name: point.keys for point in one.device.points}
    assert keys["SwitchA"]["writable"] == [0, 1]
    assert keys["Mode"]["writable"] == [0, 11]
    assert keys["Mode"]["enum"] == {"Cool": 0, "Heat": 1, "VAM Normal": 11}
    assert "enum" not in keys["SwitchA"]
    assert one.device.options["identity"] == [{"name": "Serial", "address": 1, "registers": 5, "function": 4}]
    said = whys(found)
    assert "primaryTable: HEAP" in said
    assert "furlong: no unit" in said
    assert "Free: written there without limits" in said
    assert "readWrite: W: only written" in said


def test_the_first_version_counts_from_one() -> None:
    found = read(FIRST.replace("{0}", "10"))
    assert found.devices[0].points[0].keys == {"function": 3, "address": 9, "type": "int16", "scale": 0.1, "unit": "V"}
    assert "counted from 1" in whys(found)
    zero = read(FIRST.replace("{0}", "0"))
    assert zero.devices[0].points[0].keys["address"] == 0
    assert "an address 0 is in use" in whys(zero)


def test_json_and_envelopes() -> None:
    text = """[{"apiVersion": "v3", "profile": {"name": "x", "deviceResources": [{"name": "a", "attributes":
    {"primaryTable": "INPUT_REGISTERS", "startingAddress": 2}, "properties": {"valueType": "Uint16"}}]}}]"""
    assert read(text).devices[0].points[0].keys == {"function": 4, "address": 2, "type": "uint16"}


def test_units_are_known_in_words() -> None:
    resource = "attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: 2, rawType: Int16}"
    found = edgex(
        parse(
            "x.yaml",
            f"deviceResources:\n- {{name: T, {resource}, properties: {{valueType: Float32, scale: '0.01', "
            "units: degrees Celsius}}}}".replace("}}}}", "}}"),
            "edgex",
        )
    )
    assert found.devices[0].points[0].keys["unit"] == "Cel"
