"""Which configuration is in use: whatever moment a process dies at, a whole one, the old or the new."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.site import generations
from gateway.site.generations import (
    FOLLOWS,
    IDLE,
    KEPT,
    RECEIVED,
    REVERTED,
    SITE,
    TRIAL,
    VALIDATED,
    Record,
)

NAMED = 'schema = 1\n[gateway]\nid = "cab"\nprofiles = ["own"]\n'


class Killed(Exception):
    """Stands for a SIGKILL: what comes after it does not happen."""


@contextmanager
def killed_after(steps: int) -> Iterator[None]:
    """The system calls that change the disk, up to `steps` of them."""
    done = 0
    real = {name: getattr(os, name) for name in ("replace", "fsync", "open", "rmdir", "unlink", "mkdir")}
    real_fsync, real["fsync"] = real["fsync"], lambda fd: None  # its place counts, its time does not

    def counted(name: str):  # type: ignore[no-untyped-def]
        def call(*args: object, **more: object) -> object:
            nonlocal done
            if name != "open" or int(args[1]) & os.O_CREAT:  # type: ignore[call-overload]
                done += 1
                if done > steps:
                    raise Killed
            return real[name](*args, **more)

        return call

    for name in real:
        setattr(os, name, counted(name))
    try:
        yield
    finally:
        for name, call in (real | {"fsync": real_fsync}).items():
            setattr(os, name, call)


def files(number: int) -> dict[str, bytes]:
    return {SITE: f"# {number}".encode() * 50, "profiles/water/a.toml": f"# {number}".encode() * 20}


def change(state: Path, number: int, base: str, way: tuple[str, ...]) -> None:
    """As the field half goes through it."""
    record = generations.read(state)
    generations.put(state, number, files(number))
    record = record.to(RECEIVED, candidate=number, last=number)
    generations.write(state, record)
    for step in way:
        kept = {"current": record.candidate, "candidate": 0} if step == KEPT else {}
        gone = {"candidate": 0} if step == REVERTED else {}
        generations.write(state, record.to(step, **({"base": base} if step == TRIAL else {}), **kept, **gone))
        if step == REVERTED:
            generations.forget(state, record.candidate)
        record = generations.read(state)
        if step == KEPT:
            generations.drop(state, record)


WAYS = (
    (VALIDATED, TRIAL, KEPT),
    (VALIDATED, TRIAL, TRIAL, KEPT),
    (VALIDATED, TRIAL, REVERTED),
    (VALIDATED, REVERTED),
    (REVERTED,),
)


@settings(max_examples=120)
@given(st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, 45)), min_size=1, max_size=4))
def test_whatever_is_killed_between_any_two_writes_leaves_a_whole_configuration(
    changes: list[tuple[tuple[str, ...], int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site, state = Path(folder) / "site.toml", Path(folder) / "state"
        site.write_text(NAMED)
        base = generations.base_of(site)
        for way, steps in changes:
            before = generations.read(state)
            try:
                with killed_after(steps):
                    change(state, before.last + 1, base, way)
            except Killed:
                pass
            record = generations.read(state)
            assert record.state in FOLLOWS
            used = generations.file_of(site)
            if record.in_use == 0:
                assert used == site
            else:
                number = int(used.parent.name)
                assert number == record.in_use
                assert number in (before.current, before.last + 1)
                assert _whole(used.parent) == files(number)
            if record.state in (RECEIVED, VALIDATED, TRIAL):  # as the next process begins
                generations.write(state, record.to(REVERTED, candidate=0))
                generations.forget(state, record.candidate)


def _whole(folder: Path) -> dict[str, bytes]:
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*.toml")}


def test_the_table_has_no_way_out_of_itself_and_no_dead_end() -> None:
    assert set().union(*FOLLOWS.values()) | {IDLE} == set(FOLLOWS)
    for state in FOLLOWS:
        reached, waiting = {state}, [state]
        while waiting:
            waiting += [one for one in FOLLOWS[waiting.pop()] if one not in reached]
            reached.update(waiting)
        assert KEPT in reached
        with pytest.raises(ValueError, match="is not followed by"):
            Record(state=state).to(IDLE)
    assert REVERTED in FOLLOWS[RECEIVED] & FOLLOWS[VALIDATED] & FOLLOWS[TRIAL]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"state": "Never"}',
        '{"state": 7}',
        '{"current": "1"}',
        '{"candidate": null, "state": "Trial"}',
        '{"sequence": 1.5}',
        '{"signed": 1}',
        "\udce4".encode("utf-8", "surrogateescape").decode("latin-1"),
    ],
)
def test_a_record_that_is_none_is_an_idle_one(tmp_path: Path, text: str) -> None:
    generations.write(tmp_path, Record())
    (tmp_path / "configuration" / "state.json").write_text(text, encoding="latin-1")
    assert generations.read(tmp_path) == Record()


def test_a_record_of_a_later_release_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    generations.write(tmp_path, Record(state=KEPT, current=3))
    path = tmp_path / "configuration" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": 1}))
    assert generations.read(tmp_path) == Record(state=KEPT, current=3)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Generation 2 is in use for it, 3 on trial."""
    site = tmp_path / "site.toml"
    site.write_text(NAMED)
    (tmp_path / "own" / "water").mkdir(parents=True)
    (tmp_path / "own" / "water" / "a.toml").write_text("schema = 1\n")
    for number in (2, 3):
        generations.put(tmp_path / "state", number, files(number))
    generations.write(
        tmp_path / "state", Record(state=TRIAL, current=2, candidate=3, last=3, base=generations.base_of(site))
    )
    return site


