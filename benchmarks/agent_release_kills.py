"""Releases that are killed at every moment: agent and switch as processes of their own, ended by SIGKILL.

In: how many kills. Out: how often the release in use was not a whole old or new one (broken), and how often nothing
came to an end any more (stuck). The agent is the real one with time made fast, the switch is systemd/switch.py itself;
a loop stands for systemd's path unit and timer, and starts both halves anew where the switch asks for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import io
import json
import lzma
import os
import random
import shutil
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from gateway.agent import release_state
from gateway.agent.fetching import Fetching
from gateway.agent.release_places import ABOUT, Places, this_arch
from gateway.agent.release_state import RESTING, Machine
from gateway.agent.release_work import ReleaseWork
from gateway.agent.releases import Releases
from gateway.agent.resource import Request, Role
from gateway.agent.trial import Reach
from gateway.center.files import Files
from gateway.tools.repository import Repository
from gateway.wire import coap, state
from gateway.wire.coap import Message

SWITCH = Path(__file__).parents[1] / "systemd/switch.py"
OLD, NEW = "1.0", "1.1"
BALLAST = 1_500_000  # bytes of the image that do not compress
FAST = 150.0  # of the agent's own pauses
PROBATION_S = 12.0
PATIENCE_S = 30.0  # of a release, to its end
DEEDS = 16  # of the switch in one errand, killed before each; there are fewer
STEPS = ("downloading", "downloaded", "staged", "staged, asked for", "trial", "committed", "rolled back")
ERRANDS = {"trial": "good", "commit": "good", "revert": "fails", "watch": "dead"}  # of the switch, and who needs them


@dataclass(frozen=True)
class Killed:
    """`at_transitions` of `kills` came at a transition of the agent or a deed of the switch, the others by chance."""

    kills: int
    at_transitions: int
    releases: int
    kept: int
    back: int
    broken: int
    stuck: int


def run(folder: Path, random_kills: int, *, every_transition: bool = True) -> Killed:
    rig = Rig(folder)
    kills = releases = kept = back = broken = stuck = 0

    def one(murderer: Murderer, kind: str) -> None:
        nonlocal kills, releases, kept, back, broken, stuck
        ended = rig.release(murderer, kind)
        kills += murderer.kills
        releases += 1
        if ended is None:
            stuck += 1
            return
        whole, in_use, _ = ended
        broken += not whole
        kept += in_use == NEW
        back += in_use == OLD

    if every_transition:
        for step in STEPS:
            for after in (False, True):
                one(Murderer(step=step, after=after), "fails" if step == "rolled back" else "good")
        for errand, kind in ERRANDS.items():
            for deed in range(DEEDS):
                one(Murderer(errand=errand, deed=deed), kind)
    at_transitions = kills
    seed, left = random.Random(20), random_kills
    while left > 0:
        murderer = Murderer(seed=seed.randrange(1 << 30), most=min(left, 6))
        one(murderer, seed.choice(("good", "good", "good", "fails", "dead")))
        left -= murderer.kills
    return Killed(kills, at_transitions, releases, kept, back, broken, stuck)


class Murderer:
    """Who is killed when: the agent before or after a transition is written down, the switch before a deed of an
    errand, or either by chance."""

    def __init__(
        self, *, step: str = "", after: bool = False, errand: str = "", deed: int = 0, seed: int = -1, most: int = 1
    ) -> None:
        self._step, self._after, self._errand, self._deed, self.most = step, after, errand, deed, most
        self._chance = random.Random(seed) if seed >= 0 else None
        self.kills = 0

    def after_s(self, longest_s: float) -> float | None:
        """Seconds for which a process that is started lives; None for as long as it likes."""
        if self._chance is None or self.kills >= self.most:
            return None
        return self._chance.uniform(0.0, longest_s)

    def arm_agent(self) -> None:
        """In the agent's process: die at a transition, once in a release."""
        real = state.write

        def write(folder: Path, name: str, content: dict[str, Any]) -> None:
            asked = ", asked for" if content.get("state") == "staged" and content["request"] else ""
            is_it = name == release_state.FILE and content["state"] + asked == self._step
            if is_it and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            real(folder, name, content)
            if is_it:
                os.kill(os.getpid(), signal.SIGKILL)

        if self._step and not self.kills:
            vars(state)["write"] = write  # this process alone

    def arm_switch(self, program: ModuleType, errand: str) -> None:
        """In the switch's process: die before a deed."""
        left = self._deed

        def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left == -1:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **more)

            return call

        if self._errand == errand and not self.kills:
            for name in ("replace", "fsync", "unlink", "symlink"):
                setattr(program.os, name, deadly(getattr(os, name)))


