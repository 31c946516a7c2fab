"""Real processes for the tests against peers: started, looked at until something is so, stopped by their own id."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway.field.control import ask
from gateway.spool.records import Item, Lane
from gateway.spool.spool import Spool

PATIENCE_S = 90.0  # kernels compile once on a machine that never ran them, on however busy a processor


class Process:
    """A child whose output goes to a file; ends with the `with` block at the latest."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.name = " ".join(Path(part).name for part in command[-2:])
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def kill(self) -> None:
        if self.running:
            self._child.kill()
        self._child.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self._child.send_signal(signal.SIGTERM)
        return self._child.wait(PATIENCE_S)

    def until(self, what: str, so: Callable[[], Any]) -> Any:
        """Look until `so()` is true, and return it; a process that ended meanwhile, or much time gone, is a failure."""
        give_up = time.monotonic() + PATIENCE_S
        while not (found := so()):
            assert self.running, f"{self.name} ended before {what}:\n{self.said}"
            assert time.monotonic() < give_up, f"never: {what}\n{self.said}"
            time.sleep(0.02)
        return found

    def until_said(self, words: str) -> None:
        self.until(f"it said {words!r}", lambda: words in self.said)


def citygate(log: Path, *arguments: str | Path) -> Process:
    return Process([sys.executable, "-m", "gateway.cli", *map(str, arguments)], log)


def center(log: Path, port: int, *arguments: str | Path) -> Process:
    """A center that listens."""
    process = citygate(log, "center", "--bind", f"127.0.0.1:{port}", *arguments)
    process.until_said("ready: listening")
    return process


class FieldHalf(Process):
    """`citygate field SITE.toml`, asked through its control socket as `citygate status` asks."""

    def __init__(self, site: Path) -> None:
        self._state = site.parent / "state"
        command = [sys.executable, "-m", "gateway.cli", "field", str(site)]
        super().__init__(command, site.parent / "field.log")

    def __enter__(self) -> FieldHalf:
        return self

    def _ask(self, what: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = ask(self._state / "field.sock", what, PATIENCE_S)
        except (OSError, json.JSONDecodeError):
            return {}
        return answer

    def channels(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self._ask("live").get("channels", [])}

    def alarms(self) -> list[str]:
        return [alarm["code"] for alarm in self._ask("live").get("alarms", [])]

    def links_up(self) -> bool:
        links = self._ask("health").get("links", {})
        return bool(links) and all(link["up"] for link in links.values())

    def readings(self) -> int:
        """Of the channel that was heard least."""
        return min((row["readings"] for row in self.channels().values()), default=0)

    def until_read(self, times: int) -> None:
        """Until every channel that can be read has been, so many times more than now."""
        known = {name: row["readings"] for name, row in self.channels().items() if row["value"] is not None}
        aim = {name: count + times for name, count in known.items()}
        self.until(
            f"{times} more readings of every channel",
            lambda: all(self.channels().get(name, {}).get("readings", 0) >= count for name, count in aim.items()),
        )

    def until_judged(self) -> None:
        self.until_said("kernels loaded")

    def spooled(self, upstream: str = "center") -> list[tuple[Lane, Item]]:
        """What lies in the spool, oldest first, as the uplink would take it."""
        spool = Spool.open(self._state / "spool.db", role="reader")
        try:
            return [(lane, record.item) for lane in Lane for record in spool.take(upstream, lane, 100_000)]
        finally:
            spool.close()

    def names(self, upstream: str = "center") -> list[str]:
        """Channel names by number, from the catalog of the last record."""
        spool = Spool.open(self._state / "spool.db", role="reader")
        try:
            catalog = spool.catalog(spool.take(upstream, Lane.SUMMARY, 100_000)[-1].catalog)
            assert catalog is not None
            return [row[0] for row in catalog.rows]
        finally:
            spool.close()


class Peer(Process):
    """A foreign program that prints its TCP port, or `ready`, in a line of its own once it can be reached."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        log.unlink(missing_ok=True)
        super().__init__(command, log)
        self.until_said("\n")
        self.port = int(first) if (first := self.said.split("\n")[0]).isdigit() else 0

    def __enter__(self) -> Peer:
        return self
