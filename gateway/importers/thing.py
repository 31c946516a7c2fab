"""A W3C Thing Description (JSON) with Modbus or CoAP forms in, devices out: one a host and unit.

Terms `modv:*` (the binding's) and `modbus:*` (of older node-wot, whose addresses are the wire's). Addresses of `modv:*`
count from 1 unless `zeroBasedAddressing` is true, as the binding says; an address 0 shows that its writer thought
otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gateway.importers import reasons
from gateway.importers.modbus import add_text, keys, swapped
from gateway.importers.model import Found, FoundDevice, Imported, number, table, tables, text, unit_of, whole
from gateway.site.faults import Both

ENTITIES = {"coil": 1, "discreteinput": 2, "holdingregister": 3, "inputregister": 4}
FUNCTIONS = {
    "readcoil": 1, "readcoils": 1, "writesinglecoil": 1, "writemultiplecoils": 1, "writecoil": 1,
    "readdiscreteinput": 2,
    "readdiscreteinputs": 2, "readholdingregisters": 3, "readholdingregister": 3, "writesingleholdingregister": 3,
    "writemultipleholdingregisters": 3, "writesingleregister": 3, "writemultipleregisters": 3, "readinputregister": 4,
    "readinputregisters": 4,
    "1": 1, "2": 2, "3": 3, "4": 4, "5": 1, "6": 3, "15": 1, "16": 3,
}  # fmt: skip
XSD = {
    "float": "float32", "double": "float64", "short": "int16", "unsignedshort": "uint16", "int": "int32",
    "unsignedint": "uint32", "long": "int64", "unsignedlong": "uint64", "byte": "int8", "unsignedbyte": "uint8",
    "boolean": "bool", "string": "string",
}  # fmt: skip
INTEGERS = {1: "16", 2: "32", 4: "64"}
FLOATS = {1: "float16", 2: "float32", 4: "float64"}
SEQUENCES = {
    "BIG_ENDIAN": "ABCD", "LITTLE_ENDIAN": "DCBA", "BIG_ENDIAN_BYTE_SWAP": "BADC", "LITTLE_ENDIAN_BYTE_SWAP": "CDAB",
}  # fmt: skip
PREFIX = {3: 40001, 4: 30001, 2: 10001}
FORMATS = {
    "application/json": "json", "text/plain": "text", "application/cbor": "cbor",
    "application/senml+json": "senml+json",
    "application/senml+cbor": "senml+cbor", "application/vnd.oma.lwm2m+tlv": "lwm2m+tlv",
    "application/vnd.oma.lwm2m+json": "lwm2m+json",
}  # fmt: skip
SCHEMES = {"modbus": "tcp", "modbus+tcp": "tcp", "modbus+rtu": "serial", "coap": "coap", "coaps": "coap"}
SCALES = ("multiplier", "scaling")  # terms of the OPC UA edge translators: value = raw * term
USED = {
    "function", "entity", "unitid", "address", "quantity", "pollingtime", "mostsignificantbyte", "mostsignificantword",
    "zerobasedaddressing", "type", "timeout", "range", "offset", "length",
    "pollinginterval", *SCALES,
}  # fmt: skip


@dataclass(slots=True)
class _Way:
    """One form, taken apart."""

    scheme: str
    host: str
    path: str
    query: dict[str, str]
    form: dict[str, Any]
    terms: dict[str, Any]  # modv: and modbus: terms without their prefix, in lower case
    is_old: bool = False  # modbus: terms
    ops: set[str] = field(default_factory=set)


def thing(data: Any) -> Imported:
    """The devices of one Thing Description, or of a list of them."""
    found = Imported("W3C Thing Description")
    every = data if isinstance(data, list) else [data]
    for at, one in enumerate(every):
        if isinstance(one, dict):
            _thing(found, f"[{at}]." if len(every) > 1 else "", table(one))
    return found


def _thing(found: Imported, base: str, said: dict[str, Any]) -> None:
    properties = table(said.get("properties"))
    ways = {name: list(_ways(said, table(one))) for name, one in properties.items()}
    zero = _counts_from_zero(ways)
    devices: dict[tuple[str, ...], FoundDevice] = {}
    for name, one in properties.items():
        where = f"{base}properties.{name}"
        usable = [way for way in ways[name] if way.scheme in SCHEMES]
        if not usable:
            seen = ", ".join(sorted({way.scheme for way in ways[name]} - {""})) or "no form"
            found.leave(where, seen, reasons.NO_FORM)
            continue
        reading = [
            way for way in usable if not way.ops or way.ops & {"readproperty", "observeproperty", "readallproperties"}
        ]
        way = (reading or usable)[0]
        device = _device(found, where, said, way, devices)
        if not reading:
            found.leave(where, ", ".join(sorted(way.ops)), reasons.ONLY_WRITTEN)
        writes = any("writeproperty" in way.ops for way in usable) and table(one).get("readOnly") is not True
        if SCHEMES[way.scheme] == "coap":
            _coap(found, device, where, name, table(one), way, writes=writes)
        else:
            _modbus(found, device, where, name, table(one), way, zero=zero, writes=writes)
    for kind in ("actions", "events"):
        for name in table(said.get(kind)):
            found.leave(f"{base}{kind}.{name}", name, reasons.NO_ACTION)
    found.devices += [one for one in devices.values() if one.points]


def _counts_from_zero(ways: dict[str, list[_Way]]) -> bool:
    return any(_plain_address(way) == 0 for every in ways.values() for way in every if way.scheme.startswith("modbus"))


def _ways(said: dict[str, Any], one: dict[str, Any]) -> Iterator[_Way]:
    # TD 2.0 keeps what its forms share beside them
    shared = table(said.get("connection")) | table(said.get("form")) | table(said.get("formDefaults"))
    base = text(said.get("base") or shared.pop("base", ""))
    for form in (shared | own for own in tables(one.get("forms"))):
        href = _joined(base, text(form.get("href")))
        try:
            parts = urlsplit(href)
        except ValueError:  # brackets that are no IPv6 address, placeholders of a Thing Model
            continue
        prefixed = [(key.partition(":"), value) for key, value in form.items()]
        terms = {name.lower(): value for (prefix, _, name), value in prefixed if prefix in ("modv", "modbus")}
        is_old = any(prefix == "modbus" for (prefix, _, _), _ in prefixed)
        op = form.get("op")
        ops = {text(word) for word in (op if isinstance(op, list) else [op]) if text(word)}
        yield _Way(parts.scheme, parts.netloc, parts.path, dict(parse_qsl(parts.query)), form, terms, is_old, ops)


def _joined(base: str, href: str) -> str:
    """`href` below `base`; urljoin leaves schemes alone that it does not know."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", href) or not base:
        return href
    if href.startswith("/"):
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*://[^/]*)", base)
        return (match[1] if match else "") + href
    if href.startswith("?"):
        return base.partition("?")[0] + href
    return base.rstrip("/") + ("/" + href if href else "")


