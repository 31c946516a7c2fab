"""A hello says what the gateway takes its receiver for, and is read by those who do not ask."""

import pytest

from gateway.wire import hello, senml
from gateway.wire.hello import Hello


def test_a_role_comes_back_and_none_costs_nothing() -> None:
    said = Hello(90.0, ("mast-12",), "agency")
    packed = hello.encode("cab", "ab" * 8, "police", 1_700_000_000, said)
    assert hello.decode(packed) == said
    (entry, *_) = senml.decode(packed)
    assert (entry.base, entry.name) == ("cab/", "shares")
    silent = hello.encode("cab", "ab" * 8, "police", 1_700_000_000, Hello(90.0, ("mast-12",)))
    assert hello.decode(silent).role == ""
    assert len(senml.decode(silent)) == 1


def test_a_role_too_long_is_refused() -> None:
    packed = hello.encode("cab", "ab" * 8, "police", 1_700_000_000, Hello(90.0, (), "x" * 65))
    with pytest.raises(ValueError, match="short word"):
        hello.decode(packed)
