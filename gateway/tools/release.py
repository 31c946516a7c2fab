"""`citygate release`: the repository of signed releases, and which release a gateway runs.

init, add, remove, sign, rotate, publish, show     at the desk where the keys are
push, status, giveup                               at the center, for gateways that are connected
"""

from __future__ import annotations

import getpass
import json as jsonlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.spool.trouble import Trouble
from gateway.wire import coap

if TYPE_CHECKING:
    from gateway.tools.repository import Repository

RESTING = ("idle", "committed", "rolled back")
EVERY_S = 2.0
PATH = "releases"

Ask = Callable[[str, int, Any], dict[str, Any]]
"""(gateway, method, body) -> what its resource says. Raises Trouble."""


def through(control: str) -> Ask:
    """By a center's control socket; "" for the usual places."""
    from gateway.tools import asking

    def ask(gateway: str, method: int, body: Any) -> dict[str, Any]:
        answer = asking.ask(gateway, PATH, method=method, body=body, control=control)
        if (refusal := answer.refusal()) is not None:
            raise refusal
        return dict(answer.body())

    return ask


def init(repository: str, keys: str, *, json: bool) -> int:
    """Exit code 0, or 2 where something lies there already or cannot be written; so with all below."""
    return _done(lambda: _repository(repository, keys).begin(), json, lambda _: (
        {"repository": repository, "root": f"{repository}/metadata/1.root.json", "keys": keys},
        f"{repository}: a repository without a release\n"
        f"{repository}/metadata/1.root.json goes to each gateway, where [agent].releases names it\n"
        f"{keys}: four private keys. root.pem and targets.pem belong on a medium that lies in a safe",
    ))  # fmt: skip


def add(repository: str, images: Sequence[str], keys: str, *, json: bool) -> int:
    return _done(lambda: _repository(repository, keys).add(map(Path, images)), json, lambda added: (
        [_listed(one) for one in added],
        "\n".join(f"{one.release} {one.arch}  {one.length / 1e6:.1f} MB  {one.sha256}" for one in added),
    ))  # fmt: skip


def remove(repository: str, release: str, keys: str, *, json: bool) -> int:
    return _done(lambda: _repository(repository, keys).remove(release), json, lambda many: (
        {"release": release, "images": many}, f"{release}: {many} image(s) taken off the list; publish it",
    ))  # fmt: skip


def sign(repository: str, keys: str, *, json: bool) -> int:
    def work() -> Any:
        mine = _repository(repository, keys)
        return mine.sign(), mine.show()

    return _done(work, json, lambda done: (
        {"signed": done[0], "expires": dict(done[1].expires)},
        "\n".join(f"{role:10} until {until}" + ("" if role in done[0] else "  (no key here)")
                  for role, until in done[1].expires.items()),
    ))  # fmt: skip


def rotate(repository: str, role: str, keys: str, *, json: bool) -> int:
    return _done(lambda: _repository(repository, keys).rotate(role), json, lambda _: (
        {"role": role}, f"{role}: a new key in {keys}; the old one is {role}.old.pem. Publish it",
    ))  # fmt: skip


def publish(repository: str, files: str, *, json: bool) -> int:
    return _done(lambda: _repository(repository, "").publish(Path(files)), json, lambda fresh: (
        {"files": files, "new": fresh}, f"{files}/releases: {fresh} new file(s); citygate center --files {files}",
    ))  # fmt: skip


def show(repository: str, *, json: bool) -> int:
    return _done(lambda: _repository(repository, "").show(), json, lambda shown: (
        {"images": [_listed(one) for one in shown.images], "expires": dict(shown.expires),
         "versions": dict(shown.versions)},
        "\n".join([
            *(f"{one.release:12} {one.arch:8} {one.length / 1e6:7.1f} MB  made {one.made}  {one.sha256[:16]}"
              for one in shown.images),
            *(f"{role:10} version {shown.versions[role]}, until {until}" for role, until in shown.expires.items()),
        ]),
    ))  # fmt: skip


