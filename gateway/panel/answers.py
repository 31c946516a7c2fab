"""JSON answers, and errors in the form that every tool of citygate uses."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


def body(code: str, en: str, ko: str) -> bytes:
    return json.dumps({"code": code, "error": en, "error_ko": ko}, ensure_ascii=False).encode()


def said(content: Any, status: int = 200) -> Response:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(text, status, {"cache-control": "no-store"}, "application/json")


def refused(status: int, code: str, en: str, ko: str) -> Response:
    return Response(body(code, en, ko), status, {"cache-control": "no-store"}, "application/json")
