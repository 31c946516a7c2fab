"""The key by which a gateway or a center is known when they enrol: one file `key.json` in a folder, mode 0600.

    key.json  key: the P-256 private key, hexadecimal; machine: which machine made it

Made once and kept. A gateway's is bound to its machine, so that a copied card does not pass for the original unasked.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from gateway.spool.trouble import Trouble
from gateway.wire import state
from gateway.wire.edhoc import Key

FILE = "key.json"


def identity(folder: str | Path, name: str, *, own: bool, rebind: bool = False) -> Key:
    """The key in `folder`, made where there is none. `own`: bound to this machine; `rebind`: from now on.
    Raises Trouble CG-4009, CG-4010."""
    path = Path(folder) / FILE
    try:
        if path.stat().st_mode & 0o077:
            raise _unusable(path, "others can read it: chmod 600")
        found = json.loads(path.read_text())
        key, machine = Key(bytes.fromhex(found["key"]), name), str(found["machine"])
    except FileNotFoundError:
        return _made(path, name, own)
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise _unusable(path, str(bad)) from bad
    here = state.machine() if own else ""
    if machine == here or not (machine and here):
        return key
    if not rebind:
        raise Trouble(
            "CG-4010",
            f"the key {path} was made on another machine",
            f"{path} 키는 다른 장비에서 만들어졌습니다",
            next_en="A copy: remove the file and enrol again, the center must accept the new key. The card moved here "
            "for good: citygate enrol --rebind, which shuts the old machine out",
            next_ko="복사본이면 파일을 지우고 다시 등록하십시오(센터 승인 필요). 카드를 이 장비로 옮긴 것이면 "
            "citygate enrol --rebind 를 실행하십시오(이전 장비는 차단됩니다)",
        )
    _write(path, key, here)
    return key


def _made(path: Path, name: str, own: bool) -> Key:
    key = Key.new(name)
    _write(path, key, state.machine() if own else "")
    return key


def _write(path: Path, key: Key, machine: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(path.parent, 0o700)
        state.write(path.parent, FILE, {"key": key.private.hex(), "machine": machine})
    except OSError as bad:
        raise _unusable(path, bad.strerror or str(bad)) from bad


def _unusable(path: Path, why: str) -> Trouble:
    return Trouble(
        "CG-4009",
        f"the key {path} cannot be used ({why})",
        f"{path} 키를 사용할 수 없습니다 ({why})",
        next_en="Check the folder's owner and mode, and the space on the disk; remove a damaged key and enrol anew",
        next_ko="폴더 소유자와 권한, 디스크 공간을 확인하십시오. 손상된 키는 지우고 다시 등록하십시오",
    )
