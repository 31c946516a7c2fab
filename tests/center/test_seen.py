"""Numbers that have come, as spans."""

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.center import seen
from gateway.center.seen import Seen

A, B = ("b1", "city", 1), ("b2", "city", 1)


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 40)), max_size=120))
def test_it_knows_what_a_set_knows(numbers: list[tuple[tuple[str, str, int], int]]) -> None:
    known, plain = Seen(), set()
    for stream, number in numbers:
        assert known.add(stream, number) is ((stream, number) not in plain)
        plain.add((stream, number))
        known = Seen(known.plain())
    for stream in (A, B):
        for number in range(42):
            assert known.has(stream, number) is ((stream, number) in plain)


def test_numbers_without_holes_cost_one_span() -> None:
    known, numbers = Seen(), list(range(5000))
    random.Random(1).shuffle(numbers)
    numbers = numbers[:900] + sorted(numbers[900:])
    for number in numbers:
        known.add(A, number)
    assert known.plain() == [["b1", "city", 1, [0, 5000]]]


def test_it_stays_small_and_forgets_the_oldest() -> None:
    known = Seen()
    for number in range(0, 20_000, 2):
        known.add(A, number)
    assert len(known.plain()[0][3]) <= seen.BOUNDS
    assert known.has(A, 19_998)
    assert not known.has(A, 0)
    for boot in range(1000):
        known.add((f"boot{boot}", "city", 0), 0)
    assert len(known.plain()) <= seen.STREAMS
    assert known.has(("boot999", "city", 0), 0)
