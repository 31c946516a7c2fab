"""Captures in Wireshark's own hands: every protocol is taken apart without a setting, and nothing is malformed."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.field.capture import Line, file
from gateway.field.tape import Tape
from protocols.ble.report import report
from protocols.modbus.crc import crc16

pytestmark = pytest.mark.peers

T = 5_000_000_000
UTC = 1_780_000_000_000_000_000


def _tape(*pieces: tuple[bool, bytes]) -> Any:
    tape = Tape()
    for number, (sent, data) in enumerate(pieces):
        tape.add(sent, data, T + number * 1_000_000)
    return tape.since()


def _rtu(pdu: str) -> bytes:
    data = bytes.fromhex(pdu)
    return data + struct.pack("<H", crc16(data))


def _dissected(path: Path) -> list[dict[str, Any]]:
    asked = ["tshark", "-r", str(path), "-T", "json", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    done = subprocess.run(asked, capture_output=True, check=True, timeout=60)
    return [one["_source"]["layers"] for one in json.loads(done.stdout)]


def test_wireshark_takes_every_protocol_apart(tmp_path: Path) -> None:
    answer = _rtu("010304000700d2")
    lines = [
        (
            Line("line", "serial:/dev/ttyUSB0", "modbus"),
            _tape((True, _rtu("010300000002")), (False, answer[:4]), (False, answer[4:])),
        ),
        (
            Line("net", "tcp://10.1.2.3:1502", "modbus"),
            _tape(
                (True, bytes.fromhex("00010000000601030000000200020000000602030000000a")),
                (False, bytes.fromhex("0001000000070103040007")),
                (False, bytes.fromhex("00d2")),
                (False, bytes.fromhex("000200000003028302")),
            ),
        ),
        (
            Line("node", "coap://10.1.2.4", "coap"),
            _tape(
                (True, bytes.fromhex("40010001b474656d70")),
                (False, bytes.fromhex("60450001ff32312e35")),
            ),
        ),
        (
            Line("air", "ble:hci0", "ble"),
            _tape((False, report("A4:C1:38:00:11:22", {0x0499: bytes(24)}, {}))),
        ),
        (Line("radar", "serial:/dev/ttyS1", "serial"), _tape((False, b"+042\r\n"))),
    ]
    path = tmp_path / "all.pcapng"
    path.write_bytes(file(lines, UTC))
    found = _dissected(path)
    assert not [layers for layers in found if "_ws.malformed" in json.dumps(layers)]
    of = [(layers["frame"]["frame.interface_id_tree"]["frame.interface_name"], layers) for layers in found]
    registers = [layers["modbus"] for name, layers in of if name == "line"]
    assert registers[0]["modbus.word_cnt"] == "2"
    assert "210" in json.dumps(registers[1])
    net = [layers for name, layers in of if name == "net"]
    assert [layers["ip"]["ip.dst"] for layers in net] == ["10.1.2.3", *["192.0.2.1"] * 3]
    assert {layers["tcp"]["tcp.checksum.status"] for layers in net} == {"1"}
    assert "210" in json.dumps(net[2]["modbus"])  # an answer in two segments, put together
    assert "modbus.exception_code" in json.dumps(net[3])
    node = [layers for name, layers in of if name == "node"]
    assert node[0]["coap"]["coap.opt.uri_path_recon"] == "/temp"
    assert node[1]["udp"]["udp.checksum.status"] == "1"
    (advert,) = [layers for name, layers in of if name == "air"]
    assert "a4:c1:38:00:11:22" in json.dumps(advert["bthci_evt"])
    (spoken,) = [layers for name, layers in of if name == "radar"]
    assert "rtacser" in spoken
    assert spoken["frame"]["frame.time_epoch"].startswith("1780000005.000")
