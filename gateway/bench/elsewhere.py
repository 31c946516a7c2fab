"""Devices that are not on a serial line: Modbus TCP units of a host, Bluetooth adverts in the air. Read-only and
bounded in time: each function ends after what it was given. CoAP nodes are in coap_nodes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.field.asking import ask_reader, identity_of
from protocols.api import Link, LinkDown
from protocols.modbus.codec import read_request

TCP_UNITS = (255, 0, *range(1, 17), 32, 97, 100, 247)
TCP_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What was found: where, what it says of itself, and facts for JSON."""

    where: str
    says: str
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"where": self.where, "says": self.says, **self.facts}


Tell = Callable[[Neighbour], None]


async def scan_host(url: str, units: Sequence[int], tell: Tell, timeout_s: float = TCP_TIMEOUT_S) -> list[Neighbour]:
    """Units of a Modbus TCP host that answer, by one connection. Raises LinkDown where it is not reached."""
    from protocols.modbus.driver import connect

    found: list[Neighbour] = []
    link = Link("scan", url)
    for number in units:
        async with connect(link, ()) as reader:  # a new one each: some hosts hang up on a unit they do not have

            async def ask(unit: int, pdu: bytes, reader: Any = reader) -> Any:
                return await ask_reader(reader, unit, pdu, timeout_s)

            try:
                said = await ask(number, read_request(3, 0, 1))
                if not said.pdu:
                    continue
                names = await identity_of(ask, number)
            except LinkDown:
                continue
        value = f"holding register 0 = {int.from_bytes(said.pdu[2:4], 'big')}"
        says = " ".join(names.values()) or (f"exception {said.exception}" if said.exception else value)
        found.append(Neighbour(url, f"unit {number}: {says}", {"unit": number, "identity": names}))
        tell(found[-1])
    return found


async def scan_air(adapter: str, seconds: float, tell: Tell) -> list[Neighbour]:
    """Adverts heard by an adapter. Raises LinkDown with a technician's code."""
    from bleak import BleakScanner
    from bleak.exc import BleakError

    from protocols.ble.trouble import told

    found: dict[str, Neighbour] = {}
    try:
        heard = await BleakScanner.discover(timeout=seconds, return_adv=True, bluez={"adapter": adapter})
    except (BleakError, OSError, EOFError) as why:
        raise told(adapter, why) from why
    for address, (device, advert) in heard.items():
        makers = {f"{company:#06x}": data.hex(" ") for company, data in advert.manufacturer_data.items()}
        services = {uuid: data.hex(" ") for uuid, data in advert.service_data.items()}
        name = advert.local_name or device.name or "no name"
        facts = {"rssi": advert.rssi, "manufacturer": makers, "service": services}
        found[address] = Neighbour(address, f"{name}, {advert.rssi} dBm", facts)
        tell(found[address])
    return sorted(found.values(), key=lambda one: -int(one.facts["rssi"]))
