"""`citygate scan` where there is no line: CoAP nodes asked by name and by the group of all, Bluetooth adverts."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from needs import coap_server
from processes import Process

from gateway.sim.bluez import Bluez
from gateway.sim.private_bus import private_bus
from tests.ports import free_port

pytestmark = pytest.mark.peers
SCAN = [sys.executable, "-m", "gateway.cli", "scan"]
TAG, PHONE = "CB:B8:33:4C:88:4F", "00:00:5E:00:53:77"
RUUVI = bytes.fromhex("0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F")


def scanned(*words: str, lang: str = "C.UTF-8", **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LC_ALL": lang, **environ}
    return subprocess.run([*SCAN, *words], capture_output=True, text=True, check=False, timeout=60, env=env)


def paths(target: dict[str, Any]) -> set[str]:
    return {path for one in target["found"] for path in one["resources"]}


def test_a_node_is_asked_what_it_has(tmp_path: Path) -> None:
    program = coap_server()
    assert program is not None
    port = free_port()
    url = f"coap://127.0.0.1:{port}"
    with Process([program, "-A", "127.0.0.1", "-p", str(port)], tmp_path / "server.log") as node:

        def answers() -> bool:
            return scanned(url, "--json").returncode == 0

        node.until("it answers", answers)
        [target] = json.loads(scanned(url, "--json").stdout)["targets"]
        assert [one["where"] for one in target["found"]] == [url]
        assert paths(target) >= {"/time", "/async"}
        said = scanned(url).stdout
        assert url in said
        assert "/time" in said


def test_nobody_there_is_said_in_both_languages() -> None:
    url = f"coap://127.0.0.1:{free_port()}"
    silent = scanned(url)
    assert silent.returncode == 2
    assert f"{url}: nothing answers" in silent.stdout
    assert "CG-5117" in silent.stdout
    assert any("가" <= letter <= "힣" for letter in silent.stdout)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="a network of its own needs root and ip")
def test_a_node_answers_the_group_of_all_nodes(tmp_path: Path) -> None:
    """On a second network, where no route for groups leads. libcoap waits up to 5 s with an answer to a group."""
    script = f"""
set -e
ip link set lo up
ip link add out type dummy && ip addr add 198.51.100.1/24 dev out && ip link set out up && ip route add default dev out
ip link add near type veth peer name far && ip addr add 192.0.2.1/24 dev near && ip link set near up
unshare --net sleep 80 & cabinet=$!
trap 'kill $cabinet $node 2> /dev/null' EXIT
until [ "$(readlink /proc/$cabinet/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do kill -0 $cabinet; done
ip link set far netns $cabinet
there="nsenter --target $cabinet --net"
$there ip addr add 192.0.2.2/24 dev far && $there ip link set far up && $there ip route add 224.0.0.0/4 dev far
$there {coap_server()} -A 0.0.0.0 -p 5683 -g 224.0.1.187 > {tmp_path}/node.log 2>&1 & node=$!
until {" ".join(SCAN)} coap://192.0.2.2 --json > /dev/null; do kill -0 $node; done
{" ".join(SCAN)} coap:// --json
"""
    done = subprocess.run(["unshare", "--net", "bash", "-c", script], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    [target] = json.loads(done.stdout)["targets"]
    assert [one["where"] for one in target["found"]] == ["coap://192.0.2.2:5683"]
    assert "/time" in paths(target)


async def test_what_is_in_the_air_is_named_with_its_bytes(tmp_path: Path) -> None:
    async with private_bus(tmp_path) as bus, Bluez(bus) as bluez:

        async def play() -> None:
            while True:
                bluez.advertise(TAG, manufacturer={0x0499: RUUVI}, rssi=-51)
                bluez.advertise(PHONE, manufacturer={0x004C: b"\x10\x05"}, rssi=-80)
                await asyncio.sleep(0.05)

        playing = asyncio.create_task(play())
        words = ("ble:hci0", "--seconds", "1")
        done = await asyncio.to_thread(scanned, *words, "--json", DBUS_SYSTEM_BUS_ADDRESS=bus)
        shown = await asyncio.to_thread(scanned, *words, DBUS_SYSTEM_BUS_ADDRESS=bus)
        playing.cancel()
        bluez.unplug()
        gone = await asyncio.to_thread(scanned, *words, DBUS_SYSTEM_BUS_ADDRESS=bus)
    assert done.returncode == 0, done.stdout + done.stderr
    [target] = json.loads(done.stdout)["targets"]
    assert [(one["where"], one["rssi"]) for one in target["found"]] == [(TAG, -51), (PHONE, -80)]
    assert target["found"][0]["manufacturer"] == {"0x0499": RUUVI.hex(" ")}
    assert f"{TAG}  " in shown.stdout
    assert gone.returncode == 2
    assert "CG-3051" in gone.stdout


def test_a_simulated_beacon_is_found_and_read(tmp_path: Path) -> None:
    """The three commands of the documents, one after another."""
    simulate = [sys.executable, "-m", "gateway.cli", "simulate", "air/ruuvi-ruuvitag-df5", "--on", f"ble:{TAG}"]
    with Process([*simulate, "--set", "temperature=24.3", "--json"], tmp_path / "beacon.log") as beacon:
        beacon.until_said("\n")
        try:
            bus = json.loads(beacon.said)["url"]
            done = scanned("ble:hci0", "--seconds", "1.5", "--json", DBUS_SYSTEM_BUS_ADDRESS=bus)
            [target] = json.loads(done.stdout)["targets"]
            assert [one["where"] for one in target["found"]] == [TAG]
            reads = [sys.executable, "-m", "gateway.cli", "read", "--profile", "air/ruuvi-ruuvitag-df5", "--json"]
            env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus}
            words = [*reads, "--link", "ble:hci0", "--address", TAG]
            read = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, env=env)
            values = {one["point"]: one["value"] for one in json.loads(read.stdout)["points"]}
        finally:
            beacon.stop()  # a killed one would leave its D-Bus behind
        assert values["temperature"] == 24.3
