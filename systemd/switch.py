"""Switches /opt/citygate/current to the release that a request names, and restarts both halves. Root, once a request.

In: /var/lib/citygate/releases/request, one line, the name of a release, put there by rename. Out: the link, durable
before anything is restarted; /run/citygate-switch/answer (JSON: request, ok, code, en, ko); the request is gone. Exit
code 0 switched, 1 refused (nothing is changed), 2 switched but the services did not start.

A release is a folder /opt/citygate/releases/NAME of root, or /var/lib/citygate/releases/NAME of the sending half, with
bin/citygate and bin/python3, where nobody else may write. It unpacks, judges, downloads and removes nothing. Runs on
Debian's own Python with no library: it must work when every release is broken.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

OWNER = "citygate-uplink"
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}")
LONGEST_REQUEST = 256
UNITS = ("citygate-field.service", "citygate-uplink.service")
STUBBORN_S = 20.0  # a request that a read-only disk keeps would be followed again at once, for ever
NEEDED = ("bin/citygate", "bin/python3")


class Refused(Exception):
    """code, English, Korean."""


@dataclass(frozen=True)
class Places:
    package: Path = Path("/opt/citygate/releases")
    sent: Path = Path("/var/lib/citygate/releases")
    link: Path = Path("/opt/citygate/current")
    answer: Path = Path("/run/citygate-switch/answer")

    @property
    def request(self) -> Path:
        return self.sent / "request"


def run(places: Places, owners: Collection[int], restart: Callable[[], str]) -> int:
    """`owners`: uids that may ask and own a release beside the package's. `restart`: "" or why it failed."""
    name, code, problem = "", 0, None
    try:
        name = requested(places.request, owners)
        switch(places.link, release(places, name, owners))
    except Refused as bad:
        code, problem = 1, bad
    _drop(places.request)
    if not code and (why := restart()):
        code, problem = 2, Refused(
            "CG-6004", f"release {name} is in place, but the services did not start ({why}). Look at their journal",
            f"릴리스 {name} 전환은 되었으나 서비스가 시작되지 않았습니다 ({why}). 두 서비스의 로그를 확인하십시오",
        )  # fmt: skip
    _tell(places.answer, name, problem)
    return code


def requested(request: Path, owners: Collection[int]) -> str:
    """The name a request holds. Raises Refused for one that somebody else put there, a link, nonsense."""
    try:
        fd = os.open(request, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as bad:
        raise _odd_request(bad.strerror or str(bad), bad.strerror or str(bad)) from bad
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise _odd_request("it is not a file", "일반 파일이 아닙니다")
        if state.st_uid not in owners or state.st_mode & 0o022:
            raise _odd_request("others may have written it", "다른 사용자가 썼을 수 있습니다")
        said = os.read(fd, LONGEST_REQUEST).decode("utf-8", "replace").strip()
    finally:
        os.close(fd)
    if not NAME.fullmatch(said):
        raise _odd_request(f"{said[:70]!r} is no name of a release", f"{said[:70]!r}은(는) 릴리스 이름이 아닙니다")
    return said


def release(places: Places, name: str, owners: Collection[int]) -> Path:
    """The folder of release `name`, safe to run. Raises Refused."""
    for folder, allowed in ((places.package / name, {0}), (places.sent / name, {0, *owners})):
        if os.path.lexists(folder):
            _check(folder, allowed if folder.parent == places.sent else {0, os.geteuid()})
            return folder
    raise Refused(
        "CG-6001", f"there is no release {name} in {places.package} or {places.sent}. Ask for one that is there",
        f"{places.package} 와 {places.sent} 에 릴리스 {name} 이(가) 없습니다. 존재하는 릴리스를 지정하십시오",
    )  # fmt: skip


def _check(folder: Path, owners: Collection[int]) -> None:
    """Every folder and file of it belongs to `owners` and is written by nobody else; what is needed is there."""
    for path in _all_of(folder):
        state = path.lstat()
        if stat.S_ISLNK(state.st_mode) and path != folder:
            continue  # the interpreter, which is Debian's
        plain = stat.S_ISDIR(state.st_mode) or (stat.S_ISREG(state.st_mode) and path != folder)
        if not plain or state.st_uid not in owners or state.st_mode & 0o022 or state.st_mode & 0o6000:
            raise Refused(
                "CG-6002", f"{path} does not belong to the release's owner alone. Unpack the release again",
                f"{path} 이(가) 릴리스 소유자만의 것이 아닙니다. 릴리스를 다시 풀어 주십시오",
            )  # fmt: skip
    for needed in NEEDED:
        if not os.access(folder / needed, os.X_OK):
            raise Refused(
                "CG-6001", f"release {folder.name} is not whole: {needed} is missing. Unpack the release again",
                f"릴리스 {folder.name} 이(가) 불완전합니다({needed} 없음). 릴리스를 다시 풀어 주십시오",
            )  # fmt: skip


def _all_of(folder: Path) -> list[Path]:
    found = [folder]
    if folder.is_dir() and not folder.is_symlink():
        for at, folders, files in os.walk(folder):
            found += [Path(at, name) for name in (*folders, *files)]
    return found


def switch(link: Path, target: Path) -> None:
    """`link` names `target`, durably: at every moment it names the one or the other. Raises Refused."""
    fresh = link.with_name(link.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        os.replace(fresh, link)
        _sync(link.parent)
    except OSError as bad:
        raise Refused(
            "CG-6003", f"{link} cannot be changed ({bad.strerror}). Look at the disk",
            f"{link} 을(를) 바꿀 수 없습니다 ({bad.strerror}). 디스크를 확인하십시오",
        ) from bad  # fmt: skip


def _drop(request: Path) -> None:
    try:
        request.unlink(missing_ok=True)
        _sync(request.parent)
    except OSError as bad:
        print(f"{request} cannot be removed: {bad.strerror}", file=sys.stderr)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _tell(answer: Path, name: str, problem: Refused | None) -> None:
    code, en, ko = problem.args if problem else ("", f"release {name} is in use", f"릴리스 {name} 을(를) 사용합니다")
    print(f"{code} {en}\n{code} {ko}".replace("\n ", "\n").strip(), file=sys.stderr)
    fresh = answer.with_name(answer.name + ".new")
    fresh.write_text(json.dumps({"request": name, "ok": problem is None, "code": code, "en": en, "ko": ko}) + "\n")
    os.replace(fresh, answer)


def _odd_request(en: str, ko: str) -> Refused:
    return Refused(
        "CG-6000", f"the request for a release is not followed: {en}", f"릴리스 요청을 따르지 않습니다: {ko}"
    )


def _restart() -> str:
    """Both halves, where the gateway is meant to run. "" or why not."""
    if subprocess.run(["systemctl", "is-active", "--quiet", "citygate.target"], check=False).returncode:
        return ""
    subprocess.run(["systemctl", "reset-failed", *UNITS], check=False, capture_output=True)
    done = subprocess.run(
        ["systemctl", "restart", "--no-block", *UNITS], check=False, capture_output=True, text=True
    )  # not waited for: whether the release is any good is judged by whoever asked
    return done.stderr.strip() if done.returncode else ""


if __name__ == "__main__":
    code = run(Places(), {0, pwd.getpwnam(OWNER).pw_uid}, _restart)
    if Places().request.exists():
        time.sleep(STUBBORN_S)
    sys.exit(code)