def _device(
    found: Imported, where: str, said: dict[str, Any], way: _Way, devices: dict[tuple[str, ...], FoundDevice]
) -> FoundDevice:
    protocol = "coap" if SCHEMES[way.scheme] == "coap" else "modbus"
    unit = _unit(way) if protocol == "modbus" else 0
    key = (way.scheme, way.host, str(unit))
    if key in devices:
        return devices[key]
    title = text(said.get("title")) or text(table(said.get("titles")).get("en")) or text(said.get("id")) or "thing"
    maker = text(table(said.get("schema:manufacturer")).get("name")) or text(said.get("manufacturer")) or "thing"
    device = FoundDevice(maker, title, title, protocol, where, unit=unit, period_s=10.0)
    kind = SCHEMES[way.scheme]
    if way.scheme == "coaps":
        found.leave(where, "coaps", reasons.SECURED)
    if kind == "serial":
        device.url = f"serial:{way.path.partition('?')[0]}" if not way.host else ""
        found.leave(where, way.scheme, reasons.NO_BAUD)
    elif way.host and not re.search(r"[{}\s]", way.host):
        device.url = f"{kind}://{way.host}" + ("" if re.search(r":\d+$", way.host) or kind == "coap" else ":502")
    if text(said.get("description")):
        device.caveats.append(" ".join(text(said.get("description")).split()))
    devices[key] = device
    return device


def _path_numbers(way: _Way) -> list[int | None]:
    return [whole(part) for part in way.path.strip("/").split("/") if part]


