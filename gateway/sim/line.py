"""A serial line with nothing short-circuited: a pseudo terminal, paced like a UART at its baud rate.

A pty moves bytes at once, so time is kept here: an answer leaves when its last byte would have left a real port.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from types import TracebackType


class PtyLine:
    """The device side of a line. `path` is what a gateway opens; it stays the same while devices come and go."""

    def __init__(self, baud: int, bits_per_char: int = 10) -> None:
        self.char_s = bits_per_char / baud
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._arrived = asyncio.Event()
        self._input = bytearray()

    async def __aenter__(self) -> PtyLine:
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self._input += os.read(self._master, 4096)
        self._arrived.set()

    def fileno(self) -> int:
        """Of the master's end of the line: its settings can be asked for."""
        return self._slave

    async def receive(self) -> bytes:
        """What the gateway has sent since the last call; waits for something."""
        while not self._input:
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._input)
        self._input.clear()
        return data

    def put(self, data: bytes) -> bool:
        """All of `data` at once, or nothing: False while nobody reads and the line's buffer is full."""
        try:
            return os.write(self._master, data) == len(data)
        except OSError:
            return False
