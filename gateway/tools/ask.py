"""`citygate ask [GATEWAY [PATH]]`: read a resource of a gateway, or see who is connected. To stdout, for people or as
JSON."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import parse_qsl

from gateway.spool.trouble import Trouble
from gateway.tools import asking
from gateway.tools.asking import Answer
from gateway.wire import senml

LINK_FORMAT, SENML_CBOR = 40, 112
WIDEST = 100


def run(gateway: str, path: str, *, observe: bool, within_s: float, control: str, json: bool) -> int:
    """0 when told, 1 where the gateway refuses, 2 where nobody could be asked."""
    try:
        if not gateway:
            return _list(asking.gateways(control), json)
        path, _, asked = path.partition("?")
        query = dict(parse_qsl(asked, keep_blank_values=True))
        if observe:
            with closing(asking.observe(gateway, path, query=query, within_s=within_s, control=control)) as answers:
                return max((_show(answer, json) for answer in answers), default=0)
        return _show(asking.ask(gateway, path, query=query, within_s=within_s, control=control), json)
    except Trouble as bad:
        return asking.said(bad)


def _list(found: list[dict[str, Any]], json: bool) -> int:
    if json:
        print(jsonlib.dumps({"gateways": found}), flush=True)
        return 0
    print(f"{'gateway':24} {'connected':>10} {'heard':>8}  {'version':12} from")
    for one in found:
        connected, heard = _span(one["for_s"]), _span(one["heard_s"])
        print(f"{one['gateway']:24} {connected:>10} {heard:>8}  {one['version']:12} {one['peer']}")
    if not found:
        print("no gateway is connected that may be asked")
    return 0


def _show(answer: Answer, json: bool) -> int:
    if (refusal := answer.refusal()) is not None:
        return asking.said(refusal)
    told = _told(answer)
    if json:
        print(jsonlib.dumps(told, default=_plain), flush=True)
    elif isinstance(told, str):
        print(told.replace(",<", "\n<"), flush=True)
    else:
        print("\n".join(_lines(told)), flush=True)
    return 0


def _told(answer: Answer) -> Any:
    if answer.content_format == LINK_FORMAT:
        return answer.payload.decode("utf-8", "replace")
    if answer.content_format == SENML_CBOR:
        found = senml.decode(answer.payload)
        return {one.name: next((x for x in (one.value, one.text, one.flag) if x is not None), None) for one in found}
    return answer.body()


def _lines(told: Any, indent: int = 0) -> list[str]:
    """A value as people read it: one line a thing, what belongs together indented."""
    pad = "  " * indent
    if isinstance(told, Mapping):
        lines = []
        for key, value in told.items():
            if isinstance(value, (Mapping, list)) and value and len(short := _short(value)) + 2 * indent > WIDEST:
                lines += [f"{pad}{key}:", *_lines(value, indent + 1)]
            else:
                short = _short(value) if isinstance(value, (Mapping, list)) else str(_plain(value))
                lines.append(f"{pad}{key}: {short}")
        return lines
    if isinstance(told, list):
        return [f"{pad}- {_short(one)}" for one in told]
    return [pad + str(_plain(told))]


def _short(value: Any) -> str:
    return jsonlib.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value if isinstance(value, (int, float, str)) else str(value)


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 600
        else f"{seconds / 60:.0f} min"
        if seconds < 36_000
        else f"{seconds / 3600:.0f} h"
    )
