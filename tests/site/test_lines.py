"""The line map agrees with tomli about what is in a file, and with the text about where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.site.lines import key_lines

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("device_profiles/**/*.toml"), *ROOT.glob("tests/site/cases/*.toml")])


def paths(data: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every path of a parsed document."""
    found = {path} if path else set()
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found |= paths(value, (*path, key))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_has_a_line_for_every_key(file: Path) -> None:
    text = file.read_text()
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    lines = key_lines(text)
    rows = text.splitlines()
    assert set(lines.of_path) == paths(data)
    for path, line in lines.of_path.items():
        if isinstance(path[-1], str):
            assert path[-1] in rows[line - 1]


TRICKY = """\
top = 1 # a comment with = and [brackets]
"quoted key".'li.teral' = 'a # b'
list = [
  1, 2,   # two on a line
  [3,
   { a = 4, b = [5] }],
]
text = \"\"\"
[not.a.table]
key = "no"\\
  \"\"\"
quotes = \"\"\"ends with quotes\"\"\"\"\"
raw = '''
it''s [[raw]]'''
when = 1979-05-27 07:32:00
a.b.c = true
a.b.d = { e.f = 1, "g\\u0041" = "}" }

[table . "with.dot"]
x = inf
[[array]]
name = "first"
[array.sub]
y = 1
[[array]]
name = "second"
[[array.inner]]
z = 1
[[array.inner]]
z = 2
[array.sub]
y = 2
"""


def test_tricky_toml() -> None:
    lines = key_lines(TRICKY)
    assert set(lines.of_path) == paths(tomli.loads(TRICKY))
    want: dict[tuple[str | int, ...], int] = {
        ("quoted key", "li.teral"): 2,
        ("list", 1): 4,
        ("list", 2, 1, "b", 0): 6,
        ("text",): 8,
        ("quotes",): 12,
        ("raw",): 13,
        ("when",): 15,
        ("a", "b", "d", "e", "f"): 17,
        ("a", "b", "d", "gA"): 17,
        ("table", "with.dot", "x"): 20,
        ("array", 0, "sub", "y"): 24,
        ("array", 1, "inner", 1, "z"): 30,
        ("array", 1, "sub", "y"): 32,
    }
    assert {path: lines.line(path) for path in want} == want


def test_what_is_missing_falls_back_to_the_table_around_it() -> None:
    lines = key_lines("a = 1\n\n[t]\nb = 2\n[[p]]\n[[p]]\nc = 3\n")
    assert lines.line(("t", "zz")) == 3
    assert lines.line(("p", 1, "zz", 4)) == 6
    assert lines.line(("nowhere",)) == 1


def test_dos_line_ends() -> None:
    assert key_lines('a = """x\r\ny"""\r\nb = 2\r\n').line(("b",)) == 3


@pytest.mark.parametrize("text", ["a = [1,", "a = {b = 1", 'a = "x', "a = '''x", "[a", "a"])
def test_text_that_has_not_passed_tomli_is_refused_not_chased(text: str) -> None:
    with pytest.raises(ValueError, match="tomli"):
        key_lines(text)


# ---- generated documents: each statement is written in one of TOML's ways and knows its own line

KEYS = st.sampled_from(["a", "b-c", "d_1", "7", '"q k"', '"e.f"', "'g\"h'", '"\\u00e9\\n"'])
SCALARS = st.sampled_from(
    ["1", "-2.5e3", "true", '"text"', "'[#]'", '"\\"{,"', '"""m\n# = [x]\n\\"" """', "'''\n]}'''", "07:32:00", "inf"]
)
GAPS = st.sampled_from(["", " ", "\n", " # ] } =\n", "\n\n  "])


@st.composite
def values(draw: st.DrawFn, depth: int = 0) -> str:
    kind = draw(st.sampled_from(["scalar", "scalar", "array", "table"])) if depth < 3 else "scalar"
    if kind == "scalar":
        return draw(SCALARS)
    if kind == "array":
        items = [draw(GAPS) + draw(values(depth + 1)) + draw(GAPS) for _ in range(draw(st.integers(0, 3)))]
        comma = draw(st.sampled_from(["", ","])) if items else ""
        return "[" + ",".join(items) + comma + draw(GAPS) + "]"
    keys = draw(st.lists(KEYS, max_size=3, unique=True))
    return "{" + ",".join(f" {key} = {draw(values(depth + 1))}" for key in keys) + " }"


@st.composite
def documents(draw: st.DrawFn) -> str:
    text = ""
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["[%s]", "[[%s]]", "pair", "pair", "pair"]))
        dotted = " . ".join(draw(st.lists(KEYS, min_size=1, max_size=3)))
        text += kind % dotted if "%" in kind else f"{dotted}={draw(values())}"
        text += draw(st.sampled_from(["\n", " # note\n", "\n\n"]))
    return text


@settings(max_examples=200, deadline=None)
@given(documents())
def test_generated_documents_agree_with_tomli(text: str) -> None:
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError:
        return  # the pieces do not always fit together
    lines = key_lines(text)
    assert set(lines.of_path) == paths(data)
    rows = text.splitlines()
    for path, line in lines.of_path.items():
        key = path[-1]
        if isinstance(key, str) and "\n" not in key:
            assert key.split('"')[0] in rows[line - 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(KEYS, values()), min_size=1, max_size=6, unique_by=lambda pair: pair[0]))
def test_every_statement_is_found_where_it_was_written(pairs: list[tuple[str, str]]) -> None:
    text, want = "", []
    for key, value in pairs:
        want.append(text.count("\n") + 1)
        text += f"{key} = {value}\n"
    lines = key_lines(text)
    assert [lines.line((key,)) for key in tomli.loads(text)] == want
