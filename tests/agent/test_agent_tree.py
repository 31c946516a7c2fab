"""The tree of resources: dispatch, roles, freshness, blocks; and that nothing from outside makes it raise."""

from __future__ import annotations

import asyncio
import logging

import cbor2
import pytest
from agent_rig import Clock, Lamp, asker
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.agent.blocks import BODIES, Block, Coming
from gateway.agent.freshness import LIFETIME_S, Freshness
from gateway.agent.resource import LARGEST_BODY, LINK_FORMAT, Role
from gateway.agent.tree import BURST, Asker, Tree
from gateway.wire import coap
from gateway.wire.coap import Message


def get(path: str, *more: tuple[int, bytes], code: int = coap.GET, payload: bytes = b"") -> Message:
    return Message(code, (*((coap.URI_PATH, part.encode()) for part in path.split("/")), *more), payload)


async def changed(tree: Tree, who: Asker, message: Message) -> Message:
    """With the proof of freshness that it asks for."""
    asked = await tree.answer(who, message)
    assert asked.code == coap.UNAUTHORIZED
    echo = asked.first(coap.ECHO)
    assert echo is not None
    return await tree.answer(who, Message(message.code, (*message.options, (coap.ECHO, echo)), message.payload))


def said(message: Message) -> str:
    return str(cbor2.loads(message.payload)["code"])


async def test_a_resource_is_found_by_its_path_and_says_what_it_is() -> None:
    lamp = Lamp()
    tree = Tree([lamp])
    answer = await tree.answer(asker(), get("lamp"))
    assert (answer.code, cbor2.loads(answer.payload), answer.uint(coap.CONTENT_FORMAT)) == (coap.CONTENT, 1, 60)
    links = await tree.answer(asker(), get(".well-known/core"))
    assert links.uint(coap.CONTENT_FORMAT) == LINK_FORMAT
    assert links.payload.decode() == '</lamp>;title="a \\"lamp\\"";rt="test.lamp other";if="cg.rw";ct="60";obs'
    for query, found in (("rt=test.lamp", 1), ("rt=oth*", 1), ("rt=nothing", 0), ("href=/lamp", 1), ("foo=1", 0)):
        some = await tree.answer(asker(), get(".well-known/core", (coap.URI_QUERY, query.encode())))
        assert bool(some.payload) == bool(found), query


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (get("nothing"), coap.NOT_FOUND),
        (get("lamp/below"), coap.NOT_FOUND),
        (get(".well-known/core", code=coap.POST), coap.NOT_ALLOWED),
        (get("lamp", (1, b"")), coap.BAD_OPTION),  # If-Match
        (get("lamp", (35, b"coap://elsewhere/")), coap.BAD_OPTION),  # Proxy-Uri
        (get("lamp", (coap.ACCEPT, b"\x32"), (coap.ACCEPT, b"\x3c")), coap.BAD_OPTION),
        (get("lamp", (coap.ACCEPT, b"\x32")), coap.NOT_ACCEPTABLE),
        (get("lamp", (coap.BLOCK2, b"1234")), coap.BAD_OPTION),
        (get("lamp", (coap.BLOCK2, b"\x16")), coap.INCOMPLETE),  # a later block of nothing
        (get("lamp/refused"), coap.BAD_REQUEST),
        (get("a/" * 20), coap.BAD_REQUEST),
        (get("x" * 256), coap.BAD_REQUEST),
        (Message(coap.GET, ((coap.URI_PATH, b"\xff\xfe"),)), coap.BAD_REQUEST),
        (Message(coap.GET), coap.NOT_FOUND),
        (Message(0x1F), coap.NOT_ALLOWED),
    ],
)
async def test_what_it_does_not_do_has_a_clear_code(message: Message, code: int) -> None:
    answer = await Tree([Lamp()]).answer(asker(), message)
    assert answer.code == code, answer.dotted


async def test_a_mistake_of_ours_is_told_as_one_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await Tree([Lamp()]).answer(asker(), get("lamp/broken"))
    assert (answer.code, said(answer)) == (coap.INTERNAL_ERROR, "CG-6103")
    assert "a mistake of ours" in caplog.text


