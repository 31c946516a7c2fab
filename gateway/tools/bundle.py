"""`citygate bundle`: keys, and configurations signed with them, where the center is."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway.agent import bundle
from gateway.site import generations
from gateway.site.compile import survey
from gateway.site.faults import Faults, failures
from gateway.spool.trouble import Trouble
from gateway.wire import sign1


def keygen(out: str) -> int:
    """An Ed25519 pair: OUT.key 0600, OUT.pub."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    made = Ed25519PrivateKey.generate()
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        for path, content, mode in ((f"{out}.key", private, 0o600), (f"{out}.pub", public, 0o644)):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
    except OSError as bad:
        return _told(
            Trouble(
                "CG-6155", f"{bad.filename}: {bad.strerror}", f"{bad.filename} 파일을 만들 수 없습니다: {bad.strerror}"
            )
        )
    print(f"{out}.key signs and stays here / 서명용 키, 여기에만 보관")
    print(f"{out}.pub goes to gateways: [agent] trust = [...] / 게이트웨이의 [agent] trust 에 지정")
    return 0


def make(site: str, gateways: list[str], key: str, *, sequence: int | None, profiles: list[str], out: str) -> int:
    """Check a site as a gateway would, and sign it. 1 for faults."""
    read, _, faults = survey(site)
    if read is None or failures(faults):
        print(Faults(failures(faults)).text(), file=sys.stderr)
        return 1
    try:
        private = bundle.private_key(key)
        files = generations.snapshot(Path(site), [*profiles, *read.profile_folders])
        made = datetime.now(UTC)
        number = int(made.timestamp()) if sequence is None else sequence
        one = bundle.Bundle(tuple(gateways or [read.gateway.id]), number, made.strftime("%Y-%m-%dT%H:%M:%SZ"), files)
        body = bundle.signed(one, private)
        target = Path(out or f"{one.gateways[0]}-{number}.bundle".replace("*", "all"))
        target.write_bytes(body)
    except Trouble as bad:
        return _told(bad)
    except OSError as bad:
        return _told(Trouble("CG-6155", f"{bad.filename}: {bad.strerror}", f"{bad.filename}: {bad.strerror}"))
    print(f"{target}  {len(body)} bytes, {len(files)} files, number {number}, for {', '.join(one.gateways)}")
    return 0


def show(path: str, keys: list[str], *, json: bool) -> int:
    """What is in one; with keys also whether one of them signed it (else 1)."""
    try:
        body = Path(path).read_bytes()
        inside = bundle.proven(body, [bundle.public_key(key) for key in keys]) if keys else _anybodys(body)
    except OSError as bad:
        return _told(Trouble("CG-6155", f"{path}: {bad.strerror}", f"{path}: {bad.strerror}"))
    except Trouble as bad:
        return _told(bad)
    files = {name: len(content) for name, content in inside.files.items()}
    if json:
        about = {"gateways": inside.gateways, "sequence": inside.sequence, "made": inside.made, "files": files}
        print(jsonlib.dumps(about | {"proven": bool(keys)}))
        return 0
    print(f"for {', '.join(inside.gateways)}, number {inside.sequence}, made {inside.made}, "
          f"{'signature proven' if keys else 'signature not looked at: give --trust KEY.pub'}")  # fmt: skip
    for name, size in files.items():
        print(f"  {name}  {size} bytes")
    return 0


def _anybodys(body: bytes) -> bundle.Bundle:
    try:
        return bundle.read(sign1.unproven(body))
    except sign1.BadSignature as bad:
        raise Trouble("CG-6141", f"no configuration: {bad}", f"설정 번들이 아닙니다: {bad}") from bad


def _told(bad: Trouble) -> int:
    print(bad, file=sys.stderr)
    return 1
