"""NATS JetStream as a sink: packs in, published, answered after the server's acknowledgement. Several centers may share
one stream; a gateway may move from one to another at any time.

    NAME.pack.GATEWAY.LANE   the stream NAME: packs as they came; Nats-Msg-Id GATEWAY/boot/upstream/lane/seq
    KV NAME, gateway.GATEWAY CBOR [owner, next_s, [share], upto, seen]       written by who hears the gateway
    NAME.heard               once a second, not kept: CBOR [center, [[gateway, next_s, [share]], ...]]

Duplicates: those that come within the stream's window are dropped by the server. Older ones are told by `seen`, the
numbers of a gateway up to the stream's sequence `upto`. A center that hears a gateway for the first time makes itself
its owner in the KV entry and reads what the stream holds of that gateway after `upto`; the one before drops what it
knows when it sees the entry change. Nothing that a killed center knew is needed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import cbor2
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from gateway.center import jetstream_setup as setup
from gateway.center.jetstream_setup import Address
from gateway.center.numbers import Blocks
from gateway.center.publisher import Acknowledgement, Publisher
from gateway.center.seen import Seen
from gateway.center.sink import SELF, Heard, HeardRow, StoreError, Taken
from gateway.center.watch import Watch
from gateway.spool.records import Lane

log = logging.getLogger("citygate.center")

ACK_S = 5.0
TAKE_OVER_S = 5.0  # a put waits no longer; the work goes on
SETTLE_S = 10.0  # after this, whatever another center had on its way for a gateway has arrived
NOTE_S = 5.0  # what changed is written to the KV entry so often
UNNOTED = 64  # packs that another center would have to read from the stream, roughly
LONGEST_S = 300.0
BEAT_S = 1.0
BEAT = 2000  # gateways in one message
OWNED = 50_000
NOTES_AT_ONCE = 32
HEADERS = 1024  # bytes, at most
TRIES = 8
FAULTS = (nats.errors.Error, OSError, TimeoutError, asyncio.InvalidStateError)

Heed = Callable[[str, float, tuple[str, ...]], None]


@dataclass(slots=True, eq=False)
class _Gateway:
    """One that is ours. `upto`: `seen` holds all of it that the stream has up to there."""

    name: str
    token: str
    revision: int
    heard: Heard
    seen: Seen
    upto: int
    taken_s: float
    newest: int = 0  # sequence of the last acknowledgement
    floors: dict[int, int] = field(default_factory=dict)  # of puts on their way: `newest` when they began
    unnoted: int = 0
    changed: bool = False
    noted_s: float = 0.0
    settled: bool = False
    doubtful: bool = False  # a publication may or may not be stored: read the stream again


class JetStream:
    """Made with `open`."""

    def __init__(self, address: Address, client: Client, stream: JetStreamContext, bucket: KeyValue) -> None:
        self.ended: Future[None] = Future()
        self.blocks = Blocks(0, self._another_block)
        self.lost: Callable[[str], None] = lambda _: None  # told of a gateway that another center hears now
        self.heed: Heed = lambda *_: None  # told of a gateway that another center has heard
        self._id = secrets.token_hex(6)
        self._name = address.name
        self._client = client
        self._stream = stream
        self._bucket = bucket
        self._owned: dict[str, _Gateway] = {}
        self._taking: dict[str, asyncio.Task[_Gateway]] = {}
        self._known: dict[str, tuple[int, str, Heard]] = {}  # revision, owner, of every gateway
        self._beats: dict[str, Heard] = {}
        self._puts = 0
        self._watch = Watch(self._id, bucket)
        self._publisher = Publisher(client)
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None]

    @classmethod
    async def open(cls, url: str) -> JetStream:
        """Raises Trouble CG-4212 (not reached), CG-4208 (the stream is not what it must be)."""
        address = setup.parse(url)
        made: list[JetStream] = []

        async def again() -> None:
            for sink in made:
                sink._again()

        async def gone() -> None:
            if any(not sink.ended.done() for sink in made):
                log.error("CG-4211 NATS at %s is not reached; gateways are asked to wait", address.shown)

        client = await setup.connect(address, gone, again)
        try:
            stream, bucket = await setup.prepare(client, address)
            sink = cls(address, client, stream, bucket)
            made.append(sink)
            sink.blocks.block = await setup.next_block(bucket)
            await sink._begin()
        except BaseException:
            await client.close()
            raise
        return sink

    @property
    def where(self) -> str:
        """The stream, as one name for all centers that share it."""
        return f"JetStream stream {self._name}"

    @property
    def leads(self) -> bool:
        return self._watch.leads

    async def put_all(self, gateway: str, packs: Sequence[Taken], heard: Heard) -> list[bool | ValueError]:
        if not self._client.is_connected:
            raise StoreError("NATS is not reached")
        one = await self._ours(gateway, heard)
        if gateway != SELF:
            self._beats[gateway] = _joined(self._beats.get(gateway), heard)
        if (said := _joined(one.heard, heard)) != one.heard:
            one.heard, one.changed = said, True
        self._puts += 1
        number = self._puts
        one.floors[number] = one.newest
        try:
            return await self._publish(one, packs)
        except FAULTS as bad:
            self._doubt(one)
            raise StoreError(f"NATS: {str(bad) or type(bad).__name__}") from bad
        except asyncio.CancelledError:
            self._doubt(one)
            raise
        finally:
            del one.floors[number]

    async def mark_silent(self, names: Sequence[str], incident: str) -> None:
        try:
            await self._watch.mark(names, incident)
        except FAULTS as bad:
            raise StoreError(f"NATS: {str(bad) or type(bad).__name__}") from bad

    def heard(self) -> list[HeardRow]:
        return [
            (name, 0, heard.next_s, heard.shares, self._watch.silent.get(name, ""))
            for name, (_, _, heard) in self._known.items()
            if name != SELF
        ]

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        with suppress(*FAULTS):
            async with asyncio.timeout(TAKE_OVER_S):
                await self._note_all(list(self._owned.values()))
                await self._watch.resign()
        if not self.ended.done():
            self.ended.set_result(None)
        with suppress(*FAULTS):
            await self._client.close()

    # -- packs

    async def _publish(self, one: _Gateway, packs: Sequence[Taken]) -> list[bool | ValueError]:
        results: list[bool | ValueError] = [False] * len(packs)
        waiting: list[tuple[int, tuple[str, str, int], int, asyncio.Future[Acknowledgement]]] = []
        try:
            for index, taken in enumerate(packs):
                said = taken.message
                its = (said.boot, said.upstream, int(said.lane))
                if one.seen.has(its, said.seq):
                    continue
                if len(taken.body) + HEADERS > self._client.max_payload:
                    results[index] = ValueError("too large for the sink")
                    continue
                headers = {"Nats-Msg-Id": f"{one.token}/{said.boot}/{setup.token(said.upstream)}/{its[2]}/{said.seq}"}
                headers["Kind"] = taken.kind
                subject = f"{self._name}.pack.{one.token}.{its[2]}"
                answer = await self._publisher.publish(subject, taken.body, headers)
                waiting.append((index, its, said.seq, answer))
            async with asyncio.timeout(ACK_S):
                acknowledgements = await asyncio.gather(*(answer for *_, answer in waiting))
        finally:
            for *_, answer in waiting:
                if not answer.cancel() and not answer.cancelled():
                    answer.exception()  # heard of, whoever was first
        for (index, its, number, _), acknowledgement in zip(waiting, acknowledgements, strict=True):
            one.seen.add(its, number)
            one.unnoted += 1
            if not acknowledgement.duplicate:
                results[index] = True
                one.newest = max(one.newest, acknowledgement.sequence)
        return results

    def _doubt(self, one: _Gateway) -> None:
        """The stream knows better than we do: read it again before the next pack."""
        one.doubtful = True
        if self._owned.get(one.name) is one:
            del self._owned[one.name]

    # -- whose a gateway is

    async def _ours(self, gateway: str, heard: Heard) -> _Gateway:
        """Raises StoreError."""
        if one := self._owned.get(gateway):
            return one
        taking = self._taking.get(gateway)
        if taking is None:
            taking = self._taking[gateway] = asyncio.get_running_loop().create_task(self._take_over(gateway, heard))
            taking.add_done_callback(lambda done: self._took(gateway, done))
        try:
            async with asyncio.timeout(TAKE_OVER_S):
                return await asyncio.shield(taking)
        except FAULTS as bad:
            raise StoreError(f"NATS: {str(bad) or type(bad).__name__}") from bad

    def _took(self, gateway: str, taking: asyncio.Task[_Gateway]) -> None:
        del self._taking[gateway]
        if taking.cancelled() or taking.exception() is not None:
            return
        one = taking.result()
        if self._known.get(gateway, (0, "", None))[0] <= one.revision:
            self._owned[gateway] = one
            if len(self._owned) > OWNED:
                del self._owned[next(iter(self._owned))]

    async def _take_over(self, gateway: str, heard: Heard) -> _Gateway:
        token = setup.token(gateway)
        key = f"gateway.{token}"
        now_s = asyncio.get_running_loop().time()
        for tries_left in reversed(range(TRIES)):
            found = await _entry(self._bucket, key)
            _, known, upto, seen = _read(found.value if found else None)
            said = _joined(known, heard)
            one = _Gateway(gateway, token, 0, said, seen, upto, now_s, newest=upto, noted_s=now_s)
            try:
                one.revision = await _write(self._bucket, key, self._plain(one), found)
                break
            except nats.js.errors.KeyWrongLastSequenceError:
                if not tries_left:
                    raise
        await self._read_on(one)
        return one

    async def _read_on(self, one: _Gateway) -> None:
        """Into `seen` what the stream holds of a gateway after `upto`."""
        subjects = [f"{self._name}.pack.{one.token}.{int(lane)}" for lane in Lane]
        # one by one by name: the server looks a wildcard up among all subjects it has
        lasts = await asyncio.gather(*(self._last(subject) for subject in subjects))
        for subject, last in zip(subjects, lasts, strict=True):
            at = one.upto
            while at < last:
                message = await self._stream.get_msg(self._name, seq=at + 1, subject=subject, next=True)
                at = message.seq or last
                _, boot, upstream, its, number = (message.headers or {})["Nats-Msg-Id"].split("/")
                one.seen.add((boot, setup.name_of(upstream), int(its)), int(number))
        newest = max(one.upto, *lasts)
        one.newest = max(one.newest, newest)  # `upto` stays: another center may still have something on its way

    async def _last(self, subject: str) -> int:
        """Sequence of the last message, 0 where there is none."""
        try:
            return (await self._stream.get_msg(self._name, subject=subject)).seq or 0
        except nats.js.errors.NotFoundError:
            return 0

    def _plain(self, one: _Gateway) -> bytes:
        said = one.heard
        return cbor2.dumps([self._id, said.next_s, list(said.shares), one.upto, one.seen.plain()])

    async def _note(self, one: _Gateway) -> None:
        if not one.settled:
            await self._read_on(one)
            one.settled = True
        if one.doubtful or self._owned.get(one.name) is not one:
            return
        one.upto = max(one.upto, min([one.newest, *one.floors.values()]))
        one.unnoted, one.changed = 0, False
        try:
            one.revision = await self._bucket.update(f"gateway.{one.token}", self._plain(one), last=one.revision)
        except nats.js.errors.KeyWrongLastSequenceError:
            self._drop(one.name)  # another center has it
        one.noted_s = asyncio.get_running_loop().time()

    async def _note_all(self, gateways: Sequence[_Gateway]) -> None:
        for first in range(0, len(gateways), NOTES_AT_ONCE):
            await asyncio.gather(*(self._note(one) for one in gateways[first : first + NOTES_AT_ONCE]))

    def _drop(self, gateway: str) -> None:
        if self._owned.pop(gateway, None) is not None:
            self.lost(gateway)

    # -- what goes on meanwhile

    async def _begin(self) -> None:
        filled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._following = self._go(self._follow(filled))
        async with asyncio.timeout(60.0):
            await asyncio.wait((filled, self._following), return_when=asyncio.FIRST_COMPLETED)
        if not filled.done():
            self._following.result()
        await self._publisher.begin()
        await self._client.subscribe(f"{self._name}.heard", cb=self._beaten)
        for forever in (self._beat, self._note_changes, self._watch.run):
            self._go(forever())

    def _go(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._gone)
        return task

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bad := task.exception()) is not None and not self.ended.done():
            self.ended.set_exception(bad)

    async def _follow(self, filled: asyncio.Future[None]) -> None:
        """Every entry as it is now, then as it changes; `filled` once the first are there."""
        watcher = None
        while True:
            if watcher is None:
                try:
                    watcher = await self._bucket.watch("gateway.>")
                except FAULTS:
                    await asyncio.sleep(BEAT_S)
                    continue
            try:
                entry = await watcher.updates(timeout=3600.0)  # type: ignore[no-untyped-call]
            except TimeoutError:
                continue
            if entry is None:
                if not filled.done():
                    filled.set_result(None)
                continue
            owner, heard, _, _ = _read(entry.value if entry.operation is None else None)
            name, revision = setup.name_of(entry.key.removeprefix("gateway.")), entry.revision or 0
            self._known[name] = (revision, owner, heard)
            if owner != self._id and (one := self._owned.get(name)) and one.revision < revision:
                self._drop(name)
            elif owner != self._id and name not in self._owned:
                self.lost(name)

    def _again(self) -> None:
        """After an outage nothing is sure: whose a gateway is, what was published."""
        log.info("NATS is reached again")
        for name in list(self._owned):
            self._drop(name)
        self._following.cancel()
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._following = self._go(self._follow(never))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            beats, self._beats = list(self._beats.items()), {}
            for first in range(0, len(beats), BEAT):
                rows = [[name, said.next_s, list(said.shares)] for name, said in beats[first : first + BEAT]]
                with suppress(*FAULTS):
                    await self._client.publish(f"{self._name}.heard", cbor2.dumps([self._id, rows]))

    async def _beaten(self, message: Any) -> None:
        center, rows = cbor2.loads(message.data)
        if center != self._id:
            for name, next_s, shares in rows:
                self.heed(name, next_s, tuple(shares))

    async def _note_changes(self) -> None:
        while True:
            await asyncio.sleep(NOTE_S)
            now_s = asyncio.get_running_loop().time()
            due = [
                one
                for one in self._owned.values()
                if now_s > one.taken_s + SETTLE_S
                and (
                    one.changed
                    or not one.settled
                    or one.unnoted >= UNNOTED
                    or (one.unnoted and now_s > one.noted_s + LONGEST_S)
                )
            ]
            with suppress(*FAULTS):
                await self._note_all(due)

    def _another_block(self) -> None:
        self._go(self._bring_block())

    async def _bring_block(self) -> None:
        for _ in range(1000):
            with suppress(*FAULTS):
                self.blocks.block = await setup.next_block(self._bucket)
                return
            await asyncio.sleep(NOTE_S)


def _joined(known: Heard | None, heard: Heard) -> Heard:
    return heard if known is None else Heard(heard.next_s or known.next_s, heard.shares or known.shares)


def _read(value: bytes | None) -> tuple[str, Heard, int, Seen]:
    if not value:
        return "", Heard(), 0, Seen()
    owner, next_s, shares, upto, seen = cbor2.loads(value)
    return owner, Heard(next_s, tuple(shares)), upto, Seen(seen)


async def _entry(bucket: KeyValue, key: str) -> KeyValue.Entry | None:
    try:
        return await bucket.get(key)
    except nats.js.errors.KeyNotFoundError:
        return None


async def _write(bucket: KeyValue, key: str, value: bytes, before: KeyValue.Entry | None) -> int:
    """Raises KeyWrongLastSequenceError where somebody else wrote meanwhile."""
    if before is None:
        return await bucket.create(key, value)
    return await bucket.update(key, value, last=before.revision)
