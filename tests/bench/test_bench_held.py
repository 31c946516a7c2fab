"""Which field half holds a port, asked of its control socket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gateway.bench import held


def test_the_link_is_found_by_any_name_of_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, port, name = tmp_path / "site.toml", tmp_path / "ttyUSB0", tmp_path / "by-id"
    site.write_text('[gateway]\nstate_dir = "state"\n')
    port.touch()
    os.symlink(port, name)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "field.sock").touch()
    asked: list[Path] = []

    def request(socket: Path, words: dict[str, Any], _: float) -> Any:
        asked.append(socket)
        assert words == {"lines": True}
        return {"lines": {"other": {"url": "tcp://10.0.0.1"}, "rs485": {"url": f"serial:{name}"}}}

    monkeypatch.setattr("gateway.field.control.request", request)
    monkeypatch.setattr(held, "_running", lambda: iter(()))
    assert held.holder_of(f"serial:{port}", str(site)) == (str(site), "rs485")
    assert held.holder_of("serial:/dev/another", str(site)) is None
    assert set(asked) == {tmp_path / "state" / "field.sock"}


def test_site_files_are_taken_from_command_lines(tmp_path: Path) -> None:
    for number, words in (("10", ["python", "/usr/bin/citygate", "field", "site.toml"]), ("11", ["vi", "other.toml"])):
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_text("\0".join(words) + "\0")
        os.symlink("/srv/cabinet", tmp_path / number / "cwd")
    (tmp_path / "12").mkdir()
    assert list(held._running(tmp_path)) == ["/srv/cabinet/site.toml"]
