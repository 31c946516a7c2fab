"""`citygate enrol`: a gateway and its center come to a common OSCORE context, each knowing the other's key; and the
center's side of it: `citygate center key | waiting | accept | revoke`.

The gateway makes its own key, which never leaves it. People compare fingerprints: the center's is given once with
--center (or confirmed at the terminal), the gateway's is accepted by an operator at the center.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.center import enrolment
from gateway.site.document import ID_PATTERN
from gateway.site.faults import Faults
from gateway.site.site import load_site
from gateway.site.upstream import Upstream
from gateway.spool.trouble import Trouble
from gateway.uplink.link import CONNECT_S
from gateway.uplink.port import Port
from gateway.uplink.way import Way
from gateway.wire import coap, edhoc, state
from gateway.wire.coap import Message
from gateway.wire.credentials import install
from gateway.wire.edhoc import Initiator, Key, Peer, Refused
from gateway.wire.identity import identity
from gateway.wire.stream import Stream, refuse

CENTER_FILE = "center.json"  # the fingerprint of the center's key, once it was confirmed
AGAIN_S = 5.0
ANSWER_S = 10.0

Ask = Callable[[Message], Awaitable[Message]]


class _Unconfirmed(Exception):
    """The center's key is one nobody has confirmed."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__(fingerprint)
        self.fingerprint = fingerprint


class _Unaccepted(Exception):
    """The center's operator has not accepted this gateway's key."""


# -- the gateway's side


def enrol(site: str, upstream: str, center: str, *, wait_s: float, rebind: bool, json: bool) -> int:
    """Exit code 0 with a context in use, 1 where people have still to compare or accept, 2 where something is wrong."""
    try:
        gateway, to = _chosen(site, upstream)
        trusted = _fingerprint(center) if center else ""
        return asyncio.run(_enrol(site, gateway, to, trusted, wait_s, rebind, json))
    except Faults as bad:
        print(bad.text(), file=sys.stderr)
    except Trouble as bad:
        print(bad, file=sys.stderr)
    return 2


async def _enrol(site: str, gateway: str, to: Upstream, center: str, wait_s: float, rebind: bool, json: bool) -> int:
    folder = _folder(to.credentials)
    lock = state.exclusive(folder)
    try:
        key = identity(folder, gateway, own=True, rebind=rebind)
        told = {"gateway": gateway, "upstream": to.name, "fingerprint": key.fingerprint}
        _say(json, f"this gateway's key ({gateway}):  {key.fingerprint}")
        center = center or _remembered(folder)
        until_s, said = time.monotonic() + wait_s, False
        while True:
            try:
                center = await _once(folder, to, gateway, key, center)
            except _Unconfirmed as found:
                if not _confirmed(found.fingerprint, to, json):
                    _say(json, f"the center's key ({to.uri}):  {found.fingerprint}")
                    _say(json, "compare it with: citygate center key   then run:")
                    _say(json, f"  citygate enrol {site} --upstream {to.name} --center {found.fingerprint}")
                    return _end(json, {**told, "center": found.fingerprint, "state": "unconfirmed"}, 1)
                center = found.fingerprint
            except _Unaccepted:
                if not said:
                    said = True
                    _say(json, "the center does not know this key yet; there run:")
                    _say(json, f"  citygate center accept {gateway} {key.fingerprint}")
                if time.monotonic() + AGAIN_S > until_s:
                    return _end(json, {**told, "center": center, "state": "waiting"}, 1)
                await asyncio.sleep(AGAIN_S)
            else:
                _say(json, f"enrolled at {to.uri}; citygate uplink sends with it from its next start")
                return _end(json, {**told, "center": center, "state": "enrolled"}, 0)
    finally:
        os.close(lock)


def _folder(path: str) -> Path:
    """Raises Trouble CG-4008."""
    folder = Path(path)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as bad:
        raise _unwritable(folder, bad) from bad
    return folder


