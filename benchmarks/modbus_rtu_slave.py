"""Modbus RTU units on a paced pseudo terminal, in a process of its own: `... BAUD UNITS DELAY_MS`.

A pty moves bytes at once, so the wire's time is kept here: an answer is there when its last byte would have left a real
line, after the request's own characters, 3.5 characters of silence and the device's delay. Prints the pty's path.
`dead UNIT` on standard input takes a unit's power away; the process ends with its input. It stands for hardware: where
that is allowed it runs at a real-time priority, so that other work on the machine does not slow the line down.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
import tty

from protocols.modbus.crc import crc16

REQUEST = 8
SPIN_NS = 400_000  # sleeping overshoots by less


def main(baud: int, units: int, delay_s: float) -> None:
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    master, slave = os.openpty()
    tty.setraw(slave)
    print(os.ttyname(slave), flush=True)
    char_s = 10 / baud
    silence_s = 0.00175 if baud > 19_200 else 3.5 * char_s
    alive, line, noise, heard_ns = set(range(1, units + 1)), b"", 1, 0
    while True:
        ready, _, _ = select.select([master, 0], [], [])
        if 0 in ready:
            command = os.read(0, 64).split()
            if not command:
                return
            alive.discard(int(command[1]))
        if master not in ready:
            continue
        now_ns = time.monotonic_ns()
        if now_ns - heard_ns > 50_000_000:
            line = b""
        line, heard_ns = line + os.read(master, 4096), now_ns
        if len(line) < REQUEST:
            continue
        request, line = line[:REQUEST], b""
        unit, count = request[0], int.from_bytes(request[4:6], "big")
        if crc16(request) or unit not in alive:
            continue
        noise = (noise * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        address = int.from_bytes(request[2:4], "big")
        words = (1000 + 31 * unit + 17 * (address + i) + (noise >> 24) % 8 for i in range(count))
        reply = bytes((unit, request[1], 2 * count)) + b"".join(word.to_bytes(2, "big") for word in words)
        reply += crc16(reply).to_bytes(2, "little")
        wire_s = (REQUEST + len(reply)) * char_s + silence_s + delay_s
        _wait_until(now_ns + round(wire_s * 1e9))
        os.write(master, reply)


def _wait_until(time_ns: int) -> None:
    rest_ns = time_ns - time.monotonic_ns()
    if rest_ns > SPIN_NS:
        time.sleep((rest_ns - SPIN_NS) / 1e9)
    while time.monotonic_ns() < time_ns:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000)
