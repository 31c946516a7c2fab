"""From a person at the center to a node's next start: four processes, `citygate firmware offer --follow` among them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import PATIENCE_S, center, citygate

from gateway.tools import node as tool
from gateway.wire import suit
from gateway.wire.credentials import create
from tests.ports import free_port

pytestmark = pytest.mark.peers

NODE = """
schema = 1
[node]
id = "node-7"
bind = "127.0.0.1:{port}"
period_s = 0.2
credentials = ["keys/field", "keys/agent"]
[firmware]
vendor = "example.com"
class = "air node"
trust = ["../maker.pem.pub"]
probation_s = 1
[[sensors]]
name = "air"
object = 3303
unit = "Cel"
source = "simulated"
"""
SITE = """
schema = 1
[gateway]
id = "cab-7"
[agent]
nodes = "127.0.0.1:{serving}"
[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:{center}"
credentials = "credentials/center"
agent = ["observe", "release"]
[[links]]
name = "lan"
url = "coap://127.0.0.1:{port}"
credentials = "credentials/node"
[[devices]]
name = "air7"
profile = "other/citygate-node"
link = "lan"
"""


def firmware(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli", "firmware", *arguments, "--json"]
    command += ["--control", str(folder / "center.sock")]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_an_update_asked_for_at_the_center(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("port", "serving", "center")}
    maker = str(tmp_path / "maker.pem")
    assert tool.keygen(maker, json=True) == 0
    for place in ("node", "files"):
        (tmp_path / place).mkdir()
    (tmp_path / "node" / "node.toml").write_text(NODE.format(**ports))
    (tmp_path / "site.toml").write_text(SITE.format(**ports))
    create("cab-7", tmp_path / "credentials" / "center", tmp_path / "intake")
    create("field", tmp_path / "credentials" / "node", tmp_path / "node" / "keys")
    create("agent", tmp_path / "credentials" / "node.agent", tmp_path / "node" / "keys")
    image = tmp_path / "files" / "node-2.image"
    assert tool.image(str(image), json=True) == 0
    vendor = suit.vendor_id("example.com")
    wanted = suit.Manifest(vendor, suit.class_id(vendor, "air node"), 2, b"", 0, "", "2.0")
    assert tool.sign(str(image), maker, str(tmp_path / "files" / "node-2.suit"), wanted, json=True) == 0
    stranger = tmp_path / "stranger.pem"
    assert tool.keygen(str(stranger), json=True) == 0
    assert tool.sign(str(image), str(stranger), str(tmp_path / "files" / "forged.suit"), wanted, json=True) == 0
    intake = ("--db", tmp_path / "center.db", "--credentials", tmp_path / "intake")
    files = ("--files", tmp_path / "files", "--control", tmp_path / "center.sock")
    with (
        center(tmp_path / "center.log", ports["center"], *intake, *files),
        citygate(tmp_path / "uplink.log", "uplink", tmp_path / "site.toml") as uplink,
        citygate(tmp_path / "node.log", "node", tmp_path / "node" / "node.toml") as node,
    ):
        node.until_said("ready: serving")
        uplink.until("the center can ask it", lambda: firmware(tmp_path, "updates", "cab-7").returncode == 0)
        forged = firmware(tmp_path, "offer", "cab-7", "air7", "forged.suit", "--follow")
        assert forged.returncode == 1, forged
        assert json.loads(forged.stdout.splitlines()[-1])["result"] == 6
        done = firmware(tmp_path, "offer", "cab-7", "air7", "node-2.suit", "--follow")
        assert done.returncode == 0, done
        said = [json.loads(line)["step"] for line in done.stdout.splitlines()]
        assert said[0] == "fetching"
        assert said[-1] == "done"
        node.until_said("firmware sequence 2 stays")
        none = firmware(tmp_path, "offer", "cab-7", "air7", "none.suit", "--follow")
        assert none.returncode == 1
        assert firmware(tmp_path, "offer", "cab-7", "lamp1", "node-2.suit").returncode == 1