class Rig:
    """A center's folder and, for each release, a box made anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        spec = importlib.util.spec_from_file_location("citygate_switch", SWITCH)
        assert spec is not None
        assert spec.loader is not None
        self._program = sys.modules["citygate_switch"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._program)
        self._repository = Repository(folder / "repository", folder / "keys")
        self._repository.begin()
        tree = plant(folder / "trees" / NEW, NEW, random.Random(5).randbytes(BALLAST))
        self._repository.add([packed(tree, folder / f"citygate_{NEW}_{this_arch()}.tar.xz")])
        self._repository.publish(folder / "files")
        plant(folder / "trees" / OLD, OLD, b"")
        self._whole = {name: digest(folder / "trees" / name) for name in (OLD, NEW)}

    def release(self, murderer: Murderer, kind: str) -> tuple[bool, str, str] | None:
        """(whether what is in use is whole, its name, the state), None where it came to no end."""
        box = self._folder / "box"
        shutil.rmtree(box, ignore_errors=True)
        places = Places(box / "sent", box / "opt/releases", box / "opt/current", box / "opt/releases" / OLD)
        places.sent.mkdir(parents=True)
        shutil.copytree(self._folder / "trees" / OLD, places.package / OLD, symlinks=True)
        places.link.symlink_to(places.package / OLD)
        asyncio.run(self._wish(places))
        systemd = Systemd(self._program, places, murderer, lambda name: self._agent(places, name, kind, murderer))
        if not systemd.run():
            return None
        in_use = Path(os.readlink(places.link))
        whole = in_use.is_dir() and digest(in_use) == self._whole.get(in_use.name)
        record = Machine(places.sent).record
        named = {OLD: ("rolled back", "idle"), NEW: ("committed",)}.get(in_use.name, ())
        return whole and record.state.value in named, in_use.name, record.state.value

    async def _wish(self, places: Places) -> None:
        import cbor2

        asked = Request("city", frozenset(Role), coap.POST, payload=cbor2.dumps({"release": NEW}))
        await self._releases(places, OLD, "good").answer(asked)

    def _agent(self, places: Places, name: str, kind: str, murderer: Murderer) -> None:
        """The agent's process; that of a dead release ends at once."""
        if kind == "dead" and name == NEW:
            return
        murderer.arm_agent()
        asyncio.run(self._releases(places, name, kind).run())

    def _releases(self, places: Places, name: str, kind: str) -> Releases:
        tree = Path(os.readlink(places.link)) if name != OLD else places.package / OLD
        mine = Places(places.sent, places.package, places.link, tree)
        site = SimpleNamespace(
            agent=SimpleNamespace(
                releases=str(self._folder / "repository/metadata/1.root.json"), probation_s=PROBATION_S
            ),
            state_dir=str(places.sent.parent),
        )
        files = Files(self._folder / "files")

        async def ask(request: Message, within_s: float) -> Message:
            await asyncio.sleep(0)
            return files.answer(request)

        async def pause(seconds: float) -> None:
            await asyncio.sleep(seconds / FAST)

        async def reach() -> Reach:
            return Reach.STANDS

        begun_s = time.monotonic()
        return Releases(
            ReleaseWork(
                site,  # type: ignore[arg-type]  # as much of a site as is read
                _Field(name, 1 if kind == "fails" and name == NEW else 3),
                Fetching(ask),
                places=mine,
                reach=reach,
                elapsed_s=lambda: begun_s + (time.monotonic() - begun_s) * FAST,
                pause=pause,
            )
        )


class _Field:
    """A field half that answers: `good` points are good."""

    def __init__(self, version: str, good: int) -> None:
        self._version, self._good = version, good

    async def request(self, words: Mapping[str, Any], within_s: float) -> Any:
        if words == {"get": "live"}:
            return {"channels": [{"value": 1.0, "quality": 0}] * self._good}
        return {"version": self._version, "spool": {"fault": None}}


