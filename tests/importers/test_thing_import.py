"""W3C Thing Descriptions with Modbus and CoAP forms."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from gateway.importers.model import Imported
from gateway.importers.thing import thing
from gateway.importers.writer import site_text
from gateway.tools.importing import made
from tests.importers.frames import values, whys


def modbus(base: str = "modbus+tcp://10.0.0.2:8502/3/", **properties: Any) -> dict[str, Any]:
    return {
        "@context": ["https://www.w3.org/2022/wot/td/v1.1"],
        "title": "Elevator",
        "base": base,
        "properties": properties,
    }


def form(href: str, **terms: Any) -> dict[str, Any]:
    return {"href": href, "op": ["readproperty"]} | {f"modv:{key}": said for key, said in terms.items()}


def keys(found: Imported) -> dict[str, Any]:
    return {point.name: point.keys for device in found.devices for point in device.points}


def test_the_binding_counts_from_one() -> None:
    number = {"type": "number", "unit": "om2:volt"}
    found = thing(modbus(v=number | {"forms": [form("10?quantity=2", entity="HoldingRegister")]}))
    assert keys(found)["v"] == {"function": 3, "address": 9, "type": "float32", "unit": "V"}
    assert "counted from 1" in whys(found)
    exact = form("10?quantity=2", entity="HoldingRegister", zeroBasedAddressing=True)
    assert keys(thing(modbus(v=number | {"forms": [exact]})))["v"]["address"] == 10
    zero = {"type": "boolean", "forms": [form("0", function="readCoil")]}
    assert (
        keys(thing(modbus(v=number | {"forms": [form("10", entity="HoldingRegister")]}, z=zero)))["v"]["address"] == 10
    )
    prefix = {"type": "integer", "forms": [form("40001?quantity=1", function=3)]}
    assert keys(thing(modbus(f=prefix)))["f"]["address"] == 0


@pytest.mark.parametrize(
    ("terms", "content", "order"),
    [
        ({}, "application/octet-stream", "ABCD"),
        ({"mostSignificantWord": False}, "", "CDAB"),
        ({"mostSignificantByte": False}, "", "BADC"),
        ({"mostSignificantByte": False, "mostSignificantWord": False}, "", "DCBA"),
        ({}, "application/octet-stream;length=4;byteSeq=LITTLE_ENDIAN", "DCBA"),
        ({}, "application/octet-stream; length=4; byteSeq=LITTLE_ENDIAN_BYTE_SWAP", "CDAB"),
        ({}, "application/octet-stream;byteSeq=BIG_ENDIAN_BYTE_SWAP", "BADC"),
    ],
)
def test_orders(tmp_path: Path, terms: dict[str, Any], content: str, order: str) -> None:
    one = form("1?quantity=2", entity="HoldingRegister", zeroBasedAddressing=True, **terms) | {"contentType": content}
    found = thing(modbus(v={"type": "number", "forms": [one]}))
    raw = struct.pack(">f", 3.25)
    place = {"ABCD": (0, 1, 2, 3), "CDAB": (2, 3, 0, 1), "BADC": (1, 0, 3, 2), "DCBA": (3, 2, 1, 0)}[order]
    assert values(found, tmp_path, 3, 1, bytes(raw[at] for at in place)) == {"v": 3.25}


@pytest.mark.parametrize(
    ("schema", "terms", "content", "kind"),
    [
        ({"type": "integer"}, {"type": "xsd:unsignedShort"}, "", "uint16"),
        ({"type": "integer"}, {"quantity": 2}, "application/octet-stream;signed=false", "uint32"),
        ({"type": "integer", "minimum": 0, "maximum": 9}, {}, "", "uint16"),
        ({"type": "integer"}, {"quantity": 4}, "", "int64"),
        ({"type": "number"}, {}, "application/octet-stream;length=8", "float64"),
        ({"type": "number"}, {"type": "xsd:double", "quantity": 4}, "", "float64"),
        ({"type": "number"}, {"type": "xsd:decimal"}, "", "int16"),
        ({"type": "boolean"}, {}, "", "uint16"),
    ],
)
def test_types(schema: dict[str, Any], terms: dict[str, Any], content: str, kind: str) -> None:
    one = form("5", entity="InputRegister", zeroBasedAddressing=True, **terms) | {"contentType": content}
    assert keys(thing(modbus(v=schema | {"forms": [one]})))["v"]["type"] == kind


def test_older_terms_give_the_wire_s_addresses() -> None:
    old = {"href": "modbus://127.0.0.1:60000", "modbus:function": "readInputRegister", "modbus:address": 8,
           "modbus:unitID": 4, "modbus:timeout": 2000, "op": ["readproperty"]}  # fmt: skip
    older = {"href": "modbus+tcp://127.0.0.1:60000/4", "modbus:entity": "Coil", "modbus:range": [3, 1]}
    found = thing(modbus("", a={"type": "integer", "forms": [old]}, b={"type": "boolean", "forms": [older]}))
    assert {name: one["address"] for name, one in keys(found).items()} == {"a": 8, "b": 3}
    assert [device.unit for device in found.devices] == [4, 4]


def test_writing_and_devices() -> None:
    lamp = {"type": "boolean", "forms": [
        form("1", entity="Coil"),
        {"href": "1", "op": "writeproperty", "modv:function": "writeSingleCoil"}]}  # fmt: skip
    level = {"type": "integer", "minimum": 0, "maximum": 100, "forms": [
        form("5", entity="HoldingRegister", pollingTime=500) | {"op": ["readproperty", "writeproperty"]}]}  # fmt: skip
    free = {
        "type": "integer",
        "forms": [form("6", entity="HoldingRegister") | {"op": ["readproperty", "writeproperty"]}],
    }
    found = thing(modbus(lamp=lamp, level=level, free=free))
    assert keys(found)["lamp"]["writable"] == [0, 1]
    assert keys(found)["level"] | {"writable": [0, 100], "period_s": 0.5} == keys(found)["level"]
    assert "writable" not in keys(found)["free"]
    text = site_text(made(found, "td.json", "other"))
    assert 'url = "tcp://10.0.0.2:8502"' in text
    assert "unit = 3" in text


def test_coap_forms_become_resources() -> None:
    air = {"type": "object", "properties": {
        "pm": {"type": "number", "unit": "ug/m3", "minimum": 0, "maximum": 500}, "name": {"type": "string"},
        "deep": {"type": "object", "properties": {"t": {"type": "number", "unit": "°C"}}}},
        "forms": [{"href": "air?x=1", "op": ["readproperty", "observeproperty"],
                   "contentType": "application/cbor"}]}  # fmt: skip
    state = {"type": "string", "enum": ["closed", "open"], "forms": [{"href": "/door", "contentType": "text/plain"}]}
    web = {"type": "number", "forms": [{"href": "https://a/b"}]}
    many = {"type": "array", "forms": [{"href": "/all"}]}
    found = thing(modbus("coap://[2001:db8::1]/node/", air=air, door=state, web=web, many=many))
    (one,) = made(found, "td.json", "air")
    assert keys(found)["air pm"] == {
        "path": "/node/air?x=1",
        "format": "cbor",
        "at": "pm",
        "unit": "ug/m3",
        "range": [0, 500],
    }
    assert keys(found)["air deep t"]["at"] == "deep.t"
    assert keys(found)["door"]["words"] == {"closed": 0, "open": 1}
    assert one.device.options == {"mode": "observe"}
    assert one.device.protocol == "coap"
    said = whys(found)
    assert "properties.web: https: no form" in said
    assert "lists are not taken apart" in said
    assert 'url = "coap://[2001:db8::1]"' in site_text([one])


def test_the_next_version_shares_what_its_forms_have_in_common() -> None:
    td = modbus("", p={"type": "boolean", "forms": [{"href": "1", "modv:entity": "Coil"}]})
    td["formDefaults"] = {"base": "modbus+tcp://192.168.178.32:502/1/", "modv:zeroBasedAddressing": True}
    assert keys(thing(td))["p"] == {"function": 1, "address": 1, "kind": "state"}


def test_actions_models_and_nonsense_are_named() -> None:
    td = modbus("modbus+tcp://{{HOST}}:{{PORT}}/1/", a={"type": "boolean", "forms": [form("1", entity="Coil")]},
                b={"type": "integer", "forms": [form("1", entity="Drum")]}, c={"forms": "none"})  # fmt: skip
    td |= {"actions": {"go": {}}, "events": {"done": {}}}
    found = thing(td)
    assert found.devices[0].url == ""
    said = whys(found)
    assert "actions.go" in said
    assert "events.done" in said
    assert "Drum" in said
    assert "properties.c: no form" in said


def test_scales_of_edge_translators_carry_over() -> None:
    """Terms beyond the binding by which OPC UA's translators scale a register: left behind, every value were wrong."""
    number = {"type": "number", "unit": "V"}
    found = thing(
        modbus(
            v=number | {"forms": [form("22?quantity=1", type="xsd:short", entity="HoldingRegister", multiplier=0.1)]},
            a=number | {"forms": [form("24", type="xsd:unsignedShort", entity="InputRegister", scaling="0.01")]},
        )
    )
    assert (keys(found)["v"]["scale"], keys(found)["a"]["scale"]) == (0.1, 0.01)
    assert "multiplier" not in whys(found)


