"""What the tests against real peers want of this machine, and whether it is there.

python -m tests.peers.needs      0 where nothing is missing, else 1 and the apt line that helps
"""

from __future__ import annotations

import shutil
import subprocess
import sys

COAP_CLIENTS = ("coap-client-notls", "coap-client", "coap-client-openssl", "coap-client-gnutls")
APT = (
    "apt install nats-server libmodbus-dev libcoap3-bin mbpoll gcc libc6-dev socat dbus-daemon tshark debootstrap "
    "systemd-container chromium fonts-nanum iproute2"
)


def coap_server() -> str | None:
    """libcoap's server, as `coap_client`."""
    names = (name.replace("client", "server") for name in COAP_CLIENTS)
    return next((found for name in names if (found := shutil.which(name))), None)


def coap_client() -> str | None:
    """libcoap's client, under whichever name the package gave it."""
    return next((found for name in COAP_CLIENTS if (found := shutil.which(name))), None)


def compiles(include: str) -> bool:
    """Whether the C compiler finds a header."""
    check = ["gcc", "-fsyntax-only", "-x", "c", "-"]
    try:
        done = subprocess.run(check, input=f"#include <{include}>\n", text=True, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def missing() -> dict[str, str]:
    """Debian package -> what it would bring."""
    lacks = {}
    if shutil.which("gcc") is None:
        lacks["gcc"] = "a C compiler, for the libmodbus peers"
    if not compiles("stdio.h"):
        lacks["libc6-dev"] = "the C library's headers"
    if not compiles("modbus/modbus.h"):
        lacks["libmodbus-dev"] = "libmodbus, a Modbus stack in C"
    if shutil.which("mbpoll") is None:
        lacks["mbpoll"] = "mbpoll, a Modbus reader for the command line"
    if shutil.which("socat") is None:
        lacks["socat"] = "socat, which joins two pseudo terminals"
    if shutil.which("dbus-daemon") is None:
        lacks["dbus-daemon"] = "a D-Bus daemon, for the Bluetooth sensors"
    if shutil.which("tshark") is None:
        lacks["tshark"] = "Wireshark's dissectors, for captures"
    if shutil.which("ip") is None:
        lacks["iproute2"] = "ip, for tests in a network of their own"
    if shutil.which("debootstrap") is None:
        lacks["debootstrap"] = "debootstrap, which makes the Debian that the package is tried on"
    if shutil.which("systemd-nspawn") is None:
        lacks["systemd-container"] = "systemd-nspawn, which boots it"
    if shutil.which("chromium") is None:
        lacks["chromium"] = "Chromium, which looks at the panel"
    if coap_client() is None:
        lacks["libcoap3-bin"] = f"libcoap's client ({COAP_CLIENTS[0]} or another)"
    if shutil.which("nats-server") is None:
        lacks["nats-server"] = "nats-server, for the center's JetStream sink"
    return lacks


def advice() -> str:
    """ "" where all is there."""
    lacks = missing()
    if not lacks:
        return ""
    lines = [f"  {package:14} {what}" for package, what in lacks.items()]
    return "\n".join(["the tests against real peers cannot run, this machine lacks:", *lines, f"as root: {APT}"])


if __name__ == "__main__":
    if text := advice():
        print(text, file=sys.stderr)
        sys.exit(1)
