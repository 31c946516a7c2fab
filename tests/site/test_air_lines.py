"""Wind sensors whose lines carry a check: damage anywhere in what it covers is noticed."""

from __future__ import annotations

import pytest

from gateway.site.check import decode
from gateway.site.library import installed
from gateway.site.profile import load_profile


@pytest.mark.parametrize(("name", "last"), [("gill-windsonic", b"\x03"), ("gill-windsonic-nmea", b"*")])
def test_a_damaged_wind_line_is_refused(name: str, last: bytes) -> None:
    profile = load_profile(installed() / "air" / f"{name}.toml")
    line = bytearray(bytes.fromhex(profile.captures[0].reply))
    for at in range(line.index(last)):
        line[at] ^= 0x01
        with pytest.raises(ValueError, match=r"\w"):
            decode(profile, b"", bytes(line))
        line[at] ^= 0x01
    assert decode(profile, b"", bytes(line)) == pytest.approx(profile.captures[0].values)