class Systemd:
    """Starts what is to run, follows requests, looks at trials; kills as it is told."""

    def __init__(self, program: ModuleType, places: Places, murderer: Murderer, agent: Callable[[str], None]) -> None:
        self._program, self._places, self._murderer, self._agent = program, places, murderer, agent
        self._switch = program.Places(places.package, places.sent, places.link, places.sent.parent / "answer")
        self._stale = places.sent.parent / "stale"  # the switch asks for a restart
        self._pid = 0
        self._dies_s: float | None = None
        self._begun_s = time.monotonic()
        self._restarts = 0  # by systemd itself

    def run(self) -> bool:
        """To the release's end; False where none comes."""
        deadline_s = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < deadline_s:
                if not self._pid:
                    self._start()
                if self._is_over():
                    return True
                self._look()
                if self._switch.request.exists():
                    self._follow("run")
                elif self._switch.trial.exists():
                    self._follow("watch")
                time.sleep(0.002)
            return False
        finally:
            self._end()

    def _start(self) -> None:
        name = Path(os.readlink(self._places.link)).name
        self._dies_s = self._moment(0.5)
        self._pid = spawn(lambda: self._agent(name))

    def _look(self) -> None:
        if self._dies_s is not None and time.monotonic() >= self._dies_s:
            os.kill(self._pid, signal.SIGKILL)
            self._dies_s = None
        gone, status = os.waitpid(self._pid, os.WNOHANG)
        if gone:
            self._pid = 0
            self._restarts += 1
            self._murderer.kills += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        elif self._stale.exists():
            self._stale.unlink()
            self._end()
            self._restarts = 0

    def _follow(self, what: str) -> None:
        """The switch's process, to its end or to its kill."""

        def restart() -> str:
            self._stale.touch()
            return ""

        words = self._switch.request.read_text().split() if what == "run" else ["", what]

        def work() -> None:
            self._murderer.arm_switch(self._program, words[1] if len(words) > 1 else "")
            deed = self._program.run if what == "run" else self._program.watch
            deed(self._switch, {os.getuid()}, restart, self._now)

        moment_s = self._moment(0.02)
        pid = spawn(work)
        while True:
            if moment_s is not None and time.monotonic() >= moment_s:
                os.kill(pid, signal.SIGKILL)
                moment_s = None
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                self._murderer.kills += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
                return
            time.sleep(0.0005)

    def _now(self) -> Any:
        at_s = (time.monotonic() - self._begun_s) * FAST
        return self._program.Now("boot", at_s, dict.fromkeys(self._program.UNITS, self._restarts))

    def _moment(self, longest_s: float) -> float | None:
        after_s = self._murderer.after_s(longest_s)
        return None if after_s is None else time.monotonic() + after_s

    def _is_over(self) -> bool:
        waiting = (self._switch.request, self._switch.trial, self._stale)
        return not any(map(os.path.lexists, waiting)) and Machine(self._places.sent).record.state in RESTING

    def _end(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGTERM)
            os.waitpid(self._pid, 0)
            self._pid = 0


def spawn(work: Callable[[], None]) -> int:
    """A process that does `work`; its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        work()
        code = 0
    finally:
        os._exit(code)


def plant(tree: Path, name: str, ballast: bytes) -> Path:
    (tree / "bin").mkdir(parents=True)
    (tree / "lib").mkdir()
    (tree / ABOUT).write_text(json.dumps({"name": name, "arch": this_arch(), "python": "3.11", "made": 1_767_225_600}))
    (tree / "bin/citygate").write_text("#!/bin/sh\n")
    (tree / "bin/python3").symlink_to(os.path.realpath("/usr/bin/python3"))
    for part in range(20):
        (tree / f"lib/{part}").write_bytes(ballast[part * len(ballast) // 20 : (part + 1) * len(ballast) // 20])
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    tree.chmod(0o755)
    return tree


def packed(tree: Path, image: Path) -> Path:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(tree.rglob("*")):
            tar.add(path, str(path.relative_to(tree)), recursive=False)
    image.write_bytes(lzma.compress(out.getvalue(), preset=0))
    return image


def digest(tree: Path) -> str:
    """Of every name, mode and byte of a tree."""
    whole = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        whole.update(f"{path.relative_to(tree)} {path.lstat().st_mode:o} ".encode())
        whole.update(os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b"")
    return whole.hexdigest()
