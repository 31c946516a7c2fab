"""How much one sender may ask of a center: a bucket of tokens by name, refilled by time. No sockets, no own clock.

Those who showed a key are counted by key; strangers by source, since many gateways share one carrier's address and
must not pay for a stranger behind it. Memory is bounded: the name heard longest ago is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import ip_address

NAMES = 20_000


class Buckets:
    """`rate` tokens a second, `burst` at most."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now_s: float) -> bool:
        """Whether `name` still has a token; takes it."""
        left, at_s = self._left.pop(name, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._rate)
        allowed = left >= 1.0
        self._left[name] = (left - allowed, now_s)
        if len(self._left) > NAMES:
            self._left.popitem(last=False)
        return allowed


def source(host: str) -> str:
    """What strangers are counted by: an IPv4 address, or the /64 that an IPv6 site has to itself."""
    try:
        address = ip_address(host.split("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return address.packed[:8].hex()