def used(site: Path) -> str:
    found = generations.file_of(site)
    return "named" if found == site else found.parent.name


def test_the_named_file_stands_for_what_is_in_use_until_it_or_a_profile_of_its_own_is_edited(site: Path) -> None:
    assert used(site) == "3"
    (site.parent / "own" / "water" / "a.toml").write_text("schema = 1\n# edited\n")
    assert used(site) == "named"
    (site.parent / "own" / "water" / "a.toml").write_text("schema = 1\n")
    assert used(site) == "3"
    site.write_text(NAMED + "# edited\n")
    assert used(site) == "named"


def test_a_generation_that_is_gone_is_not_used(site: Path) -> None:
    generations.forget(site.parent / "state", 3)
    assert used(site) == "2"
    generations.forget(site.parent / "state", 2)
    assert used(site) == "named"


def test_which_one_the_other_half_goes_by(site: Path) -> None:
    state = site.parent / "state"
    assert generations.sending(state) == -1
    generations.tell_sending(state, generations.number_of(generations.file_of(site)))
    assert generations.sending(state) == 3
    generations.tell_sending(state, generations.number_of(site))
    assert generations.sending(state) == 0
    (state / "configuration" / "sending").write_text("x")
    assert generations.sending(state) == -1
    generations.tell_sending(site, 1)  # no folder: nobody is told


def test_a_file_that_is_no_site_stands_for_itself(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"gateway = 3", b"[gateway]\nstate_dir = 7", b"[gateway]\nprofiles = 7"):
        (tmp_path / "site.toml").write_bytes(content)
        assert used(tmp_path / "site.toml") == "named"
    assert used(tmp_path / "none.toml") == "named"
    assert generations.base_of(tmp_path / "none.toml") == ""


def test_old_generations_go_but_for_those_that_something_rests_on(tmp_path: Path) -> None:
    for number in range(1, 9):
        generations.put(tmp_path, number, files(number))
    generations.drop(tmp_path, Record(state=TRIAL, current=2, candidate=8, last=8))
    left = sorted(path.name for path in (tmp_path / "configuration").iterdir())
    assert left == ["2", "6", "7", "8"]


def test_the_first_folder_that_has_a_profile_wins(tmp_path: Path) -> None:
    for folder, content in (("a", "1"), ("b", "2")):
        (tmp_path / folder / "water").mkdir(parents=True)
        (tmp_path / folder / "water" / "x.toml").write_text(content)
    (tmp_path / "b" / "water" / "y.toml").write_text("3")
    (tmp_path / "site.toml").write_text("s")
    assert generations.snapshot(tmp_path / "site.toml", [tmp_path / "a", tmp_path / "b", tmp_path / "none"]) == {
        "site.toml": b"s",
        "profiles/water/x.toml": b"1",
        "profiles/water/y.toml": b"3",
    }
