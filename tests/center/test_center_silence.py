"""Gateways that break their promise: one alarm for what was lost together, ended when the last one is heard."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.center import main
from gateway.center.main import _Attention
from gateway.center.silence import Silence, event
from gateway.center.store import Heard, Store
from gateway.spool.records import Phase


def told(silence: Silence, now_s: float) -> list[tuple[str, str, list[str]]]:
    return [(phase.name, incident.subject, sorted(incident.gone)) for incident, phase in silence.check(now_s)[1]]


def test_twice_what_was_promised_is_silence() -> None:
    silence = Silence()
    silence.heard("cab-1", 60, (), 0)
    assert told(silence, 119) == []
    assert told(silence, 121) == [("ONSET", "cab-1", ["cab-1"])]
    assert told(silence, 500) == []
    assert silence.heard("cab-1", 60, (), 510) == "cab-1"
    assert told(silence, 511) == [("CLEAR", "cab-1", [])]
    assert told(silence, 631) == [("ONSET", "cab-1", ["cab-1"])]


def test_no_promise_is_never_broken() -> None:
    silence = Silence()
    silence.heard("old", 0, (), 0)
    assert told(silence, 1e9) == []


def test_a_lost_way_is_one_alarm() -> None:
    silence = Silence()
    for n in range(100):
        silence.heard(f"cab-{n:03}", 60, ("mast-3",), n * 0.6)  # lost together right after the last was heard
    said = [one for now_s in range(60, 400) for one in told(silence, now_s)]
    assert [phase for phase, _, _ in said].count("ONSET") == 1
    assert said[-1][2] == [f"cab-{n:03}" for n in range(100)]
    assert {phase for phase, _, _ in said} == {"ONSET", "UPDATE"}
    assert len(said) <= 9, "an alarm that changes is not told at every change"
    for n in range(100):
        silence.heard(f"cab-{n:03}", 60, (), 400 + n / 10)
    assert [phase for phase, _, _ in told(silence, 415)] == ["CLEAR"]


def test_what_was_lost_at_different_times_or_on_different_ways_is_not_one_alarm() -> None:
    silence = Silence()
    for name, shares, at_s in (("a", ("m1",), 0), ("b", ("m2",), 1), ("c", ("m1",), 300), ("d", ("m2", "f7"), 2)):
        silence.heard(name, 60, shares, at_s)
    said = [one for now_s in range(60, 600, 5) for one in told(silence, now_s)]
    assert {(phase, subject) for phase, subject, _ in said if phase == "ONSET"} == {
        ("ONSET", "a"),
        ("ONSET", "b"),
        ("ONSET", "c"),
    }
    assert max((gone for _, subject, gone in said if subject == "b"), key=len) == ["b", "d"]


def test_gateways_that_do_not_say_what_they_share_are_judged_by_time_alone() -> None:
    silence = Silence()
    for n, promise in enumerate((60, 600, 30)):
        silence.heard(f"cab-{n}", promise, (), 1000 - n)
    said = [one for now_s in range(1000, 2500, 5) for one in told(silence, now_s)]
    assert [phase for phase, _, _ in said].count("ONSET") == 1
    assert said[-1][2] == ["cab-0", "cab-1", "cab-2"]


def test_one_that_comes_back_and_goes_again_stays_in_its_incident() -> None:
    silence = Silence()
    for name in ("a", "b"):
        silence.heard(name, 10, (), 0)
    told(silence, 21)
    silence.heard("a", 10, (), 22)
    told(silence, 33)
    assert [subject for _, subject, _ in told(silence, 43)] == ["a"]
    silence.heard("a", 10, (), 50)
    silence.heard("b", 10, (), 50)
    assert told(silence, 51) == [("CLEAR", "a", [])]


def test_the_words_name_what_dispatch_needs() -> None:
    silence = Silence()
    for n in range(12):
        silence.heard(f"cab-{n:02}", 60, ("feeder-7",), 0)
    ((incident, phase),) = silence.check(121)[1]
    said = event(incident, phase, 121, 10**18, {"cab-00": 60.0})
    assert said.text_en.startswith("12 gateways on feeder-7 fell silent together: cab-00, ")
    assert "12대" in said.text_ko
    assert (said.code, said.asset, said.score) == ("center.gateway_silent", "feeder-7", 12.0)
    assert said.evidence[0] == ("cab-00", ((10**18 - 121 * 10**9, 60.0),))
    assert len(said.evidence) == 12


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(5, 100), st.booleans(), st.floats(0, 80)), min_size=1, max_size=60)
)
def test_whoever_is_silent_is_in_exactly_one_incident(steps: list[tuple[int, float, bool, float]]) -> None:
    silence, now_s = Silence(), 0.0
    standing: dict[str, Phase] = {}
    heard: dict[str, tuple[float, float]] = {}
    for number, promise, shared, wait_s in steps:
        now_s += wait_s
        silence.heard(f"g{number}", promise, ("x",) if shared else (), now_s)
        heard[f"g{number}"] = (now_s, promise)
        fallen, news = silence.check(now_s)
        assert all(now_s > heard[name][0] + 2 * heard[name][1] for name in fallen)
        for incident, phase in news:
            assert (phase is Phase.ONSET) == (incident.subject not in standing)
            standing[incident.subject] = phase
            if phase is Phase.CLEAR:
                del standing[incident.subject]
    for name, (_, promise) in heard.items():
        silence.heard(name, promise, (), now_s)
    silence.check(now_s)
    assert silence.check(now_s + 9)[1] == [], "everything that was heard is cleared"


async def test_a_restarted_center_goes_on_with_the_incident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(main.time, "monotonic", lambda: now_s)
    store = Store(tmp_path / "c.db")
    for round_, at_s in enumerate((0.0, 130.0, 140.0, 141.0)):
        now_s = 0.0
        watch = _Attention(store, Silence())
        if round_ in (0, 3):
            for name in ("cab-1", "cab-2"):
                await store.put_all(name, (), Heard(60, ("m",)))
                watch.heed(name, 60, ("m",))
        now_s = at_s if round_ < 2 else 1.0
        await watch._look()
    store.close()
    with closing(sqlite3.connect(tmp_path / "c.db")) as db:
        events = db.execute("SELECT phase, subject, score FROM event ORDER BY message").fetchall()
        assert events == [(0, "cab-1", 2.0), (2, "cab-1", 2.0)]
        assert db.execute("SELECT name, silent FROM gateway").fetchall() == [("cab-1", ""), ("cab-2", "")]
        assert db.execute("SELECT DISTINCT gateway FROM message").fetchall() == [("(center)",)]
