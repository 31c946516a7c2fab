"""Driver names to drivers, imported on first use: a water-only gateway never loads BLE."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from protocols.api import Driver

DRIVERS = {
    "ble": "protocols.ble.driver",
    "coap": "protocols.coap.driver",
    "modbus": "protocols.modbus.driver",
    "serial": "protocols.serial.driver",
}


def driver(name: str) -> Driver[Any]:
    """The driver called `name`. Raises KeyError for a name not in DRIVERS."""
    return import_module(DRIVERS[name]).DRIVER  # type: ignore[no-any-return]