async def _once(folder: Path, to: Upstream, gateway: str, key: Key, center: str) -> str:
    """One exchange; the center's fingerprint. Raises _Unconfirmed, _Unaccepted, Trouble."""
    way = Way(to, gateway, None)
    shown: list[Peer] = []

    def trusted(peer: Peer) -> bool:
        shown.append(peer)
        return peer.fingerprint == center

    async def exchange(ask: Ask) -> edhoc.Derived:
        session = Initiator(key)
        second = await _post(ask, way.prefix, session.first())
        return session.done(await _post(ask, way.prefix, session.third(second, trusted)))

    try:
        derived = await _reach(way, exchange)
    except Refused as bad:
        if bad.code == edhoc.UNKNOWN_CREDENTIAL:
            raise _Unaccepted from bad
        if shown and not center:
            raise _Unconfirmed(shown[0].fingerprint) from bad
        if shown and shown[0].fingerprint != center:
            raise _foreign(to, shown[0].fingerprint, center) from bad
        raise _refused(to, str(bad)) from bad
    except (OSError, TimeoutError) as bad:
        raise _unreachable(to, str(bad) or type(bad).__name__) from bad
    try:
        install(folder, derived, own=True)
        state.write(folder, CENTER_FILE, {"fingerprint": center})
    except OSError as bad:
        raise _unwritable(folder, bad) from bad
    return center


async def _reach(way: Way, exchange: Callable[[Ask], Awaitable[edhoc.Derived]]) -> edhoc.Derived:
    """Over datagrams, or the connection that the site names."""
    if not way.streams_only:
        port = Port(way)
        try:
            return await exchange(port.ask)
        finally:
            await port.close()
    host, _, number = (await way.address()).rpartition(":")
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_S + ANSWER_S):
        _, stream = await loop.create_connection(lambda: Stream(refuse), host.strip("[]"), int(number))
        try:
            await stream.greeted()
            return await exchange(stream.request)
        finally:
            stream.release()


async def _post(ask: Ask, prefix: tuple[str, ...], payload: bytes) -> bytes:
    options = [(coap.URI_PATH, part.encode()) for part in (*prefix, *edhoc.PATH)]
    options.append((coap.CONTENT_FORMAT, coap.uint(edhoc.FORMAT_WITH_ID)))
    answer = await ask(Message(coap.POST, tuple(options), payload))
    if answer.code != coap.CHANGED and not (answer.code == coap.BAD_REQUEST and answer.payload):
        raise Refused(f"it answers {answer.dotted}")
    return answer.payload


def _chosen(path: str, name: str) -> tuple[str, Upstream]:
    """The gateway's id and the upstream meant. Raises Faults, Trouble CG-4011."""
    site = load_site(path)
    able = [one for one in site.upstreams if one.credentials]
    chosen = [one for one in able if one.name == name] if name else able
    if len(chosen) == 1:
        return site.gateway.id, chosen[0]
    names = ", ".join(one.name for one in able)
    raise Trouble(
        "CG-4011",
        f"{path} has {'no upstream ' + name if name else f'{len(able)} upstreams'} with `credentials` to enrol at",
        f"{path} 에서 등록할 업스트림을 정할 수 없습니다",
        next_en=f"Name one with --upstream: {names}" if able else "Write `credentials` in [[upstreams]]",
        next_ko=f"--upstream 으로 지정하십시오: {names}" if able else "[[upstreams]] 에 credentials 를 쓰십시오",
    )


def _confirmed(fingerprint: str, to: Upstream, json: bool) -> bool:
    """Only a person at a terminal can say so here."""
    if json or not sys.stdin.isatty():
        return False
    print(f"the center at {to.uri} shows the key  {fingerprint}")
    return input("is that what `citygate center key` prints there? [y/N] ").strip().lower() in ("y", "yes", "예", "네")


def _remembered(folder: Path) -> str:
    try:
        return edhoc.as_fingerprint(jsonlib.loads((folder / CENTER_FILE).read_text())["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


# -- the center's side


def key(credentials: str, json: bool) -> int:
    """The center's own fingerprint; its key is made where there is none."""
    return _center(credentials, json, lambda folder: _show_key(folder, json))


def waiting(credentials: str, json: bool) -> int:
    """Keys that asked and are not accepted."""
    return _center(credentials, json, lambda folder: _show_waiting(folder, json))


def accept(credentials: str, gateway: str, fingerprint: str, json: bool) -> int:
    def do(folder: Path) -> int:
        if not re.fullmatch(ID_PATTERN, gateway) or len(gateway) > 64:
            raise _no_id(gateway)
        its = _fingerprint(fingerprint)
        before = enrolment.accept(folder, gateway, its)
        _say(
            json, f"{gateway} may enrol with {its}" + (f", no longer with {before}" if before not in ("", its) else "")
        )
        return _end(json, {"gateway": gateway, "fingerprint": its, "before": before}, 0)

    return _center(credentials, json, do)


def revoke(credentials: str, gateway: str, json: bool) -> int:
    """Exit code 1 where nobody of that name was known."""

    def do(folder: Path) -> int:
        if not re.fullmatch(ID_PATTERN, gateway):
            raise _no_id(gateway)
        known = enrolment.revoke(folder, gateway)
        _say(json, f"{gateway} is {'a stranger from now on' if known else 'not known here'}")
        return _end(json, {"gateway": gateway, "revoked": known}, 0 if known else 1)

    return _center(credentials, json, do)


def _center(credentials: str, json: bool, do: Callable[[Path], int]) -> int:
    folder = Path(credentials)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return do(folder)
    except OSError as bad:
        print(_unwritable(folder, bad), file=sys.stderr)
    except Trouble as bad:
        print(bad, file=sys.stderr)
    return 2


def _show_key(folder: Path, json: bool) -> int:
    its = enrolment.own_key(folder).fingerprint
    _say(json, its)
    return _end(json, {"fingerprint": its}, 0)


def _show_waiting(folder: Path, json: bool) -> int:
    found = enrolment.waiting(folder)
    for one in found:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(one.get("asked", 0))))
        if json:
            print(jsonlib.dumps({**one, "asked": at}, ensure_ascii=False))
        else:
            name = re.sub(r"[^\w.-]", "?", str(one.get("name", "")))
            print(f"{at}  {one['fingerprint']}  {name}  {one.get('host', '')}")
    if not found and not json:
        print("nobody waits to be accepted", file=sys.stderr)
    return 0


