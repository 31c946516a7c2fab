"""What every sink has in common: the room before it, the center's own alarms, and how one is chosen."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from test_center_intake import WINDOWS, event, message

from gateway.center import intake, main, silence
from gateway.center.intake import Intake, Keyring
from gateway.center.lines import Lines
from gateway.center.silence import Silence
from gateway.center.sink import SELF, Heard, HeardRow, Taken, own_alarm
from gateway.center.sinks import open_sink
from gateway.center.store import Store
from gateway.spool.records import Lane
from gateway.wire import coap, pack
from gateway.wire.coap import Message
from gateway.wire.rows import EventRow
from tests.ports import begun, free_port


class Slow:
    """Takes what comes, and is never ready before it is told."""

    leads = True

    def __init__(self) -> None:
        self.ended: Future[None] = Future()
        self.go = asyncio.Event()
        self.taken = 0

    async def put_all(self, gateway: str, packs: Sequence[Taken], heard: Heard) -> list[bool | ValueError]:
        self.taken += len(packs)
        await self.go.wait()
        return [True] * len(packs)

    async def mark_silent(self, names: Sequence[str], incident: str) -> None: ...

    def heard(self) -> list[HeardRow]:
        return []

    async def aclose(self) -> None: ...


async def test_what_a_slow_sink_cannot_take_waits_at_the_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "WAITING", 2000)
    sink = Slow()
    desk = Intake(sink, Keyring(None), insecure=True)

    def post(item: object, seq: int) -> "asyncio.Task[tuple[Message | None, bool]]":
        path, body = message(item, seq)  # type: ignore[arg-type]
        options = ((coap.URI_PATH, path.encode()), (coap.URI_QUERY, b"g=cab"), (coap.CONTENT_FORMAT, coap.uint(112)))
        return asyncio.ensure_future(desk.answer(Message(coap.POST, options, body), "10.0.0.1"))

    waiting = [post(WINDOWS, seq) for seq in range(20)]
    await asyncio.sleep(0)
    refused = [task for task in waiting if task.done()]
    assert 0 < len(refused) < 20
    for task in refused:
        answer = task.result()[0]
        assert answer
        assert (answer.code, answer.uint(coap.MAX_AGE)) == (coap.UNAVAILABLE, 5)
    assert sink.taken == 20 - len(refused)
    alarm = post(event(), 0)
    await asyncio.sleep(0)
    assert not alarm.done()
    sink.go.set()
    answers = [await task for task in (*waiting, alarm) if task not in refused]
    assert {answer.code for answer, _ in answers if answer} == {coap.CHANGED}
    assert desk._waiting == 0
    (later,) = await asyncio.gather(post(WINDOWS, 30))
    assert later[0]
    assert later[0].code == coap.CHANGED


def test_the_centers_own_alarm_is_a_pack_like_any_other() -> None:
    watched = Silence()
    for name in ("cab-1", "cab-2"):
        watched.heard(name, 60, ("feeder-7",), 0)
    ((incident, phase),) = watched.check(121)[1]
    said = silence.event(incident, phase, 121, 10**18, {"cab-1": 60.0, "cab-2": 60.0})
    taken = own_alarm("00112233445566aa", 3, said)
    read = pack.decode(taken.kind, taken.body)
    assert (read.boot, read.upstream, read.lane, read.seq) == ("00112233445566aa", "", Lane.ALARM, 3)
    assert isinstance(read.content, EventRow)
    assert read.content == said


async def test_the_address_tells_which(tmp_path: Path) -> None:
    for where, kind in (
        (f"sqlite:{tmp_path}/a.db", Store),
        (f"{tmp_path}/b.db", Store),
        (f"jsonl:{tmp_path}/c", Lines),
    ):
        sink, shared = await open_sink(where)
        assert isinstance(sink, kind)
        assert shared is None
        await sink.aclose()


async def test_a_center_with_json_lines_answers_and_says_who_is_silent(tmp_path: Path) -> None:
    port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
    where = (f"127.0.0.1:{port}", f"jsonl:{tmp_path}/out", None)
    serving = asyncio.create_task(main.serve(*where, insecure=True, stop=stop, ready=ready))
    async with asyncio.timeout(10):
        await begun(serving, ready)
        path, body = message(event())
        options = ((coap.URI_PATH, path.encode()), (coap.URI_QUERY, b"g=cab"))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        frame = coap.to_frame(Message(coap.POST, options, body))
        writer.write(coap.to_frame(Message(coap.CSM)) + frame + frame)
        while not (tmp_path / "out" / "packs.jsonl").stat().st_size:
            await asyncio.sleep(0.01)
        writer.close()
    stop.set()
    await serving
    sink = Lines(tmp_path / "out")
    watch = main._Attention(sink, Silence())
    await sink.put_all("cab", (), Heard(0.001))
    watch.heed("cab", 0.001, ())
    await asyncio.sleep(0.01)
    await watch._look()
    assert ("cab", 0, 0.001, (), "cab") in sink.heard()
    await sink.aclose()
    texts = (tmp_path / "out" / "packs.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in texts]
    assert [(row["gateway"], row["content"]["code"]) for row in rows] == [
        ("cab", "water.burst"),
        (SELF, "center.gateway_silent"),
    ]
