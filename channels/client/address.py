"""Where a host is, as people write it. Pure."""

from __future__ import annotations

import os
import re

from tlsrt.errors import ConfigError


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of "HOST:PORT" or "[ADDRESS]:PORT"; raise ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"an address is HOST:PORT, not {text!r}")
    return host, int(port)


def why_unreachable(error: OSError) -> str:
    """Return why nothing was reached, in the system's words, and what to do.

    asyncio has a text of its own, with the address in Python's notation; those of several addresses are joined.
    """
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error)))
    reason = ", ".join(os.strerror(number) for number in numbers) or error.strerror or str(error)
    return f"{reason}; check the address, and that tlsrt runs there"
