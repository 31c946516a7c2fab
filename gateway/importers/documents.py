"""Text of another system's file in, plain tables out: TOML, YAML or JSON, by its contents. Reads no other file.

YAML is read safely: tags of the other system (`!include`, `!secret`) stay as markers and are never followed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.importers.model import Unusable

LARGEST = 8 << 20
FORMATS = ("telegraf", "homeassistant", "edgex", "thing")
_SIGNS = (  # the first that is found names the format
    ("edgex", re.compile(r"deviceResources|deviceList", re.I)),
    ("telegraf", re.compile(r"inputs\.modbus|^\s*(holding_registers|input_registers|discrete_inputs|coils)\s*=", re.M)),
    ("thing", re.compile(r"^\s*[\[{].*(\"forms\"|\"modv:|\"modbus:|\"cov:|\"@context\"|\"properties\")", re.S)),
    (
        "homeassistant",
        re.compile(
            r"^\s*-?\s*modbus\s*:|platform\s*:\s*[\"']?modbus"
            r"|^\s*-?\s*(data_type|input_type|write_type|sensors|binary_sensors|switches)\s*:",
            re.M,
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value behind a tag of the other system: `!secret modbus_host`."""

    tag: str
    value: str

    def __str__(self) -> str:
        return f"{self.tag} {self.value}".strip()


def read_text(path: str) -> str:
    """Raises Unusable (CG-5170)."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as bad:
        raise _unreadable(path, bad.strerror or str(bad)) from bad
    except ValueError as bad:  # a path with a NUL
        raise _unreadable(path, str(bad)) from bad
    if len(data) > LARGEST:
        raise _unreadable(path, f"larger than {LARGEST >> 20} MB")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as bad:
        line = data[: bad.start].count(b"\n") + 1
        raise _unreadable(path, f"line {line} is not UTF-8") from bad


def format_of(path: str, text: str) -> str:
    """Which system's file this is, by what stands in it. Raises Unusable (CG-5171)."""
    for name, sign in _SIGNS:
        if sign.search(text):
            return name
    raise Unusable(
        "CG-5171",
        f"{path} is of none of the systems that can be imported",
        f"{path}: 가져올 수 있는 형식이 아닙니다",
        next_en=f"Say which with --from {'|'.join(FORMATS)}; docs/importing.md shows what each may be",
        next_ko=f"--from {'|'.join(FORMATS)} 으로 지정하십시오. docs/importing.md에 형식별 설명이 있습니다",
    )


def parse(path: str, text: str, format: str) -> Any:
    """The tables of the file. Raises Unusable (CG-5172) with the line."""
    try:
        if format == "telegraf":
            return _toml(path, text)
        if format == "thing" or text.lstrip()[:1] in ("{", "["):
            return _json(path, text, format)
        return _yaml(path, text)
    except RecursionError:
        raise _broken(path, 1, "nested too deeply", "괄호가 너무 깊이 겹쳐 있습니다") from None


def _toml(path: str, text: str) -> Any:
    import tomli

    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as bad:
        rest = (text.splitlines()[bad.lineno - 1 : bad.lineno] or [""])[0]
        hint = "; a variable (${...}) needs quotes" if "${" in rest else ""
        raise _broken(path, bad.lineno, f"{bad.msg}{hint}", bad.msg) from bad
    except ValueError as bad:  # a number of thousands of digits
        raise _broken(path, 1, str(bad), str(bad)) from bad


def _json(path: str, text: str, format: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as bad:
        if format != "thing" and not text.lstrip().startswith("{"):
            return _yaml(path, text)  # a YAML list in brackets
        rest = text[bad.pos : bad.pos + 40].lstrip()
        cause, ko = bad.msg, bad.msg
        if rest.startswith(("//", "/*", "#")):
            cause, ko = "JSON has no comments: take this one out", "JSON에는 주석을 쓸 수 없습니다. 지우십시오"
        elif bad.msg == "Extra data":
            cause, ko = "something stands behind the end of the description", "문서가 끝난 뒤에 다른 내용이 있습니다"
        elif rest.startswith(("}", "]")) or "double quotes" in bad.msg or "trailing comma" in bad.msg:
            cause, ko = f"{bad.msg}; a comma too many in front of it?", "앞에 쉼표가 하나 더 있지 않습니까?"
        raise _broken(path, bad.lineno, f"{cause} (column {bad.colno})", f"{ko} ({bad.colno}번째 칸)") from bad
    except ValueError as bad:
        raise _broken(path, 1, str(bad), str(bad)) from bad


def _yaml(path: str, text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader that keeps unknown tags as markers, and takes the first of several documents."""

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            plain = (yaml.MappingNode, yaml.SequenceNode)
            node.value = [
                (key, value)
                for key, value in node.value
                if key.tag != "tag:yaml.org,2002:merge" or (isinstance(value, plain) and not value.tag.startswith("!"))
            ]
            super().flatten_mapping(node)

    def tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Tagged:
        value = str(node.value) if isinstance(node, yaml.ScalarNode) else "..."
        return Tagged("!" + suffix, value)

    Loader.add_multi_constructor("!", tagged)
    Loader.add_multi_constructor("tag:", tagged)
    try:
        return next(iter(yaml.load_all(text, Loader=Loader)), None)
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark or bad.context_mark
        line = mark.line + 1 if mark else 1
        why = " ".join((bad.problem or bad.context or "broken YAML").split())
        if "\t" in (text.splitlines()[line - 1 : line] or [""])[0] or "'\\t'" in why:
            why += "; YAML is indented with spaces, never with tabs"
        raise _broken(path, line, why, why) from bad
    except yaml.YAMLError as bad:
        raise _broken(path, 1, " ".join(str(bad).split())[:160], "YAML 문법 오류") from bad
    except (ValueError, TypeError, AttributeError, OverflowError, KeyError) as bad:  # dates and numbers that are none
        raise _broken(path, 1, f"a value cannot be read: {bad}", f"읽을 수 없는 값: {bad}") from bad


def _unreadable(path: str, why: str) -> Unusable:
    return Unusable(
        "CG-5170",
        f"{path!r} cannot be read: {why}",
        f"{path!r}을(를) 읽을 수 없습니다: {why}",
        next_en="Check the path, its permissions, and that it is a text file in UTF-8",
        next_ko="경로와 권한, UTF-8 텍스트 파일인지 확인하십시오",
    )


def _broken(path: str, line: int, why: str, why_ko: str) -> Unusable:
    return Unusable(
        "CG-5172",
        f"{path}:{line}: {why}",
        f"{path}:{line}: {why_ko}",
        next_en="Correct this line; nothing was imported",
        next_ko="이 줄을 고치십시오. 가져온 것은 없습니다",
    )
