"""Byte streams: a TCP connection or a serial port, opened from a `Link`.

In: bytes from the line, stamped as they arrive (CLOCK_BOOTTIME). Out: those bytes, in order, and LinkDown
with a technician's code when the port or the connection is gone. Never knows a protocol, never reconnects.

Both kinds are one file descriptor read by `loop.add_reader`: 33 us a chunk, 74-87 us through a transport.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import termios
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, NoReturn, Protocol

from protocols.api import Link, LinkDown, Tap

CONNECT_S = 5.0
BUFFER_BYTES = 65_536  # unread input kept; the oldest goes first
_READ_BYTES = 65_536
_USER_TIMEOUT_MS = 10_000  # sent bytes nobody acknowledges for so long: the connection is dead

HINTS = {
    "CG-3001": ("see the message", "메시지를 확인하십시오"),
    "CG-3002": (
        "check the cable and the port's name: ls -l /dev/serial/by-id",
        "케이블과 포트 이름을 확인하십시오: ls -l /dev/serial/by-id",
    ),
    "CG-3003": (
        "add the user to group dialout (usermod -aG dialout USER) or give the port a udev rule",
        "사용자를 dialout 그룹에 추가하거나(usermod -aG dialout USER) udev 규칙을 만드십시오",
    ),
    "CG-3004": (
        "another program holds the port: fuser -v PORT names it",
        "다른 프로그램이 포트를 사용 중입니다: fuser -v PORT 로 확인하십시오",
    ),
    "CG-3005": (
        "nothing listens on this port: check the port number and that the device's server is on",
        "장치는 응답하지만 포트가 닫혀 있습니다: 포트 번호와 장치의 서버 설정을 확인하십시오",
    ),
    "CG-3006": (
        "check the address, the cable and the power of the device: ping HOST",
        "주소, 케이블, 장치 전원을 확인하십시오: ping HOST",
    ),
    "CG-3007": (
        "the device closed the connection or was unplugged: check cable and power; it is retried by itself",
        "연결이 끊겼거나 장치가 분리되었습니다: 케이블과 전원을 확인하십시오. 자동으로 다시 시도합니다",
    ),
    "CG-3008": (
        "set rs485 = false: most USB adapters switch direction by themselves",
        "rs485 = false 로 바꾸십시오: 대부분의 USB 어댑터는 방향을 스스로 전환합니다",
    ),
    "CG-3009": (
        "the port cannot run with these settings: check baud, parity, data_bits and stop_bits",
        "포트가 이 설정을 지원하지 않습니다: baud, parity, data_bits, stop_bits 를 확인하십시오",
    ),
    "CG-3010": (
        "the far end is not Modbus TCP: check the port (rtu+tcp:// for a transparent converter)",
        "상대가 다른 프로토콜을 사용합니다: Modbus TCP 포트인지 확인하십시오(투명 변환기는 rtu+tcp://)",
    ),
    "CG-3040": (
        "CoAP sensors need the kernel's IPv6 sockets, for IPv4 too: boot without ipv6.disable=1 (disable_ipv6 is fine)",
        "CoAP 센서는 IPv4에도 커널의 IPv6 소켓이 필요합니다: 부팅 옵션 ipv6.disable=1 을 빼십시오",
    ),
    "CG-3041": (
        "check `credentials` of the link, owner and mode (0600) of its files, and that no second citygate uses them",
        "링크의 credentials 경로, 파일 소유자와 권한(0600), 다른 citygate 가 쓰고 있지 않은지 확인하십시오",
    ),
    "CG-3042": (
        "give each CoAP node one link: put all its points into one profile, or correct the address",
        "CoAP 노드 하나에 링크 하나만 쓰십시오: 포인트를 한 프로파일에 모으거나 주소를 고치십시오",
    ),
}
"""What a person may do next, by code: English and Korean."""


def link_down(code: str, what: str) -> LinkDown:
    """LinkDown with the code's hint in both languages."""
    return LinkDown(what, code=code, hint=" / ".join(HINTS[code]))


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Chunk(NamedTuple):
    """Bytes that arrived together. `time_ns` is when they were read; `gap`: input before them was lost."""

    data: bytes
    time_ns: int
    gap: bool


class Stream(Protocol):
    """What drivers use of a stream. `protocols.testing.FakeStream` is one with a virtual clock."""

    @property
    def last_byte_ns(self) -> int:
        """When the last byte was received; 0 before the first."""
        ...

    @property
    def dropped(self) -> int:
        """Bytes thrown away because nobody read them."""
        ...

    tap: Tap | None
    """Shown all bytes as they pass, whoever reads them."""

    def now_ns(self) -> int: ...
    async def wait_until(self, time_ns: int) -> None:
        """Sleep to within about 0.1 ms."""
        ...

    async def write(self, data: bytes) -> None: ...
    async def read(self, timeout_s: float) -> bytes:
        """Whatever has arrived, as soon as anything has; b"" after `timeout_s`."""
        ...

    async def chunks(self, timeout_s: float) -> list[Chunk]:
        """As `read`, with the arrival time of each piece."""
        ...

    def take(self) -> bytes:
        """Whatever has arrived, without waiting."""
        ...

    def flush(self) -> None:
        """Throw away all input, the kernel's too."""
        ...


