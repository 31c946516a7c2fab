"""Bundles: what was packed comes back; what is unsigned, foreign, cut, swollen or badly named is refused in words."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.agent import bundle
from gateway.agent.bundle import Bundle
from gateway.spool.trouble import Trouble
from gateway.tools import bundle as tool
from gateway.wire import sign1

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes((number,)) * 32) for number in (1, 2))
TRUST = [KEY.public_key()]
MADE = "2026-03-01T02:10:00Z"
GOOD = {"format": 1, "gateways": ["cab-7"], "sequence": 12, "made": MADE, "files": {"site.toml": b"schema = 1\n"}}

names = st.from_regex(r"profiles/[a-z]{1,8}/[A-Za-z0-9][A-Za-z0-9_-]{0,12}\.toml", fullmatch=True)
bundles = st.builds(
    lambda gateways, sequence, files, site: Bundle(tuple(gateways), sequence, MADE, files | {"site.toml": site}),
    st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3),
    st.integers(0, 2**63 - 1),
    st.dictionaries(names, st.binary(max_size=100), max_size=4),
    st.binary(max_size=200),
)


def body(**other: Any) -> bytes:
    return zlib.compress(cbor2.dumps(GOOD | other))


def refused(code: str, message: bytes) -> str:
    with pytest.raises(Trouble) as told:
        bundle.proven(message, TRUST)
    assert told.value.code == code
    assert told.value.ko != told.value.en
    return told.value.en


@given(bundles)
def test_what_was_signed_comes_back(one: Bundle) -> None:
    assert bundle.proven(bundle.signed(one, KEY), TRUST) == one


def test_unsigned_and_by_a_wrong_key() -> None:
    plain = bundle.packed(Bundle(("cab-7",), 1, MADE, {"site.toml": b""}))
    assert "no COSE_Sign1" in refused("CG-6140", plain)
    assert "none of the keys" in refused("CG-6140", sign1.sign(plain, OTHER))
    with pytest.raises(Trouble, match="CG-6140"):
        bundle.proven(sign1.sign(plain, KEY), [])


@given(st.data())
def test_a_cut_or_altered_one_is_refused_or_unchanged(data: st.DataObject) -> None:
    whole = bundle.signed(Bundle(("cab-7",), 1, MADE, {"site.toml": b"x" * 50}), KEY)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert refused("CG-6140", cut)
    packed = sign1.unproven(whole)
    inside = sign1.sign(packed[: data.draw(st.integers(0, len(packed) - 1))], KEY)
    assert refused("CG-6141", inside)


@given(st.binary(max_size=200))
def test_signed_nonsense_is_told_as_that(raw: bytes) -> None:
    refused("CG-6141", sign1.sign(raw, KEY))
    refused("CG-6141", sign1.sign(zlib.compress(raw), KEY))


def test_bombs_do_not_unpack() -> None:
    swollen = zlib.compress(bytes(64 << 20), 9)
    assert len(swollen) < bundle.LARGEST
    assert "unpacks to more than" in refused("CG-6141", sign1.sign(swollen, KEY))
    deep = zlib.compress(b"\x81" * 100_000 + b"\x00")
    refused("CG-6141", sign1.sign(deep, KEY))
    claims = zlib.compress(b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff")
    refused("CG-6141", sign1.sign(claims, KEY))
    many = {f"profiles/x/p{number}.toml": b"" for number in range(bundle.FILES)} | {"site.toml": b""}
    assert "too many" in refused("CG-6141", sign1.sign(body(files=many), KEY))
    assert "bytes" in refused("CG-6141", bytes(bundle.LARGEST + 1))


def test_something_behind_the_end_is_refused() -> None:
    assert "follows" in refused("CG-6141", sign1.sign(body() + b"more", KEY))


@pytest.mark.parametrize(
    "name",
    [
        "../site.toml",
        "/etc/passwd",
        "profiles/../../site.toml",
        "profiles/water/../../../x.toml",
        "profiles/water/..toml",
        "profiles/water/a..toml",
        "profiles/water/.hidden.toml",
        "profiles/water/x.toml\n",
        "profiles/water/x.toml/",
        "profiles\\water\\x.toml",
        "profiles/water/x.py",
        "profiles/water/deeper/x.toml",
        "profiles/Water/x.toml",
        "profiles/water/x\0.toml",
        "site.toml\0",
        "SITE.toml",
        "",
    ],
)
def test_no_other_names(name: str) -> None:
    assert "is called" in refused("CG-6141", sign1.sign(body(files=GOOD["files"] | {name: b""}), KEY))  # type: ignore[operator]
    with pytest.raises(Trouble, match="CG-6141"):
        bundle.packed(Bundle(("cab-7",), 1, MADE, {"site.toml": b"", name: b""}))


@given(st.text(max_size=40))
def test_whatever_a_name_is_it_stays_below_its_folder(name: str) -> None:
    try:
        inside = bundle.read(body(files={"site.toml": b"", f"profiles/{name}.toml": b""}))
    except Trouble:
        return
    for one in inside.files:
        assert Path("/state/1", one).resolve().is_relative_to("/state/1")
        assert len(Path(one).parts) in (1, 3)


@pytest.mark.parametrize(
    "other",
    [
        {"format": 2},
        {"sequence": -1},
        {"sequence": True},
        {"sequence": 1 << 63},
        {"sequence": "12"},
        {"gateways": []},
        {"gateways": "cab-7"},
        {"gateways": [7]},
        {"made": 7},
        {"files": {}},
        {"files": []},
        {"files": {"site.toml": "text"}},
        {"files": {"profiles/water/x.toml": b""}},
        {"files": {7: b""}},
        {"files": {"site.toml": {"link": "/etc/shadow"}}},  # there is no form for a link
        {"links": {}},
    ],
)
def test_other_forms(other: dict[str, Any]) -> None:
    refused("CG-6141", sign1.sign(body(**other), KEY))


def test_whom_it_is_for() -> None:
    one = bundle.read(body())
    assert one.is_for("cab-7")
    assert not one.is_for("cab-70")
    assert bundle.read(body(gateways=["*"])).is_for("any")


def test_keys_are_made_once_used_and_named_where_they_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "ops")
    assert tool.keygen(out) == 0
    assert (tmp_path / "ops.key").stat().st_mode & 0o777 == 0o600
    message = bundle.signed(bundle.read(body()), bundle.private_key(f"{out}.key"))
    assert bundle.proven(message, [bundle.public_key(f"{out}.pub")]).sequence == 12
    assert tool.keygen(out) == 1
    assert "CG-6155" in capsys.readouterr().err
    for path in (f"{out}.key", str(tmp_path / "none.pub"), str(tmp_path)):
        with pytest.raises(Trouble, match="CG-6142"):
            bundle.public_key(path)
    with pytest.raises(Trouble, match="CG-6142"):
        bundle.private_key(f"{out}.pub")
