"""Publishing to a JetStream stream with many acknowledgements outstanding (nats-py's `publish_async` never answers
where the server refuses, as a full stream does).
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg

AT_ONCE = 16_384
NOBODY = "503"


class Unpublished(OSError):
    """The server has refused, or too much is outstanding."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    sequence: int
    duplicate: bool


class Publisher:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[Acknowledgement]] = {}

    async def begin(self) -> None:
        await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str]) -> asyncio.Future[Acknowledgement]:
        """What comes when the message is stored; cancel it when it is waited for no more. Raises Unpublished,
        nats.errors.Error."""
        if len(self._waiting) >= AT_ONCE:
            raise Unpublished("too much is on its way")
        reply = f"{self._inbox}.{next(self._numbers)}"
        waiting: asyncio.Future[Acknowledgement] = asyncio.get_running_loop().create_future()
        waiting.add_done_callback(lambda _: self._waiting.pop(reply, None))
        self._waiting[reply] = waiting
        try:
            await self._client.publish(subject, body, reply=reply, headers=dict(headers))
        except BaseException:
            waiting.cancel()
            raise
        return waiting

    async def _answered(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject)
        if waiting is None or waiting.done():
            return
        if (message.headers or {}).get("Status") == NOBODY:
            waiting.set_exception(Unpublished("no stream takes it"))
            return
        said = json.loads(message.data)
        if "error" in said:
            waiting.set_exception(Unpublished(str(said["error"].get("description", "refused"))))
        else:
            waiting.set_result(Acknowledgement(said["seq"], bool(said.get("duplicate"))))
