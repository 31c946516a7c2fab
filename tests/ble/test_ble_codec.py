"""BLE payloads: published vectors, another decoder's word, and bytes nobody meant."""

from __future__ import annotations

import math

import pytest
from bthome_ble import const
from hypothesis import given
from hypothesis import strategies as st

from protocols.api import Device, Point, Quality
from protocols.ble.bthome import OBJECTS, Refused, decrypt, encrypt, objects
from protocols.ble.codec import Decoder
from protocols.ble.driver import AirReader
from protocols.ble.inbox import BURST, KEPT, Inbox
from protocols.ble.operations import Hear, plan
from protocols.ble.points import Fixed, Options, Value

ADDRESS = "54:48:E6:8F:80:A5"
KEY = bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932")
SEALED = bytes.fromhex("41a47266c95f730011223378237214")
S = 1_000_000_000


def decoder(secret: bytes = b"", period_s: float = 10.0) -> Decoder:
    device = Device("home", 0, Options("bthome"), ADDRESS, secret)
    return Decoder((Point(1, "t", device, Value(object=2), period_s), Point(2, "h", device, Value(object=3), period_s)))


def tag(address: str = ADDRESS) -> Point:
    options = Options("manufacturer", company=0x0499, length=24, fixed=(Fixed(0, "05"),))
    return Point(3, "t", Device("tag", 0, options, address), Value(at=1, type="int16", none=(-32768,)), 10.0, 0.005)


def test_the_published_encrypted_message() -> None:
    assert decrypt(SEALED, ADDRESS, KEY)[1] == bytes.fromhex("02ca0903bf13")
    assert decoder(KEY).push(SEALED, S) == [(1, 25.06, 0), (2, 50.55, 0)]


def test_objects_have_the_sizes_and_factors_another_decoder_knows() -> None:
    for one, shape in OBJECTS.items():
        theirs = const.MEAS_TYPES[one]
        assert shape.size == theirs.data_length, hex(one)
        assert shape.signed == (theirs.data_format == "signed_integer"), hex(one)
        assert math.isclose(1 / shape.divisor, theirs.factor), hex(one)


def test_a_key_is_never_gone_behind() -> None:
    it = decoder(KEY)
    plain = bytes.fromhex("02ca0903bf13")
    assert it.push(b"\x40" + plain, S) == []
    assert it.push(encrypt(plain, ADDRESS, KEY, 7), S)
    assert it.push(encrypt(plain, ADDRESS, KEY, 7), S) == []
    assert it.push(encrypt(plain, ADDRESS, KEY, 6), S) == []
    assert it.push(encrypt(plain, ADDRESS, bytes(16), 9), S) == []
    assert it.push(encrypt(plain, ADDRESS, KEY, 8), S)
    told = {name: it.counters[name] for name in ("plain_refused", "repeated", "replayed", "not_authentic", "decoded")}
    assert told == {"plain_refused": 1, "repeated": 1, "replayed": 1, "not_authentic": 1, "decoded": 2}


def test_repeated_packet_ids_are_dropped_and_a_missing_key_is_counted() -> None:
    it = decoder()
    assert it.push(bytes.fromhex("4000 09 02ca09"), S)
    assert it.push(bytes.fromhex("4000 09 02cb09"), 9 * S) == []
    assert it.push(SEALED, 99 * S) == []
    assert it.counters["repeated"] == it.counters["key_missing"] == 1


def test_what_comes_before_an_unknown_object_is_kept() -> None:
    it = decoder()
    assert it.push(bytes.fromhex("40 02ca09 99 03bf13"), S) == [(1, 25.06, 0)]
    assert it.counters["unknown_objects"] == 1


def test_one_measurement_sent_often_counts_once_and_a_steady_one_again_after_its_period() -> None:
    it = decoder(period_s=10.0)
    same = bytes.fromhex("4002ca09")
    assert [bool(it.push(same, at * S)) for at in (20, 21, 29, 30, 31)] == [True, False, False, True, False]


