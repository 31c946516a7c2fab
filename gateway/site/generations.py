"""Which configuration is in use: generations of a site file and its profiles, kept in the state folder.

    STATE/configuration/state.json      the record below: written whole, durable before anything rests on it
    STATE/configuration/N/site.toml     generation N, and profiles/FAMILY/NAME.toml beside it
    STATE/configuration/sending         the number of the generation that the half that sends goes by

A site file that is named on the command line stands for the generation that goes back to it, for as long as it and
the profiles of its own folders are as they were then (their SHA-256 is in the record): what a center sent since goes
on. Edited since, it stands for itself again.
Paths in a generation are those of the file that was named. No devices, no signatures.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli

FOLDER, RECORD, SITE, PROFILES = "configuration", "state.json", "site.toml", "profiles"
SENDING = "sending"
IDLE, RECEIVED, VALIDATED, TRIAL, KEPT, REVERTED = "Idle", "Received", "Validated", "Trial", "Kept", "Reverted"
FOLLOWS: Mapping[str, frozenset[str]] = {
    IDLE: frozenset((KEPT, RECEIVED)),
    RECEIVED: frozenset((VALIDATED, REVERTED)),
    VALIDATED: frozenset((TRIAL, REVERTED)),
    TRIAL: frozenset((TRIAL, KEPT, REVERTED)),  # Trial again: a process died in it
    KEPT: frozenset((RECEIVED, KEPT)),
    REVERTED: frozenset((RECEIVED, KEPT)),
}
KEPT_BEHIND = 3  # generations that stay on disk


@dataclass(frozen=True, slots=True)
class Record:
    """`current` is in use, unless a `candidate` is on trial; 0 for none. `base`: what `base_of` gave for the
    named file that `current` goes back to. `sequence`: of the last signed configuration that was tried."""

    state: str = IDLE
    current: int = 0
    candidate: int = 0
    last: int = 0  # the largest number that was given
    base: str = ""
    sequence: int = -1
    by: str = ""
    signed: bool = False
    sha256: str = ""  # of the candidate's site.toml, then of the current one's
    good_before: int = 0  # points that were good when the trial began
    attempts: int = 0  # starts of a process in this trial
    why_en: str = ""
    why_ko: str = ""
    utc: str = ""

    def to(self, state: str, **more: Any) -> Record:
        """The next one. Raises ValueError for a step that the table does not have."""
        if state not in FOLLOWS[self.state]:
            raise ValueError(f"{self.state} is not followed by {state}")
        return replace(self, state=state, utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), **more)

    @property
    def in_use(self) -> int:
        return self.candidate if self.state == TRIAL else self.current


def read(state_dir: str | Path) -> Record:
    """The record; an idle one where there is none, or none that can be read."""
    try:
        found = json.loads((Path(state_dir) / FOLDER / RECORD).read_text(encoding="utf-8"))
        names = {field.name for field in fields(Record)}
        made = Record(**{name: value for name, value in found.items() if name in names})
        alike = all(type(getattr(made, field.name)) is type(field.default) for field in fields(Record))
        return made if alike and made.state in FOLLOWS else Record()
    except (OSError, ValueError, TypeError, AttributeError):
        return Record()


def write(state_dir: str | Path, record: Record) -> None:
    """Durable when it returns. Raises OSError; then the old record stands."""
    folder = Path(state_dir) / FOLDER
    is_new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / RECORD, json.dumps(asdict(record), ensure_ascii=False, indent=1).encode())
    _sync(folder)
    if is_new:
        _sync(folder.parent)


def folder_of(state_dir: str | Path, number: int) -> Path:
    return Path(state_dir) / FOLDER / str(number)


def put(state_dir: str | Path, number: int, files: Mapping[str, bytes]) -> Path:
    """Files of a new generation, durable when it returns. Raises OSError."""
    folder = folder_of(state_dir, number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = {folder, folder.parent}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made |= {path.parent, path.parent.parent}
        _write(path, content)
    for one in sorted(made, key=lambda one: -len(one.parts)):
        _sync(one)
    return folder


def forget(state_dir: str | Path, number: int) -> None:
    """A generation that nobody may go back to."""
    shutil.rmtree(folder_of(state_dir, number), ignore_errors=True)


def drop(state_dir: str | Path, record: Record) -> None:
    """Forget generations that nothing rests on, but for the newest few."""
    held = {record.current, record.candidate}
    numbers = sorted(int(path.name) for path in (Path(state_dir) / FOLDER).glob("[0-9]*") if path.name.isdigit())
    for number in numbers[:-KEPT_BEHIND]:
        if number not in held:
            shutil.rmtree(folder_of(state_dir, number), ignore_errors=True)


def snapshot(site: Path, profile_folders: Iterable[str | Path]) -> dict[str, bytes]:
    """A site file and the profiles of its own folders, the first folder first. Raises OSError."""
    files = {SITE: site.read_bytes()}
    for folder in map(Path, profile_folders):
        for path in sorted(folder.glob("*/*.toml")):
            files.setdefault(f"{PROFILES}/{path.parent.name}/{path.name}", path.read_bytes())
    return files


def digest(path: str | Path) -> str:
    """SHA-256 of a file, "" where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def base_of(site: str | Path) -> str:
    """SHA-256 of a site file and the profiles of its own folders, "" where it cannot be read."""
    whole = hashlib.sha256()
    try:
        whole.update(hashlib.sha256(Path(site).read_bytes()).digest())
    except OSError:
        return ""
    folders = _gateway_of(site).get("profiles", [])
    for name in folders if isinstance(folders, list) else []:
        for path in sorted((Path(site).absolute().parent / str(name)).glob("*/*.toml")):
            whole.update(f"{path.parent.name}/{path.name} {digest(path)}\n".encode())
    return whole.hexdigest()


def state_dir_of(site: str | Path) -> Path | None:
    """Where the state of a site lies, by its own file; None where that cannot be told."""
    gateway = _gateway_of(site)
    named = gateway.get("state_dir", "state") if gateway else None
    return Path(site).absolute().parent / named if isinstance(named, str) else None


def _gateway_of(site: str | Path) -> Mapping[str, Any]:
    try:
        with open(site, "rb") as file:
            gateway = tomli.load(file).get("gateway", {})
    except (OSError, ValueError):
        return {}
    return gateway if isinstance(gateway, dict) else {}


def file_of(site: str | Path) -> Path:
    """The file that `site` stands for now."""
    state = state_dir_of(site)
    if state is None:
        return Path(site)
    record = read(state)
    if not record.in_use or record.base != base_of(site):
        return Path(site)
    found = (folder_of(state, number) / SITE for number in (record.in_use, record.current) if number)
    return next((file for file in found if file.is_file()), Path(site))


def number_of(file: Path) -> int:
    """Of the generation that a file from `file_of` is in; 0 for the named file itself."""
    return int(file.parent.name) if file.parent.parent.name == FOLDER and file.parent.name.isdigit() else 0


def tell_sending(state_dir: str | Path, number: int) -> None:
    """The half that sends goes by this one. Where the disk does not take it none is acknowledged."""
    folder = Path(state_dir) / FOLDER
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / SENDING, str(number).encode())


def sending(state_dir: str | Path) -> int:
    """The one that the half that sends goes by, 0 for the named file, -1 where it has not told."""
    try:
        return int((Path(state_dir) / FOLDER / SENDING).read_bytes())
    except (OSError, ValueError):
        return -1


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
