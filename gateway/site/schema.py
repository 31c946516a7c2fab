"""The JSON Schema (draft 2020-12) of a profile and of a site file, from the classes that read them: what an editor
completes and marks while one types. Pure.

It says what types and names can say. Lines, captures, reach of encodings and what belongs together only `citygate
check` knows; what this schema refuses, `check` refuses too.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from gateway.site import profile, site
from gateway.site.roles import ROLES
from gateway.site.settings import ServiceSettings
from gateway.site.units import UNITS
from protocols import registry

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def profile_schema() -> Schema:
    """Of device_profiles/<family>/<vendor>-<model>.toml. Keys of points depend on `device.protocol`; a variant, whose
    protocol is its base's, may use those of any."""
    definitions: Schema = {}
    drivers = {name: registry.driver(name) for name in registry.DRIVERS}
    device = _of(profile.DeviceTable, "device", definitions)
    definitions["device"]["properties"]["protocol"] = {"enum": list(drivers)}
    definitions["variant"] = _relaxed(definitions["device"])
    tables = {name: _of(driver.device, f"table_{name}", definitions) for name, driver in drivers.items()}
    points = {name: _point(name, driver.point, definitions) for name, driver in drivers.items()}
    every: Schema = {}
    for name in drivers:
        every |= definitions[f"point_{name}"]["properties"]
    definitions["any_point"] = {
        "type": "object",
        "properties": {key: {} for key in every},
        "required": ["name"],
        "additionalProperties": False,
    }
    rules: list[Schema] = [
        {
            "if": {"properties": {"device": {"properties": {"protocol": {"const": name}}, "required": ["protocol"]}}},
            "then": {"properties": {"points": {"items": points[name]}}},
        }
        for name in drivers
    ]
    return {
        "$schema": DRAFT,
        "title": "citygate device profile",
        "type": "object",
        "properties": {
            "schema": {"const": 1},
            "extends": {"type": "string"},
            "omit": {"type": "array", "items": {"type": "string"}},
            "device": {"type": "object"},
            "link": _of(profile.LinkTable, "link", definitions),
            **tables,
            "points": {"type": "array", "items": {"$ref": "#/$defs/any_point"}},
            "probes": {"type": "array", "items": _of(profile.Probe, "probe", definitions)},
            "captures": {"type": "array", "items": _of(profile.Capture, "capture", definitions)},
        },
        "required": ["schema"],
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"properties": {"device": {"$ref": "#/$defs/variant"}}},
        "else": {"required": ["device", "points"], "properties": {"device": device}, "allOf": rules},
        "$defs": definitions,
    }


def site_schema() -> Schema:
    """Of a site file."""
    definitions: Schema = {}
    tables = {"links": site.LinkTable, "devices": site.DeviceTable, "upstreams": site.UpstreamTable}
    return {
        "$schema": DRAFT,
        "title": "citygate site",
        "type": "object",
        "required": ["schema", "gateway"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": 1},
            "gateway": _of(site.GatewayTable, "gateway", definitions),
            **{key: {"type": "array", "items": _of(model, key, definitions)} for key, model in tables.items()},
            "services": _of(ServiceSettings, "services", definitions),
            "agent": _of(site.AgentTable, "agent", definitions),
        },
        "$defs": definitions,
    }


def _of(model: type, name: str, definitions: Schema) -> Schema:
    """A reference to the schema of `model`, which is put among the definitions with what it refers to."""
    found = TypeAdapter(model).json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    for key, inner in found.pop("$defs", {}).items():
        definitions[f"{name}.{key}"] = inner
    definitions[name] = found
    return {"$ref": f"#/$defs/{name}"}


def _point(driver: str, spec: type, definitions: Schema) -> Schema:
    """A point of that driver: the profile's own keys and the driver's, which go first where both have one. A derived
    point is computed and has none of the driver's."""
    own, theirs = f"point_{driver}", f"point_{driver}.keys"
    _of(profile.PointTable, own, definitions)
    _of(spec, theirs, definitions)
    keys = definitions.pop(theirs)
    point = definitions[own]
    common = set(point["properties"]) - set(keys["properties"])
    point["properties"] |= keys["properties"]
    point["if"] = {"required": ["derived"]}
    point["then"] = {"propertyNames": {"enum": sorted(common - {"writable"})}}
    point["else"] = {"required": keys.get("required", [])}
    _named(point)
    return {"$ref": f"#/$defs/{own}"}


def _named(point: Schema) -> None:
    """Units and roles by name, so that an editor offers them."""
    point["properties"]["unit"] = {"enum": ["", *UNITS], "default": ""}
    point["properties"]["role"] = {"enum": ["", *ROLES], "default": ""}


def _relaxed(table: Schema) -> Schema:
    """A variant says what differs: nothing is required of it."""
    return {key: value for key, value in table.items() if key != "required"}
