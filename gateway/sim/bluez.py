"""A Bluetooth daemon without a radio: `org.bluez` on a bus of its own, as far as a client sees it.

In: adverts, GATT values and troubles to play. Out: what BlueZ tells its clients over D-Bus (org.bluez.Adapter1,
AdvertisementMonitorManager1, Device1, GattService1, GattCharacteristic1 as in BlueZ's doc/*.rst). Never opens an
adapter of this machine.
"""

from __future__ import annotations

from typing import Any

from dbus_fast import Message, MessageType, NameFlag, Variant
from dbus_fast.aio import MessageBus

ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
MONITORS = "org.bluez.AdvertisementMonitorManager1"
SERVICE, CHARACTERISTIC = "org.bluez.GattService1", "org.bluez.GattCharacteristic1"
_OBJECTS, _PROPERTIES = "org.freedesktop.DBus.ObjectManager", "org.freedesktop.DBus.Properties"
_BASE = "0000{:04x}-0000-1000-8000-00805f9b34fb"


class Bluez:
    """One daemon with one adapter. Use `async with`; leaving it is bluetoothd's end.

    `passive`: it has AdvertisementMonitorManager1. `busy`: so many scans are answered InProgress. `deaf`: the radio
    hears nothing though it scans. `vain`: monitors are taken and hear nothing, as over a kernel that has none (bleak's
    issue 1136). `fails`: so many reads end with their connection. `secret`: characteristics nobody may read.
    """

    def __init__(self, address: str, adapter: str = "hci0", passive: bool = True) -> None:
        self._address, self._adapter, self.passive = address, f"/org/bluez/{adapter}", passive
        self.busy = 0
        self.fails = 0
        self.deaf = False
        self.vain = False
        self.secret: set[int] = set()
        self.mute = False
        self.scans = 0
        self.is_discovering = False
        self.monitors: set[str] = set()
        self.connections = 0
        self._objects: dict[str, dict[str, dict[str, Variant]]] = {}
        self._values: dict[str, bytes] = {}
        self._uuids: dict[str, int] = {}
        self._notifying: set[str] = set()
        self._bus: MessageBus | None = None

    async def __aenter__(self) -> Bluez:
        self._bus = await MessageBus(bus_address=self._address).connect()
        self._bus.add_message_handler(self._call)
        self.plug()
        await self._bus.request_name("org.bluez", NameFlag.REPLACE_EXISTING)
        return self

    async def __aexit__(self, *failure: object) -> None:
        assert self._bus is not None
        self._bus.disconnect()
        await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    # ---- what happens to the daemon

    def plug(self) -> None:
        """The adapter is there."""
        interfaces: dict[str, dict[str, Variant]] = {
            ADAPTER: {
                "Address": Variant("s", "00:00:5E:00:53:01"),
                "Powered": Variant("b", True),
                "Discovering": Variant("b", False),
                "Roles": Variant("as", ["central"]),
            }
        }
        if self.passive:
            interfaces[MONITORS] = {"SupportedMonitorTypes": Variant("as", ["or_patterns"])}
        self._add(self._adapter, interfaces)

    def unplug(self) -> None:
        """The adapter is pulled out, and all devices with it."""
        self.is_discovering = False
        self.monitors.clear()
        for path in sorted(self._objects, reverse=True):
            self._remove(path)

    def end_scan(self, silently: bool = False) -> None:
        """Discovery ends though nobody asked for it."""
        self.is_discovering = False
        self.monitors.clear()
        if not silently:
            self._change(self._adapter, ADAPTER, {"Discovering": Variant("b", False)})

    def forget(self, address: str) -> None:
        """A device that has not been heard for long is removed."""
        self._remove(self._path(address))

    @property
    def is_scanning(self) -> bool:
        return self.is_discovering or (bool(self.monitors) and not self.vain)

    def advertise(
        self,
        address: str,
        manufacturer: dict[int, bytes] | None = None,
        service: dict[int, bytes] | None = None,
        rssi: int = -60,
    ) -> bool:
        """One advert in the air: whether a client was told."""
        if not self.is_scanning or self.deaf or self.mute or self._bus is None:
            return False
        changed = {
            "RSSI": Variant("n", rssi),
            "ManufacturerData": Variant("a{qv}", {k: Variant("ay", v) for k, v in (manufacturer or {}).items()}),
            "ServiceData": Variant("a{sv}", {_BASE.format(k): Variant("ay", v) for k, v in (service or {}).items()}),
        }
        path = self._path(address)
        if path in self._objects:
            self._change(path, DEVICE, changed)
        else:
            fixed = {
                "Address": Variant("s", address),
                "AddressType": Variant("s", "random"),
                "Alias": Variant("s", address.replace(":", "-")),
                "Adapter": Variant("o", self._adapter),
                "Paired": Variant("b", False),
                "Trusted": Variant("b", False),
                "Connected": Variant("b", False),
                "ServicesResolved": Variant("b", False),
                "UUIDs": Variant("as", []),
            }
            self._add(path, {DEVICE: fixed | changed})
        return True

    @property
    def is_notified(self) -> bool:
        """A client has asked to be told a characteristic's changes."""
        return bool(self._notifying)

    def offer(self, address: str, values: dict[int, bytes], late: bool = False) -> None:
        """What a device answers once connected: 16-bit characteristic -> value. Told to those who asked for it; `late`:
        and to those who have stopped."""
        base = f"{self._path(address)}/service0001"
        for number, (uuid, value) in enumerate(values.items(), 2):
            path = f"{base}/char{number:04x}"
            self._values[path] = value
            self._uuids[path] = uuid
            if (late or path in self._notifying) and not self.mute:
                self._change(path, CHARACTERISTIC, {"Value": Variant("ay", value)})

    def drop(self, address: str) -> None:
        """The connection breaks."""
        path = self._path(address)
        self._notifying = {one for one in self._notifying if not one.startswith(path)}
        self._change(path, DEVICE, {"Connected": Variant("b", False), "ServicesResolved": Variant("b", False)})

    async def settled(self) -> None:
        """The bus has taken all that was said. dbus-fast ends a connection whose socket is full: whoever says much at
        once waits here every fifty messages or so."""
        assert self._bus is not None
        daemon = "org.freedesktop.DBus"
        await self._bus.call(
            Message(destination=daemon, path="/org/freedesktop/DBus", interface=daemon, member="GetId")
        )

    # ---- objects

    def _path(self, address: str) -> str:
        return f"{self._adapter}/dev_{address.upper().replace(':', '_')}"

    def _send(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus is not None and self._bus.connected:
            self._bus.send(Message.new_signal(path, interface, member, signature, body))

    def _add(self, path: str, interfaces: dict[str, dict[str, Variant]]) -> None:
        self._objects[path] = interfaces
        self._send("/", _OBJECTS, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def _remove(self, path: str) -> None:
        interfaces = self._objects.pop(path, None)
        if interfaces is not None:
            self._send("/", _OBJECTS, "InterfacesRemoved", "oas", [path, list(interfaces)])

    def _change(self, path: str, interface: str, changed: dict[str, Variant]) -> None:
        if path in self._objects:
            self._objects[path][interface].update(changed)
            self._send(path, _PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, changed, []])

    def _gatt(self, address: str) -> None:
        """A connected device shows its service and characteristics."""
        device = self._path(address)
        base = f"{device}/service0001"
        if base not in self._objects:
            service = {
                "UUID": Variant("s", _BASE.format(0x181A)),
                "Device": Variant("o", device),
                "Primary": Variant("b", True),
                "Handle": Variant("q", 1),
            }
            self._add(base, {SERVICE: service})
        for path, uuid in self._uuids.items():
            if path.startswith(f"{base}/") and path not in self._objects:
                characteristic = {
                    "UUID": Variant("s", _BASE.format(uuid)),
                    "Service": Variant("o", base),
                    "Flags": Variant("as", ["read", "notify"]),
                    "Handle": Variant("q", int(path[-4:], 16)),
                    "MTU": Variant("q", 185),
                    "Notifying": Variant("b", False),
                }
                self._add(path, {CHARACTERISTIC: characteristic})

    # ---- calls

    def _call(self, message: Message) -> Message | None:
        if message.message_type != MessageType.METHOD_CALL or message.interface is None:
            return None
        if message.interface.startswith("org.freedesktop.DBus.") and message.member in ("GetManagedObjects", "GetAll"):
            return self._ask(message)
        if not message.interface.startswith("org.bluez."):
            return None
        if message.path not in self._objects or message.interface not in self._objects[message.path]:
            unknown = "UnknownMethod" if message.path in self._objects else "UnknownObject"
            return Message.new_error(message, f"org.freedesktop.DBus.Error.{unknown}", "no such method or object")
        match message.member:
            case "StartDiscovery" | "RegisterMonitor" if self.busy:
                self.busy -= 1
                return Message.new_error(message, "org.bluez.Error.InProgress", "Operation already in progress")
            case "StartDiscovery":
                self.scans += 1
                self.is_discovering = True
                self._change(self._adapter, ADAPTER, {"Discovering": Variant("b", True)})
            case "StopDiscovery":
                self.is_discovering = False
                self._change(self._adapter, ADAPTER, {"Discovering": Variant("b", False)})
            case "RegisterMonitor":
                self.scans += 1
                self.monitors.add(message.body[0])
            case "UnregisterMonitor":
                self.monitors.discard(message.body[0])
            case "Connect" | "Disconnect":
                return self._connect(message)
            case "ReadValue":
                if self.fails:
                    self.fails -= 1
                    self.drop(str(message.path).split("/dev_")[1].partition("/")[0].replace("_", ":"))
                    return Message.new_error(message, "org.bluez.Error.Failed", "Not connected")
                if self._uuids[str(message.path)] in self.secret:
                    return Message.new_error(message, "org.bluez.Error.NotPermitted", "Read not permitted")
                if self.mute:
                    return Message.new_error(message, "org.bluez.Error.Failed", "Operation failed with ATT error: 0x0e")
                return Message.new_method_return(message, "ay", [self._values[message.path]])
            case "StartNotify":
                self._notifying.add(message.path)
            case "StopNotify":
                self._notifying.discard(message.path)
        return Message.new_method_return(message)

    def _ask(self, message: Message) -> Message:
        if message.member == "GetManagedObjects":
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [self._objects])
        found = self._objects.get(message.path or "", {}).get(message.body[0], {})
        return Message.new_method_return(message, "a{sv}", [found])

    def _connect(self, message: Message) -> Message:
        path = str(message.path)
        address = path.rpartition("dev_")[2].replace("_", ":")
        if message.member == "Disconnect":
            self.drop(address)
            return Message.new_method_return(message)
        if self.mute:
            return Message.new_error(message, "org.bluez.Error.Failed", "le-connection-create-socket")
        self.connections += 1
        self._change(path, DEVICE, {"Connected": Variant("b", True)})
        self._gatt(address)
        self._change(path, DEVICE, {"ServicesResolved": Variant("b", True)})
        return Message.new_method_return(message)