class OnStream:
    """`protocols.api.Tapped` for a reader of one stream."""

    _stream: Stream

    @property
    def tap(self) -> Tap | None:
        return self._stream.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._stream.tap = tap


PORTS = ("serial", "ascii")  # schemes of what is opened as a serial port


def scheme(link: Link) -> str:
    """`tcp`, `rtu+tcp`, `ascii+tcp`, `serial` or `ascii` (a serial port too)."""
    return link.url.partition(":")[0]


def char_s(link: Link) -> float:
    """Seconds one character takes on the line."""
    return (1 + link.data_bits + (link.parity != "N") + link.stop_bits) / link.baud


@asynccontextmanager
async def open_stream(link: Link, settle_s: float = 0.0) -> AsyncIterator[Stream]:
    """The link's stream, open and with no old input. Raises LinkDown. `settle_s`: what comes within so long after an
    arrival is taken together, by one wake-up; its time is then late by so much at the most."""
    if scheme(link) in PORTS:
        port = _open_serial(link)
        stream = _Descriptor(link.url, port.fileno(), port.close, True, settle_s)
    else:
        sock = await _connect(link)
        stream = _Descriptor(link.url, sock.fileno(), sock.close, False, settle_s)
    try:
        stream.flush()
        stream.listen()
        yield stream
    finally:
        stream.close()


