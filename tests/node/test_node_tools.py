"""`citygate firmware` at the maker's, and `citygate node --check`."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from node_rig import SENSOR, written

from gateway.cli import main
from gateway.wire import suit


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_from_a_key_to_a_proven_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, image = str(tmp_path / "maker.pem"), str(tmp_path / "node.image")
    assert main(["firmware", "keygen", key, "--json"]) == 0
    assert (tmp_path / "maker.pem").stat().st_mode & 0o077 == 0
    assert main(["firmware", "image", image, "--json"]) == 0
    made = said(capsys)
    sign = ["firmware", "sign", image, "--key", key, "--vendor", "example.com", "--class", "air-node"]
    assert main([*sign, "--sequence", "3", "--version", "1.2", "--json"]) == 0
    assert main(["firmware", "show", f"{image}.suit", "--trust", f"{key}.pub", "--json"]) == 0
    shown = said(capsys)
    assert shown["proven"] is True
    assert (shown["sha256"], shown["size"]) == (made["sha256"], made["bytes"])
    assert (shown["sequence"], shown["version"], shown["image"]) == (3, "1.2", "node.image")
    assert shown["vendor"] == str(suit.vendor_id("example.com"))
    other = str(tmp_path / "other.pem")
    assert main(["firmware", "keygen", other]) == 0
    assert main(["firmware", "show", f"{image}.suit", "--trust", f"{other}.pub"]) == 1
    assert main(["firmware", "show", image]) == 1
    assert main([*sign, "--sequence", "3", "--version", "x" * 300]) == 2
    assert main([*sign[:3], "--key", f"{key}.pub", *sign[5:], "--sequence", "3"]) == 2
    assert main(sign) == 2
    assert main(["firmware", "keygen", key]) == 2  # a key is never overwritten
    err = capsys.readouterr().err
    for code in ("CG-6217", "CG-6218", "CG-6219"):
        assert err.count(code) >= 2  # English and Korean


def test_an_image_is_the_same_each_time_and_runs(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for out in (first, second):
        assert main(["firmware", "image", str(out)]) == 0
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
    assert {"__main__.py", "gateway/node/main.py", "gateway/wire/suit.py"} <= set(names)
    assert not [name for name in names if name.startswith(("gateway/field", "gateway/center", "fastpath"))]
    config = written(tmp_path, rest="[broken]\n")
    done = subprocess.run([sys.executable, str(first), str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CG-1003" in done.stderr


def test_a_file_is_looked_at(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["node", "--check", str(written(tmp_path))]) == 0
    assert main(["node", "--check", str(written(tmp_path, rest=SENSOR.replace("3303", '"x"')))]) == 1
    assert "CG-1005" in capfd.readouterr().err
    assert main(["firmware", "offer", "cab-7"]) == 2
