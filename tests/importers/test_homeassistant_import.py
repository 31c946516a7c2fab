"""Home Assistant's `modbus:`: hubs, entities of every kind, tags that are not followed."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from gateway.importers.documents import parse
from gateway.importers.homeassistant import homeassistant
from gateway.importers.model import Imported
from gateway.importers.writer import site_text
from gateway.tools.importing import made
from tests.importers.frames import values, whys

HUBS = """
automation: !include automations.yaml
modbus:
  - name: gateway
    type: tcp
    host: !secret modbus_host
    port: 502
    sensors: !include sensors.yaml
  - name: line
    type: serial
    method: rtu
    port: /dev/ttyUSB0
    baudrate: 9600
    bytesize: 8
    stopbits: 2
    parity: E
    timeout: 5
    message_wait_milliseconds: 30
    sensors:
      - {name: Temperature, address: 0, slave: 1, data_type: int16, scale: 0.1, offset: -40, unit_of_measurement: °C,
         nan_value: 0x8000, scan_interval: 30, precision: 1}
      - {name: Energy, address: 10, slave: 1, data_type: float32, swap: word, state_class: total_increasing,
         unit_of_measurement: kWh}
      - {name: Pair, address: 20, slave: 1, data_type: uint16, virtual_count: 1, swap: byte}
      - {name: Custom, address: 30, slave: 1, data_type: custom, count: 4, structure: ">hf2x"}
      - {name: Little, address: 40, slave: 1, data_type: custom, count: 2, structure: "<I"}
      - {name: Old, address: 50, slave: 1, data_type: int, count: 2, reverse_order: true}
      - {name: Heat, address: 60, slave: 1, unit_of_measurement: °F, min_value: 0, max_value: 10}
      - {name: Model, address: 70, slave: 1, data_type: string, count: 4}
      - {name: "전압", address: 80, device_address: 2, unit_of_measurement: V}
    binary_sensors:
      - {name: Alarm, address: 90, slave: 1, input_type: holding, virtual_count: 2}
    switches:
      - {name: Pump, address: 13, slave: 1, write_type: coil, verify: {input_type: discrete_input, address: 14}}
      - {name: Mode, address: 95, slave: 1, command_on: 5, command_off: 2, verify: }
    climates:
      - {name: AC, address: 1}
    covers:
      - {name: Door}
"""


def read(text: str) -> Imported:
    return homeassistant(parse("x.yaml", text, "homeassistant"))


def test_sensors_decode_as_home_assistant_would(tmp_path: Path) -> None:
    found = read(HUBS)
    data = bytearray(2 * 100)

    def put(address: int, raw: bytes) -> None:
        data[2 * address : 2 * address + len(raw)] = raw

    put(0, struct.pack(">h", 635))
    put(10, struct.pack(">HH", *reversed(struct.unpack(">HH", struct.pack(">f", 12.5)))))
    put(20, b"\x34\x12\x78\x56")
    put(30, struct.pack(">hf", -3, 0.75))
    put(40, struct.pack("<I", 1_000_000))
    put(50, struct.pack(">HH", 0xFFFE, 0xFFFF))
    put(90, b"\x80\x01\x00\x02\x00\x03")
    put(95, b"\x00\x05")
    got = values(found, tmp_path, 3, 0, bytes(data))
    assert got["temperature"] == 23.5
    assert (got["energy"], got["pair"], got["pair_1"]) == (12.5, 0x1234, 0x5678)
    assert (got["custom"], got["custom_1"], got["little"], got["old"]) == (-3.0, 0.75, 1_000_000.0, -2.0)
    assert [got[name] for name in ("alarm", "alarm_1", "alarm_2")] == [1, 0, 1]  # the lowest bit of each register
    assert got["mode"] == 5.0


def test_what_a_point_means_carries_over() -> None:
    (first, second) = made(read(HUBS), "x.yaml", "water")
    keys = {point.name: point.keys for point in first.device.points}
    assert keys["Temperature"] | {"unit": "Cel", "nan": [0x8000], "period_s": 30, "offset": -40} == keys["Temperature"]
    assert keys["Energy"]["kind"] == "counter"
    assert keys["Pump"] == {
        "function": 1,
        "address": 13,
        "kind": "state",
        "writable": [0, 1],
        "enum": {"off": 0, "on": 1},
    }
    assert keys["Pump state"] == {"function": 2, "address": 14, "kind": "state"}
    assert keys["Mode"]["writable"] == [2, 5]
    assert first.device.options["identity"] == [{"name": "Model", "address": 70, "registers": 4}]
    assert first.device.options["pause_ms"] == 30
    assert second.names == ["value_80"]
    assert second.device.unit == 2
    assert 'url = "serial:/dev/ttyUSB0"\nbaud = 9600\nparity = "E"\nstop_bits = 2' in site_text([first, second])


def test_what_does_not_carry_over_is_named() -> None:
    said = whys(read(HUBS))
    for words in (
        "modbus[0].host: !secret modbus_host", "modbus[0].sensors: !include sensors.yaml", "unit_of_measurement: °F",
        "climate AC", "cover Door", "precision: 1", "min_value: 0, max_value: 10: values beyond were cut",
    ):  # fmt: skip
        assert words in said or words.split(": ")[-1] in said, words


def test_files_that_others_include_and_older_platforms() -> None:
    assert read("- {name: a, address: 3, input_type: input}").devices[0].points[0].keys["function"] == 4
    old = """
