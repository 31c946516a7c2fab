"""Ten thousand gateways, two intakes, one JetStream: what is lost, what is doubled, when an intake is killed meanwhile.

Every simulated gateway has an OSCORE context of its own and speaks CoAP in datagrams over loopback: in each round it
sends a hello, a bundle of windows or an alarm, until 2.04 comes. A part of the answers is thrown away, so the same
packs come again, and a gateway that gets none goes to the other intake. Between the marks KILLED and STARTED of what is
to be sent one intake is dead (kill -9). At the end the stream is read and compared, pack by pack, with what was sent.

python -m benchmarks.uplink_fleet [--full] [GATEWAYS]     needs nats-server
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nats
from aiocoap import oscore
from nats.js.api import DeliverPolicy

from benchmarks.uplink_center import _rss_mb
from benchmarks.uplink_ends import BOOT, CATALOG, alarm, windows
from gateway.spool.records import Item, Record, lane_of
from gateway.wire import bundle, coap, hello, pack, secure, senml
from gateway.wire.coap import BadMessage, Message
from gateway.wire.credentials import ALGORITHM, CENTER_ID, FILE, HASH
from gateway.wire.state import FILE as NUMBERS

GATEWAYS = 10_000
ROUNDS, FULL_ROUNDS = 4, 8
IN_BUNDLE = 3
AT_ONCE = 128  # gateways with a message on its way
SOCKETS = 64
WAITS_S = (1.0, 2.0)  # for an answer; then the other intake, with twice the patience
PATIENCE = 4.0  # times that, at most
DEAF = 0.03  # of the answers, thrown away
WANDER = 0.05  # of the gateways change the intake before a round, for no reason
KILLED, STARTED = 0.4, 0.6  # of all messages
LIMIT_S = 330.0  # of one run
READY_S = 90.0

Address = tuple[str, int]


def run(full: bool, gateways: int = GATEWAYS) -> dict[str, Any]:
    """{gateways, lost, duplicates, unfinished, ...}, or what is missing on this machine."""
    if shutil.which("nats-server") is None:
        print("the fleet is left out, this needs nats-server", flush=True)
        return {"missing": "nats-server"}
    with tempfile.TemporaryDirectory(prefix="citygate-fleet-") as name:
        figures = asyncio.run(_fleet(Path(name), gateways, FULL_ROUNDS if full else ROUNDS))
    print(f"fleet: {figures}", flush=True)
    return figures


class _Key(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]
    """A gateway's half of a context; it dies with the run, so its numbers need no file."""

    id_context: bytes | None = None

    def __init__(self, number: int, secret: bytes) -> None:
        self.alg_aead, self.hashfun = oscore.algorithms[ALGORITHM], oscore.hashfunctions[HASH]
        self.sender_id, self.recipient_id = number.to_bytes(3, "big"), CENTER_ID
        self.derive_keys(b"", secret)
        self.recipient_replay_window = oscore.ReplayWindow(32, lambda: None)
        self.recipient_replay_window.initialize_empty()
        self.sender_sequence_number = 0

    def post_seqnoincrease(self) -> None:
        pass


@dataclass(slots=True)
class _Gateway:
    name: str
    key: _Key
    boot: bytes
    intake: int
    echo: bytes = b""


