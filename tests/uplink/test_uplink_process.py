"""`citygate uplink` as a process: signals, reload, and what it says when it cannot start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from gateway.spool.spool import Spool

RUN = "import sys; from gateway.uplink.main import run; sys.exit(run(sys.argv[1]))"
SITE = """schema = 1
[gateway]
id = "cab"
[[upstreams]]
name = "city"
uri = "coap://127.0.0.1:9"
insecure = true
"""


def started(site: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(site)], stderr=subprocess.PIPE, text=True, env=os.environ)


def line_with(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it never said {words!r}")


def test_it_reloads_refuses_a_broken_file_and_stops_clean(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    process = started(site)
    line_with(process, "ready: sending to city")
    site.write_text(SITE.replace('"city"', '"harbour"'))
    process.send_signal(signal.SIGHUP)
    line_with(process, "reloaded: sending to harbour")
    site.write_text(SITE + "[[upstreams]\n")
    process.send_signal(signal.SIGHUP)
    assert "old configuration goes on" in line_with(process, "was not taken over")
    process.send_signal(signal.SIGTERM)
    line_with(process, "stopped")
    assert process.wait(5) == 0
    assert process.stderr
    process.stderr.close()
    assert Spool.open(tmp_path / "state" / "spool.db").close() is None


def test_it_says_why_it_cannot_start(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    for text, status, words in (
        (SITE + "x = [", 1, "site.toml"),
        (SITE.replace("insecure = true", 'credentials = "none"'), 2, "CG-4001"),
    ):
        site.write_text(text)
        done = subprocess.run([sys.executable, "-c", RUN, str(site)], capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert words in done.stderr
        assert "Traceback" not in done.stderr
