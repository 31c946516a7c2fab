"""`citygate field` as systemd sees it: what it notifies over a change of configuration and at its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SITE = """schema = 1
[gateway]
id = "cab"
mode = "local"
[[links]]
name = "bus"
url = "tcp://127.0.0.1:9"
[[devices]]
name = "meter"
profile = "streetlight/eastron-sdm120"
link = "bus"
unit = 1
"""
PATIENCE_S = 60.0


class Supervisor:
    """The end of the notify socket that systemd holds."""

    def __init__(self, path: Path) -> None:
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(path))
        self.channel.settimeout(PATIENCE_S)
        self.heard: list[str] = []

    def until(self, words: str) -> None:
        while True:
            self.heard.append(self.channel.recv(4096).decode())
            if words in self.heard[-1]:
                return


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "notify")
    yield made
    made.channel.close()


def test_a_change_of_configuration_is_no_stop_to_systemd(tmp_path: Path, supervisor: Supervisor) -> None:
    site, said = tmp_path / "site.toml", tmp_path / "said"
    site.write_text(SITE)
    environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with said.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "gateway.cli", "field", str(site)], stderr=log, env=environ)
    try:
        supervisor.until("READY=1")
        site.write_text(SITE + "period_s = 7.0\n")
        process.send_signal(signal.SIGHUP)
        supervisor.until("RELOADING=1")
        supervisor.until("READY=1")
        supervisor.until("WATCHDOG=1")  # of the plan after the change, or of the one before it
        supervisor.until("WATCHDOG=1")
        supervisor.until("WATCHDOG=1")
        assert said.read_text().count("polling 1 devices") == 2, said.read_text()
        assert "STOPPING=1" not in "".join(supervisor.heard)
        process.send_signal(signal.SIGTERM)
        supervisor.until("STOPPING=1")
        assert process.wait(PATIENCE_S) == 0, said.read_text()
    finally:
        process.kill()
        process.wait()
