"""Where every number of a channel lies. Words in, no arithmetic out.

What is read and written for each reading lies side by side: one row of 8-byte words a channel, seen through two
views of the same memory, `number` (f64) and `whole` (i64). A word belongs to one of the two views for ever.

    word    0      1      2        3         4 .. 28            29 .. 36         37 .. 47
            SEEN   LAST   LAST_NS  GATHERED  filter (FILTER..)  window, numbers  window, whole

Settings have the same shape. What is large or seldom touched (detectors, sketches, evidence, conditions) has tables
of its own.
"""

from __future__ import annotations

from typing import NamedTuple

from fastpath.columns import F8, I8
from fastpath.sketch import Sketch

NEVER = -(2**63)  # a time that has not been
FAR_NS = 2**61  # 73 years; times beyond are clamped, so that differences fit

# words of a channel's state
SEEN = 0  # whole: time of the reading before, NEVER at first
LAST = 1  # number: last believable value, NaN at first
LAST_NS = 2  # whole: its time
GATHERED = 3  # whole: readings ever put into the evidence ring
FILTER = 4
FILTER_WORDS = 25
WINDOW_NUMBER = FILTER + FILTER_WORDS
WINDOW_NUMBERS = 8
WINDOW_WHOLE = WINDOW_NUMBER + WINDOW_NUMBERS
WINDOW_WHOLES = 11
WORDS = WINDOW_WHOLE + WINDOW_WHOLES  # 48: six cache lines

# words of a channel's settings: eight whole, eight numbers
KIND, FILTERED, DETECTOR, WINDOW, PERIOD, SETTLE, FIRST_RULE, END_RULE = range(8)
LOW, HIGH, STEP, RATE, ROLLOVER, BAND = range(8, 14)
SETTING_WORDS = 16
# columns of `tuning`
TARGET, SIZE, SPAN, ONSET = range(4)
TUNINGS = 4
# columns of the settings of a condition
RULE_OP, RULE_HOLD, RULE_CLEAR_HOLD = range(3)
RULE_THRESHOLD, RULE_CLEAR = range(2)

# rows of output: windows, then alerts, then changes, each with ROOM rows of OUT_WORDS
OUT_WORDS = 18


class Settings(NamedTuple):
    """What is constant. whole and number: two views of n rows of SETTING_WORDS; tuning f64[n, TUNINGS]; rule_whole
    i64[m, 3] and rule_number f64[m, 2], a row a condition."""

    whole: I8
    number: F8
    tuning: F8
    rule_whole: I8
    rule_number: F8


class State(NamedTuple):
    """What is learnt. number and whole: two views of n rows of WORDS. detector f64[n, ...]: one table for all
    detectors, as wide as the largest needs. evidence_*: two views of n rings, see `fastpath.ring`. rule i64[m, ...]:
    see `fastpath.condition`."""

    number: F8
    whole: I8
    detector: F8
    sketch: Sketch
    evidence_number: F8
    evidence_whole: I8
    rule: I8


class Output(NamedTuple):
    """Room for rows that a kernel writes. used i64[3] counts windows, alerts and changes; number and whole are two
    views of the rows, windows from row 0, alerts from row first[1], changes from row first[2] up to first[3]."""

    used: I8
    first: I8
    number: F8
    whole: I8
