"""A center's tools: its control socket, what is answered to nonsense, `citygate ask`, and the whole as processes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cbor2
import pytest
from agent_rig import Lamp, rig, until

from gateway.center import control
from gateway.spool.tail import Tail, blotted
from gateway.spool.trouble import Trouble
from gateway.tools import ask as verb
from gateway.tools import asking
from gateway.wire import coap, credentials
from tests.ports import free_port


async def test_tools_ask_through_the_centers_socket(tmp_path: Path) -> None:
    lamp = Lamp()
    path = str(tmp_path / "c.sock")
    async with rig(tmp_path, [lamp]) as one:
        server = await control.serve(Path(path), one.agents)
        assert os.stat(path).st_mode & 0o777 == 0o660
        (gateway,) = await asyncio.to_thread(asking.gateways, path)
        assert gateway["gateway"] == "cab"
        answer = await asyncio.to_thread(asking.ask, "cab", "lamp", control=path)
        assert answer.good
        assert answer.dotted == "2.05"
        assert answer.body() == 1
        answer = await asyncio.to_thread(asking.ask, "cab", "lamp", method=coap.POST, body={"level": 40}, control=path)
        assert answer.status == coap.CHANGED
        assert lamp.value == {"level": 40}
        refused = await asyncio.to_thread(asking.ask, "cab", "lamp/refused", control=path)
        assert (why := refused.refusal()) is not None
        assert why.code == "CG-6199"
        with pytest.raises(Trouble) as gone:
            await asyncio.to_thread(asking.ask, "nobody", "lamp", control=path)
        assert gone.value.code == "CG-6106"
        assert asking.said(gone.value) == 2

        def first_two() -> list[Any]:
            with closing(asking.observe("cab", "lamp", control=path)) as changes:
                found = [next(changes).body()]
                loop.call_soon_threadsafe(change)
                return [*found, next(changes).body()]

        def change() -> None:
            lamp.value = 2
            lamp.changed.set()

        loop = asyncio.get_running_loop()
        assert await asyncio.to_thread(first_two) == [{"level": 40}, 2]
        await until(lambda: lamp.watching == 0)  # the tool went, so nobody observes
        server.close()


@pytest.mark.parametrize(
    "asked",
    [
        cbor2.dumps(7),
        cbor2.dumps({"ask": "cab"}),
        cbor2.dumps({"ask": "cab", "path": ""}),
        cbor2.dumps({"ask": "cab", "path": "x" * 300}),
        cbor2.dumps({"ask": "cab", "path": "lamp", "method": 99}),
        cbor2.dumps({"ask": "cab", "path": "lamp", "body": "text"}),
        cbor2.dumps({"ask": "cab", "path": "lamp", "within_s": -1}),
        cbor2.dumps({"ask": "cab", "path": "lamp", "query": 7}),
        b"\xff\xff",
        b"",
    ],
)
async def test_nonsense_at_the_socket_is_an_answer_or_the_end(tmp_path: Path, asked: bytes) -> None:
    from gateway.center.agents import Agents

    server = await control.serve(tmp_path / "c.sock", Agents())
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "c.sock"))
    writer.write(len(asked).to_bytes(4, "big") + asked)
    told = await asyncio.wait_for(reader.read(1 << 16), 5)
    assert not told or cbor2.loads(told[4:])["code"] in ("CG-6109", "CG-6106")
    writer.close()
    server.close()


async def test_a_socket_of_a_living_center_is_not_taken_over(tmp_path: Path) -> None:
    from gateway.center.agents import Agents

    path = tmp_path / "c.sock"
    server = await control.serve(path, Agents())
    with pytest.raises(Trouble) as taken:
        await asyncio.to_thread(lambda: asyncio.run(control.serve(path, Agents())))
    assert taken.value.code == "CG-6110"
    assert path.exists()
    for _ in range(20):  # the center lets go of who asked whether it lives
        await asyncio.sleep(0)
    server.close()
    with socket.socket(socket.AF_UNIX) as dead:
        path.unlink(missing_ok=True)
        dead.bind(str(path))
    (await control.serve(path, Agents())).close()  # one that died left it behind
    with pytest.raises(Trouble):
        await control.serve(tmp_path / ("x" * 120), Agents())


def test_without_a_center_the_tool_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = verb.run("cab", "health", observe=False, within_s=1, control=str(tmp_path / "no.sock"), json=True)
    said = capsys.readouterr()
    assert code == 2
    assert not said.out
    assert "CG-6112" in said.err
    assert "--control" in said.err


def test_lines_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    body = {"a": 1, "b": {"c": [{"n": i, "x": b"\x01"} for i in range(20)]}, "d": None}
    assert verb._show(asking.Answer(coap.CONTENT, 60, cbor2.dumps(body)), json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["b"]["c"][3] == {"n": 3, "x": "01"}
    assert verb._show(asking.Answer(coap.CONTENT, 60, cbor2.dumps(body)), json=False) == 0
    assert "a: 1\nb:\n  c:\n    - " in capsys.readouterr().out
    assert verb._show(asking.Answer(coap.FORBIDDEN, None, b""), json=False) == 1
    assert "CG-6111" in capsys.readouterr().err


def test_secrets_are_blotted_out_of_log_lines() -> None:
    import logging

    assert blotted("token=abc password: hunter2 key = 'x' bus is down") == "token=… password: … key = … bus is down"
    assert blotted(f"psk {'0f' * 16} and {'Ab1/' * 11}=") == "psk … and …"
    kept = Tail()
    for number in range(500):
        kept.handle(logging.makeLogRecord({"msg": f"line {number} " + "-" * 500, "levelname": "INFO", "name": "x"}))
    kept.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",), "levelname": "ERROR", "name": "x"}))
    lines = kept.shown(1000)
    assert len(lines) == 400
    assert lines[-1]["text"] == "%d"
    assert all(len(one["text"]) <= 400 for one in lines)
    assert kept.shown(10, level="WARNING") == lines[-1:]
    assert kept.shown(10, after=lines[-3]["n"]) == lines[-2:]


# -- a real center and a real sending half

SITE = """schema = 1
[gateway]
id = "cab"
[[links]]
name = "bus"
url = "tcp://127.0.0.1:1"
[[devices]]
name = "meter1"
profile = "streetlight/eastron-sdm120"
link = "bus"
unit = 1
[[upstreams]]
name = "main"
uri = "coap://127.0.0.1:{port}"
credentials = "ours"
"""


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []
    yield running
    for one in running:
        one.terminate()
    for one in running:
        one.communicate(timeout=15)


def started(processes: list[subprocess.Popen[str]], folder: Path, *words: str) -> None:
    """Until it says that it is ready."""
    command = [sys.executable, "-m", "gateway.cli", *words]
    one = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    processes.append(one)
    assert one.stderr is not None
    said = []
    for line in one.stderr:
        said.append(line)
        if "ready:" in line:
            return
    raise AssertionError("".join(said))


def citygate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli", *words, "--control", str(folder / "center.sock")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_center_and_an_uplink_as_they_are_run(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    from gateway.spool.spool import Spool

    port = free_port()
    (tmp_path / "site.toml").write_text(SITE.format(port=port))
    credentials.create("cab", tmp_path / "ours", tmp_path / "intake")
    (tmp_path / "state").mkdir()
    bind = f"127.0.0.1:{port}"
    from gateway.site.site import load_site
    from gateway.spool.spool import FILE

    state = Path(load_site(tmp_path / "site.toml").state_dir)
    state.mkdir(parents=True, exist_ok=True)
    Spool.open(state / FILE, role="writer").close()
    started(processes, tmp_path, "center", "--bind", bind, "--db", "center.db", "--credentials", "intake")
    started(processes, tmp_path, "uplink", "site.toml")
    end = citygate(tmp_path, "ask", "cab", "health", "--json")
    for _ in range(40):
        if end.returncode == 0 or "CG-6106" not in end.stderr:
            break
        end = citygate(tmp_path, "ask", "cab", "health", "--json")
    assert end.returncode == 0, end.stderr
    health = json.loads(end.stdout)
    assert health["gateway"] == "cab"
    assert health["field"] is None
    assert "ways" in health
    assert health["machine"]["memory"]["uplink_rss_mb"] <= 60 * 1.048576
    refused = citygate(tmp_path, "ask", "cab", "nothing")
    assert refused.returncode == 1
    assert "CG-6101" in refused.stderr


async def test_a_center_without_a_place_for_its_socket_takes_in_records_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from gateway.center import main as center

    for place, starts in ((center._beside(f"{tmp_path}/none/center.db"), True), (f"{tmp_path}/none/c.sock", False)):
        stop, ready = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(
            center.serve("127.0.0.1:0", f"{tmp_path}/c.db", None, insecure=True, stop=stop, ready=ready, control=place)
        )
        await asyncio.wait({serving, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set() == starts
        stop.set()
        ready.set()
        if starts:
            await serving
            assert "CG-6110" in caplog.text
        else:
            with pytest.raises(Trouble):
                await serving
