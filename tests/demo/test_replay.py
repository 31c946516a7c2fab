"""A recording as a device: what can be read, and what is refused with words."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.replay import ReplayError, ReplayWorld, read_series


def test_rows_come_in_order_and_end_on_the_last(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("timestamp,value\n2015-09-01 13:45:00,3.06\n2015-09-01 13:50:00,\n2015-09-01 13:55:00,5.17\n")
    series = read_series(path)
    assert series.values == (3.06, 5.17)
    assert series.stamps == ("2015-09-01 13:45:00", "2015-09-01 13:55:00")
    world = ReplayWorld(series)
    told = [(world.value("replay.value", 0.0), world.value("replay.row", 0.0)) for _ in range(3)]
    assert told == [(3.06, 0.0), (5.17, 1.0), (5.17, 1.0)]
    assert world.over


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"time,speed\n1,2\n", "no column `value`"),
        (b"timestamp,value\nx,y\n", "no row with a number"),
        (b"\xff\xfe\x00", ""),
    ],
)
def test_what_cannot_be_played_is_refused_with_a_code(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(ReplayError, match=r"CG-5003") as refused:
        read_series(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="No such file"):
        read_series(tmp_path / "none.csv")
