"""Bytes of a window on the wire, CoAP and OSCORE headers included: one message of eight channels, and in a bundle; the
dictionary of the columnar form counts in the first message that has it.

Recorded series are replayed at 1 Hz in windows of 60 s, at the resolution of instruments of their kind; every statistic
is decoded back to within half a step. The data lies beside the repository; without it, seeded series stand in.
"""

from __future__ import annotations

import csv
import functools
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from gateway.site.upstream import Catalog
from gateway.spool.records import Lane, Record, Window, Windows
from gateway.uplink.columns import Columns
from gateway.wire import bundle, coap, columnar, pack, secure, senml
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create
from gateway.wire.rows import WindowRow

DATA = Path(__file__).parents[2] / "shared" / "data" / "skab"
CHANNELS, ROWS, PACKS = 8, 60, 40
# vibration 2 x, A, bar, degC 2 x, V, l/min
RESOLUTIONS = (0.001, 0.001, 0.01, 0.01, 0.1, 0.1, 0.1, 0.1)
BOOT = "00112233445566aa"
S = 1_000_000_000
UTC = 1_763_835_642_123_456_789  # when the boot's clock began: ends are no whole seconds


def run() -> dict[str, Any]:
    """bytes_per_window and bytes_per_raw_reading {senml, columnar, bundle, columnar_bundle}: one message of eight
    channels, then the same among others in a bundle."""
    series, names = _series()
    rows = tuple((f"{n}.value", n, "value", "1", 0, step) for n, step in zip(names, RESOLUTIONS, strict=True))
    catalog = Catalog("bench", rows)
    plain, columns = [], []
    form, told = Columns(), set[bytes]()
    for number in range(min(PACKS, min(len(one) for one in series) // ROWS)):
        item = Windows(tuple(_window(channel, number, one) for channel, one in enumerate(series)))
        record = Record(BOOT, "center", Lane.SUMMARY, number, catalog.id, item)
        plain.append(pack.encode(record, catalog, lambda _: UTC, next_s=90))
        made = form.pack(record, catalog, lambda _: UTC, told, next_s=90)
        columns.append((made.kind, made.pack))
        for sent in (plain[-1], columns[-1]):
            _check(sent, item)
    per_window = {
        "senml": statistics.mean(_on_the_wire("w", senml.CONTENT_FORMAT, body) for _, body in plain) / CHANNELS,
        "columnar": statistics.mean(_on_the_wire(columnar.PATH, columnar.CONTENT_FORMAT, body) for _, body in columns)
        / CHANNELS,
        "bundle": _bundled(plain) / CHANNELS,
        "columnar_bundle": _bundled(columns) / CHANNELS,
    }
    return {
        "bytes_per_window": {key: round(value, 1) for key, value in per_window.items()},
        "bytes_per_raw_reading": {key: round(value / ROWS, 3) for key, value in per_window.items()},
        "bytes_of": "skab, 8 sensors" if DATA.is_dir() else "seeded series",
    }


def _check(sent: tuple[str, bytes], item: Windows) -> None:
    """Every statistic back within half a step, or the run ends here."""
    found = pack.decode(*sent).content
    assert isinstance(found, tuple)
    back = {row.channel: row for row in found if isinstance(row, WindowRow)}
    for row, name, step in zip(item.rows, _series()[1], RESOLUTIONS, strict=True):
        got = back[f"{name}.value"]
        assert (got.n, got.expected, got.quality) == (row.n, row.expected, row.quality)
        for key in ("min", "max", "mean", "sd", "last", "p50", "p95"):
            assert abs(getattr(got, key) - getattr(row, key)) <= step / 2 + 1e-9, (key, got, row)


def _bundled(packs: list[tuple[str, bytes]]) -> float:
    return _on_the_wire(bundle.PATH, bundle.DEFLATED, bundle.encode(packs, 90)) / len(packs)


def _on_the_wire(path: str, content_format: int, body: bytes) -> int:
    with tempfile.TemporaryDirectory() as name:
        create("bench", f"{name}/gw", f"{name}/keys")
        context = SecurityContext(f"{name}/gw")
        context.sender_sequence_number = 100_000
        options = ((coap.URI_PATH, path.encode()), (coap.CONTENT_FORMAT, coap.uint(content_format)))
        outer, _ = secure.protect_request(context, Message(coap.POST, options, body, b"\x01\x02\x03"))
        context.close()
    return len(coap.to_datagram(outer))


@functools.cache
def _series() -> tuple[list[list[float]], list[str]]:
    file = next(iter(sorted(DATA.rglob("*.csv"))), None) if DATA.is_dir() else None
    if file is None:
        dice = random.Random(3)
        return [_walk(dice) for _ in range(CHANNELS)], [f"sensor{n}" for n in range(CHANNELS)]
    with file.open(newline="") as lines:
        table = list(csv.reader(lines, delimiter=";"))
    head = [n for n, name in enumerate(table[0]) if name not in ("datetime", "anomaly", "changepoint")][:CHANNELS]
    names = [f"{table[0][n].replace(' ', '_')[:11]}{n}" for n in head]
    return [[float(row[n]) for row in table[1:]] for n in head], names


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
