"""The resource directory: who is in it, who may look, and what does not get in."""

import asyncio
from pathlib import Path

import aiocoap
import pytest
from aiocoap.message import UndecidedRemote
from aiocoap.transports.oscore import OSCOREAddress
from hypothesis import given
from hypothesis import strategies as st
from test_center_intake import client

from gateway.center import directory as directory_module
from gateway.center import main
from gateway.center.directory import Directory
from gateway.wire import coap
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create
from tests.ports import begun, free_port


def asked(
    directory: Directory,
    who: str,
    code: int,
    path: str,
    *query: str,
    body: bytes = b"",
    now_s: float = 0.0,
    **options: int,
) -> Message:
    found = tuple((coap.URI_QUERY, text.encode()) for text in query)
    more = tuple((getattr(coap, name), coap.uint(value)) for name, value in options.items())
    return directory.answer(who, path, Message(code, (*found, *more), body), "10.0.0.7", now_s)


def test_a_gateway_is_in_it_from_its_first_message_for_twice_its_promise() -> None:
    directory = Directory(["dispatch"])
    directory.heard("cab-1", 60.0, 0.0)
    directory.heard("cab-2", 0.0, 0.0)
    both = asked(directory, "dispatch", coap.GET, "rd-lookup/ep", now_s=119.0)
    assert both.payload == (
        b'</rd/cab-1>;ep="cab-1";lt="120";rt="core.rd-ep",</rd/cab-2>;ep="cab-2";lt="90000";rt="core.rd-ep"'
    )
    assert both.uint(coap.CONTENT_FORMAT) == 40
    assert b"cab-1" not in asked(directory, "dispatch", coap.GET, "rd-lookup/ep", now_s=120.0).payload


def test_a_gateway_sees_itself_and_no_other() -> None:
    directory = Directory(["dispatch"])
    for name in ("cab-1", "cab-2"):
        directory.heard(name, 60.0, 0.0)
    assert asked(directory, "cab-1", coap.GET, "rd-lookup/ep").payload.count(b"<") == 1
    assert asked(directory, "cab-1", coap.GET, "rd-lookup/ep", "ep=cab-2").payload == b""
    assert asked(directory, "cab-3", coap.GET, "rd-lookup/ep").payload == b""
    for code, path in ((coap.POST, "rd/cab-2"), (coap.DELETE, "rd/cab-2"), (coap.GET, "rd/cab-2")):
        assert asked(directory, "cab-1", code, path).code == coap.FORBIDDEN
    assert asked(directory, "cab-1", coap.POST, "rd", "ep=cab-2").code == coap.FORBIDDEN


def test_registration_update_lookup_and_removal() -> None:
    directory = Directory(["dispatch"])
    body = b'</w>;rt="citygate.windows";if="core.s core.b",</e>;rt=citygate.event;obs'
    made = asked(directory, "cab-1", coap.POST, "rd", "ep=cab-1", "d=gwanghwamun", "lt=300", "et=citygate", body=body)
    assert (made.code, made.options) == (coap.CREATED, ((coap.LOCATION_PATH, b"rd"), (coap.LOCATION_PATH, b"cab-1")))
    directory.heard("cab-1", 60.0, 0.0)

    def look(path: str, *query: str, now_s: float = 0.0) -> bytes:
        return asked(directory, "dispatch", coap.GET, f"rd-lookup/{path}", *query, now_s=now_s).payload

    assert look("ep", "d=gwanghwamun", "et=city*") == (
        b'</rd/cab-1>;ep="cab-1";d="gwanghwamun";base="coap://10.0.0.7";lt="300";rt="core.rd-ep";et="citygate"'
    )
    assert look("res", "rt=citygate.event") == b'<coap://10.0.0.7/e>;rt="citygate.event";obs'
    assert look("res", "if=core.b").startswith(b"<coap://10.0.0.7/w>")
    assert look("res", "if=core") == look("ep", "d=mapo") == b""
    assert asked(directory, "cab-1", coap.POST, "rd/cab-1", "lt=1000", now_s=299.0).code == coap.CHANGED
    assert b'd="gwanghwamun"' in look("ep", now_s=1298.0)
    assert look("ep", now_s=1299.0) == b""
    assert asked(directory, "cab-1", coap.DELETE, "rd/cab-1", now_s=1000.0).code == coap.DELETED
    assert asked(directory, "cab-1", coap.DELETE, "rd/cab-1", now_s=1000.0).code == coap.NOT_FOUND