# -- words


def _say(json: bool, words: str) -> None:
    if not json:
        print(words, flush=True)


def _end(json: bool, told: dict[str, Any], code: int) -> int:
    if json:
        print(jsonlib.dumps(told, ensure_ascii=False))
    return code


def _fingerprint(said: str) -> str:
    try:
        return edhoc.as_fingerprint(said)
    except ValueError as bad:
        raise Trouble(
            "CG-4012",
            f'"{said}" is no fingerprint',
            f'"{said}" 은(는) 지문이 아닙니다',
            next_en="Copy all 32 hexadecimal digits that citygate enrol or citygate center key prints",
            next_ko="citygate enrol 또는 citygate center key 가 출력하는 16진수 32자리를 그대로 쓰십시오",
        ) from bad


def _no_id(gateway: str) -> Trouble:
    return Trouble(
        "CG-4007",
        f'"{gateway}" cannot be a gateway\'s id',
        f'"{gateway}" 은(는) 게이트웨이 id 로 쓸 수 없습니다',
        next_en="Use letters, digits, '-', '_' and '.', the same as gateway.id in the site file",
        next_ko="영문자, 숫자, '-', '_', '.' 만 쓰고 사이트 파일의 gateway.id 와 같게 하십시오",
    )


def _foreign(to: Upstream, found: str, expected: str) -> Trouble:
    return Trouble(
        "CG-4013",
        f"the center at {to.uri} has the key {found}, not {expected}: another machine answers, or its key was replaced",
        f"{to.uri} 센터의 키가 {found} 입니다({expected} 이어야 함). 다른 장비가 응답하거나 키가 바뀌었습니다",
        next_en="Ask the center's operator for the output of citygate center key and give it with --center",
        next_ko="센터 운영자에게 citygate center key 출력을 확인하고 --center 로 지정하십시오",
    )


def _refused(to: Upstream, why: str) -> Trouble:
    return Trouble(
        "CG-4014",
        f"the center at {to.uri} did not go through with the enrolment ({why})",
        f"{to.uri} 센터가 등록을 끝내지 않았습니다 ({why})",
        next_en="Run it again; if it stays so, compare the releases of both ends and read the center's log",
        next_ko="다시 실행하고, 계속되면 양쪽 버전과 센터 로그를 확인하십시오",
    )


def _unreachable(to: Upstream, why: str) -> Trouble:
    return Trouble(
        "CG-4015",
        f"no center answers at {to.uri} ({why})",
        f"{to.uri} 에서 응답하는 센터가 없습니다 ({why})",
        next_en="Check the network and `uri`; a center that is asked too often is silent for some seconds",
        next_ko="네트워크와 uri 를 확인하십시오. 너무 자주 요청하면 센터가 몇 초 동안 응답하지 않습니다",
    )


def _unwritable(folder: Path, bad: OSError) -> Trouble:
    return Trouble(
        "CG-4008",
        f"the credentials cannot be written: {bad.filename or folder} ({bad.strerror})",
        f"자격 증명을 저장할 수 없습니다: {bad.filename or folder} ({bad.strerror})",
        next_en="Check the folders' owner and the space on the disk; what was there is kept",
        next_ko="폴더 소유자와 디스크 공간을 확인하십시오. 기존 내용은 그대로입니다",
    )
