"""`citygate center`: a process that listens until it is told to stop. Logs to stderr, one line a change of state."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from gateway.center import control as control_socket
from gateway.center import datagrams, intake, sinks, streams
from gateway.center.agents import Agents
from gateway.center.datagrams import Datagrams
from gateway.center.directory import Directory
from gateway.center.files import Files
from gateway.center.silence import Silence, event
from gateway.center.sink import SELF, Heard, Sink, StoreError, own_alarm
from gateway.center.streams import Streams
from gateway.spool.trouble import Trouble

log = logging.getLogger("citygate.center")

CHECK_S = 1.0  # silent gateways are looked for
SWITCH_S = 0.001  # an alarm must not wait 5 ms for the thread that stores
PORT_0_TRIES = 20
OPTIONAL = "if possible:"  # before the place of a control socket


def run(
    bind: str,
    db: str,
    credentials: str | None,
    insecure: bool,
    observers: Sequence[str] = (),
    control: str = "",
    files: str = "",
) -> int:
    """0 after a clean stop, 3 where the address cannot be had, 2 with a message for any other refusal to start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    sys.setswitchinterval(SWITCH_S)
    try:
        asyncio.run(_until_signal(bind, db, credentials, insecure, observers, control or _beside(db), files))
    except Trouble as bad:
        print(bad, file=sys.stderr)
        return 3 if bad.code == "CG-4201" else 2
    return 0


