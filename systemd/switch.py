"""Switches /opt/citygate/current to the release that a request names, and restarts both halves; ends trials. Root.

In: /var/lib/citygate/releases/request, one line, put there by rename:

    NAME                      this release, for good
    NAME trial SECONDS ID     this release, on trial: the one before comes back unless it is committed in time
    NAME commit ID            the release on trial stays
    NAME revert ID            the release before comes back

Out: the link, durable before anything is restarted; /opt/citygate/trial while one is on (JSON: name, id, old, new,
patience_s, boots, boot, since_s, failed), durable before the link; /opt/citygate/outcome (JSON: request, id, word, ok,
code, en, ko), durable, and the same as /run/citygate-switch/answer; the request is gone. Exit code 0 done, 1 refused
(nothing is changed), 2 switched but the services did not start.

`switch.py watch` looks at a trial that is on (citygate-trial.timer): its time is up, a half that keeps failing or too
many boots lead back to the release before. Nothing of the release on trial is needed for that. Boots outside a trial
are not counted.

A release is a folder /opt/citygate/releases/NAME of root, or /var/lib/citygate/releases/NAME of the sending half, with
bin/citygate and bin/python3, where nobody else may write. It unpacks, downloads and removes nothing. Runs on Debian's
own Python with no library: it must work when every release is broken.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OWNER = "citygate-uplink"
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}")
ID = re.compile(r"[0-9a-f]{1,32}")
LONGEST_REQUEST = 256
LONGEST_FILE = 65_536
UNITS = ("citygate-field.service", "citygate-uplink.service")
BESIDE = ("citygate-panel.service", "citygate-node.service")  # where they run
STUBBORN_S = 20.0  # a request that a read-only disk keeps would be followed again at once, for ever
NEEDED = ("bin/citygate", "bin/python3")
SHORTEST_S, LONGEST_S = 30.0, 86_400.0  # of a trial
FAILURES = 4  # restarts of one half that a trial bears; a half starts again after 2 to 5 s
BOOTS = 3  # a power cut or two is no fault of a release, a machine that never stays up is


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

    @property
    def trial(self) -> Path:
        return self.link.with_name("trial")

    @property
    def outcome(self) -> Path:
        return self.link.with_name("outcome")

    @property
    def lock(self) -> Path:
        return self.link.with_name("lock")


@dataclass(frozen=True)
class Asked:
    name: str
    word: str = "switch"
    id: str = ""
    patience_s: float = 0.0


@dataclass(frozen=True)
class Now:
    """What the machine says: its boot's id, seconds since that boot, restarts of each half by systemd itself."""

    boot: str
    since_boot_s: float
    restarts: Mapping[str, int]


def run(
    places: Places, owners: Collection[int], restart: Callable[[], str], now: Callable[[], Now] | None = None
) -> int:
    """Follow the request. `owners`: uids that may ask and own a release beside the package's. `restart`: "" or why it
    failed. Ended in between, by whatever, it is followed again as a whole: the request goes last."""
    asked = Asked("")
    with _alone(places):
        try:
            asked = requested(places.request, owners)
            word, problem = _follow(places, asked, owners, now or this_machine)
        except Refused as bad:
            _tell(places, asked, "refused", bad)
            _drop(places.request, owners, asked)
            return 1
        _tell(places, asked, word, problem)  # before whoever asked is ended
        why = "" if word == "committed" else restart()
        if why:
            _tell(places, asked, word, _not_started(asked.name, why))
        if word != "trial":
            _end(places)
        _drop(places.request, owners, asked)
    return 2 if why else 0


def watch(
    places: Places, owners: Collection[int], restart: Callable[[], str], now: Callable[[], Now] | None = None
) -> bool:
    """Look at the trial that is on; whether one still is."""
    with _alone(places):
        trial = _trial(places)
        if trial is None:
            return False
        if os.path.lexists(places.request):
            return True  # the switch is about to look at it
        if _target(places.link) != trial["new"]:  # a way back that was interrupted, or somebody chose another release
            restart()
            _end(places)
            return False
        seen = (now or this_machine)()
        if trial["boot"] != seen.boot:
            trial = {**trial, "boot": seen.boot, "boots": trial["boots"] + 1, "since_s": seen.since_boot_s}
            with contextlib.suppress(OSError):  # a full disk must not keep the watch from its work
                _keep(places.trial, trial)
        why = _over(trial, seen)
        if why is None:
            return True
        asked = Asked(trial["name"], "watch", trial["id"])
        try:
            problem = _back(places, trial, owners, why)
        except Refused as bad:
            _tell(places, asked, "trial", bad)
            return True
        _tell(places, asked, "reverted", problem)
        if failed := restart():
            _tell(places, asked, "reverted", _not_started(Path(trial["old"]).name, failed))
        _end(places)
        return False


