"""The real halves as child processes: started, watched in /proc, stopped by their own id."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """In the child: be killed when the demo is, however it ends (prctl(2); the parent's main thread starts it)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, SIGKILL)


@dataclass(slots=True)
class Usage:
    """CPU seconds over all of a role's processes, and the largest resident set seen, in MiB as ps and systemd count."""

    cpu_s: float = 0.0
    rss_mb: float = 0.0


@dataclass(slots=True)
class Child:
    """One role (`field`, `uplink`, `center`), started as often as needed; its output goes to `log`."""

    role: str
    command: list[str]
    log: Path
    usage: Usage = field(default_factory=Usage)
    started_at: list[float] = field(default_factory=list)  # time.monotonic
    _process: subprocess.Popen[bytes] | None = None
    _cpu_before: float = 0.0

    def start(self) -> None:
        self.started_at.append(time.monotonic())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", *self.command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def sample(self) -> None:
        """Look at /proc; call a few times a second."""
        if self._process is None or not self.running:
            return
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return
        cpu_s = (int(stat[11]) + int(stat[12])) / _TICKS
        self.usage.cpu_s = self._cpu_before + cpu_s
        self.usage.rss_mb = max(self.usage.rss_mb, int(stat[21]) * _PAGE / 2**20)

    def signal(self, number: Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def end(self, number: Signals = SIGTERM, timeout_s: float = 10.0) -> int | None:
        """Send `number`, wait, and insist after `timeout_s`. The exit code."""
        if self._process is None:
            return None
        self.sample()
        self._cpu_before = self.usage.cpu_s
        self.signal(number)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_words(self, lines: int = 12) -> str:
        """The end of the log, for a message about a child that died."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""
