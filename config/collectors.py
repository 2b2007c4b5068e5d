"""Collectors: where a host sends its log and its spans, each one address that is asked for in the configuration. Pure.

An address and no name, since a name would have to be asked for; the name that its certificate must have is another
setting. Without TLS nothing leaves this host.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tlsrt.config.setting import file_path, number, text

SYSLOG_PORT, OTLP_PORT = 6514, 4318
_PATH = re.compile(r"(/[A-Za-z0-9._~/-]{0,200})?")
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*")  # TLS asks for no other
_CA_SAYS = "The CA that signs its certificate, PEM."
_NAME_SAYS = "The name in its certificate; without it, its address has to be there."


class CollectorKind(StrEnum):
    """What a collector is sent, and how."""

    SYSLOG = "syslog"
    OTLP_LOGS = "otlp logs"
    OTLP_TRACES = "otlp traces"


@dataclass(frozen=True, slots=True)
class Collector:
    """One that there is; `name` is what its certificate must have, empty without TLS."""

    kind: CollectorKind
    host: str
    port: int
    path: str = ""
    name: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(said: str) -> tuple[str, int]:
    """Return address and port of `ADDRESS[:PORT]`. Raises ValueError with a sentence for people."""
    host, port, _ = _split(f"syslog://{said}", SYSLOG_PORT, said)
    return host, port


def parse_endpoint(said: str) -> tuple[str, int, str, bool]:
    """Return address, port, path and whether it has TLS. Raises ValueError with a sentence for people."""
    scheme = said.partition("://")[0]
    if scheme not in ("http", "https"):
        raise ValueError(f"{said!r} is no endpoint such as https://192.0.2.7:4318 or http://127.0.0.1:4318")
    host, port, path = _split(said, OTLP_PORT, said)
    if scheme == "http" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"{said} has no TLS, and {host} is another host: use https, with the CA of its certificate")
    return host, port, path.rstrip("/"), scheme == "https"


def _split(url: str, port: int, said: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        host, found = str(ipaddress.ip_address(parts.hostname or "")), parts.port
    except ValueError:
        raise ValueError(f"{said!r} has no IP address: a name is not asked for here; write its address") from None
    if parts.username is not None or parts.query or parts.fragment or _PATH.fullmatch(parts.path) is None or found == 0:
        raise ValueError(f"{said!r} is more than an address, a port and a path")
    return host, found or port, parts.path


def _checked_address(said: str) -> str:
    if said:
        parse_address(said)
    return said


def _checked_endpoint(said: str) -> str:
    if said:
        parse_endpoint(said)
    return said


def _checked_name(said: str) -> str:
    if said and _NAME.fullmatch(said) is None:
        try:
            ipaddress.ip_address(said)
        except ValueError:
            raise ValueError(f"{said!r} is neither a name such as logs.example.org nor an IP address") from None
    return said


def check_syslog(given: Mapping[str, Any]) -> str:
    if given.get("address") and not given.get("ca"):
        return "syslog goes over TLS, and its collector is known by a CA: add `ca: FILE`"
    if bool(given.get("certificate")) != bool(given.get("key")):
        return "a certificate of this host has a key: say both, `certificate` and `key`"
    return ""


def check_endpoint(given: Mapping[str, Any]) -> str:
    endpoint = given.get("endpoint")
    if isinstance(endpoint, str) and endpoint.startswith("https:") and not given.get("ca"):
        return "a collector with TLS is known by a CA: add `ca: FILE`"
    return ""


def check_traces(given: Mapping[str, Any]) -> str:
    if given and not given.get("endpoint"):
        return "spans need a collector: add `endpoint: http://127.0.0.1:4318`"
    return check_endpoint(given)


@dataclass(frozen=True, slots=True)
class SyslogConfig:
    """A collector of syslog over TLS (RFC 5424, RFC 5425) that events and lines of logs go to."""

    address: str = field(
        default="",
        metadata=text(
            "Its address, and its port if that is not 6514.",
            parse=_checked_address, most=80, default_says="none", example="192.0.2.7:6514",
        ),
    )  # fmt: skip
    name: str = field(
        default="",
        metadata=text(
            _NAME_SAYS, parse=_checked_name, most=253, default_says="its address", example="logs.example.org"
        ),
    )
    ca: Path | None = field(default=None, metadata=file_path(_CA_SAYS, example="logs-ca.crt"))
    certificate: Path | None = field(
        default=None,
        metadata=file_path("A certificate of this host, PEM, for a collector that wants one.", example="host.crt"),
    )
    key: Path | None = field(default=None, metadata=file_path("The key of that certificate, PEM.", example="host.key"))

    @property
    def collectors(self) -> tuple[Collector, ...]:
        if not self.address:
            return ()
        host, port = parse_address(self.address)
        name = self.name or host
        return (Collector(CollectorKind.SYSLOG, host, port, "", name, self.ca, self.certificate, self.key),)


@dataclass(frozen=True, slots=True)
class OtlpConfig:
    """A collector of OpenTelemetry (OTLP/HTTP, JSON) that events and lines of logs go to."""

    endpoint: str = field(
        default="",
        metadata=text(
            "Its address, as https://ADDRESS:PORT, or http:// on this host; /v1/logs is added.",
            parse=_checked_endpoint, most=300, default_says="none", example="https://192.0.2.7:4318",
        ),
    )  # fmt: skip
    name: str = field(
        default="",
        metadata=text(
            _NAME_SAYS, parse=_checked_name, most=253, default_says="its address", example="logs.example.org"
        ),
    )
    ca: Path | None = field(default=None, metadata=file_path(_CA_SAYS, example="logs-ca.crt"))

    @property
    def collectors(self) -> tuple[Collector, ...]:
        return _otlp(CollectorKind.OTLP_LOGS, self.endpoint, "/v1/logs", self.name, self.ca)


@dataclass(frozen=True, slots=True)
class TracesConfig:
    """Which calls are traced, and the collector of OpenTelemetry that their spans go to."""

    endpoint: str = field(
        default="",
        metadata=text(
            "Its address, as https://ADDRESS:PORT, or http:// on this host; /v1/traces is added.",
            parse=_checked_endpoint, most=300, default_says="none", example="http://127.0.0.1:4318",
        ),
    )  # fmt: skip
    name: str = field(
        default="",
        metadata=text(
            _NAME_SAYS, parse=_checked_name, most=253, default_says="its address", example="logs.example.org"
        ),
    )
    ca: Path | None = field(default=None, metadata=file_path(_CA_SAYS, example="traces-ca.crt"))
    ratio: float = field(
        default=0.0,
        metadata=number("The part of calls without a trace of their caller for which one begins here.", 0, 1),
    )
    most_per_s: float = field(
        default=10.0,
        metadata=number(
            "Calls a second, of all clients together, whose own wish to be sampled each process follows; 0 for none.",
            0, 10_000,
        ),
    )  # fmt: skip

    @property
    def collectors(self) -> tuple[Collector, ...]:
        return _otlp(CollectorKind.OTLP_TRACES, self.endpoint, "/v1/traces", self.name, self.ca)


def _otlp(kind: CollectorKind, endpoint: str, path: str, name: str, ca: Path | None) -> tuple[Collector, ...]:
    if not endpoint:
        return ()
    host, port, base, has_tls = parse_endpoint(endpoint)
    return (Collector(kind, host, port, base + path, (name or host) if has_tls else "", ca if has_tls else None),)
