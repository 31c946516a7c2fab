"""Trials: the release before comes back by itself, whatever the new one does, whenever the switch itself is killed."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "systemd/switch.py"
ID = "00ab"


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("switch_trial", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["switch_trial"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SWITCH = program()


@dataclass
class Machine:
    places: Any
    boot: str = "a"
    at_s: float = 100.0
    failing: dict[str, int] = field(default_factory=dict)
    restarted: list[str] = field(default_factory=list)

    @property
    def in_use(self) -> str:
        return Path(os.readlink(self.places.link)).name

    @property
    def outcome(self) -> dict[str, Any]:
        return dict(json.loads(self.places.outcome.read_text()))

    def ask(self, words: str) -> None:
        self.places.request.write_text(words + "\n")
        self.places.request.chmod(0o644)

    def asked(self, words: str) -> int:
        self.ask(words)
        return self.run()

    def run(self) -> int:
        return int(SWITCH.run(self.places, {os.getuid()}, self._restart, self._now))

    def watch(self) -> bool:
        return bool(SWITCH.watch(self.places, {os.getuid()}, self._restart, self._now))

    def _restart(self) -> str:
        self.restarted.append(self.in_use)
        return ""

    def _now(self) -> Any:
        return SWITCH.Now(self.boot, self.at_s, {unit: self.failing.get(unit, 0) for unit in SWITCH.UNITS})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = SWITCH.Places(tmp_path / "opt/releases", tmp_path / "sent", tmp_path / "opt/current", tmp_path / "answer")
    for folder, name in ((found.package, "1.0"), (found.package, "0.9"), (found.sent, "1.1"), (found.sent, "1.2")):
        plant(folder / name)
    found.link.symlink_to(found.package / "1.0")
    return Machine(found)


def plant(tree: Path) -> None:
    for needed in SWITCH.NEEDED:
        file = tree / needed
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    for folder in (tree, tree / "bin"):
        folder.chmod(0o755)


def test_a_trial_is_written_down_before_the_link_changes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    real = SWITCH.switch

    def spied(link: Path, target: Path) -> None:
        seen.append(machine.places.trial.exists())
        real(link, target)

    monkeypatch.setattr(SWITCH, "switch", spied)
    assert machine.asked(f"1.1 trial 60 {ID}") == 0
    assert seen == [True]
    assert (machine.in_use, machine.restarted) == ("1.1", ["1.1"])
    assert (machine.outcome["word"], machine.outcome["id"], machine.outcome["ok"]) == ("trial", ID, True)


def test_a_committed_release_stays(machine: Machine) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    assert machine.asked(f"1.1 commit {ID}") == 0
    machine.at_s += 1e6
    assert not machine.watch()
    assert (machine.in_use, machine.restarted) == ("1.1", ["1.1"])


def test_one_that_is_asked_back_goes(machine: Machine) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    assert machine.asked(f"1.1 revert {ID}") == 0
    assert (machine.in_use, machine.restarted) == ("1.0", ["1.1", "1.0"])
    assert (machine.outcome["word"], machine.outcome["code"]) == ("reverted", "CG-6008")
    assert not machine.places.trial.exists()


@pytest.mark.parametrize("words", ["1.1 commit 01", "1.2 commit 00ab", "1.1 revert 01", "1.0 commit 00ab"])
def test_only_the_trial_that_is_on_can_be_ended(machine: Machine, words: str) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    assert machine.asked(words) == 1
    assert machine.outcome["code"] == "CG-6006"
    assert (machine.in_use, machine.watch()) == ("1.1", True)


def test_a_second_trial_waits(machine: Machine) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    assert machine.asked("1.2 trial 60 77") == 1
    assert (machine.outcome["code"], machine.in_use) == ("CG-6007", "1.1")


@pytest.mark.parametrize(
    "words",
    ["1.1 trial", "1.1 trial x 00ab", "1.1 trial -5 00ab", "1.1 trial ²0 00ab", "1.1 trial 60 XYZ", "1.1 commit",
     "1.1 stay 00ab", "1.1 trial 60 00ab more", "1.1  trial 60 00ab"],
)  # fmt: skip
def test_nonsense_is_refused(machine: Machine, words: str) -> None:
    assert machine.asked(words) == 1
    assert (machine.outcome["code"], machine.in_use) == ("CG-6000", "1.0")
    assert not machine.places.trial.exists()


def test_its_time_is_up(machine: Machine) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    machine.at_s += 59
    assert machine.watch()
    machine.at_s += 2
    assert not machine.watch()
    assert (machine.in_use, machine.restarted) == ("1.0", ["1.1", "1.0"])
    assert "within 60 s" in machine.outcome["en"]


def test_after_a_boot_it_has_all_its_time_again(machine: Machine) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    machine.boot, machine.at_s = "b", 5.0
    assert machine.watch()
    machine.at_s = 60.0
    assert machine.watch()
    machine.at_s = 70.0
    assert not machine.watch()


def test_boots_are_counted_while_it_is_on_trial_only(machine: Machine) -> None:
    for boot in range(20):
        machine.boot = f"before {boot}"
        assert not machine.watch()
    machine.asked(f"1.1 trial 60 {ID}")
    for boot in range(SWITCH.BOOTS):
        machine.boot = f"on trial {boot}"
        assert machine.watch()
    machine.boot = "one too many"
    assert not machine.watch()
    assert machine.in_use == "1.0"


def test_a_half_that_keeps_failing_ends_it(machine: Machine) -> None:
    machine.asked(f"1.1 trial 3600 {ID}")
    machine.failing = {SWITCH.UNITS[1]: SWITCH.FAILURES - 1}
    assert machine.watch()
    machine.failing = {SWITCH.UNITS[1]: SWITCH.FAILURES}
    assert not machine.watch()
    assert machine.in_use == "1.0"


def test_the_way_back_where_the_package_was_upgraded_meanwhile(machine: Machine) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    for path in sorted((machine.places.package / "1.0").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (machine.places.package / "1.0").rmdir()
    plant(machine.places.package / "0.10")
    (machine.places.package / "0.11").mkdir()  # not whole
    machine.at_s += 100
    assert not machine.watch()
    assert machine.in_use == "0.10", "the newest whole one of the package"


def test_where_no_release_is_whole_the_one_on_trial_stays(machine: Machine) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    for name in ("1.0", "0.9"):
        (machine.places.package / name / "bin/python3").unlink()
    machine.at_s += 100
    assert machine.watch()
    assert (machine.in_use, machine.outcome["code"], machine.outcome["word"]) == ("1.1", "CG-6001", "trial")


def test_a_release_put_in_place_by_hand_ends_the_trial(machine: Machine) -> None:
    machine.asked(f"1.1 trial 60 {ID}")
    assert machine.asked("1.2") == 0
    assert not machine.places.trial.exists()
    machine.at_s += 100
    assert not machine.watch()
    assert machine.in_use == "1.2"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "1.1"}', "\x00" * 50])
def test_a_trial_that_cannot_be_read_is_none(machine: Machine, content: str) -> None:
    machine.places.trial.write_text(content)
    assert not machine.watch()
    assert not machine.places.trial.exists()
    assert machine.asked(f"1.1 trial 60 {ID}") == 0


def test_another_request_that_came_meanwhile_is_not_lost(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine._restart

    def restart() -> str:
        os.unlink(machine.places.request)
        machine.ask(f"1.1 commit {ID}")
        return real()

    monkeypatch.setattr(machine, "_restart", restart)
    machine.asked(f"1.1 trial 60 {ID}")
    assert machine.places.request.read_text() == f"1.1 commit {ID}\n"


class Killed(BaseException):
    pass


DEEDS = ("replace", "fsync", "symlink", "unlink", "restart")


@pytest.mark.parametrize("at", range(40))
@pytest.mark.parametrize("words", [f"1.1 trial 60 {ID}", f"1.1 revert {ID}", f"1.1 commit {ID}", "1.2", "watch"])
def test_killed_anywhere_it_ends_with_a_whole_release_in_use_that_runs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, words: str, at: int
) -> None:
    """A kill before the n-th call that changes something; then the request is followed again, or the watch looks."""
    if words != "1.2" and "trial" not in words:
        machine.asked(f"1.1 trial 60 {ID}")
    left = at

    def or_killed(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real(*arguments, **more)

        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "fsync"):
            patch.setattr(SWITCH.os, name, or_killed(getattr(os, name)))
        for name in ("symlink_to", "unlink"):
            patch.setattr(SWITCH.Path, name, or_killed(getattr(Path, name)))
        patch.setattr(machine, "_restart", or_killed(machine._restart))
        if words == "watch":
            machine.at_s += 100
        else:
            machine.ask(words)
        try:
            machine.watch() if words == "watch" else machine.run()
        except Killed:
            pass
        else:
            left = 1000
    if left == 1000 and at > 30:
        return  # there are no more moments than this
    for _ in range(4):  # systemd's path unit and timer
        if machine.places.request.exists():
            machine.run()
        elif machine.places.trial.exists():
            machine.watch()
    ends = {"watch": "1.0", "1.2": "1.2"}.get(words) or {"trial": "1.1", "revert": "1.0", "commit": "1.1"}[
        words.split()[1]
    ]
    assert machine.in_use == ends
    assert machine.restarted[-1:] == [ends], "what is in use was started"
    assert not machine.places.request.exists()
    assert machine.places.trial.exists() == ("trial" in words)
