"""Exchanges as Modbus RTU puts them on a line, and what a profile that was imported makes of them."""

from __future__ import annotations

import struct
from pathlib import Path

from gateway.importers.model import Imported
from gateway.importers.writer import profile_text, profiles
from gateway.site.check import decode
from gateway.site.profile import load_profile
from protocols.modbus.crc import crc16


def exchange(function: int, address: int, data: bytes) -> tuple[bytes, bytes]:
    """A request for all of `data`, and its reply."""
    count = len(data) // 2 if function > 2 else len(data) * 8
    request = struct.pack(">BBHH", 1, function, address, count)
    reply = struct.pack(">BBB", 1, function, len(data)) + data
    return tuple(frame + crc16(frame).to_bytes(2, "little") for frame in (request, reply))  # type: ignore[return-value]


def values(found: Imported, folder: Path, function: int, address: int, data: bytes, at: int = 0) -> dict[str, float]:
    """What the first profile (or number `at`) reads out of `data`."""
    written = profiles(found.devices, "other")[at]
    path = folder / "one.toml"
    path.write_text(profile_text(written, "test"), encoding="utf-8")
    got = decode(load_profile(path), *exchange(function, address, data))
    return {name: round(value, 6) for name, value in got.items()}


def whys(found: Imported) -> str:
    return "\n".join(f"{one.where}: {one.what}: {one.why.en}" for one in found.left)
