"""Opening, losing and draining real sockets and ptys; every failure with its code and what to do."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import subprocess
import sys

import peers
import pytest

from protocols import streams
from protocols.api import Link, LinkDown
from protocols.streams import open_stream
from tests.ports import free_port


async def down(link: Link) -> LinkDown:
    with pytest.raises(LinkDown) as caught:
        async with open_stream(link) as stream:
            await stream.read(0.0)
    assert caught.value.hint
    return caught.value


async def test_missing_port() -> None:
    failure = await down(Link("x", "serial:/dev/does-not-exist"))
    assert failure.code == "CG-3002"
    assert "/dev/does-not-exist" in str(failure)
    assert "케이블" in failure.hint


async def test_something_that_is_no_port() -> None:
    assert (await down(Link("x", "serial:/etc/hostname"))).code == "CG-3009"


async def test_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("serial.serialposix.os.open", refuse)
    failure = await down(Link("x", "serial:/dev/ttyS0"))
    assert failure.code == "CG-3003"
    assert "dialout" in failure.hint


async def test_a_port_that_another_program_holds() -> None:
    pty = peers.Pty()
    other = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert (await down(pty.link())).code == "CG-3004"
    os.close(other)
    async with open_stream(pty.link()):
        assert (await down(pty.link())).code == "CG-3004"
    async with open_stream(pty.link()):
        pass
    pty.close()


async def test_an_adapter_without_rs485() -> None:
    pty = peers.Pty()
    failure = await down(Link("x", f"serial:{pty.path}", rs485=True))
    assert failure.code == "CG-3008"
    async with open_stream(pty.link()):  # the failed attempt holds nothing
        pass
    pty.close()


async def test_connection_refused() -> None:
    assert (await down(Link("x", f"tcp://127.0.0.1:{free_port()}"))).code == "CG-3005"


@pytest.mark.parametrize("url", ["tcp://:502", "tcp://host:port", "tcp://127.0.0.1:0"])
async def test_addresses_that_are_none(url: str) -> None:
    assert (await down(Link("x", url))).code == "CG-3006"


async def test_a_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CONNECT_S", 0.02)
    with socket.socket() as full:  # a backlog that is full: the connection is never completed
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address):
            assert (await down(Link("x", f"tcp://127.0.0.1:{address[1]}"))).code == "CG-3006"


async def test_an_unreachable_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", unreachable)
    failure = await down(Link("x", "tcp://127.0.0.1:502"))
    assert failure.code == "CG-3006"
    assert "No route" in str(failure)


async def test_an_unplugged_port() -> None:
    pty = peers.Pty()
    async with open_stream(pty.link()) as stream:
        pty.write(b"last words")
        assert await stream.read(1.0) == b"last words"
        pty.close()
        with pytest.raises(LinkDown) as lost:
            await stream.read(1.0)
        assert lost.value.code == "CG-3007"
        with pytest.raises(LinkDown):
            await stream.write(b"anybody?")


async def test_a_connection_that_is_closed_gives_its_last_bytes_first() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    link = Link("x", f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with open_stream(link) as stream:
        assert await stream.read(1.0) == b"last words"
        with pytest.raises(LinkDown) as lost:
            await stream.read(1.0)
        assert lost.value.code == "CG-3007"
    server.close()


async def test_old_input_is_not_read() -> None:
    pty = peers.Pty()
    pty.write(b"from before")
    async with open_stream(pty.link()) as stream:
        assert await stream.read(0.01) == b""
        pty.write(b"stale")
        await asyncio.sleep(0.005)
        stream.flush()
        pty.write(b"fresh")
        assert await stream.read(1.0) == b"fresh"
        assert 0 <= stream.now_ns() - stream.last_byte_ns < 1_000_000_000
    pty.close()


@pytest.mark.parametrize(
    "line", [{"baud": 115_200}, {"parity": "E"}, {"baud": 2400, "stop_bits": 2}, {"data_bits": 7, "parity": "O"}]
)
async def test_ptys_take_any_settings(line: dict[str, object]) -> None:
    pty = peers.Pty()
    async with open_stream(Link("x", f"serial:{pty.path}", **line)) as stream:  # type: ignore[arg-type]
        pty.write(b"\x00\x11\x13\x0d\x0a\xff")
        assert await stream.read(1.0) == b"\x00\x11\x13\x0d\x0a\xff"
    pty.close()


async def test_a_large_write_waits_for_room() -> None:
    pty, heard = peers.Pty(), bytearray()
    data = bytes(range(256)) * 256
    async with open_stream(pty.link()) as stream:
        task = asyncio.ensure_future(stream.write(data))
        await asyncio.sleep(0)
        pty.listen(heard.extend)
        await task
        while len(heard) < len(data):
            await asyncio.sleep(0)
    pty.close()
    assert heard == data


async def test_waiting_is_exact_to_a_fraction_of_a_millisecond() -> None:
    pty = peers.Pty()
    async with open_stream(pty.link()) as stream:
        until = stream.now_ns() + 3_650_000
        await stream.wait_until(until)
        assert stream.now_ns() >= until
    pty.close()


def test_pyserial_is_imported_for_serial_links_only() -> None:
    code = (
        "import sys; from protocols.registry import driver; driver('modbus'); driver('serial'); "
        "sys.exit('serial' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_what_comes_while_a_line_settles_is_taken_together() -> None:
    pty = peers.Pty()
    async with open_stream(pty.link(), settle_s=0.02) as stream:
        pty.write(b"a")
        assert await stream.read(5.0) == b"a"
        for one in (b"b", b"c", b"d"):
            pty.write(one)
            await asyncio.sleep(0)
        assert [chunk.data for chunk in await stream.chunks(5.0)] == [b"bcd"]
        assert await stream.read(0.05) == b""  # and listens again
        pty.write(b"e")
        assert await stream.read(5.0) == b"e"
    pty.close()


async def test_a_settling_line_that_is_unplugged_says_so() -> None:
    pty = peers.Pty()
    async with open_stream(pty.link(), settle_s=0.01) as stream:
        pty.write(b"a")
        assert await stream.read(5.0) == b"a"
        pty.close()
        with pytest.raises(LinkDown):
            await stream.read(5.0)


async def test_a_port_opened_often_leaves_nothing_open() -> None:
    pty = peers.Pty()
    before = 0
    for _ in range(40):
        async with open_stream(pty.link(), settle_s=0.01) as stream:
            pty.write(b"x")
            await stream.read(5.0)
        before = before or len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) == before
    pty.close()