class _Socket(asyncio.DatagramProtocol):
    """One of a few that all gateways share: the token tells whose an answer is."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, asyncio.Future[Message]] = {}
        self.mid = random.randrange(1 << 16)
        self.tokens = 0
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            message = coap.from_datagram(data)
        except BadMessage:
            return
        if message.kind == coap.CON and self.transport:
            self.transport.sendto(coap.to_datagram(Message(coap.EMPTY, kind=coap.ACK, mid=message.mid)), addr)
        waiting = self.waiting.get(message.token)
        if message.is_response and waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def ask(self, request: Message, at: Address, wait_s: float) -> Message:
        """Raises TimeoutError."""
        assert self.transport
        self.tokens += 1
        self.mid = self.mid + 1 & 0xFFFF
        token = coap.uint(self.tokens)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.waiting[token] = answer
        outer = Message(request.code, request.options, request.payload, token, coap.CON, self.mid)
        try:
            self.transport.sendto(coap.to_datagram(outer), at)
            async with asyncio.timeout(wait_s):
                return await answer
        finally:
            del self.waiting[token]


class _Fleet:
    def __init__(self, gateways: Sequence[_Gateway], intakes: Sequence[Address], sockets: Sequence[_Socket]) -> None:
        self.gateways = gateways
        self.done = 0
        self.counts: Counter[str] = Counter()
        self.latest_s = 0.0
        self._intakes = intakes
        self._sockets = sockets
        self._dice = random.Random(3)
        self._made: dict[tuple[int, int], tuple[str, bytes]] = {}

    async def play(self, rounds: int) -> None:
        waiting = iter([(gateway, round_) for round_ in range(rounds) for gateway in self.gateways])
        turn = {gateway.name: asyncio.Lock() for gateway in self.gateways}

        async def one_after_another() -> None:
            for gateway, round_ in waiting:
                async with turn[gateway.name]:
                    await self._round(gateway, round_)
                self.done += 1

        await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))

    async def _round(self, gateway: _Gateway, round_: int) -> None:
        if self._dice.random() < WANDER:
            gateway.intake ^= 1
        if round_ == 0:
            said = hello.encode(gateway.name, gateway.boot.hex(), "center", int(time.time()), hello.Hello(600.0, ()))
            await self._until_stored(gateway, hello.PATH, senml.CONTENT_FORMAT, said)
        if round_ % 2 == 0:
            first = round_ // 2 * IN_BUNDLE
            packs = [self._pack(gateway, 1, first + n) for n in range(IN_BUNDLE)]
            await self._until_stored(gateway, bundle.PATH, bundle.DEFLATED, bundle.encode(packs, 600.0))
        else:
            kind, body = self._pack(gateway, 0, round_ // 2)
            await self._until_stored(gateway, kind, senml.CONTENT_FORMAT, body)

    def _pack(self, gateway: _Gateway, lane: int, number: int) -> tuple[str, bytes]:
        if (lane, number) not in self._made:
            item: Item = windows(number, self._dice, 2) if lane else alarm(number)
            record = Record(BOOT, "center", lane_of(item), number, CATALOG.id, item)
            self._made[lane, number] = pack.encode(record, CATALOG, lambda _: 0)
        kind, body = self._made[lane, number]
        return kind, body.replace(bytes.fromhex(BOOT), gateway.boot)

    async def _until_stored(self, gateway: _Gateway, path: str, content_format: int, body: bytes) -> None:
        began_s = time.monotonic()
        sock = self._dice.choice(self._sockets)
        options = ((coap.URI_PATH, path.encode()), (coap.CONTENT_FORMAT, coap.uint(content_format)))
        silent, patience = 0, 1.0
        while True:
            fresh = ((coap.ECHO, gateway.echo),) if gateway.echo else ()
            request = Message(coap.POST, (*options, *fresh), body)
            outer, identifiers = secure.protect_request(gateway.key, request)
            try:
                answer = await sock.ask(outer, self._intakes[gateway.intake], patience * WAITS_S[silent])
                inner = secure.open_response(gateway.key, answer, identifiers)
            except TimeoutError:
                self.counts["no answer"] += 1
                silent += 1
                if silent == len(WAITS_S):
                    silent, gateway.intake, gateway.echo = 0, gateway.intake ^ 1, b""
                    patience = min(PATIENCE, 2 * patience)
                continue
            except secure.NotProtected as plain:
                self.counts[f"plain {plain.plain.dotted}"] += 1
                gateway.echo = b""
                await asyncio.sleep(0.2)
                continue
            gateway.echo = inner.first(coap.ECHO) or b""
            if inner.code == coap.CHANGED:
                if self._dice.random() < DEAF:
                    self.counts["thrown away"] += 1
                    gateway.intake ^= self._dice.random() < 0.5
                    continue
                self.latest_s = max(self.latest_s, time.monotonic() - began_s)
                return
            self.counts[inner.dotted] += 1
            if not gateway.echo:
                await asyncio.sleep(min(2.0, inner.uint(coap.MAX_AGE) or 0.5))


async def _fleet(folder: Path, gateways: int, rounds: int) -> dict[str, Any]:
    began_s = time.monotonic()
    fleet = [_provision(folder / "keys", number) for number in range(1, gateways + 1)]
    print(f"fleet: {gateways} contexts in {time.monotonic() - began_s:.0f} s, {rounds} rounds", flush=True)
    ports = [_free_port() for _ in range(3)]
    store = _Child(["nats-server", "-a", "127.0.0.1", "-p", str(ports[2]), "-js", "-sd", str(folder / "js")], folder)
    store.until("Server is ready")
    url = f"nats://127.0.0.1:{ports[2]}/fleet"
    intakes = [_intake(folder, url, port) for port in ports[:2]]
    try:
        for intake in intakes:
            intake.until("ready: listening")
        loop = asyncio.get_running_loop()
        sockets = []
        for _ in range(SOCKETS):
            _, protocol = await loop.create_datagram_endpoint(_Socket, local_addr=("127.0.0.1", 0))
            sockets.append(protocol)
        play = _Fleet(fleet, [("127.0.0.1", port) for port in ports[:2]], sockets)
        playing = loop.create_task(play.play(rounds))
        played_s = time.monotonic()
        killed = started = False
        told = 0
        while not playing.done() and time.monotonic() < played_s + LIMIT_S:
            await asyncio.wait((playing,), timeout=0.2)
            part = play.done / (rounds * gateways)
            if part >= KILLED and not killed:
                killed = True
                intakes[0].kill()
                print("fleet: one intake killed", flush=True)
            elif part >= STARTED and not started:
                started = True
                intakes[0] = await asyncio.to_thread(_intake, folder, url, ports[0])
                print("fleet: and started again", flush=True)
            if int(part * 10) > told:
                told = int(part * 10)
                spent_s = time.monotonic() - played_s
                print(f"fleet: {told * 10} % after {spent_s:.0f} s, {dict(play.counts)}", flush=True)
        finished = playing.done()
        if finished:
            await playing
        playing.cancel()
        spent_s = time.monotonic() - played_s
        for one in sockets:
            assert one.transport
            one.transport.close()
        rss_mb = [round(_rss_mb(intake.pid)) for intake in intakes]
        stored = await _read(url, fleet)
    finally:
        for child in (*intakes, store):
            child.kill()
    sent = {
        (gateway.name, lane, number)
        for gateway in fleet
        for round_ in range(rounds)
        for lane, number in (
            [(1, round_ // 2 * IN_BUNDLE + n) for n in range(IN_BUNDLE)] if round_ % 2 == 0 else [(0, round_ // 2)]
        )
    }
    lost = len(sent - stored.keys())
    return {
        "gateways": gateways,
        "lost": lost,
        "duplicates": sum(stored.values()) - len(stored),
        "unfinished": not finished,
        "packs": len(sent),
        "packs_per_s": round(len(stored) / spent_s),
        "came_again": play.counts["thrown away"] + play.counts["no answer"],
        "slowest_s": round(play.latest_s, 1),
        "seconds": round(spent_s),
        "intake_rss_mb": rss_mb,
    }


def _provision(keys: Path, number: int) -> _Gateway:
    """Both halves, without the syncs and the look at everybody else's that `create` takes."""
    name, secret = f"gw{number:05}", secrets.token_bytes(16)
    folder = keys / name
    folder.mkdir(parents=True)
    its = number.to_bytes(3, "big").hex()
    context = {
        "algorithm": ALGORITHM,
        "hash": HASH,
        "secret": secret.hex(),
        "sender": CENTER_ID.hex(),
        "recipient": its,
    }
    for file, content in ((FILE, context), (NUMBERS, {"next": 0, "machine": ""})):
        (folder / file).write_text(json.dumps(content))
        (folder / file).chmod(0o600)
    return _Gateway(name, _Key(number, secret), secrets.token_bytes(8), number % 2)


