"""Enrolment by EDHOC: both sides come to the same context, everything foreign is refused, strangers stay bounded."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import cli
from gateway.center import enrolment, intake
from gateway.center import main as center_main
from gateway.center.enrolment import Enrolment, accept, accepted_keys, revoke, waiting
from gateway.site.upstream import Upstream
from gateway.spool.trouble import Trouble
from gateway.tools import enrol as tool
from gateway.uplink.converse import post
from gateway.uplink.port import Port
from gateway.uplink.way import Kind, Way
from gateway.wire import coap, edhoc, hello, state
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext
from gateway.wire.edhoc import Initiator, Key, Refused, Responder
from gateway.wire.identity import identity
from tests.ports import free_port

GATEWAY, CENTER, OTHER = Key.new("cab-7"), Key.new("center"), Key.new("cab-7")


def exchange(gateway: Key = GATEWAY, center: Key = CENTER) -> tuple[Any, Any]:
    ours, theirs = Initiator(gateway), Responder(center, b"\x12\x34")
    _, first = edhoc.split(ours.first())
    identifier, third = edhoc.split(ours.third(theirs.second(first), lambda peer: True))
    assert identifier == b"\x12\x34"
    peer, fourth, at_center = theirs.fourth(third, lambda peer: peer.fingerprint == GATEWAY.fingerprint)
    assert (peer.name, peer.fingerprint) == ("cab-7", gateway.fingerprint)
    return ours.done(fourth), at_center


def test_both_sides_derive_the_same_keys_and_new_ones_each_time() -> None:
    ours, theirs = exchange()
    assert (ours.secret, ours.salt) == (theirs.secret, theirs.salt)
    assert (ours.sender_id, ours.recipient_id) == (theirs.recipient_id, theirs.sender_id) == (b"\x12\x34", b"\x00")
    assert exchange()[0].secret != ours.secret


def test_a_foreign_key_is_refused_at_either_end() -> None:
    with pytest.raises(Refused) as refused:
        exchange(gateway=OTHER)
    assert refused.value.code == edhoc.UNKNOWN_CREDENTIAL
    with pytest.raises(Refused):
        Initiator(GATEWAY).done(refused.value.encode())
    ours, theirs = Initiator(GATEWAY), Responder(CENTER, b"\x12\x34")
    second = theirs.second(edhoc.split(ours.first())[1])
    with pytest.raises(Refused, match=CENTER.fingerprint):
        ours.third(second, lambda peer: peer.fingerprint == OTHER.fingerprint)


def test_who_shows_a_key_must_hold_it() -> None:
    thief = Key.new("cab-7")
    thief.credential, thief.fingerprint = GATEWAY.credential, GATEWAY.fingerprint
    with pytest.raises(Refused):
        exchange(gateway=thief)
    with pytest.raises(Refused):
        exchange(center=_with(Key.new("center"), CENTER.credential))


def _with(key: Key, credential: bytes) -> Key:
    key.credential = credential
    return key


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda m: b"\x00" + m[1:], edhoc.UNSPECIFIED),  # method 0: signatures
        (lambda m: m[:1] + b"\x00" + m[2:], edhoc.WRONG_SUITE),
        (lambda m: m[:1] + b"\x82\x02\x03" + m[2:], edhoc.WRONG_SUITE),
        (lambda m: m[:20], edhoc.UNSPECIFIED),
        (lambda m: b"", edhoc.UNSPECIFIED),
    ],
)
def test_what_is_offered_must_be_what_we_speak(change: Any, code: int) -> None:
    first = edhoc.split(Initiator(GATEWAY).first())[1]
    with pytest.raises(Refused) as refused:
        Responder(CENTER, b"\x12\x34").second(change(first))
    assert refused.value.code == code
    if code == edhoc.WRONG_SUITE:
        assert refused.value.encode() == b"\x02\x02", "SUITES_R, RFC 9528 section 6.3"


def test_the_credential_is_a_ccs_with_a_cose_key() -> None:
    ccs = cbor2.loads(GATEWAY.credential)
    assert ccs[2] == "cab-7"
    assert {1, -1, -2, -3} <= ccs[8][1].keys()
    assert edhoc.fingerprint(ccs[8][1][-2]) == GATEWAY.fingerprint
    assert edhoc.as_fingerprint(f" {GATEWAY.fingerprint.upper().replace('-', ' ')}") == GATEWAY.fingerprint


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([1, 2, 3, 4]), st.integers(0, 10_000), st.binary(max_size=3), st.booleans())
def test_a_mutated_exchange_never_succeeds_and_never_crashes(which: int, at: int, noise: bytes, cut: bool) -> None:
    def bent(message: bytes) -> bytes:
        nonlocal which
        which -= 1
        if which:
            return message
        place = at % len(message)
        out = message[:place] if cut else message[:place] + noise + message[place + len(noise) :]
        return out if out != message else message + b"\x00"

    def taken() -> bool:
        ours, theirs = Initiator(GATEWAY), Responder(CENTER, b"\x12\x34")
        _, first = edhoc.split(bent(ours.first()))
        identifier, third = edhoc.split(bent(ours.third(bent(theirs.second(first)), lambda peer: True)))
        if identifier != theirs.id:
            return False
        _, fourth, derived = theirs.fourth(third, lambda peer: True)
        return bool(ours.done(bent(fourth)) == derived)

    try:
        assert not taken()
    except Refused:
        return


def desk(folder: Path) -> tuple[Enrolment, list[str]]:
    folder.mkdir(exist_ok=True)
    renewed: list[str] = []
    return Enrolment(folder, renewed.append, lambda _: False), renewed


def ask(payload: bytes) -> Message:
    path = tuple((coap.URI_PATH, part.encode()) for part in edhoc.PATH)
    return Message(coap.POST, (*path, (coap.CONTENT_FORMAT, b"\x41")), payload)


async def test_the_desk_notes_who_waits_and_installs_who_is_accepted(tmp_path: Path) -> None:
    one, renewed = desk(tmp_path / "keys")

    async def through(key: Key = GATEWAY) -> tuple[Message, Initiator, bytes]:
        ours = Initiator(key)
        second = await one.answer(ask(ours.first()), "192.0.2.1")
        assert second is not None
        assert second.code == coap.CHANGED
        third = ours.third(second.payload, lambda peer: peer.name == "center")
        answer = await one.answer(ask(third), "192.0.2.1")
        assert answer is not None
        return answer, ours, third

    answer, ours, _ = await through()
    with pytest.raises(Refused) as refused:
        ours.done(answer.payload)
    assert refused.value.code == edhoc.UNKNOWN_CREDENTIAL
    assert [(w["name"], w["fingerprint"]) for w in waiting(tmp_path / "keys")] == [("cab-7", GATEWAY.fingerprint)]
    assert not (tmp_path / "keys" / "cab-7").exists()

    accept(tmp_path / "keys", "north-7", GATEWAY.fingerprint)
    answer, ours, third = await through()
    derived = ours.done(answer.payload)
    assert set(renewed) == {"north-7"}
    assert waiting(tmp_path / "keys") == []
    context = SecurityContext(tmp_path / "keys" / "north-7", own=False)
    assert (context.recipient_id, context.sender_id) == (derived.sender_id, derived.recipient_id)
    assert (tmp_path / "keys" / "north-7" / "context.json").stat().st_mode & 0o777 == 0o600

    again = await one.answer(ask(third), "192.0.2.1")
    assert again == answer, "an answer that was lost is said again"
    stranger, _ = desk(tmp_path / "other")
    replayed = await stranger.answer(ask(third), "192.0.2.1")
    assert replayed is not None
    assert replayed.code == coap.BAD_REQUEST


async def test_strangers_get_little_and_never_three_times_what_they_sent(tmp_path: Path) -> None:
    one, _ = desk(tmp_path / "keys")
    dice, answered = random.Random(4), 0
    first = Initiator(GATEWAY).first()
    for n in range(400):
        mutated = first if n % 3 else dice.randbytes(dice.randrange(60))
        request = ask(mutated)
        if (answer := await one.answer(request, f"192.0.2.{n % 4}")) is not None:
            answered += 1
            assert len(coap.to_datagram(answer)) <= 3 * len(coap.to_datagram(request))
    assert answered <= enrolment.ALL_BURST + 5, "all together"
    assert len(one._begun) <= enrolment.AT_ONCE
    assert await one.answer(Message(coap.GET, ask(b"").options), "198.51.100.1") in (None, Message(coap.NOT_ALLOWED))


def test_accepting_and_revoking(tmp_path: Path) -> None:
    assert accept(tmp_path, "a", GATEWAY.fingerprint) == ""
    assert accept(tmp_path, "b", GATEWAY.fingerprint) == "", "one key is one gateway"
    assert accepted_keys(tmp_path) == {"b": GATEWAY.fingerprint}
    assert accept(tmp_path, "b", OTHER.fingerprint) == GATEWAY.fingerprint
    assert revoke(tmp_path, "b")
    assert not revoke(tmp_path, "b")
    (tmp_path / enrolment.DESK / enrolment.ACCEPTED).write_text("[")
    with pytest.raises(Trouble, match="CG-4207"):
        accept(tmp_path, "a", GATEWAY.fingerprint)


def test_a_gateways_key_stays_on_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = identity(tmp_path, "cab-7", own=True).fingerprint
    assert (tmp_path / "key.json").stat().st_mode & 0o777 == 0o600
    assert identity(tmp_path, "cab-7", own=True).fingerprint == made
    monkeypatch.setattr(state, "MACHINE_ID", tmp_path / "machine-id")
    (tmp_path / "machine-id").write_text("another machine")
    with pytest.raises(Trouble, match="CG-4010"):
        identity(tmp_path, "cab-7", own=True)
    assert identity(tmp_path, "cab-7", own=True, rebind=True).fingerprint == made
    assert identity(tmp_path, "cab-7", own=True).fingerprint == made
    (tmp_path / "key.json").chmod(0o644)
    with pytest.raises(Trouble, match="CG-4009"):
        identity(tmp_path, "cab-7", own=True)
    (tmp_path / "key.json").chmod(0o600)
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(Trouble, match="CG-4009"):
        identity(tmp_path, "cab-7", own=True)


# -- the whole of it: commands, a center on real sockets, OSCORE afterwards


@asynccontextmanager
async def center(folder: Path, port: int) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    keys = folder / "keys"
    keys.mkdir(exist_ok=True)
    serving = asyncio.create_task(
        center_main.serve(f"127.0.0.1:{port}", str(folder / "c.db"), str(keys), insecure=False, stop=stop, ready=ready)
    )
    await asyncio.wait([serving, begun := asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    begun.cancel()
    try:
        yield
    finally:
        stop.set()
        await serving


SITE = """
schema = 1
[gateway]
id = "cab-7"
[[upstreams]]
name = "city"
uri = "{scheme}://127.0.0.1:{port}"
credentials = "credentials/city"
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = cli.main([*arguments, "--json"])
    said = capsys.readouterr().out.splitlines()
    return code, json.loads(said[-1]) if said else {}


