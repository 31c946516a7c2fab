"""The line to a center: asked and observed over it, nothing plain answered, nothing twice, a hang noticed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from agent_rig import Lamp, Rig, rig, until

from gateway.agent.desk import OBSERVATIONS, Desk
from gateway.agent.line import LONGEST_PING_S, PING_S, Line, ping_every_s
from gateway.agent.resource import Role
from gateway.agent.tree import Tree
from gateway.center.agents import Agents, NotAsked
from gateway.center.files import Files
from gateway.wire import coap, credentials, secure
from gateway.wire.coap import Message
from gateway.wire.proven import REPLAY, Asking
from gateway.wire.stream import Closed, Stream


async def test_a_center_asks_and_changes_over_the_gateways_own_connection(tmp_path: Path) -> None:
    lamp = Lamp()
    async with rig(tmp_path, [lamp]) as one:
        (connected,) = one.agents.connected()
        assert connected["gateway"] == "cab"
        assert connected["peer"] == "127.0.0.1"
        answer = await one.ask("lamp")
        assert (answer.code, answer.content_format, cbor2.loads(answer.payload)) == (coap.CONTENT, 60, 1)
        assert (await one.ask("lamp", coap.POST, cbor2.dumps(7))).code == coap.CHANGED
        body = cbor2.dumps(bytes(300_000))  # there in blocks, and back
        assert (await one.ask("lamp", coap.PUT, body)).payload == body
        assert lamp.value == bytes(300_000)
        both = await asyncio.gather(*(one.ask(path) for path in ["lamp", "nothing", "lamp/refused"] * 5))
        assert {one.code for one in both} == {coap.CONTENT, coap.NOT_FOUND, coap.BAD_REQUEST}


async def test_an_upstream_with_observe_alone_cannot_change(tmp_path: Path) -> None:
    lamp = Lamp()
    async with rig(tmp_path, [lamp], frozenset({Role.OBSERVE})) as one:
        assert (await one.ask("lamp")).code == coap.CONTENT
        refused = await one.ask("lamp", coap.POST, cbor2.dumps(7))
        assert refused.code == coap.FORBIDDEN
        assert cbor2.loads(refused.payload)["code"] == "CG-6105"
    assert lamp.value == 1
    assert [request.method for request in lamp.asked] == [coap.GET]


async def at_the_center(one: Rig) -> tuple[Stream, Any]:
    """The connection as the center has it, and the key."""
    connected = one.agents._connected["cab"]
    return connected.stream, connected.context


async def test_nothing_plain_is_ever_answered(tmp_path: Path) -> None:
    lamp = Lamp()
    async with rig(tmp_path, [lamp]) as one:
        stream, _ = await at_the_center(one)
        waiting = [
            asyncio.ensure_future(stream.request(Message(code, ((coap.URI_PATH, path),))))
            for code in (coap.GET, coap.POST, coap.PUT, coap.DELETE)
            for path in (b"lamp", b".well-known", b"nothing")
        ]
        await stream.ping()  # answered in turn, so each of them was looked at
        assert (await one.ask("lamp")).code == coap.CONTENT
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert len(lamp.asked) == 1


async def test_what_is_played_back_fails(tmp_path: Path) -> None:
    lamp = Lamp()
    async with rig(tmp_path, [lamp]) as one:
        stream, context = await at_the_center(one)
        sent: list[Message] = []

        async def carry(outer: Message) -> Message:
            sent.append(outer)
            return await stream.request(outer)

        order = Message(coap.POST, ((coap.URI_PATH, b"lamp"),), cbor2.dumps(7))
        assert (await Asking(context, carry).one(order)).code == coap.CHANGED
        lamp.value = 1
        for outer in sent:
            again = await stream.request(outer)
            assert (again.code, again.payload) == (coap.UNAUTHORIZED, REPLAY)
            assert again.first(coap.OSCORE) is None
        altered = bytes([sent[-1].payload[0] ^ 1]) + sent[-1].payload[1:]
        outer, _ = secure.protect_request(context, order)
        assert (await stream.request(replace(outer, payload=altered))).code == coap.BAD_REQUEST
        strange = replace(outer, options=((coap.OSCORE, b"\x09\x01nobody"),))
        assert (await stream.request(strange)).code in (coap.UNAUTHORIZED, coap.BAD_REQUEST)
    assert lamp.value == 1


async def test_what_was_recorded_on_one_connection_is_worth_nothing_on_the_next(tmp_path: Path) -> None:
    """Whoever holds the line may play requests back after it was cut: the window of numbers begins anew then."""
    lamp = Lamp()
    async with rig(tmp_path, [lamp]) as one:
        stream, context = await at_the_center(one)
        sent: list[Message] = []

        async def carry(outer: Message) -> Message:
            sent.append(outer)
            return await stream.request(outer)

        await Asking(context, carry).one(Message(coap.POST, ((coap.URI_PATH, b"lamp"),), cbor2.dumps(7)))
        lamp.value, before = 1, one.agents._connected["cab"].stream
        before.abort()
        await until(lambda: "cab" in one.agents._connected and one.agents._connected["cab"].stream is not before)
        fresh = one.agents._connected["cab"].stream
        for outer in sent:
            await fresh.request(outer)  # asks for proof, sealed for the center alone
        assert (await one.ask("lamp")).code == coap.CONTENT
        for outer in sent:
            assert (await fresh.request(outer)).payload == REPLAY
    assert lamp.value == 1
    assert [request.method for request in lamp.asked] == [coap.POST, coap.GET]


async def test_changes_are_told_until_nobody_observes(tmp_path: Path) -> None:
    lamp = Lamp()
    async with rig(tmp_path, [lamp]) as one:
        async with contextlib.aclosing(one.agents.observe("cab", "lamp", {}, 5.0)) as changes:
            found = [cbor2.loads((await anext(changes)).payload)]
            for value in (2, bytes(100_000), 3):
                lamp.value = value
                lamp.changed.set()
                found.append(cbor2.loads((await anext(changes)).payload))
            assert found == [1, 2, bytes(100_000), 3]
            assert lamp.watching == 1
        await until(lambda: lamp.watching == 0)
        (once,) = [answer async for answer in one.agents.observe("cab", ".well-known/core", {}, 5.0)]
        assert b"</lamp>" in once.payload  # told, and that is all


async def test_observations_are_few_and_end_with_the_connection(tmp_path: Path) -> None:
    lamp = Lamp()
    async with rig(tmp_path, [lamp]) as one:
        observing = [one.agents.observe("cab", "lamp", {}, 5.0) for _ in range(OBSERVATIONS + 2)]
        for changes in observing:
            await anext(changes)
        assert lamp.watching == OBSERVATIONS
        for changes in observing[OBSERVATIONS:]:  # answered once
            assert [answer async for answer in changes] == []
        one.agents._connected["cab"].stream.abort()
        with pytest.raises(NotAsked) as lost:
            await anext(observing[0])
        assert lost.value.code == "CG-6107"
        await until(lambda: lamp.watching == 0)
        for changes in observing:
            await changes.aclose()


async def test_an_old_notification_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    lamp = Lamp()
    async with rig(tmp_path, [lamp]) as one:
        stream, _ = await at_the_center(one)
        async with contextlib.aclosing(one.agents.observe("cab", "lamp", {}, 5.0)) as changes:
            await anext(changes)
            (queue,) = stream._observed.values()
            put, kept = queue.put_nowait, []
            queue.put_nowait = lambda message: (kept.append(message), put(message))[1]  # type: ignore[method-assign]
            lamp.value = 2
            lamp.changed.set()
            assert cbor2.loads((await anext(changes)).payload) == 2
            lamp.value = 3
            put(kept[0])  # once more, as somebody on the way could
            lamp.changed.set()
            assert cbor2.loads((await anext(changes)).payload) == 3


async def test_a_hung_center_is_noticed(tmp_path: Path) -> None:
    """It takes the connection and greets, and is never heard again: no Pong, so another connection is made."""
    credentials.create("cab", tmp_path / "ours", tmp_path / "intake")
    context = credentials.SecurityContext(tmp_path / "ours")
    theirs = credentials.SecurityContext(tmp_path / "intake/cab")
    greeted: list[Stream] = []

    async def answer(stream: Stream, request: Message) -> Message:
        try:
            _, identifiers = secure.open_request(theirs, request)
        except secure.Unfresh as stale:
            return stale.answer
        greeted.append(stream)
        asyncio.get_running_loop().call_soon(stream._transport.pause_reading)  # type: ignore[union-attr]
        return secure.protect_response(theirs, Message(coap.CHANGED), identifiers)

    server = await asyncio.get_running_loop().create_server(lambda: Stream(answer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def address() -> str:
        return f"127.0.0.1:{port}"

    line = Line(
        "main", context, address, lambda: Desk("main", frozenset(), context, lambda: Tree(())),
        ping_s=0.02, pong_s=0.05, first_pause_s=0.01,
    )  # fmt: skip
    running = asyncio.get_running_loop().create_task(line.run())
    await until(lambda: len(greeted) >= 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for stream in greeted:
        stream.abort()
    server.close()
    context.close()
    theirs.close()


async def test_a_gateway_that_hangs_is_dropped_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.center.agents.PONG_S", 0.05)
    async with rig(tmp_path, [Lamp()]) as one:
        one.line._stream._transport.pause_reading()  # type: ignore[union-attr]
        with pytest.raises(NotAsked) as silent:
            await one.ask("lamp", within_s=0.05)
        assert silent.value.code == "CG-6107"
        await until(lambda: not one.agents.connected())


async def test_a_line_that_breaks_comes_back_and_old_ones_are_let_go(tmp_path: Path) -> None:
    async with rig(tmp_path, [Lamp()]) as one:
        assert (await one.ask("lamp")).code == coap.CONTENT
        first = one.agents._connected["cab"].stream
        first.abort()
        await until(lambda: one.agents._connected["cab"].stream is not first)
        assert (await one.ask("lamp")).code == coap.CONTENT
        with pytest.raises(NotAsked) as unknown:
            await one.agents.ask("nobody", coap.GET, "lamp", {}, b"", 1.0)
        assert unknown.value.code == "CG-6106"


async def test_a_revoked_gateway_is_asked_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, [Lamp()]) as one:
        one.keys.forget("cab")
        with pytest.raises(NotAsked):
            await one.ask("lamp")


async def test_the_gateway_fetches_files_over_it(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/image").write_bytes(bytes(range(256)) * 200)
    async with rig(tmp_path, [Lamp()], agents=Agents(Files(tmp_path / "files"))) as one:
        wanted = Message(coap.GET, ((coap.URI_PATH, b"f"), (coap.URI_PATH, b"image")))
        found = await one.line.ask(wanted, 5.0)
        assert found.payload == bytes(range(256)) * 200
        other = Message(coap.GET, ((coap.URI_PATH, b"f"), (coap.URI_PATH, b"..")))
        assert (await one.line.ask(other, 5.0)).code == coap.NOT_FOUND
        odd = Message(coap.POST, ((coap.URI_PATH, b"a"), (coap.URI_PATH, b"b")))
        assert (await one.line.ask(odd, 5.0)).code == coap.NOT_FOUND


async def test_without_a_connection_nothing_can_be_asked() -> None:
    async def address() -> str:
        raise OSError("no such name")

    line = Line("main", None, address, lambda: None)  # type: ignore[arg-type,return-value]
    for ask in (line.ask(Message(coap.GET), 1.0), line.one(Message(coap.GET), 1.0), line.ping(1.0)):
        with pytest.raises(Closed):
            await ask
    assert not await line.is_reachable()


async def test_a_greeting_by_datagram_binds_nothing(tmp_path: Path) -> None:
    context_free = Agents()
    options = ((coap.URI_PATH, b"a"),)
    answer = await context_free.answer(None, Message(coap.POST, options), None)  # type: ignore[arg-type]
    assert answer.code == coap.BAD_REQUEST
    assert context_free.connected() == []


def test_pings_keep_to_a_share_of_the_months_bytes() -> None:
    assert ping_every_s(0) == PING_S
    assert ping_every_s(1000) == PING_S
    assert PING_S < ping_every_s(50) < LONGEST_PING_S
    assert ping_every_s(1) == LONGEST_PING_S


def test_no_socket_is_left(tmp_path: Path) -> None:
    """What is closed leaves no port open on the gateway: it never listens."""
    seen: list[int] = []

    async def listening() -> None:
        async with rig(tmp_path, [Lamp()]) as one:
            ours = one.line._stream.socket  # type: ignore[union-attr]
            assert ours is not None
            seen.append(ours.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    asyncio.run(listening())
    assert seen == [0]
