"""Contexts that several centers hold: numbers of their own, and freshness asked for again after another has heard."""

import json
from pathlib import Path

import pytest
from test_center_intake import event, message

from gateway.center import numbers
from gateway.center.intake import Keyring
from gateway.center.numbers import BLOCK, Blocks, SharedContext
from gateway.spool.trouble import Trouble
from gateway.wire import coap, secure
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create


def sealed(key: SecurityContext, echo: bytes = b"") -> tuple[Message, object]:
    options = ((coap.URI_PATH, b"e"), *(((coap.ECHO, echo),) if echo else ()))
    return secure.protect_request(key, Message(coap.POST, options, message(event())[1]))


def challenge(context: SecurityContext, key: SecurityContext, request: tuple[Message, object]) -> bytes:
    """The Echo that the center asks for."""
    with pytest.raises(secure.Unfresh) as asked:
        secure.open_request(context, request[0])
    return secure.open_response(key, asked.value.answer, request[1]).first(coap.ECHO) or b""


def test_a_context_is_settled_by_proof_and_unsettled_by_another_center(tmp_path: Path) -> None:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    key = SecurityContext(tmp_path / "gw")
    a, b = (SharedContext(tmp_path / "keys" / "cab", Blocks(block)) for block in (5, 6))
    old = sealed(key)
    proven = sealed(key, challenge(a, key, old))
    secure.open_request(a, proven[0])
    for again in (old, proven):
        with pytest.raises(secure.Replayed):
            secure.open_request(a, again[0])
    at_b = sealed(key, challenge(b, key, proven))
    secure.open_request(b, at_b[0])
    a.unsettle()
    for again in (old, proven, at_b):
        assert challenge(a, key, again), "no recorded packet is taken, and no recorded Echo is proof"
    secure.open_request(a, sealed(key, challenge(a, key, sealed(key)))[0])
    key.close()


def test_numbers_come_from_the_block_and_the_next_one(tmp_path: Path) -> None:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    wanted: list[int] = []
    blocks = Blocks(3, lambda: wanted.append(1))
    context = SharedContext(tmp_path / "keys" / "cab", blocks)
    assert context.new_sequence_number() == 3 * BLOCK
    context.sender_sequence_number = 3 * BLOCK + BLOCK // 2 - 1
    context.new_sequence_number()
    assert wanted == [1]
    context.sender_sequence_number = 4 * BLOCK - 1
    with pytest.raises(numbers.oscore.ContextUnavailable):
        context.new_sequence_number()
    blocks.block = 9
    used = [context.new_sequence_number() for _ in range(2)]
    assert used == [4 * BLOCK - 1, 9 * BLOCK]


def test_numbers_used_before_the_centers_shared_them_are_not_used_again(tmp_path: Path) -> None:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    (tmp_path / "keys" / "cab" / "sequence.json").write_text(json.dumps({"next": 2 * BLOCK, "machine": ""}))
    with pytest.raises(Trouble, match="CG-4210"):
        SharedContext(tmp_path / "keys" / "cab", Blocks(1))
    assert SharedContext(tmp_path / "keys" / "cab", Blocks(2)).sender_sequence_number == 2 * BLOCK


def test_a_folder_is_counted_at_one_place(tmp_path: Path) -> None:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    alone = Keyring(tmp_path / "keys")
    with pytest.raises(Trouble, match="CG-4004"):
        Keyring(tmp_path / "keys", ("stream a", Blocks(1)))
    alone.close()
    a, b = (Keyring(tmp_path / "keys", ("stream a", Blocks(block))) for block in (1, 2))
    for where in (None, ("stream b", Blocks(1))):
        with pytest.raises(Trouble, match="CG-4209"):
            Keyring(tmp_path / "keys", where)
    a.close()
    b.close()
