"""Bytes of a window on the wire, CoAP and OSCORE headers included: one message of eight channels, and in a bundle.

Recorded series are replayed at 1 Hz in windows of 60 s, at the resolution of instruments of their kind; every mean is
decoded back to within half a step. The data lies beside the repository; without it, seeded series stand in.
"""

from __future__ import annotations

import csv
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from gateway.site.upstream import Catalog
from gateway.spool.records import Lane, Record, Window, Windows
from gateway.wire import bundle, coap, pack, secure
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create
from gateway.wire.rows import WindowRow

DATA = Path(__file__).parents[2] / "shared" / "data" / "skab"
CHANNELS, ROWS, PACKS = 8, 60, 40
# vibration 2 x, A, bar, degC 2 x, V, l/min
RESOLUTIONS = (0.001, 0.001, 0.01, 0.01, 0.1, 0.1, 0.1, 0.1)
BOOT = "00112233445566aa"
S = 1_000_000_000


def run() -> dict[str, Any]:
    """bytes_per_window {senml, bundle}, bytes_per_raw_reading {senml, bundle}."""
    series, names = _series()
    steps = RESOLUTIONS
    rows = tuple((f"{n}.value", n, "value", "1", 0, step) for n, step in zip(names, steps, strict=True))
    catalog = Catalog("bench", rows)
    packs = []
    for number in range(min(len(one) for one in series) // ROWS):
        item = Windows(tuple(_window(channel, number, one) for channel, one in enumerate(series)))
        packs.append(pack.encode(Record(BOOT, "center", Lane.SUMMARY, number, catalog.id, item), catalog, lambda _: 0))
        found = pack.decode(*packs[-1]).content
        assert isinstance(found, tuple)
        means = [row.mean for row in found if isinstance(row, WindowRow)]
        for mean, step, window in zip(means, steps, item.rows, strict=True):
            assert abs(mean - window.mean) <= step / 2 + 1e-9, (mean, window)
        if len(packs) == PACKS:
            break
    single = statistics.mean(_on_the_wire("w", 112, body) for _, body in packs)
    bundled = _on_the_wire(bundle.PATH, bundle.DEFLATED, bundle.encode(packs, 60)) / len(packs)
    per_window = {"senml": single / CHANNELS, "bundle": bundled / CHANNELS}
    return {
        "bytes_per_window": {key: round(value, 1) for key, value in per_window.items()},
        "bytes_per_raw_reading": {key: round(value / ROWS, 3) for key, value in per_window.items()},
        "bytes_of": "skab, 8 sensors" if DATA.is_dir() else "seeded series",
    }


def _on_the_wire(path: str, content_format: int, body: bytes) -> int:
    with tempfile.TemporaryDirectory() as name:
        create("bench", f"{name}/gw", f"{name}/keys")
        context = SecurityContext(f"{name}/gw")
        context.sender_sequence_number = 100_000
        options = ((coap.URI_PATH, path.encode()), (coap.CONTENT_FORMAT, coap.uint(content_format)))
        outer, _ = secure.protect_request(context, Message(coap.POST, options, body, b"\x01\x02"))
        context.close()
    return len(coap.to_datagram(outer))


def _series() -> tuple[list[list[float]], list[str]]:
    file = next(iter(sorted(DATA.rglob("*.csv"))), None) if DATA.is_dir() else None
    if file is None:
        dice = random.Random(3)
        return [_walk(dice) for _ in range(CHANNELS)], [f"sensor{n}" for n in range(CHANNELS)]
    with file.open(newline="") as lines:
        table = list(csv.reader(lines, delimiter=";"))
    head = [n for n, name in enumerate(table[0]) if name not in ("datetime", "anomaly", "changepoint")][:CHANNELS]
    return [[float(row[n]) for row in table[1:]] for n in head], [table[0][n].replace(" ", "_")[:12] for n in head]


def _walk(dice: random.Random) -> list[float]:
    value, out = 10.0, []
    for _ in range(ROWS * PACKS):
        value += dice.gauss(0, 0.02)
        out.append(value + dice.gauss(0, 0.05))
    return out


def _window(channel: int, number: int, series: list[float]) -> Window:
    part = series[number * ROWS : (number + 1) * ROWS]
    ranked, mean = sorted(part), statistics.fmean(part)
    end = (number + 1) * ROWS * S
    return Window(
        channel, end - ROWS * S, end, ROWS, ROWS, ranked[0], ranked[-1], mean, statistics.pstdev(part),
        part[0], part[-1], end, ranked[ROWS // 2], ranked[int(ROWS * 0.95)], 0,
    )  # fmt: skip
