"""JSON lines as a sink: safe before it is answered, told apart for good, whole after a power cut."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from test_center_intake import WINDOWS, event, message

from gateway.center import lines
from gateway.center.lines import Lines
from gateway.center.sink import Heard, StoreError, Taken
from gateway.spool.records import Item
from gateway.spool.trouble import Trouble
from gateway.wire import pack


def taken(item: Item, seq: int) -> Taken:
    kind, body = message(item, seq)
    return Taken(kind, pack.decode(kind, body), body)


def rows(folder: Path) -> list[dict[str, Any]]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("packs*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def turned(folder: Path) -> list[Path]:
    return sorted(folder.glob("packs-*.jsonl"))


async def test_each_pack_once_synced_and_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(lines.os, "fsync", lambda descriptor: (synced.append(descriptor), sync(descriptor))[1])
    sink = Lines(tmp_path / "out")
    began = len(synced)
    assert await sink.put_all("cab", [taken(event(), 0), taken(WINDOWS, 0)], Heard(60, ("mast",))) == [True, True]
    assert len(synced) == began + 1
    assert await sink.put_all("cab", [taken(event(), 0), taken(event(), 1), taken(event(), 1)], Heard()) == [
        False,
        True,
        False,
    ]
    assert await sink.put_all("other", [taken(event(), 0)], Heard()) == [True]
    await sink.mark_silent(["cab"], "cab")
    await sink.aclose()
    found = rows(tmp_path / "out")
    assert [(row["gateway"], row["kind"], row["lane"], row["seq"]) for row in found] == [
        ("cab", "e", 0, 0),
        ("cab", "w", 1, 0),
        ("cab", "e", 0, 1),
        ("other", "e", 0, 0),
    ]
    assert found[0]["content"]["text_ko"] == "파손"
    assert found[1]["content"][0]["p95"] == 1.9
    again = Lines(tmp_path / "out")
    assert await again.put_all("cab", [taken(WINDOWS, 0), taken(event(), 1)], Heard()) == [False, False]
    assert ("cab", 0, 60, ("mast",), "cab") in again.heard()
    await again.aclose()


async def test_a_killed_center_knows_what_it_has_and_cuts_off_half_a_line(tmp_path: Path) -> None:
    sink = Lines(tmp_path)
    await sink.put_all("cab", [taken(event(), seq) for seq in range(5)], Heard())
    whole = (tmp_path / "packs.jsonl").read_bytes()
    (tmp_path / "packs.jsonl").write_bytes(whole + whole[:50])
    again = Lines(tmp_path)
    assert await again.put_all("cab", [taken(event(), 4), taken(event(), 5)], Heard()) == [False, True]
    assert [row["seq"] for row in rows(tmp_path)] == list(range(6))
    for one in (sink, again):
        await one.aclose()


async def test_files_are_turned_and_may_be_taken_away(tmp_path: Path) -> None:
    sink = Lines(tmp_path, rotate=2000)
    for seq in range(20):
        await sink.put_all("cab", [taken(event(), seq)], Heard())
    await sink.aclose()
    old = turned(tmp_path)
    assert len(old) > 3
    assert old[0].name == "packs-000001.jsonl"
    assert sorted(row["seq"] for row in rows(tmp_path)) == list(range(20))
    for path in old:
        path.unlink()
    again = Lines(tmp_path, rotate=2000)
    assert await again.put_all("cab", [taken(event(), seq) for seq in range(21)], Heard()) == [False] * 20 + [True]
    await again.aclose()


async def test_a_full_disk_takes_nothing_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Lines(tmp_path)
    await sink.put_all("cab", [taken(event(), 0)], Heard())
    sync = os.fsync

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lines.os, "fsync", full)
    with pytest.raises(StoreError, match="No space"):
        await sink.put_all("cab", [taken(event(), 1)], Heard())
    monkeypatch.setattr(lines.os, "fsync", sync)
    assert await sink.put_all("cab", [taken(event(), 1)], Heard()) == [True]
    await sink.aclose()
    assert [row["seq"] for row in rows(tmp_path)] == [0, 1]


def test_what_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "packs.jsonl").write_text('{"level":"info"}\n', encoding="utf-8")

    async def start() -> None:
        Lines(tmp_path)

    with pytest.raises(Trouble, match=r"CG-4202.*packs.jsonl:1"):
        asyncio.run(start())
    assert (tmp_path / "packs.jsonl").read_text(encoding="utf-8") == '{"level":"info"}\n'
