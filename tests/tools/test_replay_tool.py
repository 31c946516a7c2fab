"""Recorded readings lead to the verdicts that the running gateway gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateway.cli import main
from gateway.field.judge import Judge
from gateway.field.record import Recorder
from gateway.site.plan import Plan
from protocols.api import Batch, Quality

S = 1_000_000_000
START = 1_780_000_000 * S


def rope(path: Path, rows: str) -> list[str]:
    path.write_text("timestamp,leak,distance\n" + rows, encoding="utf-8")
    return ["replay", str(path), "--profile", "water/rle-ld5000", "--period", "1"]


def test_a_verdict_says_why_in_both_languages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"2026-05-01T08:00:{s:02d}Z,{int(20 <= s < 40)},12.5\n" for s in range(60))
    assert main(rope(tmp_path / "night.csv", rows)) == 0
    onset, after, clear, account = capsys.readouterr().out.splitlines()
    assert onset.startswith("2026-05-01T08:00:22.000Z  !! water.leak")
    assert "Water detected" in onset
    assert "누수" in onset
    assert ".. water.leak" in after
    assert "12 readings after the onset" in after
    assert "ok water.leak" in clear
    assert account.startswith("120 readings of 2 channels")


def test_json_has_a_verdict_a_line_and_the_account_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{1_780_000_000 + s},1,\n" for s in range(10))
    assert main([*rope(tmp_path / "night.csv", rows), "--json"]) == 0
    onset, account = map(json.loads, capsys.readouterr().out.splitlines())
    assert (onset["code"], onset["phase"], onset["cause"]) == ("water.leak", "onset", "city")
    assert onset["evidence"]["device.leak"][-1][1] == 1.0
    assert (account["onsets"], account["standing"]) == (1, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timestamp,leek\n1,2\n", 'no point is called "leek", did you mean leak?'),
        ("time,leak\nyesterday,1\n", 'line 2: "yesterday" is no time'),
        ("time,leak\n1,wet\n", 'line 2: "wet" is no number'),
        ("leak\n1\n", "no column `timestamp`"),
        ("time,leak\n1\n", "line 2: 1 columns, the header has 2"),
        ("timestamp,channel,value\n1,device.leek,1\n", "did you mean"),
    ],
)
def test_a_bad_recording_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text, encoding="utf-8")
    assert main(["replay", str(file), "--profile", "water/rle-ld5000"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "CG-5003" in said


def test_a_recording_reproduces_the_running_gateway(
    tmp_path: Path, make_plan: Callable[[str], Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    site = '[[links]]\nname = "b"\nurl = "tcp://127.0.0.1:502"\n[[devices]]\nname = "p"\n'
    plan = make_plan(site + 'profile = "water/rle-ld5000"\nlink = "b"\nunit = 1\nperiod_s = 1\n')
    offset = START - 50 * S  # boottime 50 s is START
    judge, recorder = Judge(plan, 50 * S, offset, []), Recorder(tmp_path / "raw.csv", plan, offset)
    random = np.random.default_rng(5)
    told = []
    channels = np.arange(len(plan.channels), dtype=np.int32)
    for second in range(400):
        values = random.normal(4.0, 0.01, len(channels)).round(3)
        values[0] = float(second % 100 > 80)
        values[second % len(channels)] = np.nan if second % 50 == 7 else values[second % len(channels)]
        quality = np.where(np.isnan(values), int(Quality.NO_REPLY), 0).astype(np.uint8)
        times = 50 * S + second * S + channels.astype(np.int64) * 1_234_567
        batch = Batch(channels, times, values, quality)
        recorder.take(batch)
        told += [(e.code, e.phase.name.lower(), e.subject, e.text_en, e.score) for e in judge.push(batch).events]
    recorder.close()
    assert told
    assert main(["replay", str(tmp_path / "raw.csv"), "--site", str(tmp_path / "site.toml"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()][:-1]
    assert [(e["code"], e["phase"], e["subject"], e["en"], e["score"]) for e in lines] == told


def test_a_recording_ends_at_its_limit(tmp_path: Path, make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(
        '[[links]]\nname = "b"\nurl = "tcp://127.0.0.1:502"\n[[devices]]\nname = "p"\n'
        'profile = "water/keller-30x"\nlink = "b"\nunit = 1\n'
    )
    recorder = Recorder(tmp_path / "raw.csv", plan, 0, limit_mb=0.0005)
    one = Batch(np.zeros(5, np.int32), np.arange(5, dtype=np.int64), np.ones(5), np.zeros(5, np.uint8))
    for _ in range(100):
        recorder.take(one)
    assert (tmp_path / "raw.csv").stat().st_size <= 500