def push(
    gateways: Sequence[str], release: str, ask: Ask, *, older: bool = False, by: str = "", wait: bool = False,
    json: bool = False, pause: Callable[[float], None] = time.sleep,
) -> int:  # fmt: skip
    """Ask each gateway for a release. 0: all took it (with `wait`: committed it), 1: some did not, 2: none did."""
    body = {"release": release, "older": older, "by": by or getpass.getuser()}
    said = {name: _asked(ask, name, coap.POST, body) for name in gateways}
    if wait:
        _follow(said, ask, pause)
    good = [
        name for name, one in said.items()
        if "code" not in one and (not wait or one.get("running") == release)
    ]  # fmt: skip
    _tell(said, json)
    return 0 if len(good) == len(said) else 1 if good else 2


def status(gateways: Sequence[str], ask: Ask, *, json: bool = False) -> int:
    """0 where each gateway answered, else 2."""
    said = {name: _asked(ask, name, coap.GET, None) for name in gateways}
    _tell(said, json)
    return 0 if all("state" in one for one in said.values()) else 2


def give_up(gateways: Sequence[str], ask: Ask, *, json: bool = False) -> int:
    """0 where each gateway gave it up, else 2."""
    said = {name: _asked(ask, name, coap.DELETE, None) for name in gateways}
    _tell(said, json)
    return 0 if all("state" in one for one in said.values()) else 2


def line(name: str, one: dict[str, Any]) -> str:
    """One gateway's state in a line."""
    if "state" not in one:
        return f"{name}: {one.get('code', '')} {one.get('error', '')} / {one.get('error_ko', '')}"
    text = f"{name}: runs {one.get('running') or '(no package)'}, {one['state']}"
    if one.get("release") and one["release"] != one.get("running"):
        text += f" {one['release']}"
    if one.get("length"):
        text += f", {100 * one.get('arrived', 0) // one['length']} % of {one['length'] / 1e6:.1f} MB"
    if one.get("waiting_for"):
        text += f", {one['waiting_for']} / {one.get('waiting_for_ko', '')}"
    if one.get("code"):
        text += f"\n  {one['code']} {one.get('error', '')}\n  {one['code']} {one.get('error_ko', '')}"
    return text


def _follow(said: dict[str, dict[str, Any]], ask: Ask, pause: Callable[[float], None]) -> None:
    """Until each has ended; a gateway that cannot be reached meanwhile is asked again: it is being restarted."""
    shown: dict[str, str] = {}
    open_ = [name for name, one in said.items() if one.get("state") not in RESTING and "state" in one]
    while open_:
        pause(EVERY_S)
        for name in list(open_):
            one = _asked(ask, name, coap.GET, None)
            if "state" not in one:
                continue
            said[name] = one
            if (text := line(name, one)) != shown.get(name):
                shown[name] = text
                print(text, file=sys.stderr)
            if one["state"] in RESTING:
                open_.remove(name)


def _asked(ask: Ask, name: str, method: int, body: Any) -> dict[str, Any]:
    try:
        return ask(name, method, body)
    except Trouble as bad:
        return {"code": bad.code, "error": bad.en, "error_ko": bad.ko}


def _tell(said: dict[str, dict[str, Any]], json: bool) -> None:
    if json:
        print(jsonlib.dumps(said, ensure_ascii=False))
    else:
        for name, one in said.items():
            print(line(name, one))


def _repository(folder: str, keys: str) -> Repository:
    from gateway.tools.repository import Repository

    return Repository(Path(folder), Path(keys) if keys else None)


def _listed(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("release", "arch", "length", "sha256", "made")}


def _done(work: Callable[[], Any], json: bool, said: Callable[[Any], tuple[Any, str]]) -> int:
    try:
        found, text = said(work())
    except Trouble as bad:
        print(bad, file=sys.stderr)
        return 2
    print(jsonlib.dumps(found, ensure_ascii=False) if json else text)
    return 0
