"""A download over a line that breaks: what is kept, what is asked for again, what is never believed."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from gateway.agent.download import MARK, PIECE, WINDOW, Cut, Damaged, Download, Full, Missing, Piece

BODY = random.Random(8).randbytes(600_123)
DIGEST = hashlib.sha256(BODY).hexdigest()


class Line:
    """Hands out BODY; `cuts`: after how many pieces it breaks, one after another."""

    def __init__(self, body: bytes = BODY, cuts: tuple[int, ...] = (), size: int = PIECE) -> None:
        self.body, self.cuts, self.size, self.left = body, list(cuts), size, 0
        self.left = self.cuts.pop(0) if self.cuts else -1

    async def fetch(self, path: str, offset: int) -> Piece:
        if self.left == 0:
            self.left = self.cuts.pop(0) if self.cuts else -1
            raise Cut("cut")
        self.left -= 1
        assert offset % 1024 == 0
        return Piece(self.body[offset : offset + self.size], len(self.body))


async def no_pause(_: float) -> None:
    pass


async def test_it_arrives_whole(tmp_path: Path) -> None:
    download = Download(tmp_path / "part", len(BODY), DIGEST)
    said: list[int] = []
    await download.run(Line(), "x", pause=no_pause, said=said.append)
    assert (tmp_path / "part").read_bytes() == BODY
    assert download.asked == len(BODY)
    assert said[-1] == len(BODY)
    assert said == sorted(said)


@pytest.mark.parametrize("cuts", [(1,), (3, 1, 0, 0, 7), tuple(range(20))])
async def test_a_cut_costs_at_most_what_was_under_way(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    download = Download(tmp_path / "part", len(BODY), DIGEST)
    await download.run(Line(cuts=cuts), "x", pause=no_pause)
    assert (tmp_path / "part").read_bytes() == BODY
    assert download.asked - len(BODY) <= len(cuts) * WINDOW * PIECE


@pytest.mark.parametrize("size", [1024, 3072, 5000, PIECE + 1024, 4 * PIECE])
async def test_the_center_chooses_the_size_of_pieces(tmp_path: Path, size: int) -> None:
    await Download(tmp_path / "part", len(BODY), DIGEST).run(Line(size=size, cuts=(5, 5)), "x", pause=no_pause)
    assert (tmp_path / "part").read_bytes() == BODY


async def interrupted(tmp_path: Path, pieces: int) -> Path:
    """A download that a kill ended."""

    class Killed(BaseException):
        pass

    async def kill(_: float) -> None:
        raise Killed

    with pytest.raises(Killed):
        await Download(tmp_path / "part", len(BODY), DIGEST).run(Line(cuts=(pieces,)), "x", pause=kill)
    return tmp_path / "part"


async def test_after_a_kill_it_goes_on_from_its_last_mark(tmp_path: Path) -> None:
    part = await interrupted(tmp_path, 40)
    download = Download(part, len(BODY), DIGEST)
    assert 40 * PIECE - MARK <= download.arrived <= 40 * PIECE
    await download.run(Line(), "x", pause=no_pause)
    assert part.read_bytes() == BODY


@pytest.mark.parametrize(
    "harm",
    [
        lambda part: part.write_bytes(part.read_bytes()[:100_000] + bytes(50_000) + part.read_bytes()[150_000:]),
        lambda part: part.write_bytes(part.read_bytes()[:70_001]),
        lambda part: part.write_bytes(bytes(len(BODY))),
        lambda part: part.write_bytes(part.read_bytes() + b"more than there is" * 50_000),
        lambda part: part.unlink(),
        lambda part: part.with_name("part.marks").unlink(),
        lambda part: part.with_name("part.marks").write_bytes(b"\xff\x00 garbage\n" * 100),
        lambda part: part.with_name("part.marks").write_bytes(part.with_name("part.marks").read_bytes()[:-20]),
        lambda part: part.with_name("part.marks").write_text(f"999999999 {'0' * 64}\n"),
    ],
)
async def test_what_a_power_cut_left_is_believed_as_far_as_it_is_proven(tmp_path: Path, harm: object) -> None:
    part = await interrupted(tmp_path, 30)
    assert callable(harm)
    harm(part)
    for _ in range(2):  # and once more after a second kill
        await interrupted(tmp_path, 3)
    download = Download(part, len(BODY), DIGEST)
    assert download.arrived % MARK == 0
    await download.run(Line(), "x", pause=no_pause)
    assert part.read_bytes() == BODY
    assert download.asked <= len(BODY)


async def test_other_bytes_are_refused_and_not_kept(tmp_path: Path) -> None:
    wrong = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(Damaged, match="SHA-256"):
        await Download(tmp_path / "part", len(BODY), DIGEST).run(Line(wrong), "x", pause=no_pause)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("body", [BODY + b"x", BODY[:-1], b"", b"y" * 1024])
async def test_another_length_is_refused_at_once(tmp_path: Path, body: bytes) -> None:
    download = Download(tmp_path / "part", len(BODY), DIGEST)
    with pytest.raises(Damaged, match="signed"):
        await download.run(Line(body), "x", pause=no_pause)
    assert download.asked <= WINDOW * PIECE


async def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    class Empty:
        async def fetch(self, path: str, offset: int) -> Piece:
            raise Missing("4.04")

    with pytest.raises(Missing):
        await Download(tmp_path / "part", len(BODY), DIGEST).run(Empty(), "x", pause=no_pause)


async def test_a_disk_without_room_is_said_before_a_byte_is_asked_for(tmp_path: Path) -> None:
    download = Download(tmp_path / "part", 1 << 60, DIGEST)
    with pytest.raises(Full):
        await download.run(Line(), "x", pause=no_pause)
    assert download.asked == 0


async def test_pauses_grow_while_nothing_comes_and_shrink_again(tmp_path: Path) -> None:
    pauses: list[float] = []

    class Down(Line):
        async def fetch(self, path: str, offset: int) -> Piece:
            if len(pauses) < 4 or (len(pauses) == 4 and offset > 200_000):
                raise Cut("down")
            return await super().fetch(path, offset)

    async def pause(s: float) -> None:
        pauses.append(s)

    await Download(tmp_path / "part", len(BODY), DIGEST).run(Down(), "x", pause=pause)
    assert pauses == [1.0, 2.0, 5.0, 10.0, 1.0]
