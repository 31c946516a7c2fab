"""What goes wrong between bleak, BlueZ and the adapter, as `LinkDown` with a code and what to do."""

from __future__ import annotations

from protocols.api import LinkDown

HINTS = {
    "CG-3050": (
        "check that bluetoothd runs (systemctl status bluetooth) and that the D-Bus system bus can be reached",
        "bluetoothd 실행 상태(systemctl status bluetooth)와 D-Bus 시스템 버스를 확인하십시오",
    ),
    "CG-3051": (
        "check the adapter: bluetoothctl list names them; unplug and replug a USB adapter, see rfkill list",
        "bluetoothctl list와 rfkill list로 어댑터를 확인하고 USB 어댑터는 다시 꽂으십시오",
    ),
    "CG-3052": (
        "another program keeps the adapter busy: systemctl restart bluetooth frees it; it is retried by itself",
        "다른 프로그램이 어댑터를 쓰고 있습니다. systemctl restart bluetooth로 풀 수 있으며 자동으로 다시 시도합니다",
    ),
    "CG-3053": (
        "the adapter hears no device at all: check its antenna and driver (dmesg); it is restarted by itself",
        "안테나와 드라이버(dmesg)를 확인하십시오. 자동으로 다시 시작합니다",
    ),
}


def link_down(code: str, what: str) -> LinkDown:
    return LinkDown(what, code=code, hint=" / ".join(HINTS[code]))


def told(adapter: str, why: BaseException) -> LinkDown:
    """The link's end for an exception of bleak, D-Bus or the system."""
    words = str(why) or type(why).__name__
    if "InProgress" in words:
        return link_down("CG-3052", f"{adapter}: busy ({words})")
    if "not found" in words or "NotReady" in words or "No Bluetooth adapters" in words or "UnknownObject" in words:
        return link_down("CG-3051", f"{adapter}: no such adapter, or it is off ({words})")
    return link_down("CG-3050", f"{adapter}: BlueZ does not answer ({words})")
