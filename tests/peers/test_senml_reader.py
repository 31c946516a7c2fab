"""A SenML reader that is not ours (the PyPI package senml) finds the mean of every window with its name, unit and time
in our packs, whatever else they carry. It reads SenML's JSON names: labels of CBOR are turned into these by RFC 8428,
table 6. It knows base fields of the first record only, so a unit that changes on the way is not asked of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gateway.site.upstream import Catalog
from gateway.spool.records import Item, Record, Values, Window, Windows, lane_of
from gateway.wire import pack

pytestmark = pytest.mark.peers
PYTHON = Path(__file__).parents[2] / ".venv-peers/bin/python"
READER = """
import json, sys, cbor2
from senml.senml import SenMLDocument
LABELS = {-5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver", 0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t",
          7: "ut", 8: "vd"}
found = []
for line in sys.stdin:
    records = [{LABELS.get(k, k): v for k, v in r.items()} for r in cbor2.loads(bytes.fromhex(line))]
    document = SenMLDocument.from_json(records)
    resolved = [m.to_absolute(document.base) for m in document.measurements]
    found.append([[m.name, m.value, m.time, m.unit] for m in resolved if not isinstance(m.value, bytes)])
print(json.dumps(found))
"""
S = 1_000_000_000
UTC_NS = 1_763_835_642 * S
CATALOG = Catalog(
    "cab-07",
    (
        ("meter.voltage", "meter", "voltage", "V", 0, 0.1),
        ("meter.voltage2", "meter", "voltage2", "V", 0, 0.1),
        ("air.pm25", "air", "pm25", "ug/m3", 0, 1.0),
    ),
)


def window(channel: int, mean: float, end_s: int) -> Window:
    end = end_s * S
    return Window(channel, end - 60 * S, end, 60, 60, mean - 2, mean + 2, mean, 0.5, mean, mean + 1, end - S, mean,
                  mean + 1.5, 0)  # fmt: skip


def payload(item: Item) -> bytes:
    record = Record("00112233445566aa", "center", lane_of(item), 7, CATALOG.id, item)
    return pack.encode(record, CATALOG, lambda _: UTC_NS)[1]


def read(*payloads: bytes) -> list[list[list[object]]]:
    if not PYTHON.exists():
        pytest.skip("no .venv-peers: make test-peers sets it up")
    lines = "\n".join(one.hex() for one in payloads)
    done = subprocess.run([PYTHON, "-c", READER], input=lines, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_any_reader_finds_the_means() -> None:
    rows = (window(0, 230.1, 60), window(1, 231.4, 60), window(2, 35.0, 61))
    [found] = read(payload(Windows(rows)))
    means = {name: (value, time, unit) for name, value, time, unit in found}
    for name, mean, at_s in (("meter.voltage", 230.1, 60), ("meter.voltage2", 231.4, 60), ("air.pm25", 35.0, 61)):
        value, time, unit = means[f"cab-07/{name}"]
        assert value == pytest.approx(mean, abs=0.05)
        assert time == pytest.approx(UTC_NS / S + at_s, abs=0.001)
        assert unit == "V" or name == "air.pm25"


def test_any_reader_finds_the_first_values() -> None:
    [found] = read(payload(Values(((0, 60 * S, 230.1, 0), (2, 61 * S, 35.0, 32)))))
    values = {name: (value, time) for name, value, time, _ in found}
    assert values["cab-07/meter.voltage"] == (pytest.approx(230.1, abs=0.05), pytest.approx(UTC_NS / S + 60, abs=0.001))
    assert values["cab-07/air.pm25"] == (pytest.approx(35.0), pytest.approx(UTC_NS / S + 61, abs=0.001))
