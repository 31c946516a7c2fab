"""Where releases lie on a gateway, and what stands there: the link, the trial that is on, what became of a request.

Reads what `systemd/switch.py` writes (its first lines draw the files) and writes the requests that it follows. Judges
nothing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.agent.unpack import LINK

ABOUT = "RELEASE.json"  # in a release: {"name", "arch", "python", "made"}
NEEDED = ("bin/citygate", LINK)
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}")  # as the switch takes it
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_LARGEST = 65_536
_PARTS = re.compile(r"\d+|~|[^\d~]+")


@dataclass(frozen=True, slots=True)
class Places:
    """`running`: the release whose program this process is."""

    sent: Path = Path("/var/lib/citygate/releases")
    package: Path = Path("/opt/citygate/releases")
    link: Path = Path("/opt/citygate/current")
    running: Path = Path(sys.prefix)

    @property
    def request(self) -> Path:
        return self.sent / "request"

    @property
    def is_packaged(self) -> bool:
        """Whether this process is a release that the switch can replace."""
        return self.running.resolve().parent in (self.package.resolve(), self.sent.resolve())

    @property
    def is_asked(self) -> bool:
        """Whether a request waits for the switch."""
        return os.path.lexists(self.request)

    @property
    def is_on_trial(self) -> bool:
        """Whether a trial is on, whoever asked for it."""
        return self.link.with_name("trial").exists()

    def folder(self, name: str) -> Path | None:
        """The release of this name, as the switch would find it; None where none is whole."""
        for tree in (self.package / name, self.sent / name):
            if os.path.lexists(tree):
                return tree if all((tree / needed).exists() for needed in NEEDED) else None
        return None

    def is_linked(self, name: str) -> bool:
        with suppress(OSError):
            return Path(os.readlink(self.link)).name == name
        return False

    def trial(self, request: str) -> dict[str, Any] | None:
        """The trial that is on under this request's id."""
        return _told(self.link.with_name("trial"), request)

    def outcome(self, request: str) -> dict[str, Any] | None:
        """What became of the request with this id."""
        return _told(self.link.with_name("outcome"), request)

    def ask(self, words: str) -> None:
        """Put a request there, by rename: the switch sees all of it. Raises OSError."""
        fresh = self.sent / ".request.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)
            os.write(fd, words.encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(fresh, self.request)

    def others(self) -> list[Path]:
        """Releases that a center sent and that are neither running nor in use, the newest first."""
        found: list[tuple[float, Path]] = []
        with suppress(FileNotFoundError):
            for tree in self.sent.iterdir():
                if not NAME.fullmatch(tree.name) or tree.is_symlink() or not tree.is_dir():
                    continue
                if tree.resolve() != self.running.resolve() and not self.is_linked(tree.name):
                    with suppress(FileNotFoundError):  # tidied away this moment
                        found.append((tree.stat().st_mtime, tree))
        return [tree for _, tree in sorted(found, reverse=True)]


def about(tree: Path) -> dict[str, Any]:
    """What a release says of itself; {} where it says nothing."""
    with suppress(OSError, ValueError):
        found = json.loads((tree / ABOUT).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def this_arch() -> str:
    """As Debian names it."""
    return _ARCHES.get(platform.machine(), platform.machine())


def is_older(one: str, other: str) -> bool:
    """Whether release `one` comes before `other`: numbers count as numbers, `~` sorts before the end (as dpkg's)."""
    return _ordered(one) < _ordered(other)


def _ordered(name: str) -> list[tuple[int, int, str]]:
    kinds = [
        (2, int(part), "") if part.isdigit() else (0, 0, "") if part == "~" else (3, 0, part)
        for part in _PARTS.findall(name)
    ]
    return [*kinds, (1, 0, "")]


def _told(path: Path, request: str) -> dict[str, Any] | None:
    if not request:
        return None
    with suppress(OSError, ValueError):
        with open(path, encoding="utf-8") as file:
            found = json.loads(file.read(_LARGEST))
        if isinstance(found, dict) and found.get("id") == request:
            return found
    return None