@pytest.mark.parametrize("scheme", ["coap", "coap+tcp"])
async def test_a_gateway_enrols_sends_is_enrolled_anew_and_revoked(
    scheme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "RESCAN_S", 0.0)
    port = free_port()
    site, keys = tmp_path / "site.toml", str(tmp_path / "keys")
    site.write_text(SITE.format(scheme=scheme, port=port))
    upstream = Upstream("city", f"coap://127.0.0.1:{port}", "", False, ("",))

    def do(*arguments: str) -> Any:
        return asyncio.to_thread(run, capsys, *arguments)

    async def heard() -> Kind:
        context = SecurityContext(tmp_path / "credentials" / "city")
        way = Way(upstream, "cab-7", context)
        one = Port(way)
        try:
            said = hello.encode("cab-7", "00" * 8, "city", 0, hello.Hello(90.0))
            return (await post(way, hello.PATH, 112, said, one.ask, largest=1024)).kind
        finally:
            await one.close()
            context.close()

    async with center(tmp_path, port):
        code, said = await do("enrol", str(site))
        assert (code, said["state"]) == (1, "unconfirmed")
        assert said["center"] == (await do("center", "key", "--credentials", keys))[1]["fingerprint"]
        code, wrong = await do("enrol", str(site), "--center", "0" * 32)
        assert (code, wrong) == (2, {})
        code, said = await do("enrol", str(site), "--center", said["center"])
        assert (code, said["state"]) == (1, "waiting")
        code, one = await do("center", "waiting", "--credentials", keys)
        assert one["fingerprint"] == said["fingerprint"]
        assert (await do("center", "accept", "cab-7", said["fingerprint"], "--credentials", keys))[0] == 0
        code, said = await do("enrol", str(site), "--center", said["center"])
        assert (code, said["state"]) == (0, "enrolled")
        assert await heard() is Kind.STORED
        old = (tmp_path / "credentials" / "city" / "context.json").read_bytes()
        numbers = json.loads((tmp_path / "credentials" / "city" / "sequence.json").read_text())["next"]

        code, said = await do("enrol", str(site))
        assert (code, said["state"]) == (0, "enrolled"), "the center's key is remembered"
        assert json.loads((tmp_path / "credentials" / "city" / "sequence.json").read_text())["next"] >= numbers
        assert await heard() is Kind.STORED
        fresh = (tmp_path / "credentials" / "city" / "context.json").read_bytes()
        (tmp_path / "credentials" / "city" / "context.json").write_bytes(old)
        assert await heard() is Kind.STRANGER, "the context before is worth nothing"
        (tmp_path / "credentials" / "city" / "context.json").write_bytes(fresh)

        assert (await do("center", "revoke", "cab-7", "--credentials", keys))[0] == 0
        assert await heard() is Kind.STRANGER
        assert (await do("center", "revoke", "cab-7", "--credentials", keys))[0] == 1
    code, said = await do("enrol", str(site))
    assert (code, said) == (2, {}), "no center answers"


async def test_what_stands_in_the_way_of_enrolling_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(scheme="coap", port=9))
    assert await asyncio.to_thread(cli.main, ["enrol", str(site), "--upstream", "moon"]) == 2
    assert "CG-4011" in capsys.readouterr().err
    assert await asyncio.to_thread(cli.main, ["enrol", str(site), "--center", "abc"]) == 2
    assert "CG-4012" in capsys.readouterr().err
    lock = state.exclusive(tool._folder(str(tmp_path / "credentials" / "city")))
    assert await asyncio.to_thread(cli.main, ["enrol", str(site)]) == 2
    assert "CG-4004" in capsys.readouterr().err, "a sending half that runs holds it"
    os.close(lock)
    (tmp_path / "keys").mkdir()
    assert (
        await asyncio.to_thread(cli.main, ["center", "accept", "../x", "0" * 32, "--credentials", str(tmp_path)]) == 2
    )
    assert "CG-4007" in capsys.readouterr().err
