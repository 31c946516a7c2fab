"""`citygate node` as libcoap's client sees it, and whole updates of it: told by libcoap, fetched from a gateway's port,
tried, kept; one that dies and one that is blind are gone back from; the launcher is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from needs import coap_client
from processes import PATIENCE_S, Process, citygate

from gateway.agent.nodes_port import NodesPort
from gateway.tools import node as tool
from gateway.wire import suit
from tests.ports import free_port

pytestmark = pytest.mark.peers
VENDOR = suit.vendor_id("example.com")
KIND = suit.class_id(VENDOR, "air node")


def told(port: int, method: str, path: str, *options: str, wait_s: float = 3.0) -> str:
    program = coap_client()
    assert program is not None
    command = [program, "-B", str(wait_s), "-m", method, *options, f"coap://127.0.0.1:{port}{path}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=False)
    return done.stdout.strip()


class Cache:
    """A gateway's port in a thread: whatever lies in `files`."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, ...], bytes] = {}
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Cache:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        self._loop.run_forever()

    async def _open(self) -> None:
        self._ours = await NodesPort.opened("127.0.0.1", 0, self._read)
        self._ours.known.add("127.0.0.1")
        self.port = self._ours.address[1]

    async def _shut(self) -> None:
        self._ours.close()
        await asyncio.sleep(0)  # the socket is closed one turn later

    def _read(self, path: tuple[str, ...], offset: int, length: int) -> tuple[bytes, int, bytes] | None:
        data = self.files.get(path)
        return None if data is None else (data[offset : offset + length], len(data), b"1")


class Rig:
    """A node with a maker's key, and its gateway."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self.folder, self.cache = folder, cache
        self.key = Ed25519PrivateKey.generate()
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "maker.pem").write_bytes(pem)
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "maker.pub").write_bytes(public)
        self.port = free_port()
        self.file = folder / "node.toml"
        self.file.write_text(f"""
