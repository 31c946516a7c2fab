"""Payloads to readings: every content-format, its oddities, and bytes that are none of them."""

from __future__ import annotations

import json
import math

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.coap import linkformat, senml, tlv
from protocols.coap.order import Allowance, Order
from protocols.coap.payload import parse, tell
from protocols.coap.points import CONTENT_FORMATS, Resource
from protocols.coap.senml import Malformed

AT = Resource("/a")


def value(form: int, payload: bytes, spec: Resource = AT) -> float:
    return parse(form, payload)(spec)[-1].value


@pytest.mark.parametrize(
    ("said", "means"),
    [(b"21.5", 21.5), (b" -3e2\n", -300.0), (b"true", 1.0), (b"False", 0.0), (b"open", 7.0), (b".5\0", 0.5)],
)
def test_text(said: bytes, means: float) -> None:
    assert value(0, said, Resource("/a", words={"open": 7})) == means


@pytest.mark.parametrize("said", [b"", b"\xff\xfe", b"1_000", b"inf", b"0x10", b"1e999", "１".encode(), b"1 2"])
def test_text_that_is_no_number(said: bytes) -> None:
    with pytest.raises(Malformed):
        value(0, said)


def test_a_node_without_a_value_says_nan() -> None:
    assert math.isnan(value(0, b"nan"))
    assert math.isnan(value(50, b'{"a": null}', Resource("/a", at="a")))


def test_json_and_cbor_by_path() -> None:
    content = {"pm": [{"v": 1}, {"v": 18.5}], "3": {"4": True}}
    assert value(50, json.dumps(content).encode(), Resource("/a", at="pm.1.v")) == 18.5
    assert value(60, cbor2.dumps({3: {4: True}}), Resource("/a", at="3.4")) == 1.0
    with pytest.raises(Malformed, match="there is no"):
        value(60, cbor2.dumps([1]), Resource("/a", at="1"))


@pytest.mark.parametrize("bad", [b"[" * 100_000, b'{"a": NaN}', b"9" * 5000, b"\xff", b"{}x"])
def test_json_that_is_none(bad: bytes) -> None:
    with pytest.raises(Malformed):
        value(50, bad, Resource("/a", at="a"))


