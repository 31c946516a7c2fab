"""`citygate center audit GATEWAY`: what was changed on a gateway, as it told this center; and whether the chain holds.

Reads the center's database only. Each entry came as an event of the gateway's own OSCORE context; the chain shows
whether one was left out, altered or put in since. An entry that was too long to be sent whole is told without its
facts: then only its hashes are followed.
"""

from __future__ import annotations

import json as jsonlib
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.spool import audit
from gateway.spool.trouble import Trouble

CODE = "audit.entry"
_ENTRIES = "SELECT text_en FROM event WHERE gateway = ? AND code = ? ORDER BY message, rowid"


def chain(lines: Iterable[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Entries in the order of their numbers, each once, and what is wrong with them. `lines`: as they were told."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    faults: list[str] = []
    for line in lines:
        entry = _entry(line)
        if entry is None:
            faults.append(f"an entry cannot be read: {line[:60]}")
        else:
            found.setdefault((int(entry["n"]), str(entry["hash"])), entry)
    entries = [found[key] for key in sorted(found, key=lambda key: key[0])]
    for before, entry in zip([None, *entries], entries, strict=False):
        number = int(entry["n"])
        if entry["facts"] != {"left_out": True} and not audit.is_sealed(entry):
            faults.append(f"#{number} was altered")
        if before is None:
            if number != 1:
                faults.append(f"#1 to #{number - 1} are not here")
        elif number == int(before["n"]):
            faults.append(f"#{number} is there twice, and differs: the gateway's file was begun anew or rewritten")
        elif number != int(before["n"]) + 1:
            faults.append(f"#{int(before['n']) + 1} to #{number - 1} are not here")
        elif entry["before"] != before["hash"]:
            faults.append(f"#{number} does not follow #{before['n']}")
    return entries, faults


def run(db: str, gateway: str, json: bool) -> int:
    """0 where the chain holds, 1 where not, 2 where it cannot be read."""
    if not gateway:
        print("citygate center audit: give the gateway's id", file=sys.stderr)
        return 2
    try:
        base = sqlite3.connect(f"{Path(db).absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            lines = [str(row[0]) for row in base.execute(_ENTRIES, (gateway, CODE))]
        finally:
            base.close()
    except sqlite3.Error as bad:
        print(
            Trouble(
                "CG-4204",
                f"{db} is not a center's database ({bad})",
                f"{db} 은(는) 센터 데이터베이스가 아닙니다 ({bad})",
                next_en="Give --db the file that citygate center writes",
                next_ko="citygate center 가 기록하는 파일을 --db 로 지정하십시오",
            ),
            file=sys.stderr,
        )
        return 2
    entries, faults = chain(lines)
    last = str(entries[-1]["hash"]) if entries else ""
    if json:
        told = {"gateway": gateway, "entries": entries, "last": last, "faults": faults}
        print(jsonlib.dumps(told, ensure_ascii=False))
    else:
        for one in entries:
            print(f"{one['n']:>4} {one['utc']} {one['by'] or '-':24} {one['what']}")
            print("     " + jsonlib.dumps(one["facts"], ensure_ascii=False)[:110])
        print(f"{len(entries)} entries, last {last[:16] or '-'}")
    if not faults:
        return 0
    where = "; ".join(faults[:5])
    print(
        Trouble(
            "CG-6138",
            f"the audit of {gateway} is not whole: {where}",
            f"{gateway} 의 변경 기록이 온전하지 않습니다: {where}",
            next_en=f"Compare it with the file on the gateway: citygate ask {gateway} audit?from=1",
            next_ko=f"게이트웨이의 기록과 비교하십시오: citygate ask {gateway} audit?from=1",
        ),
        file=sys.stderr,
    )
    return 1


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = jsonlib.loads(line[line.index("{") :])
        whole = isinstance(entry["n"], int) and {"before", "hash", "facts", "by", "utc", "what"} <= entry.keys()
        return entry if whole else None
    except (ValueError, KeyError, TypeError):
        return None
