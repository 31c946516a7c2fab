"""`citygate capture`: the bytes of a running gateway's links to a file that Wireshark opens; and such a file, shown."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.field import capture
from gateway.field.capture import Line
from gateway.field.control import ask, request
from gateway.field.tape import Piece
from gateway.spool.trouble import Trouble
from gateway.tools.running import asked, refusal
from gateway.tools.spans import seconds

EVERY_S = 0.5


def run(site: str, *, link: str, out: str, for_: str, json: bool) -> int:
    """What the rings hold now, and with `for_` what passes from now on as well. 0 written, 1 refused, 2 no field half
    answers. Ctrl-C ends the waiting, not the writing."""
    try:
        for_s = seconds(for_) if for_ else 0.0
    except ValueError as bad:
        return _told("CG-5152", str(bad), f"시간 형식이 올바르지 않습니다: {for_}")
    code, health = asked(site, lambda socket: ask(socket, "health"))
    if code:
        return code
    path = Path(out or f"{health['gateway']}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.pcapng")
    if path.exists():
        return _told("CG-5152", f"{path} is there already", f"{path} 파일이 이미 있습니다")
    kept: dict[str, _Kept] = {name: _Kept() for name in ([link] if link else health["links"])}
    until_s = time.monotonic() + for_s
    code = 0
    try:
        while not (code := _ask(site, kept)):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            _progress(left_s, sum(len(one.pieces) for one in kept.values()))
            time.sleep(min(EVERY_S, left_s))
    except KeyboardInterrupt:
        pass
    if code and not any(one.pieces for one in kept.values()):
        return code
    return _write(path, kept, json) or code  # what came before the field half went away is not lost


def _ask(site: str, kept: dict[str, _Kept]) -> int:
    """One look at each link."""
    for name, one in kept.items():
        code, answer = asked(site, lambda socket, n=name, o=one: request(socket, {"tape": n, "after": o.next}))  # type: ignore[misc]
        if code or refusal(answer, "citygate bus names the links", "citygate bus 로 링크를 확인하십시오"):
            return code or 1
        one.take(answer)
    return 0


class _Kept:
    """What has come of one link."""

    def __init__(self) -> None:
        self.next = 0
        self.lost = 0
        self.line: Line | None = None
        self.utc_offset_ns = 0
        self.pieces: list[Piece] = []

    def take(self, answer: dict[str, Any]) -> None:
        if answer["next"] < self.next:  # the field half was started again: its ring counts from 0
            self.next = 0
            return
        self.line, self.next = Line(**answer["line"]), answer["next"]
        self.utc_offset_ns = answer["utc_offset_ns"]
        self.lost += answer["lost"]
        self.pieces += [Piece(number, at, sent, bytes.fromhex(data)) for number, at, sent, data in answer["pieces"]]


def _write(path: Path, kept: dict[str, _Kept], json: bool) -> int:
    lines = [(one.line, one.pieces) for one in kept.values() if one.line is not None]
    offset_ns = next((one.utc_offset_ns for one in kept.values() if one.line is not None), 0)
    try:
        path.write_bytes(capture.file(lines, offset_ns))
    except OSError as refused:
        return _told("CG-5152", f"{path} cannot be written ({refused.strerror})", f"{path}을(를) 쓸 수 없습니다")
    facts = {name: {"pieces": len(one.pieces), "lost": one.lost} for name, one in kept.items()}
    if json:
        print(jsonlib.dumps({"file": str(path), "links": facts}))
        return 0
    for name, one in facts.items():
        lost = f", {one['lost']} came too fast and are lacking" if one["lost"] else ""
        print(f"{name}: {one['pieces']} pieces{lost}")
    print(f"{path}: open it in Wireshark, or: citygate capture --show {path}")
    return 0


def _progress(left_s: float, pieces: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{left_s:4.0f} s left, {pieces} pieces", end="", file=sys.stderr, flush=True)


def show(path: str, *, link: str, json: bool) -> int:
    """A capture in the terminal. 0 shown, 1 where it cannot be read."""
    from gateway.tools.capture_words import row, table

    found = opened(path)
    if found is None:
        return 1
    lines, frames = found
    rows = [row(lines[frame.line], frame) for frame in frames if link in ("", lines[frame.line].name)]
    if json:
        for one in rows:
            print(jsonlib.dumps(one, ensure_ascii=False))
        return 0
    for line in lines:
        if link in ("", line.name):
            print(f"{line.name}  {line.url}" + (f"  frozen: {line.why}" if line.why else ""))
    print("\n".join(table(rows)))
    return 0


def opened(path: str) -> tuple[list[Line], list[capture.Frame]] | None:
    """A capture's links and frames; None with the reason on stderr."""
    try:
        return capture.read(Path(path).read_bytes())
    except OSError as missing:
        _told("CG-5153", f"{path} cannot be read ({missing.strerror})", f"{path}을(를) 읽을 수 없습니다")
    except ValueError as bad:
        _told("CG-5153", f"{path} is no capture of citygate ({bad})", f"{path}은(는) citygate 캡처 파일이 아닙니다")
    return None


def _told(code: str, en: str, ko: str) -> int:
    next_en, next_ko = {
        "CG-5152": (
            "Give --out a new file in a folder that you may write to, and --for a length as 60s or 5m",
            "--out 에 쓸 수 있는 새 파일을, --for 에 60s, 5m 같은 시간을 지정하십시오",
        ),
        "CG-5153": (
            "Give a file that citygate capture wrote, or one named by citygate status",
            "citygate capture 또는 citygate status 에 나온 파일을 지정하십시오",
        ),
    }[code]
    print(Trouble(code, en, ko, next_en=next_en, next_ko=next_ko), file=sys.stderr)
    return 1
