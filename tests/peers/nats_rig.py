"""Debian's nats-server on a port of its own, killed and started again on what it has kept."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.ports import free_port

PATIENCE_S = 20.0


class NatsServer:
    def __init__(self, folder: Path, *, jetstream: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._log = folder / "nats.log"
        self._command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port)]
        self._command += ["-js", "-sd", str(folder / "js")] if jetstream else []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def url(self, name: str = "") -> str:
        return f"nats://127.0.0.1:{self.port}" + (f"/{name}" if name else "")

    def start(self) -> None:
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=subprocess.STDOUT)
        give_up_s = time.monotonic() + PATIENCE_S
        while b"Server is ready" not in (said := self._log.read_bytes()):
            assert time.monotonic() < give_up_s, said
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
