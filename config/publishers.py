"""Pinned publishers, and the highest version of a package that this host has sealed: lines of the boot token. Pure.

    publisher NAME KEY      a public key whose releases of this package are accepted
    highest NAME VERSION    no older one is accepted without a word for it

A pin holds from the seal that finds it in the configuration until one that does not, so that a changed configuration
cannot bring its own publisher along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tlsrt.config.distributions import is_older
from tlsrt.config.release import KEY, PACKAGE, VERSION

_PUBLISHER = re.compile(rf"publisher ({PACKAGE}) ({KEY})".encode())
_HIGHEST = re.compile(rf"highest ({PACKAGE}) ({VERSION})".encode())


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose releases are accepted, and how far versions have come."""

    publishers: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict[str, tuple[bytes, ...]])
    highest: Mapping[str, str] = field(default_factory=dict[str, str])

    def lines(self) -> list[str]:
        """Return the lines of a boot token, in the one order."""
        pairs = sorted((name, key.hex()) for name, keys in self.publishers.items() for key in keys)
        return [
            *(f"publisher {name} {key}\n" for name, key in pairs),
            *(f"highest {name} {version}\n" for name, version in sorted(self.highest.items())),
        ]

    def after(self, publishers: Mapping[str, tuple[str, ...]], versions: Mapping[str, str]) -> Trust:
        """Return what holds after a seal of these versions, with the publishers that the configuration names now."""
        kept = {name: tuple(sorted({*map(bytes.fromhex, keys)})) for name, keys in publishers.items() if keys}
        highest = dict(self.highest)
        for name in ("tlsrt", *kept):
            version = versions.get(name, "")
            if re.fullmatch(VERSION, version) and (name not in highest or is_older(highest[name], version)):
                highest[name] = version
        return Trust(kept, highest)


NO_TRUST = Trust()


def parse_trust(lines: list[bytes]) -> tuple[Trust, int]:
    """Return what the first of these lines say, and how many lines that took. Raises ValueError if out of order."""
    publishers: dict[str, tuple[bytes, ...]] = {}
    highest: dict[str, str] = {}
    taken = 0
    for line in lines:
        if found := _PUBLISHER.fullmatch(line):
            name = found[1].decode()
            publishers[name] = (*publishers.get(name, ()), bytes.fromhex(found[2].decode()))
        elif found := _HIGHEST.fullmatch(line):
            highest[found[1].decode()] = found[2].decode()
        else:
            break
        taken += 1
    trust = Trust(publishers, highest)
    if "".join(trust.lines()).encode() != b"".join(line + b"\n" for line in lines[:taken]):
        raise ValueError
    return trust, taken
