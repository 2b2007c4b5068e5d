"""Monitoring: where a host answers `GET /metrics`, `/livez` and `/readyz`, without a certificate. Pure.

What is said there names components and needs no key, so it is said to this host only: at a loopback address, or at a
UNIX socket whose folder decides who may connect.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from tlsrt.config.setting import text

_UNIX = "unix:"
_TCP = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class MonitoringPlace:
    """An address and a port, or the path of a UNIX socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{_UNIX}{self.path}" if self.path else f"{host}:{self.port}"


def parse_place(text: str) -> MonitoringPlace:
    """Return the place that a text says. Raises ValueError with a sentence for people."""
    path = text.removeprefix(_UNIX)
    if text.startswith(_UNIX) and path.startswith("/") and not path.endswith("/") and "\0" not in path:
        return MonitoringPlace(path=path)
    match = _TCP.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 1 << 16:
        raise ValueError(f"{text!r} is neither ADDRESS:PORT, such as 127.0.0.1:9464, nor unix:/PATH")
    host = ipaddress.ip_address(match[1] or match[2])
    if not host.is_loopback:
        raise ValueError(
            f"{host} is no loopback address: metrics are served without a certificate, so to this host only; listen on "
            "127.0.0.1 or [::1], and let a proxy with TLS serve them to others"
        )
    return MonitoringPlace(str(host), int(match[3]))


def _checked(text: str) -> str:
    if text:
        parse_place(text)
    return text


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Where metrics and health are served."""

    listen: str = field(
        default="",
        metadata=text(
            "Where to serve metrics and health over HTTP without a certificate: a loopback address and a port, or "
            "unix:/PATH of a socket.",
            parse=_checked,
            most=4096,
            default_says="nowhere",
            example="127.0.0.1:9464",
        ),
    )

    @property
    def place(self) -> MonitoringPlace | None:
        """Return the place, None for nowhere."""
        return parse_place(self.listen) if self.listen else None
