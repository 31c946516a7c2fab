"""One request on a serial line and every byte that came of it, right or wrong.

In: an open stream. Out: `Heard`. Knows time and silence, not what the bytes mean (line_verdict.py); never writes to a
device, as it is only given reads.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import NamedTuple

from protocols.api import Link
from protocols.streams import Stream, char_s, open_stream

CALM_S = 0.03  # USB adapters hand bytes over every 16 ms: so long a pause ends an answer
LONGEST_CHARS = 520  # two whole frames, one behind the other
SETTINGS = ".settings"  # beside a simulated device's pty


class Heard(NamedTuple):
    """`data` is all that came; `after_s` from the end of the request to the first byte of it, NaN where none."""

    request: bytes
    data: bytes
    after_s: float


@asynccontextmanager
async def open_line(link: Link) -> AsyncIterator[Stream]:
    """The port as `link` sets it. Raises LinkDown."""
    with as_told(link) as opened:
        async with open_stream(opened) as stream:
            yield stream


@contextmanager
def as_told(link: Link) -> Iterator[Link]:
    """The link to open. A pseudo terminal keeps no parity and refuses to be set to one: a simulated device has a file
    beside its port that it is told by instead, for as long as the line is open. No other file is touched."""
    settings = link.url.partition(":")[2] + SETTINGS
    if not link.url.startswith("serial:") or not os.path.isfile(settings):
        yield link
        return
    before = _swapped(settings, f"{link.baud} {link.parity} {link.stop_bits}\n")
    try:
        yield replace(link, parity="N", stop_bits=1)
    finally:
        if before:
            _swapped(settings, before)


def _swapped(path: str, text: str) -> str:
    """Write `text` over a file's own, which is returned; "" where that cannot be."""
    try:
        with open(path, "r+", encoding="ascii") as file:
            before = file.read()
            file.seek(0)
            file.write(text)
            file.truncate()
    except (OSError, ValueError):
        return ""
    return before


async def exchange(stream: Stream, link: Link, request: bytes, timeout_s: float) -> Heard:
    """Send `request`, hear what comes until the line is calm again; `timeout_s` for the first byte. Raises LinkDown."""
    one_ns = int(char_s(link) * 1e9)
    stream.flush()
    sent_ns = stream.now_ns() + len(request) * one_ns
    await stream.write(request)
    deadline_ns = sent_ns + int(timeout_s * 1e9) + one_ns
    latest_ns = deadline_ns + LONGEST_CHARS * one_ns
    calm_ns = max(int(CALM_S * 1e9), 4 * one_ns)
    data, first_ns = b"", 0
    while True:
        is_echo = request.startswith(data) or data == request
        until_ns = deadline_ns if is_echo else min(stream.last_byte_ns + calm_ns, latest_ns)
        now_ns = stream.now_ns()
        if now_ns >= until_ns:
            break
        data += await stream.read((until_ns - now_ns) / 1e9)
        if data and not first_ns and not request.startswith(data):
            first_ns = stream.last_byte_ns
    return Heard(request, data, max(0.0, (first_ns - sent_ns) / 1e9) if first_ns else float("nan"))


async def overhear(stream: Stream, seconds: float) -> bytes:
    """What is said on the line though nobody asked. Raises LinkDown."""
    until_ns, data = stream.now_ns() + int(seconds * 1e9), b""
    while (now_ns := stream.now_ns()) < until_ns:
        data += await stream.read((until_ns - now_ns) / 1e9)
    return data


def shortest_s(link: Link, request: bytes, timeout_s: float) -> float:
    """What asking a silent address takes at least: the request, the time-out and one character of an answer."""
    return (len(request) + 1) * char_s(link) + timeout_s
