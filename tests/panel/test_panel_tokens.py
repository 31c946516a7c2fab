"""Invitations, sessions and programs: what lets in, and what does not any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.panel.tokens import FILE, Tokens


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_an_invitation_is_good_once_and_its_session_as_long_as_it_would_have_been(tmp_path: Path) -> None:
    clock = Clock()
    tokens = Tokens(tmp_path, clock)
    token = tokens.invite("operate", 600, "Kim")
    assert tokens.session(token) is None
    made = tokens.sign_in(token)
    assert made is not None
    session, who = made
    assert (who.role, who.name, who.until_s) == ("operate", "Kim", 1600.0)
    assert tokens.sign_in(token) is None
    assert tokens.session(session) == who
    assert tokens.program(session) is None
    assert tokens.sign_in(session) is None
    clock.now_s = 1600.0
    assert tokens.session(session) is None
    assert tokens.list() == []


def test_only_hashes_lie_on_disk_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    token = tokens.invite("metrics", 3600, "prometheus")
    assert tokens.program(token)
    path = tmp_path / FILE
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())


def test_another_process_invites_and_revokes(tmp_path: Path) -> None:
    panel, tool = Tokens(tmp_path), Tokens(tmp_path)
    made = panel.sign_in(tool.invite("observe", 600, ""))
    assert made
    (one,) = tool.list()
    assert tool.revoke("nobody") == 0
    assert tool.revoke(one.id[:3]) == 0
    assert tool.revoke(one.id[:4]) == 1
    assert panel.session(made[0]) is None
    panel.end("whatever")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": {"id": 1}}', "\udcff"])
def test_a_broken_file_lets_nobody_in_and_is_replaced(tmp_path: Path, content: str) -> None:
    tokens = Tokens(tmp_path)
    made = tokens.sign_in(tokens.invite("observe", 600, ""))
    assert made
    (tmp_path / FILE).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert tokens.session(made[0]) is None
    assert tokens.sign_in(tokens.invite("observe", 600, ""))


@pytest.mark.parametrize(
    ("role", "for_s"), [("root", 600), ("observe", 1), ("observe", 1e12), ("observe", float("nan"))]
)
def test_what_is_no_invitation_is_refused(tmp_path: Path, role: str, for_s: float) -> None:
    with pytest.raises(ValueError, match=r"role|lasts"):
        Tokens(tmp_path).invite(role, for_s, "")
