"""Commands and maintenance as a center asks for them: roles, freshness, a field half that decides, and the tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import cbor2
import pytest
from agent_rig import ALL, rig

from gateway.agent.commands import Commands
from gateway.agent.control import Control
from gateway.agent.maintenance import Maintenance
from gateway.agent.resource import Refused, Request, Role
from gateway.center import control as center_control
from gateway.cli import main
from gateway.field import control
from gateway.site.site import Site
from gateway.tools import command as verb
from gateway.wire import coap

STANDING = {
    "leases": [
        {
            "point": "lamp.level",
            "value": 40.0,
            "rest": 7.0,
            "left_s": 59.0,
            "by": "center:main kim",
            "step": "falling",
            "stuck": True,
        }
    ],
    "points": [{"point": "lamp.level", "low": 0.0, "high": 100.0, "unit": "/100", "rest": None}],
    "longest_lease_s": 600.0,
    "a_minute": 6.0,
}
DONE = {"point": "lamp.level", "value": 40.0, "rest": 7.0, "lease_s": 900.0, "latency_ms": 12.0}
HELD = {"windows": [{"device": "", "left_s": 60, "why": "", "by": "center:main kim", "held": 0}], "held": []}


class Half:
    """A field half that notes what it is asked, and answers as told."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.refusal: dict[str, Any] = {}

    async def command(self, request: Mapping[str, Any]) -> Any:
        self.asked.append({word: value for word, value in request.items() if word != control.TRUSTED})
        return self.refusal or DONE

    async def maintain(self, request: Mapping[str, Any]) -> Any:
        self.asked.append({word: value for word, value in request.items() if word != control.TRUSTED})
        return self.refusal or HELD

    async def commands(self, request: Mapping[str, Any]) -> Any:
        return STANDING


@pytest.fixture
async def half(tmp_path: Path) -> AsyncIterator[Half]:
    one = Half()
    errands = {"command": one.command, "commands": one.commands, "maintain": one.maintain}
    answers = {"health": lambda: {"maintenance": HELD}}
    server = await control.serve(tmp_path / "field.sock", answers, None, errands)
    yield one
    server.close()


def both(tmp_path: Path) -> list[Any]:
    site = cast(Site, None)
    return [Commands(site, Control(tmp_path)), Maintenance(site, Control(tmp_path))]


def post(body: Any, *path: str) -> Request:
    return Request("main", ALL, coap.POST, path, payload=cbor2.dumps(body))


async def test_a_command_goes_to_the_field_half_with_who_asks(half: Half, tmp_path: Path) -> None:
    commands, _ = both(tmp_path)
    body = {"point": "lamp.level", "value": 40, "lease_s": 900, "by": "kim", "id": "8f"}
    reply = await commands.answer(post(body))
    assert reply.code == coap.CHANGED
    assert cbor2.loads(reply.payload) == DONE
    await commands.answer(Request("main", ALL, coap.DELETE, ("lamp.level",)))
    assert half.asked == [
        {"command": "lamp.level", "value": 40, "lease_s": 900, "by": "center:main kim", "id": "main/8f"},
        {"command": "lamp.level", "off": True, "by": "center:main"},
    ]
    assert cbor2.loads((await commands.answer(Request("main", ALL, coap.GET))).payload) == STANDING


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("CG-6121", coap.FORBIDDEN),
        ("CG-6123", coap.BAD_REQUEST),
        ("CG-6126", coap.TOO_MANY),
        ("CG-6127", coap.UNAVAILABLE),
    ],
)
async def test_a_refusal_is_told_as_it_was_said(half: Half, tmp_path: Path, code: str, status: int) -> None:
    half.refusal = {"code": code, "error": "no", "error_ko": "안 됩니다"}
    with pytest.raises(Refused) as no:
        await both(tmp_path)[0].answer(post({"point": "lamp.level", "value": 1, "lease_s": 1}))
    assert (no.value.status, no.value.code, no.value.ko) == (status, code, "안 됩니다")


