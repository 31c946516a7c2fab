"""`citygate credentials new`: the pair of OSCORE contexts by which one gateway and its center know each other."""

from __future__ import annotations

import sys

from gateway.spool.trouble import Trouble
from gateway.wire.credentials import create


def new(gateway: str, out_gateway: str, out_center: str) -> int:
    """Exit code 0, or 2 where a folder already holds credentials: an existing context is never overwritten."""
    try:
        ours, theirs = create(gateway, out_gateway, out_center)
    except (Trouble, OSError) as refused:
        print(refused, file=sys.stderr)
        return 2
    print(f"gateway's half: {ours}   copy it to the gateway and name it in [[upstreams]].credentials")
    print(f"center's half:  {theirs}   its parent is the center's --credentials folder")
    return 0
