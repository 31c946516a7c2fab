"""Finding a NATS server, its stream and its KV bucket, or making them; names as tokens of a subject.

nats://[USER:PASSWORD@]HOST[:PORT][/NAME]    also tls://; NAME is stream, bucket and first token, `citygate` by default
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, KeyValueConfig, StorageType, StreamConfig
from nats.js.kv import KeyValue

from gateway.center.numbers import BLOCKS
from gateway.spool.trouble import Trouble

log = logging.getLogger("citygate.center")

SCHEMES = ("nats", "tls")
NAME = "citygate"
CONNECT_S = 10.0
WINDOW_S, LEAST_WINDOW_S = 120.0, 60.0
PENDING = 8 << 20  # bytes not yet written to the server


@dataclass(frozen=True, slots=True)
class Address:
    server: str
    shown: str  # without a password
    name: str
    creds: str


def parse(url: str) -> Address:
    """Raises Trouble CG-4212."""
    parts = urlsplit(url)
    name = parts.path.strip("/") or NAME
    if parts.scheme not in SCHEMES or not parts.hostname or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise _unreached(url, "not nats://HOST:PORT/NAME")
    creds = parse_qs(parts.query).get("creds", [""])[0]
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{name}"
    return Address(f"{parts.scheme}://{parts.netloc}", shown, name, creds)


async def connect(
    address: Address, gone: Callable[[], Awaitable[None]], again: Callable[[], Awaitable[None]]
) -> Client:
    """A client that comes back by itself; tells when the server is `gone` and when it is there `again`. Raises Trouble
    CG-4212."""

    async def fault(bad: Exception) -> None:
        log.debug("NATS: %r", bad)

    try:
        async with asyncio.timeout(CONNECT_S):
            credentials = {"user_credentials": address.creds} if address.creds else {}
            return await nats.connect(
                address.server, name="citygate center", error_cb=fault, disconnected_cb=gone, reconnected_cb=again,
                max_reconnect_attempts=-1, reconnect_time_wait=0.5, pending_size=PENDING, connect_timeout=2,
                ping_interval=5, max_outstanding_pings=2, **credentials,
            )  # fmt: skip
    except (nats.errors.Error, OSError, TimeoutError) as bad:
        raise _unreached(address.shown, str(bad) or type(bad).__name__) from bad


async def prepare(client: Client, address: Address) -> tuple[JetStreamContext, KeyValue]:
    """The stream and the bucket, made where they are not there. Raises Trouble CG-4212, CG-4208."""
    stream = client.jetstream()
    wanted = [f"{address.name}.pack.>"]
    try:
        try:
            found = (await stream.stream_info(address.name)).config
        except nats.js.errors.NotFoundError:
            config = StreamConfig(
                name=address.name, subjects=wanted, storage=StorageType.FILE, duplicate_window=WINDOW_S,
                discard=DiscardPolicy.NEW,
            )  # fmt: skip
            found = (await stream.add_stream(config)).config
            log.info("made the stream %s", address.name)
        if faults := _faults(found, wanted[0]):
            raise _misconfigured(address, "; ".join(faults))
        try:
            bucket = await stream.key_value(address.name)
        except nats.js.errors.NotFoundError:
            kept = KeyValueConfig(bucket=address.name, history=1, storage=StorageType.FILE)
            bucket = await stream.create_key_value(kept)
    except (nats.js.errors.APIError, nats.js.errors.NoStreamResponseError) as bad:
        raise _misconfigured(address, str(bad)) from bad
    except (nats.errors.NoRespondersError, nats.js.errors.Error) as bad:
        raise _misconfigured(address, "the server answers no JetStream request") from bad
    except (nats.errors.Error, TimeoutError) as bad:
        raise _unreached(address.shown, str(bad) or type(bad).__name__) from bad
    return stream, bucket


async def next_block(bucket: KeyValue) -> int:
    """A block of OSCORE numbers that nobody else has or had; from 1 on. Raises nats.errors.Error, Trouble CG-4210."""
    while True:
        try:
            found = await bucket.get("block")
            block, revision = int(found.value or b"0") + 1, found.revision or 0
        except nats.js.errors.KeyNotFoundError:
            block, revision = 1, 0
        if block >= BLOCKS:
            raise Trouble(
                "CG-4210",
                "all numbers that the centers share are used up",
                "센터들이 공유하는 번호를 모두 사용했습니다",
                next_en="Make new credentials for all gateways, under another stream",
                next_ko="다른 스트림에서 모든 게이트웨이의 자격 증명을 새로 만드십시오",
            )
        try:
            text = str(block).encode()
            await (bucket.update("block", text, last=revision) if revision else bucket.create("block", text))
        except nats.js.errors.KeyWrongLastSequenceError:
            continue
        return block


def token(name: str) -> str:
    """A name as one token of a subject and a key: other bytes than letters, digits, - and _ as =XX; "" as "="."""
    if not name:
        return "="
    return re.sub(rb"[^A-Za-z0-9_-]", lambda found: b"=%02X" % found[0][0], name.encode()).decode()


def name_of(its: str) -> str:
    if its == "=":
        return ""
    return re.sub(rb"=([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), its.encode()).decode()


def _faults(config: StreamConfig, subject: str) -> list[str]:
    """What a stream must be."""
    prefix = subject.split(".")[0]
    faults = []
    if not {subject, f"{prefix}.pack.*.*"} & set(config.subjects or ()):
        faults.append(f"its subjects are {', '.join(config.subjects or ['none'])}, not {subject}")
    if config.storage != StorageType.FILE:
        faults.append("it is kept in memory")
    if (config.duplicate_window or 0) < LEAST_WINDOW_S:
        faults.append(
            f"its duplicate window is {config.duplicate_window or 0:.0f} s, at least {LEAST_WINDOW_S:.0f} needed"
        )
    if config.no_ack or config.sealed:
        faults.append("it acknowledges nothing" if config.no_ack else "it is sealed")
    return faults


def _unreached(where: str, why: str) -> Trouble:
    return Trouble(
        "CG-4212",
        f"NATS at {where} is not reached ({why})",
        f"{where} 의 NATS 에 연결할 수 없습니다 ({why})",
        next_en="Check --sink nats://HOST:PORT/NAME, that nats-server runs, and its user",
        next_ko="--sink nats://HOST:PORT/NAME 과 nats-server 실행 여부, 사용자를 확인하십시오",
    )


def _misconfigured(address: Address, why: str) -> Trouble:
    return Trouble(
        "CG-4208",
        f"the JetStream stream {address.name} at {address.shown} cannot be used ({why})",
        f"{address.shown} 의 JetStream 스트림 {address.name} 을(를) 사용할 수 없습니다 ({why})",
        next_en=f"Start nats-server with -js; correct the stream (nats stream edit {address.name}), or let the center "
        "make it",
        next_ko=f"nats-server 를 -js 로 실행하고 스트림을 고치거나(nats stream edit {address.name}) "
        "센터가 만들게 하십시오",
    )
