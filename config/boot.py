"""The boot token: a MAC over what was measured when the operator sealed the host. Pure.

    tlsrt-boot-token 1
    seal N
    mac HEX
    HEXDIGEST NAME          one line per measured thing, sorted by name

The MAC is HMAC-SHA256 under the boot key over `tlsrt/boot/v1\\0` and every line but its own, so the key proves the
token and the token names what changed. There is exactly one text for a token: what differs in a byte is refused.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from tlsrt.errors import ConfigError

MAX_TOKEN_BYTES = 8 << 20  # 40,000 files with names of 150 bytes
MAX_SEAL = (1 << 53) - 1
MAX_NAMES = 10
_HEAD = b"tlsrt-boot-token 1\n"
_DOMAIN = b"tlsrt/boot/v1\0"
_SEAL = re.compile(rb"seal ([1-9][0-9]{0,15})")
_MAC = re.compile(rb"mac ([0-9a-f]{64})")
_ENTRY = re.compile(rb"([0-9a-f]{64}) ([!-~][ -~]{0,65535})")


@dataclass(frozen=True, slots=True)
class BootToken:
    """What was sealed: the seal number, the MAC (32 bytes), and each name with its SHA-256."""

    seal: int
    mac: bytes
    entries: Mapping[str, bytes]

    def encode(self) -> bytes:
        """Return the text of the token file."""
        return _HEAD + _seal_line(self.seal) + b"mac " + self.mac.hex().encode() + b"\n" + _lines(self.entries)


def make_boot_token(mac_key: bytes, seal: int, entries: Mapping[str, bytes]) -> BootToken:
    """Return the token for a measurement; `mac_key` is keys.boot_mac_key. Raises ConfigError past MAX_SEAL."""
    if not 1 <= seal <= MAX_SEAL:
        raise ConfigError(f"the seal number {seal} is out of range: restore the boot token from your backup")
    return BootToken(seal, _mac(mac_key, seal, entries), dict(sorted(entries.items())))


def parse_boot_token_untrusted(data: bytes) -> BootToken:
    """Return the token in `data`, whose MAC is not yet checked. Raises ConfigError for anything else."""
    if len(data) > MAX_TOKEN_BYTES:
        _refuse_damaged(f"it is larger than {MAX_TOKEN_BYTES} bytes")
    if not data.startswith(_HEAD):
        _refuse_damaged("its first line is not `tlsrt-boot-token 1`")
    if not data.endswith(b"\n"):
        _refuse_damaged("its last line is cut off")
    lines = data[len(_HEAD) : -1].split(b"\n")
    seal = _SEAL.fullmatch(lines[0])
    mac = _MAC.fullmatch(lines[1]) if len(lines) > 1 else None
    if seal is None or mac is None or int(seal[1]) > MAX_SEAL:
        _refuse_damaged("its seal number or MAC is not readable")
    entries = _entries(lines[2:])
    return BootToken(int(seal[1]), bytes.fromhex(mac[1].decode()), entries)


def check_boot_token(mac_key: bytes, token: BootToken, entries: Mapping[str, bytes], minimum_seal: int) -> None:
    """Refuse a token of another key, an older seal, or another measurement, in this order. Raises ConfigError."""
    if not hmac.compare_digest(token.mac, _mac(mac_key, token.seal, token.entries)):
        raise ConfigError(
            "the boot token was not made with this master_key, or was edited: put the right master_key or boot token "
            "back, or run `tlsrt-supervisor seal` if you replaced the key on purpose"
        )
    if token.seal < minimum_seal:
        raise ConfigError(
            f"the boot token is a roll-back: its seal is {token.seal}, and this host has already run seal "
            f"{minimum_seal}; put the newer boot token back, or run `tlsrt-supervisor seal`"
        )
    differences = _differences(token.entries, entries)
    if differences:
        more = f" and {len(differences) - MAX_NAMES} more" if len(differences) > MAX_NAMES else ""
        raise ConfigError(
            f"this host is not what was sealed: {', '.join(differences[:MAX_NAMES])}{more}; "
            "if you intended that, run `tlsrt-supervisor seal`, else find out who did it"
        )


def _differences(sealed: Mapping[str, bytes], found: Mapping[str, bytes]) -> list[str]:
    changed = [f"changed {n}" for n in sorted(sealed.keys() & found.keys()) if not _same(sealed[n], found[n])]
    new = [f"new {name}" for name in sorted(found.keys() - sealed.keys())]
    gone = [f"gone {name}" for name in sorted(sealed.keys() - found.keys())]
    return changed + new + gone


def _same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _mac(mac_key: bytes, seal: int, entries: Mapping[str, bytes]) -> bytes:
    return hmac.digest(mac_key, _DOMAIN + _HEAD + _seal_line(seal) + _lines(entries), "sha256")


def _seal_line(seal: int) -> bytes:
    return f"seal {seal}\n".encode()


def _lines(entries: Mapping[str, bytes]) -> bytes:
    return "".join(f"{digest.hex()} {name}\n" for name, digest in sorted(entries.items())).encode("ascii")


def _entries(lines: list[bytes]) -> dict[str, bytes]:
    entries: dict[str, bytes] = {}
    last = ""
    for number, line in enumerate(lines, start=4):
        match = _ENTRY.fullmatch(line)
        if match is None:
            _refuse_damaged(f"line {number} is not readable")
        name = match[2].decode("ascii")
        if name <= last:
            _refuse_damaged(f"line {number} is out of order")
        entries[name] = bytes.fromhex(match[1].decode())
        last = name
    return entries


def _refuse_damaged(why: str) -> NoReturn:
    raise ConfigError(f"the boot token is damaged, {why}: put it back from your backup or run `tlsrt-supervisor seal`")
