"""A folder of releases that gateways believe: a plain TUF repository (consistent snapshots), written and signed here.

    metadata/N.root.json  N.targets.json  N.snapshot.json  timestamp.json     targets/SHA256.citygate_NAME_ARCH.tar.xz

In: images and private keys (one PEM a role, Ed25519). Out: files, each replaced whole, the timestamp last, so that
whoever reads meanwhile sees the old repository or the new one. Prints nothing, sends nothing.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from gateway.spool.trouble import Trouble

ROLES = ("root", "targets", "snapshot", "timestamp")
DAYS = {"root": 1825, "targets": 365, "snapshot": 365, "timestamp": 90}
CUSTOM = "citygate"
IMAGE = re.compile(r"citygate_([0-9A-Za-z][0-9A-Za-z.+~-]{0,63})_([0-9a-z]{1,16})\.tar\.xz")
ABOUT = "RELEASE.json"


@dataclass(frozen=True, slots=True)
class Listed:
    """One image of the signed list."""

    release: str
    arch: str
    length: int
    sha256: str
    made: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a repository says; `expires` by role."""

    images: tuple[Listed, ...]
    expires: Mapping[str, str]
    versions: Mapping[str, int]


class Repository:
    """A repository in a folder, and the keys that are here."""

    def __init__(self, folder: Path, keys: Path | None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self._metadata, self._targets, self._keys, self._now = folder / "metadata", folder / "targets", keys, now

    def begin(self) -> None:
        """A repository without a release, and a key for each role. Raises Trouble CG-6190, CG-6191."""
        assert self._keys is not None
        held = [path for path in (self._metadata, *(self._keys / f"{role}.pem" for role in ROLES)) if path.exists()]
        if held:
            raise Trouble(
                "CG-6190", f"{held[0]} is there already", f"{held[0]} 이(가) 이미 있습니다",
                next_en="Name other folders; a key that is lost cannot be made again",
                next_ko="다른 폴더를 지정하십시오. 잃어버린 키는 다시 만들 수 없습니다",
            )  # fmt: skip
        with _writing(self._keys):
            for folder in (self._metadata, self._targets, self._keys):
                folder.mkdir(parents=True, exist_ok=True)
            self._keys.chmod(0o700)
            signers = {role: self._new_key(role) for role in ROLES}
            root = Root(expires=self._until("root"), consistent_snapshot=True)
            for role, signer in signers.items():
                root.add_key(signer.public_key, role)
            self._write(Metadata(root), "root", [signers["root"]])
            for role, first in (("targets", Targets), ("snapshot", Snapshot), ("timestamp", Timestamp)):
                self._write(Metadata(first(expires=self._until(role))), role, [signers[role]])

    def add(self, images: Iterable[Path]) -> list[Listed]:
        """Put images on the list. Raises Trouble CG-6190 to CG-6194."""
        signers = self._signers("targets", "snapshot", "timestamp")
        targets = self._latest("targets")
        added = []
        for image in images:
            found, target = _inspected(image)
            known = targets.signed.targets.get(target.path)
            if known is not None and known.hashes != target.hashes:
                raise Trouble(
                    "CG-6194", f"another image is listed as {target.path}",
                    f"{target.path} 이름의 다른 이미지가 있습니다",
                    next_en="Give the release another version: a name stands for one image for good",
                    next_ko="버전을 올리십시오. 한 이름은 한 이미지만 가리킵니다",
                )  # fmt: skip
            with _writing(self._targets):
                _copy(image, self._targets / f"{found.sha256}.{target.path}")
            targets.signed.targets[target.path] = target
            added.append(found)
        self._publish(targets, signers)
        return added

    def remove(self, release: str) -> int:
        """Take a release off the list, for every kind of machine: how many images that were. Raises Trouble."""
        signers = self._signers("targets", "snapshot", "timestamp")
        targets = self._latest("targets")
        gone = [name for name in targets.signed.targets if (m := IMAGE.fullmatch(name)) and m[1] == release]
        if not gone:
            raise Trouble(
                "CG-6193", f"no release {release} is listed", f"릴리스 {release} 이(가) 목록에 없습니다",
                next_en="citygate release show names them", next_ko="citygate release show 로 확인하십시오",
            )  # fmt: skip
        for name in gone:
            del targets.signed.targets[name]
        self._publish(targets, signers)
        return len(gone)

    def sign(self) -> list[str]:
        """Let each role whose key is here expire later: which. Raises Trouble."""
        assert self._keys is not None
        here = [role for role in ROLES if (self._keys / f"{role}.pem").exists()]
        signers = self._signers("timestamp", *here)
        if "root" in here:
            root = self._latest("root")
            root.signed.version += 1
            root.signed.expires = self._until("root")
            self._write(root, "root", [signers["root"]])
        if "targets" in here and "snapshot" in here:
            self._publish(self._latest("targets"), signers)
        else:
            self._close(self._latest("targets").signed.version, signers)
        return here

    def rotate(self, role: str) -> None:
        """A new key for a role, in the place of the one before, which goes to ROLE.old.pem. Raises Trouble."""
        assert self._keys is not None
        signers = self._signers("root", *(("timestamp", "snapshot", "targets") if role != "root" else ()))
        root = self._latest("root")
        file = self._keys / f"{role}.pem"
        with _writing(self._keys):
            for key in list(root.signed.roles[role].keyids):
                root.signed.revoke_key(key, role)
            os.replace(file, self._keys / f"{role}.old.pem")
            fresh = self._new_key(role)
            root.signed.add_key(fresh.public_key, role)
            root.signed.version += 1
            root.signed.expires = self._until("root")
            # a new root is believed when the old one's key has signed it, too
            self._write(root, "root", [signers["root"], fresh] if role == "root" else [signers["root"]])
        if role != "root":
            self._publish(self._latest("targets"), {**signers, role: fresh})

    def show(self) -> Shown:
        """Raises Trouble CG-6191."""
        files = {role: self._latest(role) for role in ROLES}
        images = [
            Listed(m[1], m[2], target.length, target.hashes["sha256"], _utc(target.custom))
            for name, target in sorted(files["targets"].signed.targets.items())
            if (m := IMAGE.fullmatch(name))
        ]
        expires = {role: file.signed.expires.strftime("%Y-%m-%d") for role, file in files.items()}
        return Shown(tuple(images), expires, {role: file.signed.version for role, file in files.items()})

    def publish(self, files: Path) -> int:
        """Bring all of it below `files`/releases, where a center hands it out: how many files were new. Raises
        Trouble."""
        fresh = 0
        order = [*sorted(self._targets.glob("*")), *sorted(self._metadata.glob("[0-9]*.json"), key=_role_order)]
        with _writing(files):
            for path in [*order, self._metadata / "timestamp.json"]:
                there = files / "releases" / path.relative_to(self._metadata.parent)
                there.parent.mkdir(parents=True, exist_ok=True)
                if not there.exists() or path.name == "timestamp.json":
                    _copy(path, there)
                    fresh += 1
        return fresh

    def _publish(self, targets: Metadata[Any], signers: Mapping[str, CryptoSigner]) -> None:
        targets.signed.version += 1
        targets.signed.expires = self._until("targets")
        self._write(targets, "targets", [signers["targets"]])
        self._close(targets.signed.version, signers)

    def _close(self, targets: int, signers: Mapping[str, CryptoSigner]) -> None:
        """Snapshot and timestamp over the targets of this version."""
        snapshot = self._latest("snapshot")
        if "snapshot" in signers:
            snapshot.signed.version += 1
            snapshot.signed.expires = self._until("snapshot")
            snapshot.signed.meta["targets.json"] = MetaFile(targets)
            self._write(snapshot, "snapshot", [signers["snapshot"]])
        timestamp = self._latest("timestamp")
        timestamp.signed.version += 1
        timestamp.signed.expires = self._until("timestamp")
        timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        self._write(timestamp, "timestamp", [signers["timestamp"]])

    def _write(self, metadata: Metadata[Any], role: str, signers: Iterable[CryptoSigner]) -> None:
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        with _writing(self._metadata):
            _put(self._metadata / name, metadata.to_bytes(JSONSerializer(compact=True)), 0o644)

    def _latest(self, role: str) -> Metadata[Any]:
        found = [self._metadata / "timestamp.json"] if role == "timestamp" else []
        found += sorted(self._metadata.glob(f"*.{role}.json"), key=_number)
        try:
            return Metadata.from_file(str(found[-1]))
        except (IndexError, RepositoryError, OSError) as bad:
            raise Trouble(
                "CG-6191", f"{self._metadata} holds no {role} metadata that can be read",
                f"{self._metadata} 에 읽을 수 있는 {role} 메타데이터가 없습니다",
                next_en="Name the repository's folder, or begin one: citygate release init",
                next_ko="저장소 폴더를 지정하거나 citygate release init 으로 시작하십시오",
            ) from bad  # fmt: skip

    def _signers(self, *roles: str) -> dict[str, CryptoSigner]:
        """Raises Trouble CG-6192 for a key that is not here, or is not the one that the root names."""
        assert self._keys is not None
        root = self._latest("root").signed
        found = {}
        for role in roles:
            file = self._keys / f"{role}.pem"
            try:
                key = load_pem_private_key(file.read_bytes(), None)
                if not isinstance(key, Ed25519PrivateKey):
                    raise ValueError("no Ed25519 key")
                found[role] = CryptoSigner(key)
                if found[role].public_key.keyid not in root.roles[role].keyids:
                    raise ValueError("another key than the root names")
            except (OSError, ValueError, TypeError) as bad:
                raise Trouble(
                    "CG-6192", f"the {role} key {file} cannot be used ({bad})",
                    f"{role} 키 {file} 을(를) 사용할 수 없습니다 ({bad})",
                    next_en="Name the folder with --keys; nothing was changed",
                    next_ko="--keys 로 키 폴더를 지정하십시오. 변경된 것은 없습니다",
                ) from bad  # fmt: skip
        return found

    def _new_key(self, role: str) -> CryptoSigner:
        assert self._keys is not None
        key = Ed25519PrivateKey.generate()
        _put(
            self._keys / f"{role}.pem",
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            0o600,
        )
        return CryptoSigner(key)

    def _until(self, role: str) -> datetime:
        return self._now().replace(microsecond=0) + timedelta(days=DAYS[role])


def _inspected(image: Path) -> tuple[Listed, TargetFile]:
    """Raises Trouble CG-6193 for what is no image of a release."""
    try:
        named = IMAGE.fullmatch(image.name)
        if named is None:
            raise ValueError("its name is not citygate_VERSION_ARCH.tar.xz")
        unpacked, about = 0, b""
        with tarfile.open(image, "r:xz") as tar:
            for member in tar:
                unpacked += member.size
                if member.name == ABOUT and (content := tar.extractfile(member)) is not None:
                    about = content.read()
        said = json.loads(about)
        if (said["name"], said["arch"]) != (named[1], named[2]):
            raise ValueError(f"it says of itself that it is {said['name']} for {said['arch']}")
        made = int(said["made"])
        with image.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, EOFError, ValueError, KeyError, TypeError, tarfile.TarError, lzma.LZMAError) as bad:
        raise Trouble(
            "CG-6193", f"{image} is no image of a release ({bad})", f"{image} 은(는) 릴리스 이미지가 아닙니다 ({bad})",
            next_en="Build it with make release", next_ko="make release 로 만드십시오",
        ) from bad  # fmt: skip
    length = image.stat().st_size
    custom = {CUSTOM: {"unpacked": unpacked, "made": made}}
    target = TargetFile(length, {"sha256": sha256}, image.name, {"custom": custom})
    return Listed(named[1], named[2], length, sha256, _utc(custom)), target


def _utc(custom: Any) -> str:
    try:
        return datetime.fromtimestamp(custom[CUSTOM]["made"], UTC).strftime("%Y-%m-%d")
    except (KeyError, TypeError, ValueError, OverflowError):
        return ""


def _number(path: Path) -> int:
    first = path.name.partition(".")[0]
    return int(first) if first.isdigit() else -1


def _role_order(path: Path) -> int:
    """What others name goes first."""
    return ("targets", "snapshot", "root").index(path.name.split(".")[1])


def _copy(source: Path, target: Path) -> None:
    fresh = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, fresh)
    fd = os.open(fresh, os.O_RDONLY)
    try:
        os.fchmod(fd, 0o644)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(fresh, target)


def _put(path: Path, data: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


@contextmanager
def _writing(where: Path) -> Iterator[None]:
    """Translates what a disk refuses."""
    try:
        yield
    except OSError as bad:
        raise Trouble(
            "CG-6195", f"{where} cannot be written ({bad.strerror})", f"{where} 에 쓸 수 없습니다 ({bad.strerror})",
            next_en="Check the folder's owner and the disk; run it again",
            next_ko="폴더 소유자와 디스크를 확인하고 다시 실행하십시오",
        ) from bad  # fmt: skip