async def _read(url: str, fleet: Sequence[_Gateway]) -> Counter[tuple[str, int, int]]:
    """How often the stream holds each pack, by what the pack itself says."""
    server, _, name = url.rpartition("/")
    names = {gateway.boot.hex(): gateway.name for gateway in fleet}
    client = await nats.connect(server)
    try:
        stream = client.jetstream(timeout=20)
        left = (await stream.stream_info(name)).state.messages
        reader = await stream.subscribe(
            f"{name}.pack.>", stream=name, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
        )
        stored: Counter[tuple[str, int, int]] = Counter()
        while left:
            message = await reader.next_msg(timeout=30)
            said = pack.decode((message.headers or {})["Kind"], message.data)
            stored[names[said.boot], int(said.lane), said.seq] += 1
            left -= 1
        return stored
    finally:
        await client.close()


class _Child:
    """A process of ours with a log."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._log = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(list(command), stdout=out, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        return self._process.pid

    def until(self, words: str) -> None:
        """Raises RuntimeError."""
        give_up_s = time.monotonic() + READY_S
        while words not in (said := self._log.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > give_up_s:
                raise RuntimeError(f"never said {words!r}:\n{said[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()


def _intake(folder: Path, url: str, port: int) -> _Child:
    command = [sys.executable, "-m", "gateway.cli", "center", "--bind", f"127.0.0.1:{port}", "--sink", url]
    return _Child([*command, "--credentials", str(folder / "keys")], folder)


def _free_port() -> int:
    """Free for datagrams and connections a moment ago."""
    with socket.socket() as probe, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(probe.getsockname())
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument.isdigit()]
    print(json.dumps(run("--full" in sys.argv, int(given[0]) if given else GATEWAYS)), flush=True)
