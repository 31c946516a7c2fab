"""OSCORE contexts on disk: pairs that fit, numbers never used twice, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.spool.trouble import Trouble
from gateway.wire import credentials, state
from gateway.wire.credentials import SecurityContext, create


def test_a_pair_fits_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    ours, theirs = create("cab-07", tmp_path / "gw", tmp_path / "center")
    create("cab-08", tmp_path / "gw8", tmp_path / "center")
    assert theirs == tmp_path / "center" / "cab-07"
    assert ours.stat().st_mode & 0o777 == 0o700
    assert (ours / "context.json").stat().st_mode & 0o777 == 0o600
    a, b = SecurityContext(ours), SecurityContext(theirs, own=False)
    assert (a.sender_key, a.recipient_key, a.common_iv) == (b.recipient_key, b.sender_key, b.common_iv)
    assert b.name == "cab-07"
    other = SecurityContext(tmp_path / "center" / "cab-08", own=False)
    assert other.recipient_id != b.recipient_id
    for context in (a, b, other):
        context.close()
    with pytest.raises(Trouble, match="CG-4005"):
        create("cab-07", tmp_path / "gw", tmp_path / "center")


def test_numbers_go_on_after_a_clean_stop_and_skip_after_a_kill(tmp_path: Path) -> None:
    folder, _ = create("cab", tmp_path / "gw", tmp_path / "center")
    context = SecurityContext(folder)
    assert [context.new_sequence_number() for _ in range(1000)] == list(range(1000))
    context.close()
    context = SecurityContext(folder)
    assert context.new_sequence_number() == 1000
    context.close()

    sender = (
        "import sys\nfrom gateway.wire.credentials import SecurityContext\nc = SecurityContext(sys.argv[1])\n"
        "while True: print(c.new_sequence_number(), flush=True)"
    )
    last = 1000
    for round_ in range(4):
        process = subprocess.Popen([sys.executable, "-c", sender, str(folder)], stdout=subprocess.PIPE)
        assert process.stdout
        seen = [int(process.stdout.readline()) for _ in range(1 + 200 * round_)]
        process.kill()
        seen += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
        process.wait()
        process.stdout.close()
        assert seen[0] > last
        assert seen == list(range(seen[0], seen[0] + len(seen)))
        last = seen[-1]


def test_the_file_always_promises_more_than_was_used(tmp_path: Path) -> None:
    folder, _ = create("cab", tmp_path / "gw", tmp_path / "center")
    context = SecurityContext(folder)
    for _ in range(3000):
        number = context.new_sequence_number()
        assert json.loads((folder / state.FILE).read_text())["next"] > number
    context.close()


def test_what_cannot_be_used_is_refused_with_a_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Trouble, match="CG-4001") as missing:
        SecurityContext(tmp_path / "nothing")
    assert "자격 증명" in str(missing.value)

    folder, _ = create("cab", tmp_path / "gw", tmp_path / "center")
    held = SecurityContext(folder)
    with pytest.raises(Trouble, match="CG-4004"):
        SecurityContext(folder)
    held.close()

    monkeypatch.setattr(state, "MACHINE_ID", tmp_path / "machine-id")
    (tmp_path / "machine-id").write_text("another machine")
    with pytest.raises(Trouble, match="CG-4003"):
        SecurityContext(folder)
    monkeypatch.undo()

    good = (folder / state.FILE).read_text()
    (folder / state.FILE).write_text("{")
    with pytest.raises(Trouble, match="CG-4002"):
        SecurityContext(folder)
    os.unlink(folder / state.FILE)
    with pytest.raises(Trouble, match="CG-4002"):
        SecurityContext(folder)
    (folder / state.FILE).write_text(good)

    for broken in ("[]", "{", "{}", (folder / credentials.FILE).read_text().replace("AES", "XES")):
        (folder / credentials.FILE).write_text(broken)
        with pytest.raises(Trouble, match="CG-4001"):
            SecurityContext(folder)