schema = 1
[node]
id = "node-7"
bind = "127.0.0.1:{self.port}"
period_s = 0.2
insecure = true
[firmware]
vendor = "example.com"
class = "air node"
trust = ["maker.pub"]
probation_s = 1
[[sensors]]
name = "air"
object = 3303
unit = "Cel"
source = "file"
path = "air"
""")
        (folder / "air").write_text("21.5")

    def offer(self, image: Path, sequence: int, version: str) -> None:
        manifest = self.folder / f"{sequence}.suit"
        wanted = suit.Manifest(VENDOR, KIND, sequence, b"", 0, "image", version)
        assert tool.sign(str(image), str(self.folder / "maker.pem"), str(manifest), wanted, json=True) == 0
        name = str(sequence)
        self.cache.files |= {("f", name, "m"): manifest.read_bytes(), ("f", name, "image"): image.read_bytes()}
        told(self.port, "put", "/5/0/1", "-e", f"coap://127.0.0.1:{self.cache.port}/f/{name}/m")

    def says(self, path: str, wanted: str) -> Callable[[], bool]:
        return lambda: told(self.port, "get", path, wait_s=1.0) == wanted

    def running(self) -> str:
        return told(self.port, "get", "/3/0/3", wait_s=1.0)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Cache() as cache:
        yield Rig(tmp_path, cache)


def other(image: Path, out: Path, script: str) -> Path:
    """The same image with something before its first line."""
    with zipfile.ZipFile(image) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, script.encode() + data if name == "__main__.py" else data)
    return out


def test_libcoap_reads_observes_and_discovers_it(rig: Rig, tmp_path: Path) -> None:
    with citygate(tmp_path / "node.log", "node", rig.file) as node:
        node.until("it answers", rig.says("/3303/0/5700", "21.5"))
        core = told(rig.port, "get", "/.well-known/core")
        assert "</3303/0/5700>" in core
        assert "obs" in core
        body = tmp_path / "body"
        told(rig.port, "get", "/n", "-o", str(body))
        names = [record[0] for record in cbor2.loads(body.read_bytes())]
        assert {"/3/0/2", "/4/0/0", "/5/0/3", "/3303/0/5700"} <= set(names)
        blocks = tmp_path / "blocks"
        told(rig.port, "get", "/n", "-b", "64", "-o", str(blocks))
        assert [record[0] for record in cbor2.loads(blocks.read_bytes())] == names
        pack = json.loads(told(rig.port, "get", "/3303", "-A", "110"))
        assert pack == [{"n": "/3303/0/5700", "u": "Cel", "v": 21.5}]
        with Process(
            [str(coap_client()), "-m", "get", "-s", "20", "-B", "30", f"coap://127.0.0.1:{rig.port}/3303/0/5700"],
            tmp_path / "observed.log",
        ) as observer:
            observer.until_said("21.5")
            (tmp_path / "air").write_text("22.25")
            observer.until_said("22.25")
        assert node.stop() == 0


def test_updates_that_stay_and_updates_that_do_not(rig: Rig, tmp_path: Path) -> None:
    image = tmp_path / "node.image"
    assert tool.image(str(image), json=True) == 0
    with citygate(tmp_path / "node.log", "node", rig.file) as node:
        node.until("it answers", rig.says("/5/0/3", "0"))
        rig.offer(image, 1, "one")
        node.until("the first one stays", rig.says("/5/0/5", "1"))
        assert rig.running() == "one"
        rig.offer(other(image, tmp_path / "dies", "raise SystemExit(1)\n"), 2, "two")
        node.until("it is given up", rig.says("/5/0/5", "8"))
        assert rig.running() == "one"
        blind = "import os\nos.environ['TZ'] = 'UTC'\nimport gateway.node.sources as s\n"
        blind += "s._file = lambda sensor: lambda now: None\n"
        rig.offer(other(image, tmp_path / "blind", blind), 3, "three")
        node.until("a blind one is given up", lambda: "CG-6211" in node.said and rig.says("/5/0/5", "8")())
        assert rig.running() == "one"
        rig.offer(image, 1, "one")
        node.until("an old one is refused", rig.says("/5/0/5", "6"))
        assert node.stop() == 0
    with citygate(tmp_path / "again.log", "node", rig.file) as node:
        node.until("it runs from its slot", rig.says("/3/0/3", "one"))
        assert "starting a" in node.said


def test_kills_at_any_moment_of_an_update(rig: Rig, tmp_path: Path) -> None:
    """SIGKILL of the launcher; its child ends by itself before another is started on the same folder."""
    image = tmp_path / "node.image"
    assert tool.image(str(image), json=True) == 0
    for number, moment_s in enumerate((0.05, 0.2, 0.5, 1.0, 1.6)):
        with citygate(tmp_path / f"{number}.log", "node", rig.file) as node:
            node.until("it answers", rig.says("/3303/0/5700", "21.5"))
            if told(rig.port, "get", "/5/0/3") == "0" and told(rig.port, "get", "/5/0/5") != "1":
                rig.offer(image, 1, "one")
            time.sleep(moment_s)  # the moment is what is tried
            child = children(node)
        for one in child:
            wait_gone(one)
    with citygate(tmp_path / "last.log", "node", rig.file) as node:
        node.until("it answers", rig.says("/3303/0/5700", "21.5"))
        if told(rig.port, "get", "/5/0/5") not in ("0", "1"):
            rig.offer(image, 1, "one")
        node.until("the update is there", rig.says("/5/0/5", "1"))
        assert rig.running() == "one"


def children(process: Process) -> list[int]:
    text = Path(f"/proc/{process._child.pid}/task/{process._child.pid}/children").read_text()
    return [int(one) for one in text.split()]


def wait_gone(pid: int) -> None:
    """An orphan ends at its next round."""
    give_up = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
            raise AssertionError("an orphan went on")
        time.sleep(0.02)
