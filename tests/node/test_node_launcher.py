"""What starts a node's firmware: real processes that log their start, die, hang, or are unfit. Images are scripts here;
what an image is, the launcher does not look at."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_rig import FIRMWARE, SENSOR, written

from gateway.node import boot, launcher, state
from gateway.node.disk import Disk
from gateway.node.launcher import Launcher
from gateway.node.main import Node
from gateway.node.settings import load
from gateway.node.state import Image, Kept, Phase, Result
from gateway.spool.trouble import Trouble

HEAD = "import os, signal, sys, time\nopen(sys.argv[1] + '.log', 'a').write({name!r} + '\\n')\n"
ENDS_ALL = "os.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(60)\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(launcher, "PAUSES_S", (0.0,))
    monkeypatch.setattr(launcher, "LOOK_S", 0.02)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def node(folder: Path, old: str, new: str, phase: Phase = Phase.TRIAL) -> tuple[Launcher, Path]:
    """Runs `old` from slot a, and has `new` in slot b."""
    path = written(folder, rest=FIRMWARE + SENSOR)
    site = load(path)
    disk = Disk(site.node.state_dir)
    slots = {}
    for number, (slot, script) in enumerate((("a", old), ("b", new)), 1):
        data = (HEAD.format(name=slot) + script).encode()
        disk.replace(boot.file_of(slot), data)
        slots[slot] = Image(hashlib.sha256(data).hexdigest(), len(data), number)
    state.save(disk, Kept(phase=phase, active="a", candidate="b", slots=slots, sequence=1))
    return Launcher(str(path)), path


def started(path: Path) -> list[str]:
    return Path(f"{path}.log").read_text().split()


def kept(path: Path) -> Kept:
    return state.load(Disk(load(path).node.state_dir))


def test_a_firmware_that_dies_on_trial_is_given_up(tmp_path: Path) -> None:
    one, path = node(tmp_path, ENDS_ALL, "sys.exit(1)\n")
    assert one.run() == 0
    assert started(path) == ["b"] * boot.MOST_BOOTS + ["a"]
    assert (kept(path).phase, kept(path).result, kept(path).active) == (Phase.IDLE, Result.FAILED, "a")


def test_one_that_is_unfit_is_given_up_at_once(tmp_path: Path) -> None:
    one, path = node(tmp_path, ENDS_ALL, f"sys.exit({boot.UNFIT})\n")
    assert one.run() == 0
    assert started(path) == ["b", "a"]


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "TRIALS_AT_MOST", 0)
    monkeypatch.setattr(launcher, "SPARE_S", 0.1)
    one, path = node(tmp_path, ENDS_ALL, "time.sleep(60)\n")
    assert one.run() == 0
    assert started(path)[-1] == "a"
    assert (kept(path).phase, kept(path).result) == (Phase.IDLE, Result.FAILED)


def test_one_that_is_broken_on_disk_is_never_started(tmp_path: Path) -> None:
    one, path = node(tmp_path, ENDS_ALL, "sys.exit(1)\n")
    (Path(load(path).node.state_dir) / "b.image").write_text("import this")
    assert one.run() == 0
    assert started(path) == ["a"]


def test_a_power_cut_on_trial_counts(tmp_path: Path) -> None:
    """Each start, whoever ended the one before: a firmware that browns the board out is given up too."""
    one, path = node(tmp_path, ENDS_ALL, ENDS_ALL)
    assert one.run() == 0
    assert kept(path).boots == 1
    os.close(one._lock)
    for _ in range(boot.MOST_BOOTS):
        again = Launcher(str(path))
        assert again.run() == 0
        os.close(again._lock)
    assert started(path) == ["b"] * boot.MOST_BOOTS + ["a"]


def test_a_confirmed_firmware_is_started_again(tmp_path: Path) -> None:
    counted = "if open(sys.argv[1] + '.log').read().count('a') < 5: sys.exit(1)\n"
    one, path = node(tmp_path, counted + ENDS_ALL, "", Phase.IDLE)
    assert one.run() == 0
    assert started(path) == ["a"] * 5


def test_one_that_cannot_live_at_all_gives_way_to_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state stays as it is: a start of the launcher tries it anew."""
    one, path = node(tmp_path, "sys.exit(1)\n", "", Phase.IDLE)
    package = tmp_path / "package.py"
    package.write_text(HEAD.format(name="package") + ENDS_ALL)
    monkeypatch.setattr(launcher, "CHILD", (sys.executable, str(package)))
    assert one.run() == 0
    assert started(path) == ["a"] * launcher.MOST_DEATHS + ["package"]
    assert kept(path).active == "a"


def test_two_launchers_do_not_share_a_node(tmp_path: Path) -> None:
    one, path = node(tmp_path, "", "")
    with pytest.raises(Trouble, match="CG-6200"):
        Launcher(str(path))
    os.close(one._lock)


def test_a_card_that_became_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial whose start cannot be counted is not begun; what ran runs."""
    one, path = node(tmp_path, ENDS_ALL, "sys.exit(1)\n")

    def refuses(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Disk, "replace", refuses)
    assert one.run() == 0
    assert started(path) == ["a"]


def test_a_state_that_cannot_be_read_starts_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, path = node(tmp_path, ENDS_ALL, "sys.exit(1)\n")
    right = Disk.read

    def refuses(self: Disk, name: str) -> bytes | None:
        if name == state.FILE:
            raise OSError(errno.EIO, "Input/output error")
        return right(self, name)

    monkeypatch.setattr(Disk, "read", refuses)
    assert one._chosen() == state.BASE
    measuring = Node(load(path))
    assert measuring.firmware is None
    assert measuring.good == 1
    os.close(one._lock)


def test_a_reload_starts_anew(tmp_path: Path) -> None:
    script = (
        "if open(sys.argv[1] + '.log').read().count('a') == 1:\n"
        "    os.kill(os.getppid(), signal.SIGHUP)\n"
        "    time.sleep(60)\n"
    )
    one, path = node(tmp_path, script + ENDS_ALL, "", Phase.IDLE)
    assert one.run() == 0
    assert started(path) == ["a", "a"]


def test_a_reload_of_a_broken_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, path = node(tmp_path, "", "")
    text = path.read_text()
    path.write_text("broken")
    one._reload(signal.SIGHUP, None)
    assert not one._reloads
    assert "the old configuration goes on" in caplog.text
    path.write_text(text)
    one._reload(signal.SIGHUP, None)
    assert one._reloads
    os.close(one._lock)


def test_systemds_watchdog_is_the_childs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    said = "import json\njson.dump(dict(os.environ), open(sys.argv[1] + '.env', 'w'))\n"
    one, path = node(tmp_path, said + ENDS_ALL, "", Phase.IDLE)
    assert one.run() == 0
    environment = json.loads(Path(f"{path}.env").read_text())
    assert "WATCHDOG_PID" not in environment
    assert environment["WATCHDOG_USEC"] == "60000000"
    assert environment[boot.SLOT] == "a"
    assert environment[boot.PARENT] == str(os.getpid())


def test_a_file_with_faults_and_a_folder_that_is_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, rest=FIRMWARE + SENSOR)
    (tmp_path / "node-state").write_text("a file")
    assert launcher.run(str(path)) == 2
    assert "CG-6212" in capfd.readouterr().err
    path.write_text("schema = 1\n[node]\n")
    assert launcher.run(str(path)) == 1
    assert "CG-1004" in capfd.readouterr().err