def _unit(way: _Way) -> int:
    numbers = _path_numbers(way)
    said = whole(way.terms.get("unitid", way.query.get("unitID")))
    unit = numbers[0] if numbers and numbers[0] is not None else said
    return unit if unit is not None and 0 <= unit <= 255 else 1


def _plain_address(way: _Way) -> int | None:
    """The address as it is written, in the path, the query or a term."""
    numbers = _path_numbers(way)
    span = way.terms.get("range")
    for said in (
        numbers[1] if len(numbers) > 1 else None,
        way.query.get("address", way.query.get("offset")),
        way.terms.get("address", way.terms.get("offset")),
        span[0] if isinstance(span, list) and span else None,
    ):
        if whole(said) is not None:
            return whole(said)
    return None


def _modbus(
    found: Imported,
    device: FoundDevice,
    where: str,
    name: str,
    one: dict[str, Any],
    way: _Way,
    *,
    zero: bool,
    writes: bool,
) -> None:
    function = _function(way)
    if function is None:
        found.leave(where, f"{way.terms.get('function', way.terms.get('entity'))}", reasons.NO_TABLE)
        return
    address, why = _wire_address(way, function, zero)
    if address is None or not 0 <= address <= 0xFFFF:
        found.leave(where, f"address {_plain_address(way)}", reasons.NO_ADDRESS)
        return
    if why is not None:
        found.leave(where, f"address {_plain_address(way)}", why)
    span = way.terms.get("range")
    in_range = whole(span[1]) if isinstance(span, list) and len(span) > 1 else None
    parameters = _parameters(text(way.form.get("contentType")))
    said = (
        way.query.get("quantity", way.query.get("length")),
        way.terms.get("quantity", way.terms.get("length")),
        in_range,
    )
    length = whole(parameters.get("length"))
    quantity = next((whole(n) for n in said if whole(n)), None) or max(1, (length or 2) // 2)
    kind = _kind(one, way, parameters, quantity)
    order = SEQUENCES.get(text(parameters.get("byteSeq")).upper()) or swapped(
        byte=way.terms.get("mostsignificantbyte") is False, word=way.terms.get("mostsignificantword") is False
    )
    for key in way.terms.keys() - USED:
        found.leave(where, f"{key}: {way.terms[key]}", reasons.THEIRS)
    if kind == "string":
        add_text(found, device, name, where, function, address, quantity, order)
        return
    if (function > 2 and not kind) or (function < 3 and quantity > 1):
        found.leave(where, f"{one.get('type')} in {quantity}", reasons.NO_TYPE if function > 2 else reasons.MANY_VALUES)
        return
    if kind == "float16" and not text(way.terms.get("type")):
        found.leave(where, f"{one.get('type')} in 1 register", reasons.NO_FLOAT)
        kind = "int16"
    point = keys(function, address, "uint16" if kind == "bool" else kind, order)
    if kind == "bool":
        point["kind"] = "state"
    point |= _meaning(found, where, one, is_bit=function < 3)
    scale = next((number(way.terms[term]) for term in SCALES if term in way.terms), 1)
    if scale not in (None, 0, 1) and function > 2 and kind != "bool":
        point["scale"] = scale
    polled = number(way.terms.get("pollingtime", way.terms.get("pollinginterval")))
    if polled and polled > 0:
        point["period_s"] = polled / 1000
    if writes and function in (1, 3):
        point |= _writable(found, where, name, point, is_bool=kind == "bool" or function == 1)
    device.points.append(Found(name, where, point, comment=_words(one)))


def _function(way: _Way) -> int | None:
    entity = text(way.terms.get("entity")).lower()
    return ENTITIES.get(entity) or FUNCTIONS.get(text(way.terms.get("function")).rsplit(":", 1)[-1].lower())


def _wire_address(way: _Way, function: int, zero: bool) -> tuple[int | None, Both | None]:
    said = _plain_address(way)
    based = way.terms.get("zerobasedaddressing")
    prefix = PREFIX.get(function)
    if said is None:
        return None, None
    if prefix and prefix <= said < prefix + 9999 and based is not True:
        return said - prefix, reasons.BASE_PREFIX
    if based is True or (way.is_old and based is not False):
        return said, None
    if zero:
        return said, reasons.BASE_ZERO
    return said - 1, reasons.BASE_ONE


def _parameters(content: str) -> dict[str, str]:
    return {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in content.split(";")[1:])}


