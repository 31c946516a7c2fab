"""Where profiles are found: the site's own folders, /etc/citygate/profiles, then the installed library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

LOCAL = Path("/etc/citygate/profiles")


def installed() -> Path:
    """The folder of the profiles that come with citygate."""
    return Path(str(files("device_profiles")))


@dataclass(frozen=True, slots=True)
class Library:
    """Profile folders in the order they are searched. A name is a path below one of them, without `.toml`."""

    folders: tuple[Path, ...]

    @staticmethod
    def of(site_folders: Iterable[str | Path] = ()) -> Library:
        return Library((*map(Path, site_folders), LOCAL, installed()))

    def find(self, name: str) -> Path | None:
        """The file of the profile `name`: the first folder that has it wins."""
        paths = (folder / f"{name}.toml" for folder in self.folders if _is_plain(name))
        return next((path for path in paths if path.is_file()), None)

    def names(self) -> tuple[str, ...]:
        """Every profile that can be named, sorted."""
        found = {
            path.relative_to(folder).with_suffix("").as_posix()
            for folder in self.folders
            if folder.is_dir()
            for path in folder.rglob("*.toml")
        }
        return tuple(sorted(found))

    def paths(self) -> Sequence[Path]:
        """The file of every name."""
        return [path for name in self.names() if (path := self.find(name))]


def _is_plain(name: str) -> bool:
    """A name stays below its folder."""
    return bool(name) and not name.startswith("/") and ".." not in name.split("/")
