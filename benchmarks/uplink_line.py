"""A bad line for IP packets, TCP's too: two network namespaces joined by a relay that delays and loses.

In: delay each way, share of packets lost. Out: a `Line` in which commands can be run at either end. Needs root and
/dev/net/tun; `Line.missing()` says what lacks. Everything made is named after this process and removed by `close`.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

NEAR, FAR = "10.77.0.1", "10.77.0.2"
TUN = Path("/dev/net/tun")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
QUEUE = 100_000  # packets on their way


class Line:
    """A gateway's end (NEAR) and a center's end (FAR)."""

    def __init__(self, delay_s: float, loss: float, seed: int = 1) -> None:
        self._names = [f"cgline{os.getpid()}{end}" for end in "nf"]
        self._relay: subprocess.Popen[str] | None = None
        try:
            for name in self._names:
                _ip("netns", "add", name)
            command = [sys.executable, "-m", "benchmarks.uplink_line", str(delay_s), str(loss), str(seed), *self._names]
            self._relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert self._relay.stdout
            if self._relay.stdout.readline() != "ready\n":
                raise RuntimeError("the relay did not start")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def missing() -> str:
        """ "" where such a line can be had."""
        if os.geteuid() != 0:
            return "root (it makes network namespaces)"
        if not os.access(TUN, os.R_OK | os.W_OK):
            return str(TUN)
        done = subprocess.run(["ip", "netns", "add", name := f"cgprobe{os.getpid()}"], capture_output=True, check=False)
        if done.returncode:
            return "network namespaces"
        _ip("netns", "del", name)
        return ""

    def near(self, command: Sequence[str], log: IO[Any] | int) -> subprocess.Popen[str]:
        return self._run(0, command, log)

    def far(self, command: Sequence[str], log: IO[Any] | int) -> subprocess.Popen[str]:
        return self._run(1, command, log)

    def close(self) -> None:
        if self._relay is not None:
            self._relay.terminate()
            self._relay.wait()
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, end: int, command: Sequence[str], log: IO[Any] | int) -> subprocess.Popen[str]:
        inside = ["ip", "netns", "exec", self._names[end], *command]
        return subprocess.Popen(inside, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _tun(name: str, namespace: str, address: str) -> int:
    """A tunnel whose device lies in `namespace`; the descriptor stays here."""
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    _ip("link", "set", name, "netns", namespace)
    _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", name)
    _ip("-n", namespace, "link", "set", name, "up", "txqueuelen", "10000")
    _ip("-n", namespace, "link", "set", "lo", "up")
    return descriptor


def _relay(delay_s: float, loss: float, seed: int, near: str, far: str) -> None:
    ends = (_tun(f"{near[:13]}", near, NEAR), _tun(f"{far[:13]}", far, FAR))
    os.nice(-15)  # a line does not wait for a processor
    print("ready", flush=True)
    dice = random.Random(seed)
    watch = select.poll()
    for end in ends:
        watch.register(end, select.POLLIN)
    flying: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        wait_ms = max(0.0, flying[0][0] - time.monotonic()) * 1000 if flying else 1000.0
        for end, _ in watch.poll(wait_ms):
            other = ends[1] if end == ends[0] else ends[0]
            for _ in range(64):
                try:
                    packet = os.read(end, 2048)
                except BlockingIOError:
                    break
                if dice.random() >= loss and len(flying) < QUEUE:
                    number += 1
                    heapq.heappush(flying, (time.monotonic() + delay_s, number, other, packet))
        now_s = time.monotonic()
        while flying and flying[0][0] <= now_s:
            _, _, other, packet = heapq.heappop(flying)
            try:
                os.write(other, packet)
            except OSError:
                continue  # the device is not up, or its queue is full: lost


if __name__ == "__main__":
    _relay(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
