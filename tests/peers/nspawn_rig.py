"""A Debian 12 with a systemd of its own, in systemd-nspawn: made once by debootstrap from this machine's own apt
sources and kept in the cache, copied for each use, booted without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SUITE = "bookworm"
WANTED = "systemd,systemd-sysv,udev,dbus,python3,libstdc++6,zlib1g,tzdata"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache") / "citygate" / f"{SUITE}-2"
MASKED = (
    "console-getty.service", "systemd-logind.service", "systemd-networkd.service", "apt-daily.timer",
    "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service",
)  # fmt: skip
PATIENCE_S = 60.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}


def mirror() -> str:
    """The first Debian archive that apt uses here."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for file in (source for source in sources if source.suffix in (".list", ".sources") and source.is_file()):
        for line in file.read_text(encoding="utf-8").splitlines():
            found = re.match(r"(?:URIs:|deb(?: \[[^]]*\])?)\s+(\S+)", line)
            if found and "security" not in found[1]:
                return found[1]
    raise LookupError("no Debian archive in /etc/apt: debootstrap has nowhere to fetch from")


def tree() -> Path:
    """A minimal Debian, as fetched."""
    if not CACHE.exists():
        part = CACHE.with_name(f"{CACHE.name}.{os.getpid()}")
        part.parent.mkdir(parents=True, exist_ok=True)
        fetch = ["debootstrap", "--variant=minbase", f"--include={WANTED}", SUITE, str(part), mirror()]
        done = subprocess.run(fetch, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        part.rename(CACHE)
    return CACHE


class Machine:
    """A booted system; `with` ends it. `ran` and `sh` work inside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        subprocess.run(["cp", "-a", "--reflink=auto", str(tree()), str(root)], check=True)
        for unit in MASKED:
            (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        boot = ["systemd-nspawn", "--register=no", "--keep-unit", "-q", "-b", "-D", str(root), "--private-network"]
        self._log = (root.parent / "boot.log").open("wb")
        self._nspawn = subprocess.Popen(boot, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT)
        self._leader = 0

    def __enter__(self) -> Machine:
        try:
            self.until("systemd is up", lambda: bool(self._find_leader()) and self._is_up())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ran(self, command: str) -> subprocess.CompletedProcess[str]:
        """A shell command in there, as it ended."""
        inside = ["nsenter", "-t", str(self._leader), "-a", "--", "bash", "-c", command]
        return subprocess.run(inside, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=180)

    def sh(self, command: str) -> str:
        """What a command prints; it must succeed."""
        done = self.ran(command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.journal()}"
        return done.stdout.strip()

    def show(self, unit: str, what: str) -> str:
        return self.sh(f"systemctl show -P {what} {unit}")

    def journal(self, unit: str = "citygate-*") -> str:
        return self.ran(f"journalctl --no-pager -o cat -u '{unit}' | tail -60").stdout

    def until(self, what: str, is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + patience_s
        while not is_so():
            assert self._nspawn.poll() is None, f"the container ended before: {what}\n{self._said()}"
            assert time.monotonic() < deadline, f"{what}: not within {patience_s:g} s\n{self.journal()}\n{self._said()}"
            time.sleep(0.2)

    def _is_up(self) -> bool:
        return self.ran("systemctl is-system-running").stdout.strip() in ("running", "degraded")

    def _find_leader(self) -> int:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        found = children.read_text().split() if children.exists() else []
        self._leader = int(found[-1]) if found else 0
        return self._leader

    def _said(self) -> str:
        return (self.root.parent / "boot.log").read_text(errors="replace")[-2000:]

    def _end(self) -> None:
        self._nspawn.terminate()  # nspawn asks the system to shut down
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._log.close()
        shutil.rmtree(self.root, ignore_errors=True)
