"""Parsing of what listens, and of who is asked for names (pure): text in, entries out. Bad lines are skipped."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from typing import Any

_LISTENING = {"tcp": 10, "udp": 7}  # TCP_LISTEN; a UDP socket that is not connected is TCP_CLOSE, tcp_states.h
SERVERS_MAX, DOMAINS_MAX = 8, 32  # the C library takes 3 and 6, resolv.conf(5)
_TEXT_MAX = 253  # RFC 1035, section 2.3.4


def listening(text: str, protocol: str) -> Iterator[dict[str, Any]]:
    """Yield the sockets that wait for others in /proc/net/tcp, tcp6, udp or udp6; `protocol` is tcp or udp."""
    for line in text.splitlines()[1:]:
        words = line.split()
        try:
            if int(words[3], 16) != _LISTENING[protocol]:
                continue
            word, _, port = words[1].partition(":")
            number, uid = int(port, 16), int(words[7])
            host = _host(word)
        except (ValueError, IndexError, OSError):
            continue
        yield {"protocol": protocol, "address": host, "port": number, "uid": uid}


def _host(word: str) -> str:
    """An address as these files print it: hex of 32 bits in host byte order, four times for IPv6."""
    parts = [int(word[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(word), 8)]
    return socket.inet_ntop(socket.AF_INET if len(parts) == 1 else socket.AF_INET6, b"".join(parts))


def name_servers(text: str) -> dict[str, Any]:
    """Return the servers and search domains of a resolv.conf(5)."""
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        key, *words = line.split()[:DOMAINS_MAX] or [""]
        if key == "nameserver" and words and _is_address(words[0]):
            servers.append(words[0])
        elif key in ("search", "domain"):  # the last one counts
            search = [one for one in words if is_plain(one)]
    return {"servers": servers[:SERVERS_MAX], "search": search}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_plain(text: str) -> bool:
    """Tell whether a domain is short and printable."""
    return len(text) <= _TEXT_MAX and all("!" <= sign <= "~" for sign in text)
