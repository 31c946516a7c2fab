"""The lines to several centers as one: whichever stands is asked. No addresses, no keys of its own."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.agent.fetching import NotConnected
from gateway.agent.line import Line
from gateway.agent.trial import Reach
from gateway.wire.coap import Message


class Lines:
    """`one` request over the first line that is up; `reach`: how they stand since this process began."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    async def one(self, message: Message, within_s: float) -> Message:
        """The answer, one block. Raises OSError where no line is up or it breaks, TimeoutError."""
        for line in self._lines:
            if line.up.is_set():
                return await line.one(message, within_s)
        raise NotConnected("no center is connected")

    async def reach(self) -> Reach:
        """A line that has once stood is no fault of this release; nor is one where nobody can be reached at all."""
        if any(line.since_s for line in self._lines):
            return Reach.STANDS
        for line in self._lines:
            if await line.is_reachable():
                return Reach.BROKEN
        return Reach.AWAY
