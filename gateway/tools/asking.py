"""What the tools of a center ask of gateways, through the center's control socket. Blocking; no CoAP, no keys.

asking.ask("cab-7", "health").body()                     GET
asking.ask("cab-7", "commands", method=coap.POST, body={"point": "lamp1.level", "value": 40})
for answer in asking.observe("cab-7", "live"): ...
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2

from gateway.spool.trouble import Trouble
from gateway.wire import coap

CBOR = 60
NAME = "center.sock"
VARIABLE = "CITYGATE_CONTROL"
WITHIN_S = 15.0
SLACK_S = 10.0  # the center looks after the time; this is for a center that hangs
PLACES = ("center.sock", "/run/citygate-center/center.sock", "/var/lib/citygate-center/center.sock")
LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` as gateway.wire.coap has it: 69 is 2.05."""

    status: int
    content_format: int | None
    payload: bytes

    @property
    def good(self) -> bool:
        return self.status >> 5 == 2

    @property
    def dotted(self) -> str:
        return f"{self.status >> 5}.{self.status & 31:02}"

    def body(self) -> Any:
        """The payload as CBOR, None where there is none. Raises Trouble CG-6108."""
        if not self.payload:
            return None
        try:
            return cbor2.loads(self.payload)
        except Exception as bad:  # cbor2 lets errors of the types it builds through
            raise Trouble("CG-6108", f"the answer is no CBOR: {bad}", f"응답이 CBOR 형식이 아닙니다: {bad}") from bad

    def refusal(self) -> Trouble | None:
        """Why the gateway does not do it, None for an answer that is good."""
        if self.good:
            return None
        said: Any = None
        if self.content_format == CBOR:
            try:
                said = self.body()
            except Trouble:
                said = None
        if isinstance(said, dict) and "error" in said:
            words = str(said["error"])
            return Trouble(str(said.get("code", "CG-6111")), words, str(said.get("error_ko") or words))
        return Trouble(
            "CG-6111",
            f"the gateway refuses ({self.dotted}) {self.payload[:80].decode('utf-8', 'replace')}".strip(),
            f"게이트웨이가 거부했습니다 ({self.dotted})",
        )


def ask(
    gateway: str,
    path: str,
    *,
    method: int = coap.GET,
    query: Mapping[str, str] | None = None,
    body: Any = None,
    content_format: int = CBOR,
    within_s: float = WITHIN_S,
    control: str = "",
) -> Answer:
    """`body`: bytes as they are, anything else as CBOR. Raises Trouble CG-6106 ... CG-6112."""
    asked = _question(gateway, path, method, query, body, content_format, within_s)
    with _connected(control, within_s + SLACK_S) as center:
        return _answer(_asked(center, asked))


def observe(
    gateway: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    within_s: float = WITHIN_S,
    control: str = "",
) -> Generator[Answer]:
    """What it says, and each change, until this is closed; ends where it cannot be observed. Raises Trouble."""
    asked = _question(gateway, path, coap.GET, query, None, CBOR, within_s) | {"observe": True}
    with _connected(control, within_s + SLACK_S) as center:
        _send(center, asked)
        center.settimeout(None)
        while True:
            try:
                told = _receive(center)
            except (EOFError, OSError):
                return
            yield _answer(told)


def gateways(control: str = "") -> list[dict[str, Any]]:
    """Who can be asked. Raises Trouble CG-6112."""
    with _connected(control, WITHIN_S) as center:
        found: list[dict[str, Any]] = _asked(center, {"gateways": True})["gateways"]
        return found


def _question(
    gateway: str,
    path: str,
    method: int,
    query: Mapping[str, str] | None,
    body: Any,
    content_format: int,
    within_s: float,
) -> dict[str, Any]:
    asked: dict[str, Any] = {"ask": gateway, "path": path, "method": method, "within_s": within_s}
    asked |= {"query": dict(query)} if query else {}
    if body is not None:
        asked |= {"body": body if isinstance(body, bytes) else cbor2.dumps(body), "format": content_format}
    return asked


def _answer(told: Any) -> Answer:
    if "error" in told:
        raise Trouble(
            str(told["code"]),
            str(told["error"]),
            str(told["error_ko"]),
            next_en="citygate ask shows who is connected",
            next_ko="citygate ask 로 연결된 게이트웨이를 확인하십시오",
        )
    return Answer(int(told["status"]), told["format"], bytes(told["body"]))


@contextmanager
def _connected(control: str, within_s: float) -> Iterator[socket.socket]:
    """Raises Trouble CG-6112."""
    path = control or os.environ.get(VARIABLE) or next((one for one in PLACES if Path(one).exists()), NAME)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as center:
        center.settimeout(within_s)
        try:
            center.connect(path)
            yield center
        except (OSError, EOFError) as bad:
            raise Trouble(
                "CG-6112",
                f"no center answers at {path} ({getattr(bad, 'strerror', None) or bad or 'it hung up'})",
                f"{path} 에서 응답하는 센터가 없습니다 ({getattr(bad, 'strerror', None) or bad or '연결 끊김'})",
                next_en=f"Run this where citygate center runs, with --control PATH or ${VARIABLE} naming its socket",
                next_ko=f"citygate center 가 실행 중인 곳에서 --control PATH 나 ${VARIABLE} 로 소켓을 지정하십시오",
            ) from bad


def _asked(center: socket.socket, asked: Mapping[str, Any]) -> Any:
    _send(center, asked)
    return _receive(center)


def _send(center: socket.socket, asked: Mapping[str, Any]) -> None:
    data = cbor2.dumps(asked)
    center.sendall(len(data).to_bytes(4, "big") + data)


def _receive(center: socket.socket) -> Any:
    size = int.from_bytes(_exactly(center, 4), "big")
    if size > LARGEST:
        raise OSError("an answer that is too large")
    return cbor2.loads(_exactly(center, size))


def _exactly(center: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = center.recv(min(65_536, size - len(data)))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def said(trouble: Trouble) -> int:
    """Tell it on stderr; the exit code for it: 2 where nobody could be asked, 1 where the gateway refuses."""
    print(trouble, file=sys.stderr)
    return 2 if trouble.code in ("CG-6106", "CG-6107", "CG-6109", "CG-6112") else 1
