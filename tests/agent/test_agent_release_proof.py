"""What a gateway believes of a center's list of releases, and what no clock and no center can talk it into."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from release_rig import ARCH, MADE, Center

from gateway.agent.proof import Image, Unproven, prove
from gateway.spool.trouble import Trouble
from gateway.tools.repository import Repository

NOW_S = (MADE + timedelta(days=10)).timestamp()


@pytest.fixture
def center(tmp_path: Path) -> Center:
    made = Center(tmp_path)
    made.add("1.1")
    return made


class Gateway:
    def __init__(self, center: Center) -> None:
        self.center = center
        self.folder = center.folder / "gateway/.tuf"
        self.folder.parent.mkdir(exist_ok=True)
        self.root = center.folder / "root.json"
        self.root.write_bytes(center.root.read_bytes())

    def asks(self, name: str = "1.1", clock_s: float = NOW_S, made_s: float = 0.0, arch: str = ARCH) -> Image:
        return prove(self.folder, self.root, self.center.fetch, name, arch, clock_s=clock_s, made_s=made_s)


@pytest.fixture
def gateway(center: Center) -> Gateway:
    return Gateway(center)


def code(refused: pytest.ExceptionInfo[Unproven]) -> str:
    assert refused.value.ko != refused.value.en
    return refused.value.code


def test_an_image_is_named_with_length_and_digest(center: Center, gateway: Gateway) -> None:
    found = gateway.asks()
    published = center.listed("1.1")
    assert found.path == f"releases/targets/{published.name}"
    assert (found.length, found.made_s) == (published.stat().st_size, int(MADE.timestamp()))
    assert published.name.startswith(found.sha256)


@pytest.mark.parametrize(("name", "arch"), [("9.9", ARCH), ("1.1", "arm64")])
def test_what_is_not_listed_is_said(gateway: Gateway, name: str, arch: str) -> None:
    with pytest.raises(Unproven) as refused:
        gateway.asks(name, arch=arch)
    assert code(refused) == "CG-6175"


def test_a_list_that_is_out_of_date_is_refused_and_taken_when_it_is_signed_again(
    center: Center, gateway: Gateway
) -> None:
    later_s = (MADE + timedelta(days=91)).timestamp()
    with pytest.raises(Unproven) as refused:
        gateway.asks(clock_s=later_s)
    assert code(refused) == "CG-6174"
    center.now = datetime.fromtimestamp(later_s, UTC)
    center.repository.sign()
    center.publish()
    assert gateway.asks(clock_s=later_s).length


def test_a_clock_that_says_1970_proves_nothing(center: Center, gateway: Gateway) -> None:
    assert gateway.asks(clock_s=0.0).length  # nothing is known to be later
    later = MADE + timedelta(days=400)
    with pytest.raises(Unproven) as refused:
        gateway.asks(clock_s=0.0, made_s=later.timestamp())  # the release in use was made after the list expired
    assert code(refused) == "CG-6174"


def test_the_time_that_a_signature_has_shown_is_kept(center: Center, gateway: Gateway) -> None:
    gateway.asks(clock_s=0.0)
    kept = json.loads((gateway.folder / "proven.json").read_text())
    assert kept == {"utc_s": int(MADE.timestamp())}


def test_a_damaged_note_of_the_time_is_no_obstacle(gateway: Gateway) -> None:
    gateway.asks()
    (gateway.folder / "proven.json").write_text("{")
    assert gateway.asks().length


def test_an_older_list_is_refused(center: Center, gateway: Gateway) -> None:
    timestamp = center.folder / "files/releases/metadata/timestamp.json"
    before = timestamp.read_bytes()
    center.add("1.2")
    gateway.asks("1.2")
    timestamp.write_bytes(before)
    with pytest.raises(Unproven) as refused:
        gateway.asks("1.1")
    assert code(refused) == "CG-6173"


def test_an_older_list_is_refused_after_what_was_kept_was_emptied_by_a_power_cut(
    center: Center, gateway: Gateway
) -> None:
    gateway.asks()
    for kept in gateway.folder.glob("*.json"):
        if not kept.is_symlink():
            kept.write_bytes(b"")
    assert gateway.asks().length  # what the root proves is believed again


def test_another_repository_is_refused(tmp_path: Path, center: Center, gateway: Gateway) -> None:
    (tmp_path / "other").mkdir()
    other = Center(tmp_path / "other")
    other.add("1.1")
    gateway.center = other
    with pytest.raises(Unproven) as refused:
        gateway.asks()
    assert code(refused) == "CG-6173"


@pytest.mark.parametrize("role", ["timestamp", "1.snapshot", "2.targets"])
def test_altered_metadata_is_refused(center: Center, gateway: Gateway, role: str) -> None:
    folder = center.folder / "files/releases/metadata"
    newest = max(folder.glob(f"*{role.split('.')[-1]}.json"))
    data = json.loads(newest.read_text())
    data["signed"]["expires"] = "2090-01-01T00:00:00Z"
    newest.write_text(json.dumps(data))
    with pytest.raises(Unproven) as refused:
        gateway.asks()
    assert code(refused) == "CG-6173"


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"[" * 100_000, b"\xff" * 2_000_000])
def test_nonsense_for_metadata_is_refused(center: Center, gateway: Gateway, content: bytes) -> None:
    (center.folder / "files/releases/metadata/timestamp.json").write_bytes(content)
    with pytest.raises(Unproven) as refused:
        gateway.asks()
    assert code(refused) == "CG-6173"


def test_a_root_that_cannot_be_read_is_said(center: Center, gateway: Gateway) -> None:
    gateway.root.unlink()
    with pytest.raises(Unproven) as refused:
        gateway.asks()
    assert code(refused) == "CG-6173"


@pytest.mark.parametrize("role", ["root", "targets", "timestamp"])
def test_a_key_is_changed_without_touching_a_gateway(center: Center, gateway: Gateway, role: str) -> None:
    gateway.asks()
    center.repository.rotate(role)
    center.add("1.2")
    assert gateway.asks("1.2").length


def test_a_key_that_was_taken_back_signs_nothing(tmp_path: Path, center: Center, gateway: Gateway) -> None:
    keys = center.folder / "keys"
    stolen = (keys / "timestamp.pem").read_bytes()
    center.repository.rotate("timestamp")
    center.publish()
    gateway.asks()
    (keys / "timestamp.pem").write_bytes(stolen)
    with pytest.raises(Trouble, match="CG-6192"):
        center.repository.sign()


def test_a_release_that_was_taken_off_is_not_found(center: Center, gateway: Gateway) -> None:
    center.repository.remove("1.1")
    center.publish()
    with pytest.raises(Unproven) as refused:
        gateway.asks()
    assert code(refused) == "CG-6175"


def test_a_name_stands_for_one_image(center: Center) -> None:
    with pytest.raises(Trouble, match="CG-6194"):
        center.add("1.1", ballast=b"another")


@pytest.mark.parametrize("name", ["release.tar.xz", "citygate_1.1_amd64.tar.xz", "citygate_1.3_amd64.tar.xz"])
def test_what_is_no_image_is_not_listed(center: Center, name: str) -> None:
    folder = center.folder / "odd"
    folder.mkdir()
    file = folder / name
    content = center.folder / "citygate_1.1_amd64.tar.xz"
    file.write_bytes(content.read_bytes() if "1.3" in name else b"no tar")
    with pytest.raises(Trouble, match="CG-6193"):
        center.repository.add([file])


def test_keys_are_never_written_over(center: Center) -> None:
    with pytest.raises(Trouble, match="CG-6190"):
        Repository(center.folder / "new", center.folder / "keys").begin()
    assert not (center.folder / "new").exists()
    assert {path.stat().st_mode & 0o777 for path in (center.folder / "keys").glob("*.pem")} == {0o600}
