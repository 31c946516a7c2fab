"""A center's control socket: its own tools ask gateways through it. CBOR over a unix socket, for the service's group.

Each message is four bytes of length (big-endian) and a CBOR map.

    {"gateways": true}                                                  -> {"gateways": [...]}
    {"ask": GATEWAY, "path", "method"?, "query"?, "body"?, "format"?, "within_s"?, "observe"?}
                                                                        -> {"status": 69, "format": 60, "body": bytes}
    anything else, or a gateway that cannot be asked                    -> {"code": "CG-nnnn", "error", "error_ko"}

With "observe" an answer follows each change, until the client goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import cbor2

from gateway.center.agents import Agents, Answer, NotAsked
from gateway.spool.trouble import Trouble
from gateway.wire import coap

log = logging.getLogger("citygate.center")

NAME = "center.sock"
LARGEST = 2 << 20  # bytes of a request
IDLE_S = 30.0
WITHIN_S = 15.0
METHODS = (coap.GET, coap.POST, coap.PUT, coap.DELETE, coap.FETCH)


async def serve(path: Path, agents: Agents) -> asyncio.Server:
    """Listen at `path` (replaced if a dead process left it behind). Raises Trouble CG-6110."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    asked = await _read(reader)
                async with contextlib.aclosing(_answers(agents, asked)) as answers:
                    await _tell(reader, writer, answers)
        except (OSError, EOFError, ValueError, TimeoutError):
            pass  # a client that went away, talks nonsense or reads nothing
        finally:
            writer.close()

    try:
        if _is_alive(path):
            raise OSError("another center listens there")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server = await asyncio.start_unix_server(handle, str(path))
        os.chmod(path, 0o660)
    except OSError as bad:
        raise Trouble(
            "CG-6110",
            f"the control socket {path} cannot be made ({bad.strerror or bad})",
            f"제어 소켓 {path} 을(를) 만들 수 없습니다 ({bad.strerror or bad})",
            next_en="Give another place with --control PATH (at most 107 bytes, in a folder that can be written)",
            next_ko="--control PATH 로 다른 위치를 지정하십시오(107바이트 이하, 쓰기 가능한 폴더)",
        ) from bad
    return server


async def _tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: AsyncIterator[Any]) -> None:
    """Until there are no more, or the client goes: then nobody observes on."""
    loop = asyncio.get_running_loop()
    gone = loop.create_task(reader.read(1))
    try:
        while True:
            following: asyncio.Future[Any] = asyncio.ensure_future(anext(answers, None))
            try:
                await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not following.done():
                    following.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await following
            if following.cancelled() or (answer := following.result()) is None:
                break
            _write(writer, answer)
            async with asyncio.timeout(IDLE_S):
                await writer.drain()
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
    if not gone.cancelled():
        raise EOFError  # it went, or asks before it was answered


async def _answers(agents: Agents, asked: Any) -> AsyncGenerator[dict[str, Any]]:
    try:
        if isinstance(asked, dict) and asked.get("gateways"):
            yield {"gateways": agents.connected()}
            return
        gateway, method, path, query, body, content_format, within_s, observe = _read_question(asked)
        if observe:
            async with contextlib.aclosing(agents.observe(gateway, path, query, within_s)) as changes:
                async for one in changes:
                    yield _shown(one)
        else:
            yield _shown(await agents.ask(gateway, method, path, query, body, within_s, content_format))
    except NotAsked as bad:
        yield {"code": bad.code, "error": bad.en, "error_ko": bad.ko}
    except (KeyError, TypeError, ValueError) as bad:
        yield {
            "code": "CG-6109",
            "error": f"the center was asked what it cannot read ({bad})",
            "error_ko": f"센터가 읽을 수 없는 요청입니다 ({bad})",
        }


def _read_question(
    asked: Any,
) -> tuple[str, int, str, Mapping[str, str], bytes, int | None, float, bool]:
    """Raises KeyError, TypeError, ValueError."""
    gateway, path = str(asked["ask"]), str(asked["path"])
    method, body = int(asked.get("method", coap.GET)), asked.get("body") or b""
    query = {str(key): str(value) for key, value in dict(asked.get("query") or {}).items()}
    content_format, within_s = asked.get("format"), float(asked.get("within_s", WITHIN_S))
    if method not in METHODS or not isinstance(body, bytes) or not 0 < within_s < 1e5:
        raise ValueError("method, body or within_s")
    if not path.strip("/") or any(len(part.encode()) > 255 for part in (*path.split("/"), *query, *query.values())):
        raise ValueError("path or query")
    whole = int(content_format) if content_format is not None else None
    return gateway, method, path, query, body, whole, within_s, bool(asked.get("observe"))


def _shown(answer: Answer) -> dict[str, Any]:
    return {"status": answer.code, "format": answer.content_format, "body": answer.payload}


async def _read(reader: asyncio.StreamReader) -> Any:
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > LARGEST:
        raise ValueError("too large")
    data = await reader.readexactly(size)
    try:
        return cbor2.loads(data)
    except Exception as bad:  # cbor2 lets errors of the types it builds through
        raise ValueError("no CBOR") from bad


def _write(writer: asyncio.StreamWriter, what: Mapping[str, Any]) -> None:
    data = cbor2.dumps(what)
    writer.write(len(data).to_bytes(4, "big") + data)


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, contextlib.suppress(OSError):
        client.settimeout(1.0)
        client.connect(str(path))
        return True
    return False
