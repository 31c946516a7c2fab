"""What was changed, by whom and when: JSON lines that are only ever added to, each sealed with the one before.

    {"n": 7, "utc": "2026-03-01T02:10:00Z", "what": "replace", "by": "kim", "facts": {...}, "before": H, "hash": H}

`hash` is SHA-256 over the line's other fields as canonical JSON; `before` is the hash of the line before it, "" at
first. A line that was altered, left out or put in shows; a file cut at its end does not, unless somebody knows the last
hash (`citygate commission` notes it). A line that a power cut tore is left as it is and named by the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = "audit.jsonl"
_TAIL = 65_536  # more than the longest line


@dataclass(frozen=True, slots=True)
class Checked:
    """`entries` whole lines, `last` the hash of the last; `faults`: (line from 1, what is wrong)."""

    entries: int
    last: str
    faults: tuple[tuple[int, str], ...]


def append(state_dir: str | Path, what: str, by: str, facts: Mapping[str, Any]) -> str:
    """Add one line and have it on disk; its hash. Several processes may. Raises OSError; then nothing is added."""
    folder = Path(state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o660)
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            os.fchmod(fd, 0o660)  # both halves write here, as users of one group, whatever the umask of who began it
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        tail = os.pread(fd, min(size, _TAIL), max(0, size - _TAIL))
        number, before, torn = _last(tail)
        entry: dict[str, Any] = {
            "n": number + 1,
            "utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "what": what,
            "by": by,
            "facts": dict(facts) | ({"torn": True} if torn else {}),
            "before": before,
        }
        entry["hash"] = _hash(entry)
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(line) > _TAIL // 2:
            raise OSError(f"an entry of {len(line)} bytes is too long")
        _write(fd, (b"\n" if tail and not tail.endswith(b"\n") else b"") + line, size)
        return str(entry["hash"])
    finally:
        os.close(fd)


def verify(path: str | Path) -> Checked:
    """Every line of an audit file. Raises OSError."""
    entries, before, number = 0, "", 0
    faults: list[tuple[int, str]] = []
    lines = Path(path).read_bytes().splitlines()
    for at, line in enumerate(lines, 1):
        entry = _entry(line)
        if entry is None:
            following = _entry(lines[at]) if at < len(lines) else None
            if following is None or not following["facts"].get("torn"):
                faults.append((at, "cannot be read"))
            continue
        if entry["hash"] != _hash(entry):
            faults.append((at, "was altered"))
        if entry["before"] != before or entry["n"] != number + 1:
            faults.append((at, "does not follow the line before it"))
        entries, before, number = entries + 1, str(entry["hash"]), int(entry["n"])
    return Checked(entries, before, tuple(faults))


def entries(path: str | Path) -> list[dict[str, Any]]:
    """All that can be read, the oldest first; none where there is no file."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [entry for line in lines if (entry := _entry(line)) is not None]


def is_sealed(entry: Mapping[str, Any]) -> bool:
    """Whether an entry's hash is that of its other fields."""
    return bool(entry["hash"] == _hash(entry))


def _last(tail: bytes) -> tuple[int, str, bool]:
    """Number and hash of the last whole line, and whether something unreadable follows it."""
    torn = False
    for line in reversed(tail.splitlines()):
        if (entry := _entry(line)) is not None:
            return int(entry["n"]), str(entry["hash"]), torn
        torn = True
    return 0, "", torn


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        if isinstance(entry["n"], int) and isinstance(entry["facts"], dict) and {"before", "hash"} <= entry.keys():
            return dict(entry)
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _hash(entry: Mapping[str, Any]) -> str:
    bare = {key: value for key, value in entry.items() if key != "hash"}
    canonical = json.dumps(bare, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _write(fd: int, data: bytes, size: int) -> None:
    """All of it on disk, or the file as it was."""
    try:
        done = 0
        while done < len(data):
            done += os.write(fd, data[done:])
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise
