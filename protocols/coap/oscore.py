"""A node's OSCORE context on a folder, with sequence numbers that survive a power cut.

In: the folder, as `citygate credentials new` writes it. Out: what aiocoap's arithmetic needs. aiocoap's own file
context is not used: it does not sync the folder, and a power cut makes it use numbers twice.

    context.json   algorithm, hash, secret, sender and recipient id    only read here
    sequence.json  first sender number never used                      replaced RESERVE numbers ahead of its use

A missing sequence.json is refused: starting at 0 again would give the key away. One process at a time has the folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Any

from aiocoap import oscore

RESERVE = 256
CONTEXT, SEQUENCE = "context.json", "sequence.json"


class BadCredentials(Exception):
    """The folder cannot be used; the words say why."""


class NodeContext(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]
    """One context of aiocoap."""

    id_context: bytes | None = None

    def __init__(self, folder: str | Path) -> None:
        """Raises BadCredentials."""
        self._folder = Path(folder)
        settings = _read(self._folder / CONTEXT)
        try:
            self.alg_aead = oscore.algorithms[settings["algorithm"]]
            self.hashfun = oscore.hashfunctions[settings["hash"]]
            self.sender_id = bytes.fromhex(settings["sender"])
            self.recipient_id = bytes.fromhex(settings["recipient"])
            if settings.get("id_context"):
                self.id_context = bytes.fromhex(settings["id_context"])
            secret, salt = bytes.fromhex(settings["secret"]), bytes.fromhex(settings.get("salt", ""))
            if len(secret) < 16 or self.sender_id == self.recipient_id:
                raise ValueError("a secret of 16 bytes and two different ids are needed")
            self.derive_keys(salt, secret)
        except (KeyError, TypeError, ValueError, AttributeError) as bad:
            raise BadCredentials(f"{self._folder / CONTEXT}: {bad}") from bad
        self.recipient_replay_window = oscore.ReplayWindow(64, lambda: None)
        self.recipient_replay_window.initialize_empty()
        self.echo_recovery = secrets.token_bytes(8)
        self._lock = _exclusive(self._folder)
        try:
            found = _read(self._folder / SEQUENCE)
            self._others = {key: value for key, value in found.items() if key != "next"}
            self.sender_sequence_number = int(found["next"])
            self._reserve(self.sender_sequence_number + RESERVE)
        except (KeyError, TypeError, ValueError, OSError) as bad:
            os.close(self._lock)
            raise BadCredentials(f"{self._folder / SEQUENCE}: {bad}") from bad
        except BadCredentials:
            os.close(self._lock)
            raise

    def post_seqnoincrease(self) -> None:
        """Called with the next unused number, before the one under it leaves."""
        if self.sender_sequence_number > self._limit:
            self._reserve(self.sender_sequence_number + RESERVE)

    def find_all_used_contextless_oscore_kid(self) -> set[bytes]:
        return {self.recipient_id}

    @property
    def authenticated_claims(self) -> list[str]:
        return [self._folder.name]

    def close(self) -> None:
        """Numbers left over are written back; the context must not send after this."""
        if self._lock < 0:
            return
        try:
            self._reserve(self.sender_sequence_number)
        except OSError:
            pass  # the file promises more than was used: nothing is used twice
        finally:
            os.close(self._lock)
            self._lock = -1

    def _reserve(self, limit: int) -> None:
        """After a power cut either the old or the new file is there, and both promise enough. Raises OSError."""
        fresh = self._folder / f".{SEQUENCE}.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"next": limit, **self._others}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._folder / SEQUENCE)
        directory = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._limit = limit


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as bad:
        raise BadCredentials(f"{path} is missing") from bad
    except (OSError, ValueError) as bad:
        raise BadCredentials(f"{path} cannot be read ({bad})") from bad
    if not isinstance(found, dict):
        raise BadCredentials(f"{path} is not an object")
    return found


def _exclusive(folder: Path) -> int:
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as bad:
        raise BadCredentials(f"{folder} cannot be written ({bad.strerror})") from bad
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as bad:
        os.close(lock)
        raise BadCredentials(f"another process uses {folder}") from bad
    return lock
