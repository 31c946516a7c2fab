"""Rigs for releases: images made small, a center that is a folder, a box with the switch's own program."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import lzma
import os
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cbor2

from gateway.agent.fetching import Fetching
from gateway.agent.release_places import Places
from gateway.agent.release_work import ReleaseWork
from gateway.agent.releases import Releases
from gateway.agent.resource import Request, Role
from gateway.agent.trial import Reach
from gateway.center.files import Files
from gateway.tools.repository import Repository
from gateway.wire.coap import Message

SWITCH = Path(__file__).parents[2] / "systemd/switch.py"
MADE = datetime(2026, 3, 1, tzinfo=UTC)
ARCH = "amd64"
PYTHON = "/usr/bin/python3.11"


def switch_program() -> ModuleType:
    """systemd/switch.py, as a module."""
    if "citygate_switch" not in sys.modules:
        spec = importlib.util.spec_from_file_location("citygate_switch", SWITCH)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["citygate_switch"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["citygate_switch"]


def tar(
    *members: tuple[str, bytes | None], links: Mapping[str, str] | None = None, form: int = tarfile.USTAR_FORMAT
) -> bytes:
    """A tar of folders (None) and files; those below bin/ run."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size, info.mode = len(content or b""), 0o755 if content is None or name.startswith("bin/") else 0o644
            made.addfile(info, io.BytesIO(content or b""))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            made.addfile(info)
    return out.getvalue()


def about(name: str, arch: str = ARCH) -> bytes:
    return json.dumps({"name": name, "arch": arch, "python": "3.11", "made": int(MADE.timestamp())}).encode()


def release_tar(name: str, arch: str = ARCH, ballast: bytes = b"") -> bytes:
    return tar(
        ("RELEASE.json", about(name, arch)), ("ballast", ballast), ("bin", None), ("bin/citygate", b"#!/bin/sh\n"),
        links={"bin/python3": PYTHON if os.path.exists(PYTHON) else os.path.realpath("/usr/bin/python3")},
    )  # fmt: skip


def image(folder: Path, name: str, arch: str = ARCH, ballast: bytes = b"") -> Path:
    path = folder / f"citygate_{name}_{arch}.tar.xz"
    path.write_bytes(lzma.compress(release_tar(name, arch, ballast), preset=0))
    return path


@dataclass
class Center:
    """A repository that is published, behind the code that a center answers with. `cut_after` requests the line
    breaks, each time."""

    folder: Path
    now: datetime = MADE
    cut_after: int = 0
    requests: list[Message] = field(default_factory=list)
    left: int = 0

    def __post_init__(self) -> None:
        self.left = self.cut_after
        self.repository = Repository(self.folder / "repository", self.folder / "keys", now=lambda: self.now)
        self.repository.begin()
        self.files = Files(self.folder / "files")
        self.publish()

    @property
    def root(self) -> Path:
        return self.folder / "repository/metadata/1.root.json"

    def add(self, name: str, arch: str = ARCH, ballast: bytes = b"") -> Path:
        made = image(self.folder, name, arch, ballast)
        self.repository.add([made])
        self.publish()
        return made

    def publish(self) -> None:
        self.repository.publish(self.folder / "files")

    def listed(self, name: str) -> Path:
        """The published file of a release's image."""
        return next((self.folder / "files/releases/targets").glob(f"*.citygate_{name}_*"))

    async def ask(self, request: Message, within_s: float) -> Message:
        await asyncio.sleep(0)
        self.requests.append(request)
        if self.cut_after:
            self.left -= 1
            if self.left <= 0:
                self.left = self.cut_after
                raise ConnectionResetError("cut")
        return self.files.answer(request)

    @property
    def source(self) -> Fetching:
        return Fetching(self.ask)

    def fetch(self, path: str, most: int) -> bytes:
        """Blocking, whole: for `proof.prove`."""

        async def whole() -> bytes:
            data = b""
            while True:
                piece = await self.source.fetch(path, len(data))
                if piece.total > most:
                    raise ValueError("too large")
                data += piece.data
                if len(data) >= piece.total:
                    return data

        return asyncio.run(whole())


class Field:
    """A field half's control socket: `version` runs, with `good` good points. None: nobody answers."""

    def __init__(self, version: str | None = "1.0", good: int = 3) -> None:
        self.version, self.good, self.spool = version, good, None

    async def request(self, words: Mapping[str, Any], within_s: float) -> Any:
        if self.version is None:
            raise ConnectionRefusedError("no field half")
        if words == {"get": "live"}:
            channels = [{"value": 1.0, "quality": 0}] * self.good + [{"value": None, "quality": 160}]
            return {"channels": channels}
        return {"version": self.version, "spool": {"fault": self.spool}}


