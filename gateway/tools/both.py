"""`citygate run SITE.toml`: the two halves as two processes of one parent, for containers and benches.

They stay two processes because the half that faces the internet must not share memory with the one that owns the
buses; the parent passes on signals and ends when both have.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

HALVES = ("field", "uplink")
LOOK_EVERY_S = 0.2
RESTART_S, RESTART_LONGEST_S = 2.0, 60.0
STEADY_S = 30.0  # a half that ran for so long was well: its next restart is prompt again
FAULTY_SITE, REFUSED = 1, 2  # exit codes of both halves

log = logging.getLogger("citygate.run")


@dataclass(slots=True)
class Half:
    """One child. `due_s`: when it is started (again)."""

    name: str
    child: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    wait_s: float = RESTART_S


def run(site: str) -> int:
    """Until a signal, or until the field half refuses to start; a half that dies is started again, as systemd would. A
    sending half without credentials or spool must not stop the polling: it is tried again, ever more seldom."""
    if _is_faulty(site):
        return FAULTY_SITE
    over: list[int] = []
    halves = [Half(name) for name in HALVES]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: over.append(n))
    signal.signal(signal.SIGHUP, lambda n, _: _pass_on(halves, n))
    code = 0
    while not over:
        for half in halves:
            if half.child is None and time.monotonic() >= half.due_s:
                _start(half, site)
            ended = half.child.poll() if half.child else None
            if ended == FAULTY_SITE or (ended == REFUSED and half.name == "field"):
                code = ended
                over.append(0)
            elif ended is not None:
                _ended(half, ended)
        time.sleep(LOOK_EVERY_S)
    _pass_on(halves, signal.SIGTERM)
    for half in halves:
        if half.child is not None:
            half.child.wait()
    return code


def _is_faulty(site: str) -> bool:
    """Whether the site file by itself can be used: both halves would say the same of it. Looked at in a child, so that
    the parent stays small."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == FAULTY_SITE
    code = 0
    try:
        from gateway.site.faults import Faults
        from gateway.site.site import load_site

        try:
            load_site(site)
        except Faults as faults:
            code = FAULTY_SITE
            print(faults.text(), file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def _start(half: Half, site: str) -> None:
    # a session of its own: Ctrl-C reaches the parent only, which stops the halves in order
    command = [sys.executable, "-m", "gateway.cli", half.name, site]
    half.child = subprocess.Popen(command, start_new_session=True)
    half.started_s = time.monotonic()


def _ended(half: Half, code: int) -> None:
    now_s = time.monotonic()
    half.wait_s = RESTART_S if now_s - half.started_s > STEADY_S else half.wait_s
    log.error("citygate %s ended (%s), started again in %.0f s [CG-5005]", half.name, _word(code), half.wait_s)
    half.child, half.due_s = None, now_s + half.wait_s
    half.wait_s = min(2 * half.wait_s, RESTART_LONGEST_S)


def _word(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _pass_on(halves: list[Half], number: int) -> None:
    for half in halves:
        if half.child is not None and half.child.poll() is None:
            half.child.send_signal(number)
