"""A whole box with the switch's own program: releases that are good, that fail, that never start; kills and cuts."""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import cbor2
import pytest
from release_rig import Box, Center, request, run_of

from gateway.agent.release_state import RESTING, State
from gateway.agent.resource import Refused
from gateway.agent.trial import Reach
from gateway.wire import coap

POST, GET, DELETE = coap.POST, coap.GET, coap.DELETE


@pytest.fixture
def center(tmp_path: Path) -> Center:
    (tmp_path / "center").mkdir()
    made = Center(tmp_path / "center")
    made.add("1.1", ballast=random.Random(1).randbytes(150_000))
    return made


@pytest.fixture
async def box(tmp_path: Path, center: Center) -> AsyncIterator[Box]:
    (tmp_path / "box").mkdir()
    made = Box(tmp_path / "box", center)
    made.start()
    yield made
    made.stop()


async def ask(box: Box, name: str = "1.1", **more: object) -> dict[str, object]:
    assert box.agent is not None
    answer = await box.agent.answer(request(POST, {"release": name, "by": "kim", **more}))
    return dict(cbor2.loads(answer.payload))


def rests(box: Box) -> bool:
    return box.agent is not None and box.agent.record.state in RESTING and not box.switch.trial.exists()


def state(box: Box) -> State:
    assert box.agent is not None
    return box.agent.record.state


async def ends(box: Box) -> State:
    await box.until(lambda: rests(box))
    await box.until(lambda: rests(box))
    return state(box)


def audited(box: Box) -> list[tuple[str, str]]:
    lines = (Path(box.site.state_dir) / "audit.jsonl").read_text().splitlines()
    return [(line["what"], line["facts"]["release"]) for line in map(json.loads, lines)]


async def test_a_good_release_is_kept(box: Box) -> None:
    assert (await ask(box))["state"] == "downloading"
    assert await ends(box) is State.COMMITTED
    assert box.running == "1.1"
    assert box.restarts == 1
    assert audited(box) == [("release asked", "1.1"), ("release committed", "1.1")]
    await box.until(lambda: sorted(os.listdir(box.places.sent)) == [".tuf", "1.1", "release.json"])  # no image stays


async def test_it_is_told_what_it_waits_for(box: Box) -> None:
    await ask(box)
    await box.until(lambda: box.running == "1.1")
    box.field.good = 1
    await box.until(lambda: box.agent is not None and "waiting_for" in box.agent.shown())
    assert box.agent is not None
    shown = box.agent.shown()
    assert (shown["state"], shown["waiting_for"]) == ("trial", "1 points are good, 3 were")
    box.field.good = 3
    assert await ends(box) is State.COMMITTED


@pytest.mark.parametrize("fault", ["fewer points", "no field half", "another field half", "spool", "line"])
async def test_one_that_starts_and_then_fails_goes_back(box: Box, fault: str) -> None:
    await ask(box)
    await box.until(lambda: state(box) is State.TRIAL)
    if fault == "fewer points":
        box.field.good = 2
    elif fault == "no field half":
        box.field.version = None
    elif fault == "another field half":
        box.field.version = "0.9"
    elif fault == "spool":
        box.field.spool = "CG-2001"
    else:
        box.reach = Reach.BROKEN
    await box.until(lambda: box.running == "1.0")
    box.field.version = "1.0"
    assert await ends(box) is State.ROLLED_BACK
    assert box.agent is not None
    assert box.agent.record.code == "CG-6186"
    assert box.agent.record.error
    assert audited(box)[-1] == ("release rolled back", "1.1")


async def test_one_that_never_starts_goes_back_by_its_time(box: Box) -> None:
    box.is_dead = lambda release: release == "1.1"
    await ask(box)
    await box.until(lambda: box.running == "1.1")
    box.step_s = 4.0
    await box.until(lambda: box.running == "1.0")
    assert await ends(box) is State.ROLLED_BACK
    assert box.agent is not None
    assert box.agent.record.code == "CG-6008"
    assert "not committed within" in box.agent.record.error


@pytest.mark.parametrize("unit", ["citygate-field.service", "citygate-uplink.service"])
async def test_one_whose_half_does_not_stay_up_goes_back_at_once(box: Box, unit: str) -> None:
    box.is_dead = lambda release: release == "1.1"
    await ask(box)
    await box.until(lambda: box.running == "1.1")
    begun_s = box.now_s
    box.failing = {unit: 4}
    await box.until(lambda: box.running == "1.0")
    assert box.now_s - begun_s < 5
    assert await ends(box) is State.ROLLED_BACK
    assert box.agent is not None
    assert unit in box.agent.record.error


async def test_a_half_that_failed_before_the_trial_is_not_held_against_it(box: Box) -> None:
    box.failing = {"citygate-field.service": 40}
    await ask(box)
    assert await ends(box) is State.COMMITTED