def places(folder: Path, running: str = "1.0") -> Places:
    """A box with the package's release 1.0 in use."""
    found = Places(folder / "sent", folder / "opt/releases", folder / "opt/current", folder / "opt/releases" / running)
    for tree in (found.package / "1.0",):
        (tree / "bin").mkdir(parents=True)
        (tree / "bin/citygate").write_text("#!/bin/sh\n")
        (tree / "bin/citygate").chmod(0o755)
        (tree / "bin/python3").symlink_to(os.path.realpath("/usr/bin/python3"))
        (tree / "RELEASE.json").write_bytes(about("1.0"))
        for path in (tree, tree / "bin"):
            path.chmod(0o755)
    found.sent.mkdir()
    found.link.symlink_to(found.package / "1.0")
    return found


def run_of(found: Places, name: str) -> Places:
    """The same box, seen by the program of another release."""
    tree = found.package / name if (found.package / name).exists() else found.sent / name
    return Places(found.sent, found.package, found.link, tree)


class Box:
    """A gateway's box: the switch's program itself, a systemd that is a loop, and one agent after another, each the
    program of the release that the link names. Time is what the agents wait for."""

    def __init__(self, folder: Path, center: Center, probation_s: float = 20.0) -> None:
        self.center, self.field, self.now_s = center, Field(), 0.0
        self.places = places(folder)
        self.program = switch_program()
        self.switch = self.program.Places(self.places.package, self.places.sent, self.places.link, folder / "answer")
        (folder / "root.json").write_bytes(center.root.read_bytes())
        self.site = SimpleNamespace(
            agent=SimpleNamespace(releases=str(folder / "root.json"), probation_s=probation_s), state_dir=str(folder)
        )
        self.restarts, self.step_s = 0, 0.25
        self.failing: dict[str, int] = {}  # unit -> restarts by systemd itself
        self.is_dead: Callable[[str], bool] = lambda release: False  # releases whose program does not start at all
        self.boots = 0
        self.reach = Reach.STANDS
        self.agent: Releases | None = None
        self._work: asyncio.Task[None] | None = None
        self._stale = False

    @property
    def running(self) -> str:
        return Path(os.readlink(self.places.link)).name

    def start(self) -> None:
        """The release that the link names, from the beginning."""
        self.stop()
        self.field.version = self.running if self.field.version is not None else None
        if self.is_dead(self.running):
            self.agent = None
            return
        self.agent = self.agent_of(self.running)
        self._work = asyncio.ensure_future(self.agent.run())

    def agent_of(self, release: str) -> Releases:
        async def reach() -> Reach:
            return self.reach

        return Releases(
ReleaseWork(
            self.site, self.field, self.center.source, places=run_of(self.places, release), reach=reach, arch=ARCH,
            clock_s=lambda: MADE.timestamp() + 86_400 + self.now_s, elapsed_s=lambda: self.now_s, pause=self._pause,
        ))  # fmt: skip

    def stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._work = None

    def boot(self) -> None:
        self.boots += 1
        self.start()

    async def until(self, what: Callable[[], bool], most_s: float = 3000.0) -> None:
        """Let systemd and the agent work until it is so."""
        deadline_s = self.now_s + most_s
        while not what():
            assert self.now_s < deadline_s, f"not within {most_s} s: {self.agent and self.agent.shown()}"
            self.systemd()
            for _ in range(20):
                await asyncio.sleep(0)
            await asyncio.sleep(0.0005)  # threads
            self.now_s += self.step_s
            if self._work is not None and self._work.done():
                self._work.result()
        for _ in range(20):
            await asyncio.sleep(0)

    def systemd(self) -> None:
        """What a path unit and a timer do."""
        if os.path.lexists(self.switch.request):
            self.program.run(self.switch, {os.getuid()}, self._restart, self._seen)
        elif self.switch.trial.exists():
            self.program.watch(self.switch, {os.getuid()}, self._restart, self._seen)
        if self._stale:
            self._stale = False
            self.start()

    async def _pause(self, s: float) -> None:
        until_s = self.now_s + s
        while self.now_s < until_s:
            await asyncio.sleep(0)

    def _restart(self) -> str:
        self.restarts += 1
        self._stale = True
        return ""

    def _seen(self) -> Any:
        restarts = {unit: self.failing.get(unit, 0) for unit in self.program.UNITS}
        return self.program.Now(f"boot {self.boots}", self.now_s, restarts)


def request(method: int, body: Any = None, upstream: str = "city") -> Request:
    return Request(upstream, frozenset(Role), method, payload=b"" if body is None else cbor2.dumps(body))
