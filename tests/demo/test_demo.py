"""The demo as a user runs it, in its short form: real processes, one incident, a clean account."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

KEYS = {
    "readings", "summaries", "alarms_expected", "alarms_raised", "alarms_missed", "alarms_false", "alarm_latency_ms",
    "bytes_up", "bytes_raw", "sent", "received", "lost", "duplicates", "cpu_s", "rss_mb", "first_ack_s",
}  # fmt: skip
RECORDING = Path(__file__).parents[3] / "shared" / "data" / "nab" / "data" / "realTraffic" / "occupancy_6005.csv"


def demo(*arguments: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    command = [sys.executable, "-m", "gateway.cli", "demo", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return done, json.loads(lines[-1]) if lines else {}


def test_a_short_play_ends_with_a_clean_account() -> None:
    done, account = demo("--seconds", "18")
    assert done.returncode == 0, done.stderr
    assert set(account) >= KEYS
    assert (account["lost"], account["duplicates"], account["alarms_missed"], account["alarms_false"]) == (0, 0, 0, 0)
    assert account["alarms_raised"] == account["alarms_expected"] >= 1
    assert account["sent"] == account["received"] + account["declared_gap"] > 3000
    assert all(account["rss_mb"][half] > 10 for half in ("field", "uplink", "center"))
    assert len(done.stdout.strip().splitlines()) == 1


@pytest.mark.skipif(not RECORDING.exists(), reason="the recorded series lie in ../shared, which this clone has not")
def test_a_recording_is_played_as_a_device_and_its_alarms_stand_apart() -> None:
    done, account = demo("--seconds", "12", "--replay", str(RECORDING))
    assert done.returncode == 0, done.stderr
    assert account["replay"]["rows"] > 100
    assert account["alarms_false"] == account["lost"] == account["duplicates"] == 0


def test_what_cannot_be_played_is_refused_at_once(tmp_path: Path) -> None:
    done, _ = demo("--seconds", "2")
    assert (done.returncode, "too short" in done.stderr) == (2, True)
    done, _ = demo("--replay", str(tmp_path / "none.csv"))
    assert (done.returncode, "CG-5003" in done.stderr) == (2, True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    done, _ = demo("--keep", str(tmp_path / "full"))
    assert done.returncode == 2
    assert "not empty" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_play_ends_what_it_started_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "gateway.cli", "demo", "--seconds", "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as play:
        started = _wait_for(lambda: _children(play.pid) if len(_children(play.pid)) >= 3 else [])
        play.send_signal(number)
        play.wait(20)
    assert play.returncode == 130
    assert started
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _wait_for(look: Callable[[], list[int]]) -> list[int]:
    for _ in range(2400):
        if found := look():
            return found
        threading.Event().wait(0.05)
    return []
