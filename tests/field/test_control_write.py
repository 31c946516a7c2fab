"""The control socket: questions, the one thing that can be changed, and nonsense."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.field import control


async def exchange(path: Path, *lines: bytes) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    answers = []
    for line in lines:
        writer.write(line + b"\n")
        answers.append(json.loads(await reader.readline()))
    writer.close()
    await writer.wait_closed()
    return answers


async def test_a_write_goes_where_it_names_and_nonsense_changes_nothing(tmp_path: Path) -> None:
    written: list[tuple[str, float]] = []

    async def write(point: str, value: float) -> dict[str, str]:
        written.append((point, value))
        return {"quality": "good"}

    path = tmp_path / "c.sock"
    async with await control.serve(path, {"health": lambda: {"up": True}}, write):
        answers = await exchange(
            path,
            b'{"set": "lamp.level", "value": 40}',
            b'{"set": "lamp.level", "value": "much"}',
            b'{"set": "lamp.level"}',
            b"not json",
            b'{"get": "health"}',
        )
    assert answers[0] == {"quality": "good"}
    assert all("error" in answer for answer in answers[1:4])
    assert answers[4] == {"up": True}
    assert written == [("lamp.level", 40.0)]


async def test_without_a_writer_nothing_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    async with await control.serve(path, {"health": dict}):
        [answer] = await exchange(path, b'{"set": "lamp.level", "value": 40}')
    assert "error" in answer