async def test_a_machine_that_never_stays_up_goes_back(box: Box) -> None:
    await ask(box)
    await box.until(lambda: state(box) is State.TRIAL)
    for _ in range(4):
        box.boot()
        await box.until(lambda: True)
        box.systemd()
    await box.until(lambda: box.running == "1.0")
    assert await ends(box) is State.ROLLED_BACK


async def test_a_power_cut_or_two_are_no_fault_of_a_release(box: Box) -> None:
    await ask(box)
    await box.until(lambda: state(box) is State.TRIAL)
    for _ in range(2):
        box.boot()
        box.systemd()
    assert await ends(box) is State.COMMITTED


async def test_ordinary_boots_use_up_nothing(box: Box) -> None:
    await ask(box)
    assert await ends(box) is State.COMMITTED
    for _ in range(50):
        box.boot()
        box.systemd()
    await box.until(lambda: True)
    assert box.running == "1.1"
    assert state(box) is State.COMMITTED


async def test_nobody_to_tell_it_to_rolls_nothing_back(box: Box) -> None:
    await ask(box)
    await box.until(lambda: state(box) is State.TRIAL)
    box.reach = Reach.AWAY
    box.center.cut_after = 1
    assert await ends(box) is State.COMMITTED


async def test_an_audit_that_cannot_be_written_rolls_nothing_back(box: Box) -> None:
    (Path(box.site.state_dir) / "audit.jsonl").mkdir()
    await ask(box)
    assert await ends(box) is State.COMMITTED


async def test_a_line_that_breaks_all_the_time(box: Box) -> None:
    box.center.cut_after = box.center.left = 3
    await ask(box)
    assert await ends(box) is State.COMMITTED


async def test_killed_at_every_moment_it_ends_well(box: Box) -> None:
    """Old or new, whole, and never stuck: the agent is started anew again and again, at moments of all kinds."""
    rng = random.Random(88)
    await ask(box)
    for _ in range(60):
        steps = rng.randrange(1, 12)
        for _ in range(steps):
            if not rests(box):
                await box.until(lambda: True)
                box.now_s += 0.25
                box.systemd()
        if rests(box):
            break
        box.start()
    assert await ends(box) in (State.COMMITTED, State.ROLLED_BACK)
    assert all(os.access(box.places.link / needed, os.X_OK) for needed in ("bin/citygate", "bin/python3"))


async def test_a_record_that_a_power_cut_destroyed_leaves_the_release_in_use(box: Box) -> None:
    await ask(box)
    await box.until(lambda: state(box) is State.TRIAL)
    (box.places.sent / "release.json").write_bytes(b"\0" * 100)
    box.start()
    box.step_s = 4.0
    await box.until(lambda: not box.switch.trial.exists())  # nobody commits: the release before comes back
    assert await ends(box) is State.IDLE
    assert box.running == "1.0"


async def test_another_by_hand_ends_the_trial(box: Box) -> None:
    await ask(box)
    await box.until(lambda: state(box) is State.TRIAL)
    box.switch.request.write_text("1.0\n")
    box.switch.request.chmod(0o644)
    assert await ends(box) is State.ROLLED_BACK
    assert box.running == "1.0"


async def test_a_release_on_the_box_is_not_fetched_again(box: Box) -> None:
    await ask(box)
    assert await ends(box) is State.COMMITTED
    before = len(box.center.requests)
    with pytest.raises(Refused, match="CG-6179"):
        await ask(box, "1.0")
    assert (await ask(box, "1.0", older=True))["state"] == "staged"
    assert await ends(box) is State.COMMITTED
    assert box.running == "1.0"
    assert len(box.center.requests) == before


async def test_only_one_release_stays_to_go_back_to(box: Box) -> None:
    for name in ("1.1", "1.2", "1.3"):
        if name != "1.1":
            box.center.add(name)
        await ask(box, name)
        assert await ends(box) is State.COMMITTED
        await box.until(lambda: len(box.places.others()) <= 2)
    now = run_of(box.places, "1.3")
    await box.until(lambda: [tree.name for tree in now.others()] == ["1.2"])
    assert (box.places.package / "1.0").exists()


async def test_what_runs_already_is_not_asked_for(box: Box) -> None:
    assert (await ask(box, "1.0"))["state"] == "idle"
    assert not box.center.requests


async def test_a_second_wish_waits_for_the_first(box: Box) -> None:
    await ask(box)
    assert (await ask(box))["state"] == "downloading"
    with pytest.raises(Refused, match="CG-6177"):
        await ask(box, "1.2")
    assert await ends(box) is State.COMMITTED


