"""Windows as columns and back, whatever is in them; dictionaries that a center has not; damaged packs."""

import math
import tracemalloc
import zlib

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.site.upstream import Catalog
from gateway.spool.ageing import merged
from gateway.spool.records import Lane, Record, Window, Windows
from gateway.wire import columnar, pack
from gateway.wire.columnar_bits import BitReader, Bits, unzigzag, zigzag
from gateway.wire.columnar_dictionary import Column, Dictionaries, Dictionary, grid_of
from gateway.wire.rows import Message, WindowRow

BOOT = "00112233445566aa"
OFFSET = 1_763_835_642_123_456_789
GAUGE, COUNTER, STATE = 0, 1, 2
RESOLUTIONS = (0.01, 0.1, 1.0, 0.25, 0.001, 0.0, 100.0, 1 / 3, 5e-324, 1e17)
CATALOG = Catalog(
    "cab-07",
    (
        *((f"dev{i}.p", f"dev{i}", "p", ("m3/h", "", "ug/m3")[i % 3], GAUGE, r) for i, r in enumerate(RESOLUTIONS)),
        ("loop.volume", "loop", "volume", "", COUNTER, 1.0),
        ("rope.wet", "rope", "wet", "", STATE, 1.0),
    ),
)
MINUTE = 60_000_000_000


def record(item: Windows, seq: int = 812) -> Record:
    return Record(BOOT, "center", Lane.SUMMARY, seq, CATALOG.id, item)


def encoded(item: Windows, *, tell: bool = True, dictionary: Dictionary | None = None) -> bytes:
    one = record(item)
    chosen = dictionary or columnar.dictionary_of(one, CATALOG)
    return columnar.encode(one, CATALOG, lambda _: OFFSET, chosen, tell=tell, next_s=90)


def rows_of(message: Message) -> list[WindowRow]:
    assert isinstance(message.content, tuple)
    return [row for row in message.content if isinstance(row, WindowRow)]


def window(channel: int, *stats: float, n: int = 60, expected: int = 60, quality: int = 0, end: int = MINUTE) -> Window:
    """stats: min, max, mean, sd, last, p50, p95."""
    lo, hi, mean, sd, last, p50, p95 = stats
    return Window(channel, end - MINUTE, end, n, expected, lo, hi, mean, sd, lo, last, end, p50, p95, quality)


odd = st.sampled_from([math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324, 2.0**53, 4_294_967_295.0, 0.0, -0.0])
numbers = st.one_of(st.floats(-1e6, 1e6), st.floats(0, 100).map(lambda x: round(x, 2)), odd, st.floats())


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    rows = []
    for channel in sorted(draw(st.lists(st.integers(0, len(CATALOG.rows) - 1), min_size=1, max_size=12, unique=True))):
        end = draw(st.sampled_from([MINUTE, MINUTE, 2 * MINUTE, 61_234_567_891]))
        start = end - draw(st.sampled_from([MINUTE, 10 * MINUTE, 60 * MINUTE, 999_999]))
        n, expected = draw(st.integers(0, 1000)), draw(st.integers(0, 1000))
        if draw(st.booleans()):  # as readings make them
            part = sorted(draw(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=20)))
            lo, hi, mean, last, p50, p95 = part[0], part[-1], math.fsum(part) / len(part), part[1], part[1], part[-2]
            p50, p95, sd = min(p50, p95), max(p50, p95), (hi - lo) / 4
        else:
            lo, hi, mean, sd, last, p50, p95 = (draw(numbers) for _ in range(7))
        quality = draw(st.sampled_from([0, 0, 32, 160]))
        rows.append(Window(channel, start, end, n, expected, lo, hi, mean, sd, lo, last, end - 1, p50, p95, quality))
    return Windows(tuple(rows))


def allowed(stat: str, value: float, kind: int, resolution: float) -> float:
    if kind == STATE and stat == "mean":
        return max(0.0005, abs(value) * 2.0**-24)
    if kind != GAUGE and stat == "sd":
        return max(0.5, abs(value) * 2.0**-24)
    on_grid = 1e-18 <= resolution <= 1e18
    return max(resolution / 2 if on_grid else 0.0, abs(value) * 2.0**-24)


