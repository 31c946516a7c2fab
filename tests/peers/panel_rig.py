"""A cabinet for the panel's tests: Modbus slaves whose registers the test turns, a field half, an uplink, a center,
the panel, and Chromium in front of it. All on loopback, all ended by their own id.
"""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import FieldHalf, Process, center, citygate

from tests.ports import free_port

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
PLACE = '{ en = "Manhole 12 <b onclick=alert(1)>east</b>", ko = "맨홀 12 <img src=x onerror=alert(1)>" }'

HEAD = """
schema = 1
[gateway]
id = "cab-7"
name = {{ en = "Sejong-ro 7", ko = "세종로 7" }}
[services.water]
leak_hold_s = 0.0
[agent]
commands = ["*.*"]
[[links]]
name = "rope-line"
url = "tcp://127.0.0.1:{rope}"
[[links]]
name = "meters"
url = "tcp://127.0.0.1:{meters}"
[[devices]]
name = "rope"
profile = "water/rle-ld5000"
link = "rope-line"
unit = 3
period_s = 0.2
place = {place}
"""
METER = """
[[devices]]
name = "meter{unit}"
profile = "water/tuf-2000m"
link = "meters"
unit = {unit}
period_s = 1.0
points.volume_positive = {{ period_s = 1.0 }}
points.volume_net = {{ period_s = 1.0 }}
"""
CENTER = """
[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:{port}"
credentials = "own"
"""


class Slave(socketserver.ThreadingTCPServer):
    """Modbus TCP: any read of any unit in `units` answered from `words` (address -> register), 0 elsewhere."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, units: range, words: Mapping[int, int] | None = None) -> None:
        self.units, self.words = units, dict(words or {})
        super().__init__(("127.0.0.1", 0), _Talk)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Talk(socketserver.BaseRequestHandler):
    server: Slave

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while len(head := self._take(7)) == 7:
            transaction, _, length, unit = struct.unpack(">HHHB", head)
            pdu = self._take(length - 1)
            if unit not in self.server.units:
                continue
            if pdu[0] in (3, 4) and len(pdu) == 5:
                start, count = struct.unpack(">HH", pdu[1:])
                words = [self.server.words.get(at, 0) & 0xFFFF for at in range(start, start + count)]
                answer = bytes((pdu[0], 2 * count)) + struct.pack(f">{count}H", *words)
            else:
                answer = bytes((pdu[0] | 0x80, 1))
            self.request.sendall(struct.pack(">HHHB", transaction, 0, len(answer) + 1, unit) + answer)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self.request.recv(size - len(data))
            except OSError:
                return b""
            if not more:
                return b""
            data += more
        return data


def flow_words(flow: float) -> dict[int, int]:
    """Registers of a TUF-2000M: REAL4 with the low word first, flow at 0, quality at 91."""
    high, low = struct.unpack(">HH", struct.pack(">f", flow))
    return {0: low, 1: high, 91: 80}


@dataclass
class Cabinet:
    """A running one. `url` is the panel's."""

    folder: Path
    site: Path
    url: str
    rope: Slave
    meters: Slave
    center_port: int
    processes: dict[str, Process] = field(default_factory=dict)

    def invite(self, role: str = "operate") -> str:
        """The link of a fresh invitation."""
        command = [
            sys.executable,
            "-m",
            "gateway.cli",
            "panel",
            "invite",
            str(self.site),
            "--role",
            role,
            "--who",
            "Kim",
        ]
        said = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True).stdout
        return str(json.loads(said)["url"]).replace("//localhost:", "//127.0.0.1:")

    def start_field(self) -> FieldHalf:
        half = FieldHalf(self.site)
        self.processes["field"] = half
        half.until("every line is open", half.links_up)
        half.until_said("every reading is judged")
        return half

    def start_center(self) -> Process:
        log = self.folder / "center.log"
        log.unlink(missing_ok=True)
        keys = ["--db", self.folder / "center.db", "--credentials", self.folder / "intake"]
        self.processes["center"] = center(log, self.center_port, *keys)
        return self.processes["center"]

    def rss_mb(self, name: str = "panel") -> float:
        status = Path(f"/proc/{self.processes[name]._child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_s(self, name: str) -> float:
        fields = Path(f"/proc/{self.processes[name]._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def cabinet(folder: Path, *, meters: int = 2, with_center: bool = True) -> Iterator[Cabinet]:
    """`meters` devices of six points on one line, a leak rope on another."""
    rope, slave = Slave(range(3, 4), {1: 40}), Slave(range(1, meters + 1), flow_words(23.4))
    port, center_port = free_port(), free_port()
    lines = [HEAD.format(rope=rope.port, meters=slave.port, place=PLACE)]
    lines += [METER.format(unit=unit) for unit in range(1, meters + 1)]
    if with_center:
        lines.append(CENTER.format(port=center_port))
    site = folder / "site.toml"
    site.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with ExitStack() as stack:
        stack.callback(rope.end)
        stack.callback(slave.end)
        made = Cabinet(folder, site, f"https://127.0.0.1:{port}", rope, slave, center_port)
        stack.callback(lambda: [process.kill() for process in made.processes.values()])
        if with_center:
            keys = ["--gateway", "cab-7", "--out-gateway", str(folder / "own"), "--out-center", str(folder / "intake")]
            subprocess.run(
                [sys.executable, "-m", "gateway.cli", "credentials", "new", *keys], check=True, capture_output=True
            )
            made.start_center()
        made.start_field()
        if with_center:
            made.processes["uplink"] = citygate(folder / "uplink.log", "uplink", site)
        panel = citygate(folder / "panel.log", "panel", "serve", site, "--bind", f"127.0.0.1:{port}")
        made.processes["panel"] = panel
        panel.until_said("the field half answers")
        yield made


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright's, in Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
