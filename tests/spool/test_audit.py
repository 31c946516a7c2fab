"""The audit file: only added to, and what was done to it shows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gateway.spool import audit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for number in range(4):
        audit.append(tmp_path, "replace", "김", {"number": number})
    return tmp_path / audit.FILE


def test_each_line_follows_the_one_before(path: Path) -> None:
    checked = audit.verify(path)
    assert (checked.entries, checked.faults) == (4, ())
    assert [e["facts"]["number"] for e in audit.entries(path)] == [0, 1, 2, 3]
    assert audit.append(path.parent, "push test", "", {}) == audit.verify(path).last


@pytest.mark.parametrize("change", ["alter", "drop", "double", "swap", "forge"])
def test_what_was_done_to_the_file_shows(path: Path, change: str) -> None:
    lines = path.read_text().splitlines()
    if change == "alter":
        lines[1] = lines[1].replace('"number":1', '"number":9')
    elif change == "drop":
        del lines[1]
    elif change == "double":
        lines.insert(1, lines[1])
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    else:  # a line altered, with its own hash made right
        entry = json.loads(lines[1])
        entry["facts"]["number"] = 9
        entry["hash"] = audit._hash(entry)
        lines[1] = json.dumps(entry)
    path.write_text("\n".join(lines) + "\n")
    assert audit.verify(path).faults


def test_a_line_that_a_power_cut_tore_is_left_and_named(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    audit.append(path.parent, "maintenance on", "Kim", {})
    checked = audit.verify(path)
    assert (checked.entries, checked.faults) == (4, ())
    assert audit.entries(path)[-1]["facts"] == {"torn": True}
    assert path.read_bytes().startswith(whole[:-20])


def test_a_line_made_unreadable_later_is_no_power_cut(path: Path) -> None:
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:-10]
    path.write_text("\n".join(lines) + "\n")
    assert (2, "cannot be read") in audit.verify(path).faults


def test_a_disk_that_refuses_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        audit.append(path.parent, "replace", "Kim", {})
    assert path.read_bytes() == before
