"""The switch of releases, on folders of its own: what it takes, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "systemd/switch.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("switch", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["switch"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def places(tmp_path: Path, program: ModuleType) -> Any:
    found = program.Places(tmp_path / "opt", tmp_path / "sent", tmp_path / "current", tmp_path / "answer")
    for folder, name in ((found.package, "1.0"), (found.sent, "1.1")):
        for needed in program.NEEDED:
            file = folder / name / needed
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("#!/bin/sh\n")
            file.chmod(0o755)
        (folder / name / "bin").chmod(0o755)
        (folder / name).chmod(0o755)
    found.link.symlink_to(found.package / "1.0")
    return found


@pytest.fixture
def asked(places: Any, program: ModuleType) -> Callable[..., tuple[int, dict[str, Any], list[str]]]:
    """Put a request there, run: exit code, answer, restarts."""

    def run(name: str, restart: str = "", mode: int = 0o644) -> tuple[int, dict[str, Any], list[str]]:
        places.request.write_text(name)
        places.request.chmod(mode)
        restarts: list[str] = []

        def again() -> str:
            restarts.append(os.readlink(places.link))
            return restart

        code = program.run(places, {os.getuid()}, again)
        return code, json.loads(places.answer.read_text()), restarts

    return run


def test_a_release_is_in_place_before_anything_is_restarted(places: Any, asked: Any) -> None:
    code, answer, restarts = asked("1.1\n")
    assert (code, answer["ok"], answer["request"]) == (0, True, "1.1")
    assert restarts == [str(places.sent / "1.1")]
    assert not places.request.exists()


def test_the_package_s_release_wins_over_one_of_the_same_name(places: Any, asked: Any) -> None:
    (places.sent / "1.0").mkdir()
    assert asked("1.0")[2] == [str(places.package / "1.0")]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("9.9", "CG-6001"),
        ("../opt/1.0", "CG-6000"),
        ("..", "CG-6000"),
        ("", "CG-6000"),
        ("1.1\nrm -rf /", "CG-6000"),
        ("1.1/bin", "CG-6000"),
        ("x" * 500, "CG-6000"),
    ],
)
def test_other_names_are_refused_and_change_nothing(places: Any, asked: Any, name: str, code: str) -> None:
    ended, answer, restarts = asked(name)
    assert (ended, answer["ok"], answer["code"], restarts) == (1, False, code, [])
    assert os.readlink(places.link) == str(places.package / "1.0")
    assert not places.request.exists()
    assert answer["ko"] != answer["en"]


def test_a_request_that_others_may_have_written_is_refused(asked: Any) -> None:
    assert asked("1.1", mode=0o666)[1]["code"] == "CG-6000"


def test_a_request_of_a_stranger_is_refused(places: Any, program: ModuleType) -> None:
    places.request.write_text("1.1")
    assert program.run(places, {os.getuid() + 1}, lambda: "") == 1
    assert json.loads(places.answer.read_text())["code"] == "CG-6000"


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "nothing"])
def test_a_request_must_be_a_file(places: Any, program: ModuleType, kind: str) -> None:
    if kind == "link":
        places.request.symlink_to(places.package)
    elif kind == "folder":
        places.request.mkdir()
    elif kind == "fifo":
        os.mkfifo(places.request)
    assert program.run(places, {os.getuid()}, lambda: "") == 1
    assert os.readlink(places.link) == str(places.package / "1.0")


@pytest.mark.parametrize("path", [".", "bin", "bin/python3", "bin/citygate"])
def test_a_release_that_others_may_write_is_refused(places: Any, asked: Any, path: str) -> None:
    (places.sent / "1.1" / path).chmod(0o777)
    assert asked("1.1")[1]["code"] == "CG-6002"


def test_a_release_that_is_a_link_is_refused(places: Any, asked: Any) -> None:
    (places.sent / "1.2").symlink_to(places.package / "1.0")
    assert asked("1.2")[1]["code"] == "CG-6002"


def test_half_a_release_is_refused(places: Any, asked: Any) -> None:
    (places.sent / "1.1/bin/citygate").unlink()
    assert asked("1.1")[1]["code"] == "CG-6001"


def test_services_that_do_not_start_are_told_of(places: Any, asked: Any) -> None:
    code, answer, _ = asked("1.1", restart="Job failed")
    assert (code, answer["code"]) == (2, "CG-6004")
    assert "Job failed" in answer["en"]
    assert os.readlink(places.link) == str(places.sent / "1.1")


def test_what_a_power_cut_left_is_no_obstacle(places: Any, asked: Any) -> None:
    Path(f"{places.link}.new").symlink_to("/nowhere")
    assert asked("1.1")[0] == 0


def test_a_disk_that_refuses_leaves_the_old_release(
    places: Any, asked: Any, program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(program.os, "replace", full)
    with pytest.raises(OSError, match="No space"):  # the answer cannot be written either
        asked("1.1")
    assert os.readlink(places.link) == str(places.package / "1.0")