def requested(request: Path, owners: Collection[int]) -> Asked:
    """What a request holds. Raises Refused for one that somebody else put there, a link, nonsense."""
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
    name, *words = said.split(" ")
    if not NAME.fullmatch(name):
        raise _odd_request(f"{said[:70]!r} is no name of a release", f"{said[:70]!r}은(는) 릴리스 이름이 아닙니다")
    match words:
        case []:
            return Asked(name)
        case ["trial", seconds, id] if seconds.isascii() and seconds.isdigit() and ID.fullmatch(id):
            return Asked(name, "trial", id, min(max(float(seconds), SHORTEST_S), LONGEST_S))
        case ["commit" | "revert" as word, id] if ID.fullmatch(id):
            return Asked(name, word, id)
    raise _odd_request(f"{said[:70]!r} is no request", f"{said[:70]!r}은(는) 올바른 요청이 아닙니다")


def _follow(
    places: Places, asked: Asked, owners: Collection[int], now: Callable[[], Now]
) -> tuple[str, Refused | None]:
    """What was done (switched, trial, committed or reverted), and why. Raises Refused; then nothing is changed."""
    trial = _trial(places)
    if asked.word in ("commit", "revert"):
        if trial is None or (trial["name"], trial["id"]) != (asked.name, asked.id):
            raise Refused(
                "CG-6006", f"release {asked.name} is not on trial. Ask for the trial first",
                f"릴리스 {asked.name} 은(는) 시험 운영 중이 아닙니다. 먼저 시험 운영을 요청하십시오",
            )  # fmt: skip
        if asked.word == "commit":
            return "committed", None
        return "reverted", _back(places, trial, owners, ("it was asked back", "되돌리기 요청"))
    target = release(places, asked.name, owners)
    if asked.word == "switch":
        switch(places.link, target)
        return "switched", None
    if trial is not None and trial["id"] != asked.id:
        raise Refused(
            "CG-6007", f"release {trial['name']} is on trial. Wait for its end",
            f"릴리스 {trial['name']} 시험 운영 중입니다. 끝날 때까지 기다리십시오",
        )  # fmt: skip
    seen = now()
    old = trial["old"] if trial else _target(places.link)  # followed again after a power cut, the link may be new
    begun = {"name": asked.name, "id": asked.id, "old": old, "new": str(target), "patience_s": asked.patience_s,
             "boots": 0, "boot": seen.boot, "since_s": seen.since_boot_s,
             "failed": [unit for unit, times in seen.restarts.items() if times >= FAILURES]}  # fmt: skip
    try:
        _keep(places.trial, begun)
    except OSError as bad:
        raise _unwritable(places.trial, bad) from bad
    try:
        switch(places.link, target)
    except Refused:
        if _target(places.link) != str(target):
            _end(places)
        raise
    return "trial", None


def _back(places: Places, trial: Mapping[str, Any], owners: Collection[int], why: tuple[str, str]) -> Refused:
    """Put the release before in place; what to say of it. Raises Refused where that cannot be."""
    target = former(places, Path(trial["old"]), Path(trial["new"]), owners)
    switch(places.link, target)
    return Refused(
        "CG-6008", f"release {trial['name']} did not prove itself ({why[0]}); {target.name} is in use again",
        f"릴리스 {trial['name']} 시험 운영 실패({why[1]}); {target.name} 릴리스를 다시 사용합니다",
    )  # fmt: skip


def former(places: Places, old: Path, new: Path, owners: Collection[int]) -> Path:
    """The release to go back to: `old`; where that is gone or broken (a package was upgraded meanwhile) the newest
    whole one of the package. Raises Refused where there is none."""
    try:
        return release(places, old.name, owners)
    except Refused as bad:
        names = [path.name for path in places.package.iterdir()] if places.package.is_dir() else []
        for name in sorted(names, key=_version, reverse=True):
            with contextlib.suppress(Refused):
                if places.package / name != new:
                    return release(places, name, owners)
        raise bad


def _over(trial: Mapping[str, Any], seen: Now) -> tuple[str, str] | None:
    """Why the trial ends; None while it goes on."""
    failing = [unit for unit, times in seen.restarts.items() if times >= FAILURES and unit not in trial["failed"]]
    if failing:
        return f"{failing[0]} does not stay up", f"{failing[0]} 반복 실패"
    if trial["boots"] > BOOTS:
        return f"{BOOTS} boots without an end of the trial", f"시험 운영 중 {BOOTS}회 넘게 부팅"
    if seen.since_boot_s - trial["since_s"] > trial["patience_s"]:
        return (
            f"it was not committed within {trial['patience_s']:.0f} s",
            f"{trial['patience_s']:.0f}초 안에 확정되지 않음",
        )
    return None


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
        raise _unwritable(link, bad) from bad


def this_machine() -> Now:
    restarts = {}
    for unit in UNITS:
        ask = ["systemctl", "show", "-P", "NRestarts", unit]
        said = subprocess.run(ask, check=False, capture_output=True, text=True).stdout.strip()
        restarts[unit] = int(said) if said.isdigit() else 0
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Now(boot, time.clock_gettime(time.CLOCK_BOOTTIME), restarts)


