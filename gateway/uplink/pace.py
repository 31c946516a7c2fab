"""How much of a backlog may be on its way at once. In: bytes sent and answered, what the kernel knows of the line. Out:
whether more may go. No sockets of its own, no clock of its own.

A line's buffer that a backlog fills is a buffer that an alarm waits in. So the window grows while the kernel's round
trip stays near the shortest it has seen, and shrinks when it grows (as LEDBAT does, RFC 6817). Lost segments delay an
answer but not the round trip that the kernel measures, so a bad line is not taken for a full one.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TARGET_S = 0.05  # queueing that an alarm can bear
SMALLEST, LARGEST = 16_384, 524_288  # bytes
STEP = 16_384
_RTT, _BYTES_ACKED, _MIN_RTT = 68, 120, 148  # offsets, linux/tcp.h


@dataclass(frozen=True, slots=True)
class Line:
    """What the kernel knows of a connection: round trips in seconds, bytes the other kernel has."""

    rtt_s: float
    shortest_s: float
    acknowledged: int


def look(sock: socket.socket | None) -> Line | None:
    """None where the kernel does not say."""
    if sock is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    except OSError:
        return None
    if len(info) < _MIN_RTT + 4:
        return None
    rtt_us, shortest_us = struct.unpack_from("=I", info, _RTT)[0], struct.unpack_from("=I", info, _MIN_RTT)[0]
    return Line(rtt_us / 1e6, shortest_us / 1e6, struct.unpack_from("=Q", info, _BYTES_ACKED)[0])


class Pace:
    """One connection's window."""

    def __init__(self) -> None:
        self.window = 4 * SMALLEST
        self.in_flight = 0
        self._shrunk_s = 0.0

    def may_send(self) -> bool:
        return self.in_flight < self.window

    def sent(self, size: int) -> None:
        self.in_flight += size

    def answered(self, size: int, line: Line | None, now_s: float) -> None:
        full = self.in_flight + SMALLEST >= self.window
        self.in_flight -= size
        if line is None:
            return
        if line.rtt_s - line.shortest_s > TARGET_S + line.shortest_s / 2:
            if now_s - self._shrunk_s > 2 * line.rtt_s:
                self.window = max(SMALLEST, self.window // 2)
                self._shrunk_s = now_s
        elif full:
            self.window = min(LARGEST, self.window + STEP * size // self.window)
