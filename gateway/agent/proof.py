"""What a release is, by signed metadata (TUF): a name in, the proven length, digest and place of its image out.

The trust begins with the root metadata that the site names ([agent].releases) and is never widened by what a center
says. Metadata is kept, so that older metadata is refused. Its age is judged by a time that never goes back behind what
a signature or this release's own making has shown: a clock that says 1970 proves nothing, and no center is asked for
the time. Blocking, for a thread of its own; `tuf` is imported when it is first needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.agent.download import Missing
from gateway.agent.unpack import LARGEST
from gateway.wire import state

if TYPE_CHECKING:
    from tuf.ngclient.updater import Updater

METADATA, TARGETS = "releases/metadata", "releases/targets"  # below what the center hands out
FOLDER = ".tuf"
PROVEN = "proven.json"
LARGEST_IMAGE = 512 << 20
LARGEST_METADATA = 1 << 20
CUSTOM = "citygate"  # our part of a target's `custom`

Fetch = Callable[[str, int], bytes]
"""(path, bytes at most) -> the whole file, blocking. Raises download.Cut, download.Missing, ValueError (too large)."""


class Unproven(Exception):
    """Refused: a code, English, Korean."""

    def __init__(self, code: str, en: str, ko: str) -> None:
        super().__init__(f"{code} {en}")
        self.code, self.en, self.ko = code, en, ko


@dataclass(frozen=True, slots=True)
class Image:
    """`path` below what the center hands out; `unpacked` bytes of the tree; `made_s` seconds since 1970."""

    path: str
    length: int
    sha256: str
    unpacked: int
    made_s: int


def target_name(release: str, arch: str) -> str:
    return f"citygate_{release}_{arch}.tar.xz"


def prove(folder: Path, root: Path, fetch: Fetch, release: str, arch: str, *, clock_s: float, made_s: float) -> Image:
    """The image of `release` for `arch`. `clock_s`: what the system clock says; `made_s`: when the release in use was
    made. Raises Unproven, download.Cut, OSError."""
    try:
        trusted = root.read_bytes()
    except OSError as bad:
        raise Unproven(
            "CG-6173",
            f"the root metadata {root} cannot be read ({bad.strerror}). Put the file there that [agent].releases names",
            f"루트 메타데이터 {root} 을(를) 읽을 수 없습니다 ({bad.strerror}). [agent].releases 의 파일을 설치하십시오",
        ) from bad
    folder.mkdir(mode=0o700, exist_ok=True)
    now_s = max(clock_s, made_s, _proven_s(folder))
    targets, found = _ask(folder, trusted, fetch, target_name(release, arch), now_s)
    if found is None:
        raise Unproven(
            "CG-6175",
            f"release {release} for {arch} is not among the signed ones. Publish it at the center, or name another",
            f"{arch}용 릴리스 {release} 이(가) 서명된 목록에 없습니다. 센터에 게시하거나 다른 릴리스를 지정하십시오",
        )
    image = _image(found)
    if image.made_s < targets.expires.timestamp():
        _keep_proven(folder, image.made_s)
    return image


def _ask(folder: Path, trusted: bytes, fetch: Fetch, name: str, now_s: float) -> tuple[Any, Any]:
    """(the targets metadata, what it says of `name` or None). Raises Unproven, Cut, OSError."""
    from tuf.api.exceptions import DownloadError, ExpiredMetadataError, RepositoryError
    from tuf.ngclient.updater import Updater

    try:
        updater = Updater(str(folder), METADATA, fetcher=_fetcher(fetch), bootstrap=trusted)
        _set_time(updater, now_s)
        found = updater.get_targetinfo(name)
        return updater._trusted_set.targets, found
    except ExpiredMetadataError as bad:
        now = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise Unproven(
            "CG-6174",
            f"the signed list of releases is out of date ({bad}; it is {now} here). Sign it again at the center "
            "(citygate release sign); if the time is wrong, mend this gateway's clock",
            f"서명된 릴리스 목록이 만료되었습니다 ({bad}; 현재 {now}). 센터에서 다시 서명하십시오"
            "(citygate release sign). 시각이 틀리면 게이트웨이의 시계를 고치십시오",
        ) from bad
    except (RepositoryError, DownloadError, ValueError) as bad:
        raise Unproven(
            "CG-6173",
            f"the center's list of releases is not proven ({bad}). Compare [agent].releases with the center's "
            "repository; nothing was changed",
            f"센터의 릴리스 목록을 검증할 수 없습니다 ({bad}). [agent].releases 와 센터 저장소를 비교하십시오. "
            "변경된 것은 없습니다",
        ) from bad
    finally:
        _sync(folder)


def _set_time(updater: Updater, now_s: float) -> None:
    # the library takes the system clock when it is made, and has no parameter for another; pyproject.toml holds it to
    # the major version this was read in
    updater._trusted_set.reference_time = datetime.fromtimestamp(now_s, UTC)


def _fetcher(fetch: Fetch) -> Any:
    from collections.abc import Iterator

    from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError
    from tuf.ngclient.fetcher import FetcherInterface

    class Fetcher(FetcherInterface):
        def download_bytes(self, url: str, max_length: int) -> bytes:
            try:
                return fetch(url, min(max_length, LARGEST_METADATA))
            except Missing as bad:
                raise DownloadHTTPError(f"the center has no {url}", 404) from bad
            except ValueError as bad:
                raise DownloadLengthMismatchError(str(bad)) from bad

        def _fetch(self, url: str) -> Iterator[bytes]:
            yield self.download_bytes(url, LARGEST_METADATA)

    return Fetcher()


def _image(found: Any) -> Image:
    """Raises Unproven for a target that says less than is needed: whoever signed it used another tool."""
    try:
        ours = found.custom[CUSTOM]
        sha256, unpacked, made_s = found.hashes["sha256"], int(ours["unpacked"]), int(ours["made"])
    except (KeyError, TypeError, ValueError) as bad:
        raise _unusable(f"{found.path} was not added by citygate release add") from bad
    if not (0 < found.length <= LARGEST_IMAGE and 0 < unpacked <= LARGEST and made_s >= 0):
        raise _unusable(f"{found.length} bytes, {unpacked} unpacked")
    return Image(f"{TARGETS}/{sha256}.{found.path}", found.length, sha256, unpacked, made_s)


def _unusable(why: str) -> Unproven:
    return Unproven(
        "CG-6176",
        f"the release's image cannot be used ({why}). Build it with make release and add it again",
        f"릴리스 이미지를 사용할 수 없습니다 ({why}). make release 로 다시 만들어 추가하십시오",
    )


def _proven_s(folder: Path) -> float:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads((folder / PROVEN).read_text())["utc_s"])
    return 0.0


def _keep_proven(folder: Path, utc_s: float) -> None:
    if utc_s > _proven_s(folder):
        state.write(folder, PROVEN, {"utc_s": utc_s})


def _sync(folder: Path) -> None:
    """The library renames without syncing; an empty file after a power cut would let older metadata pass."""
    for path in [*folder.glob("*.json"), *folder.glob("root_history/*.json"), folder / "root_history", folder]:
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
