"""Images as they must not be: each is refused, and nothing of it stays on the disk."""

from __future__ import annotations

import errno
import importlib
import io
import lzma
import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_rig import release_tar, tar

from gateway.agent import unpack
from gateway.agent.unpack import BadImage, NoRoom

WHOLE = release_tar("1.1")


def packed(folder: Path, data: bytes) -> Path:
    path = folder / "image"
    path.write_bytes(lzma.compress(data, preset=0))
    return path


def modes(tree: Path) -> dict[str, int]:
    return {str(path.relative_to(tree)): stat.S_IMODE(path.lstat().st_mode) for path in tree.rglob("*")}


def test_a_release_lies_there_whole_under_its_name(tmp_path: Path) -> None:
    (tmp_path / ".unpacking").mkdir()
    (tmp_path / ".unpacking/left by a kill").write_text("")
    written = unpack.unpack(packed(tmp_path, WHOLE), tmp_path, "1.1")
    tree = tmp_path / "1.1"
    assert written == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    assert (tree / "bin/citygate").read_bytes() == b"#!/bin/sh\n"
    found = modes(tree)
    del found["bin/python3"]
    assert found == {"RELEASE.json": 0o644, "ballast": 0o644, "bin": 0o755, "bin/citygate": 0o755}
    assert not (tmp_path / ".unpacking").exists()


def test_modes_do_not_follow_the_umask_or_the_image(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as made:
            for name, kind, mode in (("bin", tarfile.DIRTYPE, 0o7777), ("bin/su", tarfile.REGTYPE, 0o6777)):
                info = tarfile.TarInfo(name)
                info.type, info.mode = kind, mode
                made.addfile(info)
        unpack.unpack(packed(tmp_path, out.getvalue()), tmp_path, "1.1")
    finally:
        os.umask(before)
    assert modes(tmp_path / "1.1") == {"bin": 0o755, "bin/su": 0o755}
    assert stat.S_IMODE((tmp_path / "1.1").stat().st_mode) == 0o755


def special(kind: bytes, name: str = "bin/x", target: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return tar(("bin", None))[:512] + info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)


BAD = {
    "up": tar(("bin", None), ("../x", b"")),
    "up inside": tar(("bin", None), ("bin/../../x", b"")),
    "absolute": tar(("bin", None), ("/etc/x", b"")),
    "dot": tar(("bin", None), ("./x", b"")),
    "control character": tar(("bin", None), ("bin/\x1b[2J", b"")),
    "backslash": tar(("bin", None), ("bin\\x", b"")),
    "twice": tar(("bin", None), ("x", b"1"), ("x", b"2")),
    "file as folder": tar(("bin", None), ("x", b"1"), ("x/y", b"2")),
    "no folder": tar(("bin/citygate", b"")),
    "deep": tar(*(("/".join("a" * n), None) for n in range(1, 40))),
    "link out": tar(("bin", None), links={"x": "/etc/passwd"}),
    "link up": tar(("bin", None), links={"bin/python3": "../../../etc"}),
    "another interpreter": tar(("bin", None), links={"bin/python3": "/tmp/python3.11"}),
    "through the link": special(tarfile.SYMTYPE, "bin/python3", "/usr/bin/python3.11")[:1024]
    + tar(("bin/python3/x", b"")),
    "hard link": special(tarfile.LNKTYPE, target="/etc/shadow"),
    "device": special(tarfile.BLKTYPE),
    "character device": special(tarfile.CHRTYPE),
    "fifo": special(tarfile.FIFOTYPE),
    "sparse": special(tarfile.GNUTYPE_SPARSE),
    "pax": tar(("bin", None), ("bin/" + "x" * 150, b""), form=tarfile.PAX_FORMAT),
    "gnu long name": tar(("bin", None), ("bin/" + "x" * 150, b""), form=tarfile.GNU_FORMAT),
    "no release": tar(("lib", None)),
    "nothing": bytes(1024),
    "no end": WHOLE[:1024],
    "a header cut off": WHOLE[:700],
    "garbage": b"\x01" * 4096,
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_refused_leaves_nothing(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "sent"
    folder.mkdir()
    image = packed(tmp_path, BAD[what])
    with pytest.raises(BadImage):
        unpack.unpack(image, folder, "1.1")
    assert not list(folder.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image", "sent"]


def test_a_bomb_ends_at_its_bound(tmp_path: Path) -> None:
    bomb = packed(tmp_path, tar(("bin", None), ("zeros", bytes(40_000_000))))
    assert bomb.stat().st_size < 10_000
    with pytest.raises(BadImage, match="more than 1000000 bytes"):
        unpack.unpack(bomb, tmp_path, "1.1", limit=1_000_000)
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_a_decompressor_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20}]
    image = tmp_path / "image"
    image.write_bytes(lzma.compress(WHOLE, filters=filters))
    with pytest.raises(BadImage, match="decompressed"):
        unpack.unpack(image, tmp_path, "1.1")


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -20])
def test_an_image_that_is_cut_off(tmp_path: Path, cut: int) -> None:
    image = packed(tmp_path, WHOLE)
    image.write_bytes(image.read_bytes()[:cut])
    with pytest.raises(BadImage):
        unpack.unpack(image, tmp_path, "1.1")
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    image = packed(tmp_path, WHOLE)
    monkeypatch.setattr(unpack.os, "write", full)
    with pytest.raises(NoRoom):
        unpack.unpack(image, tmp_path, "1.1")
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_a_refused_image_leaves_the_tree_of_its_name(tmp_path: Path) -> None:
    unpack.unpack(packed(tmp_path, WHOLE), tmp_path, "1.1")
    with pytest.raises(BadImage):
        unpack.unpack(packed(tmp_path, BAD["up"]), tmp_path, "1.1")
    assert (tmp_path / "1.1/bin/citygate").exists()


def test_one_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        unpack.unpack(packed(tmp_path, WHOLE), tmp_path, "1.1", given_up=lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_no_mutant_reaches_outside(tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]) -> None:
    folder = tmp_path_factory.mktemp("mutant")
    data = bytearray(WHOLE)
    for at, value in flips:
        data[at] = value
    image = packed(folder, bytes(data))
    with suppress(BadImage):
        unpack.unpack(image, folder, "1.1")
    assert {path.name for path in folder.iterdir()} <= {"image", "1.1"}
    for path in folder.rglob("*"):
        assert path.is_symlink() == (path.name == "python3")


def test_what_make_release_packs_is_taken_and_is_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "packaging"))
    release = importlib.import_module("release")
    build = importlib.import_module("build")
    tree = tmp_path / "tree"
    unpack.unpack(packed(tmp_path, WHOLE), tmp_path, "tree")
    (tree / "lib").mkdir()
    (tree / "lib/one").write_text("x" * 1000)
    os.link(tree / "lib/one", tree / "lib/two")
    for name in ("a", "b"):
        build.settle(tree, 1_767_225_600)
        release.pack(tree, tmp_path / name, 1_767_225_600, preset=0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    unpack.unpack(tmp_path / "a", tmp_path, "1.1")

    assert [path.relative_to(tree) for path in _files(tree)] == [
        path.relative_to(tmp_path / "1.1") for path in _files(tmp_path / "1.1")
    ]
    assert [path.read_bytes() for path in _files(tree)] == [path.read_bytes() for path in _files(tmp_path / "1.1")]
    (tree / ("d" * 101)).mkdir()
    (tree / ("d" * 101) / ("f" * 101)).write_text("")
    with pytest.raises(build.CannotBuild, match="CG-6014"):
        release.pack(tree, tmp_path / "c", 1_767_225_600, preset=0)


def _files(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
