"""How connections come in: TLS, and limits that hold before anything is read. For uvicorn, in place of its own.

Bounded: connections in all, how long a handshake, a first request and an unread answer may take, memory of each.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.spool.trouble import Trouble

CONNECTIONS = 128
HANDSHAKE_S = 5.0
FIRST_REQUEST_S = 10.0  # a connection that asks nothing
UNREAD_S = 20.0  # a connection that takes nothing
BUFFER = 32_768  # bytes a connection; asyncio's own 256 KiB would be 32 MB for all of them


class Patient(H11Protocol):
    """A connection that must ask and take in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit: asyncio.TimerHandle | None = self.loop.call_later(FIRST_REQUEST_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and self._limit is not None and not self.flow.write_paused:
            self._limit.cancel()  # a whole request came: uvicorn's own limit counts between two of them

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limit = self.loop.call_later(UNREAD_S, self._give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._limit is not None:
            self._limit.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        self.transport.abort()


def door(certificate: Path | None = None, key: Path | None = None) -> type[asyncio.Protocol]:
    """A protocol class for uvicorn's `http`, with TLS where a certificate is given. Raises Trouble for a bad one."""
    context = None if certificate is None else _context(certificate, key)
    sslproto.SSLProtocol.max_size = BUFFER
    inside: set[asyncio.BaseTransport] = set()

    class Door(asyncio.Protocol):
        """What is accepted: let in, or not."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            self._inner = _Counted(inside, *arguments, **named)
            self._opening: asyncio.Task[None] | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            if len(inside) >= CONNECTIONS:
                transport.abort()
                return
            inside.add(transport)
            self._inner.outer = transport
            if context is None:
                transport.set_protocol(self._inner)
                self._inner.connection_made(transport)
                return
            transport.pause_reading()  # what comes is the handshake's
            self._opening = asyncio.get_running_loop().create_task(self._secure(transport, context))

        def connection_lost(self, exc: Exception | None) -> None:
            inside.discard(self._inner.outer)

        async def _secure(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
            loop = asyncio.get_running_loop()
            try:
                safe = await loop.start_tls(
                    transport, self._inner, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
                )
            except (OSError, ssl.SSLError, TimeoutError):
                safe = None
            if safe is None:
                inside.discard(transport)
                transport.abort()
                return
            self._inner.connection_made(safe)

    return Door


class _Counted(Patient):
    """Takes its place in `inside` away with it."""

    def __init__(self, inside: set[asyncio.BaseTransport], *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._inside = inside
        self._early = b""
        self.outer: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        if self.transport is None:  # it came with the end of the handshake
            self._early += data
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inside.discard(self.outer)
        if self.transport is not None:
            super().connection_lost(exc)


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as bad:
        raise Trouble(
            "CG-6322",
            f"the certificate {certificate} cannot be used ({bad})",
            f"인증서 {certificate} 를 사용할 수 없습니다 ({bad})",
            next_en="Give a PEM certificate and its key that this process may read, or neither",
            next_ko="읽을 수 있는 PEM 인증서와 키를 지정하거나 둘 다 생략하십시오",
        ) from bad
    return made