@settings(max_examples=150, deadline=None)
@given(windows())
def test_windows_come_back_within_half_a_step(item: Windows) -> None:
    message = pack.decode(columnar.PATH, encoded(item))
    assert (message.boot, message.upstream, message.lane, message.seq) == (BOOT, "center", Lane.SUMMARY, 812)
    assert message.next_s == 90
    for row, back in zip(item.rows, rows_of(message), strict=True):
        name, _, _, unit, kind, resolution = CATALOG.rows[row.channel]
        assert (back.channel, back.n, back.expected, back.quality) == (name, row.n, row.expected, row.quality)
        assert abs(back.start_ns - row.start_ns - OFFSET) <= 500_000
        assert abs(back.end_ns - row.end_ns - OFFSET) <= 500_000
        if row.n == 0 or not math.isfinite(row.mean):
            assert math.isnan(back.mean)
            assert math.isnan(back.max)
            continue
        assert back.unit == unit
        for stat in ("min", "max", "mean", "sd", "last", "p50", "p95"):
            sent, got = getattr(row, stat), getattr(back, stat)
            if not math.isfinite(sent):
                assert math.isnan(got), stat
            else:
                assert abs(sent - got) <= allowed(stat, sent, kind, resolution) * (1 + 1e-9) + abs(sent) * 1e-12, stat


def test_decimal_readings_come_back_as_they_were_written() -> None:
    (back,) = rows_of(columnar.decode(encoded(Windows((window(0, 11.84, 12.88, 12.4, 0.23, 12.39, 12.37, 12.73),)))))
    assert (back.min, back.max, back.mean, back.sd, back.last, back.p50, back.p95) == (
        11.84, 12.88, 12.4, 0.23, 12.39, 12.37, 12.73,
    )  # fmt: skip


def test_a_resolution_that_is_no_power_of_ten_is_met_exactly() -> None:
    (back,) = rows_of(columnar.decode(encoded(Windows((window(3, 12.75, 13.25, 13.0, 0.25, 13.25, 13.0, 13.25),)))))
    assert (back.min, back.max, back.last) == (12.75, 13.25, 13.25)


def test_rollovers_are_counted_however_coarse_the_counter() -> None:
    catalog = Catalog("g", (("m.total", "m", "total", "", COUNTER, 100.0),))
    one = record(Windows((window(0, 4e9, 4.29e9, 3200.0, 2.0, 4.1e9, math.nan, math.nan),)))
    payload = columnar.encode(one, catalog, lambda _: OFFSET, columnar.dictionary_of(one, catalog), tell=True)
    (back,) = rows_of(columnar.decode(payload))
    assert (back.min, back.max, back.mean, back.sd, back.last) == (4e9, 4.29e9, 3200.0, 2.0, 4.1e9)
    assert math.isnan(back.p50)


def test_merged_windows_keep_their_span_and_counts() -> None:
    minutes = [
        window(0, 1.0, 2.0, 1.5, 0.2, 1.7, 1.5, 1.9, end=(k + 1) * MINUTE, n=60 - k, expected=60) for k in range(10)
    ]
    whole = merged(minutes, GAUGE)
    (back,) = rows_of(columnar.decode(encoded(Windows((whole,)))))
    assert back.end_ns - back.start_ns == 10 * MINUTE
    assert (back.n, back.expected) == (sum(60 - k for k in range(10)), 600)


# -- dictionaries


def test_a_center_that_never_saw_the_dictionary_says_so_and_learns_it() -> None:
    item = Windows((window(0, 1.0, 2.0, 1.5, 0.2, 1.7, 1.5, 1.9),))
    center = Dictionaries()
    with pytest.raises(columnar.UnknownDictionary, match=columnar.UNKNOWN):
        columnar.decode(encoded(item, tell=False), center)
    told = columnar.decode(encoded(item, tell=True), center)
    assert columnar.decode(encoded(item, tell=False), center) == told


