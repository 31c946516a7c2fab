"""The unit files as systemd itself reads them, without running any."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
LIMITS = {"citygate-field.service": 1.5, "citygate-uplink.service": 1.0, "citygate-switch.service": 2.0,
          "citygate-trial.service": 2.0, "citygate-reboot.service": 2.0,
          "citygate-panel.service": 1.0, "citygate-node.service": 1.5}  # fmt: skip

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
def test_systemd_finds_nothing_to_say(tmp_path: Path) -> None:
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.target"), *UNITS.glob("*.path"), *UNITS.glob("*.timer")]:
        text = unit.read_text().replace("/usr/bin/citygate", "/bin/true")  # verify wants each program to be there
        (tmp_path / unit.name).write_text(text.replace("/usr/bin/python3", "/bin/true"))
    files = [str(unit) for unit in sorted(tmp_path.iterdir())]
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("unit", LIMITS)
def test_what_a_unit_lays_open_stays_small(unit: str) -> None:
    ask = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / unit)]
    said = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= LIMITS[unit], said


@needs_systemd
def test_the_uplink_makes_no_code_at_run_time_and_opens_no_device() -> None:
    ask = ["systemd-analyze", "security", "--offline=true", "--json=short", str(UNITS / "citygate-uplink.service")]
    said = json.loads(subprocess.run(ask, capture_output=True, text=True, check=False).stdout)
    is_set = {row["name"]: row["set"] for row in said}
    assert is_set["MemoryDenyWriteExecute="]
    assert is_set["PrivateDevices="]


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.name)
def test_each_command_is_one_line(unit: Path) -> None:
    lines = [line for line in unit.read_text().splitlines() if line.startswith("Exec")]
    assert lines
    assert not [line for line in lines if line.endswith("\\")]


@pytest.mark.parametrize("half", ["field", "uplink"])
def test_a_reload_looks_at_the_file_first(half: str) -> None:
    text = (UNITS / f"citygate-{half}.service").read_text()
    reloads = re.findall(r"^ExecReload=(.*)$", text, re.MULTILINE)
    assert reloads == ["/usr/bin/citygate check /etc/citygate/site.toml", '/bin/sh -c "kill -HUP $MAINPID"']