async def test_an_upstream_that_may_only_observe_changes_nothing() -> None:
    lamp = Lamp()
    tree = Tree([lamp])
    for code in (coap.POST, coap.PUT, coap.DELETE):
        answer = await tree.answer(asker(Role.OBSERVE), get("lamp", code=code, payload=cbor2.dumps(7)))
        assert (answer.code, said(answer)) == (coap.FORBIDDEN, "CG-6105")
    answer = await tree.answer(asker(Role.RELEASE), get("lamp", code=coap.POST, payload=b"\x07"))
    assert answer.code == coap.FORBIDDEN
    assert (await tree.answer(asker(Role.OPERATE), get("lamp"))).code == coap.FORBIDDEN
    assert lamp.value == 1
    assert not lamp.asked


async def test_what_changes_something_must_prove_that_it_is_new() -> None:
    lamp, clock = Lamp(), Clock()
    tree, who = Tree([lamp], clock), asker(clock=clock)
    order = get("lamp", code=coap.POST, payload=cbor2.dumps(7))
    asked = await tree.answer(who, order)
    assert asked.code == coap.UNAUTHORIZED
    assert not lamp.asked
    proof = (coap.ECHO, asked.first(coap.ECHO) or b"")
    clock.now_s += LIFETIME_S + 1
    late = await tree.answer(who, Message(order.code, (*order.options, proof), order.payload))
    assert late.code == coap.UNAUTHORIZED
    assert late.first(coap.ECHO) != proof[1]
    assert lamp.value == 1
    assert (await changed(tree, who, order)).code == coap.CHANGED
    assert lamp.value == 7


def test_an_echo_of_another_connection_or_one_made_up_proves_nothing() -> None:
    clock = Clock()
    one, other = Freshness(clock), Freshness(clock)
    assert one.proves(one.echo())
    assert not other.proves(one.echo())
    assert not one.proves(None)
    assert not one.proves(b"")
    assert not one.proves(b"\xff" * 14)
    ahead = one.echo()
    clock.now_s -= 1
    assert not one.proves(ahead)


