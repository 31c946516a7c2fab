"""Two field halves on one state folder: the second is turned away at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.field import main
from gateway.field.lock import StateLock
from gateway.site.compile import load_plan
from gateway.spool.trouble import SpoolError

SITE = """
schema = 1
[gateway]
id = "cab-7"
name = { en = "Cabinet 7", ko = "7번 분전함" }
asset = "CAB-7"
zone = "z1"
latitude = 37.5
longitude = 127.0
[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:5683"
insecure = true
[[links]]
name = "l"
url = "tcp://127.0.0.1:1"
[[devices]]
name = "m"
profile = "streetlight/eastron-sdm120"
link = "l"
unit = 1
"""


def test_a_second_field_half_ends_with_2_and_says_who_holds_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE, encoding="utf-8")
    held = StateLock(Path(load_plan(str(site)).state_dir))
    try:
        assert main.run(str(site)) == 2
    finally:
        held.release()
    said = capsys.readouterr().err
    assert said.count("CG-2007") == 2
    assert str(os.getpid()) in said
    assert "Traceback" not in said


def test_a_lock_that_was_released_or_whose_holder_died_is_free(tmp_path: Path) -> None:
    for _ in range(2):
        lock = StateLock(tmp_path / "state")
        lock.release()
        lock.release()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="CG-2002"):
        StateLock(tmp_path / "file" / "state")