def test_what_does_not_get_in() -> None:
    directory = Directory()
    for query, body in (
        (("lt=0",), b""),
        (("lt=-1",), b""),
        (("lt=\u0661",), b""),
        (("base=nonsense",), b""),
        (('d="x',), b""),
        (("d=" + "x" * 200,), b""),
        ((), b"</a"),
        ((), b"<a>;x=\xff"),
        ((), b"<a>;rt=x;;"),
        ((), b"</a>," * 1000),
    ):
        with pytest.raises(ValueError):  # noqa: PT011, the words are the subject of no promise
            asked(directory, "cab-1", coap.POST, "rd", *query, body=body)
    assert asked(directory, "cab-1", coap.GET, "rd-lookup/ep", ACCEPT=60).code == coap.NOT_ACCEPTABLE
    assert asked(directory, "cab-1", coap.POST, "rd-lookup/ep").code == coap.NOT_ALLOWED


def test_it_is_found_by_its_types() -> None:
    directory = Directory()
    found = asked(directory, "cab-1", coap.GET, ".well-known/core", "rt=core.rd*").payload
    assert [part.split(b";")[0] for part in found.split(b",")] == [b"</rd>", b"</rd-lookup/ep>", b"</rd-lookup/res>"]
    assert asked(directory, "cab-1", coap.GET, ".well-known/core", "rt=core.rd").payload.startswith(b"</rd>")
    assert asked(directory, "cab-1", coap.GET, ".well-known/core", "rt=core.light").payload == b""


def test_it_is_bounded_and_comes_in_pages_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "ENDPOINTS", 500)
    directory = Directory(["dispatch"])
    for number in range(600):
        directory.heard(f"g{number}", 60.0, 0.0)
    every = asked(directory, "dispatch", coap.GET, "rd-lookup/ep", "ep=g*", "count=1000", BLOCK2=6)
    assert (
        every.uint(coap.SIZE2)
        == sum(len(f'</rd/g{n}>;ep="g{n}";lt="120";rt="core.rd-ep"') + 1 for n in range(100, 600)) - 1
    )
    page = asked(directory, "dispatch", coap.GET, "rd-lookup/ep", "page=1", "count=3")
    assert page.payload.count(b"ep=") == 3
    whole, number, more = b"", 0, True
    while more:
        part = asked(directory, "dispatch", coap.GET, "rd-lookup/ep", BLOCK2=number << 4 | 6)
        whole += part.payload
        more = bool((part.uint(coap.BLOCK2) or 0) & 8)
        number += 1
    assert len(whole) == part.uint(coap.SIZE2)
    assert whole.count(b"rt=") == 100
    with pytest.raises(ValueError, match="no such block"):
        asked(directory, "dispatch", coap.GET, "rd-lookup/ep", BLOCK2=999 << 4 | 6)


@given(st.binary(max_size=80), st.lists(st.text(max_size=20), max_size=4))
def test_any_body_and_query_is_an_answer_or_a_ValueError(body: bytes, query: list[str]) -> None:
    directory = Directory(["cab-1"])
    try:
        asked(directory, "cab-1", coap.POST, "rd", *query, body=body)
    except ValueError:
        return
    for path in ("rd-lookup/ep", "rd-lookup/res"):
        asked(directory, "cab-1", coap.GET, path)


async def test_a_stock_client_finds_registers_and_looks_up(tmp_path: Path) -> None:
    for name in ("cab-07", "dispatch"):
        create(name, tmp_path / f"own-{name}", tmp_path / "keys")
    port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
    where = (f"127.0.0.1:{port}", str(tmp_path / "c.db"), str(tmp_path / "keys"))
    serving = asyncio.create_task(main.serve(*where, insecure=False, stop=stop, ready=ready, observers=["dispatch"]))
    async with asyncio.timeout(10), client() as context:
        await begun(serving, ready)
        keys = {name: SecurityContext(tmp_path / f"own-{name}") for name in ("cab-07", "dispatch")}

        async def ask(who: str, code: aiocoap.Code, path: str, *query: str, payload: bytes = b"") -> aiocoap.Message:
            request = aiocoap.Message(code=code, uri_path=path.split("/"), uri_query=query, payload=payload)
            request.remote = OSCOREAddress(keys[who], UndecidedRemote("coap", f"127.0.0.1:{port}"))
            return await context.request(request).response

        assert b"core.rd-lookup-ep" in (await ask("cab-07", aiocoap.GET, ".well-known/core", "rt=core.rd*")).payload
        links = b",".join(b"</s/%d>;rt=sensor" % n for n in range(60))
        made = await ask("cab-07", aiocoap.POST, "rd", "ep=cab-07", "d=jongno", payload=links)
        assert (made.code, made.opt.location_path) == (aiocoap.CREATED, ("rd", "cab-07"))
        found = await ask("dispatch", aiocoap.GET, "rd-lookup/res", "d=jongno")
        assert found.payload.count(b"rt=") == 60, "more than one block"
        assert (await ask("cab-07", aiocoap.DELETE, "rd/cab-07")).code == aiocoap.DELETED
        for key in keys.values():
            key.close()
    stop.set()
    await serving
