"""OSCORE contexts as folders: making a pair, and using one with aiocoap. Files 0600, folders 0700.

    context.json   algorithm, hash, secret, sender and recipient id    written once, by `create`
    sequence.json  first sender number never used                      gateway.wire.state

`create` makes a pair of them, `install` writes one that was agreed by EDHOC (gateway.wire.edhoc). Where systemd hands
credentials over ($CREDENTIALS_DIRECTORY), a file citygate.NAME stands for context.json of the folder NAME, which then
holds the numbers alone.

Keys are derived as in RFC 8613, section 3.2. After a restart the receiving side asks for freshness with an Echo
(appendix B.1.2), so the replay window needs no file.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocoap import oscore

from gateway.spool.trouble import Trouble
from gateway.wire import state

if TYPE_CHECKING:  # the sending half needs no EDHOC
    from gateway.wire.edhoc import Derived

ALGORITHM = "AES-CCM-16-64-128"
HASH = "sha256"
FILE = "context.json"
CENTER_ID = b"\x00"
SYSTEMD = "CREDENTIALS_DIRECTORY"  # systemd.exec(5)
WINDOW = 1024  # numbers: alarms wait for their retransmission while summaries go on


def create(gateway_id: str, gateway_dir: str | Path, center_dir: str | Path) -> tuple[Path, Path]:
    """Make the two halves of a new context: `gateway_dir` for the gateway, `center_dir`/`gateway_id` for the center.
    Returns both folders. Raises Trouble where one exists already."""
    ours, theirs = Path(gateway_dir), Path(center_dir) / gateway_id
    for folder in (ours, theirs):
        if (folder / FILE).exists():
            raise Trouble(
                "CG-4005",
                f"{folder} holds credentials already",
                f"{folder} 에 이미 자격 증명이 있습니다",
                next_en="Choose another folder, or remove this one at both ends first",
                next_ko="다른 폴더를 지정하거나 양쪽의 기존 폴더를 먼저 삭제하십시오",
            )
    taken = {_settings(path.parent)["recipient"] for path in Path(center_dir).glob(f"*/{FILE}")}
    sender = next(k for k in iter(lambda: secrets.token_bytes(2).hex(), "") if k not in taken)
    secret = secrets.token_hex(16)
    for folder, own, peer in ((ours, sender, CENTER_ID.hex()), (theirs, CENTER_ID.hex(), sender)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
        settings = {"algorithm": ALGORITHM, "hash": HASH, "secret": secret, "sender": own, "recipient": peer}
        state.write(folder, state.FILE, {"next": 0, "machine": ""})
        state.write(folder, FILE, settings)
    return ours, theirs


def install(folder: str | Path, derived: Derived, *, own: bool) -> None:
    """Make a context that was agreed the one in use; `own` as in `state.Sequence`. The key comes first and the numbers
    go on from where they were, so that a power cut in between cannot make one be used twice. Raises OSError."""
    path = Path(folder)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(path, 0o700)
    settings = {
        "algorithm": ALGORITHM,
        "hash": HASH,
        "secret": derived.secret.hex(),
        "salt": derived.salt.hex(),
        "sender": derived.sender_id.hex(),
        "recipient": derived.recipient_id.hex(),
    }
    state.write(path, FILE, settings)
    state.begin(path, own=own)


def exists(folder: str | Path) -> bool:
    return _source(Path(folder)).exists()


class SecurityContext(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]
    """One context of aiocoap on a folder. `name` is the folder's: at a center, the gateway it belongs to."""

    id_context: bytes | None = None

    def __init__(self, folder: str | Path, *, own: bool = True) -> None:
        """Raises Trouble CG-4001 ... CG-4004. `own` as in `state.Sequence`."""
        path = Path(folder)
        self.name = path.name
        settings = _settings(path)
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
            raise _invalid(path, str(bad)) from bad
        self.echo_recovery = secrets.token_bytes(8)
        self.recipient_replay_window = oscore.ReplayWindow(WINDOW, lambda: None)
        self._sequence = state.Sequence(path, own=own)
        self.sender_sequence_number = self._sequence.first

    def post_seqnoincrease(self) -> None:
        self._sequence.used(self.sender_sequence_number)

    def find_all_used_contextless_oscore_kid(self) -> set[bytes]:
        return {self.recipient_id}

    @property
    def authenticated_claims(self) -> list[str]:
        return [f"gateway:{self.name}"]

    def close(self) -> None:
        """Write back the numbers left over; the context must not send after this."""
        self._sequence.close()


def _settings(folder: Path) -> dict[str, Any]:
    path = _source(folder)
    try:
        if path.parent == folder and path.stat().st_mode & 0o077:
            raise _invalid(folder, "others can read it")
        settings = json.loads(path.read_text())
    except FileNotFoundError as bad:
        raise Trouble(
            "CG-4001",
            f"no OSCORE credentials at {path}",
            f"{path} 에 OSCORE 자격 증명이 없습니다",
            next_en="Enrol with citygate enrol, make them with citygate credentials new, or correct `credentials`",
            next_ko="citygate enrol 로 등록하거나 citygate credentials new 로 생성하고 credentials 경로를 확인하십시오",
        ) from bad
    except (OSError, ValueError) as bad:
        raise _invalid(folder, str(bad)) from bad
    if not isinstance(settings, dict):
        raise _invalid(folder, "not an object")
    return settings


def _source(folder: Path) -> Path:
    """The file with the key: systemd's, else the folder's own."""
    handed = os.environ.get(SYSTEMD)
    if handed and (found := Path(handed) / f"citygate.{folder.name}").exists():
        return found
    return folder / FILE


def _invalid(folder: Path, why: str) -> Trouble:
    return Trouble(
        "CG-4001",
        f"the OSCORE credentials in {folder} cannot be used ({why})",
        f"{folder} 의 OSCORE 자격 증명을 사용할 수 없습니다 ({why})",
        next_en="Check owner and mode (0600) of context.json, or enrol again",
        next_ko="context.json 의 소유자와 권한(0600)을 확인하거나 다시 등록하십시오",
    )
