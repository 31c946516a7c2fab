"""An advert as the controller's own event, for captures: an LE Advertising Report behind its H4 byte.

In: what BlueZ tells of an advert, its manufacturer and service data. Out: bytes as a Bluetooth monitor shows them.
A callback of BlueZ's has no signal strength and no other AD structures: the first is "not available", the latter lack.
"""

from __future__ import annotations

from collections.abc import Mapping

BASE_UUID = "-0000-1000-8000-00805f9b34fb"
NO_RSSI = 127
MANUFACTURER, SERVICE16, SERVICE128 = 0xFF, 0x16, 0x21  # AD types (Assigned Numbers, 2.3)


def report(address: str, manufacturer: Mapping[int, bytes], service: Mapping[str, bytes]) -> bytes:
    """HCI LE Meta event 0x3E, subevent 0x02 (Core 5.4, Vol 4, Part E, 7.7.65.2). AD structures that do not fit the
    event's 255 bytes are left out."""
    data = b""
    structures = [
        bytes((MANUFACTURER,)) + company.to_bytes(2, "little") + value for company, value in manufacturer.items()
    ]
    structures += [_service(uuid, value) for uuid, value in service.items()]
    for one in structures:
        if len(data) + 1 + len(one) <= 240:
            data += bytes((len(one),)) + one
    mac = bytes.fromhex(address.replace(":", ""))[::-1]
    event = b"\x02\x01\x00\x01" + mac + bytes((len(data),)) + data + bytes((NO_RSSI,))
    return b"\x04\x3e" + bytes((len(event),)) + event


def _service(uuid: str, value: bytes) -> bytes:
    if uuid.startswith("0000") and uuid.endswith(BASE_UUID):
        return bytes((SERVICE16,)) + bytes.fromhex(uuid[4:8])[::-1] + value
    return bytes((SERVICE128,)) + bytes.fromhex(uuid.replace("-", ""))[::-1] + value
