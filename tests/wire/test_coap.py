"""CoAP on datagrams and streams: against aiocoap's codec, cut anywhere, and anything at all as input."""

import asyncio
from collections.abc import Awaitable, Callable

import aiocoap
import pytest
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type
from aiocoap.transports import tcp
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import bundle, coap, secure, stream
from gateway.wire.coap import BadMessage, Frames, Message
from gateway.wire.credentials import SecurityContext, create
from gateway.wire.stream import Closed, Stream

MESSAGES = st.builds(
    Message,
    code=st.sampled_from([coap.GET, coap.POST, coap.CHANGED, coap.UNAUTHORIZED, coap.UNAVAILABLE]),
    options=st.lists(st.tuples(st.integers(1, 3000), st.binary(max_size=300)), max_size=6).map(
        lambda found: tuple(sorted(found, key=lambda option: option[0]))
    ),
    payload=st.binary(max_size=600),
    token=st.binary(max_size=8),
)


@given(MESSAGES, st.integers(0, 3), st.integers(0, 0xFFFF))
def test_a_datagram_comes_back_as_it_was(message: Message, kind: int, mid: int) -> None:
    message = Message(message.code, message.options, message.payload, message.token, kind, mid)
    assert coap.from_datagram(coap.to_datagram(message)) == message


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_frames_come_back_however_the_stream_is_cut(messages: list[Message], cuts: list[int]) -> None:
    data = b"".join(map(coap.to_frame, messages))
    frames, found = Frames(100_000), []
    for cut in cuts * (len(data) // sum(cuts) + 1):
        frames.feed(data[:cut])
        data = data[cut:]
        while (message := frames.next()) is not None:
            found.append(message)
    assert found == messages
    assert frames.size == 0


def test_the_library_reads_what_we_write_and_writes_what_we_read() -> None:
    for size in (0, 10, 250, 300, 70_000):
        ours = Message(coap.POST, ((coap.URI_PATH, b"w"), (coap.CONTENT_FORMAT, b"\x70")), b"x" * size, b"ab", 0, 77)
        theirs = aiocoap.Message.decode(coap.to_datagram(ours))
        assert (theirs.code, theirs.opt.uri_path, theirs.payload, theirs.token) == (
            Code.POST,
            ("w",),
            ours.payload,
            b"ab",
        )
        frame = coap.to_frame(ours)
        assert tcp._decode_message(frame).payload == ours.payload
        made = aiocoap.Message(code=Code.POST, uri_path=("w",), content_format=112, payload=ours.payload, _token=b"ab")
        assert tcp._serialize(made) == frame
        made.mtype, made.mid = Type.CON, 77
        assert made.encode() == coap.to_datagram(ours)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_bad(data: bytes) -> None:
    for read in (coap.from_datagram, lambda d: coap.from_datagram(b"\x40\x02\x00\x00" + d)):
        try:
            message = read(data)
            message.texts(coap.URI_PATH)
        except BadMessage:
            continue
        assert coap.to_datagram(message)
    frames = Frames(1000)
    frames.feed(data)
    try:
        while frames.next() is not None:
            pass
    except BadMessage:
        return


def test_a_frame_that_announces_too_much_is_refused_before_it_comes() -> None:
    frames = Frames(1000)
    frames.feed(b"\xf0\xff\xff\xff\xff\x02")
    with pytest.raises(BadMessage, match="too large"):
        frames.next()


@given(st.lists(st.tuples(st.sampled_from("wveghx"), st.binary(max_size=100)), max_size=20), st.floats(0, 1e6))
def test_a_bundle_comes_back_as_it_was(packs: list[tuple[str, bytes]], next_s: float) -> None:
    assert bundle.decode(bundle.DEFLATED, bundle.encode(packs, next_s)) == (next_s, packs)


@given(st.binary(max_size=100), st.sampled_from([bundle.CBOR, bundle.DEFLATED]))
def test_any_bytes_are_a_bundle_or_a_value_error(body: bytes, content_format: int) -> None:
    for read in (lambda: bundle.decode(content_format, body), lambda: bundle.decode_refusals(body, 5)):
        try:
            read()
        except ValueError:
            continue


def test_a_bundle_that_inflates_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        bundle.decode(bundle.DEFLATED, bundle.encode([("w", bytes(bundle.LARGEST))], 60))


def test_oscore_there_and_back_and_everything_else_is_refused(tmp_path: object) -> None:
    create("cab", f"{tmp_path}/gw", f"{tmp_path}/keys")
    ours, theirs = SecurityContext(f"{tmp_path}/gw"), SecurityContext(f"{tmp_path}/keys/cab", own=False)
    theirs.recipient_replay_window.initialize_empty()
    request = Message(coap.POST, ((coap.URI_PATH, b"w"), (coap.CONTENT_FORMAT, b"\x70")), b"pack", b"t")
    outer, identifiers = secure.protect_request(ours, request)
    assert [number for number, _ in outer.options] == [coap.OSCORE]
    assert secure.key_id(outer) == (ours.sender_id, None)
    inner, answering = secure.open_request(theirs, outer)
    assert (inner.code, inner.options, inner.payload, inner.token) == (coap.POST, request.options, b"pack", b"t")
    with pytest.raises(secure.Replayed):
        secure.open_request(theirs, outer)
    answer = secure.protect_response(theirs, Message(coap.CHANGED, payload=b"ok"), answering)
    assert secure.open_response(ours, answer, identifiers).payload == b"ok"
    with pytest.raises(secure.NotProtected):
        secure.open_response(ours, Message(coap.UNAUTHORIZED), identifiers)
    for spoilt in (answer.payload[:-1], b"", answer.payload[:-1] + bytes([answer.payload[-1] ^ 1])):
        with pytest.raises(secure.Invalid):
            secure.open_response(ours, Message(answer.code, answer.options, spoilt), identifiers)
    ours.close()
    theirs.close()


# -- connections

Said = Callable[[Stream, Message], Awaitable[Message | None]]


async def pair(say: Said) -> tuple[Stream, Stream, asyncio.Server]:
    loop = asyncio.get_running_loop()
    guests: list[Stream] = []

    def guest() -> Stream:
        guests.append(Stream(say))
        return guests[-1]

    server = await loop.create_server(guest, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, ours = await loop.create_connection(lambda: Stream(say), "127.0.0.1", port)
    await ours.greeted()
    await guests[0].greeted()
    return ours, guests[0], server


async def test_both_ends_ask_and_answer_many_at_once() -> None:
    async def echo(_: Stream, request: Message) -> Message:
        await asyncio.sleep(0)
        return Message(coap.CHANGED, payload=request.payload)

    ours, theirs, server = await pair(echo)
    for end in (ours, theirs):
        asked = [end.request(Message(coap.POST, payload=bytes([n]) * 100)) for n in range(200)]
        assert [answer.payload[0] for answer in await asyncio.gather(*asked)] == list(range(200))
        await end.ping()
        assert not end.busy
    assert ours.largest == stream.LARGEST_MESSAGE
    ours.release()
    server.close()


async def test_what_waits_is_told_when_the_connection_goes() -> None:
    never = asyncio.Event()

    async def mute(_: Stream, request: Message) -> None:
        await never.wait()

    ours, theirs, server = await pair(mute)
    asked = asyncio.ensure_future(ours.request(Message(coap.POST)))
    await ours.ping()
    theirs.abort()
    with pytest.raises(Closed):
        await asked
    with pytest.raises(Closed):
        await ours.request(Message(coap.POST))
    assert ours.closed
    server.close()


async def test_a_peer_that_asks_without_reading_is_not_read_either() -> None:
    working = most = 0

    async def large(_: Stream, request: Message) -> Message:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0)
        working -= 1
        return Message(coap.CHANGED, payload=bytes(60_000))

    loop = asyncio.get_running_loop()
    guests: list[Stream] = []

    def guest() -> Stream:
        guests.append(Stream(large))
        return guests[-1]

    server = await loop.create_server(guest, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], limit=1000)
    writer.write(coap.to_frame(Message(coap.CSM)))
    request = coap.to_frame(Message(coap.POST, payload=bytes(1000)))
    for _ in range(5000):
        writer.write(request)
    for _ in range(300):
        await asyncio.sleep(0)
    assert most <= stream.AT_ONCE
    assert guests[0]._transport
    assert guests[0]._transport.get_write_buffer_size() < 4_000_000
    assert guests[0]._frames.size < 500_000
    writer.transport.abort()
    server.close()
    assert reader


@pytest.mark.parametrize(
    "said",
    [
        coap.to_frame(Message(coap.POST)),  # no CSM
        coap.to_frame(Message(coap.CSM, ((9, b"critical"),))),
        b"\xff" * 20,
        b"\x0f\xe1",
        coap.to_frame(Message(coap.CSM)) + b"\xf0\xff\xff\xff\xff\x02",
        coap.to_frame(Message(coap.CSM)) + coap.to_frame(Message(coap.RELEASE)),
        coap.to_frame(Message(coap.CSM)) + coap.to_frame(Message(0xE9)),
    ],
)
async def test_what_is_no_coap_ends_the_connection(said: bytes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(stream.refuse), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(said)
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    server.close()