def test_a_number_in_one_register_is_no_half_float() -> None:
    found = thing(modbus(p={"type": "number", "forms": [form("26", entity="HoldingRegister")]}))
    assert keys(found)["p"]["type"] == "int16"
    assert "hardly a float" in whys(found)
    half = form("26", entity="HoldingRegister", type="xsd:float")
    assert keys(thing(modbus(p={"type": "number", "forms": [half]})))["p"]["type"] == "float32"


def test_the_example_of_node_wot_is_read_as_it_is_meant() -> None:
    """Functions by number, address and count in `modbus:range`, a form for each direction."""

    def two(read: int, write: int, span: list[int]) -> list[dict[str, Any]]:
        return [
            {"href": "modbus://127.0.0.1:60000", "op": [op], "modbus:function": code, "modbus:range": span,
             "modbus:unitID": 7, "contentType": "application/octet-stream;length=2"}
            for op, code in (("writeproperty", write), ("readproperty", read))
        ]  # fmt: skip

    properties = {
        "coil": {"type": "boolean", "forms": two(1, 5, [0, 1])},
        "register": {"type": "integer", "forms": two(3, 6, [8])},
    }
    found = thing({"@context": "https://www.w3.org/2019/wot/td/v1", "title": "T", "properties": properties})
    assert keys(found)["coil"] == {"function": 1, "address": 0, "kind": "state", "writable": [0, 1]}
    assert keys(found)["register"] == {"function": 3, "address": 8, "type": "int16"}
    assert (found.devices[0].unit, found.devices[0].url) == (7, "tcp://127.0.0.1:60000")
