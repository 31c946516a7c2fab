"""What a center hands out by GET f/..., and how a gateway reads the blocks."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agent import fetching
from gateway.agent.download import Cut, Missing
from gateway.center.files import ETAG, PIECE, Files
from gateway.wire import coap
from gateway.wire.coap import BadMessage, Message

BODY = random.Random(3).randbytes(3 * PIECE + 777)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("center")
    (folder / "secret").write_text("no")
    served = folder / "served"
    (served / "releases/targets").mkdir(parents=True)
    (served / "releases/targets/image").write_bytes(BODY)
    (served / "empty").write_bytes(b"")
    (served / "exact").write_bytes(BODY[:PIECE])
    (served / "inside").symlink_to("exact")
    (served / "outside").symlink_to("../secret")
    (served / ".hidden").write_text("no")
    os.mkfifo(served / "fifo")
    return Files(served)


def whole(files: Files, path: str, exponent: int = 7) -> bytes:
    data = b""
    step = 1 << (min(exponent, 6) + 4)
    while True:
        options = [(coap.URI_PATH, name.encode()) for name in ("f", *path.split("/"))]
        answer = files.answer(
            Message(coap.GET, (*options, (coap.BLOCK2, coap.uint(len(data) // step << 4 | exponent))))
        )
        piece = fetching.piece(answer, len(data))
        data += piece.data
        if len(data) >= piece.total or not answer.uint(coap.BLOCK2) or not (answer.uint(coap.BLOCK2) or 0) & 8:
            return data


@pytest.mark.parametrize("exponent", [0, 2, 6, 7])
@pytest.mark.parametrize("path", ["releases/targets/image", "exact", "empty", "inside"])
def test_a_file_comes_whole_in_blocks_of_any_size(files: Files, path: str, exponent: int) -> None:
    expected = {"empty": b"", "releases/targets/image": BODY}.get(path, BODY[:PIECE])
    assert whole(files, path, exponent) == expected


@pytest.mark.parametrize(
    "path",
    ["outside", ".hidden", "fifo", "releases", "nothing", "../secret", "..", ".", "", "releases//targets/image",
     "/etc/passwd", "a/" * 20 + "b", "x\0y", "exact/", "exact/below"],
)  # fmt: skip
def test_nothing_else_is_reached(files: Files, path: str) -> None:
    assert files.answer(fetching.request(path, 0)).code == coap.NOT_FOUND


@pytest.mark.parametrize("method", [coap.POST, coap.DELETE, coap.FETCH])
def test_nothing_is_written(files: Files, method: int) -> None:
    assert (
        files.answer(Message(method, ((coap.URI_PATH, b"f"), (coap.URI_PATH, b"new")), b"x")).code == coap.NOT_ALLOWED
    )


@given(st.binary(max_size=6), st.lists(st.binary(max_size=12), max_size=5))
def test_any_request_gets_an_answer(files: Files, block: bytes, names: list[bytes]) -> None:
    options = [(coap.URI_PATH, name) for name in (b"f", *names)]
    assert 0x45 <= files.answer(Message(coap.GET, (*options, (coap.BLOCK2, block)))).code < 0xC0


def test_a_block_behind_the_end_is_refused_with_the_size(files: Files) -> None:
    answer = files.answer(fetching.request("exact", PIECE))
    assert (answer.code, answer.uint(coap.SIZE2)) == (coap.BAD_REQUEST, PIECE)


def test_a_file_that_changes_has_another_tag(files: Files, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"one")
    mine = Files(tmp_path)
    first = mine.answer(fetching.request("x", 0)).first(ETAG)
    (tmp_path / "x").write_bytes(b"two, longer")
    assert mine.answer(fetching.request("x", 0)).first(ETAG) != first


def answered(code: int = coap.CONTENT, payload: bytes = bytes(1024), **options: int) -> Message:
    numbers = {"block": coap.BLOCK2, "size": coap.SIZE2}
    return Message(code, tuple((numbers[name], coap.uint(value)) for name, value in options.items()), payload)


@pytest.mark.parametrize(
    "answer",
    [
        answered(coap.INTERNAL_ERROR),
        answered(coap.CREATED),
        answered(block=1 << 4 | 7, size=4096),  # another block
        answered(block=8 | 7),  # more, without an end
        answered(block=8 | 7, size=100),
        answered(block=8 | 7, size=1 << 40),
    ],
)
def test_an_answer_of_no_use_is_a_cut(answer: Message) -> None:
    with pytest.raises(Cut):
        fetching.piece(answer, 0)


@pytest.mark.parametrize("code", [coap.NOT_FOUND, coap.NOT_ALLOWED, coap.UNAUTHORIZED, coap.FORBIDDEN])
def test_a_center_without_files_has_none(code: int) -> None:
    with pytest.raises(Missing):
        fetching.piece(Message(code), 0)


async def test_a_line_that_breaks_is_a_cut() -> None:
    async def broken(request: Message, within_s: float) -> Message:
        raise ConnectionResetError("gone")

    with pytest.raises(Cut, match="gone"):
        await fetching.Fetching(broken).fetch("x", 0)


@given(st.binary(max_size=60))
def test_no_answer_breaks_the_reader(data: bytes) -> None:
    try:
        answer = coap.from_datagram(b"\x40\x45\x00\x01" + data)
    except BadMessage:
        return
    try:
        piece = fetching.piece(answer, 0)
    except (Cut, Missing):
        return
    assert len(piece.data) <= piece.total
