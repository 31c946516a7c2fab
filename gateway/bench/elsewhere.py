"""Devices that are not on a serial line: Modbus TCP units of a host, CoAP nodes of a network, Bluetooth adverts in the
air. Read-only and bounded in time: each function ends after what it was given.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.field.asking import ask_reader, identity_of
from protocols.api import Link, LinkDown
from protocols.modbus.codec import read_request

TCP_UNITS = (255, 0, *range(1, 17), 32, 97, 100, 247)
TCP_TIMEOUT_S = 0.5
COAP_PORT = 5683
COAP_GROUPS = ("224.0.1.187", "ff02::fd")
COAP_ONE_S = 3.0
COAP_GROUP_S = 6.0  # a node of a group answers within 5 s, when it likes (DEFAULT_LEISURE; RFC 7252, 8.2)
_GET_CORE = b"\xbb.well-known\x04core"  # Uri-Path twice (RFC 7252, 3.1): delta 11 length 11, delta 0 length 4


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


async def scan_coap(url: str, tell: Tell) -> list[Neighbour]:
    """Nodes that answer GET /.well-known/core; `coap://` with no host asks the groups of all CoAP nodes on every
    interface. Raises OSError where nothing can be sent."""
    parts = urlsplit(url)
    hosts = [parts.hostname] if parts.hostname else list(COAP_GROUPS)
    seconds = COAP_ONE_S if parts.hostname else COAP_GROUP_S
    found: dict[str, Neighbour] = {}
    loop = asyncio.get_running_loop()
    token = os.urandom(2)

    class Ears(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
            where = f"coap://[{addr[0]}]:{addr[1]}" if ":" in str(addr[0]) else f"coap://{addr[0]}:{addr[1]}"
            resources = _resources(data, token)
            if resources is not None and where not in found:
                says = ", ".join(resources) or "no resources"
                found[where] = Neighbour(where, says, {"resources": resources})
                tell(found[where])

    sent, failure = 0, OSError("no such host")
    for host in hosts:
        for _, _, _, _, address in await loop.getaddrinfo(host, parts.port or COAP_PORT, type=socket.SOCK_DGRAM):
            for target in _scoped(address):
                try:
                    family = socket.AF_INET6 if len(target) == 4 else socket.AF_INET
                    ears, _ = await loop.create_datagram_endpoint(Ears, family=family)
                    loop.call_later(seconds, ears.close)
                    ears.sendto(struct.pack(">BBH", 0x52, 0x01, os.getpid() & 0xFFFF) + token + _GET_CORE, target)
                    sent += 1
                except OSError as bad:
                    failure = bad
    if not sent:
        raise failure
    begun = loop.time()
    while loop.time() - begun < seconds and not (parts.hostname and found):  # noqa: ASYNC110 bounded, and a person waits
        await asyncio.sleep(0.05)
    return list(found.values())


def _scoped(address: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """A link-local group is asked on every interface."""
    if str(address[0]).startswith("ff02"):
        return [(address[0], address[1], 0, index) for index, name in socket.if_nameindex() if name != "lo"]
    return [address]


def _resources(data: bytes, token: bytes) -> list[str] | None:
    """The paths in an answer to our question; None for anything else."""
    if len(data) < 4 + len(token) or data[0] & 0x0F != len(token) or data[4 : 4 + len(token)] != token:
        return None
    if data[1] >> 5 not in (2, 4, 5):
        return None
    if data[1] != 0x45:
        return []
    body = data.partition(b"\xff")[2].decode("utf-8", "replace")
    return re.findall(r"<([^<>]*)>", body)  # a link that the block cuts off is left out


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
