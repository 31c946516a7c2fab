"""Questions to the field half over its control socket (gateway/field/control.py). Words in, its answer out.

One connection a question, bounded in time and size. Keeps nothing, changes nothing by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKET = "field.sock"
WITHIN_S = 5.0
LARGEST = 16 << 20  # bytes of an answer: `live` of a thousand points is 200 kB


class NotThere(OSError):
    """No field half answers."""


class Control:
    """Made for a state folder. A field half that starts later is found then."""

    def __init__(self, state_dir: str | Path) -> None:
        self._path = Path(state_dir) / SOCKET

    async def request(self, words: Mapping[str, Any], within_s: float = WITHIN_S) -> dict[str, Any]:
        """The answer, an object, with `error`, `error_ko` and `code` where the field half refused. Raises NotThere."""
        try:
            async with asyncio.timeout(within_s):
                return await self._asked(json.dumps(words).encode() + b"\n")
        except (OSError, ValueError, TimeoutError) as bad:
            raise NotThere(f"the field half does not answer at {self._path}: {bad or type(bad).__name__}") from bad

    async def _asked(self, line: bytes) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self._path), limit=LARGEST)
        try:
            writer.write(line)
            await writer.drain()
            told = await reader.readline()
        finally:
            writer.close()
        if not told.endswith(b"\n"):
            raise ValueError("half an answer")
        answer = json.loads(told)
        if not isinstance(answer, dict):
            raise ValueError("no object")
        return answer
