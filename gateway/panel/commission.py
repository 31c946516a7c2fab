"""Commissioning from the panel: runs `citygate commission`, so that the record is the same, and keeps what it wrote.

In: a device and what the person typed. Out: the signed record and the page to print. One at a time.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Any

from starlette.responses import Response

from gateway.panel.actions import LONGEST_NAME, Body, by, number, text
from gateway.panel.answers import refused, said
from gateway.panel.tokens import Pass

NAME = re.compile(r"[0-9A-Za-z._-]{1,160}\.html")
WATCH_MOST_S = 120.0
WITHIN_S = 120.0
LISTED = 100
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox allow-modals"
)


class Commissioning:
    """Records lie in `folder`; the key that signs beside them."""

    def __init__(self, site: Path, folder: Path) -> None:
        self._site, self._folder = site, folder
        self._busy = asyncio.Lock()

    async def found(self, who: Pass, body: Body) -> Response:
        """Note the readings before the work."""
        return await self._run([text(body, "device", LONGEST_NAME), "--found"], 30.0)

    async def sign(self, who: Pass, body: Body) -> Response:
        device, person = text(body, "device", LONGEST_NAME), text(body, "by") or by(who)
        arguments = [device, "--by", person, "--json", "--key", str(self._key())]
        displays = body.get("displays") or {}
        if not isinstance(displays, dict) or len(displays) > 64:
            return refused(400, "CG-6306", "displays are points and what is shown", "displays 는 포인트와 표시값입니다")
        for point, shown in displays.items():
            arguments += ["--display", f"{str(point)[:LONGEST_NAME]}={str(shown)[:40]}"]
        for key, option in (("serial", "--serial"), ("notes", "--notes")):
            if value := text(body, key, 2000):
                arguments += [option, value]
        watch_s = min(WATCH_MOST_S, max(1.0, number(body, "watch_s"))) if "watch_s" in body else 20.0
        return await self._run([*arguments, "--watch", f"{watch_s:g}"], WITHIN_S + watch_s)

    def files(self) -> list[dict[str, Any]]:
        """Records that lie here, the newest first."""
        found = sorted(self._folder.glob("*.html"), key=lambda path: path.name.rpartition("-")[2], reverse=True)
        return [{"name": path.name, **_head(path)} for path in found[:LISTED]]

    def file(self, name: str) -> Response:
        path = self._folder / name
        if not NAME.fullmatch(name) or not path.is_file():
            return refused(404, "CG-6307", "there is no such record", "해당 기록이 없습니다")
        headers = {"cache-control": "no-store", "content-security-policy": PAGE_POLICY}
        return Response(path.read_bytes(), 200, headers, "text/html")

    async def _run(self, arguments: list[str], within_s: float) -> Response:
        if self._busy.locked():
            return refused(409, "CG-6308", "somebody is commissioning already", "이미 다른 시운전이 진행 중입니다")
        async with self._busy:
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            device, *options = arguments
            command = [sys.executable, "-m", "gateway.cli", "commission", *options, "--out", str(self._folder)]
            child = await asyncio.create_subprocess_exec(
                *command,
                "--",
                str(self._site),
                device,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(within_s):
                    out, complaint = await child.communicate()
            except TimeoutError:
                return refused(504, "CG-6309", "commissioning took too long", "시운전이 제한 시간을 넘었습니다")
            finally:
                if child.returncode is None:
                    child.kill()
                    await child.wait()
        return _told(child.returncode, out.decode(), complaint.decode("utf-8", "replace"))

    def _key(self) -> Path:
        path = self._folder / "key.hex"
        if not path.exists():
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_bytes(32).hex())
                file.flush()
                os.fsync(file.fileno())
        return path


def _told(code: int | None, out: str, complaint: str) -> Response:
    try:
        document = json.loads(out.strip().splitlines()[-1]) if out.strip() else {}
        record = document.get("record", None)
    except (ValueError, KeyError, TypeError):
        document, record = {}, None
    if record is not None:
        return said({"file": Path(document["file"]).name, "passed": record["passed"], "record": record})
    if code == 0:
        return said({"noted": out.strip()})
    lines = [line for line in complaint.splitlines() if line.startswith("CG-")]
    words = [line.partition(" ") for line in lines] or [("CG-6309", " ", complaint.strip()[-300:] or "no answer")]
    return refused(409, words[0][0], words[0][2], words[1][2] if len(words) > 1 else words[0][2])


def _head(path: Path) -> dict[str, Any]:
    try:
        page = path.read_text(encoding="utf-8")
        body = page.partition('id="record">\n')[2].partition("\n</script>")[0]
        record = json.loads(body)["record"]
        return {
            "device": record["device"]["name"],
            "utc": record["utc"],
            "passed": record["passed"],
            "by": record["by"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {"device": "", "utc": "", "passed": None, "by": ""}
