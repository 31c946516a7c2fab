"""`citygate panel`: serve it, let people in, see who may, shut them out."""

from __future__ import annotations

import json as jsonlib
import logging
import os
import shutil
import sys
import time
from pathlib import Path

from gateway.panel.tokens import OBSERVE, Pass, Tokens
from gateway.panel.where import state_dir
from gateway.spool.trouble import Trouble
from gateway.tools.spans import seconds

DEFAULT_BIND = "127.0.0.1:8443"


def serve(site: str, *, state: str, bind: str, names: tuple[str, ...], certificate: str, key: str, plain: bool) -> int:
    folders = _folders(site, state)
    if folders is None:
        return 1
    from gateway.panel.main import Serving
    from gateway.panel.main import serve as run

    os.umask(0o027)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    field, own = folders
    return run(Serving(Path(site).absolute(), field, own, bind, names, certificate, key, plain))


def invite(site: str, *, state: str, for_: str, role: str, name: str, url: str, json: bool) -> int:
    """A token for one person, once; its QR code on the terminal."""
    folders = _folders(site, state)
    if folders is None:
        return 1
    try:
        token = Tokens(folders[1]).invite(role, seconds(for_), name)
    except (OSError, ValueError) as bad:
        return _told("CG-6319", f"nobody is invited: {bad}", f"초대를 만들 수 없습니다: {bad}")
    where = _where(folders[1])
    base = (url or where.get("url") or f"https://{DEFAULT_BIND}").rstrip("/")
    link = f"{base}/sign-in#{token}"
    if json:
        print(jsonlib.dumps({"token": token, "url": link, "role": role, "fingerprint": where.get("fingerprint", "")}))
        return 0
    if role not in (OBSERVE, "operate"):
        print(f"{token}\n  Authorization: Bearer ..., {base}/metrics and /health, for {for_}")
        return 0
    _print_code(link)
    print(f"{link}\n\n  good once, then for {for_}, to {role} / 한 번만 사용, {for_} 동안 유효")
    if mark := where.get("fingerprint"):
        print(f"  the browser asks about this certificate, SHA-256 / 인증서 지문:\n  {mark}")
    if not where:
        print("  the panel does not run yet: citygate panel serve / 패널이 실행되지 않았습니다")
    return 0


def listed(site: str, *, state: str, json: bool) -> int:
    folders = _folders(site, state)
    if folders is None:
        return 1
    try:
        passes = Tokens(folders[1]).list()
    except OSError as bad:
        return _told(
            "CG-6317", f"{folders[1]} cannot be used ({bad})", f"{folders[1]} 을(를) 사용할 수 없습니다 ({bad})"
        )
    if json:
        for one in passes:
            print(jsonlib.dumps({name: getattr(one, name) for name in Pass.__dataclass_fields__}))
        return 0
    for one in passes:
        left_min = (one.until_s - time.time()) / 60
        print(f"{one.id}  {one.kind:10}  {one.role:8}  {left_min:7.0f} min left  {one.name}")
    if not passes:
        print("nobody may sign in / 유효한 초대나 세션이 없습니다")
    return 0


def revoke(site: str, id: str, *, state: str) -> int:
    folders = _folders(site, state)
    if folders is None:
        return 1
    try:
        gone = Tokens(folders[1]).revoke(id)
    except OSError as bad:
        return _told(
            "CG-6317", f"{folders[1]} cannot be used ({bad})", f"{folders[1]} 을(를) 사용할 수 없습니다 ({bad})"
        )
    if not gone:
        return _told(
            "CG-6320",
            f"no pass is called {id}: citygate panel list names them (four characters at least, or all)",
            f"{id} 항목이 없습니다. citygate panel list 로 확인하십시오 (4자 이상 또는 all)",
        )
    print(f"{gone} revoked / 취소됨")
    return 0


def _folders(site: str, state: str) -> tuple[Path, Path] | None:
    """(the field half's state, the panel's own), or None with the reason on stderr."""
    try:
        field = state_dir(Path(site))
    except Trouble as bad:
        print(bad, file=sys.stderr)
        return None
    return field, Path(state) if state else field.parent / "panel"


def _where(folder: Path) -> dict[str, str]:
    from gateway.panel.main import WHERE

    try:
        found = jsonlib.loads((folder / WHERE).read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _print_code(link: str) -> None:
    import segno

    code = segno.make(link, error="l", micro=False)
    if code.symbol_size(1, 2)[0] <= shutil.get_terminal_size().columns:
        code.terminal(compact=True, border=2)


def _told(code: str, en: str, ko: str) -> int:
    print(Trouble(code, en, ko), file=sys.stderr)
    return 1
