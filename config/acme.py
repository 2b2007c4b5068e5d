"""ACME (RFC 8555): the CA that issues the certificate of the door for clients over HTTP. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlsrt.config.door import IP_ADDRESS
from tlsrt.config.name_rules import NameRule, name_problem
from tlsrt.config.public_address import Network
from tlsrt.config.server_certificate import check_name
from tlsrt.config.setting import boolean, file_path, listing, text
from tlsrt.errors import ConfigError

NAMES_MAX = 64
_URL = re.compile(r"https://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?(/[!-~]*)")
_PLACE = re.compile(rf"(?:\[([0-9A-Fa-f:.]+)\]|({IP_ADDRESS})):(\d{{1,5}})")


@dataclass(frozen=True, slots=True)
class Origin:
    """A host and a port, where one URL leads to. The host is a name in lower case or an address."""

    host: str
    port: int
    path: str

    @property
    def is_address(self) -> bool:
        """Tell whether no resolver has to be asked."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def authority(self) -> str:
        """Return host and port as an URL and a Host header have them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"


def parse_url(text: str) -> Origin:
    """Return where an https URL leads. Raises ValueError with a sentence for people."""
    match = _URL.fullmatch(text)
    port = int(match[3] or 443) if match else 0
    if match is None or not 0 < port < 1 << 16:
        raise ValueError(f"{text[:80]!r} is no URL of a directory: write https://HOST[:PORT]/PATH")
    if match[1]:
        return Origin(str(ipaddress.IPv6Address(match[1])), port, match[4])
    found = Origin(match[2].lower(), port, match[4])
    problem = "" if found.is_address else name_problem(found.host)
    if problem:
        raise ValueError(f"{text[:80]!r}: {problem}")
    return found


def _directory(text: str) -> str:
    parse_url(text)
    return text


def _name(text: str) -> str:
    try:
        return check_name(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _listen(text: str) -> str:
    match = _PLACE.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 1 << 16:
        raise ValueError(f"{text!r} is no ADDRESS:PORT, such as 0.0.0.0:80")
    ipaddress.ip_address(match[1] or match[2])
    return text


def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


def check_table(values: Mapping[str, Any]) -> str:
    """Return the sentence for what is wrong with the whole table, or ""."""
    if values.get("directory") and not values.get("agree"):
        return "the CA orders nothing for who has not agreed to its terms: read them, and write agree: true"
    return ""


@dataclass(frozen=True, slots=True)
class AcmeConfig:
    """The CA that clients over HTTP trust already, if there is one. Clients of tlsrt trust the CA of their bundle."""

    directory: str = field(
        default="",
        metadata=text(
            "The URL of the CA's directory, https://HOST[:PORT]/PATH. Nothing else of the CA is spoken to than this "
            "host and port.",
            parse=_directory, most=2048, default_says="none, and nothing is ordered", on_reload=True,
            example="https://acme-v02.api.letsencrypt.org/directory",
        ),
    )  # fmt: skip
    agree: bool = field(
        default=False, metadata=boolean("You have read the CA's terms of service and agree to them.", on_reload=True)
    )
    names: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Names and addresses that the certificate is for; `certificate add` adds more while the host runs.",
            text("A name or an address.", parse=_name, most=253), NAMES_MAX, on_reload=True,
            example="[kettle.example.org]",
        ),
    )  # fmt: skip
    contact: str = field(
        default="",
        metadata=text(
            "Where the CA may write to, mailto:NAME@HOST.", most=254, pattern=r"mailto:[!-~]+@[A-Za-z0-9.-]+|",
            says="mailto:NAME@HOST", default_says="nowhere", on_reload=True, example="mailto:ops@example.org",
        ),
    )  # fmt: skip
    roots: Path = field(
        default=Path("/etc/ssl/certs/ca-certificates.crt"),
        metadata=file_path(
            "The CAs, PEM, by which the server of the directory is known.", on_reload=True,
            default="/etc/ssl/certs/ca-certificates.crt",
        ),
    )  # fmt: skip
    within: tuple[Network, ...] = field(
        default=(),
        metadata=listing(
            "Networks that the name of the directory may lead to, for a CA of your own; without them to public "
            "addresses.",
            text("A network.", parse=_network, most=64), 16, on_reload=True, example="[10.1.0.0/16]",
        ),
    )  # fmt: skip
    http_listen: str = field(
        default="",
        metadata=text(
            "Prove names by http-01: an address and a port that port 80 of all names leads to, listened on only while "
            "an order runs. Without it they are proved by tls-alpn-01 at the door, whose port 443 of all names leads "
            "to.",
            parse=_listen, most=64, default_says="tls-alpn-01", on_reload=True, example="0.0.0.0:80",
        ),
    )  # fmt: skip

    @property
    def origin(self) -> Origin | None:
        """Return where the directory is, None if nothing is to be ordered."""
        return parse_url(self.directory) if self.directory else None

    @property
    def rule(self) -> NameRule | None:
        """Return the rule by which the name of the directory is looked up; None for an address."""
        origin = self.origin
        if origin is None or origin.is_address:
            return None
        return NameRule("tcp", origin.host, origin.port, origin.port, self.within)

    @property
    def http_place(self) -> tuple[str, int] | None:
        """Return address and port to listen on for http-01."""
        match = _PLACE.fullmatch(self.http_listen)
        return (match[1] or match[2], int(match[3])) if match else None