async def test_a_large_body_comes_in_blocks_and_a_larger_one_not_at_all() -> None:
    lamp, clock = Lamp(), Clock()
    tree, who = Tree([lamp], clock), asker(clock=clock)
    body = cbor2.dumps(bytes(40_000))
    echo = (coap.ECHO, who.freshness.echo())
    for at in range(0, len(body), 16_384):
        more = at + 16_384 < len(body)
        block = (coap.BLOCK1, coap.uint(at // 1024 << 4 | more << 3 | 7))
        answer = await tree.answer(who, get("lamp", block, echo, code=coap.PUT, payload=body[at : at + 16_384]))
        assert answer.code == (coap.CONTINUE if more else coap.CHANGED)
        assert answer.first(coap.BLOCK1) == block[1]
    assert lamp.value == bytes(40_000)

    huge = (coap.SIZE1, coap.uint(LARGEST_BODY + 1))
    answer = await tree.answer(who, get("lamp", (coap.BLOCK1, b"\x0f"), huge, echo, code=coap.PUT, payload=bytes(1024)))
    assert answer.code == coap.TOO_LARGE
    assert answer.uint(coap.SIZE1) == LARGEST_BODY
    endless = get("lamp", echo, code=coap.PUT, payload=bytes(LARGEST_BODY + 1))
    assert (await tree.answer(who, endless)).code == coap.TOO_LARGE
    out_of_turn = get("lamp", (coap.BLOCK1, b"\x5f"), echo, code=coap.PUT, payload=bytes(1024))
    assert (await tree.answer(who, out_of_turn)).code == coap.INCOMPLETE


def test_a_body_without_an_end_is_cut_off_at_its_limit() -> None:
    coming, piece = Coming(), bytes(16_384)
    for at in range(0, LARGEST_BODY + 1, len(piece)):
        block = (coap.BLOCK1, coap.uint(at // 1024 << 4 | 8 | 7))
        whole, answer = coming.take("main", get("lamp", block, code=coap.PUT, payload=piece), 0.0)
        assert whole is None
        assert answer is not None
    assert answer.code == coap.TOO_LARGE


def test_bodies_begun_are_few() -> None:
    coming = Coming()
    for number in range(3 * BODIES):
        tag, first = (coap.REQUEST_TAG, bytes([number])), (coap.BLOCK1, b"\x0e")
        coming.take("main", get("lamp", tag, first, code=coap.PUT, payload=bytes(1024)), 0.0)
    second = (coap.BLOCK1, coap.uint(1 << 4 | 6))
    ends = [
        coming.take("main", get("lamp", (coap.REQUEST_TAG, bytes([n])), second, code=coap.PUT), 1.0)[0]
        for n in range(3 * BODIES)
    ]
    assert sum(one is not None for one in ends) == BODIES


@pytest.mark.parametrize("exponent", [0, 6, 7])
async def test_a_large_answer_goes_in_blocks_of_one_state(exponent: int) -> None:
    lamp = Lamp()
    lamp.value = bytes(range(256)) * 150
    whole, tree, who = cbor2.dumps(lamp.value), Tree([lamp]), asker()
    found, tags = b"", set()
    while len(found) < len(whole):
        step = 1 << min(exponent, 6) + 4
        block = (coap.BLOCK2, coap.uint(len(found) // step << 4 | exponent))
        answer = await tree.answer(who, get("lamp", block))
        who.left = BURST  # what is measured here is no rate
        assert answer.code == coap.CONTENT, answer.dotted
        found += answer.payload
        tags.add(answer.first(coap.ETAG))
        lamp.value = b"another"
        its = Block.read(answer.first(coap.BLOCK2) or b"")
        assert its is not None
        assert its.more == (len(found) < len(whole))
        assert its.fits(len(answer.payload))
    assert found == whole
    assert len(tags) == 1
    assert len(lamp.asked) == 1


async def test_a_peer_that_takes_little_gets_small_blocks() -> None:
    lamp = Lamp()
    lamp.value = bytes(5000)
    answer = await Tree([lamp]).answer(asker(largest=coap.UNSAID_MESSAGE_SIZE), get("lamp"))
    assert len(answer.payload) == 1024
    assert answer.uint(coap.BLOCK2) == 8 | 6


async def test_more_requests_than_anybody_needs_are_put_off() -> None:
    tree, who, clock = Tree([Lamp()], clock := Clock()), asker(clock=clock), clock
    codes = [(await tree.answer(who, get("lamp"))).code for _ in range(int(BURST) + 5)]
    assert codes.count(coap.TOO_MANY) == 5
    clock.now_s += 1
    assert (await tree.answer(who, get("lamp"))).code == coap.CONTENT


options = st.lists(
    st.tuples(
        st.sampled_from([1, 3, 4, 5, 6, 7, 8, 11, 11, 11, 12, 14, 15, 17, 20, 23, 27, 28, 35, 60, 252, 292, 65535]),
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from([b"lamp", b".well-known", b"core", b"..", b"\xff", b"a=b", b"\x0e", b"\x0f", b"\x16"]),
        ),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 255), options, st.binary(max_size=64), st.booleans(), st.sets(st.sampled_from(Role))),
        max_size=4,
    )
)
def test_nothing_from_outside_makes_it_raise(
    requests: list[tuple[int, list[tuple[int, bytes]], bytes, bool, set[Role]]],
) -> None:
    tree, clock = Tree([Lamp()]), Clock()

    async def all_of_them() -> None:
        for code, some, payload, fresh, roles in requests:
            who = Asker("main", frozenset(roles), Freshness(clock), at_s=clock())
            proof = [(coap.ECHO, who.freshness.echo())] if fresh else []
            answer = await tree.answer(who, Message(code, (*proof, *some), payload))
            assert 2 <= answer.code >> 5 <= 5
            coap.Frames(1 << 20).feed(coap.to_frame(answer))  # it can be written
            tree.changes(who, Message(code, tuple(some), payload))

    asyncio.run(all_of_them())
