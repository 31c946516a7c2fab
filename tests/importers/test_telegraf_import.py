"""Telegraf's `inputs.modbus`: what its own samples and test cases do, in files written for this test."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import tomli

from gateway.importers.telegraf import seconds, telegraf
from gateway.importers.writer import site_text
from gateway.tools.importing import made
from tests.importers.frames import values, whys

REGISTER = """
[[inputs.modbus]]
  name = "Device"
  slave_id = 7
  timeout = "1s"
  controller = "tcp://plc.example:502"
  transmission_mode = "RTUoverTCP"
  configuration_type = "register"
  busy_retries = 3
  discrete_inputs = [ { name = "start", address = [0]} ]
  coils = [ { name = "motor1_run", address = [4]} ]
  holding_registers = [
    { name = "power_factor", byte_order = "AB",   data_type = "FIXED",  scale=0.01,  address = [8]},
    { name = "energy",       byte_order = "ABCD", data_type = "UFIXED", scale=0.001, address = [5,6]},
    { name = "old_float",    byte_order = "CDAB", data_type = "FLOAT32", scale=0.5, address = [10,11]},
    { name = "ieee",         byte_order = "ABCD", data_type = "FLOAT32-IEEE", scale=1.0, address = [13,12]},
    { name = "wide",         byte_order = "GHEFCDAB", data_type = "FLOAT64-IEEE", scale=1.0, address = [20,21,22,23]},
    { name = "low",          byte_order = "AB", data_type = "UINT8L", scale=1.0, address = [30]},
    { name = "high",         byte_order = "AB", data_type = "INT8H", scale=1.0, address = [30]},
    { name = "swapped",      byte_order = "BA", data_type = "UINT16", scale=1.0, address = [31]},
    { name = "holes",        byte_order = "ABCD", data_type = "UINT32", scale=1.0, address = [40,42]},
    { name = "misfit",       byte_order = "AB", data_type = "UINT32", scale=1.0, address = [50]},
  ]
"""
REQUEST = """
[agent]
interval = "30s"
[[inputs.modbus]]
  name = "Line"
  controller = "file:///dev/ttyUSB0"
  baud_rate = 19200
  parity = "E"
  stop_bits = 1
  configuration_type = "request"
  [inputs.modbus.workarounds]
    pause_between_requests = "50ms"
    one_request_per_field = true
    read_coils_starting_at_zero = true
  [[inputs.modbus.request]]
    slave_id = 1
    byte_order = "DCBA"
    register = "holding"
    measurement = "m"
    fields = [
      { address=0, name="voltage", type="INT16",   scale=0.1 },
      { address=1, name="current", type="INT32",   scale=0.001 },
      { address=3, name="power",   type="UINT32",  omit=true },
      { address=7, name="frequency", type="UINT32", scale=0.1 },
      { address=8, name="power_factor", type="INT64", scale=0.01 },
    ]
    [inputs.modbus.request.tags]
      machine = "press"
  [[inputs.modbus.request]]
    slave_id = 2
    byte_order = "DCBA"
    register = "holding"
    fields = [
      { address=0, measurement="Voltage", name="PV1", type="UINT16" },
      { address=1, measurement="Current", name="PV1", type="UINT16" },
    ]
"""
METRIC = """
[[inputs.modbus]]
  name = "m"
  controller = "tcp://10.0.0.1:502"
  configuration_type = "metric"
  [[inputs.modbus.metric]]
    slave_id = 3
    byte_order = "DCBA"
    fields = [
      { register="coil",  address=0, name="door_open"},
      { register="input", address=134, name = "3x0135:INT", type = "INT16"},
      { address=9, name="firmware", type="STRING", length=8 },
      { address=20, name="flag", type="BIT", bit=3 },
      { address=21, name="odd", type="INT128" },
    ]
