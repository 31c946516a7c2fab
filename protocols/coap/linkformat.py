"""Link-format (RFC 6690) as `/.well-known/core` gives it: text in, paths with their attributes out."""

from __future__ import annotations

import re

MOST = 500
_LINK = re.compile(r'<([^>]*)>((?:\s*;\s*[^\s;,="]+(?:=(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*))?)*)\s*(?:,|$)')
_ATTRIBUTE = re.compile(r';\s*([^\s;,="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')


def links(text: str) -> dict[str, dict[str, str]]:
    """Path -> attributes (`rt`, `if`, `ct`, `obs` ...), at most MOST. What is no link ends the list."""
    found: dict[str, dict[str, str]] = {}
    at = 0
    while len(found) < MOST and (match := _LINK.match(text.lstrip() if not at else text, at)):
        found[match[1]] = {name: quoted or plain for name, quoted, plain in _ATTRIBUTE.findall(match[2])}
        at = match.end()
        while at < len(text) and text[at] in " \r\n\t":
            at += 1
    return found
