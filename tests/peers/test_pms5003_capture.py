"""A published capture of a PMS5003 through a pseudo terminal into `citygate field`, cut frames in between."""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import FieldHalf

from gateway.spool.records import Gap, Values, Windows

pytestmark = pytest.mark.peers

CAPTURE = bytes.fromhex("424d001c0000000800080000000800 0800d20046002d001e00000000970002c5")
HELD = {
    "pm1_cf1": 0, "pm25_cf1": 8, "pm10_cf1": 8, "pm1": 0, "pm25": 8, "pm10": 8,
    "n03": 210, "n05": 70, "n10": 45, "n25": 30, "n50": 0, "n100": 0,
}  # fmt: skip

SITE = """schema = 1
[gateway]
id = "bench"
window_s = 600
[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:9"
insecure = true
[[links]]
name = "line"
url = "serial:{path}"
[[devices]]
name = "air"
profile = "air/plantower-pms5003"
link = "line"
silent_s = 3600
"""


def smog() -> bytes:
    """The capture with a PM2.5 of 508 and a right checksum: what must not be seen when it is cut."""
    frame = bytearray(CAPTURE)
    frame[12] += 1
    frame[13] += 0xF4
    frame[30:] = sum(frame[:30]).to_bytes(2, "big")
    return bytes(frame)


def short_frames() -> list[bytes]:
    """30 bytes of 32, wherever the two were lost."""
    frame = smog()
    return [frame[:30], frame[:16] + frame[18:], frame[:2] + frame[4:], frame[2:]]


@pytest.fixture
def port() -> Iterator[tuple[int, str]]:
    """(descriptor of the sensor's end, path of the gateway's)."""
    sensor, gateway = os.openpty()
    tty.setraw(gateway)
    yield sensor, os.ttyname(gateway)
    os.close(sensor)
    os.close(gateway)


def test_whole_frames_are_read_and_short_ones_never(tmp_path: Path, port: tuple[int, str]) -> None:
    sensor, path = port
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(path=path), encoding="utf-8")
    with FieldHalf(site) as field:
        field.until("the port is open", field.links_up)

        def heard(frames: int) -> bool:
            return {row["readings"] for row in field.channels().values()} == {frames}

        os.write(sensor, CAPTURE)
        field.until("the capture is read", lambda: heard(1))
        assert {name: row["value"] for name, row in field.channels().items()} == channels(HELD)

        for frames, short in enumerate(short_frames(), start=2):
            os.write(sensor, short + CAPTURE)
            field.until("the whole frame behind a short one is read", lambda n=frames: heard(n))
            assert {name: row["value"] for name, row in field.channels().items()} == channels(HELD)
        os.write(sensor, smog())
        field.until("a whole frame of smog is read", lambda: heard(2 + len(short_frames())))
        assert field.channels()["air.pm25"]["value"] == 508.0
        os.write(sensor, smog()[:30])
        field.until_judged()
        assert field.stop() == 0, field.said

    names, items = field.names(), [item for _, item in field.spooled()]
    first = {names[c]: value for item in items if isinstance(item, Values) for c, _, value, _ in item.rows}
    assert first == channels(HELD)
    rows = {names[row.channel]: row for item in items if isinstance(item, Windows) for row in item.rows}
    assert rows.keys() == first.keys()
    assert {row.n for row in rows.values()} == {2 + len(short_frames())}
    assert (rows["air.pm25"].min, rows["air.pm25"].last) == (8.0, 508.0)
    assert (rows["air.pm10"].min, rows["air.pm10"].max) == (8.0, 8.0)
    # between the start and the first frame, written when the port is seen open, a second may pass: then it is told
    assert {item.reason for item in items if isinstance(item, Gap)} <= {"start"}


def channels(points: dict[str, int]) -> dict[str, float]:
    return {f"air.{name}": float(value) for name, value in points.items()}
