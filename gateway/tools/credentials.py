"""`citygate credentials new`: the pair of OSCORE contexts by which one gateway and its center know each other; and
`citygate credentials begin`: the numbers of a key that systemd hands over."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

from gateway.site.document import ID_PATTERN
from gateway.spool.trouble import Trouble
from gateway.wire import state
from gateway.wire.credentials import FILE, create


def new(gateway: str, out_gateway: str, out_center: str) -> int:
    """Exit code 0, or 2 where a folder already holds credentials: an existing context is never overwritten."""
    try:
        ours, theirs = _create(gateway, out_gateway, out_center)
    except Trouble as refused:
        print(refused, file=sys.stderr)
        return 2
    print(f"gateway's half: {ours}   copy it to the gateway and name it in [[upstreams]].credentials")
    print(f"center's half:  {theirs}   its parent is the center's --credentials folder")
    return 0


def begin(out_gateway: str) -> int:
    """Exit code 0, or 2 where numbers are there already: starting them anew could use one twice."""
    folder = Path(out_gateway)
    try:
        if (folder / state.FILE).exists():
            raise Trouble(
                "CG-4005",
                f"{folder / state.FILE} is there already",
                f"{folder / state.FILE} 파일이 이미 있습니다",
                next_en="Nothing is to be done, the numbers go on from where they are",
                next_ko="할 일이 없습니다. 번호는 이어서 사용됩니다",
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.begin(folder, own=True)
    except Trouble as refused:
        print(refused, file=sys.stderr)
        return 2
    except OSError as bad:
        print(_unwritable(bad), file=sys.stderr)
        return 2
    print(f"{folder}: numbers from 0 on, for the key citygate.{folder.name} that systemd hands over")
    return 0


def _create(gateway: str, out_gateway: str, out_center: str) -> tuple[Path, Path]:
    """Both halves, or none. Raises Trouble CG-4005, CG-4007, CG-4008."""
    if not re.fullmatch(ID_PATTERN, gateway):
        raise Trouble(
            "CG-4007",
            f'"{gateway}" cannot be a gateway\'s id',
            f'"{gateway}" 은(는) 게이트웨이 id 로 쓸 수 없습니다',
            next_en="Use letters, digits, '-', '_' and '.', the same as gateway.id in the site file",
            next_ko="영문자, 숫자, '-', '_', '.' 만 쓰고 사이트 파일의 gateway.id 와 같게 하십시오",
        )
    halves = (Path(out_gateway), Path(out_center) / gateway)
    held = {folder for folder in halves if (folder / FILE).exists()}
    try:
        return create(gateway, out_gateway, out_center)
    except OSError as bad:
        for folder in set(halves) - held:  # a half without its other half is of no use and would bar the next try
            with contextlib.suppress(OSError):
                (folder / FILE).unlink()
        raise _unwritable(bad) from bad


def _unwritable(bad: OSError) -> Trouble:
    return Trouble(
        "CG-4008",
        f"the credentials cannot be written: {bad.filename or ''} ({bad.strerror})",
        f"자격 증명을 저장할 수 없습니다: {bad.filename or ''} ({bad.strerror})",
        next_en="Check the folders' owner and the space on the disk; nothing was made",
        next_ko="폴더 소유자와 디스크 공간을 확인하십시오. 만들어진 것은 없습니다",
    )
