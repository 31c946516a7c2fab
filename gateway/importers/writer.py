"""Found devices in, the text of profiles out, and the lines of a site that uses them. Writes no file.

Names are made valid and unique; what a point was called, and where it stood, is kept as a comment beside it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.importers.model import Found, FoundDevice

WIDE = 110
ORDER = (
    "label", "unit", "function", "address", "type", "order", "bit", "mask", "shift", "nan", "path", "format", "at",
    "record", "words", "scale", "offset", "range", "writable", "enum", "period_s", "kind", "role",
)  # fmt: skip


@dataclass(slots=True)
class Written:
    """One profile: `name` is family/vendor-model; `users` the devices that are of this kind."""

    name: str
    users: list[FoundDevice]
    names: list[str]  # of its points, as they are written

    @property
    def device(self) -> FoundDevice:
        return self.users[0]


def profiles(devices: Sequence[FoundDevice], family: str) -> list[Written]:
    """One for each kind of device: those that are alike in everything but their address share one."""
    found: list[Written] = []
    for device in devices:
        same = next((one for one in found if _alike(one.device, device)), None)
        if same is not None:
            same.users.append(device)
            continue
        vendor, model = slug(device.vendor) or "imported", slug(device.model) or "device"
        name = unique(f"{family}/{vendor}-{model}", {one.name for one in found}, "-")
        found.append(Written(name, [device], point_names(device.points)))
    return found


def _alike(one: FoundDevice, other: FoundDevice) -> bool:
    def of(device: FoundDevice) -> tuple[Any, ...]:
        return (
            device.vendor,
            device.model,
            device.protocol,
            device.options,
            device.period_s,
            device.line,
            [(p.name, p.keys) for p in device.points],
        )

    return of(one) == of(other)


def slug(said: str) -> str:
    """Lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", _plain(said)).strip("-")[:40].strip("-")


def _plain(said: str) -> str:
    return unicodedata.normalize("NFKD", said).encode("ascii", "ignore").decode().lower()


def point_names(points: Iterable[Found]) -> list[str]:
    """Valid, each once, as near to their own as it goes; those without a Latin letter are called by their place."""
    names: list[str] = []
    for point in points:
        split = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", point.name)
        name = re.sub(r"[^a-z0-9]+", "_", _plain(split)).strip("_")[:48].strip("_")
        if not re.search("[a-z]", name):
            name = f"value_{name or point.keys.get('address', '')}".rstrip("_")
        names.append(unique(name if name[0].isalpha() else f"p_{name}", set(names), "_"))
    return names


def unique(name: str, taken: set[str], joint: str) -> str:
    """The name, with a number behind it where it is taken."""
    if name not in taken:
        return name
    return next(one for n in range(2, len(taken) + 3) if (one := f"{name}{joint}{n}") not in taken)


def profile_text(one: Written, source: str) -> str:
    """The TOML of a profile. `source`: the file and its format, for `device.source`."""
    device = one.device
    family = one.name.partition("/")[0]
    head = [
        "schema = 1",
        "# Imported: compare it with the device's manual and add a [[captures]] before it is relied on.",
        "",
        "[device]",
        f"family = {value(family)}",
        f"vendor = {value(device.vendor)}",
        f"model = {value(device.model)}",
        f"name = {{ en = {value(device.label)}, ko = {value(device.label)} }}",
        f"protocol = {value(device.protocol)}",
        f"source = {value(f'{source}, {device.where}' if device.where else source)}",
    ]
    if device.caveats:
        head.append(f"caveats = {value(device.caveats)}")
    if device.period_s:
        head.append(f"period_s = {value(device.period_s)}")
    for name, keys in (("link", device.line), (device.protocol, device.options)):
        if keys:
            head += ["", f"[{name}]", *(f"{key} = {value(said)}" for key, said in keys.items())]
    for point, name in zip(device.points, one.names, strict=True):
        head += ["", *_point(point, name)]
    return "\n".join(head) + "\n"


def _point(point: Found, name: str) -> list[str]:
    lines = ["[[points]]", f"name = {value(name)} # {_comment(point.where)}"]
    keys = dict(point.keys)
    if name != point.name:
        keys["label"] = {"en": point.name, "ko": point.name}
    if point.comment:
        lines.insert(1, f"# {_comment(point.comment)}")
    lines += [f"{key} = {value(keys[key])}" for key in ORDER if key in keys]
    return lines


def _comment(said: str) -> str:
    return "".join(c if c.isprintable() else " " for c in said)[:WIDE]


def site_text(written: Sequence[Written]) -> str:
    """`[[links]]` and `[[devices]]` as the other system had them; what it did not say is left to be filled in."""
    lines: list[str] = []
    links: dict[str, str] = {}
    names: set[str] = set()
    for one in written:
        for device in one.users:
            url = device.url or ("coap://HOST" if device.protocol == "coap" else "tcp://HOST:502")
            if url not in links:
                links[url] = f"link{len(links) + 1}"
                lines += [
                    "[[links]]",
                    f"name = {value(links[url])}",
                    f"url = {value(url)}" + ("" if device.url else " # not in the file"),
                ]
                if device.url.startswith(("serial:", "ascii:")):
                    lines += [f"{key} = {value(said)}" for key, said in device.line.items()]
                if device.timeout_s > 0:
                    lines.append(f"timeout_s = {value(device.timeout_s)}")
                lines.append("")
    for one in written:
        for device in one.users:
            url = device.url or ("coap://HOST" if device.protocol == "coap" else "tcp://HOST:502")
            name = unique(slug(device.label) or "device", names, "-")
            names.add(name)
            lines += [
                "[[devices]]",
                f"name = {value(name)}",
                f"profile = {value(one.name)}",
                f"link = {value(links[url])}",
            ]
            if device.protocol == "modbus":
                lines.append(f"unit = {device.unit}")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def value(said: Any) -> str:
    """One value in TOML."""
    if isinstance(said, bool):
        return "true" if said else "false"
    if isinstance(said, dict):
        return "{ " + ", ".join(f"{_key(key)} = {value(one)}" for key, one in said.items()) + " }" if said else "{}"
    if isinstance(said, (list, tuple)):
        return f"[{', '.join(map(value, said))}]"
    if isinstance(said, (int, float)):
        return repr(said)
    # JSON's escapes are TOML's; what JSON leaves as it is and TOML does not take is DEL and half of a surrogate pair
    plain = "".join(c for c in str(said) if not 0xD800 <= ord(c) <= 0xDFFF)
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(said: object) -> str:
    return str(said) if re.fullmatch(r"[A-Za-z0-9_-]+", str(said)) else value(str(said))
