"""One TOML file: text in, tables validated by pydantic out, with a list of every fault found on the way.

Knows files, keys and lines; what the keys mean is known by profile.py and site.py.
"""

from __future__ import annotations

import errno
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, TypeVar

import tomli
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.site.faults import Both, Fault, Place, fault, guess, listed
from gateway.site.lines import Lines, Path, key_lines

Model = TypeVar("Model")

NAMED = {  # arrays of tables, and what one of them is called
    "points": "point",
    "captures": "capture",
    "probes": "probe",
    "links": "link",
    "devices": "device",
    "upstreams": "upstream",
}
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"  # of a point
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"  # of all else: it goes into names on the wire
_RULES = {
    NAME_PATTERN: Both(
        "use lower-case letters, digits and _, a letter first",
        "소문자, 숫자, _만 쓰고 첫 글자는 문자로 하십시오",
    ),
    ID_PATTERN: Both(
        "use letters, digits, '-', '_' and '.', no spaces",
        "영문자, 숫자, '-', '_', '.'만 쓰십시오. 공백은 안 됩니다",
    ),
}


class Document:
    """A file that parsed. `faults` collects what is wrong with its contents."""

    def __init__(self, file: str, data: dict[str, Any], lines: Lines, doc: str) -> None:
        self.file = file
        self.data = data
        self.lines = lines
        self.doc = doc  # the page under docs/ that describes its keys
        self.faults: list[Fault] = []

    def place(self, path: Path) -> Place:
        return Place(self.file, self.lines.line(path), where(self.data, path))

    def add(self, code: str, path: Path, **facts: object) -> None:
        self.faults.append(fault(code, self.place(path), **facts))

    def table(self, path: Path) -> dict[str, Any]:
        """The table at `path`; empty, with a fault, where something else stands there."""
        value = _get(self.data, path)
        if value is None or isinstance(value, dict):
            return value or {}
        self.add("CG-1005", path, **_type_facts("dict_type", value) | {"example": _table_example(path)})
        return {}

    def tables(self, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The tables of the array `key` with their paths."""
        value = self.data.get(key, [])
        if not isinstance(value, list):
            self.add("CG-1005", (key,), **_type_facts("tables", value) | {"example": f"[[{key}]]"})
            return
        for index in range(len(value)):
            yield (key, index), self.table((key, index))

    def parse(self, model: type[Model], path: Path, data: object, also: Iterable[str] = ()) -> Model | None:
        """`data` (what stands at `path`, or a part of it) as a `model`, or None after adding its faults. `also`: keys
        of the same table that belong to somebody else, suggested for a misspelt key."""
        return self._parse(model, path, data, also)[0]

    def salvage(
        self, model: type[Model], path: Path, data: object, default: Mapping[str, object] = MappingProxyType({})
    ) -> Model | None:
        """The same, but where keys are wrong the rest, filled up from `default`, is returned if it is a `model` too:
        the file is refused all the same, and what the rest may be wrong about is found in the same run."""
        if _get(self.data, path) is not None and not isinstance(_get(self.data, path), dict):
            return None  # no table stands there, and `table` has said so
        found, bad = self._parse(model, path, data, ())
        if found is not None or not isinstance(data, dict):
            return found
        rest = dict(default) | {key: value for key, value in data.items() if key not in bad}
        return Document(self.file, self.data, self.lines, self.doc)._parse(model, path, rest, ())[0]

    def _parse(
        self, model: type[Model], path: Path, data: object, also: Iterable[str]
    ) -> tuple[Model | None, set[str | int]]:
        """The model, or the keys of `data` that are wrong."""
        # by way of JSON pydantic is strict about types and still takes arrays for tuples, tables for dataclasses
        try:
            found: Model = _adapter(model).validate_json(_json(data), strict=True)
            return found, set()
        except ValidationError as bad:
            every = bad.errors(include_url=False)
            errors = list(_telling(every)) or every
        for error in errors:
            self._explain(error, model, path, also)
        return None, {error["loc"][0] for error in errors if error["loc"]}

    def unknown_keys(self, path: Path, valid: Sequence[str]) -> None:
        for key in self.table(path):
            if key not in valid:
                self.add("CG-1003", (*path, key), key=key, guess=guess(key, valid), known=listed(valid))

    def distinct(self, key: str) -> None:
        """No two tables of the array `key` share a name."""
        first: dict[str, Path] = {}
        for path, table in self.tables(key):
            name = table.get("name")
            if isinstance(name, str) and first.setdefault(name, path) != path:
                self.add("CG-1010", (*path, "name"), name=name, first=self.lines.line((*first[name], "name")))

    def _explain(self, error: ErrorDetails, model: type, base: Path, also: Iterable[str]) -> None:
        kind, context = error["type"], error.get("ctx", {})
        loc = _real(_get(self.data, base), error["loc"])
        path = (*base, *loc)
        value = _get(self.data, path)
        key = str(error["loc"][-1]) if error["loc"] else ""
        if kind == "missing" and isinstance(error["loc"][-1], int):  # a list that ends too early
            self.add("CG-1005", path, **_type_facts("too_short", value))
        elif kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
            self.add("CG-1004", path, key=key, doc=self.doc)
        elif kind in ("extra_forbidden", "unexpected_keyword_argument"):
            valid = [*schema_keys(model, loc[:-1]), *(also if len(loc) == 1 else ())]
            self.add("CG-1003", path, key=key, guess=guess(key, valid), known=listed(valid))
        elif kind in ("literal_error", "enum"):
            allowed = _expected(str(context["expected"]))
            if value in allowed:  # the right digits, in quotes
                self.add("CG-1005", path, **_type_facts("int_type", value))
            else:
                shown = _got(value) if isinstance(value, (dict, list)) else value
                self.add("CG-1012", path, value=shown, guess=guess(value, allowed), allowed=", ".join(allowed))
        elif kind in _TYPES:
            facts = _type_facts(kind, value)
            if kind == "tuple_type" and _is_text_list(model, loc):
                facts["example"] = f'["{value}"]'
            elif kind in _TABLES and "en" in schema_keys(model, loc):
                facts["example"] = '{ en = "…", ko = "…" }'
            self.add("CG-1005", path, **facts)
        elif kind == "string_pattern_mismatch" and context["pattern"] in _RULES:
            rule = _RULES[context["pattern"]]
            self.add("CG-1008", path, value=value, rule_en=rule.en, rule_ko=rule.ko)
        elif kind in _LIMITS:
            must = _LIMITS[kind].format(*context.values())
            self.add("CG-1007", path, value=value, must=must)
        else:
            self.add("CG-1011", path, words=error["msg"], doc=self.doc)


def read_document(path: str | FilePath, doc: str = "site.md") -> Document | Fault:
    """The file at `path`, or the one fault that keeps it from being read at all."""
    file = str(path)
    try:
        text = FilePath(path).read_bytes().decode("utf-8-sig")
    except OSError as bad:
        return fault("CG-1001", Place(file, 0, ""), why=_UNREADABLE.get(bad.errno or 0, bad.strerror or str(bad)))
    except UnicodeDecodeError as bad:
        what = Both("not UTF-8", "UTF-8이 아닙니다")
        return _broken(file, bad.object[: bad.start].count(b"\n") + 1, 1, what, _NOT_UTF8)
    text = text.replace("\r\n", "\n")
    try:
        return Document(file, tomli.loads(text), key_lines(text), doc)
    except tomli.TOMLDecodeError as bad:
        return _broken(file, bad.lineno, bad.colno, bad.msg, _cause(bad.msg, text, bad.lineno, bad.colno))
    except RecursionError:
        return _broken(file, 1, 1, Both("nested too deeply", "괄호가 너무 깊이 겹쳐 있습니다"), _NESTED)


def where(data: object, path: Path) -> str:
    """`path` in words: `point "flow".type`, `capture 2.reply`, `gateway.id`."""
    words = ""
    for index, key in enumerate(path):
        if isinstance(key, int) and index == 1 and path[0] in NAMED:
            name = _get(data, (*path[:2], "name"))
            words = NAMED[str(path[0])] + (f' "{name}"' if isinstance(name, str) else f" {key + 1}")
        else:
            words += f"[{key + 1}]" if isinstance(key, int) else f".{key}" if words else key
    return words


def schema_keys(model: type, path: Path) -> list[str]:
    """The keys that `model` has at `path` below it."""
    return list(_schema(model, path).get("properties", {}))


def _is_text_list(model: type, path: Path) -> bool:
    items = _schema(model, path).get("items")
    return isinstance(items, dict) and "string" in {one.get("type") for one in (items, *items.get("oneOf", ()))}


def _schema(model: type, path: Path) -> dict[str, Any]:
    """What `model` takes at `path` below it, as JSON schema."""
    schema = _adapter(model).json_schema()
    names = schema.get("$defs", {})
    node: Any = schema
    for key in (*path, None):
        while "$ref" in node or "anyOf" in node:
            node = names[node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node["anyOf"][0]
        if key is None:
            break
        below = node.get("properties", {}).get(key) if isinstance(key, str) else node.get("items")
        node = below or node.get("additionalProperties") or {}
        if not isinstance(node, dict):
            return {}
    return dict(node)


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}  # building one costs more than validating a table


def _adapter(model: type[Any]) -> TypeAdapter[Any]:
    if model not in _ADAPTERS:
        _ADAPTERS[model] = TypeAdapter(model)
    return _ADAPTERS[model]


def _json(data: object) -> str:
    """TOML's dates and times, which no key takes, become tables: they must not pass for text."""
    return json.dumps(data, default=lambda when: {"date": str(when)})


def _get(data: Any, path: Path) -> Any:
    for key in path:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _real(data: Any, loc: tuple[str | int, ...]) -> Path:
    """`loc` as far as it leads into `data`; pydantic adds the names of union members and of missing keys."""
    path: Path = ()
    for key in loc:
        if _get(data, (*path, key)) is None:
            continue
        path = (*path, key)
    return path


def _telling(errors: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Without what pydantic says of the other members of a union (a table, or one of some words) than the meant one."""
    words = {error["loc"][0] for error in errors if error["type"] == "literal_error" and error["loc"]}
    for error in errors:
        is_table = isinstance(error.get("input"), dict)
        beside = error["loc"] and error["loc"][0] in words and len(errors) > 1
        if error["type"] == "literal_error" and is_table:
            continue
        if beside and error["type"] in ("dataclass_type", "model_type") and not is_table:
            continue
        yield error


def _expected(words: str) -> list[str]:
    """pydantic's "'a', 'b' or 'c'" as a list."""
    return [word.strip("'") for word in re.split(r", | or ", words)]


_TABLES = ("dict_type", "model_type", "model_attributes_type", "dataclass_type")
_TYPES: dict[str, tuple[Both, str]] = {
    "float_type": (Both("a number", "숫자"), "1.5"),
    "float_parsing": (Both("a number", "숫자"), "1.5"),
    "int_type": (Both("a whole number", "정수"), "1"),
    "int_parsing": (Both("a whole number", "정수"), "1"),
    "int_from_float": (Both("a whole number", "정수"), "1"),
    "string_type": (Both("text in quotes", "따옴표로 묶은 문자열"), '"text"'),
    "bool_type": (Both("true or false", "true 또는 false"), "true"),
    "bool_parsing": (Both("true or false", "true 또는 false"), "true"),
    "list_type": (Both("a list", "목록"), '["a", "b"]'),
    "tuple_type": (Both("a list", "목록"), "[1, 2]"),
    "too_short": (Both("a list of two", "값 두 개의 목록"), "[1, 2]"),
    "too_long": (Both("a list of two", "값 두 개의 목록"), "[1, 2]"),
    "missing_positional_only_argument": (Both("a list of two", "값 두 개의 목록"), "[1, 2]"),
    "unexpected_positional_argument": (Both("a list of two", "값 두 개의 목록"), "[1, 2]"),
    "dict_type": (Both("a table", "표(테이블)"), "{ key = value }"),
    "model_type": (Both("a table", "표(테이블)"), "{ key = value }"),
    "model_attributes_type": (Both("a table", "표(테이블)"), "{ key = value }"),
    "dataclass_type": (Both("a table", "표(테이블)"), "{ key = value }"),
    "tables": (Both("an array of tables", "표의 배열"), "[[name]]"),
}
_LIMITS = {
    "greater_than": "> {0:g}",
    "greater_than_equal": ">= {0:g}",
    "less_than": "< {0:g}",
    "less_than_equal": "<= {0:g}",
    "finite_number": "finite",
    "int_parsing_size": "of fewer digits",
    "string_too_short": "not empty",
}


def _type_facts(kind: str, value: object) -> dict[str, object]:
    must, example = _TYPES[kind]
    return {"got": _got(value), "must": must, "example": _repaired(example, value) or example}


def _repaired(example: str, value: object) -> str:
    """The same value as it must be written, where that is plain: "0x0004" as 4, 4.0 as 4, 7 as "7"."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    if example.startswith('"'):
        return f'"{value}"'
    try:
        if example == "1.5":
            return f"{float(value):g}"
        number = int(value, 0) if isinstance(value, str) else int(value)
        return str(number) if example == "1" and (isinstance(value, str) or number == value) else ""
    except (ValueError, OverflowError):
        return ""


def _table_example(path: Path) -> str:
    """A table of the file's top stands under its name in brackets."""
    return f"[{path[0]}]" if len(path) == 1 else "{ key = value }"


def _got(value: object) -> Both:
    if isinstance(value, str):
        return Both(f'the text "{value}"', f'문자열 "{value}"')
    if isinstance(value, bool):
        return Both(str(value).lower(), str(value).lower())
    if isinstance(value, (int, float)):
        return Both(f"the number {value}", f"숫자 {value}")
    if isinstance(value, list):
        return Both(f"a list of {len(value)}", f"값 {len(value)}개의 목록")
    if isinstance(value, dict):
        return Both("a table", "표(테이블)")
    return Both("a date or time", "날짜 또는 시각")


_UNREADABLE = {
    errno.ENOENT: Both("No such file", "그런 파일이 없습니다"),
    errno.EACCES: Both("Permission denied", "읽기 권한이 없습니다"),
    errno.EISDIR: Both("it is a folder, not a TOML file", "TOML 파일이 아니라 폴더입니다"),
}
_NOT_UTF8 = Both(
    "save the file as UTF-8; an editor may have saved it as CP949 (EUC-KR) or UTF-16",
    "파일을 UTF-8로 저장하십시오. 편집기가 CP949(EUC-KR)나 UTF-16으로 저장했을 수 있습니다",
)
_NESTED = Both("close the brackets", "괄호를 닫으십시오")
_QUOTES = Both(
    'use straight quotes ("), not the curly ones of a word processor',
    '둥근 따옴표(“ ”) 대신 곧은 따옴표(")를 쓰십시오',
)
_CAUSES: tuple[tuple[str, Both], ...] = (
    (
        r"Illegal character '\\n'|Unterminated string|Expected \"'\"",
        Both("the closing quote of this text is missing", "문자열을 닫는 따옴표가 없습니다"),
    ),
    (
        r"Unescaped|hex value",
        Both(
            "in double quotes a backslash is special: write it twice, or use single quotes",
            "큰따옴표 안의 역슬래시는 특수 문자입니다. 두 번 쓰거나 작은따옴표를 쓰십시오",
        ),
    ),
    (
        r"Cannot declare .* twice",
        Both(
            "this table stands here a second time: put both together, or write [[name]] for several",
            "같은 표가 두 번 나왔습니다. 하나로 합치거나, 여러 개라면 [[이름]]으로 쓰십시오",
        ),
    ),
    (
        r"Cannot overwrite|Cannot mutate|Duplicate inline|Cannot redefine",
        Both(
            "this key already has a value above: remove one of the two, or write [[name]] for another table",
            "위에서 이미 값을 준 키입니다. 하나를 지우거나, 표를 더 쓰려면 [[이름]]으로 쓰십시오",
        ),
    ),
    (
        r"Expected '='",
        Both("write key = value; is the = missing?", "키 = 값 형식으로 쓰십시오. =가 빠지지 않았습니까?"),
    ),
    (
        r"Unclosed array",
        Both("the ] of a list is missing, or a comma", "목록을 닫는 ]나 쉼표가 빠졌습니다"),
    ),
    (
        r"Unclosed inline table|inline table",
        Both("the } of { ... } is missing, or a comma", "{ ... }를 닫는 }나 쉼표가 빠졌습니다"),
    ),
    (
        r"table declaration|array declaration",
        Both(
            "write [name] or [[name]]: is a bracket missing?",
            "[이름] 또는 [[이름]]: 괄호가 빠지지 않았습니까?",
        ),
    ),
    (
        r"Invalid value",
        Both(
            "text needs quotes; true and false are lower case; a number has digits on both sides of its point",
            "문자열에는 따옴표가 필요합니다. true, false는 소문자로, 소수점 양쪽에는 숫자를 쓰십시오",
        ),
    ),
    (
        r"Expected newline",
        Both(
            "one key = value a line; decimals have a point, not a comma; whole numbers have no leading 0",
            "한 줄에 키 = 값 하나만 쓰십시오. 소수는 쉼표가 아니라 점으로, 정수 앞에는 0을 붙이지 마십시오",
        ),
    ),
    (
        r"Invalid statement",
        Both(
            "a line is key = value, [table] or # comment; keys in other letters than a-z need quotes",
            "한 줄은 키 = 값, [표], # 주석 중 하나입니다. 영문자가 아닌 키는 따옴표로 묶으십시오",
        ),
    ),
)
_LINE_ENDS = Both(
    "the lines end as on an old Mac (CR): save the file with Unix or Windows line ends",
    "줄바꿈이 옛 맥 방식(CR)입니다. 유닉스나 윈도우 줄바꿈으로 저장하십시오",
)
_INVISIBLE = Both(
    "a character that is not shown stands here: delete it and type the line again",
    "보이지 않는 문자가 있습니다. 지우고 이 줄을 다시 입력하십시오",
)
_FOREIGN = Both(
    "the character here only looks like a plain one (U+{code:04X}): type it again, with the keyboard in English",
    "비슷해 보이지만 다른 문자(U+{code:04X})입니다. 영문 입력 상태에서 다시 입력하십시오",
)
_OTHERWISE = Both("compare this line with the examples in docs/", "docs/의 예제와 이 줄을 비교하십시오")


def _cause(message: str, text: str, line: int, column: int) -> Both:
    rest = text.splitlines()[line - 1 : line] or [""]
    if re.match(r"\s*[“”‘’„]", rest[0][column - 1 :]):
        return _QUOTES
    if "\r" in text:
        return _LINE_ENDS
    here = rest[0][column - 1 : column]
    if here and (not here.isprintable() and here != "\t"):
        return _INVISIBLE if here.isascii() else _odd_letter(here)
    if here and not here.isascii() and not unicodedata.category(here).startswith("L"):
        return _odd_letter(here)
    cause = next((cause for pattern, cause in _CAUSES if re.search(pattern, message)), _OTHERWISE)
    began = _began(message, text, line)
    return Both(f"{cause.en} (it begins on line {began})", f"{cause.ko} ({began}번째 줄에서 시작)") if began else cause


def _odd_letter(here: str) -> Both:
    return Both(*(words.format(code=ord(here)) for words in _FOREIGN))


_OPENERS = {"Unclosed array": "[", "Unclosed inline": "{", "Unterminated": '"""'}


def _began(message: str, text: str, line: int) -> int:
    """The line on which a list, table or long text begins that the parser found unfinished further down; else 0."""
    opener = next((mark for words, mark in _OPENERS.items() if message.startswith(words)), "")
    above = text.splitlines()[:line]
    starts = [at for at, row in enumerate(above, 1) if opener and re.search(rf"=\s*{re.escape(opener)}", row)]
    return starts[-1] if starts and starts[-1] < line else 0


def _broken(file: str, line: int, column: int, what: str | Both, cause: Both) -> Fault:
    return fault("CG-1002", Place(file, line, ""), column=column, what=what, cause=cause)
