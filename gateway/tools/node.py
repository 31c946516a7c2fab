"""`citygate firmware`: images of the node agent and their signed manifests, made where the maker's key is.

keygen KEY            a maker's key, and KEY.pub for the nodes
image IMAGE           this citygate's node agent as one file that a node's slot can hold
sign IMAGE ...        a SUIT manifest for it
show MANIFEST         what a manifest says, and whether a key proves it
"""

from __future__ import annotations

import hashlib
import json as jsonlib
import os
import sys
import zipfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway import VERSION
from gateway.spool.trouble import Trouble
from gateway.wire import suit

PARTS = ("node", "wire", "spool", "site")  # of the package: what the node agent needs of it
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same sources make the same image
MAIN = "import sys\nfrom gateway.node.main import run\nsys.exit(run(sys.argv[1]))\n"


def keygen(out: str, *, json: bool) -> int:
    """0, or 2 where it cannot be written; a key that is there is never overwritten."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path = out
    try:
        for path, data, mode in ((out, private, 0o600), (f"{out}.pub", public, 0o644)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
                file.write(data)
    except OSError as bad:
        return _refused(_unwritable(path, bad))
    _say({"key": out, "public": f"{out}.pub"}, json)
    return 0


def image(out: str, *, json: bool) -> int:
    """0, or 2 where it cannot be written."""
    package = Path(suit.__file__).parents[1]
    sources = [*package.glob("*.py"), *(one for part in PARTS for one in (package / part).rglob("*.py"))]
    fresh = Path(f"{out}.new")
    try:
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, "__main__.py", MAIN.encode())
            for source in sorted(sources):
                _add(archive, str(Path("gateway") / source.relative_to(package)), source.read_bytes())
        os.replace(fresh, out)
        data = Path(out).read_bytes()
    except OSError as bad:
        return _refused(_unwritable(out, bad))
    _say({"image": out, "version": VERSION, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}, json)
    return 0


def sign(path: str, key: str, out: str, manifest: suit.Manifest, *, json: bool) -> int:
    """`manifest` lacks digest and size, which are the file's. 0, or 2 where it is refused."""
    try:
        data = _read(path)
        whole = suit.Manifest(
            manifest.vendor,
            manifest.kind,
            manifest.sequence,
            hashlib.sha256(data).digest(),
            len(data),
            manifest.uri or Path(path).name,
            manifest.version,
        )
        envelope = suit.signed(whole, _private(key))
        Path(out).write_bytes(envelope)
    except suit.BadManifest as bad:
        return _refused(_unsignable(path, bad))
    except Trouble as bad:
        return _refused(bad)
    except OSError as bad:
        return _refused(_unwritable(out, bad))
    _say({"manifest": out, "bytes": len(envelope), **_facts(whole)}, json)
    return 0


def show(path: str, trust: list[str], *, json: bool) -> int:
    """0; 1 where it is no manifest, or no key of `trust` proves it; 2 where a file cannot be read."""
    try:
        data = _read(path)
        keys = [_public(name) for name in trust]
        found = suit.read(data)
    except suit.BadManifest as bad:
        print(_unsignable(path, bad), file=sys.stderr)
        return 1
    except Trouble as bad:
        return _refused(bad)
    facts: dict[str, object] = {"manifest": path, "bytes": len(data), **_facts(found)}
    if keys:
        try:
            suit.proven(data, keys)
            facts["proven"] = True
        except suit.BadManifest:
            facts["proven"] = False
    _say(facts, json)
    return 0 if facts.get("proven", True) else 1


def _facts(manifest: suit.Manifest) -> dict[str, object]:
    return {
        "vendor": str(manifest.vendor),
        "class": str(manifest.kind),
        "sequence": manifest.sequence,
        "version": manifest.version,
        "image": manifest.uri,
        "size": manifest.size,
        "sha256": manifest.sha256.hex(),
    }


def _say(facts: dict[str, object], json: bool) -> None:
    if json:
        print(jsonlib.dumps(facts))
        return
    for key, value in facts.items():
        print(f"{key:10} {value}")


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as bad:
        raise Trouble(
            "CG-6216",
            f"{path} cannot be read ({bad.strerror})",
            f"{path} 을(를) 읽을 수 없습니다 ({bad.strerror})",
            next_en="Check the path and the permissions",
            next_ko="경로와 권한을 확인하십시오",
        ) from bad


def _private(path: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_read(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as bad:
        raise _no_key(path, bad) from bad
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "not Ed25519")
    return key


def _public(path: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as bad:
        raise _no_key(path, bad) from bad
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "not Ed25519")
    return key


def _no_key(path: str, why: object) -> Trouble:
    return Trouble(
        "CG-6217",
        f"{path} holds no Ed25519 key that can be used here ({why})",
        f"{path} 에 사용할 수 있는 Ed25519 키가 없습니다 ({why})",
        next_en="Sign with the private key, trust the public one; citygate firmware keygen makes the pair",
        next_ko="서명에는 개인 키, trust에는 공개 키를 쓰십시오. citygate firmware keygen으로 한 쌍을 만듭니다",
    )


def _unsignable(path: str, why: object) -> Trouble:
    return Trouble(
        "CG-6218",
        f"{path}: no manifest that a node can take ({why})",
        f"{path}: 노드가 받아들일 수 없는 매니페스트입니다 ({why})",
        next_en="Give a sequence number above 0 and short texts; docs/nodes.md says what a manifest holds",
        next_ko="0보다 큰 순번과 짧은 문자열을 쓰십시오. 매니페스트 형식은 docs/nodes.md 참조",
    )


def _unwritable(path: str, bad: OSError) -> Trouble:
    return Trouble(
        "CG-6219",
        f"{path} cannot be written ({bad.strerror})",
        f"{path} 을(를) 쓸 수 없습니다 ({bad.strerror})",
        next_en="Name another file",
        next_ko="다른 파일을 지정하십시오",
    )


def _refused(why: Trouble) -> int:
    print(why, file=sys.stderr)
    return 2
