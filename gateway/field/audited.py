"""The audit file told upstream: each whole line as one event `audit.entry`, in order, exactly once.

In: the file, whoever wrote to it. Out: events, and where the telling has come to, both in one commit of the spool: a
kill between them cannot be. A file that is another than the one it had come to is told from its beginning. Every center
is told, whatever events it takes; agencies are not. It changes nothing in the file.

The line goes as it stands, so that the center can check the chain. One of more than LONGEST bytes goes without its
facts; its hashes still link, and `citygate ask GATEWAY audit?from=N` has the whole of it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.field.writer import SpoolWriter
from gateway.site.plan import Plan
from gateway.site.upstream import AGENCY
from gateway.spool import audit
from gateway.spool.records import Event, Item, Phase, Severity

log = logging.getLogger("citygate.field")

CODE = "audit.entry"
KEPT_AS = "audit/told"  # in the spool, among what is learnt
LONGEST = 900  # bytes of a line within one event: a datagram of about 1 kB
AT_ONCE = 20  # lines a turn
_PIECE = 1 << 18  # bytes read a turn; the longest line is 32 kB


class Audited:
    """`turn` now and then."""

    def __init__(self, plan: Plan, writer: SpoolWriter, learnt: Mapping[str, bytes], now_ns: Callable[[], int]) -> None:
        """`learnt`: what the spool holds by name."""
        self._plan, self._writer, self._now_ns = plan, writer, now_ns
        self._path = Path(plan.state_dir) / audit.FILE
        self._centers = [one.name for one in plan.upstreams if one.role != AGENCY]
        self._at, self._hash = _place(learnt.get(KEPT_AS, b""))
        self._checked = False

    def turn(self) -> int:
        """Lines told. Reads the disk, a little; a file that cannot be read is looked at again the next time."""
        try:
            lines = self._new()
        except FileNotFoundError:
            return 0
        except OSError as bad:
            log.debug("%s is not read: %s", self._path, bad)
            return 0
        items: list[tuple[str, Item]] = []
        told = 0
        for line in lines[:AT_ONCE]:
            self._at += len(line) + 1
            entry = _entry(line)
            if entry is None:
                continue  # torn by a power cut: the next says so
            self._hash = str(entry["hash"])
            items += self._items(entry)
            told += 1
        if lines:
            self._writer.submit(items, learnt={KEPT_AS: json.dumps([self._at, self._hash]).encode()})
        return told

    def _new(self) -> list[bytes]:
        """Whole lines behind the place. Raises OSError."""
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < self._at or not self._checked:
                self._checked = True
                if not self._fits(file, size):
                    self._at, self._hash = 0, ""
            file.seek(self._at)
            piece = file.read(_PIECE)
        return piece.split(b"\n")[:-1]

    def _fits(self, file: Any, size: int) -> bool:
        """Whether the last line told ends where it did."""
        if self._at == 0:
            return True
        if size < self._at:
            return False
        first = max(0, self._at - _PIECE)
        file.seek(first)
        before = file.read(self._at - first)
        found = (str(entry["hash"]) for line in reversed(before.splitlines()) if (entry := _entry(line)) is not None)
        return before.endswith(b"\n") and next(found, "") == self._hash

    def _items(self, entry: Mapping[str, Any]) -> list[tuple[str, Item]]:
        now_ns = self._now_ns()
        line = _text(entry)
        if len(line.encode()) > LONGEST:
            line = _text({**entry, "facts": {"left_out": True}})
        what, by = str(entry.get("what", "")), str(entry.get("by", "")) or "-"
        place = self._plan.place
        one = Event(
            code=CODE,
            phase=Phase.CLEAR,  # an entry does not stand
            severity=Severity.NOTICE,
            cause="city",
            subject=self._plan.gateway,
            time_ns=now_ns,
            onset_ns=now_ns,
            score=1.0,
            text_en=f"#{entry['n']} {what} by {by}: {line}",
            text_ko=f"변경 기록 {entry['n']}: {what}, {by}",
            asset=place.asset,
            place_en="",
            place_ko="",
            latitude=None,
            longitude=None,
        )
        return [(name, one) for name in self._centers]


def _text(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        return entry if isinstance(entry["n"], int) and {"hash", "before", "facts"} <= entry.keys() else None
    except (ValueError, KeyError, TypeError):
        return None


def _place(blob: bytes) -> tuple[int, str]:
    try:
        at, last = json.loads(blob)
        return int(at), str(last)
    except (ValueError, TypeError):
        return 0, ""
