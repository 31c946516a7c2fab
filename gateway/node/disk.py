"""The folder that a node keeps its firmware and its state in: each call is on disk when it returns, or nothing of it.

All that a node must not lose goes through here, so that a test can cut the power at each of these calls.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from gateway.spool.trouble import Trouble

_PIECE = 1 << 16


class Disk:
    """Files of one folder, made if it is not there. Every call raises OSError."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)

    def hold(self) -> int:
        """A lock on the folder, held until the descriptor and every copy of it is closed; writes nothing, so that a
        card that has become read-only does not keep a node from measuring. Raises Trouble CG-6200, OSError."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as bad:
            os.close(fd)
            raise Trouble(
                "CG-6200",
                f"another process runs the node of {self.folder}",
                f"다른 프로세스가 {self.folder} 의 노드를 실행하고 있습니다",
                next_en="Stop it first, or give each node a state_dir of its own",
                next_ko="먼저 중지하거나 노드마다 다른 state_dir을 지정하십시오",
            ) from bad
        return fd

    def path(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str) -> bytes | None:
        """None where there is no such file."""
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int:
        """0 where there is no such file."""
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return 0

    def free(self) -> int:
        """Bytes that this process may still write here."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def replace(self, name: str, data: bytes) -> None:
        """After a power cut either the old or the new file is there."""
        fresh = self.path(f".{name}.new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path(name))
        self._sync()

    def shorten(self, name: str, size: int) -> None:
        """Keep the first `size` bytes; a file that is not there begins."""
        fd = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)
        self._sync()

    def append(self, name: str, at: int, data: bytes) -> None:
        """Write `data` behind the first `at` bytes. After a power cut some of it may be there, or its length alone."""
        fd = os.open(self.path(name), os.O_WRONLY | os.O_CLOEXEC)
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(fd, data[done:], at + done)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def sha256(self, name: str) -> str:
        """Of the whole file, "" where there is none."""
        running = hashlib.sha256()
        try:
            with self.path(name).open("rb") as file:
                while piece := file.read(_PIECE):
                    running.update(piece)
        except FileNotFoundError:
            return ""
        return running.hexdigest()

    def _sync(self) -> None:
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def no_folder(path: str | Path, bad: OSError) -> Trouble:
    return Trouble(
        "CG-6212",
        f"the folder {path} cannot be used ({bad.strerror})",
        f"{path} 폴더를 사용할 수 없습니다 ({bad.strerror})",
        next_en="Check state_dir, its owner and that it can be written",
        next_ko="state_dir 경로와 소유자, 쓰기 권한을 확인하십시오",
    )
