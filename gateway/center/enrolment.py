"""A center's side of enrolment: gateways that show an accepted key get an OSCORE context (EDHOC, gateway.wire.edhoc).

    KEYS/.enrolment/key.json       the center's own key
    KEYS/.enrolment/accepted.json  gateway: fingerprint, as operators accepted them (`accept`, `revoke`)
    KEYS/.enrolment/waiting.json   keys that asked and are not accepted, newest last; at most WAITING
    KEYS/NAME/context.json         the OSCORE context of the gateway NAME, written after message_3

The gateway's name is the one it was accepted by, never what it says. Strangers are bounded: exchanges a second in all
and from one source, exchanges begun, and an answer is never larger than three times what it answers.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.center.limits import Buckets, source
from gateway.spool.trouble import Trouble
from gateway.wire import coap, edhoc, state
from gateway.wire.coap import Message
from gateway.wire.credentials import FILE as CONTEXT
from gateway.wire.credentials import install
from gateway.wire.edhoc import Derived, Key, Peer, Refused, Responder
from gateway.wire.identity import identity

log = logging.getLogger("citygate.center")

DESK = ".enrolment"
ACCEPTED, WAITING_FILE = "accepted.json", "waiting.json"
NAME = "center"
AT_ONCE = 64  # exchanges begun
PATIENCE_S = 30.0
WAITING = 64
EACH_RATE, EACH_BURST = 2.0, 8.0  # messages a second from one source
ALL_RATE, ALL_BURST = 20.0, 60.0  # and from all: an exchange costs 2 ms
AMPLIFIED = 3


@dataclass(slots=True)
class _Exchange:
    began_s: float
    responder: Responder
    third: bytes = b""  # when the exchange is over: what came, and what was said to it
    answer: Message | None = None


class Enrolment:
    """One for a center, over its credentials folder. `renewed` is told the name of a gateway whose context is
    another, `taken` knows which key ids are used."""

    def __init__(self, folder: Path | None, renewed: Callable[[str], None], taken: Callable[[bytes], bool]) -> None:
        self._folder = folder
        self._renewed = renewed
        self._taken = taken
        self._key: Key | None = None
        self._begun: OrderedDict[bytes, _Exchange] = OrderedDict()
        self._each = Buckets(EACH_RATE, EACH_BURST)
        self._all = Buckets(ALL_RATE, ALL_BURST)
        self._writing = asyncio.Lock()

    def wants(self, request: Message) -> bool:
        if self._folder is None:
            return False
        try:
            return request.texts(coap.URI_PATH) == edhoc.PATH
        except ValueError:
            return False

    async def answer(self, request: Message, host: str) -> Message | None:
        """None where the sender, or everybody together, asks too often."""
        now_s = time.monotonic()
        if not self._each.take(source(host), now_s) or not self._all.take("", now_s):
            return None
        if request.code != coap.POST:
            return Message(coap.NOT_ALLOWED)
        try:
            response = await self._turn(request.payload, host, now_s)
        except Refused as bad:
            response = Message(coap.BAD_REQUEST, _format(edhoc.FORMAT), bad.encode())
        except (OSError, Trouble) as bad:
            log.error("CG-4207 an enrolment cannot be stored: %s", bad)
            response = Message(coap.UNAVAILABLE, ((coap.MAX_AGE, coap.uint(5)),))
        if len(coap.to_datagram(response)) > AMPLIFIED * len(coap.to_datagram(request)):
            return Message(response.code)
        return response

    async def _turn(self, payload: bytes, host: str, now_s: float) -> Message:
        """Raises Refused, OSError, Trouble."""
        identifier, message = edhoc.split(payload)
        while self._begun and next(iter(self._begun.values())).began_s < now_s - PATIENCE_S:
            self._begun.popitem(last=False)
        if identifier is None:
            return self._begin(message, now_s)
        exchange = self._begun.get(identifier)
        if exchange is None:
            raise Refused("no such exchange")
        if not exchange.third:
            exchange.third = message
            try:
                exchange.answer = await self._finish(exchange, message, host)
            except BaseException:
                self._begun.pop(identifier, None)
                raise
        if exchange.answer is None or exchange.third != message:
            raise Refused("no such exchange")
        return exchange.answer

    def _begin(self, message_1: bytes, now_s: float) -> Message:
        assert self._folder is not None
        if self._key is None:
            self._key = own_key(self._folder)
        responder = Responder(self._key, edhoc.fresh_id(lambda made: made in self._begun or self._taken(made)))
        answer = responder.second(message_1)
        self._begun[responder.id] = _Exchange(now_s, responder)
        if len(self._begun) > AT_ONCE:
            self._begun.popitem(last=False)
        return Message(coap.CHANGED, _format(edhoc.FORMAT), answer)

    async def _finish(self, exchange: _Exchange, message_3: bytes, host: str) -> Message:
        assert self._folder is not None
        shown: list[Peer] = []
        accepted: dict[str, str] = {}

        def known(peer: Peer) -> bool:
            shown.append(peer)
            return peer.fingerprint in accepted

        async with self._writing:
            accepted = {its: name for name, its in (await asyncio.to_thread(accepted_keys, self._folder)).items()}
            try:
                peer, message_4, derived = exchange.responder.fourth(message_3, known)
            except Refused:
                for peer in shown:
                    await asyncio.to_thread(_note_waiting, self._folder, peer, host)
                    log.warning("a key that is not accepted asks to enrol: %s (%s)", peer.fingerprint, host)
                raise
            name = accepted[peer.fingerprint]
            self._renewed(name)
            await asyncio.to_thread(_install, self._folder, name, peer, derived)
            self._renewed(name)  # once more: it may have been used in between
            log.info("gateway %s is enrolled with the key %s", name, peer.fingerprint)
        return Message(coap.CHANGED, _format(edhoc.FORMAT), message_4)


def own_key(folder: Path) -> Key:
    """Raises Trouble CG-4009."""
    return identity(folder / DESK, NAME, own=False)


def accepted_keys(folder: Path) -> dict[str, str]:
    """Gateway to fingerprint. Raises Trouble CG-4207 for a file that cannot be read."""
    path = folder / DESK / ACCEPTED
    try:
        found = json.loads(path.read_text())
        return {str(gateway): edhoc.as_fingerprint(its) for gateway, its in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as bad:
        raise unreadable(path, str(bad)) from bad


def waiting(folder: Path) -> list[dict[str, Any]]:
    """Keys that asked and are not accepted: name, fingerprint, host, asked (UTC seconds)."""
    try:
        found = json.loads((folder / DESK / WAITING_FILE).read_text())["waiting"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [one for one in found if isinstance(one, dict) and "fingerprint" in one] if isinstance(found, list) else []


def accept(folder: Path, gateway: str, fingerprint: str) -> str:
    """The gateway with this key may enrol as `gateway`; returns the fingerprint that was accepted for it before, or "".
    Raises OSError, Trouble CG-4207."""
    with _alone(folder):
        accepted = accepted_keys(folder)
        before = accepted.get(gateway, "")
        others = {name: its for name, its in accepted.items() if its != fingerprint}
        state.write(folder / DESK, ACCEPTED, {**others, gateway: fingerprint})
        return before


def revoke(folder: Path, gateway: str) -> bool:
    """The gateway is a stranger from now on; false where it was one before. Raises OSError, Trouble CG-4207."""
    with _alone(folder):
        accepted = accepted_keys(folder)
        known = accepted.pop(gateway, None) is not None
        state.write(folder / DESK, ACCEPTED, accepted)
        here = folder / gateway
        if (here / CONTEXT).exists():
            known = True
            (here / CONTEXT).unlink()
            with suppress(OSError):
                (here / state.FILE).unlink()
                here.rmdir()
        os.utime(folder)  # a running center looks again when this changes
        return known


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time, whatever starts them."""
    (folder / DESK).mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / DESK / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def unreadable(path: Path, why: str) -> Trouble:
    return Trouble(
        "CG-4207",
        f"the list of accepted gateways {path} cannot be used ({why})",
        f"승인된 게이트웨이 목록 {path} 을(를) 사용할 수 없습니다 ({why})",
        next_en="Check the folder's owner and mode; a damaged file can be removed, gateways then are accepted anew",
        next_ko="폴더 소유자와 권한을 확인하십시오. 손상된 파일은 지우고 게이트웨이를 다시 승인하면 됩니다",
    )


def _install(folder: Path, name: str, peer: Peer, derived: Derived) -> None:
    install(folder / name, derived, own=False)
    os.utime(folder)
    kept = [one for one in waiting(folder) if one["fingerprint"] != peer.fingerprint]
    state.write(folder / DESK, WAITING_FILE, {"waiting": kept})


def _note_waiting(folder: Path, peer: Peer, host: str) -> None:
    others = [one for one in waiting(folder) if one["fingerprint"] != peer.fingerprint]
    new = {"name": peer.name, "fingerprint": peer.fingerprint, "host": host, "asked": int(time.time())}
    state.write(folder / DESK, WAITING_FILE, {"waiting": [*others, new][-WAITING:]})


def _format(number: int) -> coap.Options:
    return ((coap.CONTENT_FORMAT, coap.uint(number)),)
