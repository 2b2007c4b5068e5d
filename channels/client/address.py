"""Where a host is, as people write it. Pure."""

from __future__ import annotations

from tlsrt.errors import ConfigError


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of "HOST:PORT" or "[ADDRESS]:PORT"; raise ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"an address is HOST:PORT, not {text!r}")
    return host, int(port)
