"""Every kind of record through its message and back, and what a window costs."""

import math
import random
import statistics

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.site.upstream import Catalog
from gateway.spool.records import (
    Event,
    Gap,
    Health,
    Item,
    Lane,
    Phase,
    Record,
    Severity,
    Values,
    Window,
    Windows,
    lane_of,
)
from gateway.wire import pack
from gateway.wire.rows import EventRow, GapEntry, GapRow, HealthRow, Message, ValueRow, WindowRow

BOOT = "00112233445566aa"
OFFSET = 1_763_835_642_123_456_789
GAUGE, COUNTER, STATE = 0, 1, 2
RESOLUTIONS = (0.01, 0.1, 1.0, 0.25, 0.001, 0.0, 100.0, 1 / 3)
CATALOG = Catalog(
    "cab-07",
    (
        *(
            (f"dev{i}.point", f"dev{i}", "point", ("m3/h", "", "ug/m3")[i % 3], GAUGE, r)
            for i, r in enumerate(RESOLUTIONS)
        ),
        ("loop.volume", "loop", "volume", "", COUNTER, 1.0),
        ("rope.wet", "rope", "wet", "", STATE, 1.0),
    ),
)


def through(item: Item) -> Message:
    path, payload = pack.encode(Record(BOOT, "center", lane_of(item), 812, CATALOG.id, item), CATALOG, lambda _: OFFSET)
    message = pack.decode(path, payload)
    assert (message.boot, message.upstream, message.lane, message.seq) == (BOOT, "center", lane_of(item), 812)
    return message


def size(item: Item) -> int:
    return len(pack.encode(Record(BOOT, "center", lane_of(item), 812, CATALOG.id, item), CATALOG, lambda _: OFFSET)[1])


numbers = st.floats(-1e6, 1e6)
maybe = st.one_of(numbers, st.just(math.nan))


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    rows = []
    for channel in draw(st.lists(st.integers(0, len(CATALOG.rows) - 1), min_size=1, max_size=8, unique=True)):
        end = draw(st.sampled_from([60_000_000_000, 120_000_000_000, 61_234_567_891]))
        start = end - draw(st.sampled_from([60_000_000_000, 10_000_000_000, 999_999]))
        n = draw(st.integers(0, 1000))
        constant = draw(st.booleans())
        value = draw(numbers)
        stats = [value] * 6 if constant else [draw(numbers), draw(numbers), *(draw(maybe) for _ in range(4))]
        lo, mean, hi, last, p50, p95 = stats if n else [math.nan] * 6
        sd = 0.0 if constant else draw(st.floats(0, 1e5))
        expected, quality = draw(st.integers(0, 1000)), draw(st.sampled_from([0, 0, 32, 160]))
        rows.append(Window(channel, start, end, n, expected, lo, hi, mean, sd, lo, last, end - 1, p50, p95, quality))
    return Windows(tuple(rows))


def close(sent: float, got: float, resolution: float, kind: int, *, mean: bool) -> bool:
    if math.isnan(sent):
        return math.isnan(got)
    if mean and kind == STATE:
        return abs(sent - got) <= 0.0005001
    allowed = resolution / 2 if resolution else abs(sent) * 2.0**-24
    return abs(sent - got) <= allowed * (1 + 1e-9) + abs(sent) * 1e-12