@pytest.mark.parametrize(
    "body",
    [7, [], {}, {"value": 1}, {"point": {"a": 1}}, {"point": "x", 1: 2}, {"point": "x" * 3000}, {"point": ["lamp"]}],
)
async def test_nonsense_reaches_nobody(half: Half, tmp_path: Path, body: Any) -> None:
    for resource in both(tmp_path):
        with pytest.raises(Refused):
            await resource.answer(post(body))
        with pytest.raises(Refused):
            await resource.answer(post(body, "a", "b"))
        with pytest.raises(Refused):
            await resource.answer(Request("main", ALL, coap.PUT, payload=cbor2.dumps(body)))
        with pytest.raises(Refused):
            await resource.answer(Request("main", ALL, coap.DELETE, ("a", "b")))
    assert half.asked == []


async def test_a_control_word_smuggled_in_a_value_is_refused_there(half: Half, tmp_path: Path) -> None:
    """`set` writes without a lease: nothing of a request may become a word of the control socket."""
    await both(tmp_path)[0].answer(post({"point": "lamp.level", "value": 1, "lease_s": 1, "set": "lamp.level"}))
    assert set(half.asked[0]) == {"command", "value", "lease_s", "by", "id"}


async def test_only_a_center_that_may_operate_commands(half: Half, tmp_path: Path) -> None:
    body = cbor2.dumps({"point": "lamp.level", "value": 40, "lease_s": 900})
    async with rig(tmp_path, both(tmp_path), roles=frozenset({Role.OBSERVE, Role.RELEASE})) as one:
        assert (await one.ask("commands")).code == coap.CONTENT
        assert (await one.ask("commands", coap.POST, body)).code == coap.FORBIDDEN
        assert (await one.ask("commands/lamp.level", coap.DELETE)).code == coap.FORBIDDEN
        assert (await one.ask("maintenance", coap.POST, body)).code == coap.FORBIDDEN
    assert half.asked == []


async def test_the_tools_ask_through_the_center(half: Half, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "c.sock")

    async def cli(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*words, "--control", path])
        said = capsys.readouterr()
        return code, said.out, said.err

    async with rig(tmp_path, both(tmp_path)) as one:
        server = await center_control.serve(Path(path), one.agents)
        code, out, _ = await cli("command", "cab", "lamp.level", "40", "--for", "15m", "--by", "kim")
        assert (code, out) == (0, "lamp.level = 40, read back after 12 ms; back to 7 in 900 s\n")
        assert half.asked[-1]["lease_s"] == 900
        assert half.asked[-1]["by"] == "center:main kim"
        code, out, _ = await cli("command", "cab", "lamp.level", "--release")
        assert code == 0
        assert half.asked[-1]["off"] is True
        code, out, _ = await cli("command", "cab")
        assert "59 s left, then 7, by center:main kim  [falling, cannot be put back]" in out
        assert "lamp.level                   0 to 100 /100" in out
        code, out, _ = await cli("command", "cab", "--json")
        assert json.loads(out) == STANDING
        for words in (("lamp.level",), ("lamp.level", "40"), ("lamp.level", "40", "--for", "soon")):
            code, _, err = await cli("command", "cab", *words)
            assert code == 1
            assert "CG-6136" in err
        half.refusal = {"code": "CG-6121", "error": "not allowed", "error_ko": "허용되지 않음"}
        code, _, err = await cli("command", "cab", "lamp.level", "40", "--for", "1m")
        assert code == 1
        assert "not allowed" in err
        assert "허용되지 않음" in err
        half.refusal = {}
        code, out, _ = await cli("maintenance", "cab", "on", "--center", "--for", "45m", "--device", "lamp")
        assert code == 0
        assert half.asked[-1]["maintain"] == "lamp"
        assert half.asked[-1]["for_s"] == 2700
        code, out, _ = await cli("maintenance", "cab", "off", "--center", "--device", "lamp")
        assert half.asked[-1]["off"] is True
        code, out, _ = await cli("maintenance", "cab", "show", "--center")
        assert "by center:main kim" in out
        server.close()
    code, _, err = await cli("command", "cab", "lamp.level", "40", "--for", "1m")
    assert code == 2
    assert "CG-6112" in err


def test_what_is_done_but_not_on_record_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert verb._told(DONE | {"unaudited": "CG-5142 full"}, False, verb._set) == 0
    assert "CG-5142 full" in capsys.readouterr().err
