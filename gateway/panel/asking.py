"""Questions to the field half, one at a time each with its bound. In: words of the control socket. Out: its answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LONGEST_ANSWER = 8 << 20


class NotThere(Exception):
    """No field half answers."""


async def asked(socket: Path, words: Mapping[str, Any], within_s: float) -> dict[str, Any]:
    """Raises NotThere."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_unix_connection(socket, limit=LONGEST_ANSWER)
            try:
                writer.write(json.dumps(words).encode() + b"\n")
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, ValueError, TimeoutError) as gone:
        raise NotThere(str(gone) or "no answer in time") from gone
    if not isinstance(answer, dict):
        raise NotThere("half an answer")
    return answer