@settings(max_examples=300, deadline=None)
@given(windows())
@example(Windows((Window(8, 0, 60_000_000_000, 5, 5, 4e9, 4e9 + 3, 3.0, 0.0, 4e9, 4e9 + 3, 1, math.nan, math.nan, 0),)))
def test_windows_come_back_within_half_a_resolution(item: Windows) -> None:
    content = through(item).content
    assert isinstance(content, tuple)
    got = {row.channel: row for row in content if isinstance(row, WindowRow)}
    assert len(got) == len(item.rows)
    for row in item.rows:
        name, _, _, unit, kind, resolution = CATALOG.rows[row.channel]
        back = got[name]
        assert (back.n, back.expected, back.quality) == (row.n, row.expected, row.quality)
        assert abs(back.start_ns - row.start_ns - OFFSET) <= 500_000
        assert abs(back.end_ns - row.end_ns - OFFSET) <= 500_000
        if row.n == 0:
            assert math.isnan(back.mean)
            continue
        assert back.unit == unit
        assert close(row.mean, back.mean, resolution, kind, mean=True)
        for stat in ("min", "max", "last", "p50", "p95", "sd"):
            assert close(getattr(row, stat), getattr(back, stat), resolution, kind, mean=False), stat


def series(channel: int, middle: float, spread: float, *, constant: bool = False) -> Window:
    resolution = CATALOG.rows[channel][5]
    chance = random.Random(channel)
    xs = [middle if constant else round(chance.gauss(middle, spread) / resolution) * resolution for _ in range(60)]
    ranked = sorted(xs)
    sd = 0.0 if constant else statistics.pstdev(xs)
    mean = middle if constant else statistics.fmean(xs)
    end = 123_456_000_000_000
    return Window(
        channel, end - 60_000_000_000, end, 60, 60, ranked[0], ranked[-1], mean, sd, xs[0], xs[-1], end,
        ranked[30], ranked[57], 0
    )  # fmt: skip


def test_a_window_costs_what_was_promised() -> None:
    plan = [(0, 12.34, 0.4), (1, 229.8, 1.1), (2, 4310.0, 80.0), (3, 22.5, 1.0), (4, 1.234, 0.01)] * 2
    varying = Windows(tuple(series(*one) for one in plan))
    constant = Windows(tuple(series(*one, constant=True) for one in plan))
    assert size(varying) / len(plan) <= 50
    assert size(constant) / len(plan) <= 30


def test_chunks_stay_small_and_keep_every_window() -> None:
    rows = tuple(series(k % 5, 12.34 + k, 3.0) for k in range(100))
    parts = pack.chunk(rows, CATALOG)
    assert [row for part in parts for row in part.rows] == list(rows)
    assert max(size(part) for part in parts) <= pack.MAX_PAYLOAD
    assert len(parts) <= 8
    assert pack.chunk((), CATALOG) == []


def event(**changes: object) -> Event:
    samples = tuple((1_000_000_000 * k + k % 3 * 1_000_000, 41.0 + (k * 7 % 13) / 10) for k in range(40))
    facts = {
        "code": "water.burst",
        "phase": Phase.ONSET,
        "severity": Severity.CRITICAL,
        "cause": "city",
        "subject": "zone-3",
        "time_ns": 60_000_000_000,
        "onset_ns": 55_000_000_000,
        "score": 8.43,
        "text_en": "Pipe burst suspected: 41.2 m3/h, 2.1 bar",
        "text_ko": "관로 파손 의심: 유량 41.2 m3/h, 압력 2.1 bar",
        "asset": "WM-3-0412",
        "place_en": "Sejong-daero 110",
        "place_ko": "세종대로 110",
        "latitude": 37.566295,
        "longitude": 126.977945,
        "evidence": ((0, samples),),
    }
    return Event(**(facts | changes))  # type: ignore[arg-type]


def test_an_alarm_arrives_whole_and_stays_small() -> None:
    item = event()
    got = through(item).content
    assert isinstance(got, EventRow)
    for name in ("code", "phase", "severity", "cause", "subject", "text_en", "text_ko", "asset", "place_en", "place_ko",
                 "latitude", "longitude"):  # fmt: skip
        assert getattr(got, name) == getattr(item, name)
    assert got.time_ns - got.onset_ns == 5_000_000_000
    assert got.score == pytest.approx(8.43, rel=1e-3)
    ((name, samples),) = got.evidence
    assert name == "dev0.point"
    assert [v for _, v in samples] == pytest.approx([v for _, v in item.evidence[0][1][-16:]])
    sent = [t for t, _ in item.evidence[0][1][-16:]]
    assert all(abs(t - s - OFFSET) <= 500_000 for (t, _), s in zip(samples, sent, strict=True))
    assert size(item) <= 350


