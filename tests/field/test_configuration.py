"""A new configuration on its way: tried, kept, taken back, refused; and a process that begins in the middle of it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.agent import bundle
from gateway.agent.bundle import Bundle
from gateway.agent.configuration import put
from gateway.field import configuration as under_test
from gateway.field.configuration import Configuration
from gateway.field.lock import StateLock
from gateway.site import generations
from gateway.site.compile import load_plan
from gateway.site.faults import Faults
from gateway.site.generations import IDLE, KEPT, RECEIVED, REVERTED, TRIAL, VALIDATED, Record
from gateway.site.plan import Plan
from gateway.spool import audit
from gateway.spool.trouble import SpoolError

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes((number,)) * 32) for number in (1, 2))
SITE = """schema = 1
[gateway]
id = "cab"
timezone = "Asia/Seoul"
state_dir = "state"
[agent]
trust = ["ops.pub"]
probation_s = 5
[[links]]
name = "bus"
url = "tcp://127.0.0.1:1502"
[[devices]]
name = "m1"
profile = "streetlight/waveshare-relay8"
link = "bus"
unit = 1
period_s = 0.02
[[upstreams]]
name = "main"
uri = "coap://127.0.0.1:9"
credentials = "own"
agent = ["operate"]
"""
NEW = SITE.replace('"m1"', '"m2"')
EDITED = SITE.replace('"m1"', '"m3"')
BROKEN = SITE.replace("relay8", "relay9")


class Running:
    """A plan that runs: `bad` channels are not good; `center` acknowledges or not."""

    def __init__(self, plan: Plan, *, center: bool = True, bad: int = 0) -> None:
        self.plan, self.links, self.center, self.bad = plan, {}, center, bad  # type: ignore[var-annotated]
        self.asked: list[str] = []

    def good(self) -> set[str]:
        return {channel.name for channel in self.plan.channels[self.bad :]}

    async def acknowledged(self, within_s: float, upstream: str = "") -> bool:
        self.asked.append(upstream)
        if not self.center:
            raise SpoolError("CG-2002", "the disk refuses", "디스크 오류")
        return upstream in ("", "main")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LOOK_S", 0.002), ("LEAST_S", 0.004), ("SAID_S", 0.0), ("AGAIN_S", 0.002)):
        monkeypatch.setattr(under_test, name, value)
    monkeypatch.setattr(Configuration, "_probation_s", lambda self: 0.05)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ops.pub").write_bytes(public)
    (tmp_path / "site.toml").write_text(SITE)
    return tmp_path / "site.toml"


@pytest.fixture
def state(site: Path) -> Path:
    return site.parent / "state"


def write(path: Path, text: str) -> None:
    path.write_text(text)


def device_of(plan: Plan) -> str:
    [device] = plan.devices
    return device.name


def used(site: Path) -> str:
    """By every tool."""
    return device_of(load_plan(site))


async def begun(site: Path) -> Configuration:
    """With the site file as generation 1, if it is there for the first time."""
    found = Configuration(site)
    await found.adopt()
    found.runs(Running(found.plan))
    return found


async def asked(one: Configuration, word: str, *, trusted: bool = True, **request: Any) -> Any:
    return json.loads(json.dumps(await one.errands()[word]({word: True, "trusted": trusted, **request})))


async def configured(one: Configuration, text: str, *, by: str = "Kim") -> Any:
    return await posted(one, bundle.packed(Bundle(("cab",), 0, "", {"site.toml": text.encode()})), by=by, local=True)


async def pushed(
    one: Configuration, text: str, sequence: int = 1, *, gateway: str = "cab", key: Any = KEY, by: str = "center:main"
) -> Any:
    made = Bundle((gateway,), sequence, "2026-03-01T02:10:00Z", {"site.toml": text.encode()})
    return await posted(one, bundle.signed(made, key), by=by, local=False)


async def posted(one: Configuration, body: bytes, *, by: str, local: bool) -> Any:
    name = put(one._state_dir(), body)
    answer = await asked(one, "configure", configure=name, by=by, local=local)
    assert not list((one._state_dir() / "configuration" / "incoming").iterdir())
    return answer


async def judged(one: Configuration, *, sending: bool = True, **running: Any) -> Running:
    """As the field half does after the swap. `sending`: the other half has gone over to it as well."""
    now = Running(one.plan, **running)
    if sending:
        generations.tell_sending(one._state_dir(), one.record.in_use)
    one.runs(now)
    await one.judge(now)
    await asyncio.sleep(0)
    return now


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def whats(state: Path) -> list[str]:
    return [json.loads(line)["what"] for line in (state / audit.FILE).read_text().splitlines()]


def test_the_site_file_becomes_the_first_generation(site: Path, state: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        shown = await asked(one, "configuration")
        assert (shown["state"], shown["current"], shown["edited"], shown["named"]) == (KEPT, 1, False, str(site))
        assert (generations.folder_of(state, 1) / "site.toml").read_text() == SITE

    run(work)


def test_a_technicians_is_tried_and_kept_without_a_center(site: Path, state: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        changes: list[str] = []
        one.changed = lambda: changes.append(device_of(one.plan))
        answer = await configured(one, NEW)
        assert answer == {"state": TRIAL, "generation": 2, "good_before": 8}
        assert generations.read(state).state == TRIAL
        assert used(site) == "m2"
        await judged(one, center=False)
        assert changes == ["m2"]
        assert (one.record.state, one.record.current, one.record.by) == (KEPT, 2, "Kim")
        assert generations.read(state) == one.record
        assert used(site) == "m2"

    run(work)
    assert site.read_text() == SITE
    assert whats(state) == ["configuration on trial", "configuration kept"]
    assert device_of(Configuration(site).plan) == "m2"


def test_fewer_good_points_take_it_back_by_itself(site: Path, state: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        await configured(one, NEW)
        await judged(one, bad=1)
        assert (one.record.state, one.record.current, one.record.candidate) == (REVERTED, 1, 0)
        assert "7 points were good" in one.record.why_en
        assert device_of(one.plan) == used(site) == "m1"
        assert not generations.folder_of(state, 2).exists()
        assert (await configured(one, NEW))["generation"] == 3  # the way is free

    run(work)
    assert whats(state)[:2] == ["configuration on trial", "configuration reverted"]


def test_a_centers_is_kept_by_its_own_acknowledgement_only(site: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        assert (await pushed(one, NEW, 7))["state"] == TRIAL
        assert (await judged(one)).asked == ["main"]
        assert (one.record.state, one.record.sequence, one.record.signed) == (KEPT, 7, True)
        await pushed(one, EDITED, 8)
        assert len((await judged(one, center=False)).asked) > 1  # asked again
        assert (one.record.state, one.record.why_en) == (REVERTED, "its center acknowledged nothing under it")
        await pushed(one, EDITED, 9)  # acknowledged on the old way proves nothing
        assert (await judged(one, sending=False)).asked == []
        assert one.record.state == REVERTED
        await pushed(one, EDITED, 10, by="center:other Lee")  # another center hears it, that one does not
        await judged(one)
        assert one.record.state == REVERTED

    run(work)


def test_what_nobody_may_push(site: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        await pushed(one, NEW, 7)
        assert (await pushed(one, EDITED, 8))["code"] == "CG-6145"  # one at a time
        await judged(one)
        before = one.record
        for answer, code in (
            (await pushed(one, EDITED, 7), "CG-6146"),  # replayed
            (await pushed(one, EDITED, 6), "CG-6146"),
            (await pushed(one, EDITED, 9, gateway="cab-8"), "CG-6144"),
            (await pushed(one, EDITED, 9, key=OTHER), "CG-6140"),
            (await posted(one, b"nonsense", by="x", local=False), "CG-6140"),
            (await posted(one, b"nonsense", by="x", local=True), "CG-6141"),
            (await configured(one, NEW.replace("ops.pub", "mine.pub")), "CG-6149"),
            (await configured(one, NEW.replace('"operate"', '"release"')), "CG-6149"),
            (await configured(one, NEW.replace('"own"', '"others"')), "CG-6149"),
            (await configured(one, NEW.replace('"cab"', '"cab-9"')), "CG-6148"),
            (await configured(one, NEW.replace('"state"', '"elsewhere"')), "CG-6148"),
            (await configured(one, BROKEN), "CG-6147"),
            (await configured(one, "no toml"), "CG-6147"),
        ):
            assert answer["code"] == code, answer
            assert answer["error"]
            assert answer["error_ko"]
            assert one.record.in_use == before.current
            assert used(site) == device_of(one.plan) == "m2"
        assert (await pushed(one, EDITED, 8))["state"] == TRIAL  # what was refused used no number up

    run(work)


def test_a_gateway_that_trusts_nobody(site: Path) -> None:
    site.write_text(SITE.replace('trust = ["ops.pub"]', ""))

    async def work() -> None:
        assert (await pushed(await begun(site), NEW))["code"] == "CG-6143"

    run(work)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "none"])
def test_what_lies_there_and_is_no_file_is_not_waited_for(site: Path, state: Path, kind: str) -> None:
    async def work() -> None:
        one = await begun(site)
        folder = state / "configuration" / "incoming"
        folder.mkdir()
        if kind == "link":
            (folder / "x").symlink_to(site)
        elif kind == "pipe":
            os.mkfifo(folder / "x")
        elif kind == "folder":
            (folder / "x").mkdir()
        async with asyncio.timeout(5):
            assert (await asked(one, "configure", configure="x", local=True))["code"] == "CG-6141"
            assert (await asked(one, "configure", configure="../../site.toml", local=True))["code"] == "CG-6141"

    run(work)
    assert site.read_text() == SITE


def test_the_sending_half_brings_no_unsigned_one(site: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        assert (await asked(one, "configure", trusted=False, configure="x", local=True))["code"] == "CG-5194"
        assert one.record.candidate == 0

    run(work)


def test_bundles_lie_in_a_folder_of_the_group_whoever_is_the_first(state: Path) -> None:
    state.mkdir(exist_ok=True)
    before = os.umask(0o077)
    try:
        put(state, b"a bundle")
    finally:
        os.umask(before)
    for folder in (state / "configuration", state / "configuration/incoming"):
        assert (stat.S_IMODE(folder.stat().st_mode), folder.stat().st_gid) == (0o2770, state.stat().st_gid)


def test_back_to_the_one_before_and_out_of_a_trial(site: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        assert (await asked(one, "revert", by="Kim"))["code"] == "CG-6153"
        await configured(one, NEW)
        await judged(one)
        assert (await asked(one, "revert", by="Kim"))["generation"] == 3
        await judged(one)
        assert (one.record.state, used(site)) == (KEPT, "m1")
        await configured(one, EDITED)
        assert (await asked(one, "revert", by="Kim")) == {"state": REVERTED, "generation": 3}
        assert device_of(one.plan) == used(site) == "m1"

    run(work)


def test_an_edited_file_is_tried_too_and_a_broken_one_leaves_the_old(site: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        write(site, BROKEN)
        assert not await one.edited()
        assert device_of(one.plan) == "m1"
        write(site, EDITED)
        assert await one.edited()
        assert (one.record.state, device_of(one.plan)) == (TRIAL, "m3")
        await judged(one, bad=8)
        assert (one.record.state, device_of(one.plan), used(site)) == (REVERTED, "m1", "m1")
        write(site, EDITED + "# again\n")
        assert await one.edited()
        await judged(one)
        assert (one.record.state, used(site), (await asked(one, "configuration"))["edited"]) == (KEPT, "m3", False)
        assert await one.edited()  # nothing has changed
        assert one.record.state == KEPT

    run(work)


def test_a_profile_of_its_own_is_an_edit_as_well(site: Path) -> None:
    library = Path(under_test.__file__).parents[2] / "device_profiles" / "streetlight" / "waveshare-relay8.toml"
    own = site.parent / "own" / "streetlight" / "mine.toml"
    own.parent.mkdir(parents=True)
    own.write_text(library.read_text())
    text = SITE.replace("state_dir =", 'profiles = ["own"]\nstate_dir =')
    site.write_text(text.replace("waveshare-relay8", "mine"))

    async def work() -> None:
        one = await begun(site)
        assert one.plan.channels[0].label_en == "Relay 1"
        write(own, own.read_text().replace('"Relay 1"', '"Lamp 1"'))
        assert await one.edited()
        assert one.plan.channels[0].label_en == "Lamp 1"
        await judged(one)
        assert load_plan(site).channels[0].label_en == "Lamp 1"

    run(work)


def test_edited_in_the_middle_of_a_trial_and_refused_the_old_one_runs(site: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        await configured(one, NEW)
        write(site, EDITED.replace('"cab"', '"cab-9"'))
        assert not await one.edited()
        assert (one.record.state, one.record.in_use, device_of(one.plan)) == (REVERTED, 1, "m1")

    run(work)


def test_edited_without_a_word_in_the_middle_of_a_trial_it_goes_back_to_what_was_kept(site: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        await configured(one, NEW)
        write(site, BROKEN)
        await judged(one, bad=8)
        assert (one.record.state, device_of(one.plan)) == (REVERTED, "m1")

    run(work)


@pytest.mark.parametrize("state_of_it", [RECEIVED, VALIDATED])
def test_a_process_that_begins_before_a_trial_begins_with_the_old_one(
    site: Path, state: Path, state_of_it: str
) -> None:
    run(lambda: _adopted(site))
    generations.put(state, 2, {"site.toml": NEW.encode()})
    record = generations.read(state).to(RECEIVED, candidate=2, last=2)
    generations.write(state, record if state_of_it == RECEIVED else record.to(VALIDATED))
    put(state, b"left behind")
    one = Configuration(site)
    assert (one.record.state, one.record.in_use, device_of(one.plan)) == (REVERTED, 1, "m1")
    assert not (state / "configuration" / "incoming").exists()
    assert not generations.folder_of(state, 2).exists()


async def _adopted(site: Path) -> None:
    await begun(site)


def test_a_process_that_begins_in_a_trial_goes_on_with_it_but_not_for_ever(site: Path, state: Path) -> None:
    async def work() -> None:
        await configured(await begun(site), NEW)

    run(work)
    for attempt in range(2, under_test.ATTEMPTS + 1):
        one = Configuration(site)
        assert (one.record.state, one.record.attempts, device_of(one.plan)) == (TRIAL, attempt, "m2")
    one = Configuration(site)
    assert (one.record.state, device_of(one.plan)) == (REVERTED, "m1")
    assert generations.read(state) == one.record


def test_a_trial_that_goes_on_after_a_restart_is_judged(site: Path) -> None:
    async def work() -> None:
        await configured(await begun(site), NEW)
        one = await begun(site)
        await judged(one, bad=1)
        assert one.record.state == REVERTED
        await configured(one, NEW)
        one = await begun(site)
        await judged(one)
        assert (one.record.state, device_of(one.plan)) == (KEPT, "m2")

    run(work)


def test_a_file_that_is_broken_at_the_start_leaves_the_last_one_that_ran(site: Path) -> None:
    async def work() -> None:
        await configured(await begun(site), NEW)

    run(work)
    site.write_text(BROKEN)
    one = Configuration(site)  # in a trial, too
    assert (one.record.state, device_of(one.plan), used(site)) == (REVERTED, "m1", "m1")
    site.write_text(BROKEN + "# still\n")
    one = Configuration(site)
    assert (one.record.state, device_of(one.plan), used(site)) == (KEPT, "m1", "m1")
    assert "relay9" in one.record.why_en


def test_where_nothing_ever_ran_a_broken_file_is_told(site: Path) -> None:
    site.write_text(BROKEN)
    with pytest.raises(Faults):
        Configuration(site)
    site.unlink()
    with pytest.raises(Faults):
        Configuration(site)


def test_a_second_field_half_changes_nothing(site: Path, state: Path) -> None:
    async def work() -> None:
        await configured(await begun(site), NEW)

    run(work)
    lock = StateLock(state)
    before = generations.read(state)
    with pytest.raises(SpoolError, match="CG-2007"):
        Configuration(site)
    assert generations.read(state) == before
    lock.release()


@pytest.mark.parametrize("refused_at", range(1, 6))
def test_a_disk_that_refuses_any_write_leaves_a_whole_one_and_the_way_free(
    site: Path, state: Path, monkeypatch: pytest.MonkeyPatch, refused_at: int
) -> None:
    writes, real = 0, generations._write

    def write(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == refused_at:
            raise OSError(28, "No space left on device")
        real(path, content)

    async def work() -> None:
        one = await begun(site)
        monkeypatch.setattr(generations, "_write", write)
        writing = asyncio.create_task(one.write_again())
        answer = await configured(one, NEW)
        if "error" in answer:
            assert answer["code"] == "CG-6152"
            assert (one.record.in_use, device_of(one.plan)) == (1, "m1")
        else:
            await judged(one)
            assert (one.record.state, device_of(one.plan)) == (KEPT, "m2")
        async with asyncio.timeout(5):
            while generations.read(state) != one.record:
                await asyncio.sleep(0.001)
        answer = await configured(one, EDITED)
        assert answer["state"] == TRIAL
        await judged(one)
        assert used(site) == "m3"
        writing.cancel()

    run(work)


def test_a_mistake_of_ours_in_the_middle_leaves_the_way_free(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        one = await begun(site)
        with monkeypatch.context() as patched:
            patched.setattr(Configuration, "_check_identity", lambda self, plan: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await configured(one, NEW)
        assert one.record.state == REVERTED
        assert (await configured(one, NEW))["state"] == TRIAL

    run(work)


def test_renamed_points_must_be_as_many_and_as_good(site: Path) -> None:
    async def work() -> None:
        one = await begun(site)
        one.runs(Running(one.plan, bad=3))
        assert (await configured(one, NEW))["good_before"] == 5
        await asked(one, "revert")
        gone = SITE.partition("[[links]]")[0] + SITE[SITE.index("[[upstreams]]") :]
        assert (await configured(one, gone))["good_before"] == 0

    run(work)


def test_a_record_of_before_the_first_generation_is_idle(tmp_path: Path) -> None:
    assert generations.read(tmp_path) == Record()
    assert Record().state == IDLE
