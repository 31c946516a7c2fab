"""The small verbs as a technician meets them: one clear message with a code, the right exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.center import look
from gateway.center.main import run as center
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError
from gateway.tools import both, credentials, status
from gateway.uplink.main import run as uplink

SITE = """\
schema = 1
[gateway]
id = "tools"
[[links]]
name = "bus"
url = "tcp://127.0.0.1:9"
[[devices]]
name = "meter"
profile = "streetlight/eastron-sdm120"
link = "bus"
unit = 1
"""
CENTER = '[[upstreams]]\nname = "center"\nuri = "coap://127.0.0.1:9"\n'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


def test_a_gateway_id_stays_inside_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert credentials.new("../x", str(tmp_path / "ours"), str(tmp_path / "intake")) == 2
    assert "CG-4007" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_half_a_pair_of_credentials_is_not_left_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "intake").write_text("a file where a folder belongs")
    assert credentials.new("cab-7", str(tmp_path / "ours"), str(tmp_path / "intake")) == 2
    assert capsys.readouterr().err.count("CG-4008") == 2
    (tmp_path / "intake").unlink()
    assert credentials.new("cab-7", str(tmp_path / "ours"), str(tmp_path / "intake")) == 0
    assert credentials.new("cab-7", str(tmp_path / "ours"), str(tmp_path / "intake")) == 2
    assert "CG-4005" in capsys.readouterr().err


def test_status_without_a_field_half(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.run(str(site), json=False) == 2
    said = capsys.readouterr().err
    assert said.count("CG-5001") == 2
    assert f"citygate field {site}" in said


def test_status_without_permission(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(status, "ask", refuse)
    assert status.run(str(site), json=False) == 2
    assert "CG-5006" in capsys.readouterr().err


def test_status_of_a_field_half_that_ends_while_it_answers(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(*_: object) -> None:
        raise ValueError("Expecting value")

    monkeypatch.setattr(status, "ask", end)
    assert status.run(str(site), json=True) == 2
    assert "CG-5001" in capsys.readouterr().err


def test_a_look_into_what_is_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert look.tail(str(tmp_path / "none.db"), False) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "junk.db").write_bytes(b"x" * 5000)
    assert look.gaps(str(tmp_path / "junk.db"), True) == 2
    assert "CG-4204" in capsys.readouterr().err


def test_a_center_says_why_it_does_not_listen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    db = str(tmp_path / "center.db")
    for bind, code, status_, words in (
        ("nonsense", "CG-4205", 2, "HOST:PORT"),
        ("127.0.0.1:70000", "CG-4205", 2, "1 to 65535"),
        ("192.0.2.7:15999", "CG-4201", 3, "an address of this machine"),
    ):
        assert center(bind, db, None, True) == status_
        said = capfd.readouterr().err
        assert code in said
        assert words in said
    assert center("127.0.0.1:0", db, str(tmp_path / "none"), False) == 2
    assert "CG-4203" in capfd.readouterr().err


def test_an_uplink_that_cannot_start(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    site.write_text(SITE + "x = [")
    assert uplink(str(site)) == 1
    site.write_text(SITE + CENTER + 'credentials = "none"\n')
    assert uplink(str(site)) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    (site.parent / "state" / "spool.db").unlink()
    for rest in (site.parent / "state").iterdir():
        rest.unlink()
    (site.parent / "state").rmdir()
    (site.parent / "state").write_text("a file where the state folder belongs")
    assert uplink(str(site)) == 2
    assert "CG-2002" in capfd.readouterr().err


def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(SpoolError, match="CG-2002"):
        Spool.open(tmp_path / "state" / "spool.db")


def test_a_spool_put_aside_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spool.db").write_bytes(b"no database at all, but longer than one" * 200)
    Spool.open(tmp_path / "spool.db", role="writer").close()
    assert "CG-2003" in caplog.text
    assert str(next(tmp_path.glob("spool.db.corrupt-*"))) in caplog.text


def test_run_says_once_what_is_wrong_with_the_site(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    site.write_text(SITE.replace('"bus"', '"bus', 1))
    assert both.run(str(site)) == 1
    assert capfd.readouterr().err.count("CG-1002") == 1


def test_run_polls_on_where_the_uplink_has_no_credentials(site: Path) -> None:
    site.write_text(SITE + CENTER + 'credentials = "none"\n')
    log = site.parent / "log"
    with log.open("wb") as file:
        play = subprocess.Popen([sys.executable, "-m", "gateway.cli", "run", str(site)], stderr=file, env=os.environ)
    try:
        _wait_for(lambda: "[CG-5005]" in log.read_text() and _answers(site.parent / "state" / "field.sock"))
        assert "CG-4001" in log.read_text()
        assert play.poll() is None
    finally:
        play.send_signal(signal.SIGTERM)
        assert play.wait(20) == 0
    assert "Traceback" not in log.read_text()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _wait_for(what: object, limit_s: float = 30.0) -> None:
    assert callable(what)
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)