def _trial(places: Places) -> dict[str, Any] | None:
    """The trial that is on; one that cannot be read is none, and is taken away."""
    try:
        with open(places.trial, encoding="utf-8") as file:
            found = json.loads(file.read(LONGEST_FILE))
        for name, kind in (("name", str), ("id", str), ("old", str), ("new", str), ("boot", str), ("failed", list),
                           ("patience_s", float | int), ("boots", int), ("since_s", float | int)):  # fmt: skip
            if not isinstance(found[name], kind):
                raise TypeError(name)
        return dict(found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as bad:
        print(f"{places.trial} cannot be read ({bad}); no trial is on", file=sys.stderr)
        _end(places)
        return None


def _end(places: Places) -> None:
    try:
        places.trial.unlink(missing_ok=True)
        _sync(places.trial.parent)
    except OSError as bad:
        print(f"{places.trial} cannot be removed: {bad.strerror}", file=sys.stderr)


def _keep(path: Path, content: Mapping[str, Any]) -> None:
    """Raises OSError; then the file is as it was."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    _sync(path.parent)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _version(name: str) -> list[tuple[int, str]]:
    """Numbers in a name count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


@contextlib.contextmanager
def _alone(places: Places) -> Iterator[None]:
    """The request and the watch, one after the other."""
    fd = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _drop(request: Path, owners: Collection[int], asked: Asked) -> None:
    """Remove what lies there, unless it is another request, which came meanwhile."""
    with contextlib.suppress(Refused):
        if requested(request, owners) != asked:
            return
    try:
        request.unlink(missing_ok=True)
        _sync(request.parent)
    except FileNotFoundError:
        pass
    except OSError as bad:
        print(f"{request} cannot be removed: {bad.strerror}", file=sys.stderr)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _tell(places: Places, asked: Asked, word: str, problem: Refused | None) -> None:
    en, ko = {
        "committed": (f"release {asked.name} stays in use", f"릴리스 {asked.name} 확정"),
        "trial": (f"release {asked.name} is on trial", f"릴리스 {asked.name} 시험 운영을 시작합니다"),
        "reverted": (f"release {asked.name} is not in use any longer", f"릴리스 {asked.name} 사용을 중단합니다"),
    }.get(word, (f"release {asked.name} is in use", f"릴리스 {asked.name} 을(를) 사용합니다"))
    code, en, ko = problem.args if problem else ("", en, ko)
    print(f"{code} {en}\n{code} {ko}".replace("\n ", "\n").strip(), file=sys.stderr)
    said = {
        "request": asked.name,
        "id": asked.id,
        "word": word,
        "ok": problem is None,
        "code": code,
        "en": en,
        "ko": ko,
    }
    try:
        _keep(places.outcome, said)
    except OSError as bad:
        print(f"{places.outcome} cannot be written: {bad.strerror}", file=sys.stderr)
    fresh = places.answer.with_name(places.answer.name + ".new")
    fresh.write_text(json.dumps(said) + "\n")
    os.replace(fresh, places.answer)


def _odd_request(en: str, ko: str) -> Refused:
    return Refused(
        "CG-6000", f"the request for a release is not followed: {en}", f"릴리스 요청을 따르지 않습니다: {ko}"
    )


def _unwritable(path: Path, bad: OSError) -> Refused:
    return Refused(
        "CG-6003", f"{path} cannot be changed ({bad.strerror}). Look at the disk",
        f"{path} 을(를) 바꿀 수 없습니다 ({bad.strerror}). 디스크를 확인하십시오",
    )  # fmt: skip


def _not_started(name: str, why: str) -> Refused:
    return Refused(
        "CG-6004", f"release {name} is in place, but the services did not start ({why}). Look at their journal",
        f"릴리스 {name} 전환은 되었으나 서비스가 시작되지 않았습니다 ({why}). 두 서비스의 로그를 확인하십시오",
    )  # fmt: skip


def _restart() -> str:
    """Both halves, where the gateway is meant to run. "" or why not."""
    if subprocess.run(["systemctl", "is-active", "--quiet", "citygate.target"], check=False).returncode:
        return ""
    subprocess.run(["systemctl", "reset-failed", *UNITS], check=False, capture_output=True)
    done = subprocess.run(
        ["systemctl", "restart", "--no-block", *UNITS], check=False, capture_output=True, text=True
    )  # not waited for: whether the release is any good is judged by whoever asked, and by the watch
    subprocess.run(["systemctl", "try-restart", "--no-block", *BESIDE], check=False, capture_output=True)
    return done.stderr.strip() if done.returncode else ""


def _watching(on: bool) -> None:
    word = ["start"] if on else ["stop", "--no-block"]
    subprocess.run(["systemctl", *word, "citygate-trial.timer"], check=False, capture_output=True)


def main(words: list[str]) -> int:
    places, owners = Places(), {0, pwd.getpwnam(OWNER).pw_uid}
    if words == ["watch"]:
        if not watch(places, owners, _restart):
            _watching(False)
        return 0

    def restart() -> str:
        _watching(places.trial.exists())
        return _restart()

    code = run(places, owners, restart)
    if not places.trial.exists():
        _watching(False)
    if places.request.exists():
        time.sleep(STUBBORN_S)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
