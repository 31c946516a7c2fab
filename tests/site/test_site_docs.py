"""What the documents say is so: every key is described, and the walk-through does what it shows."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from gateway.site import profile, site
from gateway.site.messages import MESSAGES
from gateway.site.roles import ROLES
from gateway.site.settings import ServiceSettings
from gateway.site.units import UNITS
from gateway.tools import check, plan
from protocols import registry

DOCS = Path(__file__).parents[2] / "docs"


def test_every_profile_key_is_described() -> None:
    text = (DOCS / "profiles.md").read_text()
    tables = (profile.DeviceTable, profile.LinkTable, profile.PointTable, profile.Capture, profile.Probe)
    names = [name for table in tables for name in table.model_fields if name != "source"]
    for driver in map(registry.driver, registry.DRIVERS):
        names += [one.name for schema in (driver.point, driver.device) for one in dataclasses.fields(schema)]
    assert [name for name in names if f"`{name}`" not in text] == []
    assert [name for name in (*ROLES, *UNITS) if f"`{name}`" not in text] == []


def test_every_site_key_is_described() -> None:
    text = (DOCS / "site.md").read_text()
    tables = (site.GatewayTable, site.LinkTable, site.DeviceTable, site.PointOverride, site.UpstreamTable)
    assert [name for table in tables for name in table.model_fields if f"`{name}`" not in text] == []
    for service in dataclasses.fields(ServiceSettings):
        for one in dataclasses.fields(getattr(ServiceSettings(), service.name)):
            assert f"`{service.name}.{one.name}`" in text


def test_every_code_is_explained() -> None:
    text = (DOCS / "errors.md").read_text()
    assert [code for code in MESSAGES if f"| {code} |" not in text] == []


def test_codes_of_the_program_and_of_the_document_are_the_same() -> None:
    rows = re.findall(r"^\| (CG-\d{4}) \| (.*?) \| (.*?) \|$", (DOCS / "errors.md").read_text(), re.MULTILINE)
    parts = ("gateway", "protocols", "fastpath", "systemd", "packaging")
    files = (path for part in parts for path in (DOCS.parent / part).rglob("*.py"))
    used = {code for path in files for code in re.findall(r"CG-\d{4}", path.read_text())}
    assert sorted(code for code, _, _ in rows) == sorted(used)
    for code, what, todo in rows:
        assert re.search("[가-힣]", what.partition("<br>")[2]), code
        assert re.search("[가-힣]", todo.partition("<br>")[2]), code


def test_the_walk_through_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comments in the document say which block is which file and which line is corrected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    draft = tmp_path / "profiles" / "air" / "xy-md02.toml"
    draft.parent.mkdir(parents=True)
    steps = re.compile(
        r"<!-- (?P<how>file|append): (?P<name>\S+) -->\n```\w+\n(?P<text>.*?)```"
        r"|<!-- edit: (?P<old>.*?) -> (?P<new>.*?) -->"
        r"|```console\n\$ citygate (?P<verb>check|plan) (?P<path>\S+)\n(?P<shown>.*?)```",
        re.DOTALL,
    )
    shown = 0
    for step in steps.finditer((DOCS / "adding-a-device.md").read_text()):
        if step["how"]:
            path = tmp_path / step["name"]
            before = path.read_text() + "\n" if step["how"] == "append" else ""
            path.write_text(before + step["text"])
        elif step["old"]:
            assert step["old"] in draft.read_text()
            draft.write_text(draft.read_text().replace(step["old"], step["new"]))
        else:
            run = (
                check.run([step["path"]], lang="en") if step["verb"] == "check" else plan.run(step["path"], json=False)
            )
            assert run in (0, 1)
            assert capsys.readouterr().out == step["shown"]
            shown += 1
    assert shown == 6
