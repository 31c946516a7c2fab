"""Blocks of a node's firmware over CoAP: an address and an offset in, one block out. A context of its own, so that what
asks the node meanwhile does not wait behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import aiocoap
from aiocoap import error

from gateway.node import pull
from gateway.node.pull import Cut, Piece, Refusal
from gateway.node.state import Result

WAIT_S = 100.0  # longer than a confirmable message is retransmitted (RFC 7252, EXCHANGE_LIFETIME is for numbers alone)


class CoapFetch:
    """A `pull.Fetch`. Its socket is opened for the first block and closed by `close`."""

    def __init__(self) -> None:
        self._context: Any = None
        self._exponent = pull.EXPONENT

    async def __call__(self, uri: str, offset: int) -> Piece:
        size = 1 << (self._exponent + 4)
        if offset % size:  # the last one asked was content with smaller blocks
            self._exponent = max(0, (offset & -offset).bit_length() - 5)
            size = 1 << (self._exponent + 4)
        try:
            if self._context is None:
                self._context = await aiocoap.Context.create_client_context(transports=["udp6"])
            request = aiocoap.Message(code=aiocoap.GET, uri=uri)
            request.opt.block2 = aiocoap.optiontypes.BlockOption.BlockwiseTuple(offset // size, False, self._exponent)
            async with asyncio.timeout(WAIT_S):
                answer = await self._context.request(request, handle_blockwise=False).response
        except (error.Error, OSError, TimeoutError) as lost:
            raise Cut(f"{uri}: {type(lost).__name__}") from lost
        except ValueError as bad:
            raise Refusal(Result.BAD_URI, "CG-6201", f"{uri} is no address") from bad
        return self._piece(uri, offset, answer)

    def _piece(self, uri: str, offset: int, answer: Any) -> Piece:
        if answer.code in (aiocoap.NOT_FOUND, aiocoap.FORBIDDEN, aiocoap.METHOD_NOT_ALLOWED):
            raise Refusal(Result.BAD_URI, "CG-6201", f"there is nothing at {uri} ({answer.code})")
        if answer.code != aiocoap.CONTENT:
            raise Cut(f"{uri}: {answer.code}")
        block = answer.opt.block2
        if block is None:
            if offset:
                raise Cut(f"{uri}: an answer without blocks")
            return Piece(0, answer.payload, False)
        self._exponent = min(self._exponent, block.size_exponent)
        size = 1 << (block.size_exponent + 4)
        if len(answer.payload) > size or (block.more and len(answer.payload) != size):
            raise Cut(f"{uri}: a block of {len(answer.payload)} bytes")
        return Piece(block.block_number * size, answer.payload, bool(block.more))

    async def close(self) -> None:
        if self._context is not None:
            await self._context.shutdown()
            self._context = None
        self._exponent = pull.EXPONENT
