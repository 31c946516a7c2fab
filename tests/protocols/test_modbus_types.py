"""Bytes, shifted masks and dates: every type beyond plain words."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.codec import Decoder
from protocols.modbus.points import check

METER = peers.device()
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31, 23, 59, 59)).map(lambda d: d.replace(tzinfo=UTC))


def value(data: bytes, **keys: object) -> float:
    return float(Decoder([peers.point(0, METER, 0, **keys)], 3, 0).decode(data)[0][0])


def test_bytes_of_a_register() -> None:
    assert value(b"\x01\xfe", type="uint8") == 254
    assert value(b"\x01\xfe", type="int8") == -2
    assert value(b"\x01\xfe", type="uint8", order="BADC") == 1
    assert np.isnan(value(b"\x01\xff", type="uint8", nan=(255,)))


def test_a_mask_is_moved_down() -> None:
    assert value(b"\x05\x3c", mask=0x0700, shift=8) == 5
    assert value(b"\x05\x3c", mask=0x00F0, shift=4) == 3
    assert value(b"\x05\x3c", mask=0x00F0) == 0x30
    assert value(b"\x80\x00", type="int16", mask=0x8000, shift=15) == 1
    faults = check(METER, [peers.point(0, METER, 0, shift=3), peers.point(1, METER, 1, mask=1, shift=16)])
    assert [fault[1] for fault in faults] == ["shift", "shift"]


@given(MOMENTS)
def test_bcd_dates_as_a_tuf_2000m_keeps_them(moment: datetime) -> None:
    """Second first, low word first: registers 53 to 55."""
    text = moment.strftime("%y%m%d%H%M%S")
    data = bytes.fromhex(text)
    moment = moment.replace(microsecond=0)
    words = [data[i : i + 2] for i in (4, 2, 0)]
    assert value(b"".join(words), type="date48", order="CDAB") == moment.timestamp()
    assert value(data, type="date48") == moment.timestamp()
    assert value(data, type="date48", offset=-32400.0) == moment.timestamp() - 32400


@given(MOMENTS)
def test_iec_dates(moment: datetime) -> None:
    words = (
        moment.year - 2000,
        moment.month << 8 | 3 << 5 | moment.day,
        moment.hour << 8 | moment.minute,
        moment.second * 1000 + moment.microsecond // 1000,
    )
    data = b"".join(word.to_bytes(2, "big") for word in words)
    assert value(data, type="date64") == pytest.approx(moment.timestamp(), abs=0.0011)


@pytest.mark.parametrize(
    "text",
    ["240230120000", "241301120000", "240001120000", "240100120000", "240101240000", "240101126000", "2401011200FF"],
)
def test_there_is_no_such_date(text: str) -> None:
    assert np.isnan(value(bytes.fromhex(text), type="date48"))


def test_an_invalid_iec_date() -> None:
    assert np.isnan(value(bytes.fromhex("0018 0101 0C80 0000"), type="date64"))


def test_dates_and_words_share_a_block() -> None:
    points = [
        peers.point(0, METER, 0),
        peers.point(1, METER, 1, type="date48"),
        peers.point(2, METER, 4, type="date48"),
        peers.point(3, METER, 7, type="uint8"),
    ]
    decoder = Decoder(points, 3, 0)
    got, absent = decoder.decode(bytes.fromhex("0007 240229123456 FFFFFFFFFFFF 0109"))
    found = dict(zip((points[i].channel for i in decoder.order), got.tolist(), strict=True))
    assert (found[0], found[3]) == (7.0, 9.0)
    assert found[1] == datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC).timestamp()
    assert np.isnan(found[2])
    assert absent is not None
    assert absent.sum() == 1
