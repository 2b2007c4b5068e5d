"""Collectors: where a host sends its log and its spans, each one place that is asked for in the configuration. Pure.

A place is an address, or a name, which the resolver asks for as it does for egress rules: it leads to public addresses
only, or into networks that are listed. Its certificate has that name. Without TLS nothing leaves this host.
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

from tlsrt.config.name_rules import NameRule, name_problem, parse_network
from tlsrt.config.public_address import Network
from tlsrt.config.setting import file_path, listing, number, text

SYSLOG_PORT, OTLP_PORT = 6514, 4318
_PATH = re.compile(r"(/[A-Za-z0-9._~/-]{0,200})?")
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*")  # TLS asks for no other
_CA_SAYS = "The CA that signs its certificate, PEM."
_NAME_SAYS = "The name in its certificate, where that is another one than its place has."


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
    within: tuple[Network, ...] = ()  # where its name may lead to

    @property
    def number(self) -> int:
        """Return by which number it is known to the process that sends: there is one of each kind."""
        return [*CollectorKind].index(self.kind)

    @property
    def rule(self) -> NameRule | None:
        """Return the rule by which its name is looked up; None for an address."""
        return None if _is_address(self.host) else NameRule("tcp", self.host, self.port, self.port, self.within)

    @property
    def place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(said: str) -> tuple[str, int]:
    """Return host and port of `HOST[:PORT]`. Raises ValueError with a sentence for people."""
    host, port, _ = _split(f"syslog://{said}", SYSLOG_PORT, said)
    return host, port


def parse_endpoint(said: str) -> tuple[str, int, str, bool]:
    """Return host, port, path and whether it has TLS. Raises ValueError with a sentence for people."""
    scheme = said.partition("://")[0]
    if scheme not in ("http", "https"):
        raise ValueError(f"{said!r} is no endpoint such as https://otel.example.org:4318 or http://127.0.0.1:4318")
    host, port, path = _split(said, OTLP_PORT, said)
    if scheme == "http" and not (_is_address(host) and ipaddress.ip_address(host).is_loopback):
        raise ValueError(f"{said} has no TLS, and {host} is no address of this host itself: use https and a `ca`")
    return host, port, path.rstrip("/"), scheme == "https"


def _split(url: str, port: int, said: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        host, found = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{said!r} has neither a name nor an address, or no port from 1 to 65535") from None
    if not _is_address(host) and (problem := name_problem(host)):
        raise ValueError(f"{said!r}: {problem}")
    host = str(ipaddress.ip_address(host)) if _is_address(host) else host
    if parts.username is not None or parts.query or parts.fragment or _PATH.fullmatch(parts.path) is None or found == 0:
        raise ValueError(f"{said!r} is more than a host, a port and a path")
    return host, found or port, parts.path


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _checked_address(said: str) -> str:
    if said:
        parse_address(said)
    return said


def _checked_endpoint(said: str) -> str:
    if said:
        parse_endpoint(said)
    return said


def _checked_name(said: str) -> str:
    if said and _NAME.fullmatch(said) is None and not _is_address(said):
        raise ValueError(f"{said!r} is neither a name such as logs.example.org nor an IP address")
    return said


def _within() -> Any:
    return field(
        default=(),
        metadata=listing(
            "Networks that its name may lead to, for a collector that is near; without them to public addresses.",
            text("A network.", parse=parse_network, most=64), 16, on_reload=True, example="[10.1.0.0/16]",
        ),
    )  # fmt: skip


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
            "Its name or address, and its port if that is not 6514.",
            parse=_checked_address, most=270, default_says="none", on_reload=True, example="logs.example.org:6514",
        ),
    )  # fmt: skip
    name: str = field(
        default="",
        metadata=text(
            _NAME_SAYS, parse=_checked_name, most=253, default_says="its own", on_reload=True,
            example="logs.example.org",
        ),
    )  # fmt: skip
    ca: Path | None = field(default=None, metadata=file_path(_CA_SAYS, on_reload=True, example="logs-ca.crt"))
    certificate: Path | None = field(
        default=None,
        metadata=file_path(
            "A certificate of this host, PEM, for a collector that wants one.", on_reload=True, example="host.crt"
        ),
    )
    key: Path | None = field(
        default=None, metadata=file_path("The key of that certificate, PEM.", on_reload=True, example="host.key")
    )
    within: tuple[Network, ...] = _within()

    @property
    def collectors(self) -> tuple[Collector, ...]:
        if not self.address:
            return ()
        host, port = parse_address(self.address)
        name = self.name or host
        files = self.ca, self.certificate, self.key
        return (Collector(CollectorKind.SYSLOG, host, port, "", name, *files, self.within),)


@dataclass(frozen=True, slots=True)
class OtlpConfig:
    """A collector of OpenTelemetry (OTLP/HTTP, JSON) that events and lines of logs go to."""

    endpoint: str = field(
        default="",
        metadata=text(
            "Its place, as https://HOST:PORT, or http://ADDRESS:PORT of this host itself; /v1/logs is added.",
            parse=_checked_endpoint, most=520, default_says="none", on_reload=True,
            example="https://otel.example.org:4318",
        ),
    )  # fmt: skip
    name: str = field(
        default="",
        metadata=text(
            _NAME_SAYS, parse=_checked_name, most=253, default_says="its own", on_reload=True,
            example="logs.example.org",
        ),
    )  # fmt: skip
    ca: Path | None = field(default=None, metadata=file_path(_CA_SAYS, on_reload=True, example="logs-ca.crt"))
    within: tuple[Network, ...] = _within()

    @property
    def collectors(self) -> tuple[Collector, ...]:
        return _otlp(CollectorKind.OTLP_LOGS, self, "/v1/logs")


@dataclass(frozen=True, slots=True)
class TracesConfig:
    """Which calls are traced, and the collector of OpenTelemetry that their spans go to."""

    endpoint: str = field(
        default="",
        metadata=text(
            "Its place, as https://HOST:PORT, or http://ADDRESS:PORT of this host itself; /v1/traces is added.",
            parse=_checked_endpoint, most=520, default_says="none", on_reload=True, example="http://127.0.0.1:4318",
        ),
    )  # fmt: skip
    name: str = field(
        default="",
        metadata=text(
            _NAME_SAYS, parse=_checked_name, most=253, default_says="its own", on_reload=True,
            example="logs.example.org",
        ),
    )  # fmt: skip
    ca: Path | None = field(default=None, metadata=file_path(_CA_SAYS, on_reload=True, example="traces-ca.crt"))
    within: tuple[Network, ...] = _within()
    ratio: float = field(
        default=0.0,
        metadata=number(
            "The part of calls without a trace of their caller for which one begins here.", 0, 1, on_reload=True
        ),
    )
    most_per_s: float = field(
        default=10.0,
        metadata=number(
            "Calls a second, of all clients together, whose own wish to be sampled each process follows; 0 for none.",
            0, 10_000, on_reload=True,
        ),
    )  # fmt: skip

    @property
    def collectors(self) -> tuple[Collector, ...]:
        return _otlp(CollectorKind.OTLP_TRACES, self, "/v1/traces")


def _otlp(kind: CollectorKind, given: OtlpConfig | TracesConfig, path: str) -> tuple[Collector, ...]:
    if not given.endpoint:
        return ()
    host, port, base, has_tls = parse_endpoint(given.endpoint)
    name, ca = (given.name or host, given.ca) if has_tls else ("", None)
    return (Collector(kind, host, port, base + path, name, ca, within=given.within),)
