"""The last lines that a process has logged, kept in memory for whoever asks from afar. Nothing on disk.

Bounded in lines and in length. Secrets are never logged; what looks like one is blotted out all the same.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from typing import Any

LINES = 400
LONGEST = 400  # characters of a line
_NAMED = re.compile(r"(?i)\b(secret|passw(?:or)?d|passphrase|token|psk|salt|key)(\s*[=:]\s*)(\"[^\"]*\"|\S+)")
_RAW = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{32,}|[0-9A-Za-z+/]{43,}={0,2})(?![0-9A-Za-z])")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Tail(logging.Handler):
    """Put on the root logger by `keep`."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[int, float, str, str, str]] = deque(maxlen=LINES)
        self._next = 1

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f" ({record.exc_info[1]!r})"
        except Exception:  # a line that cannot be formatted must not break what logs it
            text = str(record.msg)
        with self.lock or _NOTHING:
            self._lines.append((self._next, record.created, record.levelname, record.name, blotted(text)[:LONGEST]))
            self._next += 1

    def shown(self, most: int, after: int = 0, level: str = "DEBUG") -> list[dict[str, Any]]:
        """The newest `most` lines with a number above `after`, the oldest first."""
        least = _LEVELS.index(level) if level in _LEVELS else 0
        with self.lock or _NOTHING:
            lines = [one for one in self._lines if one[0] > after]
        kept = [one for one in lines if one[2] not in _LEVELS or _LEVELS.index(one[2]) >= least][-most:]
        return [
            {
                "n": n,
                "utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
                "level": word,
                "from": name,
                "text": text,
            }
            for n, created, word, name, text in kept
        ]


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_NOTHING = _Nothing()
tail = Tail()


def keep() -> None:
    """From here on, whatever this process logs."""
    root = logging.getLogger()
    if tail not in root.handlers:
        root.addHandler(tail)


def blotted(text: str) -> str:
    """`text` without what could be a key."""
    return _RAW.sub("…", _NAMED.sub(r"\1\2…", text))
