"""A D-Bus nobody else is on: a dbus-daemon of our own, its files in a folder, ended with the `async with` block."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_START_S = 10.0
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>
"""


def is_possible() -> bool:
    """A dbus-daemon is installed here."""
    return shutil.which("dbus-daemon") is not None


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[str]:
    """The address of a bus of our own, its files in `folder`. Raises OSError where none can be started."""
    config, socket = folder / "bus.conf", folder / "bus"
    config.write_text(_CONFIG.format(socket=socket))
    daemon = await asyncio.create_subprocess_exec(
        "dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1", stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert daemon.stdout is not None
        async with asyncio.timeout(_START_S):
            line = await daemon.stdout.readline()
        if not line:
            raise OSError("dbus-daemon did not start")
        yield line.decode().strip().partition(",")[0]
    finally:
        if daemon.returncode is None:
            daemon.terminate()
        await daemon.wait()
