"""Mutated CoAP and CBOR at a center and at a gateway: nothing may crash, hang or grow.

At the center: datagrams and frames of every kind of message, plain and protected, with bytes changed, cut, doubled or
joined; and messages whose inside was spoilt before a known key protected them. At the gateway: answers, on a socket and
on a connection, while something waits. A crash is any exception, and any 5.00.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.uplink_center import _rss_mb
from benchmarks.uplink_ends import BOOT, CATALOG, alarm, windows
from gateway.center import intake
from gateway.center.limits import Buckets
from gateway.center.store import Store
from gateway.site.upstream import Upstream
from gateway.spool.records import Gap, Health, Item, Record, Values, lane_of
from gateway.uplink.columns import Columns
from gateway.uplink.port import Port
from gateway.uplink.way import Way
from gateway.wire import bundle, coap, columnar, edhoc, hello, pack, secure, stream
from gateway.wire.coap import BadMessage, Message
from gateway.wire.credentials import SecurityContext, create
from gateway.wire.edhoc import Initiator, Key
from gateway.wire.stream import Stream

MUTANTS, FULL_MUTANTS = 60_000, 1_000_000
NUMBERS = (11, 12, 15, 23, 27, 60, 252, 292, 9999)  # of options


def run(*, full: bool, mutants: int = 0) -> dict[str, Any]:
    """{mutants, crashes, answers by code, rss_growth_mb}."""
    level = logging.getLogger("citygate.center").level
    logging.getLogger("citygate.center").setLevel(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory(prefix="citygate-fuzz-") as name:
            return asyncio.run(_fuzz(Path(name), mutants or (FULL_MUTANTS if full else MUTANTS)))
    finally:
        logging.getLogger("citygate.center").setLevel(level)


async def _fuzz(folder: Path, mutants: int) -> dict[str, Any]:
    crashes: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: crashes.append(repr(context.get("exception"))))
    create("bench", folder / "gw", folder / "keys")
    dice = random.Random(5)
    rss_mb = 0.0
    answers: Counter[str] = Counter()
    center, gateway = _Center(folder), _Gateway()
    attacks: list[Callable[[], Awaitable[str]]] = [
        lambda: center.datagram(_mutant(dice, dice.choice(center.datagrams))),
        lambda: center.datagram(_mutant(dice, center.protected(dice))),
        lambda: center.spoilt(dice),
        lambda: center.enrolment(dice),
        lambda: center.frames(_mutant(dice, dice.choice(center.frames_seen))),
        lambda: gateway.datagram(dice, _mutant(dice, dice.choice(gateway.datagrams))),
        lambda: gateway.frames(_mutant(dice, dice.choice(gateway.frames_seen))),
    ]
    try:
        for number in range(mutants):
            if number == mutants // 10:
                rss_mb = _rss_mb(_own())
            try:
                answers[await attacks[number % len(attacks)]()] += 1
            except Exception as bad:
                crashes.append(repr(bad))
        growth_mb = _rss_mb(_own()) - rss_mb
        crashes += ["5.00"] * answers["5.00"]
    finally:
        await center.close()
        await gateway.close()
    return {
        "mutants": mutants,
        "crashes": len(crashes),
        "crashed_of": sorted(set(crashes))[:5],
        "answers": dict(sorted(answers.items())),
        "rss_growth_mb": round(growth_mb, 1),
    }


def _own() -> int:
    return int(Path("/proc/self/stat").read_text().split()[0])


def _post_edhoc(payload: bytes) -> Message:
    path = tuple((coap.URI_PATH, part.encode()) for part in edhoc.PATH)
    return Message(coap.POST, (*path, (coap.CONTENT_FORMAT, coap.uint(edhoc.FORMAT_WITH_ID))), payload)


def _mutant(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(5):
            case 0 if at < len(out):
                out[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(out):
                out[at] = dice.choice((0, 0xFF, 0x7F, 0x80, dice.randrange(256)))
            case 2:
                del out[at:]
            case 3:
                out[at:at] = dice.randbytes(dice.randrange(1, 9))
            case _:
                out[at:at] = out[: dice.randrange(40)]
    return bytes(out)


class _Center:
    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "center.db")
        self.store._db.execute("PRAGMA synchronous=OFF")  # what is looked for is not on the disk
        self.keys = intake.Keyring(folder / "keys")
        self.desk = intake.Intake(self.store, self.keys, insecure=True)
        self.desk._by_key = self.desk._strangers = Buckets(1e9, 1e9)
        self.desk._enrolment._each = self.desk._enrolment._all = Buckets(1e9, 1e9)
        self.key = Key.new("bench")
        self.context = SecurityContext(folder / "gw")
        self.context.recipient_replay_window.initialize_empty()
        self.keys.find((self.context.sender_id, None)).recipient_replay_window.initialize_empty()  # type: ignore[union-attr]
        self.plain = _requests()
        self.datagrams = [coap.to_datagram(one) for one in self.plain]
        csm = coap.to_frame(Message(coap.CSM))
        self.frames_seen = [csm + coap.to_frame(one) + coap.to_frame(Message(coap.PING)) for one in self.plain]

    async def datagram(self, data: bytes) -> str:
        try:
            request = coap.from_datagram(data)
        except BadMessage:
            return "not CoAP"
        if not request.is_request:
            return "no request"
        return await self._ask(request)

    def protected(self, dice: random.Random) -> bytes:
        outer, _ = secure.protect_request(self.context, dice.choice(self.plain))
        return coap.to_datagram(outer)

    async def spoilt(self, dice: random.Random) -> str:
        """Garbage from somebody who holds a key."""
        one = dice.choice(self.plain)
        options = one.options
        if dice.random() < 0.3:
            options = (
                *options,
                (dice.choice((11, 12, 15, 23, 27, 60, 252, 292, 9999)), dice.randbytes(dice.randrange(4))),
            )
        try:
            outer, _ = secure.protect_request(
                self.context, Message(one.code, options, _mutant(dice, one.payload), b"t")
            )
        except (ValueError, UnicodeDecodeError):
            return "not CoAP"
        return await self._ask(outer)

    async def enrolment(self, dice: random.Random) -> str:
        """A spoilt first message, or a right one and a spoilt third."""
        ours = Initiator(self.key)
        first = ours.first()
        if dice.random() < 0.7:
            return await self._ask(_post_edhoc(_mutant(dice, first)))
        answer = await self._respond(_post_edhoc(first))
        assert answer
        return await self._ask(_post_edhoc(_mutant(dice, ours.third(answer.payload, lambda peer: True))))

    async def frames(self, data: bytes) -> str:
        end = Stream(lambda _, request: self._respond(request))
        end.connection_made(_Nowhere())
        end.data_received(data)
        await asyncio.gather(*end._answering, return_exceptions=True)
        return "stream closed" if end.closed else "stream open"

    async def close(self) -> None:
        self.context.close()
        self.keys.close()
        await asyncio.to_thread(self.store.close)

    async def _ask(self, request: Message) -> str:
        answer = await self._respond(request)
        return answer.dotted if answer else "no answer"

    async def _respond(self, request: Message) -> Message | None:
        answer, _ = await self.desk.answer(request, "10.0.0.1")
        if answer is not None:
            coap.to_datagram(answer)
        return answer


class _Gateway:
    """A port with something on its way, whatever arrives."""

    def __init__(self) -> None:
        self.way = Way(Upstream("center", "coap://127.0.0.1:9", "", True, ("",)), "bench", None)
        refusals = bundle.encode_refusals({0: "no"})
        said = [
            Message(coap.CHANGED, payload=refusals, kind=coap.ACK, token=b"abc", mid=7),
            Message(coap.CHANGED, ((coap.OSCORE, b""),), bytes(20), kind=coap.ACK, token=b"abc", mid=7),
            Message(coap.UNAUTHORIZED, ((coap.ECHO, b"12345678"),), kind=coap.CON, token=b"abc", mid=9),
            Message(coap.UNAVAILABLE, ((coap.MAX_AGE, b"\x05"),), kind=coap.ACK, token=b"abc", mid=7),
            Message(coap.CONTINUE, ((coap.BLOCK1, b"\x0e"),), kind=coap.ACK, token=b"abc", mid=7),
            Message(coap.EMPTY, kind=coap.RST, mid=7),
        ]
        self.datagrams = [coap.to_datagram(one) for one in said]
        csm = coap.to_frame(Message(coap.CSM, ((coap.CSM_MAX_MESSAGE_SIZE, b"\x01\x00\x00"),)))
        self.frames_seen = [csm + coap.to_frame(one) + coap.to_frame(Message(coap.ABORT)) for one in said]
        self.port = Port(self.way)

    async def datagram(self, dice: random.Random, data: bytes) -> str:
        from gateway.uplink.port import _Exchange

        exchange = _Exchange(7, asyncio.get_running_loop().create_future(), asyncio.Event())
        self.port._waiting = {b"abc": exchange}
        self.port.datagram_received(data, ("127.0.0.1", 9))
        if not exchange.answered.done():
            return "still waiting"
        if exchange.answered.exception() is not None:
            return "reset"
        answer: Message = exchange.answered.result()
        try:
            bundle.decode_refusals(answer.payload, 1)
        except ValueError:
            return "answer with a bad payload"
        return "answer"

    async def frames(self, data: bytes) -> str:
        end = Stream(stream.refuse)
        end.connection_made(_Nowhere())
        waiting = asyncio.ensure_future(end.request(Message(coap.POST)))
        await asyncio.sleep(0)
        end.data_received(data)
        await asyncio.gather(*end._answering, return_exceptions=True)
        closed = end.closed
        end.connection_lost(None)
        await asyncio.gather(waiting, return_exceptions=True)
        return "stream closed" if closed else "stream open"

    async def close(self) -> None:
        await self.port.close()


class _Nowhere(asyncio.Transport):
    """Takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _NoSocket() if name == "socket" else ("10.0.0.1", 1)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def write(self, data: Any) -> None:
        return

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return


