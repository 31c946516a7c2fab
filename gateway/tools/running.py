"""What the tools ask of a running field half over its control socket, and what they say when it does not answer."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.site.faults import Faults
from gateway.site.site import load_site
from gateway.spool.trouble import Trouble


def asked(site: str, ask: Callable[[Path], Any]) -> tuple[int, Any]:
    """(0, what `ask` of the site's control socket gave); or, with the reason on stderr, 1 for a broken site and 2 where
    no field half answers."""
    try:
        socket = Path(load_site(site).state_dir) / "field.sock"
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1, None
    try:
        return 0, ask(socket)
    except (OSError, ValueError) as gone:  # ValueError: it ended in the middle of an answer
        print(_unanswered(socket, site, gone), file=sys.stderr)
        return 2, None


def _unanswered(socket: Path, site: str, gone: OSError | ValueError) -> Trouble:
    if isinstance(gone, PermissionError):
        return Trouble(
            "CG-5006",
            f"no permission to ask the field half at {socket}",
            f"{socket} 의 필드 프로세스에 접근할 권한이 없습니다",
            next_en="Run this as the user of citygate field, or as a member of its group",
            next_ko="citygate field 와 같은 사용자 또는 그 그룹의 사용자로 실행하십시오",
        )
    why = getattr(gone, "strerror", None) or gone
    return Trouble(
        "CG-5001",
        f"no field half answers at {socket} ({why})",
        f"{socket} 에서 응답하는 필드 프로세스가 없습니다 ({why})",
        next_en=f"Start it: citygate field {site}, or: systemctl start citygate-field",
        next_ko=f"실행하십시오: citygate field {site} 또는 systemctl start citygate-field",
    )


def refusal(answer: Any, next_en: str = "", next_ko: str = "") -> int:
    """1 with the reason on stderr where the field half refused; 0 where it did not."""
    if not isinstance(answer, dict) or "error" not in answer:
        return 0
    words_ko = str(answer.get("error_ko") or answer["error"])
    code = str(answer.get("code") or "CG-5140")
    print(Trouble(code, str(answer["error"]), words_ko, next_en=next_en, next_ko=next_ko), file=sys.stderr)
    return 1


def whoever() -> str:
    """The person at the terminal, as the machine knows them."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
