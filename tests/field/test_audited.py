"""The audit file told upstream: each line once, in order, whole; and the center's look at the chain."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.center import audit as looked
from gateway.field.audited import AT_ONCE, KEPT_AS, Audited
from gateway.field.writer import SpoolWriter
from gateway.site.plan import Plan
from gateway.site.upstream import AGENCY, Upstream
from gateway.spool import audit
from gateway.spool.records import Event, Item

SITE = """
[[links]]
name = "bus"
url = "tcp://127.0.0.1:1502"
[[devices]]
name = "lamps"
profile = "streetlight/waveshare-relay8"
link = "bus"
unit = 1
"""


@dataclass
class Spool:
    """What a commit makes true: items and the place, or neither."""

    items: list[tuple[str, Item]] = field(default_factory=list)
    learnt: dict[str, bytes] = field(default_factory=dict)

    def submit(self, items: Sequence[tuple[str, Item]], *, learnt: Mapping[str, bytes]) -> None:
        self.items += items
        self.learnt |= learnt

    def lines(self) -> list[str]:
        return [cast(Event, item).text_en for _, item in self.items]


@dataclass
class Box:
    plan: Plan
    spool: Spool = field(default_factory=Spool)

    def started(self) -> Audited:
        return Audited(self.plan, cast(SpoolWriter, self.spool), self.spool.learnt, lambda: 5)

    def note(self, what: str, **facts: Any) -> None:
        audit.append(self.plan.state_dir, what, "kim", facts)

    @property
    def file(self) -> Path:
        return Path(self.plan.state_dir) / audit.FILE


@pytest.fixture
def box(make_plan: Callable[[str], Plan], tmp_path: Path) -> Box:
    agency = Upstream("city", "coap://b", "", True, role=AGENCY)
    main = Upstream("main", "coap://a", "", True)
    return Box(replace(make_plan(SITE), upstreams=(main, agency), state_dir=str(tmp_path / "state")))


def numbers(lines: Sequence[str]) -> list[int]:
    return [int(line[1:].partition(" ")[0]) for line in lines]


def test_every_line_is_told_once_whoever_restarts(box: Box) -> None:
    assert box.started().turn() == 0  # there is no file
    box.note("replace", device="meter1")
    box.note("reboot")
    first = box.started()
    assert first.turn() == 2
    assert first.turn() == 0
    second = box.started()
    assert second.turn() == 0
    box.note("command", point="a.b")
    assert second.turn() == 1
    assert {name for name, _ in box.spool.items} == {"main"}
    entries, faults = looked.chain(box.spool.lines())
    assert faults == []
    assert entries == audit.entries(box.file)


def test_a_place_that_was_not_committed_is_told_again(box: Box) -> None:
    box.note("one")
    before = dict(box.spool.learnt)
    box.started().turn()
    told = list(box.spool.items)
    box.spool.items, box.spool.learnt = [], before
    box.started().turn()
    assert box.spool.items == told


def test_a_long_file_goes_a_little_at_a_time(box: Box) -> None:
    for number in range(AT_ONCE + 5):
        box.note(f"{number}")
    teller = box.started()
    assert (teller.turn(), teller.turn(), teller.turn()) == (AT_ONCE, 5, 0)
    assert numbers(box.spool.lines()) == list(range(1, AT_ONCE + 6))


def test_half_a_line_waits_and_a_torn_one_is_passed(box: Box) -> None:
    box.note("one")
    whole = box.file.read_bytes()
    box.file.write_bytes(whole[:-10])
    teller = box.started()
    assert teller.turn() == 0
    box.note("two")  # the line before it was torn by a power cut
    assert teller.turn() == 1
    assert numbers(box.spool.lines()) == [1]
    assert looked.chain(box.spool.lines())[1] == []


@pytest.mark.parametrize("blob", [b"", b"{", b"[1]", b'["a", "b"]', b'[99999, "x"]', b'[3, "x"]'])
def test_another_file_is_told_from_its_beginning(box: Box, blob: bytes) -> None:
    box.note("one")
    box.spool.learnt[KEPT_AS] = blob
    assert box.started().turn() == 1


def test_a_line_that_is_too_long_goes_without_its_facts_and_still_links(box: Box) -> None:
    box.note("one")
    box.note("replace", much="가" * 3000)
    box.note("three")
    box.started().turn()
    entries, faults = looked.chain(box.spool.lines())
    assert faults == []
    assert [one["facts"] for one in entries] == [{}, {"left_out": True}, {}]


def test_the_center_sees_what_is_missing_altered_or_rewritten(box: Box) -> None:
    for what in ("one", "two", "three"):
        box.note(what)
    box.started().turn()
    one, two, three = box.spool.lines()
    assert looked.chain([three, one, two, two])[1] == []
    assert looked.chain([one, three])[1] == ["#2 to #2 are not here"]
    assert looked.chain([two, three])[1] == ["#1 to #1 are not here"]
    assert looked.chain([one, two.replace('"by":"kim"', '"by":"lee"'), three])[1] == ["#2 was altered"]
    other = json.loads(two[two.index("{") :]) | {"what": "other", "before": "0" * 64}
    del other["hash"]
    other["hash"] = audit._hash(other)
    assert looked.chain([one, f"#2: {json.dumps(other)}", three])[1] == [
        "#2 does not follow #1",
        "#3 does not follow #2",
    ]
    assert looked.chain([one, two, f"#2: {json.dumps(other)}"])[1] != []
    assert looked.chain(["nonsense"])[1] == ["an entry cannot be read: nonsense"]


def test_center_audit_prints_and_judges(box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box.note("one")
    box.note("two")
    box.started().turn()
    db = tmp_path / "center.db"
    base = sqlite3.connect(db)
    base.execute("CREATE TABLE event(message INTEGER, gateway TEXT, code TEXT, text_en TEXT)")
    rows = [(number, "cab", "audit.entry", line) for number, line in enumerate(box.spool.lines())]
    base.executemany("INSERT INTO event VALUES(?, ?, ?, ?)", rows)
    base.commit()
    assert looked.run(str(db), "cab", False) == 0
    assert "2 entries" in capsys.readouterr().out
    base.execute("DELETE FROM event WHERE message = 0")
    base.commit()
    base.close()
    assert looked.run(str(db), "cab", True) == 1
    told = capsys.readouterr()
    assert "CG-6138" in told.err
    assert json.loads(told.out)["faults"] == ["#1 to #1 are not here"]
    assert looked.run(str(tmp_path / "none.db"), "cab", False) == 2
    assert looked.run(str(db), "", False) == 2
