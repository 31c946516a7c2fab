"""One Modbus device in all its types: the profile by which the gateway reads it, and what it holds.

The peers (pymodbus_server.py, modbus_server.c) encode the same values by means of their own, not with our codec.
"""

from __future__ import annotations

import struct
from pathlib import Path

UNIT = 17
PERIOD_S = 0.1

# name: function, address, keys, the value after scale
POINTS: dict[str, tuple[int, int, str, float]] = {
    "float_abcd": (3, 0, 'type = "float32"', 36.625),
    "float_cdab": (3, 2, 'type = "float32"\norder = "CDAB"', -607.597),
    "float_badc": (3, 4, 'type = "float32"\norder = "BADC"', 230.2),
    "float_dcba": (3, 6, 'type = "float32"\norder = "DCBA"', 1.5e-3),
    "int32_abcd": (3, 8, 'type = "int32"', -123456789.0),
    "int32_cdab": (3, 10, 'type = "int32"\norder = "CDAB"', 2000000001.0),
    "int64": (3, 12, 'type = "int64"', -9876543210123.0),
    "level": (3, 20, 'type = "uint16"\nscale = 0.1\nwritable = [0, 6000]', 6553.4),
    "temperature": (3, 21, 'type = "int16"\nscale = 0.1', -12.7),
    "bit_0": (3, 22, "bit = 0", 0.0),
    "bit_1": (3, 22, "bit = 1", 1.0),
    "bit_15": (3, 22, "bit = 15", 1.0),
    "pressure": (4, 100, 'type = "float32"', 1013.25),
    "count": (4, 102, 'type = "uint16"', 65535.0),
    "coil_on": (1, 3, "", 1.0),
    "coil_off": (1, 4, "", 0.0),
    "input_off": (2, 10, "", 0.0),
    "input_on": (2, 11, "", 1.0),
}
ABSENT = "absent"  # register 23 holds 0xFFFF, by which the device says that it has no value

_HEAD = f"""schema = 1
[device]
family = "other"
vendor = "peer"
model = "all-types"
name = {{ en = "Device in all types" }}
protocol = "modbus"
source = "tests/peers/register_map.py"
period_s = {PERIOD_S}
silent_s = 1.5
"""
_SITE = """schema = 1
[gateway]
id = "bench"
profiles = ["profiles"]
window_s = 600
[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:9"
insecure = true
[[links]]
name = "bus"
url = "{url}"
{line}
[[devices]]
name = "dev"
profile = "other/peer-all-types"
link = "bus"
unit = {unit}
"""


def expected() -> dict[str, float]:
    """Channel -> value, float32 as a float32 can hold it."""
    return {
        f"dev.{name}": struct.unpack("f", struct.pack("f", value))[0] if "float32" in keys else value
        for name, (_, _, keys, value) in POINTS.items()
    }


def write_site(folder: Path, url: str, line: str = "", unit: int = UNIT) -> Path:
    """A site of one such device at `url`, sent to nobody: what is spooled stays there."""
    points = [
        f'[[points]]\nname = "{name}"\nfunction = {function}\naddress = {address}\n{keys}\n'
        for name, (function, address, keys, _) in POINTS.items()
    ]
    points.append(f'[[points]]\nname = "{ABSENT}"\nfunction = 3\naddress = 23\nnan = [0xFFFF]\n')
    profile = folder / "profiles" / "other" / "peer-all-types.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(_HEAD + "".join(points), encoding="utf-8")
    site = folder / "site.toml"
    site.write_text(_SITE.format(url=url, line=line, unit=unit), encoding="utf-8")
    return site
