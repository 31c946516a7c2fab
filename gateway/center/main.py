"""`citygate center`: a process that listens until it is told to stop. Logs to stderr, one line a change of state."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiocoap
from aiocoap import error

from gateway.center import intake
from gateway.center.store import Store
from gateway.spool.trouble import Trouble

log = logging.getLogger("citygate.center")


def run(bind: str, db: str, credentials: str | None, insecure: bool) -> int:
    """0 after a clean stop, 3 where the address cannot be had, 2 with a message for any other refusal to start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    # A stranger's datagrams must not fill the log; what matters is logged by the intake itself.
    logging.getLogger("coap-server").setLevel(logging.CRITICAL)
    intake.forget_sooner()
    try:
        asyncio.run(_until_signal(bind, db, credentials, insecure))
    except Trouble as bad:
        print(bad, file=sys.stderr)
        return 3 if bad.code == "CG-4201" else 2
    return 0


async def _until_signal(bind: str, db: str, credentials: str | None, insecure: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(bind, db, credentials, insecure=insecure, stop=stop)


async def serve(
    bind: str,
    db: str,
    credentials: str | None,
    *,
    insecure: bool,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
) -> None:
    """Listen until `stop`; `ready` is set once it does.

    Raises Trouble CG-4201, CG-4205 (address), CG-4202 (database), CG-4203 (nobody could be heard)."""
    asyncio.get_running_loop().set_exception_handler(_Odd())
    host, port = _free(bind)
    folder = Path(credentials) if credentials else None
    if not insecure and (folder is None or not folder.is_dir()):
        raise Trouble(
            "CG-4203",
            f"no credentials folder at {folder or '(none given)'}: no gateway could be heard",
            f"자격 증명 폴더가 없습니다 ({folder or '미지정'}). 어떤 게이트웨이도 수신할 수 없습니다",
            next_en="Give --credentials DIR with one folder a gateway, or --insecure for tests",
            next_ko="--credentials DIR 를 지정하거나 시험용으로 --insecure 를 사용하십시오",
        )
    store = Store(db)
    try:
        keys = intake.Keyring(folder)
        try:
            site = intake.site(store, keys, insecure=insecure)
            context = await aiocoap.Context.create_server_context(
                site, bind=(host, port), server_credentials=keys, transports=["oscore", "udp6"]
            )
        except (OSError, error.Error) as bad:
            keys.close()
            raise _unbindable(bind, str(bad)) from bad
        log.info("ready: listening on %s, %d gateway(s) known%s", bind, len(keys.names), ", INSECURE" * insecure)
        if ready:
            ready.set()
        await stop.wait()
        await context.shutdown()
        keys.close()
    finally:
        await asyncio.to_thread(store.close)
    log.info("stopped")


class _Odd:
    """Datagrams that trip the library (options that are not UTF-8) are counted, the first is logged."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        bad = context.get("exception")
        if not isinstance(bad, UnicodeDecodeError):
            loop.default_exception_handler(context)
            return
        self.count += 1
        if self.count == 1:
            log.warning("a datagram that is not CoAP was dropped; further ones are not logged")


def _free(bind: str) -> tuple[str, int]:
    """The library shares ports (SO_REUSEPORT), so a taken one has to be found out first."""
    os.environ.setdefault("AIOCOAP_REUSE_PORT", "0")
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
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as bad:
        raise _unbindable(bind, bad.strerror or str(bad), taken=bad.errno == errno.EADDRINUSE) from bad
    return host, port


def _unbindable(bind: str, why: str, *, taken: bool = True) -> Trouble:
    return Trouble(
        "CG-4201",
        f"cannot listen on {bind} ({why})",
        f"{bind} 에서 수신할 수 없습니다 ({why})",
        next_en="Stop the program that uses the port (ss -ulpn names it), or give another --bind HOST:PORT"
        if taken
        else "Give --bind an address of this machine (ip address lists them), or 0.0.0.0:PORT for all",
        next_ko="포트를 사용 중인 프로그램을 중지하거나(ss -ulpn 으로 확인) 다른 --bind HOST:PORT 를 지정하십시오"
        if taken
        else "--bind 에 이 장비의 주소(ip address 로 확인)나 전체를 뜻하는 0.0.0.0:PORT 를 지정하십시오",
    )
