"""What systemd-resolved says of name servers and domains, by link, as it comes over D-Bus. Pure.

org.freedesktop.resolve1(5): DNS is a(iiay) of link, family and address, Domains a(isb) of link, domain and whether it
only routes; link 0 is for all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from tlsrt.loops.external.sockets import DOMAINS_MAX, SERVERS_MAX, is_plain

NAME, PATH, INTERFACE = "org.freedesktop.resolve1", "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager"
_LINKS_MAX = 64
_BYTES = {2: 4, 10: 16}  # of an address, by its family


def resolved_untrusted(said: Mapping[str, Any], links: Mapping[int, str]) -> dict[str, Any]:
    """Return servers, domains, and the server that was asked last; bounded, without what cannot be. Cannot fail."""
    servers, domains = list(_servers(said.get("DNS"), links)), list(_domains(said.get("Domains"), links))
    current = next(_servers([said.get("CurrentDNSServer")], links), None)
    return {
        "servers": servers[: SERVERS_MAX * _LINKS_MAX],
        "domains": domains[: DOMAINS_MAX * _LINKS_MAX],
        "asked_last": current,
    }


def _servers(said: object, links: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    for one in said if isinstance(said, list | tuple) else ():
        if not isinstance(one, list | tuple) or len(one) != 3:
            continue
        link, family, data = one
        if not isinstance(link, int) or not isinstance(family, int) or not isinstance(data, bytes | bytearray | list):
            continue
        try:
            packed = bytes(data)
        except (TypeError, ValueError):
            continue
        if len(packed) == _BYTES.get(family, -1):
            yield {"address": str(ipaddress.ip_address(packed)), "interface": links.get(link)}


def _domains(said: object, links: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    for one in said if isinstance(said, list | tuple) else ():
        if isinstance(one, list | tuple) and len(one) == 3 and isinstance(one[0], int) and isinstance(one[1], str):
            link, domain, only_routes = one
            if is_plain(domain):
                yield {"domain": domain, "interface": links.get(link), "only_routes": bool(only_routes)}
