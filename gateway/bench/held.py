"""Which running field half holds a port: site files named by the machine's processes, and those where a tool looks.

In: a port's url. Out: the site file and the name of the link, by asking each field half's control socket which lines it
runs. Reads /proc and asks; never touches the port.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gateway.bench.way import SITE, site_file, socket_of

ANSWERS_S = 5.0


def holder_of(url: str, site: str = "") -> tuple[str, str] | None:
    """(site file, link) of the field half whose line is the port of `url` (`serial:/dev/...`), by whatever name either
    calls it; None where none that answers has it."""
    from gateway.field.control import request

    port = _port(url)
    for file in dict.fromkeys((site_file(site), SITE, *_running())):
        socket = socket_of(file)
        if socket is None or not socket.exists():
            continue
        try:
            lines = request(socket, {"lines": True}, ANSWERS_S)["lines"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for link, line in lines.items():
            if _port(str(line.get("url", ""))) == port:
                return file, str(link)
    return None


def _port(url: str) -> str:
    scheme, _, path = url.partition(":")
    return os.path.realpath(path) if scheme == "serial" else url


def _running(proc: Path = Path("/proc")) -> Iterator[str]:
    """Site files in the command lines of `citygate field` (or `run`) processes."""
    for entry in proc.glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        for word in words if any("citygate" in one or "gateway" in one for one in words[:4]) else ():
            if not word.endswith(".toml"):
                continue
            if os.path.isabs(word):
                yield word
                continue
            try:
                yield os.path.join(os.readlink(entry / "cwd"), word)
            except OSError:
                continue
