"""A profile that extends another: two documents in, one out, as if it had been written in full. Pure.

A variant says only what is different. Its tables are laid over the base's key by key, its points over the base's points
of the same name; `omit` names points of the base that it does not have. Captures and probes are the base's, unless it
brings its own. Whatever comes from the base stands, for faults, at the line of `extends`.
"""

from __future__ import annotations

from typing import Any

from gateway.site.document import Document
from gateway.site.faults import Both, guess, listed
from gateway.site.lines import Lines, Path

OWN = ("extends", "omit")
WHOLE = ("captures", "probes")  # taken over as they are, or brought


def extended(doc: Document, base: Document) -> Document:
    """`doc` laid over `base`, with the faults found on the way."""
    omitted = _omitted(doc, base)
    data: dict[str, Any] = {key: value for key, value in base.data.items() if key not in OWN}
    for key, value in doc.data.items():
        if key in WHOLE or not isinstance(value, dict) or not isinstance(data.get(key), dict):
            data[key] = value
        else:
            data[key] = data[key] | value
    if "captures" not in doc.data and isinstance(data.get("captures"), list):
        data["captures"] = [_without(capture, omitted) for capture in data["captures"]]
    own = [table for _, table in doc.tables("points")]
    named = {table.get("name"): table for table in own}
    kept = [table for _, table in base.tables("points") if table.get("name") not in omitted]
    known = {table.get("name") for table in kept}
    points = [_over(table, named.get(table.get("name"), {})) for table in kept]
    points += [table for table in own if table.get("name") not in known]
    if points:
        data["points"] = points
    places = {index: _place(points, table) for index, table in enumerate(own)}
    whole = {key: value for key, value in data.items() if key not in OWN}
    out = Document(doc.file, whole, _lines(doc, places), doc.doc)
    out.faults = list(doc.faults)
    return out


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """A point of the variant. One that is computed has no keys of the wire, and the other way round."""
    if "derived" in own:
        return own
    return {key: value for key, value in base.items() if key != "derived" or not own} | own


def _without(capture: Any, omitted: set[str]) -> Any:
    """An exchange proves what the variant has of it."""
    if not isinstance(capture, dict) or not isinstance(capture.get("values"), dict):
        return capture
    return capture | {"values": {name: value for name, value in capture["values"].items() if name not in omitted}}


def _place(points: list[dict[str, Any]], own: dict[str, Any]) -> int:
    return next((at for at, table in enumerate(points) if table.get("name") == own.get("name")), len(points))


def _omitted(doc: Document, base: Document) -> set[str]:
    names = doc.data.get("omit", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        must = Both("a list of names of points", "포인트 이름의 목록")
        doc.add("CG-1007", ("omit",), value=names, must=must)
        return set()
    known = [str(table.get("name")) for _, table in base.tables("points")]
    for index, name in enumerate(names):
        if name not in known:
            doc.add("CG-1028", ("omit", index), value=name, guess=guess(name, known), known=listed(known))
    return set(names)


def _lines(doc: Document, places: dict[int, int]) -> Lines:
    """Where everything stands in the variant's file; what is the base's, at `extends`."""
    of_path: dict[Path, int] = {(): doc.lines.line(("extends",))}
    for path, line in doc.lines.of_path.items():
        if path[:1] == ("points",) and len(path) > 1 and isinstance(path[1], int):
            of_path["points", places[path[1]], *path[2:]] = line
        elif path != ("points",):
            of_path[path] = line
    return Lines(of_path)
