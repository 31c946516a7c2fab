"""Windows of many channels as columns of bits, and back: the private format that a gateway sends where its site says
`format = "columnar"`. In: a record of windows and its catalog. Out: bytes a third of SenML's. No sockets, no clocks.

A pack is CBOR [dictionary, seq, body] or [dictionary, seq, body, next_s]. `dictionary` is the name of one that the
reader knows (8 bytes), or [the dictionary itself] (gateway.wire.columnar_dictionary). A reader that does not know the
name raises `UnknownDictionary`; its words reach the writer, who sends the pack again with the dictionary inside. So
nothing rests on what a center remembers.

The body is a string of bits (gateway.wire.columnar_bits), column after column:

    which rows      0: every channel of the dictionary; 1: one bit a channel
    common          end of the windows (UTC ms, zigzag), duration (ms), n, expected - n (zigzag), quality
    exceptions      0: none; 1: one bit a row; each of those rows: end, duration, n, missing, quality as differences
    layouts         0: all TIGHT; 1: two bits a row
    TIGHT           min (zigzag), max - min = r, then in as many bits as r has: mean, p50, last, all from min; p95 from
                    p50; sd. All in steps of the channel's grid
    LOOSE           min, then max, last, p50, p95 from min, mean, sd: a bit "there is none" and a zigzagged number each
    FLOATS          a bit "all are equal", a bit "64 bits each" (else 32), then min, max, mean, sd, last, p50, p95
    MISSING         nothing: no statistics

A mean of a state is in steps of 0.001, the number of rollovers or changes (sd of a counter or state) is a whole number.
Every statistic comes back within half a step of the grid; float32 where there is no grid. What is not finite comes
back as NaN.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

from gateway.site.upstream import Catalog
from gateway.spool.records import Lane, Record, Window, Windows
from gateway.wire import senml
from gateway.wire.columnar_bits import BitReader, Bits, unzigzag, zigzag
from gateway.wire.columnar_dictionary import MOST_ROWS, Column, Dictionaries, Dictionary, grid_of
from gateway.wire.rows import Message, WindowRow

PATH = "c"
CONTENT_FORMAT = 65_000  # of the range for experiments (RFC 7252, section 12.3)
UNKNOWN = "dictionary unknown"  # gateways know these words
TIGHT, LOOSE, FLOATS, MISSING = range(4)
GAUGE, STATE = 0, 2  # gateway.site.plan.Kind, which this half does not import
SHARE = Column("", "", GAUGE, (1, -3))  # of time
WHOLE = Column("", "", GAUGE, (1, 0))
TIME = 1 << 43  # ms
COUNT = 1 << 40

Stats = tuple[float, float, float, float, float, float, float]  # min, max, mean, sd, last, p50, p95
OffsetOf = Callable[[str], int | None]
NONE: Stats = (math.nan,) * 7


class UnknownDictionary(ValueError):
    def __init__(self) -> None:
        super().__init__(UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is usually the same for all rows of a pack: end and duration in ms."""

    end: int
    duration: int
    n: int
    missing: int
    quality: int

    def numbers(self) -> tuple[int, ...]:
        return self.end, self.duration, self.n, self.missing, self.quality


KNOWN = Dictionaries()  # this process's, for a reader that keeps none of its own


def dictionary_of(record: Record, catalog: Catalog) -> Dictionary:
    """The channels of one record, in its order. Raises ValueError where it does not fit its catalog."""
    assert isinstance(record.item, Windows)
    try:
        rows = [catalog.rows[row.channel] for row in record.item.rows]
    except IndexError as bad:
        raise ValueError(f"record {record.seq} does not fit its catalog: {bad}") from bad
    columns = tuple(Column(name, unit, kind, grid_of(step)) for name, _, _, unit, kind, step in rows)
    return Dictionary(record.boot, record.upstream, columns)


def fits(record: Record) -> bool:
    """Whether it can go as columns."""
    return isinstance(record.item, Windows) and 0 < len(record.item.rows) <= MOST_ROWS


