"""`citygate audit SITE`: what was changed on this gateway, by whom and when, and whether the file is whole.

Reads the file in the state folder; no field half needs to run.
"""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path

from gateway.site.faults import Faults
from gateway.site.site import load_site
from gateway.spool import audit
from gateway.spool.trouble import Trouble


def run(site: str, *, json: bool) -> int:
    """0 where each line follows the one before, 1 where the file was altered or cannot be read."""
    try:
        path = Path(load_site(site).state_dir) / audit.FILE
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1
    try:
        entries = audit.entries(path)
        checked = audit.verify(path) if path.exists() else audit.Checked(0, "", ())
    except OSError as refused:
        return _told(f"{path} cannot be read ({refused.strerror})", f"{path}을(를) 읽을 수 없습니다")
    if json:
        print(jsonlib.dumps({"entries": entries, "last": checked.last, "faults": checked.faults}, ensure_ascii=False))
    else:
        for one in entries:
            facts = {name: value for name, value in one["facts"].items() if value not in ("", {}, None)}
            print(f"{one['n']:>4} {one['utc']} {one['by'] or '-':10} {one['what']}")
            print("     " + jsonlib.dumps(facts, ensure_ascii=False)[:75])
        print(f"{checked.entries} entries, last {checked.last[:16] or '-'}")
    if not checked.faults:
        return 0
    where = "; ".join(f"line {line} {what}" for line, what in checked.faults[:5])
    return _told(f"{path} is not as it was written: {where}", f"{path} 파일이 기록된 내용과 다릅니다: {where}")


def _told(en: str, ko: str) -> int:
    trouble = Trouble(
        "CG-5143",
        en,
        ko,
        next_en="Keep the file as it is and compare it with the hashes noted in commissioning records",
        next_ko="파일을 그대로 보관하고 시운전 기록에 적힌 해시와 비교하십시오",
    )
    print(trouble, file=sys.stderr)
    return 1