class _Descriptor:
    """A non-blocking descriptor with a bounded input buffer that fills whether or not anybody reads."""

    def __init__(self, url: str, fd: int, close: Callable[[], None], is_tty: bool, settle_s: float) -> None:
        self._url, self._fd, self._close_fd, self._is_tty = url, fd, close, is_tty
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[Chunk] = deque()
        self._size = 0
        self._gap = False
        self._waiter: asyncio.Future[None] | None = None
        self._down: tuple[str, str] | None = None
        self._settle_s = settle_s
        self._settling: asyncio.TimerHandle | None = None
        self.last_byte_ns = 0
        self.dropped = 0
        self.tap: Tap | None = None

    def now_ns(self) -> int:
        return now_ns()

    async def wait_until(self, time_ns: int) -> None:
        # epoll rounds its time-out up to whole milliseconds: sleep those, the rest in the kernel's own timer
        bulk_ms = (time_ns - now_ns() - 50_000) // 1_000_000
        if bulk_ms > 0:
            await asyncio.sleep(bulk_ms / 1000 - 0.0001)
        _short_sleep(time_ns - now_ns())

    def listen(self) -> None:
        self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._close_fd()

    async def write(self, data: bytes) -> None:
        if self.tap is not None:
            self.tap(True, data, now_ns())
        view = memoryview(data)
        while view:
            if self._down:
                self._raise_down()
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._writable()
            except OSError as lost:
                self._lose(lost.strerror or str(lost))
                self._raise_down(lost)

    async def read(self, timeout_s: float) -> bytes:
        return b"".join(chunk.data for chunk in await self.chunks(timeout_s))

    async def chunks(self, timeout_s: float) -> list[Chunk]:
        if not self._chunks and not self._down:
            await self._arrival(timeout_s)
        if not self._chunks and self._down:
            self._raise_down()
        return self._drain()

    def take(self) -> bytes:
        if not self._down:
            self._readable()
        if not self._chunks and self._down:
            self._raise_down()
        return b"".join(chunk.data for chunk in self._drain())

    def flush(self) -> None:
        if self._is_tty:
            try:
                termios.tcflush(self._fd, termios.TCIFLUSH)
            except termios.error as lost:
                self._lose(str(lost.args[-1]))
        elif not self._down:
            self._readable()
        self._drain()

    def _drain(self) -> list[Chunk]:
        got = list(self._chunks)
        self._chunks.clear()
        self._size = 0
        return got

    def _settle(self) -> None:
        """What has come since the last reading; where nothing has, the loop waits for it again."""
        self._settling = None
        if not self._readable() and not self._down:
            self.listen()

    def _readable(self) -> bool:
        """Read what is there; False where nothing is."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as lost:
            self._lose(lost.strerror or str(lost))
            return False
        if not data:  # a tty is set to VMIN = 1, so no bytes means hung up there too
            self._lose("unplugged" if self._is_tty else "closed by the far end")
            return False
        self.last_byte_ns = now_ns()
        if self.tap is not None:
            self.tap(False, data, self.last_byte_ns)
        self._chunks.append(Chunk(data, self.last_byte_ns, self._gap))
        self._gap = False
        self._size += len(data)
        while self._size > BUFFER_BYTES and len(self._chunks) > 1:
            self._drop_oldest()
        self._wake()
        if self._settle_s and self._settling is None:
            self._loop.remove_reader(self._fd)
            self._settling = self._loop.call_later(self._settle_s, self._settle)
        return True

    def _drop_oldest(self) -> None:
        lost = len(self._chunks.popleft().data)
        self._size -= lost
        self.dropped += lost
        self._chunks[0] = self._chunks[0]._replace(gap=True)

    def _lose(self, why: str) -> None:
        """Input that came before the loss can still be read."""
        self._down = self._down or ("CG-3007", f"{self._url}: link lost: {why}")
        self._loop.remove_reader(self._fd)
        if self._settling is not None:
            self._settling.cancel()
        self._wake()

    def _raise_down(self, cause: BaseException | None = None) -> NoReturn:
        assert self._down is not None
        raise link_down(*self._down) from cause

    def _wake(self) -> None:
        if self._waiter is not None:
            _set(self._waiter)

    async def _arrival(self, timeout_s: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(max(timeout_s, 0.0), self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    async def _writable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._fd, _set, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._fd)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _short_sleep(rest_ns: int) -> None:
    if rest_ns > 0:
        time.sleep(min(rest_ns, 1_200_000) / 1e9)


# ---- TCP


def _address(link: Link) -> tuple[str, int]:
    host, colon, port = link.url.partition("://")[2].rpartition(":")
    if not colon:
        host, port = port, "502"
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise link_down("CG-3006", f"{link.url}: not an address, expected {scheme(link)}://HOST:PORT")
    return host.strip("[]"), int(port)


async def _connect(link: Link) -> socket.socket:
    host, port = _address(link)
    try:
        async with asyncio.timeout(CONNECT_S):
            return await _first_that_answers(host, port)
    except TimeoutError as slow:
        raise link_down("CG-3006", f"{link.url}: no answer within {CONNECT_S:.0f} s") from slow
    except ConnectionRefusedError as refused:
        raise link_down("CG-3005", f"{link.url}: connection refused") from refused
    except OSError as failed:
        raise link_down("CG-3006", f"{link.url}: {failed.strerror or failed}") from failed


async def _first_that_answers(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(errno.EHOSTUNREACH, "no such host")
    for family, kind, proto, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            _tune(sock)
            return sock
        except OSError as failed:
            sock.close()
            failure = failed
        except BaseException:
            sock.close()
            raise
    raise failure


def _tune(sock: socket.socket) -> None:
    """No Nagle; a peer that silently vanished is noticed in 10 s, not in a quarter of an hour."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 10),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 3),
        (socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


# ---- serial

_PORT_FAULTS = {
    errno.ENOENT: ("CG-3002", "no such port"),
    errno.ENODEV: ("CG-3002", "no such port"),
    errno.ENXIO: ("CG-3002", "no device behind this port"),
    errno.EACCES: ("CG-3003", "no permission"),
    errno.EPERM: ("CG-3003", "no permission"),
    errno.EBUSY: ("CG-3004", "port is in use"),
    errno.EAGAIN: ("CG-3004", "port is in use"),  # pyserial's flock(LOCK_NB)
}


def _open_serial(link: Link) -> Any:
    """The port as pyserial configures it: raw, exclusive (flock), non-blocking."""
    import serial  # pyserial, not protocols.serial; only a site with serial links pays for it

    path = link.url.partition(":")[2]
    try:
        port = serial.Serial(
            path,
            baudrate=link.baud,
            bytesize=link.data_bits,
            parity=link.parity,
            stopbits=link.stop_bits,
            timeout=0,
            exclusive=True,
        )
    except serial.SerialException as failed:
        code, words = _PORT_FAULTS.get(failed.errno or 0, ("CG-3009", str(failed)))
        raise link_down(code, f"{link.url}: {words}") from failed
    except (OSError, termios.error, ValueError, OverflowError) as failed:
        raise link_down("CG-3009", f"{link.url}: {failed}") from failed
    try:
        _to_rs485(link, port)
        _raw(port.fileno())
    except BaseException:
        port.close()
        raise
    return port


def _to_rs485(link: Link, port: Any) -> None:
    if not link.rs485:
        return
    from serial.rs485 import RS485Settings

    try:
        port.rs485_mode = RS485Settings()
    except (OSError, ValueError) as lacking:
        raise link_down("CG-3008", f"{link.url}: this adapter has no RS-485 mode of its own") from lacking


def _raw(fd: int) -> None:
    """VMIN = 1 so that a read of no bytes can only mean a hang-up; pyserial leaves 0."""
    settings = termios.tcgetattr(fd)
    settings[6][termios.VMIN] = 1
    settings[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, settings)
    os.set_blocking(fd, False)
