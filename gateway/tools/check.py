"""`citygate check FILE...`: every fault of site and profile files, printed. Opens no device, no connection."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from pathlib import Path

from gateway.site.check import check_file
from gateway.site.faults import Severity, failures, language, render, unique


def run(paths: Sequence[str], *, json: bool = False, lang: str | None = None) -> int:
    """Print what is wrong with `paths` (files, or folders of them); 0 where all can be used, 1 where one cannot."""
    files = [file for path in paths for file in _files(path)]
    telling = json or len(files) == 1  # of many files only what matters is printed
    found = unique(one for file in files for one in check_file(file, notes=telling))
    bad = failures(found)
    notes = [one for one in found if one.severity is Severity.NOTE]
    if json:
        print(jsonlib.dumps({"ok": not bad, "faults": [one.as_json() for one in found]}, ensure_ascii=False))
        return 1 if bad else 0
    if found:
        print(render(found, lang))
    print(_verdict(len(files), len(bad), len(found) - len(bad) - len(notes), language(lang)))
    return 1 if bad else 0


def _files(path: str) -> list[Path]:
    """A file as it is, a folder as the TOML files below it; a folder without any is a mistake, not a success."""
    below = Path(path).rglob("*.toml") if path and Path(path).is_dir() else ()
    return sorted(file for file in below if not file.is_dir()) or [Path(path)]


def _verdict(files: int, faults: int, warnings: int, lang: str) -> str:
    if lang == "ko":
        return f"파일 {files}개 확인: 오류 {faults}건, 주의 {warnings}건"
    return f"{files} file(s) checked: {faults} fault(s), {warnings} warning(s)"
