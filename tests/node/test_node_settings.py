"""A node's file: every fault with its line; and where its numbers come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_rig import FIRMWARE, SENSOR, written

from gateway.node.settings import SensorTable, load
from gateway.node.sources import reader
from gateway.site.faults import Faults


def test_a_file_that_is_right(tmp_path: Path) -> None:
    site = load(written(tmp_path, 'credentials = ["keys/gw"]', FIRMWARE + SENSOR))
    assert site.node.state_dir == str(tmp_path / "node-state")
    assert site.node.credentials == (str(tmp_path / "keys/gw"),)
    assert site.updates is not None
    assert site.updates.limit_bytes == 16_000_000
    assert site.sensors[0].where == "3303/0/5700"


@pytest.mark.parametrize(
    ("node", "rest", "code"),
    [
        ("", SENSOR + SENSOR.replace("3303", "3304"), "CG-1010"),
        ("", SENSOR + SENSOR.replace('"air"', '"b"', 1), "CG-6222"),
        ("", SENSOR.replace("3303", "3"), "CG-6222"),
        ("", SENSOR.replace("3303", "70000"), "CG-1007"),
        ("", SENSOR.replace("unit", "unt"), "CG-1003"),
        ("", SENSOR.replace('path = "air"', ""), "CG-1004"),
        ("", SENSOR + 'match = "("\n', "CG-6221"),
        ("", SENSOR + 'match = "(a)(b)"\n', "CG-6221"),
        ("", SENSOR.replace("[-40, 85]", "[85, -40]"), "CG-1024"),
        ("", FIRMWARE.replace("maker.pub", "nowhere.pub"), "CG-6223"),
        ("", FIRMWARE.replace("maker.pub", "air"), "CG-6223"),
        ("", FIRMWARE.replace('trust = ["maker.pub"]', ""), "CG-1004"),
        ("", FIRMWARE + "limit_mb = 100\n", "CG-1007"),
        ("model = 5", SENSOR, "CG-1005"),
        ("[elsewhere]", SENSOR, "CG-1003"),
    ],
)
def test_faults(tmp_path: Path, node: str, rest: str, code: str) -> None:
    with pytest.raises(Faults) as bad:
        load(written(tmp_path, node, rest))
    assert [fault.code for fault in bad.value.faults] == [code]
    assert all(fault.line > 0 and fault.words_ko for fault in bad.value.faults)


@pytest.mark.parametrize("bind", ["localhost:5683", "0.0.0.0", "0.0.0.0:70000", ""])
def test_an_address_that_is_none(tmp_path: Path, bind: str) -> None:
    path = written(tmp_path)
    text = path.read_text().splitlines()
    path.write_text("\n".join(f'bind = "{bind}"' if line.startswith("bind") else line for line in text))
    with pytest.raises(Faults, match="CG-6220"):
        load(path)


def sensor(path: Path, **keys: object) -> SensorTable:
    return SensorTable.model_validate({"name": "s", "object": 3303, "path": str(path), **keys})


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("48312\n", {"scale": 0.001}, 48.312),
        ("-3", {"offset": 0.5}, -2.5),
        ("1.5e2 V", {}, 150.0),
        ("temp=21.5 hum=48", {"match": r"hum=(\d+)"}, 48.0),
        ("temp=21.5 hum=48", {"match": r"rh=(\d+)"}, None),
        ("no number", {}, None),
        ("", {}, None),
        ("1e999", {}, None),
        ("90", {"range": (-40.0, 85.0)}, None),
        ("state: on", {"match": r"on"}, None),
        ("7", {"match": r"(x)?7"}, None),
    ],
)
def test_numbers_of_files(tmp_path: Path, text: str, keys: dict[str, object], value: float | None) -> None:
    path = tmp_path / "number"
    path.write_text(text)
    assert reader(sensor(path, **keys))(0.0) == pytest.approx(value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert reader(sensor(tmp_path / "none"))(0.0) is None
    assert reader(sensor(tmp_path))(0.0) is None
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    assert reader(sensor(tmp_path / "bytes"))(0.0) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("73 01 4b 46 7f ff 0d 10 41 : crc=41 YES\n73 01 4b 46 7f ff 0d 10 41 t=23187\n", 23.187),
        ("73 01 4b 46 7f ff 0d 10 41 : crc=41 NO\n73 01 4b 46 7f ff 0d 10 41 t=23187\n", None),
        ("50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n", None),
        ("fc ff 4b 46 7f ff 0d 10 41 : crc=41 YES\nfc ff 4b 46 7f ff 0d 10 41 t=-250\n", -0.25),
        ("YES", None),
        ("", None),
    ],
)
def test_one_wire(tmp_path: Path, text: str, value: float | None) -> None:
    """w1_therm's file; 85 degrees is a sensor that was not asked to measure."""
    path = tmp_path / "w1_slave"
    path.write_text(text)
    assert reader(sensor(path, source="w1"))(0.0) == value


def test_a_played_sensor(tmp_path: Path) -> None:
    read = reader(sensor(tmp_path, source="simulated", value=20.0, swing=5.0, every_s=100.0))
    assert [read(at) for at in (0.0, 25.0, 75.0)] == pytest.approx([20.0, 25.0, 15.0])
