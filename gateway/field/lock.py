"""One field half a state folder: two would poll the same devices and write the same spool.

In: the folder. Out: a lock held until `release` or the end of the process. Raises SpoolError CG-2007, CG-2002.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from gateway.spool.schema import cannot_write
from gateway.spool.trouble import SpoolError

FILE = "field.lock"


class StateLock:
    """Taken at once, or not at all."""

    def __init__(self, state: Path) -> None:
        path = state / FILE
        try:
            state.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as bad:
            why = "is not a folder" if isinstance(bad, (FileExistsError, NotADirectoryError)) else bad.strerror
            raise cannot_write(state, OSError(f"unable to open: {why}")) from bad
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as bad:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "?"
            os.close(self._fd)
            raise SpoolError(
                "CG-2007",
                f"another citygate field (process {holder}) already works in {state}",
                f"다른 citygate field (프로세스 {holder}) 가 이미 {state} 을(를) 사용하고 있습니다",
                next_en="Stop it first, or give this site a state_dir of its own",
                next_ko="먼저 그 프로세스를 중지하거나 이 사이트에 별도의 state_dir 를 지정하십시오",
            ) from bad
        with suppress(OSError):  # only for the message; a full disk must not stop the gateway here
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Twice does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
