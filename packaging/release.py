"""Builds a release's image, what a center sends to gateways: `python packaging/release.py [--arch arm64] [--out dist]`
-> dist/citygate_VERSION_ARCH.tar.xz.

In: this tree and runtime.lock. Out: the tree that the Debian package of the same version installs below
/opt/citygate/releases/VERSION, as a plain ustar in xz, which gateway/agent/unpack.py takes. Two builds of one tree give
the same bytes. Nothing is signed here: citygate release add does that, with a key that need not be on this machine.
"""

from __future__ import annotations

import argparse
import lzma
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from build import MACHINES, ROOT, CannotBuild, epoch, plant, preconditions, settle, tree_version

DICTIONARY = 2 << 20  # bytes that the sending half needs to unpack it, of the 60 MB that it may take in all
INSTALLED = "/var/lib/citygate/releases"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--arch", choices=sorted(MACHINES), action="append", help="default: amd64 and arm64")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--version", default="", help="another than the tree's own, for trials")
    parser.add_argument("--fast", action="store_true", help="hardly compressed: for tests")
    args = parser.parse_args(arguments)
    try:
        preconditions()
        for arch in args.arch or sorted(MACHINES):
            image = build(arch, args.out, version=args.version or tree_version(), fast=args.fast)
            print(f"{image}  {image.stat().st_size / 1e6:.1f} MB")
    except CannotBuild as bad:
        print(bad, file=sys.stderr)
        return 2
    return 0


def build(arch: str, out: Path, *, version: str, fast: bool = False) -> Path:
    """One image. Raises CannotBuild."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="citygate-release-") as work:
        release = Path(work) / "tree" / version
        plant(release, Path(work), INSTALLED, arch, version)
        settle(release, epoch())
        image = out / f"citygate_{version}_{arch}.tar.xz"
        part = image.with_name(image.name + ".part")
        try:
            pack(release, part, epoch(), preset=0 if fast else 6)
            part.replace(image)
        finally:
            part.unlink(missing_ok=True)
        return image


def pack(release: Path, image: Path, made_s: int, *, preset: int) -> None:
    """A tree as an image: folders before what lies in them, names in order, nobody's and of one time. Raises
    CannotBuild for a name that ustar cannot hold."""
    with (
        lzma.open(
            image, "wb", filters=[{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": DICTIONARY}]
        ) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path in sorted(release.rglob("*")):
            info = tar.gettarinfo(path, str(path.relative_to(release)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = made_s
            if info.islnk():  # two names of one file
                info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
            try:
                if info.isreg():
                    with path.open("rb") as file:
                        tar.addfile(info, file)
                else:
                    tar.addfile(info)
            except ValueError as bad:
                raise CannotBuild(f"CG-6014 {path} cannot be packed: {bad}\nCG-6014 {path} 압축 불가: {bad}") from bad


if __name__ == "__main__":
    sys.exit(main())