def encode(
    record: Record, catalog: Catalog, offset_of: OffsetOf, dictionary: Dictionary, *, tell: bool, next_s: int = 0
) -> bytes:
    """`dictionary` has every channel of the record, in its order, and maybe others in between; `tell` sends it along.
    Raises ValueError for a record that does not fit."""
    assert isinstance(record.item, Windows)
    rows = record.item.rows
    present = _present(dictionary, [catalog.rows[row.channel][0] for row in rows])
    bits = Bits()
    bits.put(not all(present), 1)
    if not all(present):
        for one in present:
            bits.put(one, 1)
    _put_facts(bits, [_facts(row, offset_of(record.boot) or 0) for row in rows])
    columns = [column for column, there in zip(dictionary.columns, present, strict=True) if there]
    _put_statistics(bits, rows, columns)
    head = [dictionary.deflated()] if tell else dictionary.name
    return cbor2.dumps([head, record.seq, bits.done(), *[next_s] * bool(next_s)])


def decode(payload: bytes, known: Dictionaries = KNOWN) -> Message:
    """Learns a dictionary that comes along. Raises UnknownDictionary; ValueError, with words short enough for a
    diagnostic payload, on anything that is no pack."""
    try:
        found = cbor2.loads(payload)
    except Exception as bad:  # cbor2 lets errors of the types it builds (dates, fractions) through
        raise ValueError("not CBOR") from bad
    if not isinstance(found, list) or len(found) not in (3, 4):
        raise ValueError("not a columnar pack")
    head, seq, body, next_s = [*found, 0][:4]
    if not all(type(x) is int and 0 <= x < 1 << 61 for x in (seq, next_s)) or not isinstance(body, bytes):
        raise ValueError("not a columnar pack")
    dictionary = _dictionary(head, known)
    reader = BitReader(body)
    try:
        content = _rows(reader, dictionary)
        reader.end()
    except OverflowError as bad:
        raise ValueError("a number is out of range") from bad
    return Message(dictionary.boot, dictionary.upstream, Lane.SUMMARY, seq, float(next_s), content)


def _dictionary(head: Any, known: Dictionaries) -> Dictionary:
    if isinstance(head, list) and len(head) == 1 and isinstance(head[0], bytes):
        return known.learn(head[0])
    if not isinstance(head, bytes) or len(head) != 8:
        raise ValueError("no dictionary is named")
    found = known.find(head)
    if found is None:
        raise UnknownDictionary
    return found


def _present(dictionary: Dictionary, channels: Sequence[str]) -> list[bool]:
    wanted = iter(channels)
    following = next(wanted, None)
    out = []
    for column in dictionary.columns:
        out.append(column.channel == following)
        if out[-1]:
            following = next(wanted, None)
    if following is not None:
        raise ValueError("the dictionary is another record's")
    return out


def _rows(bits: BitReader, dictionary: Dictionary) -> tuple[WindowRow, ...]:
    columns: Sequence[Column] = dictionary.columns
    if bits.take(1):
        columns = [column for column in columns if bits.take(1)]
    facts = _take_facts(bits, len(columns))
    stats = _take_statistics(bits, columns)
    return tuple(
        WindowRow(
            channel=column.channel,
            unit="" if math.isnan(numbers[2]) else column.unit,
            start_ns=(fact.end - fact.duration) * 1_000_000,
            end_ns=fact.end * 1_000_000,
            n=fact.n,
            expected=fact.n + fact.missing,
            min=numbers[0],
            max=numbers[1],
            mean=numbers[2],
            sd=numbers[3],
            last=numbers[4],
            p50=numbers[5],
            p95=numbers[6],
            quality=fact.quality,
        )
        for column, fact, numbers in zip(columns, facts, stats, strict=True)
    )


# -- what is usually common


def _facts(row: Window, offset: int) -> _Facts:
    end = (row.end_ns + offset + 500_000) // 1_000_000
    start = (row.start_ns + offset + 500_000) // 1_000_000
    return _Facts(end, end - start, row.n, row.expected - row.n, row.quality)


def _put_facts(bits: Bits, facts: Sequence[_Facts]) -> None:
    common = Counter(facts).most_common(1)[0][0]
    for number, order in zip(common.numbers(), _ORDERS, strict=True):
        bits.put_count(zigzag(number), order)
    odd = [one != common for one in facts]
    bits.put(any(odd), 1)
    if not any(odd):
        return
    for one in odd:
        bits.put(one, 1)
    base = common.numbers()
    for place in range(len(base)):
        bits.put_counts(
            [zigzag(x.numbers()[place] - base[place]) for x, is_odd in zip(facts, odd, strict=True) if is_odd]
        )


