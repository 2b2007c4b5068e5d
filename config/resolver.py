"""Name servers that tlsrt asks for the names of egress rules, and what the host's own configuration says of them. Pure.

`/etc/resolv.conf` as resolv.conf(5) has it, of which servers, `timeout` and `attempts` count: a rule has whole names,
so no domain is searched. `/etc/hosts` as hosts(5) has it: what it says of a name comes before any server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tlsrt.config.setting import listing, text

DNS_PORT = 53
_MOST_SERVERS = 3  # MAXNS
_FORM = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)|([0-9A-Fa-f:]*:[0-9A-Fa-f:.]*))(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class NameServer:
    """Where a name server is; `scope` is the interface of a link-local address."""

    host: str
    port: int = DNS_PORT
    scope: str = ""

    @property
    def is_six(self) -> bool:
        return ":" in self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.is_six else self.host
        return host if self.port == DNS_PORT else f"{host}:{self.port}"


def parse_server(text: str) -> NameServer:
    """Return the server that a text says, ADDRESS or ADDRESS:PORT. Raises ValueError with a sentence for people."""
    match = _FORM.fullmatch(text)
    if match is not None and not (match[3] and match[4]):
        port = int(match[4] or DNS_PORT)
        if 0 < port < 1 << 16:
            return NameServer(str(ipaddress.ip_address(match[1] or match[2] or match[3])), port)
    raise ValueError(f"{text!r} is no name server, such as 192.168.1.1 or [2001:db8::1]:5353")


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """Who is asked for the names of egress rules."""

    servers: tuple[NameServer, ...] = field(
        default=(),
        metadata=listing(
            "Name servers, ADDRESS or ADDRESS:PORT.",
            text("A server.", parse=parse_server, most=64),
            _MOST_SERVERS,
            default_says="those of /etc/resolv.conf, which is read again whenever it changes",
            on_reload=True,
            example='["192.168.1.1"]',
        ),
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """How a name is asked for: each server in turn, so many times all of them, with so much time for each answer."""

    servers: tuple[NameServer, ...]
    wait_s: float = 5.0
    attempts: int = 2

    def turn(self, number: int) -> NameServer | None:
        """Return the server of one try, None after the last one."""
        return self.servers[number % len(self.servers)] if number < self.attempts * len(self.servers) else None


def parse_resolv_conf(data: bytes) -> Asking:
    """Return what a resolv.conf says; what it does not say, or says wrongly, is as the C library has it."""
    servers: list[NameServer] = []
    wait_s, attempts = 5.0, 2
    for line in data.decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if len(words) > 1 and words[0] == "nameserver" and len(servers) < _MOST_SERVERS:
            host, _, scope = words[1].partition("%")
            try:
                servers.append(NameServer(str(ipaddress.ip_address(host)), DNS_PORT, scope))
            except ValueError:
                continue
        for option in words[1:] if words and words[0] == "options" else ():
            key, _, value = option.partition(":")
            if key == "timeout" and value.isdecimal():
                wait_s = float(min(max(int(value), 1), 30))
            if key == "attempts" and value.isdecimal():
                attempts = min(max(int(value), 1), 5)
    return Asking(tuple(servers) or (NameServer("127.0.0.1"),), wait_s, attempts)


def parse_hosts(data: bytes) -> dict[str, tuple[bytes, ...]]:
    """Return name in lower case -> addresses of a hosts file, each of 4 or 16 bytes."""
    found: dict[str, list[bytes]] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        try:
            packed = ipaddress.ip_address(address.partition("%")[0]).packed
        except ValueError:
            continue
        for name in names:
            found.setdefault(name.lower(), []).append(packed)
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}


def render_hosts(host: bytes, pinned: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a hosts file: (name, address) of the pinned ones, then what the host's own file says of other names."""
    pairs = list(pinned)
    names = {name for name, _ in pairs}
    lines = [f"{ipaddress.ip_address(address)} {name}" for name, address in pairs]
    for line in host.decode("utf-8", "replace").splitlines():
        address, *others = line.partition("#")[0].split() or [""]
        if left := [name for name in others if name.lower() not in names]:
            lines.append(f"{address} {' '.join(left)}")
    return "".join(f"{line}\n" for line in lines).encode()
