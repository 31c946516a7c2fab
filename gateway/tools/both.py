"""`citygate run SITE.toml`: the two halves as two processes of one parent, for containers and benches.

They stay two processes because the half that faces the internet must not share memory with the one that owns the
buses; the parent passes on signals and ends when both have.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

HALVES = ("field", "uplink")
LOOK_EVERY_S = 0.2
RESTART_S = 2.0
REFUSED = (1, 2)  # a broken site or a spool that cannot be opened: starting again would not help


def run(site: str) -> int:
    """Until a signal, or until a half refuses to start; a half that dies is started again, as systemd would."""
    over: list[int] = []
    children = {half: _start(half, site) for half in HALVES}
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: over.append(n))
    signal.signal(signal.SIGHUP, lambda n, _: _pass_on(children, n))
    code = 0
    while not over:
        time.sleep(LOOK_EVERY_S)
        for half, child in children.items():
            ended = child.poll()
            if ended in REFUSED:
                code = ended
                over.append(0)
            elif ended is not None and not over:
                time.sleep(RESTART_S)
                children[half] = _start(half, site)
    for child in children.values():
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    for child in children.values():
        child.wait()
    return code


def _pass_on(children: dict[str, subprocess.Popen[bytes]], number: int) -> None:
    for child in children.values():
        child.send_signal(number)


def _start(half: str, site: str) -> subprocess.Popen[bytes]:
    # a session of its own: Ctrl-C reaches the parent only, which stops the halves in order
    return subprocess.Popen([sys.executable, "-m", "gateway.cli", half, site], start_new_session=True)
