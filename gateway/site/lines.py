"""TOML text in, a map from key to line number out. Never judges: the text has already passed tomli.

A path is a tuple of keys and array indexes as tomli's structure has them: ("points", 2, "type"). What has no
line of its own (a key that is missing) falls back to the table around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

Path = tuple[str | int, ...]

_SPACE = " \t"
_BLANK = " \t\r\n"
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Lines:
    """Where every key of one file stands, lines counted from 1."""

    of_path: Mapping[Path, int] = field(repr=False)

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest table or array around it; 1 for the file itself."""
        while path not in self.of_path and path:
            path = path[:-1]
        return self.of_path.get(path, 1)


@lru_cache(maxsize=4)  # a file is read to see what it is, then as what it is
def key_lines(text: str) -> Lines:
    """The lines of every key, table and array item of a valid TOML document."""
    scan = _Scan(text.replace("\r\n", "\n"))
    scan.document()
    return Lines(scan.lines)


class _Scan:
    """One pass over the text. `tables` counts the tables of each array of tables, so that a header under it
    resolves to the last one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.row = 1
        self.lines: dict[Path, int] = {}
        self.tables: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self.blank()
        while self.at < len(self.text):
            table = self.header() if self.here() == "[" else self.pair(table)
            self.blank()

    def here(self) -> str:
        return self.text[self.at : self.at + 1]

    def step(self, n: int = 1) -> None:
        if self.at >= len(self.text):
            raise ValueError("this text has not passed tomli")  # rather than run on for ever
        self.row += self.text.count("\n", self.at, self.at + n)
        self.at += n

    def spaces(self) -> None:
        while self.here() and self.here() in _SPACE:
            self.at += 1

    def blank(self) -> None:
        """Past white space, line ends and comments."""
        while self.here() and self.here() in _BLANK + "#":
            self.step(self.rest_of_line() if self.here() == "#" else 1)

    def rest_of_line(self) -> int:
        end = self.text.find("\n", self.at)
        return (len(self.text) if end < 0 else end) - self.at

    def header(self) -> Path:
        row = self.row
        is_array = self.text.startswith("[[", self.at)
        self.step(2 if is_array else 1)
        keys = self.keys()
        self.step(2 if is_array else 1)
        table = (*self.resolve((), keys[:-1], row), keys[-1])
        if is_array:
            self.lines.setdefault(table, row)
            self.tables[table] = self.tables.get(table, 0) + 1
            table = (*table, self.tables[table] - 1)
        self.lines.setdefault(table, row)
        return table

    def resolve(self, table: Path, keys: Path, row: int) -> Path:
        """`keys` below `table`, stepping into the last table of each array of tables on the way."""
        for key in keys:
            table = (*table, key)
            self.lines.setdefault(table, row)
            if table in self.tables:
                table = (*table, self.tables[table] - 1)
        return table

    def pair(self, table: Path) -> Path:
        row = self.row
        keys = self.keys()
        self.step()  # =
        path = (*self.resolve(table, keys[:-1], row), keys[-1])
        self.lines[path] = row
        self.value(path)
        return table

    def keys(self) -> tuple[str, ...]:
        """A dotted key, up to the `=` or `]` after it."""
        keys = []
        while True:
            self.spaces()
            keys.append(self.string() if self.here() in "\"'" else self.bare(".=] \t"))
            self.spaces()
            if self.here() != ".":
                return tuple(keys)
            self.step()

    def bare(self, stops: str) -> str:
        start = self.at
        while self.here() and self.here() not in stops:
            self.at += 1
        return self.text[start : self.at]

    def value(self, path: Path) -> None:
        self.spaces()
        if not self.here():
            self.step()
        elif self.here() == "[":
            self.array(path)
        elif self.here() == "{":
            self.inline_table(path)
        elif self.here() in "\"'":
            self.string()
        else:
            self.bare(",]}\n#")

    def array(self, path: Path) -> None:
        self.step()
        self.blank()
        index = 0
        while self.here() != "]":
            self.lines[(*path, index)] = self.row
            self.value((*path, index))
            index += 1
            self.comma()
        self.step()

    def inline_table(self, path: Path) -> None:
        self.step()
        self.blank()
        while self.here() != "}":
            self.pair(path)
            self.comma()
        self.step()

    def comma(self) -> None:
        self.blank()
        if self.here() == ",":
            self.step()
            self.blank()

    def string(self) -> str:
        quote = self.here()
        if self.text.startswith(quote * 3, self.at):
            self.long_string(quote)
            return ""
        self.step()
        end = self.text.find(quote, self.at)
        plain = self.text[self.at : end]
        if end >= 0 and "\\" not in plain and "\n" not in plain:  # nearly all of them: taken at once
            self.at = end + 1
            return plain
        text = ""
        while self.here() != quote:
            text += self.escape() if quote == '"' and self.here() == "\\" else self.here()
            self.step()
        self.step()
        return text

    def escape(self) -> str:
        """The character an escape stands for; leaves the position on its last character."""
        self.step()
        letter = self.here()
        if letter not in "uUx":
            return _ESCAPES[letter]
        digits = {"x": 2, "u": 4, "U": 8}[letter]
        self.step(digits)
        return chr(int(self.text[self.at - digits + 1 : self.at + 1], 16))

    def long_string(self, quote: str) -> None:
        self.step(3)
        while not self.text.startswith(quote * 3, self.at):
            self.step(2 if quote == '"' and self.here() == "\\" else 1)
        self.step(3)
        while self.here() == quote:  # up to two quotes may stand before the closing three
            self.step()