def _kind(one: dict[str, Any], way: _Way, parameters: dict[str, str], quantity: int) -> str:
    """The type in registers; "" where there is none."""
    said = text(way.terms.get("type")).rsplit(":", 1)[-1].lower()
    if said in XSD:
        return XSD[said]
    schema = text(one.get("type"))
    if schema == "boolean":
        return "bool"
    if schema == "string":
        return "string"
    if schema == "number" and said not in ("integer", "decimal"):
        return FLOATS.get(quantity, "")
    if schema in ("integer", "") or said in ("integer", "decimal"):
        low = number(one.get("minimum"))
        unsigned = parameters.get("signed", "").lower() == "false" or (low is not None and low >= 0)
        return ("uint" if unsigned else "int") + INTEGERS[quantity] if quantity in INTEGERS else ""
    return ""


def _meaning(found: Imported, where: str, one: dict[str, Any], *, is_bit: bool) -> dict[str, Any]:
    keys_: dict[str, Any] = {}
    unit = unit_of(one.get("unit"))
    if unit:
        keys_["unit"] = unit
    elif unit is None:
        found.leave(where, f"unit {one['unit']}", reasons.NO_UNIT)
    low, high = number(one.get("minimum")), number(one.get("maximum"))
    if low is not None and high is not None and low < high and not is_bit:
        keys_["range"] = [low, high]
    words = {text(row.get("title")): whole(row.get("const")) for row in tables(one.get("oneOf"))}
    if words and "" not in words and None not in words.values():
        keys_["enum"] = words
    return keys_


def _writable(found: Imported, where: str, name: str, point: dict[str, Any], *, is_bool: bool) -> dict[str, Any]:
    if is_bool:
        return {"writable": [0, 1]}
    if "range" in point:
        return {"writable": point["range"]}
    found.leave(where, name, reasons.NO_LIMITS)
    return {}


def _words(one: dict[str, Any]) -> str:
    return " ".join((text(one.get("title")) or text(one.get("description"))).split())


def _coap(
    found: Imported, device: FoundDevice, where: str, name: str, one: dict[str, Any], way: _Way, *, writes: bool
) -> None:
    """The values of one resource: one, or those of a JSON object."""
    query = text(way.form.get("href")).partition("?")[2]
    path = "/" + way.path.lstrip("/") + (f"?{query}" if query else "")
    path = re.sub(r"\{[?&][^}]*\}", "", path)
    content = (text(way.form.get("contentType")) or "application/json").partition(";")[0].strip().lower()
    kind = FORMATS.get(content)
    if kind is None or "{" in path:
        found.leave(where, f"{content} {path}", reasons.NO_FORM)
        return
    if "observeproperty" in way.ops or text(way.form.get("subprotocol")) == "cov:observe":
        device.options["mode"] = "observe"
    for label, at, schema in _leaves(name, "", one):
        here = f"{where}.{at}" if at else where
        shape = text(schema.get("type"))
        if shape in ("array", "object", "null"):
            found.leave(here, shape, reasons.NO_SHAPE)
            continue
        if shape == "string" and "enum" not in schema:
            found.leave(here, shape, reasons.NOT_A_NUMBER)
            continue
        point: dict[str, Any] = {"path": path, "format": kind}
        if at:
            point["at"] = at
        words = schema.get("enum")
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            point["words"] = {word: n for n, word in enumerate(words)}
            point["kind"] = "state"
        if shape == "boolean":
            point["kind"] = "state"
        point |= _meaning(found, here, schema, is_bit=shape == "boolean")
        if writes and not at and kind in ("text", "json", "cbor"):
            point |= _writable(found, here, label, point, is_bool=shape == "boolean")
        device.points.append(Found(label, here, point, comment=_words(schema)))


def _leaves(name: str, at: str, one: dict[str, Any], depth: int = 0) -> Iterator[tuple[str, str, dict[str, Any]]]:
    inner = table(one.get("properties"))
    if text(one.get("type")) != "object" or not inner or depth > 4:
        yield name, at, one
        return
    for key, below in inner.items():
        yield from _leaves(f"{name} {key}", f"{at}.{key}" if at else key, table(below), depth + 1)
