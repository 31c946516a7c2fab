"""The control socket: what runs, asked from outside. JSON lines over a unix socket that only the service's group reads.

Request `{"get": "live"}` or `{"get": "health"}`; one line of JSON back. What is changed on a device through it is a
point that its profile declares writable: `{"set": "lamp.level", "value": 40}`. What the bench asks for by its own words
(`{"read": "meter1"}`) is answered by the errand registered under the word; what has no end (`{"follow": {}}`) is told
line by line until the client goes.

The socket's group may ask: the sending half and the panel are in it. What neither of them may do of itself (`set`, an
unsigned configuration) is for whoever owns the box: a request whose sender the kernel knows as root, or as the user of
this process, carries `trusted`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

LONGEST_REQUEST = 4096
WAIT_S = 5.0
TRUSTED = "trusted"
UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
NOT_TRUSTED = {
    "code": "CG-5194",
    "error": "only root, or the user of citygate field, may do this; run it with sudo",
    "error_ko": "root 또는 citygate field 의 사용자만 할 수 있습니다. sudo 로 실행하십시오",
}

Write = Callable[[str, float], Awaitable[Any]]  # (channel name, value) -> what became of it
Answers = Mapping[str, Callable[[], Any]]  # what is asked for -> the answer, or what waits for it
Errand = Callable[[Mapping[str, Any]], Awaitable[Any]]  # the whole request -> the answer
Errands = Mapping[str, Errand]  # the word a request is told by -> who answers it


async def serve(
    path: Path, answers: Answers, write: Write | None = None, errands: Errands = MappingProxyType({})
) -> asyncio.Server:
    """Listen at `path` (replaced if a dead process left it behind)."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_trusted = trusted(writer.get_extra_info("socket"))
        try:
            while line := await _line(reader):
                answer = await _answer(line, is_trusted, answers, write, errands)
                if isinstance(answer, AsyncGenerator):
                    await _told(answer, writer)
                    return
                writer.write(json.dumps(answer).encode() + b"\n")
                await _drained(writer)
        except (OSError, ValueError, TimeoutError):
            pass  # a client that went away, talks nonsense or reads nothing
        finally:
            writer.close()

    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = await asyncio.start_unix_server(handle, path, limit=LONGEST_REQUEST)
    os.chmod(path, 0o660)
    return server


def trusted(client: socket.socket) -> bool:
    """Whether the other end of a unix socket is root's or this process's own user's."""
    _, uid, _ = UCRED.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    return uid in (0, os.geteuid())


async def _told(lines: AsyncGenerator[Any], writer: asyncio.StreamWriter) -> None:
    """An answer without an end, until the client goes or does not read."""
    async with contextlib.aclosing(lines):
        async for line in lines:
            writer.write(json.dumps(line).encode() + b"\n")
            await _drained(writer)


async def _line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(WAIT_S):
        return await reader.readline()


async def _drained(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(WAIT_S):
        await writer.drain()


async def _answer(line: bytes, is_trusted: bool, answers: Answers, write: Write | None, errands: Errands) -> Any:
    try:
        request = {**json.loads(line), TRUSTED: is_trusted}
        if word := next((word for word in errands if word in request), ""):
            return await errands[word](request)
        if write is not None and "set" in request:
            if not is_trusted:
                return NOT_TRUSTED
            return await write(str(request["set"]), float(request["value"]))
        what = request["get"]
    except (ValueError, KeyError, TypeError):
        return {"error": 'expected a line such as {"get": "health"}'}
    if not isinstance(what, str) or what not in answers:
        return {"error": f"unknown request {what!r}", "known": sorted(answers)}
    found = answers[what]()
    return await found if inspect.isawaitable(found) else found


def ask(path: Path, what: str, ask_within_s: float = WAIT_S) -> Any:
    """One question from a tool, blocking. Raises OSError where no field half listens."""
    return request(path, {"get": what}, ask_within_s)


def request(path: Path, words: Mapping[str, Any], ask_within_s: float = WAIT_S) -> Any:
    """One request as it stands, blocking. Raises OSError, or ValueError for half an answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ask_within_s)
        client.connect(str(path))
        client.sendall(json.dumps(words).encode() + b"\n")
        return json.loads(client.makefile("rb").readline())