async def test_a_download_can_be_given_up(box: Box) -> None:
    box.center.cut_after = box.center.left = 1  # nothing ever comes
    await ask(box)
    await box.until(lambda: len(box.center.requests) > 2)
    assert box.agent is not None
    await box.agent.answer(request(DELETE))
    assert await ends(box) is State.IDLE
    assert box.agent.record.code == "CG-6187"
    box.center.cut_after = 0
    await ask(box)
    assert await ends(box) is State.COMMITTED


async def test_a_trial_cannot_be_given_up(box: Box) -> None:
    await ask(box)
    await box.until(lambda: state(box) is State.TRIAL)
    assert box.agent is not None
    with pytest.raises(Refused, match="CG-6177"):
        await box.agent.answer(request(DELETE))
    assert await ends(box) is State.COMMITTED


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        ("unlisted", "CG-6175"),
        ("altered image", "CG-6180"),
        ("shorter image", "CG-6180"),
        ("no image", "CG-6175"),
        ("nonsense for a list", "CG-6173"),
        ("for another machine", "CG-6184"),
        ("fills the disk", "CG-6182"),
    ],
)
async def test_what_is_refused_leaves_the_running_release(
    box: Box, center: Center, harm: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "1.1"
    file = center.listed("1.1")
    if harm == "unlisted":
        name = "7.7"
    elif harm == "altered image":
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    elif harm == "shorter image":
        file.write_bytes(file.read_bytes()[:-1024])
    elif harm == "no image":
        file.unlink()
    elif harm == "nonsense for a list":
        (center.folder / "files/releases/metadata/timestamp.json").write_text("?")
    elif harm == "for another machine":
        monkeypatch.setattr("gateway.agent.release_places.about", lambda tree: {"name": "1.1", "arch": "sparc"})
        monkeypatch.setattr("gateway.agent.release_work.about", lambda tree: {"name": "1.1", "arch": "sparc"})
    else:
        room = os.statvfs(box.places.sent)
        monkeypatch.setattr("gateway.agent.release_work.os.statvfs", lambda path: type("", (), {
            "f_bavail": 10, "f_frsize": room.f_frsize})())  # fmt: skip
    await ask(box, name)
    assert await ends(box) is State.IDLE
    assert box.agent is not None
    record = box.agent.record
    assert (record.code, box.running, box.restarts) == (code, "1.0", 0)
    assert record.error != record.error_ko
    assert audited(box)[-1] == ("release refused", name)
    await box.until(lambda: {path.name for path in box.places.sent.iterdir()} <= {".tuf", "release.json"})


@pytest.mark.parametrize(
    "body", [None, {}, {"release": 3}, {"release": "../1.1"}, {"release": "x" * 90}, [], "1.1", b"\xff"]
)
async def test_a_wish_that_is_none_changes_nothing(box: Box, body: object) -> None:
    assert box.agent is not None
    with pytest.raises(Refused):
        await box.agent.answer(request(POST, body))
    assert state(box) is State.IDLE


async def test_a_gateway_that_is_not_packaged_says_so(box: Box) -> None:
    assert box.agent is not None
    elsewhere = type(box.places)(box.places.sent, box.places.package, box.places.link, Path("/usr"))
    box.agent._work.places = elsewhere
    with pytest.raises(Refused, match="CG-6170"):
        await ask(box)


async def test_a_site_without_a_root_of_trust_takes_none(box: Box) -> None:
    box.site.agent.releases = ""
    with pytest.raises(Refused, match="CG-6171"):
        await ask(box)


async def test_a_switch_that_is_not_there_is_said(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "systemd", lambda: None)
    box.step_s = 2.0
    await ask(box)
    assert await ends(box) is State.IDLE
    assert box.agent is not None
    assert box.agent.record.code == "CG-6185"
    assert not box.switch.request.exists()


async def test_what_the_switch_refuses_is_told(box: Box) -> None:
    await ask(box)
    await box.until(lambda: state(box) is State.STAGED)
    (box.places.sent / "1.1").chmod(0o777)
    assert await ends(box) is State.IDLE
    assert box.agent is not None
    assert box.agent.record.code == "CG-6002"


async def test_changes_are_told_to_whoever_observes(box: Box) -> None:
    assert box.agent is not None
    seen = box.agent.changes(request(GET))
    first = cbor2.loads((await anext(seen)).payload)
    assert first["state"] == "idle"
    await ask(box)
    assert cbor2.loads((await anext(seen)).payload)["state"] == "downloading"
    await seen.aclose()  # type: ignore[attr-defined]
    await ends(box)


async def test_lwm2m_s_words_for_it(box: Box) -> None:
    assert box.agent is not None
    assert box.agent.lwm2m == (0, 0)
    await ask(box, "7.7")
    assert box.agent.lwm2m == (1, 0)
    await ends(box)
    assert box.agent.lwm2m == (0, 8)
    await ask(box)
    await ends(box)
    assert box.agent.lwm2m == (0, 1)
