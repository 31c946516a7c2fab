"""Which of several centers raises alarms for silent gateways, and what stands: two entries of a KV bucket.

watch    CBOR: the center that leads. It writes the entry anew every few seconds; another takes it over when it has
         not changed for LEASE_S by its own clock.
silent   CBOR {gateway: incident}, written by the one that leads
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import cbor2
import nats.errors
import nats.js.errors
from nats.js.kv import KeyValue

RENEW_S = 4.0
LEASE_S = 15.0
WITHOUT_S = 10.0  # a leader that could not renew for so long is none any more
MOST = 20_000


class Watch:
    def __init__(self, center: str, bucket: KeyValue) -> None:
        self.leads = False
        self.silent: dict[str, str] = {}
        self._id = center
        self._bucket = bucket
        self._revision = 0
        self._since_s = self._renewed_s = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                await self.step(loop.time())
            if self.leads and loop.time() > self._renewed_s + WITHOUT_S:
                self.leads = False
            await asyncio.sleep(RENEW_S)

    async def step(self, now_s: float) -> None:
        """Look at the entry; renew it, or take it where nobody did."""
        try:
            found = await self._bucket.get("watch")
        except nats.js.errors.KeyNotFoundError:
            await self._take(0, now_s, fresh=True)
            return
        if found.value == self._id.encode():
            await self._take(found.revision or 0, now_s)
        elif found.revision != self._revision:
            self.leads, self._revision, self._since_s = False, found.revision or 0, now_s
        elif now_s > self._since_s + LEASE_S or not found.value:
            await self._take(found.revision, now_s)

    async def mark(self, names: Sequence[str], incident: str) -> None:
        for name in names:
            if incident and (name in self.silent or len(self.silent) < MOST):
                self.silent[name] = incident
            else:
                self.silent.pop(name, None)
        await self._bucket.put("silent", cbor2.dumps(self.silent))

    async def resign(self) -> None:
        """Let another center take over at once."""
        if self.leads:
            self.leads = False
            await self._bucket.update("watch", b"", last=self._revision)

    async def _take(self, revision: int, now_s: float, *, fresh: bool = False) -> None:
        try:
            if fresh:
                self._revision = await self._bucket.create("watch", self._id.encode())
            else:
                self._revision = await self._bucket.update("watch", self._id.encode(), last=revision)
        except nats.js.errors.KeyWrongLastSequenceError:
            return
        if not self.leads:
            with suppress(nats.js.errors.KeyNotFoundError):
                self.silent = dict(cbor2.loads((await self._bucket.get("silent")).value or b"\xa0"))
        self._renewed_s, self.leads = now_s, True