def test_not_available_is_a_sentinel() -> None:
    rows = Decoder((tag(),)).push(bytes.fromhex("058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF"), S)
    assert math.isnan(rows[0][1])
    assert rows[0][2] == Quality.SENTINEL


def test_a_chattering_beacon_is_throttled_and_starves_nobody() -> None:
    other = Point(9, "t", Device("other", 0, tag().device.options, "00:00:5E:00:53:02"), tag().spec, 10.0, 0.005)
    inbox = Inbox(plan((tag(), other)))
    for count in range(1000):
        data = bytes.fromhex("05") + count.to_bytes(2, "big") + bytes(21)
        inbox.advert(ADDRESS, {0x0499: data}, {}, S)
    inbox.advert("00:00:5E:00:53:02", {0x0499: b"\x05" + bytes(23)}, {}, S)
    inbox.advert("00:00:5E:00:53:99", {0x0499: b"\x05" + bytes(23)}, {}, S)
    assert inbox.totals["throttled"] == 1000 - BURST
    assert inbox.totals["foreign"] == 1
    batch = inbox.take()
    assert set(batch.channel.tolist()) == {3, 9}
    assert "00:00:5E:00:53:99" not in inbox.boxes


def test_what_nobody_reads_is_dropped_oldest_first_and_counted() -> None:
    inbox = Inbox(plan((tag(),)))
    for count in range(KEPT + 5):
        inbox.advert(ADDRESS, {0x0499: b"\x05" + count.to_bytes(2, "big") + bytes(21)}, {}, (count + 1) * S)
    assert inbox.totals["dropped"] == 5
    assert inbox.take().value[0] == pytest.approx(5 * 0.005)


@given(st.binary(max_size=64))
def test_any_bytes_are_taken(data: bytes) -> None:
    for it in (decoder(), decoder(KEY), Decoder((tag(),))):
        for _, value, quality in it.push(data, S):
            assert math.isnan(value) == (quality >= Quality.SENTINEL)
    assert len(objects(data).values) <= len(data)


@given(st.binary(min_size=12, max_size=40).filter(lambda data: data != SEALED))
def test_nothing_forged_is_believed(data: bytes) -> None:
    assert decoder(KEY).push(b"\x41" + data, S) == []


def test_an_altered_message_is_refused() -> None:
    for at in range(1, len(SEALED)):
        bad = bytearray(SEALED)
        bad[at] ^= 1
        with pytest.raises(Refused):
            decrypt(bytes(bad), ADDRESS, KEY)


def test_a_sensor_that_counts_anew_is_heard_again_and_an_old_message_after_a_restart_is_not() -> None:
    device = Device("tag", 0, Options("bthome"), "A4:C1:38:00:00:01", bytes(16))
    points = (Point(0, "temperature", device, Value(object=0x02), 10.0),)
    message = encrypt(bytes.fromhex("00010264 09".replace(" ", "")), device.address, device.secret, 41)
    newer = encrypt(bytes.fromhex("00010265 09".replace(" ", "")), device.address, device.secret, 42)

    def reader() -> tuple[AirReader, Inbox]:
        inbox = Inbox([Hear(points)])
        return AirReader(inbox, None), inbox  # type: ignore[arg-type]

    first, inbox = reader()
    inbox.advert(device.address, {}, {inbox.boxes[device.address].service: message}, 1)
    assert first.memory() == {"tag": 41}
    again, inbox = reader()
    service = inbox.boxes[device.address].service
    inbox.advert(device.address, {}, {service: message}, 2)  # heard before the memory was there
    again.recall(first.memory())
    assert not len(inbox.take().channel)
    inbox.advert(device.address, {}, {service: message}, 3)
    assert not len(inbox.take().channel)
    inbox.advert(device.address, {}, {service: newer}, 11 * 10**9)  # its packet id is the same, a period later
    assert inbox.take().value.tolist() == [24.05]