async def _until_signal(
    bind: str, db: str, credentials: str | None, insecure: bool, observers: Sequence[str], control: str, files: str
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(bind, db, credentials, insecure=insecure, stop=stop, observers=observers, control=control, files=files)


async def serve(
    bind: str,
    db: str,
    credentials: str | None,
    *,
    insecure: bool,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
    observers: Sequence[str] = (),
    control: str = "",
    files: str = "",
) -> None:
    """Listen until `stop`; `ready` is set once it does. `db`: a path, or whatever `--sink` takes. `observers`: names
    whose credentials may look up all gateways in the resource directory. `control`: where the center's own tools ask
    gateways, "" for nowhere, OPTIONAL before it where it may lack. `files`: a folder that gateways may fetch from.

    Raises Trouble CG-4201, CG-4205 (address), CG-4202, CG-4212, CG-4208 (sink), CG-4203 (nobody could be heard),
    CG-4001, CG-4004, CG-4209 (credentials), CG-6110 (control)."""
    datagram_socket, stream_socket = _sockets(bind)
    try:
        agents = Agents(Files(files) if files else None)
        async with _asked(control, agents):
            await _listen(
                datagram_socket, stream_socket, bind, db, credentials, insecure, stop, ready, observers, agents
            )
    finally:
        datagram_socket.close()
        stream_socket.close()
    log.info("stopped")


@contextlib.asynccontextmanager
async def _asked(path: str, agents: Agents) -> AsyncIterator[None]:
    """Raises Trouble CG-6110."""
    place, server = path.removeprefix(OPTIONAL), None
    try:
        if place:
            server = await control_socket.serve(Path(place), agents)
    except Trouble as bad:
        if place == path:
            raise
        log.error("nobody can ask gateways through this center: %s", bad)
    try:
        yield
    finally:
        if server is not None:
            server.close()
            with contextlib.suppress(OSError):
                os.unlink(place)


def _beside(db: str) -> str:
    """The control socket's place where none is named: in the folder of the file that is stored into. A center that
    cannot have it there takes in records all the same."""
    kind, _, where = db.rpartition(":")
    folder = Path(where).parent if kind in ("", "sqlite", "jsonl") else Path()
    return OPTIONAL + str(folder / control_socket.NAME)


async def _listen(
    datagram_socket: socket.socket,
    stream_socket: socket.socket,
    bind: str,
    db: str,
    credentials: str | None,
    insecure: bool,
    stop: asyncio.Event,
    ready: asyncio.Event | None,
    observers: Sequence[str],
    agents: Agents,
) -> None:
    folder = Path(credentials) if credentials else None
    if not insecure and (folder is None or not folder.is_dir()):
        raise Trouble(
            "CG-4203",
            f"no credentials folder at {folder or '(none given)'}: no gateway could be heard",
            f"자격 증명 폴더가 없습니다 ({folder or '미지정'}). 어떤 게이트웨이도 수신할 수 없습니다",
            next_en="Give --credentials DIR with one folder a gateway, or --insecure for tests",
            next_ko="--credentials DIR 를 지정하거나 시험용으로 --insecure 를 사용하십시오",
        )
    store, shared = await sinks.open_sink(db)
    try:
        keys = intake.Keyring(folder, (shared.where, shared.blocks) if shared else None)
        directory = Directory(observers)
        for name, _, next_s, _, silent in store.heard():
            if not silent:
                directory.heard(name, next_s, time.monotonic())
        attentive = _Attention(store, Silence(), directory)
        desk = intake.Intake(store, keys, insecure=insecure, heed=attentive.heed, directory=directory, agents=agents)
        if shared is not None:
            shared.heed, shared.lost = attentive.heed, keys.unsettle
        tcp = Streams(desk.answer)
        await tcp.listen(stream_socket)
        udp = Datagrams(datagram_socket, desk.answer)
        watching = asyncio.get_running_loop().create_task(attentive.run())
        log.info("ready: listening on %s, %d gateway(s) known%s", bind, len(keys.names), ", INSECURE" * insecure)
        if ready:
            ready.set()
        loop = asyncio.get_running_loop()
        store.ended.add_done_callback(lambda _: loop.call_soon_threadsafe(stop.set))
        await stop.wait()
        watching.cancel()
        await udp.close()
        await tcp.close()
        keys.close()
        if store.ended.done():
            store.ended.result()
    finally:
        await store.aclose()


class _Attention:
    """Turns what is heard, and what is not, into alarms of the center's own."""

    def __init__(self, store: Sink, silence: Silence, directory: Directory | None = None) -> None:
        self._store = store
        self._directory = directory or Directory()
        self._silence = silence
        self._boot = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._back: set[str] = set()
        self._promises: dict[str, float] = {}
        self._leads = store.leads
        if self._leads:
            self._lead(time.monotonic())

    def heed(self, gateway: str, next_s: float, shares: tuple[str, ...]) -> None:
        if next_s:
            self._promises[gateway] = next_s
        self._directory.heard(gateway, next_s, time.monotonic())
        if self._silence.heard(gateway, next_s, shares, time.monotonic()):
            self._back.add(gateway)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self._look()
            except StoreError as bad:
                log.error("CG-4206 the state of silent gateways cannot be stored (%s)", bad)

    def _lead(self, now_s: float) -> None:
        """Go on with the incidents that stand; everybody else has the full time again."""
        for name, _, next_s, shares, subject in self._store.heard():
            self._promises[name] = next_s
            self._silence.restore(name, next_s, shares, subject, now_s)

    async def _look(self) -> None:
        now_s = time.monotonic()
        if self._store.leads != self._leads:
            self._leads = self._store.leads
            if self._leads:
                self._lead(now_s)
        if not self._leads:
            return
        fallen, news = self._silence.check(now_s)
        back, self._back = self._back - fallen.keys(), set()
        if back:
            await self._store.mark_silent(sorted(back), "")
        for subject in sorted(set(fallen.values())):
            await self._store.mark_silent([name for name, its in fallen.items() if its == subject], subject)
        for incident, phase in news:
            said = event(incident, phase, now_s, time.time_ns(), self._promises)
            log.warning("%s: %s / %s", phase.name.lower(), said.text_en, said.text_ko)
            await self._store.put_all(SELF, [own_alarm(self._boot, next(self._numbers), said)], Heard())


def _sockets(bind: str) -> tuple[socket.socket, socket.socket]:
    """One port number for both. Raises Trouble CG-4201, CG-4205."""
    try:
        host, port = intake.parse_bind(bind)
    except ValueError as bad:
        raise Trouble(
            "CG-4205",
            f"--bind {bind} is not an address to listen at",
            f"--bind {bind} 은(는) 수신할 주소가 아닙니다",
            next_en="Write HOST:PORT, as 0.0.0.0:5683 or [::]:5683 (ports 1 to 65535)",
            next_ko="0.0.0.0:5683, [::]:5683 처럼 HOST:PORT 형식으로 쓰십시오(포트 1~65535)",
        ) from bad
    for tries_left in reversed(range(PORT_0_TRIES if port == 0 else 1)):
        try:
            datagram_socket = datagrams.open_socket(host, port)
            try:
                return datagram_socket, streams.open_socket(host, datagram_socket.getsockname()[1])
            except OSError:
                datagram_socket.close()
                if not tries_left:
                    raise
        except OSError as bad:
            raise _unbindable(bind, bad.strerror or str(bad), taken=bad.errno == errno.EADDRINUSE) from bad
    raise AssertionError


def _unbindable(bind: str, why: str, *, taken: bool = True) -> Trouble:
    return Trouble(
        "CG-4201",
        f"cannot listen on {bind} ({why})",
        f"{bind} 에서 수신할 수 없습니다 ({why})",
        next_en="Stop the program that uses the port (ss -tulpn names it), or give another --bind HOST:PORT"
        if taken
        else "Give --bind an address of this machine (ip address lists them), or 0.0.0.0:PORT for all",
        next_ko="포트를 사용 중인 프로그램을 중지하거나(ss -tulpn 으로 확인) 다른 --bind HOST:PORT 를 지정하십시오"
        if taken
        else "--bind 에 이 장비의 주소(ip address 로 확인)나 전체를 뜻하는 0.0.0.0:PORT 를 지정하십시오",
    )
