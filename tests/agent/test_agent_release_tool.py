"""`citygate release` as an operator uses it: at the desk with the keys, and at the center."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from release_rig import image

from gateway.cli import main
from gateway.spool.trouble import Trouble
from gateway.tools import release
from gateway.wire import coap


def ran(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["release", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_from_an_image_to_what_a_center_hands_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo, keys, files = (str(tmp_path / name) for name in ("repo", "keys", "files"))
    made = [image(tmp_path, "0.2.0"), image(tmp_path, "0.2.0", arch="arm64")]
    assert ran("init", repo, "--keys", keys, capsys=capsys)[0] == 0
    code, out, _ = ran("add", repo, *map(str, made), "--keys", keys, "--json", capsys=capsys)
    assert code == 0
    assert [(one["release"], one["arch"]) for one in json.loads(out)] == [("0.2.0", "amd64"), ("0.2.0", "arm64")]
    code, out, _ = ran("publish", repo, files, capsys=capsys)
    assert code == 0
    published = sorted(path.name for path in (tmp_path / "files/releases/metadata").iterdir())
    assert published == [
        "1.root.json", "1.snapshot.json", "1.targets.json", "2.snapshot.json", "2.targets.json", "timestamp.json",
    ]  # fmt: skip
    assert len(list((tmp_path / "files/releases/targets").iterdir())) == 2
    shown = json.loads(ran("show", repo, "--json", capsys=capsys)[1])
    assert shown["versions"] == {"root": 1, "targets": 2, "snapshot": 2, "timestamp": 2}
    assert ran("remove", repo, "0.2.0", "--keys", keys, capsys=capsys)[0] == 0
    assert json.loads(ran("show", repo, "--json", capsys=capsys)[1])["images"] == []
    assert json.loads(ran("publish", repo, files, "--json", capsys=capsys)[1])["new"] == 3


def test_signing_again_with_the_timestamp_s_key_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo, keys = str(tmp_path / "repo"), tmp_path / "keys"
    ran("init", repo, "--keys", str(keys), capsys=capsys)
    for role in ("root", "targets", "snapshot"):
        (keys / f"{role}.pem").unlink()
    code, out, _ = ran("sign", repo, "--keys", str(keys), "--json", capsys=capsys)
    assert (code, json.loads(out)["signed"]) == (0, ["timestamp"])
    code, _, err = ran("remove", repo, "0.2.0", "--keys", str(keys), capsys=capsys)
    assert code == 2
    assert err.count("CG-6192") == 2, "in English and Korean"


@pytest.mark.parametrize(
    ("words", "code"),
    [(["show", "nowhere"], "CG-6191"), (["add", "nowhere", "x.tar.xz", "--keys", "k"], "CG-6191"),
     (["remove", "repo", "9.9", "--keys", "keys"], "CG-6193"), (["init", "repo", "--keys", "k"], "CG-6190")],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["release", "init", "repo", "--keys", "keys"]) == 0
    capsys.readouterr()
    ended, _, err = ran(*words, capsys=capsys)
    assert (ended, code in err) == (2, True)


class Gateways:
    """Each gateway's states, one a question; the last stays."""

    def __init__(self, **states: list[dict[str, Any]]) -> None:
        self.states, self.asked = states, []  # type: tuple[dict[str, list[dict[str, Any]]], list[Any]]

    def __call__(self, gateway: str, method: int, body: Any) -> dict[str, Any]:
        self.asked.append((gateway, method, body))
        if gateway not in self.states:
            raise Trouble("CG-6107", f"{gateway} is not connected", f"{gateway} 연결 안 됨")
        found = self.states[gateway]
        return found.pop(0) if len(found) > 1 else found[0]


DONE = {"state": "committed", "running": "0.2.0", "release": "0.2.0"}
COMING = {"state": "downloading", "running": "0.1.0", "release": "0.2.0", "arrived": 5_000_000, "length": 20_000_000}
BACK = {"state": "rolled back", "running": "0.1.0", "release": "0.2.0", "code": "CG-6186", "error": "2 points",
        "error_ko": "2개"}  # fmt: skip


def test_push_and_wait_until_all_have_it(capsys: pytest.CaptureFixture[str]) -> None:
    gateways = Gateways(a=[COMING, COMING, DONE], b=[DONE])
    assert release.push(["a", "b"], "0.2.0", gateways, by="kim", wait=True, pause=lambda _: None) == 0
    assert gateways.asked[0] == ("a", coap.POST, {"release": "0.2.0", "older": False, "by": "kim"})
    out, err = capsys.readouterr()
    assert "a: runs 0.2.0, committed" in out
    assert "a: runs 0.1.0, downloading 0.2.0, 25 % of 20.0 MB" in err


def test_push_says_which_did_not(capsys: pytest.CaptureFixture[str]) -> None:
    gateways = Gateways(a=[COMING, BACK], b=[DONE])
    assert release.push(["a", "b", "c"], "0.2.0", gateways, wait=True, json=True, pause=lambda _: None) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["a"]["state"], said["b"]["state"], said["c"]["code"]) == ("rolled back", "committed", "CG-6107")
    assert release.push(["c"], "0.2.0", gateways, wait=True, pause=lambda _: None) == 2


def test_status_and_giving_up(capsys: pytest.CaptureFixture[str]) -> None:
    gateways = Gateways(a=[BACK])
    assert release.status(["a"], gateways) == 0
    assert "CG-6186 2개" in capsys.readouterr().out
    assert release.status(["a", "c"], gateways, json=True) == 2
    assert release.give_up(["a"], gateways) == 0
    assert gateways.asked[-1] == ("a", coap.DELETE, None)