@pytest.mark.parametrize("bad", [b"", b"\x81" * 5000, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\x01\x01", b"\x5f"])
def test_cbor_that_is_none(bad: bytes) -> None:
    with pytest.raises(Malformed):
        value(60, bad)


def test_senml_base_fields() -> None:
    pack = [
        {"bn": "urn:dev:1/", "bt": 1.7e9, "bu": "Cel", "bv": 20, "n": "in", "v": 1.5, "t": -5},
        {"n": "out", "u": "K", "v": 3},
        {"n": "door", "vb": True},
        {"n": "mode", "vs": "auto"},
        {"n": "sum", "s": 9},
    ]
    found = senml.records(pack)
    assert [r.name for r in found] == [f"urn:dev:1/{n}" for n in ("in", "out", "door", "mode", "sum")]
    assert [r.value for r in found] == [21.5, 23.0, 1.0, "auto", 9.0]
    assert [r.unit for r in found[:2]] == ["Cel", "K"]
    assert [r.time_s for r in found[:2]] == [1.7e9 - 5, 1.7e9]
    same = cbor2.dumps([{-2: "urn:dev:1/", -3: 1.7e9, -4: "Cel", -5: 20, 0: "in", 2: 1.5, 6: -5}])
    assert parse(112, same)(Resource("/a", record="in"))[0] == (21.5, "Cel", 1.7e9 - 5)


@pytest.mark.parametrize(
    "pack",
    [
        {},
        [],
        [1],
        [{"n": 1, "v": 2}],
        [{"v": "2"}],
        [{"v": True}],
        [{"bver": 11, "v": 1}],
        [{"v": 1, "must_": 2}],
        [{"v": 1, "t": "now"}],
        [{"v": 10**400}],
        [{"v": 1}] * 1001,
    ],
)
def test_senml_that_is_refused(pack: object) -> None:
    with pytest.raises(Malformed):
        senml.records(pack)


def test_senml_says_which_record() -> None:
    two = json.dumps([{"bn": "a/", "n": "x", "v": 1}, {"n": "y", "v": 2}]).encode()
    assert value(110, two, Resource("/a", record="a/y")) == 2.0
    with pytest.raises(Malformed, match="the profile says none"):
        value(110, two)
    with pytest.raises(Malformed, match="no record"):
        value(110, two, Resource("/a", record="z"))


# the example of OMA LwM2M 1.0, section 6.4.3.1: a part of the Device object's instance 0, times and voltages multiple
DEVICE = bytes.fromhex(
    "c800144f70656e204d6f62696c6520416c6c69616e6365c801164c69676874776569676874204d324d20436c69656e74"
    "c80209333435303030313233c303312e30860641000141010588070842000ed842011388870841007d42010384c10964"
    "c10a0f830b410000c40d5182428fc60e2b30323a3030c11055"
)


def test_tlv_of_the_standard() -> None:
    found = tlv.values(DEVICE)
    assert found["0"] == b"Open Mobile Alliance"
    assert found["7/1"] == bytes.fromhex("1388")
    assert value(11542, DEVICE, Resource("/3/0", at="9", type="integer")) == 100
    assert value(11542, DEVICE, Resource("/3/0", at="7/1", type="integer")) == 5000


@pytest.mark.parametrize("cut", range(1, len(DEVICE)))
def test_tlv_cut_off(cut: int) -> None:
    """Only between two TLVs is a part of them whole."""
    whole = (23, 48, 60, 65, 73, 84, 93, 96, 99, 104, 110, 118)
    if cut in whole:
        assert tlv.values(DEVICE[:cut])
    else:
        with pytest.raises(Malformed, match="cut off"):
            tlv.values(DEVICE[:cut])


def test_tlv_needs_a_fitting_type() -> None:
    assert tlv.number(bytes.fromhex("c1480000"), "float") == -12.5
    for raw, kind in ((b"\x02", "boolean"), (b"abc", "integer"), (b"ab", "float"), (b"", "unsigned"), (b"a", "")):
        with pytest.raises(Malformed):
            tlv.number(raw, kind)


def test_lwm2m_json() -> None:
    body = b'{"bn":"/3303/0/","e":[{"n":"5700","v":21.5},{"n":"5850","bv":true}]}'
    assert value(11543, body, Resource("/3303/0", at="5700")) == 21.5
    assert value(11543, body, Resource("/3303/0/5850")) == 1.0
    for bad in (b"[]", b"{}", b'{"e":[1]}', body[:-3]):
        with pytest.raises(Malformed):
            value(11543, bad, Resource("/3303/0", at="5700"))


def test_what_is_told_reads_back() -> None:
    for form in ("", "text", "json", "cbor", "senml+json", "senml+cbor"):
        for said in (0.0, 80.0, -1.25):
            spec = Resource("/a", form)
            assert value(*tell(spec, said), spec) == said
    words = Resource("/a", words={"on": 1, "off": 0})
    assert tell(words, 1.0) == (0, b"on")


@given(st.sampled_from(sorted(CONTENT_FORMATS.values())), st.binary(max_size=64))
def test_nothing_but_malformed_comes_out(form: int, payload: bytes) -> None:
    try:
        readings = parse(form, payload)(Resource("/3303/0/5700", type="float"))
    except Malformed:
        return
    assert readings
    assert all(not math.isinf(reading.value) for reading in readings)


def test_link_format() -> None:
    text = '</3303/0>;rt="a;b,c";ct=0,\n</s>;obs;title="say \\"x\\"",</.well-known/core>;ct="40"'
    assert linkformat.links(text) == {
        "/3303/0": {"rt": "a;b,c", "ct": "0"},
        "/s": {"obs": "", "title": 'say \\"x\\"'},
        "/.well-known/core": {"ct": "40"},
    }
    assert linkformat.links("<a>,<b") == {"a": {}}
    assert len(linkformat.links(",".join(f"</{n}>" for n in range(2000)))) == linkformat.MOST


def test_order_of_notifications() -> None:
    """RFC 7641, section 3.4, around the end of 24 bits and after 128 s."""
    order, second = Order(), 10**9
    assert order.is_newer(0xFFFFFE, 0)
    assert not order.is_newer(0xFFFFFE, 1 * second)
    assert not order.is_newer(0xFFFFFD, 1 * second)
    assert order.is_newer(2, 2 * second)
    assert not order.is_newer(0xFFFFFF, 3 * second)
    assert not order.is_newer(1, 129 * second)
    assert order.is_newer(1, 131 * second)
    numbered = Order(numbered=True)
    assert numbered.is_newer(1 << 30, 0)
    assert not numbered.is_newer(5, 200 * second)


def test_allowance_is_a_rate_with_a_burst() -> None:
    allowance = Allowance(10.0)
    assert sum(allowance.take(10**9) for _ in range(100)) == 20
    assert sum(allowance.take(2 * 10**9) for _ in range(100)) == 10