def _take_facts(bits: BitReader, rows: int) -> list[_Facts]:
    base = [unzigzag(bits.take_count(order)) for order in _ORDERS]
    out = [base] * rows
    if bits.take(1):
        odd = [row for row in range(rows) if bits.take(1)]
        columns = [bits.take_counts(len(odd)) for _ in base]
        for number, row in enumerate(odd):
            out[row] = [x + unzigzag(column[number]) for x, column in zip(base, columns, strict=True)]
    for end, duration, n, missing, quality in out if rows else [base]:
        if abs(end) >= TIME or abs(duration) >= TIME or not 0 <= n < COUNT or not 0 <= quality < COUNT:
            raise ValueError("a time or count is out of range")
        if not -(1 << 31) < missing < 1 << 31:
            raise ValueError("the readings missing are out of range")
    return [_Facts(*numbers) for numbers in out]


_ORDERS = (39, 16, 6, 0, 0)  # a UTC time in ms, a minute, as many readings


# -- statistics


def _put_statistics(bits: Bits, rows: Sequence[Window], columns: Sequence[Column]) -> None:
    steps = [_in_steps(row, column) for row, column in zip(rows, columns, strict=True)]
    layouts = [_layout(row, column, these) for row, column, these in zip(rows, columns, steps, strict=True)]
    bits.put(any(layouts), 1)
    if any(layouts):
        for layout in layouts:
            bits.put(layout, 2)
    tight = [these for these, layout in zip(steps, layouts, strict=True) if layout == TIGHT]
    _put_tight(bits, [[x for x in these if x is not None] for these in tight])
    for row, these, layout in zip(rows, steps, layouts, strict=True):
        if layout == LOOSE:
            _put_loose(bits, these)
        elif layout == FLOATS:
            _put_floats(bits, _stats(row))


def _take_statistics(bits: BitReader, columns: Sequence[Column]) -> list[Stats]:
    layouts = [bits.take(2) for _ in columns] if bits.take(1) else [TIGHT] * len(columns)
    tight = iter(_take_tight(bits, layouts.count(TIGHT)))
    out = []
    for column, layout in zip(columns, layouts, strict=True):
        if layout == MISSING:
            out.append(NONE)
        elif layout == FLOATS:
            out.append(_take_floats(bits))
        elif column.grid is None:
            raise ValueError("steps where there is no grid")
        else:
            out.append(_of_steps(next(tight) if layout == TIGHT else _take_loose(bits), column))
    return out


def _stats(row: Window) -> Stats:
    return row.min, row.max, row.mean, row.sd, row.last, row.p50, row.p95


def _grids(column: Column) -> tuple[Column, ...]:
    """The grid that each statistic is on."""
    mean = SHARE if column.kind == STATE else column
    sd = column if column.kind == GAUGE else WHOLE
    return column, column, mean, sd, column, column, column


def _in_steps(row: Window, column: Column) -> list[int | None]:
    """[] where a statistic cannot be counted in steps."""
    if column.grid is None:
        return []
    out: list[int | None] = []
    for value, grid in zip(_stats(row), _grids(column), strict=True):
        if not math.isfinite(value):
            out.append(None)
            continue
        steps = _nearest(value, grid)
        if abs(steps) >= senml.EXACT:
            return []
        out.append(round(steps))
    return out


def _nearest(value: float, column: Column) -> float:
    if isinstance(column.grid, tuple):
        mantissa, exponent = column.grid
        return value * 10.0**-exponent / mantissa
    return value / column.step


def _of_steps(steps: Sequence[int | None], column: Column) -> Stats:
    lo, hi, mean, sd, last, p50, p95 = (
        math.nan if x is None else grid.value(x) for x, grid in zip(steps, _grids(column), strict=True)
    )
    return lo, hi, mean, sd, last, p50, p95