def test_an_alarm_may_lack_what_is_not_known() -> None:
    got = through(
        event(
            latitude=None,
            longitude=None,
            evidence=((5, ((1, math.nan),)), (5, ((1, 1e30),))),
            cause="else",
            score=math.inf,
        )
    ).content
    assert isinstance(got, EventRow)
    assert (got.latitude, got.cause, got.score) == (None, "else", 0.0)
    assert [name for name, _ in got.evidence] == ["dev5.point"]


def test_values_keep_time_unit_and_quality() -> None:
    item = Values(((0, 5_000_000_000, 12.34, 0), (2, 5_250_000_000, 38.0, 32), (1, 1, math.nan, 160)))
    got = through(item).content
    assert isinstance(got, tuple)
    assert len(got) == 2
    second = next(v for v in got if isinstance(v, ValueRow) and v.channel == "dev2.point")
    assert (second.unit, second.value, second.quality) == ("ug/m3", 38.0, 32)
    assert abs(second.time_ns - 5_250_000_000 - OFFSET) <= 500_000
    assert through(Values(())).content == ()


def test_gap_bounds_are_exact() -> None:
    own = through(Gap("stopped", (((0, 1), 5_000_000_001, 7_000_000_003),))).content
    assert own == GapRow(
        "stopped", (GapEntry(("dev0.point", "dev1.point"), 5_000_000_001, 7_000_000_003),), "", "", OFFSET, OFFSET, ()
    )
    other = "aa112233445566aa"
    item = Gap("crash", (((0,), 9_000_000_000_001, 17),), other, "", ((1, other, 3, 9), (0, BOOT, 4, 4)))
    path, payload = pack.encode(
        Record(BOOT, "u", Lane.DIAGNOSTIC, 0, CATALOG.id, item), CATALOG, lambda boot: None if boot == other else 5
    )
    assert pack.decode(path, payload).content == GapRow(
        "crash", (GapEntry(("dev0.point",), 9_000_000_000_001, 17),), other, "", None, 5, item.records
    )


def test_health_is_plain_senml() -> None:
    got = through(Health(5_000_000_000, {"cpu": 0.25, "version": "0.1.0", "insecure": True, "temp": math.nan})).content
    assert isinstance(got, HealthRow)
    assert dict(got.facts) == {"cpu": 0.25, "version": "0.1.0", "insecure": True, "temp": "nan"}


def test_a_record_that_does_not_fit_its_catalog_is_named() -> None:
    with pytest.raises(ValueError, match="catalog"):
        through(Values(((99, 1, 1.0, 0),)))


SAMPLES = [
    pack.encode(Record(BOOT, "u", lane_of(item), 1, CATALOG.id, item), CATALOG, lambda _: OFFSET)
    for item in (
        Windows((series(0, 12.3, 1.0), series(1, 5.0, 1.0, constant=True))),
        Values(((0, 5, 1.0, 0),)),
        event(),
        Gap("crash", (((0,), 1, 2),), BOOT, BOOT, ((1, BOOT, 3, 9),)),
        Health(5, {"a": 1, "b": "x"}),
    )
]


@settings(max_examples=2000, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.sampled_from("wvegh?"),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4),
    st.integers(0, 600),
)
def test_a_mutated_message_is_a_message_or_a_value_error(
    sample: tuple[str, bytes], path: str, edits: list[tuple[int, int]], end: int
) -> None:
    payload = bytearray(sample[1])
    for at, byte in edits:
        payload[at % len(payload)] = byte
    for kind in (sample[0], path):
        try:
            message = pack.decode(kind, bytes(payload[: max(end, 1)] if end % 3 == 0 else payload))
        except ValueError:
            continue
        assert message.seq >= 0
