"""`citygate node CONFIG.toml`: starts what `boot.py` chooses, and again when it ends, for as long as it is wanted.

It belongs to the installed package, so an update never changes it. It writes the state only while no child runs, and
counts a start on trial before the start. A child that is neither confirmed nor dead in time is ended. It stays small
(no CoAP, no keys, no schema): a process of its own looks at the file.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import FrameType

from gateway.node import boot, state
from gateway.node.disk import Disk, no_folder
from gateway.node.state import Phase
from gateway.notify import notify
from gateway.spool.trouble import Trouble

PAUSES_S = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0)  # before a child that died is started again
LONG_RUN_S = 60.0
MOST_DEATHS = 5  # of a confirmed firmware in a row, each before LONG_RUN_S: then the package runs until the next start
SPARE_S = 30.0  # for the start of a firmware on trial, above its probation
PATIENCE_S = 10.0  # between SIGTERM and SIGKILL
LOOK_S = 0.2
CHILD = (sys.executable, "-m", "gateway.node")  # of the package

log = logging.getLogger("citygate.node")


def run(path: str) -> int:
    """0 after a clean stop, 1 for a file with faults, 2 where it cannot start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO, stream=sys.stderr)
    if faults := check(path):
        return faults
    if "firmware" not in tomllib.loads(Path(path).read_text()):
        os.execv(sys.executable, [*CHILD, path])
    try:
        return Launcher(path).run()
    except Trouble as bad:
        print(bad, file=sys.stderr)
        return 2


def check(path: str) -> int:
    """0 for a file that a node can be started with, 1 for one with faults, which are printed."""
    return subprocess.run([*CHILD, "--check", path], check=False).returncode


class Launcher:
    """One node's launcher; its file is right. Holds the folder against a second one until it and its child are gone."""

    def __init__(self, path: str) -> None:
        """Raises Trouble."""
        self._path = path
        folder, self._probation_s = _settings(path)
        try:
            self._disk = Disk(folder)
            self._lock = self._disk.hold()
        except OSError as bad:
            raise no_folder(folder, bad) from bad
        os.set_inheritable(self._lock, True)
        self._ends = self._reloads = False
        self._given_up = ""  # a slot

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._reload)
        deaths = 0
        while not self._ends:
            slot = self._chosen()
            if slot == self._given_up:
                slot = state.BASE
            began = time.monotonic()
            code = self._child(slot)
            if code == boot.UNFIT:
                self._revert()
            if code in (boot.RESTART, boot.UNFIT) or time.monotonic() - began > LONG_RUN_S:
                deaths = 0
            elif not self._ends and not self._reloads:
                deaths += 1
                log.error("CG-6213 the node ended with %s, it is started again", code)
                if deaths >= MOST_DEATHS and slot != state.BASE and not self._on_trial():
                    log.error("CG-6213 it ended %d times in a row, the package runs instead of %s", deaths, slot)
                    self._given_up = slot
            self._reloads = False
            self._pause(PAUSES_S[min(deaths, len(PAUSES_S) - 1)])
        notify("STOPPING=1")
        return 0

    def _chosen(self) -> str:
        """What is started now; on disk before it is. A disk that refuses to count a trial ends it."""
        try:
            before = state.load(self._disk)
        except OSError as bad:
            log.error("CG-6209 the state of the firmware cannot be read: %s", bad.strerror)
            return state.BASE
        kept, slot = boot.choose(before, boot.intact(self._disk))
        if kept == before:
            return slot
        try:
            state.save(self._disk, kept)
        except OSError as bad:
            log.error("CG-6209 the state of the firmware cannot be written: %s", bad.strerror)
            return boot.choose(boot.reverted(before), boot.intact(self._disk))[1]
        if before.phase is Phase.TRIAL and kept.phase is not Phase.TRIAL:
            log.error("CG-6214 the firmware on trial was given up, the one before runs")
        return slot

    def _revert(self) -> None:
        try:
            kept = state.load(self._disk)
            if kept.phase is Phase.TRIAL:
                state.save(self._disk, boot.reverted(kept))
                log.error("CG-6214 the firmware on trial was given up, the one before runs")
        except OSError as bad:  # then the next start of it cannot be counted either, and it is not made
            log.error("CG-6209 the state of the firmware cannot be written: %s", bad.strerror)

    def _on_trial(self) -> bool:
        try:
            return state.load(self._disk).phase is Phase.TRIAL
        except OSError:
            return False

    def _child(self, slot: str) -> int:
        """Its exit code."""
        on_trial = slot != state.BASE and self._on_trial()
        give_up = time.monotonic() + boot.TRIALS_AT_MOST * self._probation_s + SPARE_S
        log.info("starting %s%s", slot, " on trial" if on_trial else "")
        child = subprocess.Popen(self._command(slot), env=self._environment(slot), pass_fds=(self._lock,))
        stopped = 0.0
        while (code := child.poll()) is None:
            if (self._ends or self._reloads) and not stopped:
                child.terminate()
                stopped = time.monotonic()
            if on_trial and time.monotonic() > give_up:
                on_trial = self._on_trial()
                if on_trial:
                    log.error("CG-6215 the firmware on trial hangs")
                    child.kill()
            if stopped and time.monotonic() - stopped > PATIENCE_S:
                child.kill()
            self._wait(child)
        return code

    def _wait(self, child: subprocess.Popen[bytes]) -> None:
        try:
            child.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            return

    def _command(self, slot: str) -> list[str]:
        if slot == state.BASE:
            return [*CHILD, self._path]
        return [sys.executable, str(self._disk.path(boot.file_of(slot))), self._path]

    def _environment(self, slot: str) -> dict[str, str]:
        """systemd's watchdog is fed by the child, which is another process than the one it named."""
        kept = {key: value for key, value in os.environ.items() if key != "WATCHDOG_PID"}
        return kept | {boot.PARENT: str(os.getpid()), boot.SLOT: slot}

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._ends and (rest := until - time.monotonic()) > 0:
            time.sleep(min(rest, LOOK_S))

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ends = True

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        """A file with faults changes nothing."""
        if check(self._path):
            log.error("%s was not taken over, the old configuration goes on", self._path)
        else:  # the folder it holds stays the one it began with
            self._probation_s = _settings(self._path)[1]
            self._reloads = True


def _settings(path: str) -> tuple[Path, float]:
    """Folder and probation of a file that is right."""
    found = tomllib.loads(Path(path).read_text())
    folder = Path(path).absolute().parent / found["node"].get("state_dir", boot.STATE_DIR)
    return folder, float(found.get("firmware", {}).get("probation_s", boot.PROBATION_S))
