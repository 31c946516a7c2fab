"""The control socket: questions, the one thing that can be changed, and nonsense."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's process needs root to be started")
async def test_a_user_of_the_group_writes_nothing_by_hand(tmp_path: Path) -> None:
    """The kernel says who is at the other end; what the request says of itself is not believed."""
    written: list[str] = []
    heard: list[dict[str, Any]] = []

    async def write(point: str, value: float) -> dict[str, str]:
        written.append(point)
        return {"quality": "good"}

    async def configure(request: Mapping[str, Any]) -> dict[str, Any]:
        heard.append(dict(request))
        return {}

    ask = """import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    for line in ('{"set": "lamp.level", "value": 40, "trusted": true}', '{"configure": "a", "trusted": true}'):
        client.sendall(line.encode() + b"\\n")
        print(client.recv(4096).decode(), end="")
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "c.sock"
        os.chmod(folder, 0o755)
        async with await control.serve(path, {}, write, {"configure": configure}):
            os.chmod(path, 0o666)
            asked = await asyncio.create_subprocess_exec(
                "/usr/bin/python3", "-c", ask, str(path), user=65534, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await asyncio.wait_for(asked.communicate(), 30)
            await exchange(path, b'{"configure": "b"}')
    assert json.loads(said.splitlines()[0])["code"] == "CG-5194"
    assert written == []
    assert [(one["configure"], one["trusted"]) for one in heard] == [("a", False), ("b", True)]
