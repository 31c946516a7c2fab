"""Builds the Debian package: `python packaging/build.py [--arch amd64] [--out dist]` -> dist/citygate_VERSION_ARCH.deb.

In: this tree and runtime.lock. Out: one .deb with a release of its own under /opt/citygate/releases, whole: its wheels
are chosen here, by the lock (hashes checked), for the target's processor; nothing is fetched or compiled when it is
installed. Two builds of one tree give the same bytes. Needs Python 3.11, pip, hatchling and dpkg-deb; no root.
"""

from __future__ import annotations

import argparse
import compileall
import gzip
import hashlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHON = (3, 11)  # Debian 12's; byte code and extension modules are of this minor and no other
SITE = "lib/python3.11/site-packages"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC = range(36, 16, -1)  # Debian 12 has 2.36
DOCS = (
    "install.md",
    "site.md",
    "profiles.md",
    "security.md",
    "errors.md",
    "adding-a-device.md",
    "center.md",
    "agent.md",
    "nodes.md",
    "panel.md",
)
UNITS = ("citygate.target", "citygate-field.service", "citygate-uplink.service", "citygate-switch.service",
         "citygate-switch.path", "citygate-trial.service", "citygate-trial.timer",
         "citygate-reboot.service", "citygate-reboot.path",
         "citygate-panel.service", "citygate-node.service")  # fmt: skip
DEPENDS = "python3 (>= 3.11), python3 (<< 3.12), libc6 (>= 2.36), libstdc++6, libgcc-s1, zlib1g, tzdata, systemd, udev"
PRUNED = ("numba/tests", "numba/cuda/tests", "llvmlite/tests", "numpy/tests", "numpy/*/tests", "numpy/f2py/src",
          "*/__pycache__", "bin")  # fmt: skip
MOUNT_POINTS = ("dev", "etc", "home", "opt/citygate", "proc", "root", "run", "sys", "tmp", "usr", "var/cache",
                "var/lib/citygate/credentials", "var/lib/citygate/panel", "var/lib/citygate/releases",
                "var/lib/citygate/state", "var/tmp")  # fmt: skip


class CannotBuild(Exception):
    """Why, and what to do: in English and Korean, with a code."""


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
            deb = build(arch, args.out, version=args.version or tree_version(), fast=args.fast)
            print(f"{deb}  {deb.stat().st_size / 1e6:.1f} MB")
    except CannotBuild as bad:
        print(bad, file=sys.stderr)
        return 2
    return 0


def tree_version() -> str:
    line = next(x for x in (ROOT / "gateway/__init__.py").read_text().splitlines() if x.startswith("VERSION"))
    return line.split('"')[1]


def build(arch: str, out: Path, *, version: str, fast: bool = False) -> Path:
    """One package. Raises CannotBuild."""
    made_s = epoch()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="citygate-deb-") as work:
        tree = Path(work) / "tree"
        plant(tree / "opt/citygate/releases" / version, Path(work), "/opt/citygate/releases", arch, version)
        _system(tree)
        _docs(tree, version, made_s)
        _control(tree, arch, version)
        settle(tree, made_s)
        deb = out / f"citygate_{version}_{arch}.deb"
        squeeze = ["-Zgzip", "-z1"] if fast else ["-Zxz", "-z6"]
        _run(["dpkg-deb", "--root-owner-group", *squeeze, "--build", str(tree), str(deb)], made_s)
        return deb


def plant(release: Path, work: Path, installed: str, arch: str, version: str) -> None:
    """A release's own folder, as it will lie below `installed`. Raises CannotBuild."""
    _libraries(release / SITE, arch)
    _own(release / SITE, work, version)
    _prune(release / SITE)
    _compile(release / SITE, f"{installed}/{version}/{SITE}")
    _venv(release)
    said = {"name": version, "arch": arch, "python": ".".join(map(str, PYTHON)), "made": epoch()}
    (release / "RELEASE.json").write_text(json.dumps(said) + "\n")


def preconditions() -> None:
    """Raises CannotBuild."""
    if sys.version_info[:2] != PYTHON:
        here = ".".join(map(str, sys.version_info[:2]))
        raise CannotBuild(
            f"CG-6010 the package is for Python 3.11 and must be built by it; this is {here}. "
            "Try: make deb PYTHON=python3.11 after make clean.\n"
            f"CG-6010 패키지는 Python 3.11용이며 3.11로 빌드해야 합니다(현재 {here}). "
            "make clean 후 make deb PYTHON=python3.11 을 실행하십시오."
        )
    if shutil.which("dpkg-deb") is None:
        raise CannotBuild(
            "CG-6011 dpkg-deb is missing. As root: apt install dpkg.\n"
            "CG-6011 dpkg-deb가 없습니다. 관리자 권한으로 apt install dpkg 를 실행하십시오."
        )