def _layout(row: Window, column: Column, steps: Sequence[int | None]) -> int:
    if row.n == 0 or not math.isfinite(row.mean):
        return MISSING
    if not steps or steps[0] is None:
        return FLOATS
    if column.kind != GAUGE or None in steps:
        return LOOSE
    lo, hi, mean, sd, last, p50, p95 = (x for x in steps if x is not None)
    within = all(lo <= x <= hi for x in (mean, last, p50, p95)) and p50 <= p95 and 0 <= sd <= hi - lo
    return TIGHT if within else LOOSE


def _put_tight(bits: Bits, rows: Sequence[Sequence[int]]) -> None:
    bits.put_counts([zigzag(lo) for lo, *_ in rows])
    bits.put_counts([hi - lo for lo, hi, *_ in rows])
    for place in (2, 5, 4):
        for row in rows:
            bits.put(row[place] - row[0], (row[1] - row[0]).bit_length())
    for _, hi, _, _, _, p50, p95 in rows:
        bits.put(p95 - p50, (hi - p50).bit_length())
    for lo, hi, _, sd, *_ in rows:
        bits.put(sd, (hi - lo).bit_length())


def _take_tight(bits: BitReader, rows: int) -> list[list[int]]:
    los = [_step(x) for x in bits.take_counts(rows)]
    spans = bits.take_counts(rows)
    if any(span >= 2 * senml.EXACT for span in spans):
        raise ValueError("a statistic is out of range")
    means, p50s, lasts = (
        [lo + bits.take(span.bit_length()) for lo, span in zip(los, spans, strict=True)] for _ in "mpl"
    )
    p95s = []
    for lo, span, p50 in zip(los, spans, p50s, strict=True):
        if p50 > lo + span:
            raise ValueError("a quantile is above the largest reading")
        p95s.append(p50 + bits.take((lo + span - p50).bit_length()))
    sds = [bits.take(span.bit_length()) for span in spans]
    columns = zip(los, spans, means, sds, lasts, p50s, p95s, strict=True)
    return [[lo, lo + span, mean, sd, last, p50, p95] for lo, span, mean, sd, last, p50, p95 in columns]


def _put_loose(bits: Bits, steps: Sequence[int | None]) -> None:
    lo = steps[0]
    assert lo is not None
    bits.put_count(zigzag(lo), 6)
    for place, value in enumerate(steps):
        if place == 0:
            continue
        bits.put(value is None, 1)
        if value is not None:
            bits.put_count(zigzag(value - (0 if place in _APART else lo)), 3)


def _take_loose(bits: BitReader) -> list[int | None]:
    lo = _step(bits.take_count(6))
    out: list[int | None] = [lo]
    for place in range(1, 7):
        if bits.take(1):
            out.append(None)
        else:
            out.append(_checked(unzigzag(bits.take_count(3)) + (0 if place in _APART else lo)))
    return out


_APART = (2, 3)  # mean and sd: a counter's are far from its readings


def _put_floats(bits: Bits, stats: Stats) -> None:
    clean = [x if math.isfinite(x) else math.nan for x in stats]
    equal = clean[3] == 0 and all(x == clean[2] for place, x in enumerate(clean) if place != 3)
    sent = clean[2:3] if equal else clean
    wide = not all(map(_is_single, sent))
    bits.put(equal, 1)
    bits.put(wide, 1)
    for x in sent:
        bits.put_float(x, ">d" if wide else ">f")


def _take_floats(bits: BitReader) -> Stats:
    equal, form = bits.take(1), ">d" if bits.take(1) else ">f"
    if equal:
        value = _clean(bits.take_float(form))
        return value, value, value, 0.0, value, value, value
    lo, hi, mean, sd, last, p50, p95 = (_clean(bits.take_float(form)) for _ in range(7))
    return lo, hi, mean, sd, last, p50, p95


def _is_single(value: float) -> bool:
    """Whether float32 holds it to its 24 bits: not too large, nor so small that bits are missing."""
    return math.isnan(value) or value == 0 or 2.0**-126 <= abs(value) < 2.0**127


def _clean(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _step(count: int) -> int:
    return _checked(unzigzag(count))


def _checked(steps: int) -> int:
    if abs(steps) >= 4 * senml.EXACT:
        raise ValueError("a statistic is out of range")
    return steps