"""


def test_registers_decode_as_telegraf_would(tmp_path: Path) -> None:
    found = telegraf(tomli.loads(REGISTER))
    data = bytearray(2 * 60)
    data[10:14] = struct.pack(">I", 123_456)
    data[16:18] = struct.pack(">h", -95)
    data[20:24] = struct.pack(">HH", 0x0002, 0x0001)  # low word first: 65538
    data[24:28] = struct.pack(">HH", *reversed(struct.unpack(">HH", struct.pack(">f", 1.5))))
    data[40:48] = struct.pack(">HHHH", *reversed(struct.unpack(">HHHH", struct.pack(">d", 2.25))))
    data[60:62] = b"\xff\x2a"
    data[62:64] = b"\x34\x12"
    got = values(found, tmp_path, 3, 0, bytes(data))
    assert got == {
        "power_factor": -0.95, "energy": 123.456, "old_float": 32769.0, "ieee": 1.5, "wide": 2.25, "low": 42.0,
        "high": -1.0, "swapped": 0x1234,
    }  # fmt: skip
    assert values(found, tmp_path, 1, 4, b"\x01")["motor1_run"] == 1.0


def test_what_does_not_carry_over_is_named() -> None:
    said = whys(telegraf(tomli.loads(REGISTER)))
    for words in (
        "holes: address = [40, 42]: its registers",
        "misfit: byte_order",
        "FLOAT32: deprecated",
        "busy_retries = 3",
    ):
        assert words in said
    assert "address = [13, 12]: addresses stand low word first" in said


def test_requests_are_one_device_a_slave() -> None:
    found = telegraf(tomli.loads(REQUEST))
    written = made(found, "t.conf", "streetlight")
    assert [one.device.unit for one in written] == [1, 2]
    assert written[0].names == ["m_voltage".removeprefix("m_"), "current", "frequency"]
    assert written[1].names == ["voltage_pv1", "current_pv1"]
    device = written[0].device
    assert device.line == {"baud": 19200, "parity": "E", "stop_bits": 1}
    assert device.options == {"pause_ms": 50.0, "max_gap": 0}
    assert device.period_s == 30.0
    assert device.points[0].keys["order"] == "BADC"
    assert device.points[1].keys["order"] == "DCBA"
    said = whys(found)
    assert "power: omitted there too" in said
    assert "power_factor: overlaps" in said
    assert "read_coils_starting_at_zero" in said
    assert "tags" in said


def test_the_site_is_what_the_connection_was() -> None:
    text = site_text(made(telegraf(tomli.loads(REGISTER)), "t.conf", "other"))
    assert 'url = "rtu+tcp://plc.example:502"' in text
    assert "timeout_s = 1.0" in text
    assert "unit = 7" in text
    assert 'url = "serial:/dev/ttyUSB0"\nbaud = 19200\nparity = "E"' in site_text(
        made(telegraf(tomli.loads(REQUEST)), "t.conf", "other")
    )


def test_metrics_have_bits_and_texts() -> None:
    found = telegraf(tomli.loads(METRIC))
    (one,) = made(found, "t.conf", "other")
    keys = {point.name: point.keys for point in one.device.points}
    assert keys["flag"]["bit"] == 3 ^ 8  # the bytes are swapped there
    assert keys["3x0135:INT"]["function"] == 4
    assert one.names[1] == "p_3x0135_int"
    assert one.device.options["identity"] == [{"name": "firmware", "address": 9, "registers": 8, "order": "BADC"}]
    assert "INT128: an encoding" in whys(found)


def test_devices_that_are_alike_share_a_profile() -> None:
    one = '[[inputs.modbus]]\nname = "meter"\nslave_id = {0}\ncontroller = "tcp://a:502"\n'
    one += 'coils = [{{name = "x", address = [1]}}]\n'
    (only,) = made(telegraf(tomli.loads(one.format(1) + one.format(2))), "t.conf", "other")
    assert [user.unit for user in only.users] == [1, 2]
    assert site_text([only]).count("[[links]]") == 1


@pytest.mark.parametrize(
    "sample",
    ["[[inputs.modbus.request]]\nfields = [{address=1,name='a',type='INT16'}]", "coils=[{name='a',address=[1]}]"],
)
def test_parts_of_a_configuration_are_taken_too(sample: str) -> None:
    assert [point.name for point in telegraf(tomli.loads(sample)).devices[0].points] == ["a"]


def test_durations() -> None:
    assert [seconds(said) for said in ("1m30s", "500ms", "10", 2, "soon", None)] == [90.0, 0.5, 10.0, 2.0, 0.0, 0.0]