def epoch() -> int:
    """SOURCE_DATE_EPOCH, else the time of the last commit, else 2026-01-01: never the time of building."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    git = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        said = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        said = ""
    return int(said or 1_767_225_600)


def _libraries(site: Path, arch: str) -> None:
    machine = MACHINES[arch]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    if arch == "amd64":
        platforms += [f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    chosen = [word for platform in platforms for word in ("--platform", platform)]
    _run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile",
         "--only-binary", ":all:", "--require-hashes", "--implementation", "cp", "--python-version", "3.11",
         "--abi", "cp311", "--abi", "abi3", "--abi", "none", *chosen,
         "--target", str(site), "-r", str(HERE / "runtime.lock")],
        0,
        ("CG-6012", f"the libraries of runtime.lock cannot be brought together for {arch}",
         f"{arch}용 runtime.lock 라이브러리를 모을 수 없습니다"),
    )  # fmt: skip


def _own(site: Path, work: Path, version: str) -> None:
    """This tree as a wheel, unpacked; a trial version is written where the program says it."""
    made = work / "wheel"
    _run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--no-index", "--wheel-dir", str(made), str(ROOT)],
        epoch(),
    )  # fmt: skip
    with zipfile.ZipFile(next(made.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    if version != tree_version():
        said = site / "gateway/__init__.py"
        said.write_text(said.read_text().replace(f'"{tree_version()}"', f'"{version}"', 1))


def _prune(site: Path) -> None:
    """What no gateway runs: tests of libraries, command lines with the builder's path in them, pip's own notes."""
    for pattern in PRUNED:
        for found in sorted(site.glob(pattern)):
            shutil.rmtree(found, ignore_errors=True)
    for note in [*site.glob("*.dist-info/direct_url.json"), *site.glob("*.dist-info/REQUESTED")]:
        note.unlink()


def _compile(site: Path, installed: str) -> None:
    """Byte code once, here, with paths as they will be; checked by nobody later, since the folder is read-only."""
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(
        site, quiet=2, force=True, workers=1, stripdir=str(site), prependdir=installed, invalidation_mode=unchecked
    )


def _venv(release: Path) -> None:
    programs = release / "bin"
    programs.mkdir(parents=True)
    (programs / "python3").symlink_to("/usr/bin/python3.11")
    (programs / "citygate").write_text((HERE / "citygate.sh").read_text())
    (programs / "citygate").chmod(0o755)
    (release / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n")


def _system(tree: Path) -> None:
    for unit in UNITS:
        _put(tree / "lib/systemd/system" / unit, ROOT / "systemd" / unit)
    _put(tree / "usr/lib/citygate/switch.py", ROOT / "systemd/switch.py")
    _put(tree / "usr/lib/sysusers.d/citygate.conf", ROOT / "systemd/citygate.sysusers")
    _put(tree / "usr/lib/tmpfiles.d/citygate.conf", ROOT / "systemd/citygate.tmpfiles")
    _put(tree / "lib/udev/rules.d/60-citygate.rules", ROOT / "systemd/citygate.rules")
    _put(tree / "lib/systemd/system-preset/50-citygate.preset", ROOT / "systemd/citygate.preset")
    _put(tree / "etc/citygate/site.toml", HERE / "debian/site.toml")
    command = tree / "usr/bin/citygate"
    command.parent.mkdir(parents=True)
    command.symlink_to("/opt/citygate/current/bin/citygate")
    root = tree / "usr/lib/citygate/root"  # what the sending half sees as /: see its RootDirectory=
    for point in MOUNT_POINTS:
        (root / point).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")


def _docs(tree: Path, version: str, made_s: int) -> None:
    folder = tree / "usr/share/doc/citygate"
    for name in DOCS:
        if (ROOT / "docs" / name).exists():
            _put(folder / name, ROOT / "docs" / name)
    _put(folder / "copyright", HERE / "debian/copyright")
    _put(tree / "usr/share/lintian/overrides/citygate", HERE / "debian/lintian-overrides")
    entry = (
        f"citygate ({version}) stable; urgency=medium\n\n  * Release {version}; what changed: CHANGELOG.md.\n\n"
        f" -- citygate <citygate@localhost>  {formatdate(made_s)}\n"
    )
    name = "changelog.Debian.gz" if "-" in version else "changelog.gz"
    (folder / name).write_bytes(gzip.compress(entry.encode(), 9, mtime=made_s))


def _control(tree: Path, arch: str, version: str) -> None:
    folder = tree / "DEBIAN"
    folder.mkdir()
    files = sorted(file for file in tree.rglob("*") if file.is_file() and not file.is_symlink())
    files = [file for file in files if folder not in file.parents]
    size_kb = sum(-(-file.stat().st_size // 1024) for file in files)
    text = (HERE / "debian/control").read_text()
    for name, value in {"VERSION": version, "ARCH": arch, "SIZE": str(size_kb), "DEPENDS": DEPENDS}.items():
        text = text.replace(f"@{name}@", value)
    (folder / "control").write_text(text)
    (folder / "conffiles").write_text("/etc/citygate/site.toml\n")
    sums = [f"{hashlib.md5(file.read_bytes()).hexdigest()}  {file.relative_to(tree)}\n" for file in files]
    (folder / "md5sums").write_text("".join(one for one in sums if "  etc/" not in one))
    for name in ("postinst", "prerm", "postrm"):
        script = folder / name
        script.write_text((HERE / "debian" / name).read_text().replace("@VERSION@", version))
        script.chmod(0o755)


def settle(tree: Path, made_s: int) -> None:
    """The same modes and times whoever builds, whenever."""
    for path in sorted(tree.rglob("*"), reverse=True):
        if not path.is_symlink():
            runs = path.is_dir() or (path.stat().st_mode & 0o111 and ".so" not in path.name)
            path.chmod(0o755 if runs else 0o644)
        os.utime(path, (made_s, made_s), follow_symlinks=False)
    tree.chmod(0o755)


def _put(target: Path, source: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _run(
    command: Sequence[str],
    made_s: int,
    failed: tuple[str, str, str] = ("CG-6013", "a step of the build failed", "빌드 단계가 실패했습니다"),
) -> None:
    environ = os.environ | ({"SOURCE_DATE_EPOCH": str(made_s)} if made_s else {})
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        code, en, ko = failed
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise CannotBuild(f"{tail}\n{code} {en} ({Path(command[0]).name}).\n{code} {ko} ({Path(command[0]).name}).")


if __name__ == "__main__":
    sys.exit(main())
