"""How many connections or messages each peer may begin: tokens for each, of a bounded number of peers. Pure."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

_ADDRESSES = 4096  # whose tokens are known


class AddressRates:
    """How many connections an address may begin: `burst` at once, `per_s` in the long run. Pure."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, now_s: float) -> bool:
        """Take a token of an address; False if it has none. Of too many addresses the longest unheard is forgotten."""
        tokens, at_s = self._tokens.pop(address, (float(self._burst), now_s))
        tokens = min(float(self._burst), tokens + (now_s - at_s) * self._per_s)
        is_one = tokens >= 1
        self._tokens[address] = (tokens - is_one, now_s)
        if len(self._tokens) > _ADDRESSES:
            self._tokens.popitem(last=False)
        return is_one


def subject_of(address: str) -> str:
    """Return what is counted as one: an IPv4 address, or the network of 64 bits that who has one IPv6 address has."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
