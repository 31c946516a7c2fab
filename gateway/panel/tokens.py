"""Who may look at the panel, and do what: invitations, the sessions they become, and tokens for programs.

One JSON file in the panel's state folder, 0600, written whole by rename. A token is 256 random bits; only its SHA-256
is kept. An invitation is good for one sign-in, which takes it away and leaves a session that ends when the invitation
would have. A token for metrics is shown with each request and good until it ends. Whatever is unknown, used, revoked or
over is refused in the same words. The file is read again when another process (`citygate panel invite`, `revoke`)
changed it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FILE = "tokens.json"
OBSERVE, OPERATE, METRICS = "observe", "operate", "metrics"
ROLES = (OBSERVE, OPERATE, METRICS)
INVITATION, SESSION, PROGRAM = "invitation", "session", "program"
MOST = 200
LONGEST = 400 * 86_400.0


@dataclass(frozen=True, slots=True)
class Pass:
    """What one token is good for. Times are UTC seconds; `name` is the person or program it was made for."""

    id: str  # the first characters of the hash, for people
    kind: str
    role: str
    name: str
    made_s: float
    until_s: float


class Tokens:
    """The file at `folder`. `now_s` tells UTC. Raises OSError where the folder cannot be used."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time) -> None:
        self._folder, self._now_s = folder, now_s
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._read_at: tuple[int, int, int] | None = None
        self._known: dict[str, Pass] = {}

    def invite(self, role: str, for_s: float, name: str) -> str:
        """A new token. Raises ValueError for a role or a length of time that there is not."""
        if role not in ROLES:
            raise ValueError(f"a role is one of {', '.join(ROLES)}")
        if not 60 <= for_s <= LONGEST:
            raise ValueError("an invitation lasts from a minute to 400 days")
        return self._make(PROGRAM if role == METRICS else INVITATION, role, name, self._now_s() + for_s)

    def sign_in(self, token: str) -> tuple[str, Pass] | None:
        """The session's token and pass for an invitation's; None where it is not one."""
        with self._locked() as known:
            one = known.get(_hash(token))
            if one is None or one.kind != INVITATION or one.until_s <= self._now_s():
                return None
            del known[_hash(token)]
            fresh = secrets.token_urlsafe(32)
            session = replace(one, id=_hash(fresh)[:8], kind=SESSION, made_s=self._now_s())
            known[_hash(fresh)] = session
            return fresh, session

    def session(self, token: str) -> Pass | None:
        return self._found(token, SESSION)

    def program(self, token: str) -> Pass | None:
        return self._found(token, PROGRAM)

    def end(self, token: str) -> None:
        """Sign out."""
        with self._locked() as known:
            known.pop(_hash(token), None)

    def revoke(self, id: str) -> int:
        """Take away every pass whose id begins so, all of them for "all"; how many there were."""
        with self._locked() as known:
            gone = [key for key, one in known.items() if id == "all" or (len(id) >= 4 and one.id.startswith(id))]
            for key in gone:
                del known[key]
            return len(gone)

    def list(self) -> list[Pass]:
        """Those that are still good, the newest first."""
        self._refresh()
        return sorted((one for one in self._known.values() if one.until_s > self._now_s()), key=lambda one: -one.made_s)

    def _make(self, kind: str, role: str, name: str, until_s: float) -> str:
        token = secrets.token_urlsafe(32)
        with self._locked() as known:
            if len(known) >= MOST:
                raise ValueError(f"{MOST} tokens are in use: revoke some (citygate panel revoke)")
            known[_hash(token)] = Pass(_hash(token)[:8], kind, role, name, self._now_s(), until_s)
        return token

    def _found(self, token: str, kind: str) -> Pass | None:
        """Looked up by its hash: what time it takes says nothing of the token."""
        self._refresh()
        one = self._known.get(_hash(token))
        return one if one is not None and one.kind == kind and one.until_s > self._now_s() else None

    def _refresh(self) -> None:
        path = self._folder / FILE
        try:
            state = path.stat()
            mark = (state.st_mtime_ns, state.st_size, state.st_ino)
            if mark == self._read_at:
                return
            found = json.loads(path.read_text(encoding="utf-8"))
            self._known = {key: Pass(**one) for key, one in found.items()}
            self._read_at = mark
        except FileNotFoundError:
            self._known, self._read_at = {}, None
        except (ValueError, TypeError, AttributeError, OSError):
            self._known, self._read_at = {}, None  # a file that cannot be read lets nobody in

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Pass]]:
        """What is good, to be changed; written when the block ends well."""
        fd = os.open(self._folder / f"{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._give(self._folder / f"{FILE}.lock")
            self._refresh()
            known = {key: one for key, one in self._known.items() if one.until_s > self._now_s()}
            yield known
            fresh = self._folder / f"{FILE}.new"
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump({key: asdict(one) for key, one in known.items()}, file, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            self._give(fresh)
            os.replace(fresh, self._folder / FILE)
            self._refresh()
        finally:
            os.close(fd)

    def _give(self, path: Path) -> None:
        """What root makes here is the panel's."""
        if os.geteuid() == 0:
            owner = self._folder.stat()
            os.chown(path, owner.st_uid, owner.st_gid)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
