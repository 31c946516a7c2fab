"""Where a site's state lies, read from its file alone: the panel holds neither the checker of sites nor its needs."""

from __future__ import annotations

from pathlib import Path

import tomli

from gateway.spool.trouble import Trouble

DEFAULT = "state"


def state_dir(site: Path) -> Path:
    """Absolute. Raises Trouble for a file that is none."""
    try:
        with site.open("rb") as file:
            gateway = tomli.load(file).get("gateway", {})
    except (OSError, ValueError) as bad:
        raise Trouble(
            "CG-6321",
            f"{site} cannot be read ({bad})",
            f"{site} 을(를) 읽을 수 없습니다 ({bad})",
            next_en="Name the site file that citygate field runs with, and check it: citygate check",
            next_ko="citygate field 가 사용하는 사이트 파일을 지정하고 citygate check 로 확인하십시오",
        ) from bad
    named = gateway.get("state_dir", DEFAULT) if isinstance(gateway, dict) else DEFAULT
    return site.absolute().parent / str(named)
