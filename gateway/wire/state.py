"""Sequence numbers that survive a power cut: a file that always promises more than was used.

In: a folder. Out: numbers, each at most once for as long as the file exists. The file holds the first number that was
never handed out; it is written, synced, renamed and the folder synced before a number of the new reserve is used. A
clean stop writes back what was left. A missing file is refused: starting at 0 again would give the key away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.spool.trouble import Trouble

RESERVE = 256
FILE = "sequence.json"
MACHINE_ID = Path("/etc/machine-id")


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    """Replace a file so that after a power cut either the old or the new one is there."""
    fresh = folder / f".{name}.new"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, folder / name)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def begin(folder: Path, *, own: bool) -> None:
    """Numbers for a key that has never been used, taken over by this machine. Those of a key that was here before go
    on: they may be too high, never too low."""
    try:
        first = int(json.loads((folder / FILE).read_text())["next"])
    except (OSError, ValueError, KeyError, TypeError):
        first = 0
    write(folder, FILE, {"next": first, "machine": machine() if own else ""})


class Sequence:
    """The sender numbers of one OSCORE context, held by one process at a time."""

    def __init__(self, folder: Path, *, own: bool) -> None:
        """`own`: the folder is this machine's and this process's alone, so a copied card and a second process are
        refused. A center, which may be restored elsewhere, locks the folder above all its contexts once instead."""
        self._folder = folder
        self._machine = machine() if own else ""
        self._lock = exclusive(folder) if own else -1
        self._reserving: threading.Thread | None = None
        try:
            self.first = self._limit = self._used = self._load()
            if own:
                self._reserve(self.first + RESERVE)
        except BaseException:
            self._unlock()
            raise

    def used(self, number: int) -> None:
        """Called with the next unused number, before the one under it leaves. Blocks only when a whole reserve was
        used up faster than the disk wrote the next."""
        self._used = number
        if number > self._limit:
            self._wait()
            if number > self._limit:
                self._reserve(number + RESERVE)
        elif self._limit - number < RESERVE // 2 and self._reserving is None:
            self._reserving = threading.Thread(target=self._reserve, args=(self._limit + RESERVE,), daemon=True)
            self._reserving.start()
        elif self._reserving is not None and not self._reserving.is_alive():
            self._reserving = None

    def close(self) -> None:
        self._wait()
        if self._limit != self._used:
            with suppress(OSError):
                self._reserve(self._used)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _wait(self) -> None:
        if self._reserving is not None:
            self._reserving.join()
            self._reserving = None

    def _reserve(self, limit: int) -> None:
        write(self._folder, FILE, {"next": limit, "machine": self._machine})
        self._limit = limit

    def _load(self) -> int:
        path = self._folder / FILE
        try:
            found = json.loads(path.read_text())
            first, machine = int(found["next"]), str(found["machine"])
        except FileNotFoundError as bad:
            raise Trouble(
                "CG-4002",
                f"{path} is missing; without it message numbers could be used twice and the key would be exposed",
                f"{path} 파일이 없습니다. 메시지 번호가 재사용되어 키가 노출될 수 있어 시작하지 않습니다",
                next_en="Enrol again with citygate enrol, or install new ones at both ends (citygate credentials new)",
                next_ko="citygate enrol 로 다시 등록하거나 양쪽에 새로 설치하십시오 (citygate credentials new)",
            ) from bad
        except (OSError, ValueError, KeyError, TypeError) as bad:
            raise Trouble(
                "CG-4002",
                f"{path} cannot be read ({bad})",
                f"{path} 을(를) 읽을 수 없습니다 ({bad})",
                next_en="Check owner and mode (0600); if it is damaged, enrol again (citygate enrol)",
                next_ko="소유자와 권한(0600)을 확인하고, 손상되었으면 다시 등록하십시오 (citygate enrol)",
            ) from bad
        if machine and self._machine and machine != self._machine:
            raise Trouble(
                "CG-4003",
                f"the credentials in {self._folder} belong to another machine; a copy must not send with them",
                f"{self._folder} 의 자격 증명은 다른 장비의 것입니다. 복사본으로는 전송할 수 없습니다",
                next_en="A copy: remove the folder and run citygate enrol. The card moved here for good: citygate "
                "enrol --rebind, which shuts the old machine out",
                next_ko="복사본이면 폴더를 지우고 citygate enrol 을 실행하십시오. 카드를 이 장비로 옮긴 것이면 "
                "citygate enrol --rebind 를 실행하십시오(이전 장비는 차단됩니다)",
            )
        self._machine = self._machine or machine
        return first


def machine() -> str:
    """What tells this machine from another, "" where it has no id."""
    try:
        return hashlib.sha256(MACHINE_ID.read_bytes().strip()).hexdigest()[:16]
    except OSError:
        return ""


def exclusive(folder: Path) -> int:
    """A lock on the folder, held until the descriptor is closed. Raises Trouble CG-4001, CG-4004."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as bad:
        raise Trouble(
            "CG-4001",
            f"the credentials folder {folder} cannot be used ({bad.strerror})",
            f"자격 증명 폴더 {folder} 을(를) 사용할 수 없습니다 ({bad.strerror})",
            next_en="Check the path, its owner and that it is writable",
            next_ko="경로와 소유자, 쓰기 권한을 확인하십시오",
        ) from bad
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as bad:
        os.close(lock)
        raise Trouble(
            "CG-4004",
            f"another process uses the credentials in {folder}",
            f"다른 프로세스가 {folder} 의 자격 증명을 사용하고 있습니다",
            next_en="Stop the other citygate process, or give each its own credentials",
            next_ko="다른 citygate 프로세스를 중지하거나 각각 다른 자격 증명을 사용하십시오",
        ) from bad
    return lock