modbus: {name: hub1, type: rtuovertcp, host: 10.0.0.9, port: 4001}
sensor:
  - platform: template
  - platform: modbus
    registers:
      - {name: s, hub: hub1, slave: 5, register: 100, register_type: input, data_type: uint, count: 2}
binary_sensor:
  - platform: modbus
    inputs: [{name: b, hub: hub1, slave: 5, address: 7, input_type: discrete_input}]
switch:
  - platform: modbus
    coils: [{name: c, hub: hub1, slave: 5, coil: 9}]
"""
    (device,) = read(old).devices
    assert [(p.keys["function"], p.keys["address"]) for p in device.points] == [(4, 100), (2, 7), (1, 9)]
    assert device.points[0].keys["type"] == "uint32"
    assert (device.url, device.unit) == ("rtu+tcp://10.0.0.9:4001", 5)
    packages = "homeassistant: {packages: {p: {modbus: [{type: tcp, host: h, sensors: [{name: a, address: 1}]}]}}}"
    assert read(packages).devices[0].url == "tcp://h:502"


def test_words_of_a_structure_are_turned_round_together(tmp_path: Path) -> None:
    """What the other system does before it takes them apart: the first value stands in the last registers."""
    row = "{name: c, address: 0, data_type: custom, count: 5, structure: '>fhf', swap: word}"
    found = read(f"modbus: {{type: tcp, host: h, sensors: [{row}]}}")
    words = struct.unpack(">5H", struct.pack(">fhf", 1.5, -7, 2.25))
    assert values(found, tmp_path, 3, 0, struct.pack(">5H", *reversed(words))) == {"c": 1.5, "c_1": -7, "c_2": 2.25}


def test_parts_of_one_light_and_lists_of_states_are_named() -> None:
    found = read(
        "modbus: {type: tcp, host: h, lights: [{name: dim, address: 13, brightness_address: 14}],\n"
        " switches: [{name: s, address: 11, verify: {address: 12, state_on: [25, 26], state_off: 1}}]}"
    )
    assert "brightness_address: 14: several registers that are controlled together" in whys(found)
    assert "state_on': [25, 26]" in whys(found)


def test_values_of_no_use_are_left(tmp_path: Path) -> None:
    sensors: list[dict[str, Any]] = [
        {"name": "no address"}, {"name": "far", "address": 70_000}, {"name": "table", "address": 1, "input_type": "x"},
        {"name": "type", "address": 1, "data_type": "custom", "structure": ">4s"},
        {"name": "width", "address": 1, "data_type": "float", "count": 3}, {"name": "good", "address": 1, "scale": "x"},
    ]  # fmt: skip
    found = homeassistant({"modbus": {"type": "udp", "host": "h", "sensors": sensors}})
    assert [point.name for point in found.devices[0].points] == ["good"]
    assert len(found.left) == 7