class _NoSocket:
    def setsockopt(self, *_: Any) -> None:
        return

    def getsockopt(self, *_: Any) -> bytes:
        return b""


def _requests() -> list[Message]:
    dice = random.Random(1)
    items: list[Item] = [
        windows(1, dice),
        alarm(0),
        Gap("crash", (((0, 1), 10, 20),), "", "", ((1, BOOT, 7, 7),)),
        Values(((0, 5, 1.25, 0),)),
        Health(5, {"cpu": 0.5, "disk": "ok", "up": True}),
    ]
    packs = []
    for number, item in enumerate(items):
        record = Record(BOOT, "center", lane_of(item), number, CATALOG.id, item)
        packs.append(pack.encode(record, CATALOG, lambda _: 10**18, next_s=60))
    bodies = [(kind, 112, body) for kind, body in packs]
    bodies.append((bundle.PATH, bundle.DEFLATED, bundle.encode(packs, 60)))
    columns = Record(BOOT, "center", lane_of(items[0]), 9, CATALOG.id, items[0])
    told = Columns().pack(columns, CATALOG, lambda _: 10**18, set(), next_s=60)
    bodies.append((told.kind, columnar.CONTENT_FORMAT, told.pack))
    bodies.append((hello.PATH, 112, hello.encode("bench", BOOT, "center", 1_800_000_000, hello.Hello(60, ("mast",)))))
    return [
        Message(
            coap.POST,
            ((coap.URI_PATH, path.encode()), (coap.CONTENT_FORMAT, coap.uint(number)), (coap.URI_QUERY, b"g=fuzz")),
            body,
            b"t",
            mid=7,
        )
        for path, number, body in bodies
    ]