def test_a_record_of_fewer_channels_goes_by_a_larger_dictionary() -> None:
    whole = Windows(tuple(window(c, 1.0, 2.0, 1.5, 0.2, 1.7, 1.5, 1.9) for c in range(4)))
    dictionary = columnar.dictionary_of(record(whole), CATALOG)
    back = rows_of(columnar.decode(encoded(Windows(whole.rows[1::2]), dictionary=dictionary)))
    assert [row.channel for row in back] == ["dev1.p", "dev3.p"]
    with pytest.raises(ValueError, match="another record"):
        encoded(Windows((window(5, 1.0, 2.0, 1.5, 0.2, 1.7, 1.5, 1.9),)), dictionary=dictionary)


def test_what_a_reader_keeps_is_bounded_by_bytes() -> None:
    center = Dictionaries(most=20_000)
    names = []
    for number in range(50):
        one = Dictionary(BOOT, f"u{number}", (Column("x" * 1000, "", GAUGE, (1, -2)),))
        center.learn(one.deflated())
        names.append(one.name)
    known = [name for name in names if center.find(name)]
    assert known == names[-len(known) :]
    assert 10 <= len(known) <= 20


@pytest.mark.parametrize(
    ("resolution", "grid"),
    [(0.01, (1, -2)), (0.25, (25, -2)), (0.5, (5, -1)), (1.0, (1, 0)), (100.0, (1, 2)), (0.0, None), (math.inf, None)],
)
def test_grids_are_decimal_where_they_can_be(resolution: float, grid: object) -> None:
    assert grid_of(resolution) == grid


def test_a_grid_that_is_no_decimal_stays_what_it_is() -> None:
    assert grid_of(1 / 3) == 1 / 3


# -- bits


@given(st.lists(st.integers(0, 2**80), max_size=20), st.integers(-(2**60), 2**60))
def test_counts_come_back(values: list[int], signed: int) -> None:
    bits = Bits()
    bits.put_counts(values)
    bits.put_count(zigzag(signed), 3)
    reader = BitReader(bits.done())
    assert reader.take_counts(len(values)) == values
    assert unzigzag(reader.take_count(3)) == signed
    reader.end()


# -- damage


def read_or_refused(payload: bytes, known: Dictionaries) -> Message | None:
    """None where it is refused, in words that fit a diagnostic payload."""
    refusal = None
    try:
        return columnar.decode(payload, known)
    except ValueError as bad:
        refusal = str(bad)
    assert 0 < len(refusal) < 64
    return None


@settings(max_examples=150, deadline=None)
@given(windows(), st.data())
def test_mutants_are_refused_or_read_but_never_break_anything(item: Windows, data: st.DataObject) -> None:
    payload = bytearray(encoded(item))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    for mutant in (bytes(payload), bytes(payload[:cut])):
        message = read_or_refused(mutant, Dictionaries())
        assert message is None or len(rows_of(message)) <= len(CATALOG.rows)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_body_is_refused_or_read(body: bytes) -> None:
    known = Dictionaries()
    dictionary = known.learn(
        Dictionary(BOOT, "u", tuple(Column(f"c{i}", "", i % 3, (1, -2)) for i in range(9))).deflated()
    )
    message = read_or_refused(cbor2.dumps([dictionary.name, 1, body]), known)
    for row in rows_of(message) if message else ():
        assert row.n >= 0
        assert not any(map(math.isinf, (row.min, row.max, row.mean, row.sd, row.last, row.p50, row.p95)))


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x80", cbor2.dumps([b"12345678", 1]), cbor2.dumps([[b"no zlib"], 1, b""]), cbor2.dumps([7, 1, b""]),
        cbor2.dumps([b"12345678", -1, b""]), cbor2.dumps([b"12345678", True, b""]), cbor2.dumps([b"12345678", 1, "x"]),
        cbor2.dumps([b"12345678", 1, b"", 1.5]), cbor2.dumps([b"12345678", 1 << 61, b""]),
    ],
)  # fmt: skip
def test_what_is_no_pack_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        columnar.decode(payload, Dictionaries())


def test_a_bomb_of_a_dictionary_costs_no_memory() -> None:
    bomb = zlib.compress(b"\x00" * 50_000_000, 9)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="too large"):
            columnar.decode(cbor2.dumps([[bomb], 1, b""]), Dictionaries())
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
