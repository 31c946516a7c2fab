"""`citygate schema profile|site`: the JSON Schema an editor completes and checks with, to standard output or a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway.site.schema import profile_schema, site_schema

KINDS = {"profile": profile_schema, "site": site_schema}


def run(kind: str, out: str) -> int:
    """0, or 2 where the file cannot be written."""
    text = json.dumps(KINDS[kind](), ensure_ascii=False, indent=1) + "\n"
    if not out:
        sys.stdout.write(text)
        return 0
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as bad:
        print(f"{out}: {bad.strerror}", file=sys.stderr)
        return 2
    return 0
